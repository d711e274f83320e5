/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_wire.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "h2_wire.h"
#include "host/http/h2.h"
#include "http_play.h"

static const struct golden_case here = {.title = (char *)(uintptr_t)"frames"};

static const char *const types[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};
static const char *const settings[] = {NULL,
                                       "header_table_size",
                                       "enable_push",
                                       "max_concurrent_streams",
                                       "initial_window_size",
                                       "max_frame_size",
                                       "max_header_list_size",
                                       NULL,
                                       "enable_connect_protocol",
                                       "no_rfc7540_priorities"};

void h2_wire_init(struct h2_wire *wire)
{
    assert_int_equal(nghttp2_hd_deflate_new(&wire->deflater, 4096), 0);
    assert_int_equal(nghttp2_hd_inflate_new(&wire->inflater), 0);
}

void h2_wire_fini(struct h2_wire *wire)
{
    nghttp2_hd_deflate_del(wire->deflater);
    nghttp2_hd_inflate_del(wire->inflater);
}

static void put(struct buffer *out, const void *p, size_t n)
{
    assert_int_equal(buffer_append(out, p, n), 0);
}

static void put_number(struct buffer *out, uint64_t value, int bytes)
{
    uint8_t p[8];
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    put(out, p, (size_t)bytes);
}

static void put_head(struct buffer *out, size_t length, uint8_t type, uint8_t flags, uint32_t stream)
{
    put_number(out, length, 3);
    put_number(out, type, 1);
    put_number(out, flags, 1);
    put_number(out, stream, 4);
}

void h2_wire_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t n)
{
    put_head(out, n, type, flags, stream);
    put(out, payload, n);
}

/* ---- lines ---- */

const char *h2_wire_line(const char **text, size_t *n)
{
    const char *line = *text;
    *n = 0;
    if (!*line)
        return NULL;
    const char *end = strchrnul(line, '\n');
    *text = *end ? end + 1 : end;
    while (*line == ' ')
        line++;
    *n = (size_t)(end - line);
    return line;
}

/* Indented lines below a frame's. */
static const char *below(const char **text, size_t *n)
{
    return **text == ' ' ? h2_wire_line(text, n) : NULL;
}

struct words {
    char copy[256];
    char *word[16];
    size_t n;
};

static void split(const char *line, size_t n, struct words *out)
{
    assert_true(n < sizeof out->copy);
    memcpy(out->copy, line, n);
    out->copy[n] = 0;
    out->n = 0;
    for (char *word = strtok(out->copy, " "); word; word = strtok(NULL, " ")) {
        assert_true(out->n < sizeof out->word / sizeof *out->word);
        out->word[out->n++] = word;
    }
}

static bool has(const struct words *words, const char *word)
{
    for (size_t i = 1; i < words->n; i++)
        if (strcmp(words->word[i], word) == 0)
            return true;
    return false;
}

/* name=N, or `otherwise`. */
static uint64_t option(const struct words *words, const char *name, uint64_t otherwise)
{
    size_t n = strlen(name);
    for (size_t i = 1; i < words->n; i++)
        if (strncmp(words->word[i], name, n) == 0 && words->word[i][n] == '=')
            return strtoull(words->word[i] + n + 1, NULL, 0);
    return otherwise;
}

static uint32_t code_of(const char *name)
{
    for (uint32_t i = 0; i < 14; i++)
        if (strcmp(h2_code_name(i), name) == 0)
            return i;
    return (uint32_t)strtoul(name, NULL, 0);
}

static uint32_t id_of(const struct words *words)
{
    assert_true(words->n > 1);
    return (uint32_t)strtoul(words->word[1], NULL, 0);
}

/* ---- frames from lines ---- */

static void payload_below(const char **text, struct buffer *out)
{
    size_t n;
    for (const char *line; (line = below(text, &n)) != NULL;)
        golden_unescape(&here, line, n, out);
}

static void fields_below(struct h2_wire *wire, const char **text, struct buffer *out)
{
    nghttp2_nv nv[64];
    struct buffer bytes[2 * 64] = {{0}};
    size_t count = 0, n;
    for (const char *line; (line = below(text, &n)) != NULL; count++) {
        const char *colon = memmem(line + 1, n - 1, ": ", 2);
        assert_true(count < 64);
        struct buffer *name = &bytes[2 * count], *value = name + 1;
        size_t name_len = colon ? (size_t)(colon - line) : n - 1; /* "name:" without a value */
        golden_unescape(&here, line, name_len, name);
        if (colon)
            golden_unescape(&here, colon + 2, n - name_len - 2, value);
        nv[count] = (nghttp2_nv){name->p ? name->p : (uint8_t *)"", value->p ? value->p : (uint8_t *)"", name->len, value->len, 0};
    }
    size_t bound = nghttp2_hd_deflate_bound(wire->deflater, nv, count);
    assert_int_equal(buffer_reserve(out, bound ? bound : 1), 0);
    ssize_t size = nghttp2_hd_deflate_hd(wire->deflater, out->p + out->len, bound, nv, count);
    assert_true(size >= 0);
    buffer_commit(out, (size_t)size);
    for (size_t i = 0; i < 2 * count; i++)
        buffer_fini(&bytes[i]);
}

