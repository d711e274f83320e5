/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How a WebSocket is opened, in its two forms: GET with Upgrade, answered by 101 (RFC 6455 4), and extended CONNECT, answered by 2xx (RFC 8441 5).
 * Behind the codecs there is the first form only: what comes in the second is written as the first, and back again where it leaves. Pure.
 */
#ifndef HOST_HTTP_WEBSOCKET_H
#define HOST_HTTP_WEBSOCKET_H

#include "host/http/message.h"

#define WEBSOCKET_RANDOM 16u
#define WEBSOCKET_KEY_SIZE 25u    /* with NUL */
#define WEBSOCKET_ACCEPT_SIZE 29u

/* Sec-WebSocket-Key, and the Sec-WebSocket-Accept that belongs to it. */
void websocket_key(const uint8_t random[WEBSOCKET_RANDOM], char key[WEBSOCKET_KEY_SIZE]);
void websocket_accept(struct soth_span key, char accept[WEBSOCKET_ACCEPT_SIZE]);

/* Is it a request for a WebSocket in the first form? Then it has a key. */
bool websocket_is_asked(const struct message *msg);
/* Does :protocol name it? */
bool websocket_is_named(struct soth_span protocol);
/* Is this 101 the answer with that Sec-WebSocket-Accept? */
bool websocket_is_answer(const struct message *msg, const char *accept);

/* Each a copy, free() it; NULL without memory. */
struct message *websocket_from_connect(const struct message *connect, const char *key);
struct message *websocket_to_connect(const struct message *get); /* its fields; h2_request names the protocol */
struct message *websocket_from_ok(const struct message *ok, const char *accept);
struct message *websocket_to_ok(const struct message *switching);

#endif
