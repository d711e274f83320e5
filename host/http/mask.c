/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. */
#include "host/http/mask.h"

#include <string.h>
#include <strings.h>

enum where {
    OUTSIDE,       /* of everything; `word` is what stands since the last &, ?, ; or white space */
    IN_TEXT,       /* in quotes; `word` is what stands since then */
    BEHIND_KEY,    /* a key in quotes has ended: is there a colon? */
    BEFORE_VALUE,  /* behind that colon */
    IN_SECRET,     /* a value in quotes */
    IN_SCALAR,     /* a number, a word */
    IN_BRACKETS,   /* an object or array that is a value */
    IN_BRACKETS_TEXT,
    IN_FORM        /* behind key= */
};

static void word_begins(struct mask *m, enum where where)
{
    m->where = (uint8_t)where;
    m->n = 0;
    m->too_long = m->escaped = false;
}

static void word_grows(struct mask *m, char c)
{
    if (m->n == sizeof m->word)
        m->too_long = true;
    else
        m->word[m->n++] = c;
}

static bool is_key(const struct mask *m, const struct soth_strings *keys)
{
    for (size_t i = 0; !m->too_long && i < keys->n; i++)
        if (strlen(keys->v[i]) == m->n && strncasecmp(keys->v[i], m->word, m->n) == 0)
            return true;
    return false;
}

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void outside(struct mask *m, const struct soth_strings *keys, char c)
{
    if (c == '"')
        word_begins(m, IN_TEXT);
    else if (c == '&' || c == '?' || c == ';' || is_white(c))
        word_begins(m, OUTSIDE);
    else if (c == '=' && is_key(m, keys))
        m->where = IN_FORM;
    else
        word_grows(m, c);
}

static void in_text(struct mask *m, const struct soth_strings *keys, char c)
{
    if (c == '\n') { /* JSON has none in a text: it was none */
        word_begins(m, OUTSIDE);
    } else if (c == '"' && !m->escaped) {
        bool key = is_key(m, keys);
        word_begins(m, key ? BEHIND_KEY : OUTSIDE);
        m->too_long = !key; /* what follows a text begins no form */
    } else {
        m->escaped = !m->escaped && c == '\\';
        word_grows(m, c);
    }
}

static void behind_key(struct mask *m, const struct soth_strings *keys, char c)
{
    if (is_white(c))
        return;
    word_begins(m, OUTSIDE);
    if (c == ':')
        m->where = BEFORE_VALUE;
    else
        outside(m, keys, c);
}

/* The bytes of a value that are to be hidden return true. */
static bool value_begins(struct mask *m, char c)
{
    if (is_white(c))
        return false;
    m->escaped = false;
    m->depth = 1;
    m->where = c == '"' ? IN_SECRET : c == '{' || c == '[' ? IN_BRACKETS : IN_SCALAR;
    return m->where == IN_SCALAR;
}

static bool in_secret(struct mask *m, char c, enum where then)
{
    bool over = c == '"' && !m->escaped;
    m->escaped = !m->escaped && c == '\\';
    if (over) {
        m->where = (uint8_t)then;
        if (then == OUTSIDE)
            word_begins(m, OUTSIDE);
    }
    return !over;
}

static bool in_brackets(struct mask *m, char c)
{
    m->depth += c == '{' || c == '[';
    m->depth -= c == '}' || c == ']';
    if (c == '"')
        m->where = IN_BRACKETS_TEXT;
    if (m->depth == 0)
        word_begins(m, OUTSIDE);
    return m->depth > 0;
}

static bool up_to(struct mask *m, const struct soth_strings *keys, char c, const char *ends)
{
    if (!c || !strchr(ends, c))
        return true;
    word_begins(m, OUTSIDE);
    outside(m, keys, c);
    return false;
}

/* One byte; true: it is to be hidden. */
static bool step(struct mask *m, const struct soth_strings *keys, char c)
{
    switch ((enum where)m->where) {
    case OUTSIDE: outside(m, keys, c); return false;
    case IN_TEXT: in_text(m, keys, c); return false;
    case BEHIND_KEY: behind_key(m, keys, c); return false;
    case BEFORE_VALUE: return value_begins(m, c);
    case IN_SECRET: return in_secret(m, c, OUTSIDE);
    case IN_BRACKETS: return in_brackets(m, c);
    case IN_BRACKETS_TEXT: in_secret(m, c, IN_BRACKETS); return true;
    case IN_SCALAR: return up_to(m, keys, c, ",}] \t\r\n");
    case IN_FORM: return up_to(m, keys, c, "& \t\r\n\"");
    }
    return false;
}

void mask_values(struct mask *m, const struct soth_strings *keys, char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (step(m, keys, p[i]))
            p[i] = '*';
}
