/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_world.h. */
#include "flow_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static unsigned worlds;

static bool open_tls(struct world *w, const char *dir, char *err, size_t err_size)
{
    char cert[128], key[128];
    snprintf(cert, sizeof cert, "%s/ca.pem", dir);
    snprintf(key, sizeof key, "%s/ca.key", dir);
    struct authority_config ca = {.cert_path = cert, .key_path = key, .common_name = "test CA", .organization = "test",
                                  .leaf_cache_capacity = 64, .leaf_days = 30};
    struct trust_config trust = {.extra_ca_file = cert, .session_cache = 8, .profile = TLS_PROFILE_DEFAULT};
    w->authority = authority_open(&ca, AUTHORITY_CREATE, NULL, err, err_size);
    w->trust = w->authority ? trust_new(&trust, err, err_size) : NULL;
    unlink(cert);
    unlink(key);
    return w->trust != NULL;
}

bool world_init(struct world *w, char *err, size_t err_size)
{
    char dir[] = "/tmp/soth-flow-XXXXXX";
    memset(w, 0, sizeof *w);
    snprintf(err, err_size, "out of memory");
    if ((worlds++ == 0 && tls_library_init() < 0) || !mkdtemp(dir))
        return false;
    bool good = open_tls(w, dir, err, err_size);
    rmdir(dir);
    w->tickets = session_tickets_new();
    w->bus = bus_new();
    w->port = w->bus ? bus_port_new(w->bus, NULL, NULL) : NULL;
    return good && w->tickets && w->port && world_reset(w);
}

void world_fini(struct world *w)
{
    tls_failure_stats_free(w->failures);
    bus_port_free(w->port);
    bus_free(w->bus);
    session_tickets_free(w->tickets);
    trust_free(w->trust);
    authority_free(w->authority);
    if (--worlds == 0)
        tls_library_fini();
}

bool world_reset(struct world *w)
{
    tls_failure_stats_free(w->failures);
    w->failures = tls_failure_stats_new(16);
    w->port->mask = UINT64_MAX;
    w->port->monotonic_ns = WORLD_START_NS;
    w->port->unix_ms = (uint64_t)time(NULL) * 1000; /* leaves must be valid now */
    return w->failures != NULL;
}

struct world *world_once(void)
{
    static struct world world;
    static bool made;
    char err[512];
    if (!made && !world_init(&world, err, sizeof err)) {
        fprintf(stderr, "%s\n", err);
        abort();
    }
    made = true;
    return &world;
}
