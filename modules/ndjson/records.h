/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where one record of a stream ends and the next begins: lines (NDJSON, JSON Lines), JSON texts behind record separators (RFC 7464), JSON texts one
 * after another. Of JSON nothing is known but brackets and strings. Bytes in, records out, cut anywhere.
 */
#ifndef NDJSON_RECORDS_H
#define NDJSON_RECORDS_H

#include <soth/sdk.h>

enum { RECORDS_LINES = 1, RECORDS_SEQUENCE, RECORDS_CONCATENATED };

struct record {
    uint64_t sequence_no; /* from 1 */
    uint64_t len;         /* without separators, line ends and white space around it */
    struct soth_span data; /* its beginning, keep_most bytes of it; p == NULL: not kept */
};

struct records {
    uint64_t max_record_bytes;
    uint8_t kind;
    uint64_t keep_most; /* bytes of a record; set before a next, holds for records that begin from then on */
    uint8_t gaps;       /* say RECORDS_BETWEEN and RECORDS_CUT */

    uint8_t where, escaped, told;
    uint64_t keeping;  /* keep_most of this record */
    uint64_t trailing; /* white space at the end of the line so far */
    uint64_t depth, len, sequence_no;
    uint64_t truncated; /* sequences: records that another one's separator has cut */
    char *data;
    size_t size, room;
    const char *fault; /* "max_record_bytes", "nomem" */
};

#define RECORDS_BETWEEN 2
#define RECORDS_CUT 3

/* Reads up to the end of a record, or of the input; what was read is taken off `in`. 1: *out has a record, good until the next call; 0: the
 * input is used up; -1: fault, `in` begins where it was found: of a limit with the first byte beyond it. With `gaps` also RECORDS_BETWEEN: what was
 * read since the last record belongs to none, and RECORDS_CUT: *out has what came of one that is none, since it has not ended. */
int records_next(struct records *r, struct soth_span *in, struct record *out);
/* The stream is over. 1: what was left is a record; with `gaps` also RECORDS_CUT. */
int records_finish(struct records *r, struct record *out);
void records_fini(struct records *r);

#endif
