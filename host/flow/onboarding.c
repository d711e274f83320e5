/* SPDX-License-Identifier: MPL-2.0 */
/* See onboarding.h: a path comes in, a page, a certificate, a revocation list or a 404 goes out. Never anything of a key. */
#include "host/flow/onboarding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define P12_PASSWORD "" /* of public certificates */

bool onboarding_target(const struct flow *flow)
{
    return flow->listen->mode != LISTEN_REVERSE && strcmp(flow->target.host, ONBOARDING_HOST) == 0;
}

/* ---- what there is ---- */

static bool make_page(struct buffer *out, const struct ca_certificates *list)
{
    onboarding_page(out, list);
    return !out->failed;
}

static bool make_pem(struct buffer *out, const struct ca_certificates *list)
{
    char *pem = ca_certificates_pem(list);
    if (pem)
        buffer_append_text(out, pem);
    free(pem);
    return pem && !out->failed;
}

static bool make_der(struct buffer *out, const struct ca_certificates *list)
{
    return buffer_append(out, list->v[0].der, list->v[0].size) == 0;
}

static bool make_p12(struct buffer *out, const struct ca_certificates *list)
{
    uint8_t *p12 = NULL;
    size_t n = 0;
    bool made = ca_certificates_p12(list, P12_PASSWORD, &p12, &n) == 0 && buffer_append(out, p12, n) == 0;
    free(p12);
    return made;
}

/* ca.crl and crl/NAME.crl, which leaves name (cert.h). A list of revoked certificates; 404 where there is none of that CA. */
static int find_crl(struct flow *flow, struct soth_span path, struct buffer *out)
{
    static const char prefix[] = "/crl/", suffix[] = ".crl";
    const size_t before = sizeof prefix - 1, behind = sizeof suffix - 1;
    struct soth_span name = {"", 0};
    uint8_t *der = NULL;
    size_t n = 0;
    if (!soth_span_is(path, "/ca.crl")) {
        if (path.n <= before + behind || memcmp(path.p, prefix, before) != 0 || memcmp(path.p + path.n - behind, suffix, behind) != 0)
            return -SOTH_ENOENT;
        name = (struct soth_span){path.p + before, path.n - before - behind};
    }
    int r = authority_crl(flow->env->authority, name, (int64_t)(flow->env->bus->unix_ms / 1000), &der, &n);
    if (r == 0)
        r = buffer_append(out, der, n);
    free(der);
    return r;
}

#define CERTIFICATE "application/x-x509-ca-cert"
#define NAMED(name) "X-Content-Type-Options: nosniff\r\nContent-Disposition: inline; filename=\"soth-mitm-ca." name "\"\r\n"

static const struct item {
    const char *path, *content_type, *extra;
    bool (*make)(struct buffer *out, const struct ca_certificates *list);
} items[] = {
    {"/", "text/html; charset=utf-8",
     "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
     "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n",
     make_page},
    {"/cert.pem", CERTIFICATE, NAMED("pem"), make_pem},
    {"/cert.der", CERTIFICATE, NAMED("der"), make_der},
    {"/cert.crt", CERTIFICATE, NAMED("crt"), make_der},
    {"/cert.p12", "application/x-pkcs12", NAMED("p12"), make_p12},
};

static const struct item crl = {NULL, "application/pkix-crl", "X-Content-Type-Options: nosniff\r\n", NULL};

static const struct item *find(struct soth_span path)
{
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        if (soth_span_is(path, items[i].path))
            return &items[i];
    return NULL;
}

/* 0 with what there is at that path, -SOTH_ENOENT, or another error. */
static int make(struct flow *flow, struct soth_span path, const struct item **item, struct buffer *body)
{
    struct ca_certificates list = {0};
    *item = find(path);
    if (!*item) {
        *item = &crl;
        return find_crl(flow, path, body);
    }
    int r = authority_trusted(flow->env->authority, (int64_t)(flow->env->bus->unix_ms / 1000), &list);
    if (r == 0)
        r = list.n > 0 && (*item)->make(body, &list) ? SOTH_OK : -SOTH_ENOMEM;
    ca_certificates_free(&list);
    return r;
}

/* ---- the answer ---- */

static void text_reply(struct reply *reply, int status, const char *text, const char *extra)
{
    *reply = (struct reply){.status = status, .content_type = "text/plain; charset=utf-8", .body = soth_span(text), .extra = extra};
}

/* For the log: the answer as if it had been read. */
static void tell(struct flow *flow, const struct reply *reply)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", reply->body.n);
    const struct soth_field fields[] = {{soth_span("Content-Type"), soth_span(reply->content_type)}, {soth_span("Content-Length"), soth_span(length)}};
    const uint8_t ids[] = {FIELD_OTHER, FIELD_CONTENT_LENGTH};
    struct message msg = {
        .minor = 1,
        .status = (uint16_t)reply->status,
        .has_declared_length = true,
        .declared_length = reply->body.n,
        .content_type = soth_span(reply->content_type),
        .fields = fields,
        .ids = ids,
        .field_count = 2,
    };
    for (unsigned i = 0; i < 2; i++)
        msg.head_bytes += (uint32_t)(fields[i].name.n + fields[i].value.n + 4);
    emit_response_headers(flow, &msg, false);
}

void onboarding_answer(struct flow *flow, struct effects *fx, const struct message *msg, struct soth_span origin_form)
{
    const char *query = memchr(origin_form.p, '?', origin_form.n);
    const struct soth_span path = {origin_form.p, query ? (size_t)(query - origin_form.p) : origin_form.n};
    const struct item *item;
    struct buffer body = {0};
    struct reply reply;
    int made;
    if (!soth_span_is(msg->method, "GET") && !soth_span_is(msg->method, "HEAD")) {
        text_reply(&reply, 405, "soth-mitm: there is nothing here but to GET\n", "Allow: GET, HEAD\r\n");
    } else if ((made = make(flow, path, &item, &body)) == -SOTH_ENOENT) {
        text_reply(&reply, 404, "soth-mitm: not here; http://" ONBOARDING_HOST "/ has the certificate\n", NULL);
    } else if (made < 0) {
        text_reply(&reply, 500, "soth-mitm: out of memory\n", NULL);
    } else {
        reply = (struct reply){.status = 200, .content_type = item->content_type, .extra = item->extra,
                               .body = {(const char *)buffer_data(&body), buffer_size(&body)}};
    }
    tell(flow, &reply);
    exchange_reply(flow, fx, &reply);
    buffer_fini(&body);
}
