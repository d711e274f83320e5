/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first head on a proxy connection: CONNECT (RFC 9110 9.3.6), an absolute-form request (RFC 9112 3.2.2), or an error with the
 * contract's parse_error_code. Pure, incremental by calling again with more bytes; never looks past n.
 */
#ifndef HOST_HTTP_CONNECT_H
#define HOST_HTTP_CONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

enum connect_error {
    CONNECT_OK,
#define CONNECT_ERROR(NAME, text) CONNECT_##NAME,
#include "host/http/connect_error.def" /* INCOMPLETE_HEADERS incomplete_headers, ... READ_ERROR read_error */
#undef CONNECT_ERROR
};
const char *connect_error_name(enum connect_error error);

#define TARGET_MAX_HOST 255
struct target {
    char host[TARGET_MAX_HOST + 1]; /* lower case, no brackets, no trailing dot, NUL-terminated */
    size_t host_len;
    uint16_t port;
    struct soth_addr addr; /* family != 0: the host is an address */
};

/*
 * "host:port" as in CONNECT and Host. strict: RFC 3986 authority without userinfo; lenient additionally takes http(s):// in front, a path
 * behind, a missing port (default_port), bare IPv6. IPv4 in IPv6 (::ffff:192.0.2.1) becomes IPv4. default_port 0: the port is required.
 * IPv4 addresses in any but the dotted-decimal form of four numbers are INVALID_AUTHORITY in both modes (0x7f.1, 2130706433, 127.1).
 * detail: static text.
 */
enum connect_error target_parse(struct soth_span text, bool lenient, uint16_t default_port, struct target *out, const char **detail);
/* "http://host[:port]/path?query" -> scheme, target, origin-form. 0 or a connect_error. Left to the caller: "/" in front of a query without a
 * path ("?query" comes out), "*" for OPTIONS without a path. */
enum connect_error target_parse_absolute(struct soth_span uri, struct target *out, struct soth_span *scheme, struct soth_span *origin_form,
                                         const char **detail);
/* Same host (case, trailing dot and port ignored)? */
bool target_same_host(struct soth_span a, struct soth_span b);

struct connect_request {
    struct target target;
    uint8_t minor;
    struct target host;  /* of a Host field; host_len 0 = none sent */
    size_t head_bytes;   /* what follows belongs to the tunnel */
};

enum connect_result {
    CONNECT_MORE,      /* a proper beginning: read on */
    CONNECT_DONE,      /* *out is complete */
    CONNECT_IS_HTTP,   /* not CONNECT, but a request line with an absolute http:// or https:// target: the HTTP/1 codec's */
    CONNECT_FAILED     /* *error, *detail */
};
/* `eof`: no more bytes will come (then never CONNECT_MORE). CONNECT with a body (Content-Length other than 0, Transfer-Encoding) is refused. */
enum connect_result connect_parse(const uint8_t *p, size_t n, bool eof, bool lenient, size_t max_head_bytes, struct connect_request *out,
                                  enum connect_error *error, const char **detail);

#endif
