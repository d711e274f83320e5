/* SPDX-License-Identifier: MPL-2.0 */
/* See state.h. */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "soth-mitm tls learning 1"
#define FILE_MOST (64u << 20)
#define LINE_FIELDS 6

static int garbage(char *why, size_t size, unsigned long line, const char *text)
{
    if (line)
        snprintf(why, size, "line %lu %s", line, text);
    else
        snprintf(why, size, "%s", text);
    return -SOTH_EINVALID;
}

/* ---- text ---- */

static void write_name(struct soth_span name, FILE *out)
{
    if (name.n == 0)
        putc('-', out);
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= ' ' || c == '%' || c >= 0x7f || (name.n == 1 && c == '-'))
            fprintf(out, "%%%02X", c);
        else
            putc(c, out);
    }
}

static uint64_t unix_of(const struct state_clock *now, uint64_t at_ns)
{
    if (at_ns >= now->monotonic_ns)
        return now->unix_ms + (at_ns - now->monotonic_ns) / 1000000u;
    uint64_t ago = (now->monotonic_ns - at_ns) / 1000000u;
    return ago < now->unix_ms ? now->unix_ms - ago : 0;
}

static size_t write_list(const struct store_list *list, const struct state_clock *now, FILE *out)
{
    for (const struct store_entry *e = list->oldest; e; e = e->newer) {
        write_name(store_host(e), out);
        putc(' ', out);
        write_name(store_client(e), out);
        fprintf(out, " %llu %llu %llu %llu\n", (unsigned long long)e->failures, (unsigned long long)unix_of(now, e->last_ns),
                (unsigned long long)(e->expires_ns ? unix_of(now, e->expires_ns) : 0), (unsigned long long)e->ttl_ms);
    }
    return list->count;
}

void state_write(const struct store *store, const struct state_clock *now, FILE *out)
{
    fputs(FIRST_LINE "\n", out);
    size_t lines = write_list(&store->counting, now, out);
    lines += write_list(&store->active, now, out);
    fprintf(out, "end %zu\n", lines);
}

/* In place; 0: it is no name. */
static int read_name(char *text, struct soth_span *out, size_t most)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (const char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte <= ' ' || byte >= 0x7f)
            return 0;
        if (byte == '%') {
            const char *high = c[1] ? strchr(digits, c[1]) : NULL, *low = high && c[2] ? strchr(digits, c[2]) : NULL;
            if (!low)
                return 0;
            byte = (unsigned char)((high - digits) << 4 | (low - digits));
            c += 2;
        }
        text[n++] = (char)byte;
    }
    *out = (struct soth_span){text, n};
    return n > 0 && n <= most;
}

static int read_number(const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9' || strlen(text) > 18)
        return 0;
    *out = strtoull(text, &end, 10);
    return *end == '\0';
}

struct record {
    struct soth_span host, client;
    uint64_t failures, last, expires, ttl;
};

static int read_record(char *line, struct record *r)
{
    char *fields[LINE_FIELDS + 1], *rest = line;
    size_t n = 0;
    while (n <= LINE_FIELDS && (fields[n] = strsep(&rest, " ")))
        n++;
    if (n != LINE_FIELDS)
        return 0;
    r->client = (struct soth_span){"", 0};
    return read_name(fields[0], &r->host, STORE_NAME_MOST) &&
           (strcmp(fields[1], "-") == 0 || read_name(fields[1], &r->client, STORE_CLIENT_MOST)) && read_number(fields[2], &r->failures) &&
           read_number(fields[3], &r->last) && read_number(fields[4], &r->expires) && read_number(fields[5], &r->ttl);
}

static int keep(struct store *store, const struct record *r, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended)
{
    struct store_entry *evicted;
    uint64_t ago_ns = r->last < now->unix_ms ? (now->unix_ms - r->last) * 1000000u : 0;
    if (r->expires && r->expires <= now->unix_ms) {
        ++*ended;
        return SOTH_OK;
    }
    if (!r->expires && (r->failures == 0 || ago_ns > STORE_FORGET_NS))
        return SOTH_OK;
    struct store_entry *e = store_get(store, r->host, r->client, most, &evicted);
    free(evicted);
    if (!e)
        return -SOTH_ENOMEM;
    e->failures = r->failures;
    e->last_ns = ago_ns < now->monotonic_ns ? now->monotonic_ns - ago_ns : 0;
    if (r->expires) {
        uint64_t left = r->expires - now->unix_ms;
        store_activate(store, e, now->monotonic_ns, left < ttl_ms ? left : ttl_ms);
        e->ttl_ms = r->ttl;
    }
    return SOTH_OK;
}

