/* SPDX-License-Identifier: MPL-2.0 */
/* See line.h. Keys that are not known are passed over, so that a newer add-on may say more. */
#include "line.h"

#include <jansson.h>

/* ---- what the numbers mean ---- */

/* X509_V_ERR_... of OpenSSL: nobody that is trusted has signed it. Everything else is wrong with the certificate itself. */
static int is_unknown_ca(int verify_code)
{
    switch (verify_code) {
    case 2:  /* UNABLE_TO_GET_ISSUER_CERT */
    case 18: /* DEPTH_ZERO_SELF_SIGNED_CERT */
    case 19: /* SELF_SIGNED_CERT_IN_CHAIN */
    case 20: /* UNABLE_TO_GET_ISSUER_CERT_LOCALLY */
    case 21: /* UNABLE_TO_VERIFY_LEAF_SIGNATURE */
    case 24: /* INVALID_CA, OpenSSL 1.1 */
    case 27: /* CERT_UNTRUSTED */
    case 79: /* INVALID_CA */
        return 1;
    default:
        return 0;
    }
}

const char *line_reason(const struct line_facts *f)
{
    if (f->timeout)
        return "timeout";
    if (f->alert_received > 0 && f->downstream) /* 0, close_notify, says no more than the end does */
        return f->alert_received == 48 ? "unknown_ca" : f->alert_received >= 42 && f->alert_received <= 46 ? "cert_validation" : "handshake";
    if (f->alert_received > 0)
        return "handshake";
    if (f->verify_code && !f->downstream)
        return is_unknown_ca(f->verify_code) ? "unknown_ca" : "cert_validation";
    if (f->alert_sent > 0)
        return f->alert_sent == 22 ? "other" : "handshake"; /* record_overflow: so long a record is no TLS, but maybe HTTP */
    return f->closed || f->alert_received == 0 ? "eof_or_reset" : "other";
}

const char *line_rejected(const struct line_facts *f)
{
    if (!f->downstream || f->timeout)
        return "no";
    switch (f->alert_received) {
    case 42:
    case 43:
    case 45:
    case 46:
    case 48:
        return "certain";
    case 44:
        return "likely";
    default:
        return strcmp(line_reason(f), "eof_or_reset") == 0 ? "likely" : "no";
    }
}

/* ---- the object ---- */

static int refuse(struct line *line, const char *fault)
{
    line->fault = fault;
    return -SOTH_EINVALID;
}

/* Text without control characters, cut between characters. 0: it is no text. */
static int copy_text(const json_t *value, char *out, size_t size)
{
    if (!json_is_string(value))
        return 0;
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (n >= size)
        for (n = size - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i];
    out[n] = 0;
    return 1;
}

static int optional_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);
    out[0] = 0;
    return !value || json_is_null(value) || copy_text(value, out, size);
}

/* none: what an absent number is. 0: it is no number from 0 to most. */
static int optional_number(const json_t *object, const char *key, int most, int none, int *out)
{
    const json_t *value = json_object_get(object, key);
    *out = none;
    if (!value || json_is_null(value))
        return 1;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > most)
        return 0;
    *out = (int)json_integer_value(value);
    return 1;
}

static int optional_bool(const json_t *object, const char *key, int *out)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_true(value);
    return !value || json_is_boolean(value);
}

/* The place of the text among the words, -1: none of them. */
static int word_of(const json_t *object, const char *key, const char *const *words)
{
    const char *text = json_string_value(json_object_get(object, key));
    for (int i = 0; text && words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return -1;
}

/* As names are compared: lower case, no brackets, no dot at the end. 0: that is no host. */
static int normalize_host(char *host)
{
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        memmove(host, host + 1, n -= 2);
        host[n] = 0;
    }
    if (n > 0 && host[n - 1] == '.')
        host[--n] = 0;
    for (size_t i = 0; i < n; i++) {
        if (host[i] <= ' ' || host[i] >= 127)
            return 0;
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] + ('a' - 'A'));
    }
    return n <= 253;
}

