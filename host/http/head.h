/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A complete head, contiguous in memory, through llhttp into a struct message. Inside this room only. The message's field arrays belong
 * to the calling thread and are valid until its next head.
 */
#ifndef HOST_HTTP_HEAD_H
#define HOST_HTTP_HEAD_H

#include "host/http/message.h"

#define HEAD_MAX_FIELDS 1024

enum head_kind { HEAD_REQUEST, HEAD_RESPONSE, HEAD_TRAILERS };

/*
 * p[0..n) ends with the empty line. 0, or -SOTH_EINVALID / -SOTH_ELIMIT with *fault (static class). Fills everything that can be read off
 * the fields; framing is guard_framing's.
 */
int head_parse(enum head_kind kind, const char *p, size_t n, struct message *msg, const char **fault);

/* What the message says about itself by this field. */
void head_note_field(struct message *msg, const struct soth_field *field, uint8_t id);

/* How far does a head go that begins at p? Looks from `from` on (what was looked at before). */
struct head_end {
    size_t size;       /* bytes incl. the empty line, 0 = not there yet */
    size_t looked;     /* give back as `from` when more bytes came */
    const char *fault; /* it can become no head any more */
};
void head_find_end(const char *p, size_t n, size_t from, bool bare_lf_allowed, struct head_end *out);

/* guard.c: what llhttp lets through (docs/testing/smuggling.md). 0 or -SOTH_EINVALID with *fault. Sets framing, lengths, keep_alive, ... */
int guard_request(struct message *msg, const char **fault);
int guard_response(struct message *msg, bool answers_head, const char **fault);
int guard_trailers(const struct message *msg, const char **fault);

/* The same for heads that came over HTTP/2; `end`: nothing follows. Each field is asked about first, by itself, as it is decoded. */
int guard_h2_field(struct soth_span name, struct soth_span value, const char **fault);
int guard_h2_request(struct message *msg, bool end, const char **fault);
int guard_h2_response(struct message *msg, bool end, const char **fault);
int guard_h2_trailers(const struct message *msg, const char **fault);

/* The repairs of RFC 9112 for responses when heads need not be strict: a malloc'd head, or NULL when out of memory. *size in and out. p[0..*size)
 * is what head_find_end found. What cannot be repaired stays as it is. */
char *repair_head(const char *p, size_t *size);

#endif
