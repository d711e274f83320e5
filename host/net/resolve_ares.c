/* SPDX-License-Identifier: MPL-2.0 */
/* See resolve_ares.h. */
#include "host/net/resolve_ares.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

/* ---- answers ---- */

const char *dns_error_word(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
        return "dns:NXDOMAIN";
    case ARES_ENODATA:
        return "dns:NODATA";
    case ARES_ESERVFAIL:
        return "dns:SERVFAIL";
    case ARES_EREFUSED:
        return "dns:REFUSED";
    case ARES_ENOTIMP:
        return "dns:NOTIMP";
    case ARES_EFORMERR:
    case ARES_EBADRESP:
        return "dns:FORMERR";
    case ARES_ECONNREFUSED:
        return "dns:unreachable";
    case ARES_EBADNAME:
        return "dns:BADNAME";
    default:
        return "dns:error";
    }
}

uint64_t dns_collect(const struct ares_addrinfo *info, struct resolve_result *out)
{
    uint64_t ttl = UINT64_MAX;
    for (const struct ares_addrinfo_node *n = info->nodes; n && out->count < RESOLVE_MAX_ADDRS; n = n->ai_next) {
        struct soth_addr *a = &out->addrs[out->count];
        if (n->ai_family == AF_INET) {
            a->family = 4;
            memcpy(a->bytes, &((const struct sockaddr_in *)(const void *)n->ai_addr)->sin_addr, 4);
        } else if (n->ai_family == AF_INET6) {
            a->family = 6;
            memcpy(a->bytes, &((const struct sockaddr_in6 *)(const void *)n->ai_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        out->count++;
        uint64_t mine = n->ai_ttl > 0 ? (uint64_t)n->ai_ttl * 1000u : 0;
        if (mine < ttl)
            ttl = mine;
    }
    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next) /* the way to the address ages too */
        if (c->ttl >= 0 && (uint64_t)c->ttl * 1000u < ttl)
            ttl = (uint64_t)c->ttl * 1000u;
    return ttl;
}

/* ---- the channel ---- */

static bool set_servers(ares_channel channel, const struct soth_strings *servers)
{
    char list[1024] = "";
    for (size_t i = 0; i < servers->n; i++) {
        if (strlen(list) + strlen(servers->v[i]) + 2 > sizeof list)
            return false;
        strcat(strcat(list, i ? "," : ""), servers->v[i]);
    }
    return ares_set_servers_ports_csv(channel, list) == ARES_SUCCESS;
}

#if ARES_VERSION >= 0x011800 /* newer ones call the list's way deprecated */
static unsigned count_servers(ares_channel channel)
{
    char *list = ares_get_servers_csv(channel);
    unsigned n = list && *list;
    for (const char *at = list; at && (at = strchr(at, ',')); at++)
        n++;
    ares_free_string(list);
    return n;
}
#else
static unsigned count_servers(ares_channel channel)
{
    struct ares_addr_port_node *list = NULL;
    unsigned n = 0;
    if (ares_get_servers_ports(channel, &list) == ARES_SUCCESS)
        for (struct ares_addr_port_node *at = list; at; at = at->next)
            n++;
    ares_free_data(list);
    return n;
}
#endif

static bool channel_make(ares_channel *channel, const struct settings *settings, struct ares_options *options, int mask)
{
    if (ares_init_options(channel, options, mask) != ARES_SUCCESS)
        return false;
    if (settings->resolvers.n == 0 || set_servers(*channel, &settings->resolvers))
        return true;
    ares_destroy(*channel);
    return false;
}

bool dns_channel_open(ares_channel *channel, const struct settings *settings, ares_sock_state_cb changed, void *arg)
{
    struct ares_options options = {.sock_state_cb = changed, .sock_state_cb_data = arg, .tries = 3};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS;
    uint64_t a_try = settings->resolver_timeout / 3;
    options.timeout = (int)(a_try > 100 ? a_try : 100);
#ifdef ARES_OPT_QUERY_CACHE
    options.qcache_max_ttl = 0; /* one cache is enough, and ours knows resolver_cache_ttl */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    char dns_only[] = "b";
    if (settings->resolvers.n > 0) { /* asked alone: no hosts file, no search list */
        options.lookups = dns_only;
        options.ndomains = 0;
        options.domains = NULL;
        mask |= ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS;
    }
    if (!channel_make(channel, settings, &options, mask))
        return false;
    if (count_servers(*channel) != 1)
        return true;
    ares_destroy(*channel); /* nobody else to ask: SERVFAIL and REFUSED are the answer */
    options.flags = ARES_FLAG_NOCHECKRESP;
    return channel_make(channel, settings, &options, mask | ARES_OPT_FLAGS);
}
