/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of frames before a policy: a chain in front of which a policy judges them, and what is said to it in a word. */
#ifndef TESTS_UNIT_GATE_RIG_H
#define TESTS_UNIT_GATE_RIG_H

#include "chain_play.h"

extern struct play gate;

/* Setup and teardown of a test, and both in the middle of one. */
int gate_begin(void **state);
int gate_end(void **state);
void gate_again(void);
void gate_fill(char *text, size_t n);

#define FRAMES() play_add(&gate, "f", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames)
#define IS(result, call) assert_int_equal(call, CHAIN_##result)
#define HEAD() IS(GO, play_match(&gate, SOTH_TO_CLIENT, 200))
#define GIVES(text_) IS(GO, play_text(&gate, SOTH_TO_CLIENT, text_))
#define ENDS() IS(GO, play_end(&gate, SOTH_TO_CLIENT))
#define RESUME(result) IS(result, play_resume(&gate, SOTH_TO_CLIENT))
#define RELAYED(text_) assert_string_equal(play_out(&gate, SOTH_TO_CLIENT), text_)
#define EVENTS(text_) assert_string_equal(play_events(&gate), text_)

#endif
