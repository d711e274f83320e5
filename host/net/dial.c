/* SPDX-License-Identifier: MPL-2.0 */
/* See dial.h: look-up, then attempts side by side (RFC 8305), the first that connects wins. */
#include "host/net/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/net/address.h"
#include "host/net/resolve.h"

#define ATTEMPT_DELAY_MS 250 /* RFC 8305 5 */

struct dialer {
    struct event_base *base;
    const struct settings *settings;
    struct resolver *resolver;
    struct dialer_own *own;
    size_t own_count;
};

struct attempt {
    struct dial *dial;
    int fd; /* -1: none */
    struct event connected;
};

struct dial {
    struct dialer *dialer;
    dial_done *done;
    void *arg;
    uint16_t port;
    struct lookup *lookup;
    struct soth_addr addrs[RESOLVE_MAX_ADDRS];
    size_t count, next, open;
    struct attempt *attempts;
    struct event stagger, deadline, deferred;
    struct dial_result result;
};

/* ---- the end of a dial ---- */

static void attempts_close(struct dial *dial)
{
    for (size_t i = 0; dial->attempts && i < dial->count; i++)
        if (dial->attempts[i].fd >= 0) {
            event_del(&dial->attempts[i].connected);
            close(dial->attempts[i].fd);
            dial->attempts[i].fd = -1;
        }
}

static void dial_free(struct dial *dial)
{
    if (dial->lookup)
        resolve_cancel(dial->lookup);
    attempts_close(dial);
    event_del(&dial->stagger);
    event_del(&dial->deadline);
    event_del(&dial->deferred);
    free(dial->attempts);
    free(dial);
}

void dial_cancel(struct dial *dial)
{
    if (dial->result.fd >= 0)
        close(dial->result.fd);
    dial_free(dial);
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;
    dial_done *done = dial->done;
    void *done_arg = dial->arg;
    struct dial_result result = dial->result;
    (void)fd;
    (void)what;
    dial_free(dial);
    done(done_arg, &result);
}

/* The callback comes from the loop, never from inside dial_open. */
static void finish(struct dial *dial, enum dial_status status, int fd, const char *detail)
{
    if (dial->lookup) {
        resolve_cancel(dial->lookup);
        dial->lookup = NULL;
    }
    attempts_close(dial);
    event_del(&dial->stagger);
    event_del(&dial->deadline);
    dial->result = (struct dial_result){status, fd, detail};
    event_active(&dial->deferred, EV_TIMEOUT, 0);
}

/* ---- attempts ---- */

/* How much a failure says: an answer of the other side most, then what is wrong here, silence, no way there. */
static int weight(enum dial_status status)
{
    return status == DIAL_REFUSED ? 4 : status == DIAL_FAILED ? 3 : status == DIAL_TIMEOUT ? 2 : 1;
}

/* The failure that says most is kept, of equals the first. */
static void note(struct dial *dial, int error)
{
    enum dial_status status;
    switch (error) {
    case ECONNREFUSED:
        status = DIAL_REFUSED;
        break;
    case ETIMEDOUT:
        status = DIAL_TIMEOUT;
        break;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAFNOSUPPORT:
    case EACCES:
    case EPERM:
        status = DIAL_UNREACHABLE;
        break;
    default:
        status = DIAL_FAILED;
        break;
    }
    if (dial->result.detail == NULL || weight(status) > weight(dial->result.status)) {
        dial->result.status = status;
        dial->result.detail = strerrorname_np(error) ? strerrorname_np(error) : "EIO";
    }
}

static void try_next(struct dial *dial);

static void attempt_failed(struct dial *dial, int error)
{
    note(dial, error);
    if (dial->next < dial->count)
        try_next(dial);
    else if (dial->open == 0)
        finish(dial, dial->result.status, -1, dial->result.detail);
}

static void connected(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *attempt = arg;
    struct dial *dial = attempt->dial;
    int error = 0;
    socklen_t size = sizeof error;
    (void)what;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    event_del(&attempt->connected);
    attempt->fd = -1;
    dial->open--;
    if (error == 0) {
        finish(dial, DIAL_OK, fd, NULL);
        return;
    }
    close(fd);
    attempt_failed(dial, error);
}

static void try_next(struct dial *dial)
{
    struct timeval delay = {0, ATTEMPT_DELAY_MS * 1000};
    struct attempt *attempt = &dial->attempts[dial->next];
    struct sockaddr_storage sa;
    socklen_t size = address_make(&dial->addrs[dial->next++], dial->port, &sa);
    int one = 1;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        attempt_failed(dial, errno);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&sa, size) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        attempt_failed(dial, error);
        return;
    }
    attempt->fd = fd;
    dial->open++;
    event_assign(&attempt->connected, dial->dialer->base, fd, EV_WRITE, connected, attempt);
    event_add(&attempt->connected, NULL);
    if (dial->next < dial->count)
        event_add(&dial->stagger, &delay);
}

static void stagger_fired(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;
    (void)fd;
    (void)what;
    if (dial->next < dial->count)
        try_next(dial);
}

static void deadline_fired(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;
    (void)fd;
    (void)what;
    note(dial, ETIMEDOUT);
    finish(dial, dial->result.status, -1, dial->result.detail);
}

/* ---- which addresses ---- */

