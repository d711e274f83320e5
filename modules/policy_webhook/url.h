/* SPDX-License-Identifier: MPL-2.0 */
/* Where the decision service is: http://host:port/path or unix:/path (then HTTP is spoken there with the path /). Pure. */
#ifndef POLICY_WEBHOOK_URL_H
#define POLICY_WEBHOOK_URL_H

#include <soth/sdk.h>

struct url {
    char socket[108];    /* of unix:; "" = TCP */
    char host[256];      /* without brackets */
    uint32_t port;
    char authority[272]; /* of the Host field */
    char path[1024];     /* with its query */
};

/* 0, or -SOTH_EINVALID with a sentence. */
int url_parse(const char *text, struct url *out, const char **why);

#endif
