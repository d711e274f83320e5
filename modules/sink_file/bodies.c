/* SPDX-License-Identifier: MPL-2.0 */
/* See bodies.h. A flow has one exchange at a time: what belongs to the one before is complete when the next one's head comes. */
#include "bodies.h"

#include "../coding/coding.h"
#include "sha256.h"
#include "shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define SLOTS 4096u
#define FLOWS_MOST 65536u /* remembered at once */
#define PIECE 16384u
#define UNKNOWN UINT64_MAX

enum body_state { BODY_NONE, BODY_OPEN, BODY_OVER };

struct body {
    uint8_t state;
    uint8_t made;   /* there is a file, and it is ours */
    uint8_t full;   /* more came out of its coding than is wanted */
    uint8_t broken; /* bytes are missing, or could not be written or decoded */
    uint64_t length;   /* as the head says, or UNKNOWN */
    uint64_t relayed, captured, written;
    struct coding_list codings;
    struct coding *coding;
    struct sha256 digest;
    struct soth_redaction redaction; /* of what is decoded here */
};

struct flow {
    struct flow *next;
    uint64_t flow_id, exchange_no;
    struct body body[2]; /* of the request, of the response */
};

struct bodies {
    struct bodies_options options;
    struct bodies_counts counts;
    struct shelf shelf;
    char run[9];         /* "" = the folder was not looked at yet */
    struct flow *slots[SLOTS];
    size_t flows;
    int fd;              /* of the file that was written to last */
    const struct body *of;
};

static const char *const sides[2] = {"request", "response"};

struct bodies *bodies_new(const struct bodies_options *options)
{
    struct bodies *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->options = *options;
    b->fd = -1;
    if (shelf_open(&b->shelf, options->dir, options->max_bytes) == 0)
        return b;
    int error = errno;
    free(b);
    errno = error;
    return NULL;
}

const struct bodies_counts *bodies_counts(const struct bodies *b)
{
    return &b->counts;
}

/* ---- files ---- */

static void file_name(const struct bodies *b, const struct flow *flow, unsigned side, const char *ending, char out[96])
{
    snprintf(out, 96, "%s-%llu-%llu-%s.%s", b->run, (unsigned long long)flow->flow_id, (unsigned long long)flow->exchange_no, sides[side], ending);
}

static void failed(struct bodies *b)
{
    b->counts.errors++;
    b->counts.error = errno;
}

static void let_go(struct bodies *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    b->of = NULL;
}

/* What is there already is another's: it is not touched. A folder that somebody has removed is made anew for what begins. */
static int file_of(struct bodies *b, struct flow *flow, unsigned side)
{
    char name[96], path[4096];
    struct body *body = &flow->body[side];
    if (b->of == body)
        return b->fd;
    let_go(b);
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (body->made ? 0 : O_CREAT | O_EXCL);
    file_name(b, flow, side, "part", name);
    if (shelf_path(&b->shelf, name, path, sizeof path))
        b->fd = open(path, flags, 0600);
    if (b->fd < 0 && errno == ENOENT && !body->made && shelf_make(&b->shelf) == 0)
        b->fd = open(path, flags, 0600);
    b->of = b->fd >= 0 ? body : NULL;
    body->made = body->made || b->fd >= 0;
    return b->fd;
}

static void write_piece(struct bodies *b, struct flow *flow, unsigned side, const char *p, size_t n)
{
    struct body *body = &flow->body[side];
    if (body->broken || n == 0)
        return;
    if (!shelf_reserve(&b->shelf, body->written, n)) {
        body->broken = 1; /* larger than all that may be kept */
        return;
    }
    int fd = file_of(b, flow, side);
    size_t done = 0;
    while (fd >= 0 && done < n) {
        ssize_t w = write(fd, p + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break;
        done += (size_t)w;
    }
    if (done < n) {
        failed(b);
        body->broken = 1;
        shelf_return(&b->shelf, body->written + n, body->written + done);
    }
    body->written += done;
    sha256_add(&body->digest, p, done);
}

static void write_digest(struct bodies *b, const char *name, const char *hex)
{
    char path[4096], digest[112], line[256];
    shelf_digest_name(name, digest);
    int n = snprintf(line, sizeof line, "%s  %s\n", hex, name);
    int fd = shelf_path(&b->shelf, digest, path, sizeof path) ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    int written = fd >= 0 && write(fd, line, (size_t)n) == n;
    if (!written)
        failed(b);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !written) /* half a digest is none */
        unlink(path);
}

