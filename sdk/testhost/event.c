/* SPDX-License-Identifier: MPL-2.0 */
/* Events: what a decoder publishes becomes a line of text, after a look at whether its kind may have those attributes. */
#include "parts.h"

#include <link.h>
#include <stdlib.h>

static const struct {
    const char *name, *attributes;
} kinds[SOTH_EV_COUNT] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) [id] = {#name, attributes},
#include <soth/events.def>
#undef SOTH_EVENT
};

const char *th_event_name(uint32_t kind)
{
    return kind < SOTH_EV_COUNT && kinds[kind].name ? kinds[kind].name : NULL;
}

uint32_t th_event_number(struct soth_span name)
{
    for (uint32_t kind = 1; kind < SOTH_EV_COUNT; kind++)
        if (kinds[kind].name && soth_span_is(name, kinds[kind].name))
            return kind;
    return 0;
}

bool th_event_allowed(uint32_t kind, const char *attribute, size_t n)
{
    for (const char *at = kinds[kind].attributes; *at; at += *at == ' ') {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, attribute, n) == 0)
            return true;
        at += length;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct soth_attr *const *)a)->name, (*(const struct soth_attr *const *)b)->name);
}

#define ATTRS_MOST 64

/* As a sink sees it that wants so much content. */
static struct soth_span cut(const struct soth_attr *attr, uint64_t payload_most)
{
    struct soth_span text = attr->text;
    uint64_t most = attr->type & SOTH_ATTR_FULL && payload_most < UINT64_MAX ? 0 : payload_most;
    if (!(attr->type & (SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL)))
        return text;
    most -= attr->number < most ? attr->number : most;
    text.n = text.n < most ? text.n : (size_t)most;
    return text;
}

void th_event_say(struct text *out, const char *name, const struct soth_attr *attrs, size_t n, uint64_t payload_most)
{
    const struct soth_attr *sorted[ATTRS_MOST];
    n = n < ATTRS_MOST ? n : ATTRS_MOST;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &attrs[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    th_text_say(out, "%s", name);
    for (size_t i = 0; i < n; i++) {
        uint32_t type = sorted[i]->type & ~(uint32_t)(SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL);
        struct soth_span text = cut(sorted[i], payload_most);
        if (!text.p || (text.n == 0 && (type == SOTH_ATTR_TEXT || type == SOTH_ATTR_BYTES)))
            continue; /* absent */
        th_text_say(out, " %s=", sorted[i]->name);
        if (type == SOTH_ATTR_U64)
            th_text_say(out, "%llu", (unsigned long long)sorted[i]->number);
        else if (type == SOTH_ATTR_BOOL)
            th_text_say(out, "%s", sorted[i]->number ? "true" : "false");
        else
            th_text_escape(out, text);
    }
    th_text_add(out, "\n", 1);
}

int th_emit(void *self, struct soth_flow *view, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct testhost *host = th_host_of(self);
    const char *name = th_event_name(kind);
    if (!name) {
        th_fault(host, "emit: there is no event kind %u", (unsigned)kind);
        return -SOTH_EINVALID;
    }
    for (size_t i = 0; i < n; i++)
        if (!th_event_allowed(kind, attrs[i].name, strlen(attrs[i].name)))
            th_fault(host, "emit: %s has no attribute %s", name, attrs[i].name);
    if (n > ATTRS_MOST)
        th_fault(host, "emit: %s with %zu attributes, 64 are the most", name, n);
    if (view && (host->kinds >> kind & 1))
        th_event_say(&view->flow->events, name, attrs, n, host->payload_most);
    return SOTH_OK;
}

/* ---- forms ---- */

#define FORM_MOST 48u /* no kind has more attributes */

static bool is_good(struct testhost *host, const char *name, uint32_t kind, const struct soth_attr *attrs, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(attrs[k].name, attrs[i].name) == 0) {
            th_fault(host, "form: %s with %s twice", name, attrs[i].name);
            return false;
        }
    if (!th_event_allowed(kind, attrs[i].name, strlen(attrs[i].name))) {
        th_fault(host, "form: %s has no attribute %s", name, attrs[i].name);
        return false;
    }
    return true;
}

int th_form(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct testhost *host = th_host_of(self);
    const char *name = th_event_name(kind);
    if (!host->setting_up)
        th_fault(host, "form is called outside of create");
    if (!name || n == 0 || n > FORM_MOST) {
        th_fault(host, "form: kind %u with %zu attributes; there must be such a kind, and 1 to %u attributes", (unsigned)kind, n, FORM_MOST);
        return -SOTH_EINVALID;
    }
    for (size_t i = 0; i < n; i++)
        if (!is_good(host, name, kind, attrs, i))
            return -SOTH_EINVALID;
    struct form *bigger = realloc(host->forms, (size_t)(host->form_count + 1) * sizeof *bigger);
    struct soth_attr *own = malloc(n * sizeof *own);
    host->forms = bigger ? bigger : host->forms;
    if (!bigger || !own) {
        free(own);
        return -SOTH_ENOMEM;
    }
    memcpy(own, attrs, n * sizeof *own);
    host->forms[host->form_count] = (struct form){kind, n, own};
    return host->form_count++;
}

void th_forms_free(struct testhost *host)
{
    for (int i = 0; i < host->form_count; i++)
        free(host->forms[i].attrs);
    free(host->forms);
}

/* Text that nobody can write to: of an object, whose constants stay. */
static int is_inside(struct dl_phdr_info *object, size_t size, void *arg)
{
    const uintptr_t at = (uintptr_t)arg;
    (void)size;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W) && at - (object->dlpi_addr + part->p_vaddr) < part->p_memsz)
            return 1;
    }
    return 0;
}

static void look_at_word(struct testhost *host, const struct form *form, size_t i, struct soth_span word)
{
    if (!(form->attrs[i].type & SOTH_ATTR_WORD))
        return;
    if (word.n == 0 || !dl_iterate_phdr(is_inside, (void *)(uintptr_t)word.p))
        th_fault(host, "emit_form: the word %s of %s is empty or not static const", form->attrs[i].name, th_event_name(form->kind));
}

/* As attributes, of which those that are not present are absent. */
int th_emit_form(void *self, struct soth_flow *view, int form, const union soth_value *values, uint64_t present)
{
    struct testhost *host = th_host_of(self);
    struct soth_attr attrs[FORM_MOST];
    if (form < 0 || form >= host->form_count) {
        th_fault(host, "emit_form: there is no form %d", form);
        return -SOTH_EINVALID;
    }
    const struct form *f = &host->forms[form];
    for (size_t i = 0; i < f->n; i++) {
        const uint32_t type = f->attrs[i].type & 3u;
        const bool is_text = type == SOTH_ATTR_TEXT || type == SOTH_ATTR_BYTES, is_there = present >> i & 1;
        attrs[i] = (struct soth_attr){f->attrs[i].name, {is_there ? "" : NULL, 0}, 0, f->attrs[i].type & ~(uint32_t)SOTH_ATTR_WORD, f->attrs[i].name_len};
        if (is_there && is_text) {
            attrs[i].text = *values[i].text;
            look_at_word(host, f, i, attrs[i].text);
        }
        if (is_there && !is_text)
            attrs[i].number = values[i].number;
    }
    return th_emit(self, view, f->kind, attrs, f->n);
}
