/* SPDX-License-Identifier: MPL-2.0 */
/* See chunk.h. */
#include "host/http/chunk.h"

#define MAX_DIGITS 16      /* of a chunk size, leading zeros included */
#define MAX_EXTENSION 4096 /* bytes of one chunk's extensions */

enum { SIZE, EXTENSION, SIZE_LF, PAYLOAD, PAYLOAD_CR, PAYLOAD_LF };

static int hex(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(struct chunk *c, unsigned char byte, const char **fault)
{
    int digit = hex(byte);
    if (digit >= 0) {
        if (++c->digits > MAX_DIGITS) {
            *fault = "chunk_size";
            return -SOTH_EINVALID;
        }
        c->left = c->left << 4 | (unsigned)digit;
        return SOTH_OK;
    }
    if (c->digits == 0 || (byte != '\r' && byte != ';')) {
        *fault = "chunk_size";
        return -SOTH_EINVALID;
    }
    c->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return SOTH_OK;
}

static int extension_byte(struct chunk *c, unsigned char byte, const char **fault)
{
    if (byte == '\r') {
        c->state = SIZE_LF;
    } else if ((byte < 32 && byte != '\t') || byte == 127 || ++c->skipped > MAX_EXTENSION) {
        *fault = "chunk_extension";
        return -SOTH_EINVALID;
    }
    return SOTH_OK;
}

/* One byte of framing; CHUNK_LAST when it ended the last chunk's line. */
static int framing_byte(struct chunk *c, unsigned char byte, const char **fault)
{
    switch (c->state) {
    case SIZE:
        return size_byte(c, byte, fault);
    case EXTENSION:
        return extension_byte(c, byte, fault);
    case SIZE_LF:
        if (byte != '\n')
            break;
        c->state = c->left ? PAYLOAD : SIZE;
        c->digits = 0;
        c->skipped = 0;
        return c->left ? SOTH_OK : CHUNK_LAST;
    case PAYLOAD_CR:
        if (byte != '\r')
            break;
        c->state = PAYLOAD_LF;
        return SOTH_OK;
    default:
        if (byte != '\n')
            break;
        c->state = SIZE;
        return SOTH_OK;
    }
    *fault = "chunk_framing";
    return -SOTH_EINVALID;
}

int chunk_take(struct chunk *c, const char *p, size_t n, size_t *used, struct soth_span *data, const char **fault)
{
    for (*used = 0; *used < n;) {
        if (c->state == PAYLOAD) {
            size_t part = n - *used < c->left ? n - *used : (size_t)c->left;
            *data = (struct soth_span){p + *used, part};
            *used += part;
            c->left -= part;
            if (c->left == 0)
                c->state = PAYLOAD_CR;
            return CHUNK_DATA;
        }
        int r = framing_byte(c, (unsigned char)p[(*used)++], fault);
        if (r != SOTH_OK)
            return r;
    }
    return CHUNK_NEED;
}
