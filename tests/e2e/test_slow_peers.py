# SPDX-License-Identifier: MPL-2.0
"""Clients that take their time, or have said all they will say: as long as bytes move nobody is cut."""
import time

import pytest

from harness.client import request
from harness.origin import drip, pattern, reply
from harness.timing import Stopwatch, scaled, span, until

HOST = "origin.test"


def ask(p, server, end=True, target="/"):
    client = p.client().connect(f"{HOST}:{server.port}")
    client.send(request("GET", target, HOST))
    if end:
        client.finish()
    return client


def flood(wire):
    """As many bytes as the target says."""
    size = int(wire.request().head.target[1:])
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for piece in pattern(size):
        wire.send(piece)


def test_half_closed_client_waits_for_a_slow_origin(proxy, origin):
    def slow(wire):
        wire.request()
        time.sleep(2.5)  # the origin's own time
        wire.send(reply(body=b"late"))

    server, p = origin(slow), proxy()
    with ask(p, server) as client:
        assert client.response().body == b"late"
    p.closed_as("mitm_http_completed")


def test_half_closed_client_gets_a_body_that_takes_longer_than_any_patience(proxy, origin):
    server, p = origin(drip(14, 0.5)), proxy()
    with ask(p, server) as client:
        assert client.response().body == b"x" * 14
    p.closed_as("mitm_http_completed")


@pytest.mark.parametrize("phase", ["response_head", "response_body"])
def test_client_that_closes_while_nothing_comes_has_left(proxy, origin, phase):
    """A plain close looks like a half-close until something is sent: after a few seconds of nothing it counts as one that left."""
    def silent(wire):
        wire.head()
        if phase == "response_body":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        wire.rest()

    server, p = origin(silent), proxy()
    with ask(p, server, end=False) as client:
        p.wait_event("request_headers")
        if phase == "response_body":
            client.until(b"half")
    p.closed_as("client_aborted", phase)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_client_that_closes_while_it_is_served_has_left(proxy, origin, tls):
    """The next bytes for it are answered by a reset: nothing more is taken from the origin for nobody."""
    def drip(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            wire.send(b"1\r\nx\r\n")
            time.sleep(0.05)  # the origin's pace

    server, p = origin(drip, tls=tls), proxy()
    client = p.https(HOST, server.port) if tls else p.client().connect(f"{HOST}:{server.port}")
    client.send(request("GET", "/", HOST))
    client.head()
    client.until(b"x")
    watch = Stopwatch()
    client.close()
    p.closed_as("client_aborted", "response_body")
    assert watch.seconds < scaled(3)


def test_half_closed_client_in_the_phase_it_is_in(proxy, origin):
    """The end of its side came while the origin was being dialled; it gives up while it waits for the response."""
    server, p = origin(lambda wire: wire.rest()), proxy()
    with ask(p, server) as client:
        assert client.ended()
    p.closed_as("client_aborted", "response_head")


def test_slow_reader_is_not_idle(proxy, origin):
    """idle_timeout counts from the last byte that moved, also when that moved out of a socket's buffer."""
    server, p = origin(flood), proxy(idle_timeout=span(1))
    with ask(p, server, end=False, target="/30000000") as client:
        client.head()
        watch, got = Stopwatch(), 0
        while watch.seconds < scaled(4):
            got += len(client.sock.recv(20000))
            time.sleep(0.05)  # the reader's pace
        assert not p.log.find("stream_closed"), p.log.find("stream_closed")
    p.closed_as("client_aborted", "response_body")


def test_reader_that_stops_is_idle(proxy, origin):
    server, p = origin(flood), proxy(idle_timeout="700ms")
    with ask(p, server, end=False, target="/30000000") as client:
        client.head()
        p.closed_as("idle_watchdog_timeout", "response_body")


@pytest.mark.slow
def test_last_bytes_of_a_closed_flow_wait_for_their_reader(proxy, origin):
    """The origin is done and gone; readers that pause longer than any fixed grace still get all of it. How much waits in the proxy
    depends on the size, hence several."""
    sizes = [8_000_000 + 190_000 * n for n in range(8)]

    server, p = origin(flood), proxy(sink={"flush_every": 1})
    readers = []
    for number, size in enumerate(sizes):
        client = p.client().connect(f"{HOST}:{server.port}")
        client.send(request("GET", f"/{size}", HOST, [("Connection", "close")]))
        client.head()
        got = len(client.buffer)
        while len(p.log.find("stream_closed")) == number:
            got += len(client.sock.recv(32768))
            time.sleep(0.001)  # the reader's pace
        readers.append((client, got))
    time.sleep(11)  # their pause
    for size, (client, got) in zip(sizes, readers):
        while piece := client.sock.recv(1 << 20):
            got += len(piece)
        assert got == size
        client.close()


def test_flow_that_is_not_taken_counts_as_one(proxy, origin):
    """max_concurrent_flows holds for connections whose last bytes wait for their reader, too."""
    size = 1_000_000

    def flood(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for piece in pattern(size):
            wire.send(piece)

    server, p = origin(flood), proxy(max_concurrent_flows=1)
    with ask(p, server) as client:
        assert len(client.response().body) == size
    p.wait_closed()

    def served():
        with p.client() as other:
            return other.ask_connect(f"{HOST}:{server.port}").status == 200

    until(served, 10, "the slot to be free again")
