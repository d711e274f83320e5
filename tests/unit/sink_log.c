/* SPDX-License-Identifier: MPL-2.0 */
#include "sink_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/event/bus.h"

extern const struct soth_module soth_mitm_module;

char *log_folder;
char log_path[256], log_index[300], log_torn[300];
struct fake_instance log_sink;
static uint64_t sent;

int log_begin(void **state)
{
    (void)state;
    fake_reset();
    log_folder = scratch_new();
    snprintf(log_path, sizeof log_path, "%s/log/events.jsonl", log_folder);
    snprintf(log_index, sizeof log_index, "%s.index.tsv", log_path);
    snprintf(log_torn, sizeof log_torn, "%s.torn", log_path);
    sent = 0;
    return 0;
}

int log_end(void **state)
{
    (void)state;
    fake_close(&log_sink);
    scratch_free(log_folder);
    return 0;
}

int log_open(const char *more)
{
    char config[512];
    fake_close(&log_sink);
    snprintf(config, sizeof config, "path: %s\n%s%s", log_path, strstr(more, "flush_every") ? "" : "flush_every: 1\n", more);
    return fake_open(&log_sink, &soth_mitm_module, config);
}

void log_use(const char *more)
{
    if (log_open(more) != SOTH_OK)
        fail_msg("%s", fake.wrong);
}

int log_offer(uint32_t n, uint32_t *done, uint32_t *retry_ms)
{
    struct soth_event *events[FAKE_EVENTS];
    for (uint32_t i = 0; i < n; i++) {
        events[i] = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_WORD("method", "GET"), ATTR_WORD("target", "/some/where"), );
        events[i]->sequence_id = ++sent;
        events[i]->flow_sequence_id = sent;
    }
    int r = fake_write(&log_sink, events, n, done, retry_ms);
    sent -= n - *done; /* what was not taken is offered again */
    return r;
}

uint32_t log_send(uint32_t n)
{
    uint32_t done, retry_ms;
    assert_int_equal(log_offer(n, &done, &retry_ms), SOTH_OK);
    assert_int_equal(done, n);
    return retry_ms;
}

void log_later(uint64_t ms)
{
    fake.now_ns += ms * 1000000;
}

char *log_text(const char *file)
{
    FILE *in = fopen(file, "r");
    char *text = NULL;
    size_t size = 0;
    if (!in)
        return NULL;
    if (getdelim(&text, &size, 0, in) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(in);
    return text;
}

void log_append(const char *file, const char *text)
{
    FILE *out = fopen(file, "a");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0 && fclose(out) == 0);
}

bool log_exists(const char *file)
{
    return access(file, F_OK) == 0;
}

const char *log_segment(unsigned number)
{
    static char name[300];
    snprintf(name, sizeof name, number ? "%s.part%05u" : "%s", log_path, number);
    return name;
}

uint64_t log_lines(const char *file, uint64_t first)
{
    char *text = log_text(file), *at = text, want[64];
    uint64_t n = 0;
    assert_non_null(text);
    while (*at) {
        char *line_end = strchr(at, '\n');
        assert_non_null(line_end);
        snprintf(want, sizeof want, "\"sequence_id\":%llu,", (unsigned long long)(first + n));
        assert_memory_equal(line_end - 2, "}}", 2);
        *line_end = 0;
        assert_non_null(strstr(at, want));
        n++;
        at = line_end + 1;
    }
    free(text);
    return n;
}

static void check_row(const char *row)
{
    unsigned long long id, offset, bytes;
    unsigned number;
    char line[1024], want[64];
    assert_int_equal(sscanf(row, "%llu\t%*u\t%*u\t%*[^\t]\t%*[^\t]\t%*[^\t]\t%u\t%llu\t%llu", &id, &number, &offset, &bytes), 4);
    assert_in_range(bytes, 1, sizeof line - 1);
    FILE *in = fopen(log_segment(number), "r");
    assert_non_null(in);
    assert_int_equal(fseek(in, (long)offset, SEEK_SET), 0);
    assert_int_equal(fread(line, 1, bytes, in), bytes);
    fclose(in);
    line[bytes] = 0;
    snprintf(want, sizeof want, "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":%llu,", id);
    assert_memory_equal(line, want, strlen(want));
    assert_true(strchr(line, '\n') == line + bytes - 1);
}

unsigned log_rows(void)
{
    FILE *rows = fopen(log_index, "r");
    char row[512];
    unsigned n = 0;
    assert_non_null(rows);
    assert_non_null(fgets(row, sizeof row, rows));
    assert_string_equal(row, "sequence_id\tflow_id\tflow_sequence_id\tkind\tprotocol\tstream_key\tsegment_id\tbyte_offset\tline_bytes\n");
    for (; fgets(row, sizeof row, rows); n++)
        check_row(row);
    fclose(rows);
    return n;
}

unsigned log_said(const char *text)
{
    unsigned n = 0;
    for (const char *at = fake.log; (at = strstr(at, text)); at++)
        n++;
    return n;
}
