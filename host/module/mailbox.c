/* SPDX-License-Identifier: MPL-2.0 */
/* See mailbox.h. A slot's number: the mailbox's own number in the upper 10 bits, its index there in the lower 22. */
#include "host/module/mailbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define INDEX_BITS 22
#define INDEX_MASK ((1u << INDEX_BITS) - 1)

struct expected {
    uint64_t pause; /* 0: none */
    uint64_t arg;
    bool posted;
};

struct slot {
    void *owner; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
    bool has_mail; /* in the list of those to be taken */
    struct expected expected[MAILBOX_PAUSES];
};

struct mailbox {
    pthread_mutex_t lock;
    uint32_t number;
    struct slot *slots;
    uint32_t count, free; /* free: index + 1 of the first free slot, 0 = none */
    uint32_t *mail; /* indices of slots with mail; room for all of them */
    uint32_t mail_count;
    void (*wake)(void *arg);
    void *arg;
};

/* Those that exist. The lock is held while a token is delivered: a mailbox does not go away meanwhile. */
static struct mailbox *all[MAILBOX_WORKERS];
static pthread_rwlock_t all_lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t stale;

struct mailbox *mailbox_new(void (*wake)(void *arg), void *arg)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);
    uint32_t number = 0;
    if (!mailbox)
        return NULL;
    pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->wake = wake;
    mailbox->arg = arg;
    pthread_rwlock_wrlock(&all_lock);
    while (number < MAILBOX_WORKERS && all[number])
        number++;
    if (number < MAILBOX_WORKERS)
        all[number] = mailbox;
    pthread_rwlock_unlock(&all_lock);
    mailbox->number = number;
    if (number < MAILBOX_WORKERS)
        return mailbox;
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
    return NULL;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (!mailbox)
        return;
    pthread_rwlock_wrlock(&all_lock);
    all[mailbox->number] = NULL;
    pthread_rwlock_unlock(&all_lock);
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox->slots);
    free(mailbox->mail);
    free(mailbox);
}

/* ---- slots ---- */

