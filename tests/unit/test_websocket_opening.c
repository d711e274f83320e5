/* SPDX-License-Identifier: MPL-2.0 */
/* The opening of a WebSocket in both forms: keys and their proofs, what one form is recognised by, what crosses from one to the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/websocket.h"

#define FIELDS_MOST 16u

static struct soth_field fields[FIELDS_MOST];
static uint8_t ids[FIELDS_MOST];

static struct message head(const char *const *names_and_values)
{
    struct message msg = {.is_request = true, .minor = 1, .fields = fields, .ids = ids};
    for (; *names_and_values; names_and_values += 2) {
        fields[msg.field_count] = (struct soth_field){soth_span(names_and_values[0]), soth_span(names_and_values[1])};
        ids[msg.field_count] = (uint8_t)message_field_id(fields[msg.field_count].name);
        msg.field_count++;
    }
    return msg;
}

static void has(const struct message *msg, const char *name, const char *value)
{
    struct soth_span found = message_field(msg, name, 0);
    if (!value) {
        assert_null(found.p);
        return;
    }
    assert_non_null(found.p);
    assert_true(soth_span_is(found, value));
    assert_null(message_field(msg, name, 1).p);
}

static void keys_and_proofs(void **state)
{
    char key[WEBSOCKET_KEY_SIZE], accept[WEBSOCKET_ACCEPT_SIZE], longer[200];
    (void)state;
    websocket_key((const uint8_t *)"the sample nonce", key);
    assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ=="); /* RFC 6455 1.3 */
    websocket_accept(soth_span(key), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    websocket_accept(soth_span(""), accept); /* the GUID alone; by another implementation, as are the next two */
    assert_string_equal(accept, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
    memset(longer, 'k', sizeof longer); /* over several blocks, and to the byte before another one is needed */
    websocket_accept((struct soth_span){longer, 19}, accept);
    assert_string_equal(accept, "tWclcP21hrR+xgjYVswtQRW71GQ=");
    websocket_accept((struct soth_span){longer, 200}, accept);
    assert_string_equal(accept, "HXr7Nbki1tHdEVpq+a7G7IV4VJU=");
}

static void what_is_a_request_for_one(void **state)
{
    static const char *const asked[] = {"Host", "a.test", "Sec-WebSocket-Key", "abc", NULL}, *const keyless[] = {"Host", "a.test", NULL};
    (void)state;
    struct message msg = head(asked);
    msg.method = soth_span("GET");
    msg.upgrade = soth_span("WebSocket");
    msg.wants_upgrade = true;
    assert_true(websocket_is_asked(&msg));
    msg.method = soth_span("POST");
    assert_false(websocket_is_asked(&msg));
    msg.method = soth_span("GET");
    msg.framing = FRAMING_LENGTH;
    assert_false(websocket_is_asked(&msg));
    msg.framing = FRAMING_NONE;
    msg.upgrade = soth_span("websocket, x");
    assert_false(websocket_is_asked(&msg));
    msg.upgrade = soth_span("websocket");
    msg.wants_upgrade = false;
    assert_false(websocket_is_asked(&msg));
    msg = head(keyless);
    msg.method = soth_span("GET");
    msg.upgrade = soth_span("websocket");
    msg.wants_upgrade = true;
    assert_false(websocket_is_asked(&msg));
}

static void from_connect_and_back(void **state)
{
    static const char *const names[] = {"host", "a.test", "sec-websocket-key", "theirs", "sec-websocket-version", "13", "cookie", "a=1", "content-length", "0", NULL};
    (void)state;
    struct message msg = head(names);
    msg.method = soth_span("CONNECT");
    msg.target = soth_span("/ws");
    msg.protocol = soth_span("websocket");
    msg.framing = FRAMING_CHUNKED;
    msg.has_declared_length = true;
    struct message *get = websocket_from_connect(&msg, "ours");
    assert_non_null(get);
    assert_true(soth_span_is(get->method, "GET") && soth_span_is(get->target, "/ws") && get->protocol.p == NULL);
    assert_true(websocket_is_asked(get) && !get->has_declared_length);
    has(get, "Sec-WebSocket-Key", "ours");
    has(get, "Upgrade", "websocket");
    has(get, "Connection", "Upgrade");
    has(get, "cookie", "a=1");
    has(get, "content-length", NULL);
    assert_int_equal(get->ids[get->field_count - 3], FIELD_UPGRADE);
    struct message *connect = websocket_to_connect(get);
    assert_non_null(connect);
    has(connect, "sec-websocket-key", NULL);
    has(connect, "sec-websocket-version", "13");
    free(connect);
    free(get);
}

static void answers(void **state)
{
    static const char *const names[] = {"sec-websocket-accept", "theirs", "sec-websocket-protocol", "chat", NULL};
    (void)state;
    struct message ok = head(names);
    ok.is_request = false;
    ok.status = 204;
    ok.framing = FRAMING_CHUNKED;
    struct message *switching = websocket_from_ok(&ok, "proof");
    assert_non_null(switching);
    assert_int_equal(switching->status, 101);
    assert_int_equal(switching->framing, FRAMING_NONE);
    has(switching, "sec-websocket-accept", "proof");
    has(switching, "upgrade", "websocket");
    assert_true(websocket_is_answer(switching, "proof"));
    assert_false(websocket_is_answer(switching, "proo"));
    struct message *back = websocket_to_ok(switching);
    assert_non_null(back);
    assert_int_equal(back->status, 200);
    has(back, "sec-websocket-accept", NULL);
    has(back, "sec-websocket-protocol", "chat");
    switching->upgrade = soth_span("x");
    assert_false(websocket_is_answer(switching, "proof"));
    free(back);
    free(switching);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_proofs),
        cmocka_unit_test(what_is_a_request_for_one),
        cmocka_unit_test(from_connect_and_back),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
