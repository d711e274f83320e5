/* SPDX-License-Identifier: MPL-2.0 */
/* See address.h. */
#include "host/net/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

void address_plain(const struct sockaddr_storage *sa, struct soth_addr *out)
{
    memset(out, 0, sizeof *out);
    if (sa->ss_family == AF_INET) {
        out->family = 4;
        memcpy(out->bytes, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->ss_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(a);
        out->family = mapped ? 4 : 6;
        if (mapped)
            memcpy(out->bytes, a->s6_addr + 12, 4);
        else
            memcpy(out->bytes, a->s6_addr, 16);
    }
}

unsigned address_port(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
    if (sa->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
    return 0;
}

void address_text(const struct sockaddr_storage *sa, char out[ADDRESS_TEXT_MAX])
{
    char text[INET6_ADDRSTRLEN] = "";
    struct soth_addr plain;
    if (sa->ss_family == AF_UNIX) {
        snprintf(out, ADDRESS_TEXT_MAX, "unix:%s", ((const struct sockaddr_un *)(const void *)sa)->sun_path);
        return;
    }
    address_plain(sa, &plain);
    inet_ntop(plain.family == 4 ? AF_INET : AF_INET6, plain.bytes, text, sizeof text);
    snprintf(out, ADDRESS_TEXT_MAX, plain.family == 4 ? "%s:%u" : "[%s]:%u", text, address_port(sa));
}

socklen_t address_make(const struct soth_addr *addr, unsigned port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (addr->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        memcpy(&in->sin_addr, addr->bytes, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    memcpy(&in6->sin6_addr, addr->bytes, 16);
    return sizeof *in6;
}

bool address_parse(const char *text, struct soth_addr *out)
{
    char copy[64];
    size_t n = strlen(text);
    memset(out, 0, sizeof *out);
    if (n >= 2 && n < sizeof copy && text[0] == '[' && text[n - 1] == ']') {
        memcpy(copy, text + 1, n - 2);
        copy[n - 2] = 0;
        text = copy;
    }
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, text, out->bytes) == 1)
        out->family = 6;
    return out->family != 0;
}

void address_target(struct soth_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, any[16];
    if (addr->family == 6 && memcmp(addr->bytes, mapped, sizeof mapped) == 0) {
        memcpy(addr->bytes, addr->bytes + sizeof mapped, 4);
        memset(addr->bytes + 4, 0, 12);
        addr->family = 4;
    }
    if (memcmp(addr->bytes, any, addr->family == 4 ? 4 : 16) != 0)
        return;
    if (addr->family == 4)
        addr->bytes[0] = 127;
    addr->bytes[addr->family == 4 ? 3 : 15] = 1;
}

bool address_is_local(const struct soth_addr *addr)
{
    static const uint8_t loopback6[16] = {[15] = 1}, any6[16];
    struct ifaddrs *list, *at;
    bool found = false;
    if (addr->family == 4 && (addr->bytes[0] == 127 || memcmp(addr->bytes, any6, 4) == 0))
        return true;
    if (addr->family == 6 && (memcmp(addr->bytes, loopback6, 16) == 0 || memcmp(addr->bytes, any6, 16) == 0))
        return true;
    if (getifaddrs(&list) < 0)
        return false;
    for (at = list; at && !found; at = at->ifa_next) {
        struct sockaddr_storage sa = {0};
        struct soth_addr own;
        if (!at->ifa_addr || (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
            continue;
        memcpy(&sa, at->ifa_addr, at->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        address_plain(&sa, &own);
        found = own.family == addr->family && memcmp(own.bytes, addr->bytes, addr->family == 4 ? 4 : 16) == 0;
    }
    freeifaddrs(list);
    return found;
}