static int read_who(const json_t *o, struct line *line)
{
    static const char *const providers[] = {"mitmproxy", "hudsucker", NULL}, *const confidences[] = {"authoritative", "inferred", NULL};
    struct soth_signal *s = &line->signal;
    int provider = word_of(o, "provider", providers), confidence = 0;
    if (provider < 0)
        return refuse(line, "its provider is neither mitmproxy nor hudsucker");
    if (json_object_get(o, "confidence") && (confidence = word_of(o, "confidence", confidences)) < 0)
        return refuse(line, "its confidence is neither authoritative nor inferred");
    s->provider = providers[provider];
    s->source = provider == 0 ? "mitmproxy_authoritative" : "hudsucker_inferred";
    s->authoritative = provider == 0 && confidence == 0; /* what hudsucker says is inferred, always */
    return SOTH_OK;
}

static int read_where(const json_t *o, struct line *line)
{
    static const char *const peers[] = {"downstream", "upstream", NULL};
    struct soth_signal *s = &line->signal;
    int peer = word_of(o, "peer", peers), port;
    if (peer < 0)
        return refuse(line, "its peer is neither downstream nor upstream");
    if (!optional_text(o, "host", line->host, sizeof line->host) || !normalize_host(line->host))
        return refuse(line, "its host is none");
    if (!optional_number(o, "port", 65535, 0, &port))
        return refuse(line, "its port is none");
    if (!optional_text(o, "client", line->client, sizeof line->client))
        return refuse(line, "its client is no text");
    s->peer = peers[peer];
    s->port = (uint32_t)port;
    s->host = soth_span(*line->host ? line->host : NULL);
    s->client = soth_span(*line->client ? line->client : NULL);
    return SOTH_OK;
}

static int read_facts(const json_t *o, struct line *line)
{
    struct line_facts f = {.downstream = strcmp(line->signal.peer, "downstream") == 0};
    if (!optional_number(o, "alert_received", 255, -1, &f.alert_received) || !optional_number(o, "alert_sent", 255, -1, &f.alert_sent))
        return refuse(line, "its alert is not a number from 0 to 255");
    if (!optional_number(o, "verify_code", 65535, 0, &f.verify_code))
        return refuse(line, "its verify_code is not a number");
    if (!optional_bool(o, "closed", &f.closed) || !optional_bool(o, "timeout", &f.timeout))
        return refuse(line, "closed and timeout are true or false");
    if (!optional_text(o, "error", line->error, sizeof line->error))
        return refuse(line, "its error is no text");
    struct soth_signal *s = &line->signal;
    int alert = f.alert_received >= 0 ? f.alert_received : f.alert_sent;
    s->reason = line_reason(&f);
    s->rejected_ca = line_rejected(&f);
    s->alert = alert >= 0 ? (uint32_t)alert : UINT32_MAX;
    s->verify_code = (uint32_t)f.verify_code;
    s->raw_error = soth_span(*line->error ? line->error : NULL);
    return SOTH_OK;
}

static int read_object(const json_t *o, struct line *line)
{
    static const char *const events[] = {"failed", "started", "established", NULL};
    int event = word_of(o, "event", events), r;
    if (!json_is_integer(json_object_get(o, "v")) || json_integer_value(json_object_get(o, "v")) != 1)
        return refuse(line, "its v is not 1: the add-on is of another version");
    if (event < 0)
        return refuse(line, "its event is none of started, established, failed");
    line->signal.phase = event == 0 ? SOTH_TLS_FAILED : event == 1 ? SOTH_TLS_STARTED : SOTH_TLS_SUCCEEDED;
    line->signal.alert = UINT32_MAX;
    if (!optional_text(o, "provider_identity", line->identity, sizeof line->identity))
        return refuse(line, "its provider_identity is no text");
    line->signal.identity = soth_span(*line->identity ? line->identity : NULL);
    if ((r = read_who(o, line)) < 0 || (r = read_where(o, line)) < 0)
        return r;
    return event == 0 ? read_facts(o, line) : SOTH_OK;
}

int line_read(const char *text, size_t n, struct line *line)
{
    json_error_t error;
    *line = (struct line){.signal = {.size = sizeof line->signal}};
    if (n > LINE_MOST)
        return refuse(line, "it is longer than 16384 bytes");
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    int r = json_is_object(o) ? read_object(o, line) : refuse(line, o ? "it is no JSON object" : "it is no JSON");
    json_decref(o);
    return r;
}
