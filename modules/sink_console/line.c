/* SPDX-License-Identifier: MPL-2.0 */
/* See console.h. */
#include <stdio.h>

#include "console.h"
#include "text.h"

const char *line_paint(const struct console *self, const char *code)
{
    return self->colored ? code : "";
}

const char *line_plain(const struct console *self)
{
    return line_paint(self, "\033[0m");
}

static const char *status_color(unsigned status)
{
    return status >= 500 ? RED : status >= 400 ? YELLOW : status >= 300 ? CYAN : GREEN;
}

void line_url(char *out, size_t size, const struct place *x)
{
    const char *form = strchr(x->host, ':') ? "[%s]" : "%s";
    char host[280], port[16] = "";
    snprintf(host, sizeof host, form, x->host);
    if (x->port && x->port != (x->secure ? 443u : 80u))
        snprintf(port, sizeof port, ":%u", x->port);
    snprintf(out, size, "%s://%s%s%s", x->secure ? "https" : "http", host, port, x->target);
}

void line_exchange(const struct console *self, const struct soth_event *e, struct exchange *x, const char *fault)
{
    const struct reply *r = x->reply && x->reply->status ? x->reply : NULL;
    const struct place at = place_of_exchange(x);
    char size[16], where[700];
    unsigned long long ms = (unsigned long long)((e->monotonic_ns - x->started_ns) / 1000000u);
    x->open = 0;
    if (self->flow == FLOW_ERRORS && r && r->status < 400 && !*fault)
        return;
    line_url(where, sizeof where, &at);
    text_bytes(size, r ? r->bytes : 0);
    printf("%s%s%s %s -> ", line_paint(self, BOLD), x->words, line_plain(self), where);
    if (!r)
        printf("%sno response%s", line_paint(self, RED), line_plain(self));
    else
        printf("%s%u%s %s %s %llums", line_paint(self, status_color(r->status)), r->status, line_plain(self), *r->type ? r->type : "-",
               r->streamed ? "stream" : size, ms);
    printf("%s%s\n", *fault ? ": " : "", fault);
}

void line_flow(const struct console *self, const char *color, const char *what, const struct place *at, const char *why)
{
    char where[700];
    line_url(where, sizeof where, at);
    printf("%s%s%s %s: %s\n", line_paint(self, color), what, line_plain(self), where, why);
}
