/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The life of a flow as a program (tests/unit/flow_program.h): any order of what a driver may tell it, any bytes from both sides, no TLS but that
 * of ClientHellos and whatever bytes look like it. What must hold is checked at every step by tests/unit/flow_driver.h.
 * build: tests/unit/flow_program.c tests/unit/flow_driver.c tests/unit/flow_driver_kin.c tests/unit/flow_driver_peer.c tests/unit/flow_driver_policy.c tests/unit/flow_watch.c tests/unit/flow_world.c
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/target.h"
#include "tests/unit/flow_program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct driver driver;
    if (size > 4096)
        return 0;
    program_run(&driver, world_once(), data, size, false);
    driver_fini(&driver);
    if (!driver.fault[0])
        return 0;
    struct buffer text = {0};
    program_print(data, size, &text);
    fprintf(stderr, "%s\n%.*s", driver.fault, (int)buffer_size(&text), (const char *)buffer_data(&text));
    abort();
}
