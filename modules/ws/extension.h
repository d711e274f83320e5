/* SPDX-License-Identifier: MPL-2.0 */
/* What the two sides have agreed on: Sec-WebSocket-Extensions of the response (RFC 6455 9.1, RFC 7692 7.1). Pure. */
#ifndef WS_EXTENSION_H
#define WS_EXTENSION_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

struct extension {
    bool deflate;          /* permessage-deflate, with parameters that make sense */
    bool unknown;          /* something else, which may use reserved bits and change payloads */
    bool fresh[2];         /* by direction: no context takeover */
    uint8_t window[2];     /* by direction: bits, 8 to 15 */
};

/* One field's value; for several fields called once for each. `out` is zeroed before the first. */
void extension_read(struct extension *out, struct soth_span value);

#endif
