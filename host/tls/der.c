/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Values come in, DER goes out into the caller's block, and the two things we read back (times, element heads) are read here. No
 * allocation, no knowledge of certificates.
 */
#include "host/tls/der.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <soth/sdk.h>

void der_raw(struct der *der, const void *p, size_t n)
{
    if (der->failed || n > der->cap - der->len) {
        der->failed = true;
        return;
    }
    if (n > 0)
        memcpy(der->p + der->len, p, n);
    der->len += n;
}

size_t der_open(struct der *der, uint8_t tag)
{
    uint8_t head[2] = {tag, 0};
    size_t mark = der->len;
    der_raw(der, head, sizeof head);
    return mark;
}

void der_close(struct der *der, size_t mark)
{
    if (der->failed)
        return;
    size_t body = mark + 2, length = der->len - body;
    size_t more = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
    if (more > der->cap - der->len) {
        der->failed = true;
        return;
    }
    if (more > 0) {
        memmove(der->p + body + more, der->p + body, length);
        der->len += more;
    }
    der->p[mark + 1] = (uint8_t)(more ? 0x80 | more : length);
    for (size_t i = 0; i < more; i++)
        der->p[body + i] = (uint8_t)(length >> 8 * (more - 1 - i));
}

void der_put(struct der *der, uint8_t tag, const void *p, size_t n)
{
    size_t mark = der_open(der, tag);
    der_raw(der, p, n);
    der_close(der, mark);
}

void der_unsigned(struct der *der, const uint8_t *p, size_t n)
{
    static const uint8_t zero;
    while (n > 1 && p[0] == 0) {
        p++;
        n--;
    }
    size_t mark = der_open(der, DER_INTEGER);
    if (n == 0 || p[0] & 0x80)
        der_raw(der, &zero, 1);
    der_raw(der, p, n);
    der_close(der, mark);
}

void der_true(struct der *der)
{
    static const uint8_t yes = 0xff;
    der_put(der, DER_BOOLEAN, &yes, 1);
}

void der_time(struct der *der, int64_t seconds)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || tm.tm_year < 50 || tm.tm_year > 8099) {
        der->failed = true;
        return;
    }
    bool utc = tm.tm_year < 150;
    size_t n = strftime(text, sizeof text, utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
    der_put(der, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME, text, n);
}

int der_parse_head(const uint8_t *p, size_t n, uint8_t *tag, size_t *header, size_t *length)
{
    if (n < 2)
        return -SOTH_EINVALID;
    *tag = p[0];
    size_t more = p[1] & 0x80 ? p[1] & 0x7f : 0;
    if (more > 3 || n < 2 + more || p[1] == 0x80)
        return -SOTH_EINVALID;
    *length = more ? 0 : p[1];
    for (size_t i = 0; i < more; i++)
        *length = *length << 8 | p[2 + i];
    *header = 2 + more;
    return *length > n - *header ? -SOTH_EINVALID : SOTH_OK;
}

/* Days since 1970 of a date in the Gregorian calendar. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int der_parse_time(const uint8_t *p, size_t n, int64_t *seconds)
{
    uint8_t tag;
    size_t header, length;
    if (der_parse_head(p, n, &tag, &header, &length) < 0)
        return -SOTH_EINVALID;
    size_t year_digits = tag == DER_UTC_TIME ? 2 : tag == DER_GENERALIZED_TIME ? 4 : 0;
    if (year_digits == 0 || length != year_digits + 11 || p[header + length - 1] != 'Z')
        return -SOTH_EINVALID;
    int64_t part[6] = {0}; /* year, month, day, hour, minute, second */
    for (size_t i = 0; i + 1 < length; i++) {
        uint8_t c = p[header + i];
        if (c < '0' || c > '9')
            return -SOTH_EINVALID;
        size_t at = i < year_digits ? 0 : 1 + (i - year_digits) / 2;
        part[at] = part[at] * 10 + (c - '0');
    }
    if (year_digits == 2)
        part[0] += part[0] < 50 ? 2000 : 1900;
    if (part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31 || part[3] > 23 || part[4] > 59 || part[5] > 60)
        return -SOTH_EINVALID;
    *seconds = ((days_from_date(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4]) * 60 + part[5];
    return SOTH_OK;
}