/* Lines of a text that ends with a newline, cut in place. */
static int read_lines(char *text, struct store *store, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended, char *why,
                      size_t why_size)
{
    unsigned long number = 1, records = 0;
    char *rest = text, *line = strsep(&rest, "\n");
    if (strcmp(line, FIRST_LINE) != 0)
        return garbage(why, why_size, number, "is not \"" FIRST_LINE "\"");
    while ((line = strsep(&rest, "\n")) && rest) {
        struct record r;
        char last[32];
        number++;
        snprintf(last, sizeof last, "end %lu", records);
        if (strcmp(line, last) == 0)
            return *rest ? garbage(why, why_size, number, "is its end, and there is more after it") : SOTH_OK;
        if (!read_record(line, &r))
            return garbage(why, why_size, number, "is not HOST CLIENT FAILURES LAST EXPIRES TTL");
        if (store_find(store, r.host, r.client))
            return garbage(why, why_size, number, "is there twice");
        int result = keep(store, &r, most, now, ttl_ms, ended);
        if (result < 0)
            return result;
        records++;
    }
    return garbage(why, why_size, number, "is the last one, and is not its end");
}

int state_read(const char *text, size_t n, struct store *store, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended,
               char *why, size_t why_size)
{
    *ended = 0;
    if (n == 0 || memchr(text, '\0', n) || text[n - 1] != '\n')
        return garbage(why, why_size, 0, n == 0 ? "it is empty" : "it is no text, or was cut off");
    char *copy = strndup(text, n);
    if (!copy)
        return -SOTH_ENOMEM;
    int r = read_lines(copy, store, most, now, ttl_ms, ended, why, why_size);
    free(copy);
    return r;
}

/* ---- files ---- */

static int trouble(char *why, size_t size, const char *what)
{
    snprintf(why, size, "%s: %s", what, strerror(errno));
    return -SOTH_EIO;
}

/* malloc'd; NULL with *result. */
static char *read_file(int fd, size_t *n, int *result, char *why, size_t why_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        *result = trouble(why, why_size, "cannot look at it");
        return NULL;
    }
    *result = -SOTH_EINVALID;
    if (!S_ISREG(st.st_mode))
        snprintf(why, why_size, "it is not a file");
    else if (st.st_mode & 022)
        snprintf(why, why_size, "group or others may write it");
    else if (st.st_size > (off_t)FILE_MOST)
        snprintf(why, why_size, "it is larger than 64 MiB");
    else
        *result = SOTH_OK;
    char *text = *result < 0 ? NULL : malloc((size_t)st.st_size + 1);
    if (!text)
        return NULL;
    for (*n = 0; *n < (size_t)st.st_size;) {
        ssize_t got = read(fd, text + *n, (size_t)st.st_size - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            *result = trouble(why, why_size, "cannot read it");
        if (got <= 0)
            break;
        *n += (size_t)got;
    }
    if (*result == SOTH_OK)
        return text;
    free(text);
    return NULL;
}

int state_load(const char *path, struct store *store, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended, char *why,
               size_t why_size)
{
    int r = SOTH_OK, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    size_t n = 0;
    *ended = 0;
    if (fd < 0)
        return errno == ENOENT ? SOTH_OK : trouble(why, why_size, "cannot open it");
    char *text = read_file(fd, &n, &r, why, why_size);
    close(fd);
    if (text)
        r = state_read(text, n, store, most, now, ttl_ms, ended, why, why_size);
    else if (r == SOTH_OK)
        r = -SOTH_ENOMEM;
    free(text);
    return r;
}

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        text += done;
        n -= (size_t)done;
    }
    return fsync(fd);
}

/* The name itself must survive a crash, too. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

int state_save(const char *path, const char *text, size_t n, char *why, size_t why_size)
{
    char *new = NULL;
    if (asprintf(&new, "%s.XXXXXX", path) < 0)
        return trouble(why, why_size, "cannot write it");
    int r = SOTH_OK, fd = mkostemp(new, O_CLOEXEC); /* 0600 */
    if (fd < 0 || write_all(fd, text, n) < 0 || rename(new, path) < 0) {
        r = trouble(why, why_size, "cannot write it");
        if (fd >= 0)
            unlink(new);
    } else {
        sync_directory(path);
    }
    if (fd >= 0)
        close(fd);
    free(new);
    return r;
}