/* Generations never repeat in the process: a new mailbox may get the number of one that is gone. */
static uint32_t next_generation(void)
{
    static uint32_t last;
    uint32_t generation = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    return generation ? generation : __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

static bool grow(struct mailbox *mailbox)
{
    uint32_t more = mailbox->count ? mailbox->count * 2 : 64;
    if (more > INDEX_MASK)
        return false;
    struct slot *slots = realloc(mailbox->slots, more * sizeof *slots);
    if (slots)
        mailbox->slots = slots;
    uint32_t *mail = realloc(mailbox->mail, more * sizeof *mail);
    if (mail)
        mailbox->mail = mail;
    if (!slots || !mail)
        return false;
    for (uint32_t i = mailbox->count; i < more; i++)
        slots[i] = (struct slot){.next_free = i + 1 < more ? i + 2 : 0};
    mailbox->free = mailbox->count + 1;
    mailbox->count = more;
    return true;
}

int mailbox_enter(struct mailbox *mailbox, void *owner, uint32_t *slot, uint32_t *generation)
{
    int r = -SOTH_ENOMEM;
    pthread_mutex_lock(&mailbox->lock);
    if (mailbox->free || grow(mailbox)) {
        uint32_t index = mailbox->free - 1;
        struct slot *s = &mailbox->slots[index];
        mailbox->free = s->next_free;
        *s = (struct slot){.owner = owner, .generation = next_generation()};
        *slot = mailbox->number << INDEX_BITS | index;
        *generation = s->generation;
        r = SOTH_OK;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return r;
}

static void drop_mail(struct mailbox *mailbox, uint32_t index)
{
    for (uint32_t i = 0; i < mailbox->mail_count; i++)
        if (mailbox->mail[i] == index) {
            mailbox->mail[i] = mailbox->mail[--mailbox->mail_count];
            return;
        }
}

void mailbox_leave(struct mailbox *mailbox, uint32_t slot)
{
    uint32_t index = slot & INDEX_MASK;
    pthread_mutex_lock(&mailbox->lock);
    struct slot *s = &mailbox->slots[index];
    if (s->has_mail)
        drop_mail(mailbox, index);
    *s = (struct slot){.next_free = mailbox->free};
    mailbox->free = index + 1;
    pthread_mutex_unlock(&mailbox->lock);
}

static struct expected *find(struct slot *s, uint64_t pause)
{
    for (unsigned i = 0; i < MAILBOX_PAUSES; i++)
        if (s->expected[i].pause == pause)
            return &s->expected[i];
    return NULL;
}

static bool has_posted(const struct slot *s)
{
    for (unsigned i = 0; i < MAILBOX_PAUSES; i++)
        if (s->expected[i].posted)
            return true;
    return false;
}

bool mailbox_expect(struct mailbox *mailbox, uint32_t slot, uint64_t pause)
{
    pthread_mutex_lock(&mailbox->lock);
    struct expected *e = find(&mailbox->slots[slot & INDEX_MASK], 0);
    if (e)
        *e = (struct expected){.pause = pause};
    pthread_mutex_unlock(&mailbox->lock);
    return e != NULL;
}

void mailbox_forget(struct mailbox *mailbox, uint32_t slot, uint64_t pause)
{
    pthread_mutex_lock(&mailbox->lock);
    struct slot *s = &mailbox->slots[slot & INDEX_MASK];
    struct expected *e = find(s, pause);
    if (e)
        *e = (struct expected){0};
    if (s->has_mail && !has_posted(s)) {
        drop_mail(mailbox, slot & INDEX_MASK);
        s->has_mail = false;
    }
    pthread_mutex_unlock(&mailbox->lock);
}

/* ---- mail ---- */

/* (lock) true: the worker must be woken. */
static bool put(struct mailbox *mailbox, uint32_t index, struct soth_token token, uint64_t arg, int *result)
{
    struct slot *s = index < mailbox->count ? &mailbox->slots[index] : NULL;
    struct expected *e = s && s->owner && s->generation == token.generation && token.pause ? find(s, token.pause) : NULL;
    if (!e || e->posted) {
        return false;
    }
    *result = SOTH_OK;
    e->posted = true;
    e->arg = arg;
    if (s->has_mail)
        return false;
    s->has_mail = true;
    mailbox->mail[mailbox->mail_count++] = index;
    return mailbox->mail_count == 1;
}

int mailbox_post(struct soth_token token, uint64_t arg)
{
    int r = -SOTH_ESTALE;
    pthread_rwlock_rdlock(&all_lock);
    struct mailbox *mailbox = all[token.slot >> INDEX_BITS];
    if (mailbox) {
        pthread_mutex_lock(&mailbox->lock);
        bool wake = put(mailbox, token.slot & INDEX_MASK, token, arg, &r);
        pthread_mutex_unlock(&mailbox->lock);
        if (wake)
            mailbox->wake(mailbox->arg);
    }
    pthread_rwlock_unlock(&all_lock);
    if (r < 0)
        __atomic_add_fetch(&stale, 1, __ATOMIC_RELAXED);
    return r;
}

/* (lock) one mail of the slot. true: it has more. */
static bool take_one(struct slot *s, struct mail *out)
{
    bool taken = false;
    for (unsigned i = 0; i < MAILBOX_PAUSES; i++) {
        struct expected *e = &s->expected[i];
        if (!e->posted)
            continue;
        if (taken)
            return true;
        *out = (struct mail){s->owner, e->pause, e->arg};
        *e = (struct expected){0};
        taken = true;
    }
    return false;
}

bool mailbox_take(struct mailbox *mailbox, struct mail *out)
{
    pthread_mutex_lock(&mailbox->lock);
    bool any = mailbox->mail_count > 0;
    if (any) {
        struct slot *s = &mailbox->slots[mailbox->mail[mailbox->mail_count - 1]];
        s->has_mail = take_one(s, out);
        mailbox->mail_count -= !s->has_mail;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return any;
}

uint64_t mailbox_stale(void)
{
    return __atomic_load_n(&stale, __ATOMIC_RELAXED);
}
