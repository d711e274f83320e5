# SPDX-License-Identifier: MPL-2.0
"""Who may keep whom waiting: a client that pauses one stream among many, one that lets nothing through, an origin that takes no streams; and
how long streams are waited for when the proxy ends."""
import signal
import threading
import time

import pytest

from harness.h2 import H2Origin, flow_of, h2_client
from harness.h2_raw import ACK, DATA, REFUSED_STREAM, SETTINGS, Peer, frame, goaway, rst, settings
from harness.modules import build_module
from harness.timing import SCALE, span, until

NAMES = ("origin.test", "*.origin.test")


@pytest.fixture
def h2_origin(authority):
    one = H2Origin(authority.leaf(*NAMES))
    yield one
    one.close()


# ---- windows of a client's

def test_one_paused_stream_among_many_for_long(proxy, h2_origin):
    """Three times what all may dwell: neither the siblings that come and go nor the one that is open and silent notice."""
    p = proxy(stream_stage_timeout=span(0.7))
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


    def settled(self):
        """Its settings are known: a body that was sent before would be refused, and is not there any more to be sent again."""
        return bool(self.peers) and any(kind == SETTINGS and flags & ACK for kind, flags, _, _ in self.peers[0].heard)


def test_an_origin_that_raises_its_limit(proxy, origin, authority):
    """What comes before then waits, and goes over the same connection."""
    one = Shut(origin, authority, raise_to=2)
    p = proxy()
    with h2_client(p, "origin.test", one.port) as client:
        until(one.settled, 10, "its settings")
        asked = [client.ask("GET", f"/{n}") for n in range(3)]
        asked.append(client.ask("POST", "/upload", body=b"x" * 50000))
        one.let.set()
        assert [a.body for a in client.wait(*asked)] == [b"let in\n"] * 4
    assert one.server.connections == 1


def test_an_origin_that_raises_its_limit_for_http1(proxy, origin, authority):
    one = Shut(origin, authority, raise_to=1)
    p = proxy(upstream_http2="always")
    with p.https("origin.test", one.port) as client:
        until(one.settled, 10, "its settings")
        threading.Timer(0.5, one.let.set).start()
        for _ in range(2):
            answer = client.ask("POST", "/a", f"origin.test:{one.port}", body=b"x" * 1000)
            assert (answer.status, answer.body) == (200, b"let in\n")
    assert one.server.connections == 1


SHORT = {"upstream_connect_timeout": span(1), "resolver_timeout": span(1)}


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


# ---- the last bytes of a request that wait for a window when its answer is settled otherwise

@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    for source in ("transform.c", "pausing.c"):
        found = build_module(folder, source)
    return found


class Narrow:
    """Takes a window of each body and no more; what it does then with each request is `answer`'s."""

    def __init__(self, origin, authority, answer):
        self.answer = answer
        self.server = origin(self._serve, tls=authority.server(*NAMES, alpn=("h2",)))
        self.port = self.server.port

    def _serve(self, wire):
        peer = Peer(wire)
        peer.grants = False
        seen = 0
        while peer.turn() is not None:
            for stream in list(peer.heads)[seen:]:
                if peer.heads[stream][0][":method"] == "GET" or len(peer.bodies.get(stream, b"")) == 65535:
                    seen += 1
                    self.answer(peer, stream)


ENDINGS = {
    "blocked": (lambda peer, stream: peer.respond(stream, body=b"answer\n"), 403),
    "reset": (lambda peer, stream: peer.send(rst(stream, 2)), 502),
    "malformed": (lambda peer, stream: peer.send(peer.head(stream, [(":status", "200"), ("Bad", "x")], 5)), 502),
    "goaway": (lambda peer, stream: peer.send(goaway(stream), rst(stream, 2)), 502),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_an_answer_while_the_last_bytes_wait(proxy, origin, authority, modules, ending):
    """What a transform gives out at the body's end finds no window; then there is an answer of ours. The client's next request is served."""
    answer, status = ENDINGS[ending]
    one = Narrow(origin, authority, answer)
    extra = [{"module": "transform", "config": {"responses": False}}]
    if ending == "blocked":
        extra.append({"module": "pausing", "config": {"mode": "unused", "on": ["response"], "action": "block"}})
    p = proxy(upstream_http2="always", modules_dir=modules, extra_modules=extra)
    with p.https("origin.test", one.port) as client:
        for _ in range(3 if ending == "blocked" else 1):  # a fault of the origin ends the client's connection, a block does not
            assert client.ask("POST", "/a", f"origin.test:{one.port}", body=b"x" * 65535 + b"ca").status == status
            if ending == "blocked":
                assert client.ask("GET", "/b", f"origin.test:{one.port}").status == 403
        if ending == "blocked":
            assert client.ask("POST", "/a", f"origin.test:{one.port}", body=b"x" * 65535 + b"ca").status == status
            p.signal(signal.SIGTERM)  # nothing is left of it: the connection is idle, and ends at once
            assert p.wait_exit(3) == 0
    p.closed_as("mitm_http_completed" if ending == "blocked" else "mitm_http_error", ...)


# ---- the drain

def test_a_drain_in_two_steps(proxy, h2_origin):
    """First a notice: what crosses it is still taken. Then, a round trip later, the last stream's number."""
    p = proxy(drain_timeout="20s")
    with p.https("origin.test", h2_origin.port, alpn=("h2",)) as wire:
        port = wire.port
        c = Peer(wire, client=True)
        c.send(c.request(1, "/echo", "POST", end=False, authority=f"origin.test:{h2_origin.port}"), frame(DATA, 0, 1, b"one"))
        assert c.until(lambda: c.bodies.get(1) == b"one")
        p.signal(signal.SIGTERM)
        assert c.until(lambda: c.goaways) and c.goaways == [(0, 0x7fffffff)]
        c.send(c.request(3, "/hello", authority=f"origin.test:{h2_origin.port}"))
        assert c.until(lambda: c.over(3) and len(c.goaways) == 2) and c.status(3) == 200 and c.goaways[1] == (0, 3)
        c.send(c.request(5, "/hello", authority=f"origin.test:{h2_origin.port}"), frame(DATA, 1, 1, b"two"))
        assert c.until(lambda: c.over(1)) and c.bodies[1] == b"onetwo"
        c.drain()
        assert c.status(5) is None
    assert p.wait_exit() == 0
    parent, streams = flow_of(p, port)
    assert {f[-1].at("reason_code") for f in (parent, *streams.values())} == {"mitm_http_completed"} and set(streams) == {1, 3}


def test_a_drain_that_comes_to_its_end(proxy, h2_origin):
    p = proxy(drain_timeout="500ms", exit=26)
    with h2_client(p, "origin.test", h2_origin.port) as client:
        port = client.sock.getsockname()[1]
        held, echo = client.ask("GET", "/hold"), client.ask("POST", "/echo", body=b"one", end=False)
        client.until(lambda: client.streams[echo].body == b"one")
        p.signal(signal.SIGTERM)
        client.drain()
        assert client.streams[echo].reset is not None or not client.streams[echo].ended
    assert p.wait_exit() == 26
    parent, streams = flow_of(p, port)
    assert {f[-1].at("reason_code") for f in (parent, *streams.values())} == {"shutdown_drain"} and set(streams) == {held, echo}
