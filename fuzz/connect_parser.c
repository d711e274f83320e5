/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first byte chooses how lenient connect_parse is, the rest is what a client sent. What must hold: every beginning is answered with MORE
 * until the answer that stays; after the end of the input there is always an answer; what comes out as a target reads as the same target.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/http/connect.h"

enum { LENIENT = 1, SMALL = 2 };

struct answer {
    enum connect_result result;
    enum connect_error error;
    const char *detail;
    struct connect_request request;
};

static struct answer parse(const uint8_t *p, size_t n, bool eof, int options)
{
    struct answer a = {.error = CONNECT_OK};
    uint8_t *exact = malloc(n ? n : 1);
    MUST(exact);
    memcpy(exact, p, n);
    a.result = connect_parse(exact, n, eof, options & LENIENT, options & SMALL ? 64 : 65536, &a.request, &a.error, &a.detail);
    free(exact);
    MUST((a.result == CONNECT_FAILED) == (a.error != CONNECT_OK));
    MUST(a.result != CONNECT_FAILED || (a.detail && connect_error_name(a.error)[0]));
    return a;
}

static void check_target(const struct target *target)
{
    char text[TARGET_MAX_HOST + 16];
    struct target again;
    const char *detail;
    MUST(target->host_len > 0 && target->host_len <= TARGET_MAX_HOST && strlen(target->host) == target->host_len);
    for (size_t i = 0; i < target->host_len; i++)
        MUST(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.:", target->host[i]));
    MUST(target->addr.family == 0 || target->addr.family == 4 || target->addr.family == 6);
    int n = snprintf(text, sizeof text, target->addr.family == 6 ? "[%s]:%u" : "%s:%u", target->host, target->port ? target->port : 1u);
    MUST(target_parse((struct soth_span){text, (size_t)n}, false, 0, &again, &detail) == CONNECT_OK);
    MUST(strcmp(again.host, target->host) == 0 && again.addr.family == target->addr.family);
    MUST(memcmp(again.addr.bytes, target->addr.bytes, sizeof again.addr.bytes) == 0);
    MUST(target_same_host((struct soth_span){text, (size_t)n}, (struct soth_span){target->host, target->host_len}));
}

static void check_absolute(const uint8_t *p, size_t n)
{
    struct target target;
    struct soth_span scheme, form;
    const char *detail;
    if (target_parse_absolute((struct soth_span){(const char *)p, n}, &target, &scheme, &form, &detail) != CONNECT_OK)
        return;
    MUST(soth_span_is(scheme, "http") || soth_span_is(scheme, "https"));
    MUST(form.n > 0 && (form.p[0] == '/' || form.p[0] == '?') && target.port > 0);
    check_target(&target);
}

static void check_beginnings(const uint8_t *p, size_t n, int options, const struct answer *whole)
{
    bool answered = false;
    size_t step = n / 256 + 1;
    for (size_t k = 0; k < n; k += step) {
        struct answer a = parse(p, k, false, options);
        if (a.result == CONNECT_MORE) {
            MUST(!answered);
            continue;
        }
        answered = true;
        MUST(a.result == whole->result && a.error == whole->error && a.detail == whole->detail);
        MUST(a.result != CONNECT_DONE || (a.request.head_bytes == whole->request.head_bytes && a.request.minor == whole->request.minor &&
                                          memcmp(&a.request.target, &whole->request.target, sizeof a.request.target) == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int options = data[0];
    data++;
    size--;
    struct answer whole = parse(data, size, false, options);
    MUST(parse(data, size, true, options).result != CONNECT_MORE);
    check_beginnings(data, size, options, &whole);
    check_absolute(data, size);
    if (whole.result == CONNECT_DONE) {
        MUST(whole.request.head_bytes <= size);
        check_target(&whole.request.target);
        if (whole.request.host.host_len)
            check_target(&whole.request.host);
    }
    return 0;
}