bool dialer_is_own(const struct dialer *dialer, const struct soth_addr *target, uint16_t port)
{
    static const uint8_t any[16];
    struct soth_addr to = *target, *addr = &to;
    address_target(addr);
    for (size_t i = 0; i < dialer->own_count; i++) {
        struct soth_addr own;
        const struct sockaddr_storage *sa = &dialer->own[i].addr;
        address_plain(sa, &own);
        if (own.family == 0 || address_port(sa) != port)
            continue;
        if (own.family == addr->family && memcmp(own.bytes, addr->bytes, own.family == 4 ? 4 : 16) == 0)
            return true;
        bool wildcard = memcmp(own.bytes, any, own.family == 4 ? 4 : 16) == 0;
        if (wildcard && (own.family == 6 || addr->family == 4) && address_is_local(addr)) /* [::] takes IPv4 too */
            return true;
    }
    return false;
}

/* Takes out what may not be connected to. Returns what that leaves to be said when nothing is left. A name that leads to ourselves is a
 * loop, whatever else it leads to. */
static enum dial_status allowed_only(struct dial *dial, const struct soth_addr *addrs, size_t n)
{
    const struct settings *s = dial->dialer->settings;
    for (size_t i = 0; i < n; i++) {
        struct soth_addr to = addrs[i];
        address_target(&to); /* denied by either name */
        if (settings_cidr_match(s->deny, s->deny_count, &addrs[i]) || settings_cidr_match(s->deny, s->deny_count, &to))
            continue;
        if (dialer_is_own(dial->dialer, &to, dial->port)) {
            dial->count = 0;
            return DIAL_LOOP;
        }
        dial->addrs[dial->count++] = to;
    }
    return DIAL_DENIED;
}

/* RFC 8305 4: families take turns, IPv6 first. */
static void interleave(struct dial *dial)
{
    struct soth_addr sorted[RESOLVE_MAX_ADDRS];
    size_t at[2] = {0, 0}, n = 0;
    static const uint8_t families[2] = {6, 4};
    unsigned turn = 0;
    while (n < dial->count) {
        size_t *i = &at[turn & 1];
        while (*i < dial->count && dial->addrs[*i].family != families[turn & 1])
            ++*i;
        if (*i < dial->count)
            sorted[n++] = dial->addrs[(*i)++];
        turn++;
    }
    memcpy(dial->addrs, sorted, n * sizeof *sorted);
}

static void connect_to(struct dial *dial, const struct soth_addr *addrs, size_t n)
{
    uint64_t ms = dial->dialer->settings->upstream_connect_timeout;
    struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    enum dial_status why = allowed_only(dial, addrs, n);
    if (dial->count == 0) {
        finish(dial, why, -1, why == DIAL_LOOP ? "loop" : "denied_upstream");
        return;
    }
    interleave(dial);
    dial->attempts = calloc(dial->count, sizeof *dial->attempts);
    if (!dial->attempts) {
        dial->count = 0;
        finish(dial, DIAL_FAILED, -1, "ENOMEM");
        return;
    }
    for (size_t i = 0; i < dial->count; i++)
        dial->attempts[i] = (struct attempt){.dial = dial, .fd = -1};
    event_add(&dial->deadline, &in);
    try_next(dial);
}

static void resolved(void *arg, const struct resolve_result *result)
{
    struct dial *dial = arg;
    dial->lookup = NULL;
    if (result->status == RESOLVE_OK)
        connect_to(dial, result->addrs, result->count);
    else
        finish(dial, result->status == RESOLVE_TIMEOUT ? DIAL_DNS_TIMEOUT : DIAL_DNS_ERROR, -1, result->detail);
}

/* ---- opening ---- */

struct dialer *dialer_new(struct event_base *base, const struct settings *settings, const struct dialer_own *own, size_t own_count)
{
    struct dialer *dialer = calloc(1, sizeof *dialer);
    if (!dialer)
        return NULL;
    dialer->base = base;
    dialer->settings = settings;
    dialer->own = calloc(own_count + 1, sizeof *own);
    dialer->resolver = resolver_new(base, settings);
    if (!dialer->own || !dialer->resolver) {
        dialer_free(dialer);
        return NULL;
    }
    if (own_count)
        memcpy(dialer->own, own, own_count * sizeof *own);
    dialer->own_count = own_count;
    return dialer;
}

void dialer_free(struct dialer *dialer)
{
    if (!dialer)
        return;
    resolver_free(dialer->resolver);
    free(dialer->own);
    free(dialer);
}

struct dial *dial_open(struct dialer *dialer, const char *host, const struct soth_addr *addr, uint16_t port, dial_done *done, void *arg)
{
    struct dial *dial = calloc(1, sizeof *dial);
    int failed;
    if (!dial)
        return NULL;
    dial->dialer = dialer;
    dial->done = done;
    dial->arg = arg;
    dial->port = port;
    dial->result.fd = -1;
    evtimer_assign(&dial->stagger, dialer->base, stagger_fired, dial);
    evtimer_assign(&dial->deadline, dialer->base, deadline_fired, dial);
    evtimer_assign(&dial->deferred, dialer->base, deliver, dial);
    if (addr && addr->family) {
        connect_to(dial, addr, 1);
        return dial;
    }
    struct lookup *lookup = resolve_open(dialer->resolver, host, resolved, dial, &failed);
    if (failed)
        finish(dial, DIAL_FAILED, -1, "ENOMEM");
    else if (lookup)
        dial->lookup = lookup;
    return dial;
}