/* The finished file gets its name and its digest. Nothing was written (a coding that held nothing): it is an empty one. 0: there is none. */
static int name_file(struct bodies *b, struct flow *flow, unsigned side, const char *ending)
{
    struct body *body = &flow->body[side];
    char from[96], name[96], path[4096], to[4096], hex[65];
    if (!body->made && (!body->broken || body->coding) && file_of(b, flow, side) < 0)
        failed(b);
    let_go(b);
    if (!body->made) {
        shelf_add(&b->shelf, NULL, body->written);
        return 0;
    }
    file_name(b, flow, side, "part", from);
    file_name(b, flow, side, ending, name);
    sha256_hex(&body->digest, hex);
    write_digest(b, name, hex); /* first: who sees the name finds it */
    if (!shelf_path(&b->shelf, from, path, sizeof path) || !shelf_path(&b->shelf, name, to, sizeof to) || rename(path, to) < 0) {
        failed(b);
        shelf_drop_digest(&b->shelf, name);
        shelf_add(&b->shelf, NULL, body->written);
        return 0;
    }
    shelf_add(&b->shelf, name, body->written);
    return 1;
}

/* The message is over. `went_well`: as far as its flow knows. */
static void finish(struct bodies *b, struct flow *flow, unsigned side, int went_well)
{
    struct body *body = &flow->body[side];
    if (body->state == BODY_OPEN) {
        if (body->coding && !body->full && !body->broken && body->captured == body->relayed)
            body->broken = coding_end(body->coding) < 0;
        int whole = body->length == UNKNOWN ? went_well : body->relayed == body->length;
        int sample = !body->broken && (body->full || body->captured < body->relayed);
        int cut = !sample && (!whole || body->broken);
        int named = name_file(b, flow, side, sample ? "sample" : cut ? "cut" : "body");
        b->counts.written += (uint64_t)named;
        b->counts.cut += (uint64_t)(named && cut);
        b->counts.left_out += (uint64_t)!named;
    }
    coding_free(body->coding);
    *body = (struct body){.length = UNKNOWN};
}

/* ---- pieces ---- */

static int begin(struct bodies *b, struct body *body, uint64_t offset)
{
    const struct coding_limits limits = {.max_ratio = 1000, .max_bytes = b->options.max_bytes, .max_window = 8u << 20};
    if (offset > 0) { /* it began before we were there */
        body->state = BODY_OVER;
        return 0;
    }
    body->state = BODY_OPEN;
    body->redaction = (struct soth_redaction){.opaque = {0}};
    sha256_init(&body->digest);
    if (b->options.decoded && body->codings.n > 0 && !(body->coding = coding_new(&body->codings, &limits)))
        body->broken = 1;
    return 1;
}

static void write_decoded(struct bodies *b, struct flow *flow, unsigned side, struct soth_span in)
{
    char out[PIECE];
    struct body *body = &flow->body[side];
    size_t made = sizeof out;
    while (!body->broken && !body->full && (in.n > 0 || made == sizeof out)) {
        int r = coding_take(body->coding, &in, out, sizeof out, &made);
        uint64_t room = b->options.sample - body->written;
        body->full = made > room;
        made = body->full ? (size_t)room : made;
        r = body->full ? SOTH_OK : r; /* nobody looks further */
        b->options.host->redact(b->options.sink, &body->redaction, out, made); /* nobody could, before it was decoded */
        write_piece(b, flow, side, out, made);
        body->broken = body->broken || r < 0;
    }
}

/* `last`: with these bytes the message is over; then nobody waits for what comes next on its connection. */
static void piece(struct bodies *b, struct flow *flow, unsigned side, struct soth_span payload, uint64_t offset, uint64_t bytes, int last)
{
    struct body *body = &flow->body[side];
    if (body->state == BODY_NONE && (payload.n == 0 || !begin(b, body, offset)))
        return;
    if (body->state != BODY_OPEN)
        return;
    int beyond = body->full || (payload.n == 0 && body->captured < body->relayed); /* behind a sample nothing is missed */
    body->broken = body->broken || (offset != body->relayed && !beyond); /* what the queue has lost */
    body->relayed = offset + bytes;
    if (payload.n > 0)
        body->captured = offset + payload.n;
    if (body->coding && payload.n > 0)
        write_decoded(b, flow, side, payload);
    else
        write_piece(b, flow, side, payload.p, payload.n);
    if (last || body->relayed == body->length)
        finish(b, flow, side, 1);
}

/* ---- flows ---- */

static struct flow **slot_of(struct bodies *b, uint64_t flow_id)
{
    struct flow **at = &b->slots[flow_id % SLOTS];
    while (*at && (*at)->flow_id != flow_id)
        at = &(*at)->next;
    return at;
}

static struct flow *flow_of(struct bodies *b, uint64_t flow_id)
{
    struct flow **at = slot_of(b, flow_id);
    if (*at || b->flows >= FLOWS_MOST)
        return *at;
    struct flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        return NULL;
    flow->flow_id = flow_id;
    flow->exchange_no = 1;
    flow->body[0].length = flow->body[1].length = UNKNOWN;
    b->flows++;
    return *at = flow;
}

static void forget(struct bodies *b, uint64_t flow_id, int went_well)
{
    struct flow **at = slot_of(b, flow_id), *flow = *at;
    if (!flow)
        return;
    finish(b, flow, 0, went_well);
    finish(b, flow, 1, went_well);
    *at = flow->next;
    free(flow);
    b->flows--;
}

