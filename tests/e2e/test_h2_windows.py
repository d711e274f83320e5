# SPDX-License-Identifier: MPL-2.0
"""Who may keep whom waiting: a client that pauses one stream among many, one that lets nothing through, an origin that takes no streams."""
import threading
import time

import pytest

from harness.h2 import H2Origin, flow_of, h2_client
from harness.h2_raw import REFUSED_STREAM, Peer, rst, settings
from harness.timing import SCALE

NAMES = ("origin.test", "*.origin.test")


@pytest.fixture
def h2_origin(authority):
    one = H2Origin(authority.leaf(*NAMES))
    yield one
    one.close()


# ---- windows of a client's

def test_one_paused_stream_among_many_for_long(proxy, h2_origin):
    """Three times what all may dwell: neither the siblings that come and go nor the one that is open and silent notice."""
    p = proxy(stream_stage_timeout="700ms")
    with h2_client(p, "origin.test", h2_origin.port, auto=False) as client:
        port = client.sock.getsockname()[1]
        client.conn.increment_flow_control_window(1 << 30)  # the connection's
        paused = client.ask("GET", "/bytes/20000000")
        silent = client.ask("POST", "/echo", body=b"one", end=False)
        client.until(lambda: len(client.streams[paused].body) >= 65535 and client.streams[silent].body == b"one")
        begin = time.monotonic()
        while time.monotonic() < begin + 2.1 * SCALE:
            assert client.get("/bytes/60000").status == 200
            time.sleep(0.05)
        begin = time.monotonic()
        while time.monotonic() < begin + 2.1 * SCALE:  # and now nobody comes
            time.sleep(0.1)
        client.send(silent, b"two", end=True)
        assert client.wait(silent).body == b"onetwo"
        assert not client.streams[paused].over and client.goaway is None
        client.open_window(paused, 1 << 30)
        assert len(client.wait(paused).body) == 20000000
    parent, streams = flow_of(p, port)
    assert {f[-1].at("reason_code") for f in streams.values()} == {"mitm_http_completed"}
    assert parent[-1].at("reason_code") == "mitm_http_completed"


def test_a_client_that_lets_nothing_through(proxy, h2_origin):
    p = proxy(stream_stage_timeout="700ms")
    with h2_client(p, "origin.test", h2_origin.port, auto=False) as client:
        port = client.sock.getsockname()[1]
        client.conn.increment_flow_control_window(1 << 30)
        shut = [client.ask("GET", "/bytes/20000000") for _ in range(3)]
        client.drain()
        assert client.goaway is not None and client.goaway[0] == 11
    parent, streams = flow_of(p, port)
    assert (parent[-1].at("reason_code"), parent[-1].at("reason_detail")) == ("mitm_http_error", "h2_flood:zero_window")
    assert {n: f[-1].at("reason_detail") for n, f in streams.items()} == {n: "h2_flood:zero_window" for n in shut}


# ---- an origin that takes no streams

class Shut:
    """Allows no streams at first, refuses what is on its way; `raise_to` streams after it was told `let`."""

    def __init__(self, origin, authority, raise_to=0):
        self.raise_to, self.let, self.peers = raise_to, threading.Event(), []
        self.server = origin(self._serve, tls=authority.server(*NAMES, alpn=("h2",)))
        self.port = self.server.port

    def _serve(self, wire):
        peer = Peer(wire, first=settings(max_streams=0))
        self.peers.append(peer)
        wire.sock.settimeout(0.05)
        is_open, seen = False, 0
        while not peer.gone:
            try:
                peer.turn()
            except TimeoutError:
                pass
            if self.let.is_set() and not is_open:
                is_open = True
                peer.send(settings(max_streams=self.raise_to))
            for stream in list(peer.heads)[seen:]:
                seen += 1
                if is_open:
                    peer.respond(stream, body=b"let in\n")
                else:
                    peer.send(rst(stream, REFUSED_STREAM))


def test_an_origin_that_raises_its_limit(proxy, origin, authority):
    """What comes before then waits, and goes over the same connection."""
    one = Shut(origin, authority, raise_to=2)
    p = proxy()
    with h2_client(p, "origin.test", one.port) as client:
        asked = [client.ask("GET", f"/{n}") for n in range(3)]
        asked.append(client.ask("POST", "/upload", body=b"x" * 50000))
        one.let.set()
        assert [a.body for a in client.wait(*asked)] == [b"let in\n"] * 4
    assert one.server.connections == 1


def test_an_origin_that_raises_its_limit_for_http1(proxy, origin, authority):
    one = Shut(origin, authority, raise_to=1)
    p = proxy(upstream_http2="always")
    with p.https("origin.test", one.port) as client:
        threading.Timer(0.5, one.let.set).start()
        for _ in range(2):
            answer = client.ask("POST", "/a", f"origin.test:{one.port}", body=b"x" * 1000)
            assert (answer.status, answer.body) == (200, b"let in\n")
    assert one.server.connections == 1


SHORT = {"upstream_connect_timeout": "200ms", "resolver_timeout": "200ms"}


def test_an_origin_that_never_takes_any(proxy, origin, authority):
    one = Shut(origin, authority)
    p = proxy(**SHORT)
    with h2_client(p, "origin.test", one.port) as client:
        port = client.sock.getsockname()[1]
        answers = client.wait(*[client.ask("GET", f"/{n}") for n in range(3)])
        assert [(a.status, a.field("proxy-status")) for a in answers] == [(504, "soth-mitm; error=connection_timeout")] * 3
        assert client.goaway is None
    parent, streams = flow_of(p, port)
    assert {(f[-1].at("reason_code"), f[-1].at("reason_detail")) for f in streams.values()} == {("upstream_connect_failed", "h2_no_stream")}


def test_an_origin_that_never_takes_any_of_http1(proxy, origin, authority):
    one = Shut(origin, authority)
    p = proxy(upstream_http2="always", **SHORT)
    with p.https("origin.test", one.port) as client:
        answer = client.ask("GET", "/a", f"origin.test:{one.port}")
        assert answer.status == 504 and answer.head.get("Proxy-Status") == "soth-mitm; error=connection_timeout"
    p.closed_as("upstream_connect_failed", "h2_no_stream")
