/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bodies of replies that the proxy makes itself. They are short, and who made one does not stay for it: it is kept here, and goes when the
 * peer's windows let it, also after its owner has left the stream.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/h2_state.h"

struct h2_page {
    struct h2_page *next;
    int32_t id;
    bool left; /* nobody owns the stream any more */
    size_t at, n;
    char text[];
};

static struct h2_page **find(struct h2 *h2, int32_t id)
{
    struct h2_page **at = &h2->pages;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

struct h2_page *h2_page_new(struct h2 *h2, int32_t id, struct soth_span text)
{
    struct h2_page *page = malloc(sizeof *page + text.n);
    if (!page)
        return NULL;
    *page = (struct h2_page){.next = h2->pages, .id = id, .n = text.n};
    memcpy(page->text, text.p, text.n);
    h2->pages = page;
    h2->page_count++;
    return page;
}

static void unlink_page(struct h2 *h2, struct h2_page **at)
{
    struct h2_page *page = *at;
    *at = page->next;
    h2->page_count--;
    h2->pages_left -= page->left;
    free(page);
}

void h2_page_drop(struct h2 *h2, int32_t id)
{
    struct h2_page **at = find(h2, id);
    if (!*at)
        return;
    unlink_page(h2, at);
    h2_dwell(h2, false);
}

bool h2_page_waits(struct h2 *h2, int32_t id)
{
    return *find(h2, id) != NULL;
}

bool h2_page_leave(struct h2 *h2, int32_t id)
{
    struct h2_page *page = *find(h2, id);
    if (!page)
        return false;
    h2->pages_left++;
    page->left = true;
    return true;
}

/* All of it is on its way. A stream that was left with it is over now, as h2_leave has it. */
static void gone(struct h2 *h2, struct h2_page *page)
{
    const int32_t id = page->id;
    const bool left = page->left;
    unlink_page(h2, find(h2, id));
    if (left && (h2->said_goodbye || h2_is_used_up(h2, id)))
        nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR); /* goes behind what is being sent */
}

ssize_t h2_page_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2 *h2 = user;
    struct h2_page *page = source->ptr;
    size_t rest = page->n - page->at, n = length < rest ? length : rest;
    (void)session;
    (void)id;
    memcpy(buf, page->text + page->at, n);
    page->at += n;
    h2->page_bytes += n;
    if (n == rest) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        gone(h2, page);
    }
    h2_dwell(h2, true);
    h2_flood_earn(h2);
    return (ssize_t)n;
}

bool h2_owes(const struct h2 *h2)
{
    return h2->pages && !h2->lost && !h2->error;
}

void h2_pages_free(struct h2 *h2)
{
    while (h2->pages)
        unlink_page(h2, &h2->pages);
}
