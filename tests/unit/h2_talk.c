/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_talk.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

struct h2_talk talk;

void talk_begin(void)
{
    rig_init(&talk.driver);
    talk.driver.settings.http2_enabled = 1;
    talk.client = talk.origin = (struct h2_peer){.h2 = NULL};
}

void talk_end(void)
{
    h2_peer_fini(&talk.client);
    h2_peer_fini(&talk.origin);
    rig_fini(&talk.driver);
}

void talk_speak(void)
{
    h2_peer_init(&talk.client, &talk.driver, SIDE_CLIENT, -1, 0);
    talk_run();
}

void talk_connect(void)
{
    if (!talk.driver.accepted)
        driver_accept(&talk.driver);
    rig_say(&talk.driver, SIDE_CLIENT, "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n");
    rig_expect_sent(&talk.driver, SIDE_CLIENT, OK_200);
    talk_speak();
}

void talk_client_of_http1(void)
{
    struct driver *d = &talk.driver;
    talk_begin();
    d->settings.upstream_http2 = UPSTREAM_HTTP2_ALWAYS;
    driver_accept(d);
    rig_say(d, SIDE_CLIENT, CONNECT);
    driver_client_tls(d, "a.test", HTTP11);
    rig_run(d);
    driver_origin_tls(d, "a.test", "h2");
}

void talk_answered(uint32_t window)
{
    assert_true(driver_dialed(&talk.driver));
    h2_peer_init(&talk.origin, &talk.driver, SIDE_ORIGIN, -1, window);
    talk_run();
}

void talk_answered_connecting(void)
{
    assert_true(driver_dialed(&talk.driver));
    h2_peer_init_connecting(&talk.origin, &talk.driver, -1);
    talk_run();
}

void talk_warm(void)
{
    struct h2_peer *client = &talk.client, *origin = &talk.origin;
    talk_begin();
    talk_connect();
    assert_int_equal(h2_peer_ask(client, "GET", "/", "a.test", "", true), 1);
    talk_run();
    talk_answered(0);
    talk_expect(origin, "1 head GET / a.test\n1 end\n");
    h2_peer_respond(origin, 1, 200, "", true);
    talk_expect(client, "1 head 200\n1 end\n");
}

void talk_run(void)
{
    struct driver *d = &talk.driver;
    bool moved = true;
    while (moved) {
        rig_run(d);
        moved = talk.client.h2 && h2_peer_turn(&talk.client);
        moved = (talk.origin.h2 && h2_peer_turn(&talk.origin)) || moved;
        for (unsigned i = 0; i < d->kin_count; i++)
            while (driver_kin_read(d, i, SIZE_MAX))
                moved = true;
    }
}

void talk_expect(struct h2_peer *peer, const char *wanted)
{
    talk_run();
    const char *got = h2_peer_log(peer);
    if (strcmp(got, wanted) != 0)
        fail_msg("heard\n%s\nnot\n%s\nafter\n%s", got, wanted, driver_log(&talk.driver));
}
