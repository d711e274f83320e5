/* SPDX-License-Identifier: MPL-2.0 */
/* See closing.h. */
#include "closing.h"

#include "utf8.h"

/* RFC 6455 7.4.2 and the registry: 1004 is reserved, 1005, 1006 and 1015 never stand in a frame. */
static bool is_code(uint32_t code)
{
    if (code >= 3000)
        return code < 5000;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

struct closing closing_read(const uint8_t *p, size_t n)
{
    struct closing c = {0};
    struct utf8 utf8 = {0};
    if (n == 1)
        c.fault = "close_length";
    if (n < 2)
        return c;
    c.has_code = true;
    c.code = (uint32_t)p[0] << 8 | p[1];
    if (n > 2)
        c.reason = (struct soth_span){(const char *)p + 2, n - 2};
    if (!is_code(c.code))
        c.fault = "close_code";
    else if (!utf8_take(&utf8, p + 2, n - 2) || !utf8_whole(&utf8))
        c.fault = "close_reason";
    return c;
}
