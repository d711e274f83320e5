/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Any bytes go to hello_parse. What must hold: every beginning of an input is answered with MORE until the answer that stays; names that
 * come out are host names; a hello put into one record reads the same and has the same fingerprints, whose shape is given.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/tls/hello.h"

static void check_beginnings(const uint8_t *data, size_t size, int whole)
{
    struct hello h;
    const char *fault;
    size_t step = size / 64 + 1;
    int answered = 0;
    for (size_t n = 0; n < size; n += step) {
        int r = hello_parse(data, n, &h, &fault);
        MUST(r == HELLO_MORE ? !answered : r == whole);
        answered |= r != HELLO_MORE;
    }
}

static void check_fingerprints(const uint8_t *data, struct hello *h, const struct buffer *one, struct hello *again)
{
    MUST(hello_fingerprint(data, h->bytes, h) == 0);
    MUST(hello_fingerprint(buffer_data(one), buffer_size(one), again) == 0);
    MUST(strcmp(h->ja3, again->ja3) == 0 && strcmp(h->ja4, again->ja4) == 0);
    MUST(strlen(h->ja3) == 32 && strspn(h->ja3, "0123456789abcdef") == 32);
    MUST(strlen(h->ja4) == 36 && h->ja4[0] == 't' && h->ja4[10] == '_' && h->ja4[23] == '_');
    MUST((h->ja4[3] == 'd' || h->ja4[3] == 'i') && strspn(h->ja4 + 24, "0123456789abcdef") == 12);
}

static void check_hello(const uint8_t *data, size_t size, struct hello *h)
{
    struct buffer one = {0};
    struct hello again;
    const char *fault;
    size_t at = 0;
    MUST(h->bytes <= size && h->bytes <= HELLO_MAX_BYTES && h->records > 0);
    MUST(strlen(h->sni) == h->sni_len && strlen(h->alpn_text) < sizeof h->alpn_text);
    for (size_t i = 0; i < h->sni_len; i++)
        MUST(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", h->sni[i]));
    while (at < h->alpn_len)
        at += 1u + h->alpn[at];
    MUST(at == h->alpn_len);
    MUST(hello_rerecord(data, h->bytes, &one) == 0);
    MUST(hello_parse(buffer_data(&one), buffer_size(&one), &again, &fault) == HELLO_DONE);
    MUST(again.sni_len == h->sni_len && memcmp(again.sni, h->sni, h->sni_len) == 0 && again.records <= h->records);
    MUST(again.alpn_len == h->alpn_len && memcmp(again.alpn, h->alpn, h->alpn_len) == 0 && again.max_version == h->max_version);
    check_fingerprints(data, h, &one, &again);
    buffer_fini(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello h;
    const char *fault = NULL;
    int r = hello_parse(data, size, &h, &fault);
    MUST(r == HELLO_DONE || r == HELLO_MORE || r == -SOTH_EINVALID || r == -SOTH_ELIMIT);
    MUST((r < 0) == (fault != NULL));
    check_beginnings(data, size, r);
    if (r == HELLO_DONE) {
        MUST(hello_guess(data, size) == GUESS_TLS);
        check_hello(data, size, &h);
    }
    return 0;
}
