/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h2.h: the documents of both roles. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#include "h2_play.h"

static void from_clients(void **state)
{
    (void)state;
    h2_play_all("tests/golden/h2/server.md");
}

static void from_origins(void **state)
{
    (void)state;
    h2_play_all("tests/golden/h2/client.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_clients),
        cmocka_unit_test(from_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
