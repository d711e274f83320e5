/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Command line and phases of the load generator:
 *   open all connections, one request on each; warm up; print "ready" and wait for a line on standard input;
 *   load for --seconds; print one line of JSON and wait for a line; close everything; print "closed".
 * The bench reads the proxy's CPU and memory at those quiet points. Never runs longer than it was told plus 20 s.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { OPENING = 32 }; /* handshakes at a time while connections are opened */

uint64_t load_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void push_free(struct load *l, struct load_conn *c)
{
    c->next_free = l->free;
    l->free = c;
}

/* A fresh connection always makes one request; so every connection has been used once before it idles. */
void load_idle(struct load *l, struct load_conn *c, bool first)
{
    if (first) {
        if (l->measured)
            l->opened++;
        load_conn_request(l, c, l->opt.churn ? c->began : load_now());
    } else if (l->opt.churn) {
        load_conn_close(l, c);
        if (l->running)
            load_conn_open(l, c);
    } else if (l->running && l->opt.rate <= 0) {
        load_conn_request(l, c, load_now());
    } else {
        push_free(l, c);
    }
}

/* One turn of the loop; waits at most until `until`. */
static void turn(struct load *l, uint64_t until)
{
    struct epoll_event events[64];
    uint64_t now = load_now(), left = until > now ? until - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    int n = epoll_pwait2(l->epoll, events, 64, &wait, NULL);

    for (int i = 0; i < n; i++)
        load_conn_event(l, events[i].data.ptr);
}

static void drain(struct load *l, double seconds)
{
    uint64_t end = load_now() + (uint64_t)(seconds * 1e9);

    l->running = false;
    while (l->busy && load_now() < end)
        turn(l, end);
}

static void open_all(struct load *l)
{
    uint64_t end = load_now() + 20000000000u;
    int next = 0;

    while ((next < l->opt.connections || l->busy) && load_now() < end) {
        while (next < l->opt.connections && l->busy < OPENING)
            load_conn_open(l, &l->conns[next++]);
        turn(l, end);
    }
}

/* Puts every connection to work that can work: idle ones, and those that the other side has closed. */
static void start_all(struct load *l)
{
    struct load_conn *c = l->free;

    l->free = NULL;
    l->running = true;
    while (c) {
        struct load_conn *next = c->next_free;
        if (c->state == LOAD_IDLE)
            load_conn_request(l, c, load_now());
        c = next;
    }
    for (int i = 0; i < l->opt.connections; i++)
        if (l->conns[i].state == LOAD_CLOSED)
            load_conn_open(l, &l->conns[i]);
}

static void run_loop(struct load *l, double seconds)
{
    uint64_t end = load_now() + (uint64_t)(seconds * 1e9);

    start_all(l);
    while (load_now() < end)
        turn(l, end);
    drain(l, 10);
}

/* Requests are due at fixed times whatever the answers do; latency counts from the due time. */
static uint64_t run_rate(struct load *l, double seconds)
{
    uint64_t began = load_now(), due = (uint64_t)(l->opt.rate * seconds), sent = 0;
    uint64_t end = began + (uint64_t)((seconds + 10) * 1e9);

    l->running = true;
    while (sent < due && load_now() < end) {
        uint64_t at = began + (uint64_t)((double)sent / l->opt.rate * 1e9);
        while (sent < due && l->free && at <= load_now()) {
            struct load_conn *c = l->free;
            l->free = c->next_free;
            if (c->state != LOAD_IDLE)
                continue; /* closed by the other side meanwhile */
            load_conn_request(l, c, at);
            at = began + (uint64_t)((double)++sent / l->opt.rate * 1e9);
        }
        turn(l, l->free ? at : end);
        if (!l->free && !l->busy)
            break; /* every connection is lost */
    }
    drain(l, 10);
    return due - sent;
}

static void wait_for_line(void)
{
    int c;

    do
        c = getchar();
    while (c != EOF && c != '\n');
    if (c == EOF)
        exit(1);
}

