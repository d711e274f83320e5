/* SPDX-License-Identifier: MPL-2.0 */
#include "names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static int is_released;

void names_release(void)
{
    pthread_mutex_lock(&lock);
    is_released = 1;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

static void wait_for_release(void)
{
    pthread_mutex_lock(&lock);
    while (!is_released)
        pthread_cond_wait(&released, &lock);
    pthread_mutex_unlock(&lock);
}

struct named {
    struct addrinfo info;
    struct sockaddr_in addr;
};

static struct addrinfo *address(const char *text, const char *port, struct addrinfo *next)
{
    struct named *n = calloc(1, sizeof *n);
    if (!n)
        abort();
    n->addr.sin_family = AF_INET;
    n->addr.sin_port = htons((uint16_t)atoi(port));
    n->info = (struct addrinfo){.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_addrlen = sizeof n->addr,
                                .ai_addr = (struct sockaddr *)&n->addr, .ai_next = next};
    if (inet_pton(AF_INET, text, &n->addr.sin_addr) == 1)
        return &n->info;
    free(n);
    return NULL;
}

int getaddrinfo(const char *restrict host, const char *restrict port, const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    if (strcmp(host, "late.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST))
        wait_for_release();
    *out = NULL;
    if (hints->ai_flags & AI_NUMERICHOST)
        *out = address(host, port, NULL);
    else if (strcmp(host, "two.test") == 0)
        *out = address("127.0.0.2", port, address("127.0.0.1", port, NULL));
    else if (strcmp(host, "late.test") == 0)
        *out = address("127.0.0.1", port, NULL);
    return *out ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info) {
        struct addrinfo *next = info->ai_next;
        free(info); /* the first member of what address() made */
        info = next;
    }
}
