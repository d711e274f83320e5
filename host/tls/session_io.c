/* SPDX-License-Identifier: MPL-2.0 */
/*
 * wolfSSL asks for bytes and hands bytes over; both are memory. While the handshake lasts the record headers are watched for alerts in
 * plaintext: a TLS 1.3 client that refuses our certificate may send one where wolfSSL expects an encrypted record, which it reports
 * as a mere parse error as soon as it has the header.
 */
#include <string.h>

#include "host/tls/profile.h"
#include "host/tls/session_state.h"
#include "host/tls/staple_watch.h"

#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22

/* Follows the records of [p, p + n). wolfSSL reads a header and a body in separate calls, each possibly in pieces. */
static void watch(struct session *s, const uint8_t *p, size_t n)
{
    while (n > 0) {
        if (s->record_have < sizeof s->record) {
            s->record[s->record_have++] = *p++;
            n--;
            if (s->record_have == sizeof s->record)
                s->record_left = (uint16_t)(s->record[3] << 8 | s->record[4]);
        } else {
            size_t part = n < s->record_left ? n : s->record_left;
            if (s->record[0] == RECORD_HANDSHAKE && s->staple)
                staple_watch_feed(s->staple, p, part);
            if (s->record[0] == RECORD_ALERT && s->record[3] == 0 && s->record[4] == 2)
                for (size_t i = 0; i < part; i++) {
                    if (s->record_left - i == 2)
                        s->alert_level = (int8_t)p[i];
                    else
                        s->alert_sniffed = p[i];
                }
            s->record_left = (uint16_t)(s->record_left - part);
            p += part;
            n -= part;
        }
        if (s->record_have == sizeof s->record && s->record_left == 0) {
            s->spoke |= s->record[0] == RECORD_HANDSHAKE;
            s->record_have = 0;
        }
    }
}

int session_io_awaits_alert(struct session *s)
{
    if (s->record_have < sizeof s->record || s->record[0] != RECORD_ALERT || s->record[3] != 0 || s->record[4] != 2)
        return 0;
    size_t part = s->in_size < s->record_left ? s->in_size : s->record_left;
    watch(s, s->in, part);
    s->in += part;
    s->in_size -= part;
    return s->record_have > 0 && !s->ended && !s->timed_out;
}

int session_io_recv(WOLFSSL *tls, char *p, int n, void *session)
{
    struct session *s = session;
    (void)tls;
    if (s->in_size == 0) {
        if (!s->ended)
            return WOLFSSL_CBIO_ERR_WANT_READ;
        return s->sys_errno ? WOLFSSL_CBIO_ERR_CONN_RST : WOLFSSL_CBIO_ERR_CONN_CLOSE;
    }
    size_t part = (size_t)n < s->in_size ? (size_t)n : s->in_size;
    memcpy(p, s->in, part);
    if (!s->done)
        watch(s, s->in, part);
    s->in += part;
    s->in_size -= part;
    return (int)part;
}

int session_io_send(WOLFSSL *tls, char *p, int n, void *session)
{
    struct session *s = session;
    (void)tls;
    if (!s->out || buffer_append(s->out, p, (size_t)n) < 0)
        return WOLFSSL_CBIO_ERR_GENERAL;
    s->flight += (size_t)n;
    return n;
}
