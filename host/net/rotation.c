/* SPDX-License-Identifier: MPL-2.0 */
/* See rotation.h. */
#include "host/net/rotation.h"

#include <stdio.h>
#include <time.h>

#include "host/log.h"
#include "host/net/ca_config.h"
#include "host/net/generation.h"

#define DAY INT64_C(86400)
#define RETRY 600 /* seconds, after a failure */

/* What clients were given as files has to name both authorities. */
static void refresh_bundles(const struct settings *settings, int64_t now)
{
    struct ca_config config;
    char err[512] = "out of memory";
    if (ca_config_init(&config, settings) < 0 || ca_bundle_refresh(&config.authority, now, err, sizeof err) < 0)
        log_at(SOTH_LOG_WARN, "the bundles of `ca env` are not up to date: %s", err);
    ca_config_fini(&config);
}

static void warn_of_end(const struct generation *g, int64_t now)
{
    int64_t left = authority_expires(g->authority) - now;
    char until[32];
    if (left >= 30 * DAY)
        return;
    ca_time_text(authority_expires(g->authority), until);
    if (left > 0)
        log_at(SOTH_LOG_WARN, "the CA certificate is valid until %s only: `soth-mitm ca rotate`, and let clients trust the new one", until);
    else
        log_at(SOTH_LOG_ERROR, "the CA certificate has expired at %s, no client accepts what it signs: `soth-mitm ca rotate`, then SIGHUP", until);
}

enum rotation rotation_tend(struct generation *g, char *text, size_t size)
{
    int64_t now = time(NULL);
    char err[512];
    struct authority_info info;
    int r = authority_tend(g->authority, now, err, sizeof err);
    warn_of_end(g, now);
    if (r == AUTHORITY_STAYS)
        return ROTATION_NONE;
    if (r < 0) {
        log_at(SOTH_LOG_ERROR, "the CA cannot be rotated: %s", err);
        return ROTATION_FAILED;
    }
    refresh_bundles(g->settings, now);
    if (r == AUTHORITY_PREPARED) {
        log_at(SOTH_LOG_INFO, "the CA's successor is prepared: `ca env`, `ca export` and `ca install` give it to clients from now on");
        return ROTATION_NONE;
    }
    authority_describe(g->authority, &info);
    snprintf(text, size, "ca: rotated by age, sha-256 %s", info.sha256);
    log_at(SOTH_LOG_INFO, "the CA was rotated: %s, SHA-256 %s, valid until %s", info.subject, info.sha256, info.not_after);
    return ROTATION_DONE;
}

int64_t rotation_next(const struct generation *g, enum rotation last)
{
    int64_t due = authority_due(g->authority, time(NULL));
    if (last == ROTATION_FAILED)
        return RETRY;
    return due < 0 || due > DAY ? DAY : due > 0 ? due : 1;
}
