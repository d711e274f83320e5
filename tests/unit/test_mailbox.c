/* SPDX-License-Identifier: MPL-2.0 */
/* Resumes: right ones, stale, early and doubled ones, from other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "host/module/mailbox.h"

static atomic_int woken;

static void wake(void *arg)
{
    (void)arg;
    atomic_fetch_add(&woken, 1);
}

static struct soth_token enter(struct mailbox *mailbox, void *owner)
{
    struct soth_token token = {.pause = 1};
    assert_int_equal(mailbox_enter(mailbox, owner, &token.slot, &token.generation), SOTH_OK);
    return token;
}

static void one_resume_arrives_once(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    struct mail mail;
    int owner;
    (void)state;
    struct soth_token token = enter(mailbox, &owner);
    uint64_t before = mailbox_stale();
    assert_int_equal(mailbox_post(token, 7), -SOTH_ESTALE); /* early: nobody has said that it pauses */
    mailbox_expect(mailbox, token.slot, 1);
    atomic_store(&woken, 0);
    assert_int_equal(mailbox_post(token, 7), SOTH_OK);
    assert_int_equal(mailbox_post(token, 8), -SOTH_ESTALE);
    assert_int_equal(atomic_load(&woken), 1);
    assert_true(mailbox_take(mailbox, &mail));
    assert_ptr_equal(mail.owner, &owner);
    assert_int_equal(mail.pause, 1);
    assert_int_equal(mail.arg, 7);
    assert_false(mailbox_take(mailbox, &mail));
    assert_int_equal(mailbox_post(token, 9), -SOTH_ESTALE);
    assert_int_equal(mailbox_stale() - before, 3);
    mailbox_leave(mailbox, token.slot);
    mailbox_free(mailbox);
}

static void a_pause_too_many_is_refused(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    int owner;
    (void)state;
    struct soth_token token = enter(mailbox, &owner);
    for (uint64_t pause = 1; pause <= MAILBOX_PAUSES; pause++)
        assert_true(mailbox_expect(mailbox, token.slot, pause));
    assert_false(mailbox_expect(mailbox, token.slot, MAILBOX_PAUSES + 1));
    mailbox_forget(mailbox, token.slot, 3);
    assert_true(mailbox_expect(mailbox, token.slot, MAILBOX_PAUSES + 1));
    mailbox_leave(mailbox, token.slot);
    mailbox_free(mailbox);
}

static void tokens_of_the_past_are_stale(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    struct mail mail;
    int a, b;
    (void)state;
    struct soth_token old = enter(mailbox, &a);
    mailbox_expect(mailbox, old.slot, 1);
    mailbox_leave(mailbox, old.slot);
    struct soth_token fresh = enter(mailbox, &b);
    assert_int_equal(fresh.slot, old.slot); /* the slot is used again, its generation is not */
    mailbox_expect(mailbox, fresh.slot, 1);
    assert_int_equal(mailbox_post(old, 1), -SOTH_ESTALE);
    mailbox_forget(mailbox, fresh.slot, 1);
    assert_int_equal(mailbox_post(fresh, 1), -SOTH_ESTALE);
    assert_false(mailbox_take(mailbox, &mail));
    mailbox_leave(mailbox, fresh.slot);
    mailbox_free(mailbox);
    assert_int_equal(mailbox_post(fresh, 1), -SOTH_ESTALE); /* nor does the worker exist any more */
    struct soth_token nonsense = {UINT32_MAX, 1, 1}, zero = {0};
    assert_int_equal(mailbox_post(nonsense, 1), -SOTH_ESTALE);
    assert_int_equal(mailbox_post(zero, 1), -SOTH_ESTALE);
}

static void mail_of_a_flow_that_ended_is_gone(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    struct mail mail;
    int owners[3];
    struct soth_token t[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        t[i] = enter(mailbox, &owners[i]);
        mailbox_expect(mailbox, t[i].slot, 1);
        assert_int_equal(mailbox_post(t[i], 1), SOTH_OK);
    }
    mailbox_leave(mailbox, t[1].slot);
    mailbox_forget(mailbox, t[0].slot, 1);
    assert_true(mailbox_take(mailbox, &mail));
    assert_ptr_equal(mail.owner, &owners[2]);
    assert_false(mailbox_take(mailbox, &mail));
    mailbox_leave(mailbox, t[0].slot);
    mailbox_leave(mailbox, t[2].slot);
    mailbox_free(mailbox);
}

static void several_pauses_of_one_flow(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    struct mail mail;
    int owner;
    uint64_t seen = 0;
    (void)state;
    struct soth_token token = enter(mailbox, &owner);
    for (token.pause = 1; token.pause <= MAILBOX_PAUSES; token.pause++) {
        mailbox_expect(mailbox, token.slot, token.pause);
        assert_int_equal(mailbox_post(token, 100 + token.pause), SOTH_OK);
    }
    while (mailbox_take(mailbox, &mail)) {
        assert_int_equal(mail.arg, 100 + mail.pause);
        seen |= UINT64_C(1) << mail.pause;
    }
    assert_int_equal(seen, ((UINT64_C(1) << MAILBOX_PAUSES) - 1) << 1);
    mailbox_leave(mailbox, token.slot);
    mailbox_free(mailbox);
}

/* ---- threads ---- */

#define FLOWS 2000
#define THREADS 4
static struct soth_token tokens[FLOWS];
static atomic_int accepted;

static void *post_all(void *arg)
{
    (void)arg;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < FLOWS; i++)
            if (mailbox_post(tokens[i], (uint64_t)i) == SOTH_OK)
                atomic_fetch_add(&accepted, 1);
    return NULL;
}

static void threads_race_and_each_token_counts_once(void **state)
{
    struct mailbox *mailbox = mailbox_new(wake, NULL);
    pthread_t threads[THREADS];
    static int owners[FLOWS], got[FLOWS];
    struct mail mail;
    int taken = 0;
    (void)state;
    for (int i = 0; i < FLOWS; i++) {
        tokens[i] = enter(mailbox, &owners[i]);
        mailbox_expect(mailbox, tokens[i].slot, 1);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, NULL), 0);
    while (taken < FLOWS)
        if (mailbox_take(mailbox, &mail)) {
            assert_ptr_equal(mail.owner, &owners[mail.arg]);
            got[mail.arg]++;
            taken++;
            mailbox_leave(mailbox, tokens[mail.arg].slot);
        }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_false(mailbox_take(mailbox, &mail));
    assert_int_equal(atomic_load(&accepted), FLOWS);
    for (int i = 0; i < FLOWS; i++)
        assert_int_equal(got[i], 1);
    mailbox_free(mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_resume_arrives_once),
        cmocka_unit_test(a_pause_too_many_is_refused),
        cmocka_unit_test(tokens_of_the_past_are_stale),
        cmocka_unit_test(mail_of_a_flow_that_ended_is_gone),
        cmocka_unit_test(several_pauses_of_one_flow),
        cmocka_unit_test(threads_race_and_each_token_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
