/* SPDX-License-Identifier: MPL-2.0 */
#include "gate_rig.h"

#include <string.h>

struct play gate;

int gate_begin(void **state)
{
    (void)state;
    play_init(&gate);
    gate.env.gated = true;
    return 0;
}

int gate_end(void **state)
{
    (void)state;
    play_fini(&gate);
    return 0;
}

void gate_again(void)
{
    play_fini(&gate);
    gate_begin(NULL);
}

void gate_fill(char *text, size_t n)
{
    memset(text, 'x', n);
    text[n] = 0;
}
