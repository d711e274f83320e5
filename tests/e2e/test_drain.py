# SPDX-License-Identifier: MPL-2.0
"""SIGTERM: no new connections, flows in flight end by themselves, at the deadline they are cut; sinks are flushed last."""
import hashlib
import signal
import socket
import threading

import pytest

from harness.client import Client, request
from harness.origin import pattern, pattern_sha256
from harness.timing import Stopwatch, scaled, span, until


@pytest.mark.parametrize("tls", [False, True])
def test_download_in_flight_completes(proxy, origin, tls):
    go_on = threading.Event()
    size = 3_000_000

    def halves(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nX" % (size + 1))
        go_on.wait(scaled(60))
        for piece in pattern(size):
            wire.send(piece)

    server, p = origin(halves, tls=tls), proxy(drain_timeout="30s")
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        client.send(request("GET", "/", "origin.test"))
        client.head()
        client.exactly(1)
        address = p.address()
        p.signal(signal.SIGTERM)
        until(lambda: refused(address), 10, "the listener to close")
        go_on.set()
        assert hashlib.sha256(client.exactly(size)).hexdigest() == pattern_sha256(size)
        watch = Stopwatch()
        assert p.wait_exit() == 0, "the kept-alive connection does not hold up the end"
        assert watch.seconds < scaled(5)
    # the probes of the closing listener are flows too; the download is the one with bytes
    ended = [e.at("reason_code") for e in p.log.find("stream_closed") if e.at("bytes_from_server") != "0"]
    assert ended == ["mitm_http_completed"]


def refused(address):
    try:
        socket.create_connection(address, 1).close()
        return False
    except OSError:
        return True


def test_idle_connections_do_not_hold_up_the_end(proxy, origin):
    server, p = origin(tls=True), proxy(drain_timeout="30s")
    with p.https("origin.test", server.port) as client, p.client():
        client.ask("GET", "/hello", "origin.test")
        p.signal(signal.SIGTERM)
        assert p.wait_exit(10) == 0


@pytest.mark.parametrize("kept", ["connect", "tls"])
def test_connections_kept_for_later_do_not_hold_up_the_end(proxy, origin, kept):
    """Browsers open more connections than they use: one that never asked for anything is idle."""
    server, p = origin(tls=True), proxy(drain_timeout="30s")
    with p.client().connect(f"origin.test:{server.port}") as client:
        if kept == "tls":
            client.start_tls(p.trust(), "origin.test")
            p.wait_event("tls_handshake_succeeded", peer="downstream")
        p.signal(signal.SIGTERM)
        assert p.wait_exit(10) == 0
    p.closed_as("shutdown_drain")


def test_response_in_drain_ends_the_connection(proxy, origin):
    """A request that is already under way is answered, with Connection: close."""
    go_on = threading.Event()

    def wait(wire):
        wire.request()
        go_on.wait(scaled(60))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wire.rest()

    server, p = origin(wait), proxy(drain_timeout="30s")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(request("GET", "/", "origin.test"))
        p.wait_event("request_headers")
        address = p.address()
        p.signal(signal.SIGTERM)
        until(lambda: refused(address), 10, "the listener to close")
        go_on.set()
        answer = client.response()
        assert answer.body == b"ok" and answer.head.get("Connection", "").lower() == "close"
        assert client.ended()
    assert p.wait_exit() == 0


def test_websockets_whose_peers_do_not_answer_the_close(proxy, origin):
    """Both have it, so the flow is over; that nobody hangs up does not make it one that was cut, however short the drain is."""
    begun, over = threading.Event(), threading.Event()

    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        begun.set()
        got.append(wire.exactly(18))
        over.wait(scaled(60))
        return False

    got, said = [], b"\x88\x0c\x03\xe9going away"
    server, p = origin(routes={"/talk": upgrade}), proxy(drain_timeout=span(1), extra_modules=[{"module": "ws"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
        assert begun.wait(scaled(10))
        p.signal(signal.SIGTERM)
        assert client.exactly(len(said)) == said
        assert p.wait_exit() == 0
        assert client.ended()
    over.set()
    p.closed_as("shutdown_drain")
    until(lambda: got, 10, "the close at the origin")
    assert got[0][:2] == b"\x88\x8c"


def test_the_end_is_at_the_limit(proxy, origin):
    """Who is cut and has not taken what was sent is not waited for."""
    def flood(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        for piece in pattern(400_000_000):
            wire.send(piece)

    server, late = origin(flood), []
    for _ in range(3):  # a machine may be busy at the one moment or the other, but not each time
        p = proxy(drain_timeout="300ms", exit=26, sink={"with_timestamps": True})
        p.checks["timestamps"] = True
        with p.client().connect(f"origin.test:{server.port}") as client:
            client.send(request("GET", "/", "origin.test"))
            client.head()
            p.signal(signal.SIGTERM)
            assert p.wait_exit() == 26
        late.append(p.statuses()[-1]["unix_ms"] - p.log.find("stream_closed")[0]["unix_ms"])
    assert min(late) < 900, late


@pytest.mark.parametrize("kind", ["download", "tunnel"])
def test_past_the_deadline_flows_are_cut(proxy, origin, kind):
    def endless(wire):
        if kind == "download":
            wire.request()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nX")
        else:
            wire.send(b"X")
        wire.rest()

    server = origin(endless)
    p = proxy(drain_timeout="500ms", exit=26, policy={"default": "tunnel" if kind == "tunnel" else "intercept"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        if kind == "download":
            client.send(request("GET", "/", "origin.test"))
            client.head()
        assert client.exactly(1) == b"X"
        p.signal(signal.SIGTERM)
        assert p.wait_exit(10) == 26
        assert client.ended()
    p.closed_as("shutdown_drain")
    assert p.statuses()[-1]["exit_class"] == "drain_timeout"


def test_nothing_accepted_is_lost_from_the_log(proxy, origin):
    """A sink that flushes rarely is flushed at the end."""
    server, p = origin(), proxy(sink={"flush_every": 100000, "flush_interval": "1h"})
    for _ in range(20):
        with Client(p.address()).connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.stop()
    assert len(p.log.find("stream_closed")) == 20