static void measure(struct load *l)
{
    double cpu = cpu_seconds();
    uint64_t began = load_now(), unsent = 0;

    l->measured = true;
    if (l->opt.rate > 0)
        unsent = run_rate(l, l->opt.seconds);
    else if (l->opt.seconds > 0)
        run_loop(l, l->opt.seconds);
    l->measured = false;
    printf("{\"requests\": %llu, \"bytes\": %llu, \"opened\": %llu, \"lost\": %llu, \"errors\": %llu, \"unsent\": %llu,"
           " \"seconds\": %.4f, \"load_cpu\": %.4f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f,"
           " \"fault\": \"",
           (unsigned long long)l->requests, (unsigned long long)l->bytes, (unsigned long long)l->opened,
           (unsigned long long)l->lost, (unsigned long long)l->errors, (unsigned long long)unsent,
           (double)(load_now() - began) / 1e9, cpu_seconds() - cpu, load_hist_at(&l->hist, 0.5),
           load_hist_at(&l->hist, 0.99), load_hist_at(&l->hist, 0.999));
    for (const char *p = l->fault; *p; p++)
        putchar(*p == '"' || *p == '\\' || (unsigned char)*p < 32 ? '.' : *p);
    puts("\"}");
}

static void prepare_tls(struct load *l)
{
    l->tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(l->tls, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(l->tls, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(l->tls, "X25519");
    SSL_CTX_set_session_cache_mode(l->tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(l->tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(l->tls, 1);
    SSL_CTX_set_default_read_buffer_len(l->tls, 65536);
    if (l->opt.ca_file) {
        if (SSL_CTX_load_verify_locations(l->tls, l->opt.ca_file, NULL) != 1) {
            fprintf(stderr, "load: cannot read %s\n", l->opt.ca_file);
            exit(2);
        }
        SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
    }
}

static void parse(struct load_options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"host", 1, 0, 'h'},   {"port", 1, 0, 'p'},    {"connect", 1, 0, 'c'}, {"tls", 1, 0, 't'},
        {"header", 1, 0, 'H'}, {"path", 1, 0, 'P'},    {"ca", 1, 0, 'a'},      {"connections", 1, 0, 'n'},
        {"churn", 0, 0, 'x'},  {"rate", 1, 0, 'r'},    {"warmup", 1, 0, 'w'},  {"seconds", 1, 0, 's'},
        {"slow", 1, 0, 'S'},
        {0}};

    for (int k; (k = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (k) {
        case 'h': o->host = optarg; break;
        case 'p': o->port = atoi(optarg); break;
        case 'c': o->connect = optarg; break;
        case 't': o->sni = optarg; break;
        case 'H': o->host_header = optarg; break;
        case 'P': o->path = optarg; break;
        case 'a': o->ca_file = optarg; break;
        case 'n': o->connections = atoi(optarg); break;
        case 'x': o->churn = true; break;
        case 'r': o->rate = atof(optarg); break;
        case 'w': o->warmup = atof(optarg); break;
        case 'S': o->slow = atof(optarg); break;
        case 's': o->seconds = atof(optarg); break;
        default: exit(2);
        }
    if (optind < argc || o->port < 1 || o->connections < 1 || o->connections > 10000 || o->seconds > 60) {
        fprintf(stderr, "load: --port, 1..10000 --connections and at most 60 --seconds are needed\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct load l = {.opt = {.host = "127.0.0.1", .path = "/", .host_header = "localhost"}};

    parse(&l.opt, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000); /* --rate wakes within a microsecond or so of its schedule */
    alarm((unsigned)(l.opt.warmup + l.opt.seconds) + 120);
    setvbuf(stdout, NULL, _IOLBF, 0);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.conns = calloc((size_t)l.opt.connections, sizeof *l.conns);
    if (l.epoll < 0 || !l.conns)
        return 1;
    if (l.opt.sni)
        prepare_tls(&l);
    if (l.opt.connect)
        l.connect_len = (size_t)snprintf(l.connect, sizeof l.connect, "CONNECT %.200s HTTP/1.1\r\nHost: %.200s\r\n\r\n",
                                         l.opt.connect, l.opt.connect);
    l.request_len = (size_t)snprintf(l.request, sizeof l.request,
                                     "GET %.300s HTTP/1.1\r\nHost: %.200s\r\nUser-Agent: soth-bench\r\n\r\n", l.opt.path,
                                     l.opt.host_header);
    open_all(&l);
    if (l.opt.warmup > 0)
        run_loop(&l, l.opt.warmup);
    puts("ready");
    wait_for_line();
    measure(&l);
    wait_for_line();
    for (int i = 0; i < l.opt.connections; i++)
        load_conn_close(&l, &l.conns[i]);
    puts("closed");
    wait_for_line();
    return 0;
}
