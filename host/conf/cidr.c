/* SPDX-License-Identifier: MPL-2.0 */
/* Text in, networks out; an address and networks in, whether one of them holds it out. Pure. */
#include "host/conf/cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96

static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

bool cidr_parse_addr(const char *text, struct soth_addr *out)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, text, out->bytes) == 1)
        out->family = 6;
    return out->family != 0;
}

static void unmap(struct settings_cidr *net)
{
    if (net->addr.family != 6 || net->bits < MAPPED_BITS || memcmp(net->addr.bytes, mapped, sizeof mapped) != 0)
        return;
    memmove(net->addr.bytes, net->addr.bytes + sizeof mapped, 4);
    memset(net->addr.bytes + 4, 0, 12);
    net->addr.family = 4;
    net->bits -= MAPPED_BITS;
}

bool cidr_parse(const char *text, struct settings_cidr *out)
{
    char address[64];
    size_t n = strcspn(text, "/");
    if (n >= sizeof address)
        return false;
    memcpy(address, text, n);
    address[n] = 0;
    if (!cidr_parse_addr(address, &out->addr))
        return false;
    unsigned long most = out->addr.family == 4 ? 32 : 128, bits = most;
    if (text[n] == '/') {
        const char *digits = text + n + 1;
        size_t count = strspn(digits, "0123456789");
        if (count == 0 || count > 3 || digits[count] || (count > 1 && *digits == '0'))
            return false;
        bits = strtoul(digits, NULL, 10);
    }
    out->bits = (uint32_t)bits;
    unmap(out);
    return bits <= most;
}

static const uint8_t *as_v4(const struct soth_addr *addr)
{
    if (addr->family == 4)
        return addr->bytes;
    return memcmp(addr->bytes, mapped, sizeof mapped) == 0 ? addr->bytes + sizeof mapped : NULL;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

int settings_cidr_match(const struct settings_cidr *list, size_t n, const struct soth_addr *addr)
{
    if (addr->family != 4 && addr->family != 6)
        return 0;
    const uint8_t *v4 = as_v4(addr);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *bytes = list[i].addr.family == 4 ? v4 : addr->family == 6 ? addr->bytes : NULL;
        if (bytes && same_bits(list[i].addr.bytes, bytes, list[i].bits))
            return 1;
    }
    return 0;
}