static void write_headers(struct h2_wire *wire, const struct words *words, const char **text, struct buffer *out)
{
    struct buffer block = {0};
    if (has(words, "PRIORITY"))
        put(&block, "\0\0\0\0\x0f", 5);
    fields_below(wire, text, &block);
    size_t n = buffer_size(&block), first = (size_t)option(words, "SPLIT", n), at = first < n ? first : n;
    uint8_t flags = (uint8_t)((has(words, "END_STREAM") ? 1 : 0) | (has(words, "PRIORITY") ? 0x20 : 0));
    bool open_end = has(words, "NO_END_HEADERS");
    h2_wire_frame(out, 1, (uint8_t)(flags | (at == n && !open_end ? 4 : 0)), id_of(words), buffer_data(&block), at);
    while (at < n) {
        size_t part = n - at < first ? n - at : first;
        h2_wire_frame(out, 9, at + part == n && !open_end ? 4 : 0, id_of(words), buffer_data(&block) + at, part);
        at += part;
    }
    buffer_fini(&block);
}

static void write_data(const struct words *words, const char **text, struct buffer *out)
{
    struct buffer data = {0};
    size_t padding = (size_t)option(words, "PADDED", 0), many = (size_t)option(words, "bytes", 0);
    if (padding)
        put_number(&data, padding, 1);
    payload_below(text, &data);
    for (size_t i = 0; i < many; i++)
        put(&data, "x", 1);
    for (size_t i = 0; i < padding; i++)
        put(&data, "", 1);
    h2_wire_frame(out, 0, (uint8_t)((has(words, "END_STREAM") ? 1 : 0) | (padding ? 8 : 0)), id_of(words), buffer_data(&data), buffer_size(&data));
    buffer_fini(&data);
}

static void write_settings(const struct words *words, struct buffer *out)
{
    struct buffer list = {0};
    if (has(words, "ACK")) {
        h2_wire_frame(out, 4, 1, 0, NULL, 0);
        return;
    }
    for (size_t i = 1; i < words->n; i++) {
        char *value = strchr(words->word[i], '=');
        assert_non_null(value);
        size_t n = (size_t)(value - words->word[i]), id = 0;
        for (size_t k = 1; k < 10; k++)
            if (settings[k] && strlen(settings[k]) == n && strncmp(settings[k], words->word[i], n) == 0)
                id = k;
        put_number(&list, id ? id : strtoul(words->word[i], NULL, 0), 2);
        put_number(&list, strtoul(value + 1, NULL, 0), 4);
    }
    h2_wire_frame(out, 4, 0, 0, buffer_data(&list), buffer_size(&list));
    buffer_fini(&list);
}

static void write_raw(const struct words *words, const char **text, struct buffer *out)
{
    struct buffer payload = {0};
    payload_below(text, &payload);
    put_head(out, (size_t)option(words, "length", buffer_size(&payload)), (uint8_t)option(words, "type", 0), (uint8_t)option(words, "flags", 0),
             (uint32_t)option(words, "stream", 0));
    put(out, buffer_data(&payload), buffer_size(&payload));
    buffer_fini(&payload);
}

static void write_numbers(uint8_t type, uint8_t flags, uint32_t stream, uint32_t first, const char *more, struct buffer *out)
{
    struct buffer payload = {0};
    put_number(&payload, first, 4);
    if (more)
        put(&payload, more, strlen(more));
    h2_wire_frame(out, type, flags, stream, buffer_data(&payload), buffer_size(&payload));
    buffer_fini(&payload);
}