void bodies_end(struct bodies *b)
{
    for (size_t i = 0; i < SLOTS; i++)
        while (b->slots[i])
            forget(b, b->slots[i]->flow_id, 0);
    let_go(b);
    b->counts.evicted = b->shelf.evicted;
}

void bodies_free(struct bodies *b)
{
    if (!b)
        return;
    bodies_end(b);
    shelf_close(&b->shelf);
    free(b);
}

/* ---- events ---- */

static const struct soth_attr *find(const struct soth_event *e, const char *name)
{
    for (uint32_t i = 0; i < e->attr_count; i++)
        if (soth_span_is((struct soth_span){e->attrs[i].name, e->attrs[i].name_len}, name))
            return &e->attrs[i];
    return NULL;
}

static uint64_t number(const struct soth_event *e, const char *name, uint64_t otherwise)
{
    const struct soth_attr *a = find(e, name);
    return a ? a->number : otherwise;
}

/* What a line of a captured head says of this field ("Name: "); absent: it is another's. */
static struct soth_span value_of(struct soth_span line, const char *name)
{
    size_t n = strlen(name);
    return line.n >= n && strncasecmp(line.p, name, n) == 0 ? (struct soth_span){line.p + n, line.n - n} : (struct soth_span){NULL, 0};
}

/* From the fields of a captured head. Of an unknown coding and of a range, which has no beginning, nothing is decoded: as it is relayed. */
static void read_codings(struct body *body, struct soth_span fields)
{
    while (fields.n > 0) {
        const char *over = memchr(fields.p, '\n', fields.n);
        size_t line = over ? (size_t)(over - fields.p) : fields.n;
        struct soth_span coding = value_of((struct soth_span){fields.p, line}, "Content-Encoding: ");
        if (value_of((struct soth_span){fields.p, line}, "Content-Range: ").p || (coding.n > 0 && coding_list_add(&body->codings, coding) < 0)) {
            body->codings.n = 0;
            return;
        }
        fields.p += over ? line + 1 : line;
        fields.n -= over ? line + 1 : line;
    }
}

/* The flow of an event, at its exchange. A sink need not subscribe to heads. */
static struct flow *exchange_of(struct bodies *b, const struct soth_event *e)
{
    struct flow *flow = flow_of(b, e->flow_id);
    uint64_t exchange_no = number(e, "exchange_no", 1);
    if (flow && exchange_no > flow->exchange_no) {
        finish(b, flow, 0, 1);
        finish(b, flow, 1, 1);
        flow->exchange_no = exchange_no;
    }
    return flow && exchange_no == flow->exchange_no ? flow : NULL;
}

static void head(struct bodies *b, const struct soth_event *e, unsigned side)
{
    struct flow *flow = find(e, "interim") ? NULL : exchange_of(b, e);
    const struct soth_attr *fields = find(e, "headers");
    if (!flow)
        return;
    flow->body[side].length = number(e, "content_length", UNKNOWN);
    if (fields)
        read_codings(&flow->body[side], fields->text);
}

static void chunk(struct bodies *b, const struct soth_event *e, unsigned side)
{
    struct flow *flow = exchange_of(b, e);
    const struct soth_attr *payload = find(e, "payload");
    struct soth_span none = {NULL, 0};
    if (flow)
        piece(b, flow, side, payload ? payload->text : none, number(e, "offset", 0), number(e, "bytes", 0),
              find(e, "last") != NULL);
}

/* A connection that ends between two exchanges, whichever way, has cut nothing. */
static int ended_well(const struct soth_event *e)
{
    const struct soth_attr *code = find(e, "reason_code"), *phase = find(e, "reason_detail");
    if (phase && (soth_span_is(phase->text, "idle") || soth_span_is(phase->text, "request_head")))
        return 1;
    return code && (soth_span_is(code->text, "mitm_http_completed") || soth_span_is(code->text, "relay_eof"));
}

void bodies_event(struct bodies *b, const struct soth_event *e)
{
    if (!b->run[0]) {
        snprintf(b->run, sizeof b->run, "%.*s", e->run_id.n < 8 ? (int)e->run_id.n : 8, e->run_id.p);
        shelf_scan(&b->shelf, b->run);
    }
    switch (e->kind) {
    case SOTH_EV_REQUEST_HEADERS: head(b, e, 0); break;
    case SOTH_EV_RESPONSE_HEADERS: head(b, e, 1); break;
    case SOTH_EV_REQUEST_BODY_CHUNK: chunk(b, e, 0); break;
    case SOTH_EV_RESPONSE_BODY_CHUNK: chunk(b, e, 1); break;
    case SOTH_EV_STREAM_CLOSED: forget(b, e->flow_id, ended_well(e)); break;
    default: break;
    }
    b->counts.evicted = b->shelf.evicted;
}
