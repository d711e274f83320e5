/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The wire format of the decision service: a question as a JSON object {v, hook, flow_id, client, host, port, sni, method, path}, an answer as
 * {action, reason, ttl_ms}. Pure.
 */
#ifndef POLICY_WEBHOOK_QUESTION_H
#define POLICY_WEBHOOK_QUESTION_H

#include <soth/sdk.h>

#define QUESTION_VERSION 1
#define REASON_MOST 255
#define TTL_ABSENT UINT64_MAX

struct question; /* a JSON object */

/* About a connection, or with `request` about that. What is not known is null; path is normalised as policy_rules compares it, without the
 * query; bytes that are not printable ASCII are percent-encoded. NULL without memory. */
struct question *question_new(const struct soth_connect *connect, const struct soth_message *request);
void question_free(struct question *question);
/* JSON text, malloc'd; NULL without memory. The key is everything but flow_id: two questions with one key get one answer. */
char *question_key(const struct question *question);
char *question_body(struct question *question, uint64_t flow_id);

/* SOTH_INTERCEPT, _TUNNEL, _BLOCK, or SOTH_ALLOW: no opinion. */
struct answer {
    uint32_t action;
    uint64_t ttl_ms;         /* TTL_ABSENT: it says nothing */
    struct soth_span reason; /* p == NULL: none */
};
/* `hook`: SOTH_HOOK_CONNECT or SOTH_HOOK_REQUEST, which knows fewer actions. The reason is written to `reason`, cut to what fits, with
 * blanks for control characters. NULL, or what is wrong with it. */
const char *answer_parse(struct soth_span json, uint32_t hook, struct answer *out, char reason[REASON_MOST]);

#endif
