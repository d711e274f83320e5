/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. Keys are looked for in and out of quotes alike, as a quote that nothing closes must not hide what comes behind it. */
#include "host/http/mask.h"

#include <string.h>

enum where {
    LOOKING,       /* for a key */
    BEFORE_VALUE,  /* behind "key": */
    IN_SECRET,     /* a value in quotes */
    IN_SCALAR,     /* a number, a word */
    IN_BRACKETS,   /* an object or array that is a value */
    IN_BRACKETS_TEXT,
    BEFORE_FORM,   /* behind key= */
    IN_FORM,
    IN_FORM_QUOTES /* key="..." */
};

#define LONG UINT8_MAX /* the text is longer than any key */
#define ESCAPE 5u      /* behind a backslash; less: so many digits of a \u are to come */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* May it stand in a name? Then password= is not the key in my_password=. */
static bool is_of_name(char c)
{
    char l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* ---- what stands before ---- */

static void keep_all(struct mask *m, const char *p, size_t n)
{
    m->text = n < (size_t)LONG - m->text ? (uint8_t)(m->text + n) : LONG;
    if (n > sizeof m->last) {
        p += n - sizeof m->last;
        n = sizeof m->last;
    }
    size_t first = n < sizeof m->last - m->at ? n : sizeof m->last - m->at;
    memcpy(m->last + m->at, p, first);
    memcpy(m->last, p + first, n - first);
    m->at = (uint8_t)((m->at + n) % sizeof m->last);
}

static void keep(struct mask *m, char c)
{
    keep_all(m, &c, 1);
}

/* The nth byte from the end; 0 is the last. */
static char before(const struct mask *m, size_t n)
{
    return m->last[(m->at + sizeof m->last - 1 - n) % sizeof m->last];
}

static bool is_behind(const struct mask *m, const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower(before(m, i)) != lower(key[n - 1 - i]))
            return false;
    return true;
}

static bool is_text_key(const struct mask *m, const struct soth_strings *keys)
{
    for (size_t i = 0; m->text <= MASK_KEY_MOST && i < keys->n; i++)
        if (strlen(keys->v[i]) == m->text && is_behind(m, keys->v[i], m->text))
            return true;
    return false;
}

static bool is_form_key(const struct mask *m, const struct soth_strings *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        size_t n = strlen(keys->v[i]);
        if (is_behind(m, keys->v[i], n) && !is_of_name(before(m, n)))
            return true;
    }
    return false;
}

/* ---- keys ---- */

/* A character that is written as an escape, \n or \u0026, belongs to no name. false: it was none. */
static bool in_escape(struct mask *m, char c)
{
    if (c == '\n' || (c == '"' && m->escape < ESCAPE)) {
        m->escape = 0;
        return false;
    }
    m->escape = m->escape < ESCAPE ? (uint8_t)(m->escape - 1) : c == 'u' ? ESCAPE - 1 : 0;
    keep(m, m->escape ? c : ' ');
    return true;
}

static void quote(struct mask *m, const struct soth_strings *keys)
{
    m->behind_key = is_text_key(m, keys);
    m->in_text = !m->in_text;
    keep(m, '"');
    m->text = 0;
}

static void look(struct mask *m, const struct soth_strings *keys, char c)
{
    if (m->escape && in_escape(m, c))
        return;
    if (c == '"') {
        quote(m, keys);
        return;
    }
    if (c == ':' && m->behind_key)
        m->where = BEFORE_VALUE;
    else if (c == '=' && is_form_key(m, keys))
        m->where = BEFORE_FORM;
    else if (c == '\\' && m->in_text)
        m->escape = ESCAPE;
    else if (c == '\n') /* JSON has none in a text: it was none */
        m->in_text = false;
    m->behind_key = m->behind_key && is_white(c);
    keep(m, c);
}

/* ---- values: the bytes that are to be hidden return true ---- */

static void value_is_over(struct mask *m)
{
    m->where = LOOKING;
    m->text = LONG; /* what stands before the value is no part of a key */
    m->escape = 0;
}

static bool value_begins(struct mask *m, char c)
{
    if (is_white(c))
        return false;
    m->in_text = false;
    m->escape = 0;
    m->depth = 1;
    m->where = c == '"' ? IN_SECRET : c == '{' || c == '[' ? IN_BRACKETS : IN_SCALAR;
    return m->where == IN_SCALAR;
}

static bool closes(struct mask *m, char c)
{
    bool over = c == '"' && !m->escape;
    m->escape = !m->escape && c == '\\';
    return over;
}

static bool in_secret(struct mask *m, char c)
{
    if (!closes(m, c))
        return true;
    value_is_over(m);
    keep(m, c);
    m->text = 0;
    return false;
}

static bool in_brackets(struct mask *m, char c)
{
    m->depth += c == '{' || c == '[';
    m->depth -= c == '}' || c == ']';
    if (c == '"')
        m->where = IN_BRACKETS_TEXT;
    if (m->depth > 0)
        return true;
    value_is_over(m);
    keep(m, c);
    return false;
}

static bool in_brackets_text(struct mask *m, char c)
{
    if (closes(m, c))
        m->where = IN_BRACKETS;
    return true;
}

/* A byte that is no part of the value any more. */
static bool behind_value(struct mask *m, const struct soth_strings *keys, char c)
{
    value_is_over(m);
    look(m, keys, c);
    return false;
}

static bool in_scalar(struct mask *m, const struct soth_strings *keys, char c)
{
    return c == ',' || c == '}' || c == ']' || is_white(c) ? behind_value(m, keys, c) : true;
}

/* Within quotes it ends with them, else a quote is a part of it. */
static bool in_form(struct mask *m, const struct soth_strings *keys, char c)
{
    m->where = IN_FORM;
    return (closes(m, c) && m->in_text) || c == '&' || is_white(c) ? behind_value(m, keys, c) : true;
}

static bool form_begins(struct mask *m, const struct soth_strings *keys, char c)
{
    if (c != '"' || m->in_text)
        return in_form(m, keys, c);
    m->where = IN_FORM_QUOTES;
    return false;
}

static bool in_form_quotes(struct mask *m, const struct soth_strings *keys, char c)
{
    return c == '\n' ? behind_value(m, keys, c) : in_secret(m, c);
}

/* One byte; true: it is to be hidden. */
static bool step(struct mask *m, const struct soth_strings *keys, char c)
{
    switch ((enum where)m->where) {
    case LOOKING: look(m, keys, c); return false;
    case BEFORE_VALUE: return value_begins(m, c);
    case IN_SECRET: return in_secret(m, c);
    case IN_SCALAR: return in_scalar(m, keys, c);
    case IN_BRACKETS: return in_brackets(m, c);
    case IN_BRACKETS_TEXT: return in_brackets_text(m, c);
    case BEFORE_FORM: return form_begins(m, keys, c);
    case IN_FORM: return in_form(m, keys, c);
    case IN_FORM_QUOTES: return in_form_quotes(m, keys, c);
    }
    return false;
}

/* Most bytes only stand before something: how many of them do, from here on? */
static size_t plain(const struct mask *m, const char *p, size_t n)
{
    size_t i = 0;
    if (m->where != LOOKING || m->escape || m->behind_key)
        return 0;
    while (i < n && p[i] != '"' && p[i] != '=' && p[i] != '\\' && p[i] != '\n')
        i++;
    return i;
}

void mask_values(struct mask *m, const struct soth_strings *keys, char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t run = plain(m, p + i, n - i);
        if (run > 0)
            keep_all(m, p + i, run);
        i += run;
        if (i < n && step(m, keys, p[i]))
            p[i] = '*';
    }
}
