/* SPDX-License-Identifier: MPL-2.0 */
/* See edit.h. New texts hang in a list and live as long as the edit. */
#include "host/http/edit.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIELDS_MOST 1000u

struct text {
    struct text *next;
    char data[];
};

struct head_edit {
    struct message msg;
    struct message *base; /* what msg was copied from; owns its bytes */
    struct soth_field *fields;
    uint8_t *ids;
    uint32_t room;
    struct text *texts;
};

/* ---- copies ---- */

static size_t spans_of(const struct message *msg)
{
    return msg->method.n + msg->target.n + msg->reason.n + msg->host.n + msg->content_type.n + msg->content_encoding.n + msg->upgrade.n +
           msg->scheme.n + msg->authority.n + msg->protocol.n;
}

static struct soth_span move(char **at, struct soth_span s)
{
    if (!s.p)
        return s;
    struct soth_span out = {*at, s.n};
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

struct message *message_copy(const struct message *msg)
{
    size_t fields = msg->field_count * sizeof *msg->fields, bytes = spans_of(msg) + msg->field_count;
    for (uint32_t i = 0; i < msg->field_count; i++)
        bytes += msg->fields[i].name.n + msg->fields[i].value.n;
    struct message *copy = malloc(sizeof *copy + fields + bytes);
    if (!copy)
        return NULL;
    struct soth_field *f = (struct soth_field *)(void *)(copy + 1);
    char *at = (char *)f + fields;
    *copy = *msg;
    copy->fields = f;
    copy->ids = (uint8_t *)at;
    if (msg->field_count) {
        memcpy(at, msg->ids, msg->field_count);
        at += msg->field_count;
    }
    for (uint32_t i = 0; i < msg->field_count; i++)
        f[i] = (struct soth_field){move(&at, msg->fields[i].name), move(&at, msg->fields[i].value)};
    struct soth_span *const each[] = {&copy->method, &copy->target, &copy->reason, &copy->host, &copy->content_type, &copy->content_encoding,
                                      &copy->upgrade, &copy->scheme, &copy->authority, &copy->protocol};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        *each[i] = move(&at, *each[i]);
    return copy;
}

/* ---- changes ---- */

struct head_edit *head_edit_new(const struct message *msg)
{
    struct head_edit *edit = calloc(1, sizeof *edit);
    if (!edit || !(edit->base = message_copy(msg))) {
        free(edit);
        return NULL;
    }
    edit->msg = *edit->base;
    return edit;
}

void head_edit_free(struct head_edit *edit)
{
    if (!edit)
        return;
    while (edit->texts) {
        struct text *text = edit->texts;
        edit->texts = text->next;
        free(text);
    }
    free(edit->fields);
    free(edit->ids);
    free(edit->base);
    free(edit);
}

const struct message *head_edit_message(const struct head_edit *edit)
{
    return &edit->msg;
}

static bool is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *c = name;
    for (; *c; c++)
        if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || strchr(others, *c)))
            return false;
    return c > name;
}

static bool is_clean(struct soth_span value)
{
    return value.n == 0 || (!memchr(value.p, '\r', value.n) && !memchr(value.p, '\n', value.n) && !memchr(value.p, 0, value.n));
}

/* The host's own: how the message is framed, where it goes, what its connection speaks. */
static bool is_ours(struct soth_span name)
{
    unsigned id = message_field_id(name);
    return (id != FIELD_OTHER && id != FIELD_CONTENT_TYPE && id != FIELD_CONTENT_ENCODING) || (name.n > 6 && strncasecmp(name.p, "proxy-", 6) == 0);
}

static int check(const char *name, struct soth_span value)
{
    if (!is_token(name) || !is_clean(value))
        return -SOTH_EINVALID;
    return is_ours(soth_span(name)) ? -SOTH_EPERM : SOTH_OK;
}

/* The arrays become our own, with room for one more. */
static int make_room(struct head_edit *edit)
{
    uint32_t n = edit->msg.field_count;
    if (edit->room > n)
        return SOTH_OK;
    uint32_t room = n + n / 2 + 8;
    struct soth_field *fields = realloc(edit->fields, room * sizeof *fields);
    if (fields)
        edit->fields = fields;
    uint8_t *ids = realloc(edit->ids, room);
    if (ids)
        edit->ids = ids;
    if (!fields || !ids)
        return -SOTH_ENOMEM;
    if (edit->room == 0 && n) {
        memcpy(fields, edit->msg.fields, n * sizeof *fields);
        memcpy(ids, edit->msg.ids, n);
    }
    edit->room = room;
    edit->msg.fields = fields;
    edit->msg.ids = ids;
    return SOTH_OK;
}

