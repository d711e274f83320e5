/* SPDX-License-Identifier: MPL-2.0 */
/* Texts as JSON strings, quotes and all, where there is room for them (put.h); JSON_ESCAPE_MOST times their bytes and two are enough. */
#ifndef SINK_FILE_JSON_H
#define SINK_FILE_JSON_H

#include "put.h"

#define JSON_ESCAPE_MOST 6 /* bytes that one byte may become: \u00xx */

int json_is_utf8(struct soth_span text);
char *json_put_string(char *at, struct soth_span text); /* what is no UTF-8 becomes U+FFFD */
char *json_put_base64(char *at, struct soth_span text);

#endif
