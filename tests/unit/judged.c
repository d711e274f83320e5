/* SPDX-License-Identifier: MPL-2.0 */
#include "judged.h"

#include <arpa/inet.h>

static struct soth_addr address(const char *text)
{
    struct soth_addr a = {0};
    if (inet_pton(AF_INET, text, a.bytes) == 1)
        a.family = 4;
    else if (inet_pton(AF_INET6, text, a.bytes) == 1)
        a.family = 6;
    return a;
}

struct soth_connect connect_to(const char *name, uint32_t port)
{
    return (struct soth_connect){.size = sizeof(struct soth_connect), .identity = SOTH_ID_TARGET, .host = soth_span(name), .port = port,
                                 .client = soth_span("192.0.2.7:4711"), .client_addr = address("192.0.2.7"), .host_addr = address(name)};
}

struct soth_message request_on(const struct soth_connect *connect, const char *method, const char *target)
{
    return (struct soth_message){.size = sizeof(struct soth_message), .direction = SOTH_TO_SERVER, .connect = connect,
                                 .target_host = connect->host, .method = soth_span(method), .scheme = soth_span("https"),
                                 .target = soth_span(target)};
}
