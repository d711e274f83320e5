# SPDX-License-Identifier: MPL-2.0
"""Deadlines of a flow: late heads, silence, slow clients. What the origin is late with stands in test_upstream_failures."""
import time

import pytest

from harness.client import request
from harness.origin import drip
from harness.timing import SCALE, Stopwatch, scaled, span


@pytest.mark.parametrize("sent", [b"CONNECT origin.test:4", b"GET http://origin.test/ HTTP/1.1\r\nHost: o"], ids=["connect", "absolute"])
def test_first_head_too_late(proxy, sent):
    p = proxy(stream_stage_timeout="600ms")
    watch = Stopwatch()
    with p.client() as client:
        client.send(sent)
        answer = client.response()
        assert (answer.status, answer.proxy_error) == (408, "http_request_error") and watch.seconds > 0.4
        assert client.ended()
    p.closed_as("stream_stage_timeout", "request_head")


def test_dribbled_head_is_late_all_the_same(proxy):
    """The deadline is for the whole head, not for each byte."""
    p = proxy(stream_stage_timeout="900ms")
    watch = Stopwatch()
    with p.client() as client:
        status = None
        for byte in b"CONNECT origin.test:443 HTTP/1.1\r\nX: " + b"a" * 100:
            try:
                client.send(bytes([byte]))
            except OSError:
                break
            client.sock.settimeout(0.05)  # the client's pace
            try:
                client.fill()
                status = client.head().status
                break
            except TimeoutError:
                continue
    assert status == 408 and watch.seconds < scaled(5)
    p.closed_as("stream_stage_timeout", "request_head")


def test_request_head_inside_tls_too_late(proxy, origin):
    server, p = origin(tls=True), proxy(stream_stage_timeout="600ms")
    with p.https("origin.test", server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: or")
        assert client.response().status == 408
    p.closed_as("stream_stage_timeout", "request_head")


def test_waiting_for_a_response_is_no_stage(proxy, origin):
    """stream_stage_timeout is never the wait for a response's first byte."""
    def slow(wire):
        wire.request()
        time.sleep(scaled(1.2))  # the origin's own time
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    server, p = origin(slow, tls=True), proxy(stream_stage_timeout=span(0.4))
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/", "origin.test").body == b"late"


@pytest.mark.parametrize("phase", ["idle", "response_body", "request_body", "tunnel"])
def test_idle_timeout(proxy, origin, phase):
    def stall(wire):
        if phase == "tunnel":
            wire.send(b"X")
        elif phase == "request_body":
            wire.head()
        else:
            wire.request()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"ok" if phase == "idle" else b"o"))
        wire.rest()

    server = origin(stall)
    p = proxy(idle_timeout=span(0.7), policy={"default": "tunnel" if phase == "tunnel" else "intercept"})
    watch = Stopwatch()
    with p.client().connect(f"origin.test:{server.port}") as client:
        if phase == "request_body":
            client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 5\r\n\r\nab")
        elif phase != "tunnel":
            client.send(request("GET", "/", "origin.test"))
        client.rest()
        assert 0.5 < watch.seconds < scaled(6)
    p.closed_as("idle_watchdog_timeout", phase)


def test_traffic_keeps_a_flow_alive_past_idle_timeout(proxy, origin):
    server, p = origin(drip(8, 0.2 * SCALE)), proxy(idle_timeout=span(1))
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/", "origin.test").body == b"x" * 8
    p.closed_as("mitm_http_completed")


def test_client_that_connects_and_stays_silent(proxy):
    p = proxy(stream_stage_timeout="500ms", idle_timeout="2s")
    with p.client() as client:
        client.rest()
    assert p.wait_closed()[0].at("reason_code") in ("stream_stage_timeout", "idle_watchdog_timeout")
