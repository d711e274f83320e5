/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One line of the add-on - a JSON object - into a signal, in the words of the taxonomy. The reason comes from numbers: alerts, the result of the
 * verification, the end of the connection, the reporter's own deadline; never from the text of an error. Pure but for the memory of the JSON.
 */
#ifndef TLSOPS_MITMPROXY_LINE_H
#define TLSOPS_MITMPROXY_LINE_H

#include <soth/sdk.h>

#define LINE_MOST 16384u /* bytes; a longer one is refused */
#define LINE_TEXT_MOST 512u

struct line {
    struct soth_signal signal; /* its spans are in here */
    char host[256], client[128], error[LINE_TEXT_MOST + 1], identity[128];
    const char *fault; /* static; what is wrong with the line */
};

/* 0, or -SOTH_EINVALID with line->fault. */
int line_read(const char *text, size_t n, struct line *line);

/* What the numbers mean (contract section 6), exactly as the host judges its own. */
struct line_facts {
    int alert_received, alert_sent; /* -1: none */
    int verify_code;                /* X509_V_ERR_..., 0: none */
    int closed, timeout, downstream;
};
const char *line_reason(const struct line_facts *facts);
const char *line_rejected(const struct line_facts *facts);

#endif
