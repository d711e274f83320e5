/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A session's secrets come in, a sealed ticket goes out, and the other way round (RFC 5077, RFC 8446 4.6.1). Sealed with
 * ChaCha20-Poly1305; the key's name and a hash of the SNI are authenticated with it, so that a ticket for one host never resumes
 * another. Keys live in memory only and are replaced in use.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/random.h>

#include "host/tls/profile.h"
#include "host/tls/session_state.h"

#define KEYS 3u              /* the newest seals, all open */
#define ROTATE_EVERY_S 21600 /* a ticket is good for 12 h, see profile.c */

struct ticket_key {
    uint8_t name[WOLFSSL_TICKET_NAME_SZ]; /* all zeros: no key */
    uint8_t secret[CHACHA20_POLY1305_AEAD_KEYSIZE];
    uint64_t sealed; /* counts nonces */
};

struct session_tickets {
    pthread_mutex_t lock;
    struct ticket_key keys[KEYS]; /* newest first */
    time_t rotate_at;
};

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static int rotate(struct session_tickets *t)
{
    WC_RNG rng;
    struct ticket_key fresh = {0};
    if (wc_InitRng(&rng) != 0)
        return -SOTH_EIO;
    int r = wc_RNG_GenerateBlock(&rng, fresh.name, sizeof fresh.name);
    if (r == 0)
        r = wc_RNG_GenerateBlock(&rng, fresh.secret, sizeof fresh.secret);
    wc_FreeRng(&rng);
    if (r != 0)
        return -SOTH_EIO;
    memmove(t->keys + 1, t->keys, (KEYS - 1) * sizeof t->keys[0]);
    t->keys[0] = fresh;
    t->rotate_at = seconds() + ROTATE_EVERY_S;
    explicit_bzero(&fresh, sizeof fresh);
    return SOTH_OK;
}

struct session_tickets *session_tickets_new(void)
{
    struct session_tickets *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    if (rotate(t) < 0) {
        free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

int session_tickets_rotate(struct session_tickets *t)
{
    pthread_mutex_lock(&t->lock);
    int r = rotate(t);
    pthread_mutex_unlock(&t->lock);
    return r;
}

void session_tickets_free(struct session_tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    explicit_bzero(t, sizeof *t);
    free(t);
}

/* The newest key and a nonce that it has not had. */
static void sealing_key(struct session_tickets *t, struct ticket_key *key, uint8_t nonce[CHACHA20_POLY1305_AEAD_IV_SIZE])
{
    pthread_mutex_lock(&t->lock);
    if (seconds() >= t->rotate_at)
        (void)rotate(t); /* without randomness the old key goes on */
    uint64_t count = ++t->keys[0].sealed;
    *key = t->keys[0];
    pthread_mutex_unlock(&t->lock);
    memset(nonce, 0, CHACHA20_POLY1305_AEAD_IV_SIZE);
    for (size_t i = 0; i < sizeof count; i++)
        nonce[i] = (uint8_t)(count >> 8 * i);
}

static int opening_key(struct session_tickets *t, const uint8_t *name, struct ticket_key *key)
{
    int found = 0;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < KEYS && !found; i++) {
        found = memcmp(t->keys[i].name, name, sizeof t->keys[i].name) == 0;
        if (found)
            *key = t->keys[i];
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

int session_tickets_callback(WOLFSSL *tls, unsigned char name[WOLFSSL_TICKET_NAME_SZ], unsigned char iv[WOLFSSL_TICKET_IV_SZ],
                             unsigned char mac[WOLFSSL_TICKET_MAC_SZ], int seal, unsigned char *ticket, int n, int *out_n, void *unused)
{
    struct session *s = wolfSSL_GetIOReadCtx(tls);
    struct ticket_key key;
    uint8_t bound[WOLFSSL_TICKET_NAME_SZ + SESSION_KEY_SIZE];
    static const uint8_t no_name[WOLFSSL_TICKET_NAME_SZ];
    int r;
    (void)unused;
    if (s->keylog && !seal)
        return WOLFSSL_TICKET_RET_REJECT;
    if (!s->tickets)
        return seal ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
    if (seal) {
        memset(iv, 0, WOLFSSL_TICKET_IV_SZ);
        sealing_key(s->tickets, &key, iv);
        memcpy(name, key.name, WOLFSSL_TICKET_NAME_SZ);
    } else if (memcmp(name, no_name, sizeof no_name) == 0 || !opening_key(s->tickets, name, &key)) {
        return WOLFSSL_TICKET_RET_REJECT;
    }
    memcpy(bound, name, WOLFSSL_TICKET_NAME_SZ);
    memcpy(bound + WOLFSSL_TICKET_NAME_SZ, s->key, SESSION_KEY_SIZE);
    if (seal) {
        memset(mac, 0, WOLFSSL_TICKET_MAC_SZ);
        r = wc_ChaCha20Poly1305_Encrypt(key.secret, iv, bound, sizeof bound, ticket, (word32)n, ticket, mac);
    } else {
        r = wc_ChaCha20Poly1305_Decrypt(key.secret, iv, bound, sizeof bound, ticket, (word32)n, mac, ticket);
    }
    explicit_bzero(&key, sizeof key);
    *out_n = n;
    if (r != 0)
        return seal ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
    return WOLFSSL_TICKET_RET_OK;
}