void h2_wire_write(struct h2_wire *wire, const char **text, struct buffer *out)
{
    struct words w;
    size_t n;
    const char *line = h2_wire_line(text, &n);
    assert_non_null(line);
    split(line, n, &w);
    const char *type = w.word[0];
    if (strcmp(type, "PREFACE") == 0) {
        put(out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    } else if (strcmp(type, "HEADERS") == 0) {
        write_headers(wire, &w, text, out);
    } else if (strcmp(type, "DATA") == 0) {
        write_data(&w, text, out);
    } else if (strcmp(type, "SETTINGS") == 0) {
        write_settings(&w, out);
    } else if (strcmp(type, "RAW") == 0) {
        write_raw(&w, text, out);
    } else if (strcmp(type, "WINDOW_UPDATE") == 0) {
        write_numbers(8, 0, id_of(&w), (uint32_t)strtoul(w.word[2], NULL, 0), NULL, out);
    } else if (strcmp(type, "RST_STREAM") == 0) {
        write_numbers(3, 0, id_of(&w), code_of(w.word[2]), NULL, out);
    } else if (strcmp(type, "GOAWAY") == 0) {
        uint32_t code = code_of(w.word[2]);
        write_numbers(7, 0, 0, id_of(&w), NULL, out);
        out->p[out->len - 11] = 8; /* the length, and the code behind */
        put_number(out, code, 4);
    } else if (strcmp(type, "PING") == 0) {
        const char *data = w.word[w.n - 1];
        assert_int_equal(strlen(data), 8);
        h2_wire_frame(out, 6, has(&w, "ACK") ? 1 : 0, 0, data, 8);
    } else if (strcmp(type, "PRIORITY") == 0) {
        write_numbers(2, 0, id_of(&w), (uint32_t)option(&w, "on", 0), "\x10", out);
    } else if (strcmp(type, "PRIORITY_UPDATE") == 0) {
        write_numbers(16, 0, 0, id_of(&w), w.word[2], out);
    } else {
        fail_msg("no such frame: %s", type);
    }
}

void h2_wire_write_all(struct h2_wire *wire, const char *text, struct buffer *out)
{
    while (*text)
        h2_wire_write(wire, &text, out);
}

/* ---- lines from frames ---- */

static uint32_t number(const uint8_t *p, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

static void say_fields(struct h2_wire *wire, const uint8_t *p, size_t n, const char *prefix, struct buffer *out)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(wire->inflater, &nv, &flags, p, n, 1);
        assert_true(used >= 0);
        p += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            http_say(out, "%s  ", prefix);
            http_say_bytes(out, (const char *)nv.name, nv.namelen);
            http_say(out, ": ");
            http_say_bytes(out, (const char *)nv.value, nv.valuelen);
            http_say(out, "\n");
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(wire->inflater);
}

static void say_settings(const uint8_t *p, size_t n, struct buffer *out)
{
    for (size_t at = 0; at + 6 <= n; at += 6) {
        uint32_t id = number(p + at, 2);
        if (id < 10 && settings[id])
            http_say(out, " %s=%u", settings[id], number(p + at + 2, 4));
        else
            http_say(out, " %u=%u", id, number(p + at + 2, 4));
    }
}

/* One frame; blocks of the codec's are never in CONTINUATION in these tests. */
static void say_frame(struct h2_wire *wire, const uint8_t *head, const uint8_t *p, size_t n, const char *prefix, struct buffer *out)
{
    uint8_t type = head[3], flags = head[4];
    uint32_t stream = number(head + 5, 4);
    http_say(out, "%s%s", prefix, type < 10 ? types[type] : type == 16 ? "PRIORITY_UPDATE" : "RAW");
    if (stream)
        http_say(out, " %u", stream);
    if ((type == 0 || type == 1) && flags & 1)
        http_say(out, " END_STREAM");
    if ((type == 4 || type == 6) && flags & 1)
        http_say(out, " ACK");
    if (type == 0 && n <= 64) {
        http_say(out, " ");
        http_say_bytes(out, (const char *)p, n);
    } else if (type == 0) {
        http_say(out, " bytes=%zu", n);
    } else if (type == 3) {
        http_say(out, " %s", h2_code_name(number(p, 4)));
    } else if (type == 4) {
        say_settings(p, n, out);
    } else if (type == 6) {
        http_say(out, " ");
        http_say_bytes(out, (const char *)p, n);
    } else if (type == 7) {
        http_say(out, " %u %s", number(p, 4), h2_code_name(number(p + 4, 4)));
    } else if (type == 8) {
        http_say(out, " %u", number(p, 4));
    } else if (type == 16) {
        http_say(out, " %u ", number(p, 4));
        http_say_bytes(out, (const char *)p + 4, n - 4);
    }
    http_say(out, "\n");
    if (type == 1) {
        assert_true(flags & 4);
        say_fields(wire, p, n, prefix, out);
    }
}

void h2_wire_say(struct h2_wire *wire, const uint8_t *p, size_t n, const char *prefix, struct buffer *out)
{
    if (n >= NGHTTP2_CLIENT_MAGIC_LEN && memcmp(p, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN) == 0) {
        http_say(out, "%sPREFACE\n", prefix);
        p += NGHTTP2_CLIENT_MAGIC_LEN;
        n -= NGHTTP2_CLIENT_MAGIC_LEN;
    }
    while (n > 0) {
        assert_true(n >= 9);
        size_t length = number(p, 3);
        assert_true(n >= 9 + length);
        say_frame(wire, p, p + 9, length, prefix, out);
        p += 9 + length;
        n -= 9 + length;
    }
}
