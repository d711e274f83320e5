/* SPDX-License-Identifier: MPL-2.0 */
/* See question.h. */
#include "question.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>

#include "../match/path.h"

struct question {
    json_t *object;
};

/* ---- questions ---- */

/* JSON text is UTF-8, what a peer sends is any bytes: what could be misread goes percent-encoded. */
static json_t *text(struct soth_span s)
{
    static const char digits[] = "0123456789ABCDEF";
    if (s.n == 0)
        return json_null();
    char *copy = malloc(3 * s.n);
    size_t n = 0;
    for (size_t i = 0; copy && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > 0x20 && c < 0x7f) {
            copy[n++] = (char)c;
            continue;
        }
        copy[n++] = '%';
        copy[n++] = digits[c >> 4];
        copy[n++] = digits[c & 15];
    }
    json_t *string = copy ? json_stringn(copy, n) : NULL;
    free(copy);
    return string;
}

/* Without the port: that is another one for each connection. */
static json_t *client(const struct soth_connect *connect)
{
    char address[INET6_ADDRSTRLEN];
    const struct soth_addr *a = &connect->client_addr;
    if (a->family && inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, address, sizeof address))
        return json_string(address);
    return text(connect->client);
}

static json_t *path(const struct soth_message *request)
{
    if (!request || request->target.n == 0)
        return json_null();
    char *normal = malloc(request->target.n);
    json_t *string = normal ? text((struct soth_span){normal, path_normalize(request->target, normal)}) : NULL;
    free(normal);
    return string;
}

struct question *question_new(const struct soth_connect *connect, const struct soth_message *request)
{
    const struct soth_span none = {NULL, 0};
    struct question *question = calloc(1, sizeof *question);
    if (!question)
        return NULL;
    question->object = json_pack("{s:i, s:s, s:o, s:o, s:i, s:o, s:o, s:o}", "v", QUESTION_VERSION, "hook", request ? "request" : "connect",
                                 "client", client(connect), "host", text(connect->host), "port", (int)connect->port,
                                 "sni", text(connect->sni), "method", text(request ? request->method : none), "path", path(request));
    if (question->object)
        return question;
    free(question);
    return NULL;
}

void question_free(struct question *question)
{
    if (!question)
        return;
    json_decref(question->object);
    free(question);
}

char *question_key(const struct question *question)
{
    return json_dumps(question->object, JSON_COMPACT);
}

char *question_body(struct question *question, uint64_t flow_id)
{
    if (json_object_set_new(question->object, "flow_id", json_integer((json_int_t)flow_id)) != 0)
        return NULL;
    return json_dumps(question->object, JSON_COMPACT);
}

/* ---- answers ---- */

static const char *take_action(const json_t *value, uint32_t hook, struct answer *out)
{
    static const struct {
        const char *name;
        uint32_t action, hooks;
    } actions[] = {
        {"allow", SOTH_ALLOW, SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST},
        {"block", SOTH_BLOCK, SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST},
        {"intercept", SOTH_INTERCEPT, SOTH_HOOK_CONNECT},
        {"tunnel", SOTH_TUNNEL, SOTH_HOOK_CONNECT},
    };
    if (!json_is_string(value))
        return "its answer has no action";
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(json_string_value(value), actions[i].name) == 0) {
            out->action = actions[i].action;
            return actions[i].hooks & hook ? NULL : "its answer has an action that a request cannot have";
        }
    return "its answer has an unknown action";
}

/* Never in the middle of a character (RFC 3629). */
static size_t cut(const char *s, size_t n)
{
    if (n <= REASON_MOST)
        return n;
    for (n = REASON_MOST; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

static const char *take_reason(const json_t *value, struct answer *out, char reason[REASON_MOST])
{
    if (!value || json_is_null(value))
        return NULL;
    if (!json_is_string(value))
        return "its answer has a reason that is not text";
    size_t n = cut(json_string_value(value), json_string_length(value));
    for (size_t i = 0; i < n; i++) {
        char c = json_string_value(value)[i];
        reason[i] = (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c;
    }
    if (n)
        out->reason = (struct soth_span){reason, n};
    return NULL;
}

static const char *take_ttl(const json_t *value, struct answer *out)
{
    if (!value || json_is_null(value))
        return NULL;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return "its answer has a ttl_ms that is not a whole number from 0 up";
    out->ttl_ms = (uint64_t)json_integer_value(value);
    return NULL;
}

const char *answer_parse(struct soth_span json, uint32_t hook, struct answer *out, char reason[REASON_MOST])
{
    json_error_t error;
    json_t *object = json_loadb(json.p ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &error);
    const char *fault = NULL;
    *out = (struct answer){.action = SOTH_ALLOW, .ttl_ms = TTL_ABSENT};
    if (!json_is_object(object))
        fault = "its answer is not a JSON object";
    if (!fault)
        fault = take_action(json_object_get(object, "action"), hook, out);
    if (!fault)
        fault = take_reason(json_object_get(object, "reason"), out, reason);
    if (!fault)
        fault = take_ttl(json_object_get(object, "ttl_ms"), out);
    json_decref(object);
    return fault;
}
