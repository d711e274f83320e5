/* SPDX-License-Identifier: MPL-2.0 */
/*
 * ClientHello parser (RFC 8446 4.1.2, RFC 5246 7.4.1.2, RFC 6066 3, RFC 7301). Reads the raw bytes that a client sent first -
 * TLS records, the message may be spread over any number of them - without any TLS state. Pure; never looks past n.
 */
#ifndef HOST_TLS_HELLO_H
#define HOST_TLS_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

#include "host/mem/buffer.h"

#define HELLO_MAX_BYTES 65536 /* of records; a longer hello is refused */
#define HELLO_MAX_NAME 254 /* with a dot at the end, RFC 1035 2.3.4 */

struct hello {
    char sni[HELLO_MAX_NAME + 1]; /* lower case, without trailing dot, NUL-terminated; "" = not sent */
    size_t sni_len;
    uint8_t alpn[256];     /* the protocol list as on the wire: length-prefixed names (RFC 7301 3.1), whole names only */
    size_t alpn_len;
    char alpn_text[256];   /* the same, comma-separated, for events; bytes that are not printable, "," and "%" as %XX */
    uint16_t max_version;  /* highest offered, 0x0304 = TLS 1.3 */
    uint8_t has_tickets;   /* session_ticket or pre_shared_key with content was offered */
    size_t bytes;          /* input bytes that the hello's records take */
    size_t records;        /* how many records that are; see hello_rerecord */
    char ja3[33], ja4[37]; /* NUL-terminated; "" until hello_fingerprint */
};

#define HELLO_DONE 1 /* *out is complete */
#define HELLO_MORE 0 /* the bytes so far are a proper beginning */
/*
 * Returns HELLO_DONE, HELLO_MORE, -SOTH_EINVALID (not TLS or malformed: *fault says what, static text) or -SOTH_ELIMIT.
 * Refuses a doubled extension, a name with NUL or outside hostname characters, lengths that do not add up.
 */
int hello_parse(const uint8_t *p, size_t n, struct hello *out, const char **fault);

/*
 * Appends the hello's message in as few records as it fits into. wolfSSL does not read a handshake header that is spread over
 * records, so a hello with records > 1 goes through here before it is fed to a session. p and n are what hello_parse called done.
 * 0 or -SOTH_ENOMEM.
 */
int hello_rerecord(const uint8_t *p, size_t n, struct buffer *out);

/*
 * Fills in the client's fingerprints: JA3 (MD5 in hex) and JA4 (t13d1516h2_8daaf6152771_e5627efa2ab1). GREASE values (RFC 8701) count in
 * neither. p and n are what hello_parse called done, hello what it made of them. 0 or -SOTH_ENOMEM (a hello of more than 1 KiB needs some).
 */
int hello_fingerprint(const uint8_t *p, size_t n, struct hello *hello);

/*
 * What do the first bytes look like? GUESS_MORE: a longer look is needed. Empty lines before a request are passed over; a method that
 * is not one of RFC 9110's must be followed by a target to be taken for HTTP, so that other line protocols are not.
 */
enum hello_guess { GUESS_MORE, GUESS_TLS, GUESS_HTTP1, GUESS_HTTP2, GUESS_OTHER };
enum hello_guess hello_guess(const uint8_t *p, size_t n);

#endif
