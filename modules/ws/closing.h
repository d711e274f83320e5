/* SPDX-License-Identifier: MPL-2.0 */
/* What a Close frame says (RFC 6455 5.5.1, 7.4). Pure. */
#ifndef WS_CLOSING_H
#define WS_CLOSING_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

struct closing {
    uint32_t code;           /* as it was given; see has_code */
    bool has_code;           /* 0 is no code that may be sent, but can be */
    struct soth_span reason; /* a part of the payload; absent when there is none */
    const char *fault;       /* NULL, or the violation */
};

struct closing closing_read(const uint8_t *p, size_t n);

#endif