static int make_field(struct head_edit *edit, const char *name, struct soth_span value, struct soth_field *out)
{
    size_t n = strlen(name);
    struct text *text = malloc(sizeof *text + n + value.n);
    if (!text)
        return -SOTH_ENOMEM;
    memcpy(text->data, name, n);
    if (value.n)
        memcpy(text->data + n, value.p, value.n);
    text->next = edit->texts;
    edit->texts = text;
    *out = (struct soth_field){{text->data, n}, {text->data + n, value.n}};
    return SOTH_OK;
}

/* The fields that a message knows by themselves. */
static void refresh(struct head_edit *edit)
{
    struct message *msg = &edit->msg;
    msg->content_type = message_field(msg, "content-type", 0);
    msg->content_encoding = message_field(msg, "content-encoding", 0);
}

static int put(struct head_edit *edit, uint32_t at, const char *name, struct soth_span value)
{
    struct soth_field field;
    int r = at < FIELDS_MOST ? make_room(edit) : -SOTH_ELIMIT;
    if (r == SOTH_OK)
        r = make_field(edit, name, message_trimmed(value), &field);
    if (r < 0)
        return r;
    edit->fields[at] = field;
    edit->ids[at] = (uint8_t)message_field_id(field.name);
    if (at == edit->msg.field_count)
        edit->msg.field_count++;
    refresh(edit);
    return SOTH_OK;
}

static bool named(const struct message *msg, uint32_t i, const char *name, size_t n)
{
    return msg->fields[i].name.n == n && strncasecmp(msg->fields[i].name.p, name, n) == 0;
}

/* Those of that name from `from` on go. */
static int remove_from(struct head_edit *edit, const char *name, uint32_t from)
{
    uint32_t keep = from;
    size_t n = strlen(name);
    int r = make_room(edit);
    if (r < 0)
        return r;
    for (uint32_t i = from; i < edit->msg.field_count; i++)
        if (!named(&edit->msg, i, name, n)) {
            edit->fields[keep] = edit->fields[i];
            edit->ids[keep++] = edit->ids[i];
        }
    int gone = (int)(edit->msg.field_count - keep);
    edit->msg.field_count = keep;
    refresh(edit);
    return gone;
}

int head_edit_add(struct head_edit *edit, const char *name, struct soth_span value)
{
    int r = check(name, value);
    return r < 0 ? r : put(edit, edit->msg.field_count, name, value);
}

int head_edit_set(struct head_edit *edit, const char *name, struct soth_span value)
{
    int r = check(name, value);
    size_t n = strlen(name);
    uint32_t at = 0;
    if (r < 0)
        return r;
    while (at < edit->msg.field_count && !named(&edit->msg, at, name, n))
        at++;
    if (at < edit->msg.field_count && (r = remove_from(edit, name, at + 1)) < 0)
        return r;
    return put(edit, at, name, value);
}

int head_edit_del(struct head_edit *edit, const char *name)
{
    struct soth_span none = {"", 0};
    int r = check(name, none);
    return r < 0 ? r : remove_from(edit, name, 0);
}

/* ---- a body that becomes another one ---- */

static int weaken(struct head_edit *edit)
{
    struct soth_span tag = message_field(&edit->msg, "etag", 0);
    if (!tag.p || (tag.n > 1 && memcmp(tag.p, "W/", 2) == 0))
        return SOTH_OK;
    if (tag.n < 2 || tag.p[0] != '"') /* no ETag at all (RFC 9110 8.8.3): nobody knows how it is compared */
        return head_edit_del(edit, "ETag");
    char *weak = malloc(tag.n + 2);
    if (!weak)
        return -SOTH_ENOMEM;
    memcpy(weak, "W/", 2);
    memcpy(weak + 2, tag.p, tag.n);
    int r = head_edit_set(edit, "ETag", (struct soth_span){weak, tag.n + 2});
    free(weak);
    return r;
}

struct message *message_copy_changed(const struct message *msg)
{
    static const char *const of_old_bytes[] = {"Content-Digest", "Repr-Digest", "Digest", "Content-MD5", "Accept-Ranges"};
    struct head_edit *edit = head_edit_new(msg);
    int r = edit ? weaken(edit) : -SOTH_ENOMEM;
    for (size_t i = 0; r >= 0 && i < sizeof of_old_bytes / sizeof *of_old_bytes; i++)
        r = head_edit_del(edit, of_old_bytes[i]);
    struct message *copy = r < 0 ? NULL : message_copy(&edit->msg);
    head_edit_free(edit);
    return copy;
}
