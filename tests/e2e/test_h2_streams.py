# SPDX-License-Identifier: MPL-2.0
"""Streams as flows: blocks and refusals of one, resets in both directions, GOAWAY, stalls, floods, limits, the drain. Siblings go on."""
import signal
import struct

import pytest

from harness.h2 import H2Client, H2Origin, flow_of, h2_client
from harness.ports import free_port
from harness.timing import span, until

NAMES = ("origin.test", "*.origin.test")
CANCEL, REFUSED_STREAM, ENHANCE_YOUR_CALM, INTERNAL_ERROR, PROTOCOL_ERROR = 8, 7, 11, 2, 1
RULES = {"rules": [{"id": "no-secret", "action": "block", "path": "/secret*"}]}


@pytest.fixture(scope="module")
def tls(authority):
    return authority.leaf(*NAMES)


@pytest.fixture
def h2_origin(tls):
    made = []

    def start(secure=True, **kwargs):
        made.append(H2Origin(tls if secure else None, **kwargs))
        return made[-1]

    yield start
    for one in made:
        one.close()


def reverse(proxy, port, **kwargs):
    """A reverse listener with TLS in front of an origin without: HTTP/2 to HTTP/1.1."""
    return proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                 reverse_upstream={"host": "origin.test", "port": port}, **kwargs)


def reverse_client(p, **kwargs):
    wire = p.client().start_tls(p.trust(alpn=("h2",)), "origin.test")
    return H2Client(wire.sock, f"origin.test:{p.port}", **kwargs)


@pytest.fixture(params=["h2", "h1"])
def bridge(request, proxy, h2_origin):
    """(proxy, origin, client): an HTTP/2 client of an origin of either kind."""
    def start(settings=None, client=None, **kwargs):
        origin = h2_origin(secure=request.param == "h2", http1=request.param == "h1", settings=settings)
        if request.param == "h2":
            p = proxy(**kwargs)
            return p, origin, h2_client(p, "origin.test", origin.port, **(client or {}))
        p = reverse(proxy, origin.port, **kwargs)
        return p, origin, reverse_client(p, **(client or {}))
    start.kind = request.param
    return start


def closes(streams):
    return {n: (f[-1].at("reason_code"), f[-1].at("reason_detail")) for n, f in streams.items()}


# ---- policies

def test_a_blocked_stream_never_reaches_its_origin(bridge):
    p, origin, client = bridge(policy=RULES)
    with client:
        port = client.sock.getsockname()[1]
        good = client.ask("GET", "/bytes/300000")
        bad = client.ask("POST", "/secret/one", body=b"x" * 50000)
        worse = client.ask("GET", "/secret/two")
        after = client.ask("GET", "/hello")
        good, bad, worse, after = client.wait(good, bad, worse, after)
    assert good.status == after.status == 200 and len(good.body) == 300000
    for one in (bad, worse):
        assert one.status == 403 and one.field("proxy-status") == "soth-mitm; error=http_request_denied"
        assert one.body == b"blocked by policy\n"
    until(lambda: sorted(r["url"] for r in origin.requests) == ["/bytes/300000", "/hello"], 10, "what the origin got")
    parent, streams = flow_of(p, port)
    assert [e.at("action") for e in streams[3] if e.kind == "request_decision"] == ["block"]
    assert [e.at("http2_stream_id") for e in streams[3] if e.kind == "request_decision"] == ["3"]
    assert set(closes(streams).values()) == {("mitm_http_completed", None)}


def test_a_blocked_request_of_http1_never_reaches_its_h2_origin(proxy, h2_origin):
    p, origin = proxy(upstream_http2="always", policy=RULES), h2_origin()
    with p.https("origin.test", origin.port) as client:
        for path, status in (("/hello", 200), ("/secret/one", 403), ("/bytes/300000", 200), ("/secret/two", 403)):
            body = b"x" * 50000 if "secret" in path else b""
            assert client.ask("POST" if body else "GET", path, f"origin.test:{origin.port}", body=body).status == status
    until(lambda: [r["url"] for r in origin.requests] == ["/hello", "/bytes/300000"], 10, "what the origin got")
    assert {r["version"] for r in origin.requests} == {"2.0"}


def test_each_streams_authority_is_judged(bridge):
    p, origin, client = bridge(policy={"blocked_hosts": ["blocked.test"]})
    with client:
        other = client.ask("GET", "/hello", authority="elsewhere.test")
        blocked = client.ask("GET", "/hello", authority="blocked.test")
        good = client.ask("GET", "/hello")
        other, blocked, good = client.wait(other, blocked, good)
        assert (other.status, blocked.status, good.status) == (403, 403, 200)
    until(lambda: [r["url"] for r in origin.requests] == ["/hello"], 10, "what the origin got")
    until(lambda: {e.at("reason") for e in p.log.find("request_decision", action="block")} == {"authority_mismatch", "blocked_host"}, 10,
          "both decisions")


def test_host_and_authority_must_agree(bridge):
    p, origin, client = bridge()
    with client:
        two = client.ask("GET", "/hello", [("host", "elsewhere.test")])
        assert client.wait(two).reset == PROTOCOL_ERROR or client.streams[two].status == 400
        assert client.get("/hello").status == 200
    until(lambda: [r["url"] for r in origin.requests] == ["/hello"], 10, "what the origin got")


def test_no_origin(proxy):
    """Every stream gets the reason, inside HTTP/2."""
    port, p = free_port(), proxy()
    with h2_client(p, "origin.test", port) as client:
        own = client.sock.getsockname()[1]
        one = client.get("/a")
        assert one.status == 502 and one.field("proxy-status") == "soth-mitm; error=connection_refused"
        client.drain()
        assert client.goaway is not None
    parent, streams = flow_of(p, own)
    assert parent[-1].at("reason_code") == "upstream_connect_failed" and parent[-1].at("reason_detail") == "ECONNREFUSED"
    assert closes(streams)[1] == ("upstream_connect_failed", "ECONNREFUSED")


def test_no_h2c_origin(proxy):
    """The origin is dialled when the first request was decided, for all that wait."""
    port, p = free_port(), proxy()
    with h2_client(p, "origin.test", port, tls=False) as client:
        both = client.wait(client.ask("GET", "/a"), client.ask("GET", "/b"))
        assert [(s.status, s.field("proxy-status")) for s in both] == [(502, "soth-mitm; error=connection_refused")] * 2


def test_connections_to_http1_are_used_again(proxy, h2_origin):
    origin = h2_origin(secure=False, http1=True)
    p = reverse(proxy, origin.port)
    with reverse_client(p) as client:
        for _ in range(10):
            assert client.get("/hello").body == b"hello over 1.1\n"
        assert all(a.status == 200 for a in client.wait(*[client.ask("GET", "/bytes/100000") for _ in range(40)]))
        assert all(a.status == 200 for a in client.wait(*[client.ask("GET", "/bytes/100000") for _ in range(10)]))
    asked = until(lambda: len(origin.requests) == 60 and origin.requests, 10, "what the origin got")
    assert len({r["session"] for r in asked[:10]}) == 1
    assert {r["session"] for r in asked[50:]} <= {r["session"] for r in asked[:50]}


@pytest.mark.parametrize("upstream", ["mirror", "never"])
def test_a_client_of_h2_alone_meets_http1(proxy, origin, upstream):
    """The connection that was made before its handshake is its first stream's, and those of its siblings after it."""
    one = origin(tls=True)
    p = proxy(upstream_http2=upstream)
    with h2_client(p, "origin.test", one.port) as client:
        for _ in range(5):
            assert client.get("/hello").body == b"hello\n"
    assert one.connections == 1 and len(one.requests) == 5
    assert p.wait_event("tls_handshake_succeeded", peer="upstream").at("negotiated_alpn") == "http/1.1"


# ---- resets

def test_the_client_resets(bridge):
    p, origin, client = bridge()
    with client:
        port = client.sock.getsockname()[1]
        held, other = client.ask("GET", "/hold"), client.ask("GET", "/hello")
        client.wait(other)
        until(lambda: origin.asked("/hold"), 10, "the request")
        client.conn.reset_stream(held, CANCEL)
        client.flush()
        number = origin.asked("/hold")[0]["number"]
        until(lambda: number in origin.ended, 10, "the origin to hear of it")
        if bridge.kind == "h2":
            assert origin.ended[number] == CANCEL
        assert client.get("/hello").status == 200
    parent, streams = flow_of(p, port)
    assert closes(streams) == {1: ("client_aborted", "response_head"), 3: ("mitm_http_completed", None), 5: ("mitm_http_completed", None)}


def test_the_origin_resets(proxy, h2_origin):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        port = client.sock.getsockname()[1]
        one, two = client.ask("GET", f"/reset/{ENHANCE_YOUR_CALM}"), client.ask("GET", "/bytes/500000")
        one, two = client.wait(one, two)
        assert one.status == 200 and one.body == b"half" and one.reset == ENHANCE_YOUR_CALM
        assert len(two.body) == 500000
    parent, streams = flow_of(p, port)
    assert closes(streams) == {1: ("mitm_http_error", "origin_reset:enhance_your_calm"), 3: ("mitm_http_completed", None)}


def test_the_origin_of_an_old_client_resets(proxy, h2_origin):
    p, origin = proxy(upstream_http2="always"), h2_origin()
    with p.https("origin.test", origin.port) as wire:
        wire.send(f"GET /reset/{CANCEL} HTTP/1.1\r\nHost: origin.test:{origin.port}\r\n\r\n".encode())
        data = b""
        while True:
            piece = wire.sock.recv(65536)
            if not piece:
                break
            data += piece
        assert data.startswith(b"HTTP/1.1 200") and not data.endswith(b"0\r\n\r\n")
    p.closed_as("mitm_http_error", "origin_reset:cancel")


def test_a_refused_stream_is_sent_again_once(proxy, h2_origin):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        assert client.get("/refuse/1").body == b"taken\n"
    until(lambda: len(origin.asked("/refuse/1")) == 2, 10, "both")


def test_goaway_of_the_origin(proxy, h2_origin):
    """The stream in flight is answered, those after it go to another connection."""
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        held = client.ask("GET", "/hold")
        until(lambda: origin.asked("/hold"), 10, "the request")
        assert client.get("/goaway").body == b"bye\n"
        for _ in range(3):
            assert client.get("/hello").body == b"hello over 2.0\n"
        assert not client.streams[held].over
        assert client.goaway is None
    until(lambda: len({r["session"] for r in origin.requests}) > 1, 10, "another connection")
    assert origin.requests[0]["session"] == origin.requests[1]["session"]


def test_the_origin_leaves_between_requests(proxy, h2_origin):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        for _ in range(3):
            assert client.get("/goaway").body == b"bye\n"
            assert client.get("/hello").body == b"hello over 2.0\n"


def test_the_origin_leaves_between_requests_of_http1(proxy, h2_origin):
    """A request that crosses its goaway is refused, and sent again elsewhere."""
    p, origin = proxy(upstream_http2="always"), h2_origin()

    def served():  # what it refuses as it leaves is sent again
        return list(origin.ended.values()).count(0)

    with p.https("origin.test", origin.port) as client:
        for turn in range(3):
            assert client.ask("GET", "/goaway", f"origin.test:{origin.port}").body == b"bye\n"
            until(lambda: served() == 2 * turn + 1, 10, "its goaway")
            assert client.ask("GET", "/hello", f"origin.test:{origin.port}").body == b"hello over 2.0\n"
            until(lambda: served() == 2 * turn + 2, 10, "its end")
    assert len({r["session"] for r in origin.requests}) > 1


def test_the_origin_cuts(bridge):
    p, origin, client = bridge()
    with client:
        port = client.sock.getsockname()[1]
        one = client.wait(client.ask("GET", "/cut"))
        assert one.body == b"half" and one.reset is not None and not one.ended
        assert client.get("/hello").status == 200
    parent, streams = flow_of(p, port)
    assert closes(streams)[1] == ("mitm_http_error", "origin_truncated")


# ---- flow control

def test_one_stalled_stream_among_a_hundred(bridge):
    p, origin, client = bridge(client={"auto": False}, max_concurrent_flows=1000)
    with client:
        client.conn.increment_flow_control_window(1 << 30)  # the connection's
        stalled = client.ask("GET", "/bytes/50000000")
        client.until(lambda: len(client.streams[stalled].body) >= 65535)
        others = [client.ask("GET", "/bytes/60000") for _ in range(99)]
        done = client.wait(*others)
        assert all(one.status == 200 and len(one.body) == 60000 for one in done)
        assert len(client.streams[stalled].body) == 65535
        client.open_window(stalled, 1 << 30)
        assert len(client.wait(stalled).body) == 50000000


def test_what_a_stalled_client_costs(bridge):
    """Not more than two windows of a stream, whatever the origin has."""
    p, origin, client = bridge(client={"auto": False})
    with client:
        client.get("/hello")
        before = p.resident()
        client.conn.increment_flow_control_window(1 << 30)
        streams = [client.ask("GET", "/bytes/100000000") for _ in range(4)]
        client.until(lambda: all(len(client.streams[s].body) == 65535 for s in streams))
        client.get("/hello")
        assert p.is_sanitized() or p.resident() - before < 24 << 20


def test_a_slow_origin_slows_its_stream_only(bridge):
    p, origin, client = bridge()
    with client:
        held = client.ask("POST", "/hold", end=False)
        room = client.conn.remote_settings.initial_window_size
        sent = 0
        while client.conn.local_flow_control_window(held) > 0 and sent < 64 << 20:
            n = min(client.conn.local_flow_control_window(held), 16384)
            client.conn.send_data(held, b"x" * n)
            sent += n
            client.flush()
            if client.conn.local_flow_control_window(held) == 0:
                assert client.get("/hello").status == 200  # and what window updates came are read
        assert sent >= room
        answers = client.wait(*[client.ask("POST", "/upload", body=b"y" * 3000000) for _ in range(3)])
        assert all(b'"size":3000000' in a.body for a in answers)


def shut_and_blocked(client):
    """The connection's window is full, and four requests are blocked: their heads have come, their pages wait."""
    stalled = client.ask("GET", "/bytes/300000")
    client.until(lambda: len(client.streams[stalled].body) == 65535)
    blocked = [client.ask("GET", "/secret/one"), client.ask("POST", "/secret/two", body=b"x" * 50000, end=False),
               client.ask("POST", "/secret/three", end=False), client.ask("GET", "/secret/four")]
    client.until(lambda: all(client.streams[s].head for s in blocked))
    assert all(client.streams[s].status == 403 and not client.streams[s].over and not client.streams[s].body for s in blocked)
    return stalled, blocked


PAGE = b"blocked by policy\n"


def test_a_page_of_ours_waits_for_the_window(bridge):
    p, origin, client = bridge(policy=RULES, client={"auto": False})
    with client:
        port = client.sock.getsockname()[1]
        stalled, (get, upload, silent, given_up) = shut_and_blocked(client)
        client.conn.reset_stream(given_up, 8)
        client.open_window(None, 7)
        client.until(lambda: sum(len(client.streams[s].body) for s in (stalled, get, upload, silent)) == 65535 + 7)
        client.send(upload, b"y" * 100000)  # it was taken, and still is
        client.auto = True
        client.open_window(stalled, 1 << 20)
        client.open_window(None, 1 << 20)
        for one in client.wait(get, upload, silent):
            assert one.body == PAGE and one.ended and one.reset in (None, 0)
        assert len(client.wait(stalled).body) == 300000
        assert client.get("/hello").status == 200
    parent, streams = flow_of(p, port)
    assert set(closes(streams).values()) == {("mitm_http_completed", None)}
    assert sorted(r["url"] for r in origin.requests) == ["/bytes/300000", "/hello"]


def test_a_drain_waits_for_a_page_of_ours(bridge):
    p, origin, client = bridge(policy=RULES, client={"auto": False}, drain_timeout="20s")
    with client:
        port = client.sock.getsockname()[1]
        stalled, (get, upload, silent, last) = shut_and_blocked(client)
        client.conn.reset_stream(stalled, 8)
        client.flush()
        p.signal(signal.SIGTERM)
        client.until(lambda: client.goaway is not None and client.goaway[1] == last)
        assert not client.closed
        client.open_window(None, 1 << 20)
        for one in client.wait(get, upload, silent, last):
            assert one.body == PAGE and one.ended
        client.drain()
    assert p.wait_exit() == 0
    assert [e for e in flow_of(p, port)[0] if e.kind == "stream_closed"][0].at("reason_code") == "mitm_http_completed"


def test_who_never_takes_a_page_of_ours(bridge):
    p, origin, client = bridge(policy=RULES, client={"auto": False}, stream_stage_timeout="1s")
    with client:
        port = client.sock.getsockname()[1]
        stalled, blocked = shut_and_blocked(client)
        client.conn.reset_stream(stalled, 8)
        client.flush()
        client.drain()
        assert client.goaway[0] == ENHANCE_YOUR_CALM
    assert closes({0: flow_of(p, port)[0]})[0] == ("mitm_http_error", "h2_flood:zero_window")


# ---- limits and floods

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


FLOODS = {
    "ping": lambda: frame(6, 0, 0, b"12345678"),
    "settings": lambda: frame(4, 0, 0),
    "priority": lambda: frame(2, 0, 1, b"\0\0\0\0\x10"),
    "window_update": lambda: frame(8, 0, 0, b"\0\0\0\1"),
}


@pytest.mark.parametrize("kind", list(FLOODS))
def test_floods(proxy, h2_origin, kind):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        port = client.sock.getsockname()[1]
        held = client.ask("GET", "/hold")
        until(lambda: origin.asked("/hold"), 10, "the request")
        try:
            for _ in range(40):
                client.sock.sendall(FLOODS[kind]() * 500)
        except OSError:
            pass
        try:
            client.drain()
        except OSError:
            pass
        assert client.goaway is None or client.goaway[0] == ENHANCE_YOUR_CALM
    parent, streams = flow_of(p, port)
    assert (parent[-1].at("reason_code"), parent[-1].at("reason_detail")) == ("mitm_http_error", f"h2_flood:{kind}")
    assert closes(streams) == {held: ("mitm_http_error", f"h2_flood:{kind}")}


def test_rapid_reset(proxy, h2_origin):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        port = client.sock.getsockname()[1]
        try:
            for _ in range(2000):
                stream = client.ask("GET", "/hold")
                client.conn.reset_stream(stream, CANCEL)
                client.flush()
        except OSError:
            pass
        try:
            client.drain()
        except OSError:
            pass
    parent, streams = flow_of(p, port)
    assert (parent[-1].at("reason_code"), parent[-1].at("reason_detail")) == ("mitm_http_error", "h2_flood:rapid_reset")
    assert len(streams) < 1000


def test_header_list_over_the_limit(bridge):
    p, origin, client = bridge(http2_max_header_list_size="8k")
    with client:
        big = client.ask("GET", "/hello", [(f"x-{i}", "v" * 500) for i in range(40)])
        small = client.ask("GET", "/hello")
        big, small = client.wait(big, small)
        assert big.reset is not None or big.status == 431
        assert small.status == 200
    until(lambda: [r["url"] for r in origin.requests] == ["/hello"], 10, "what the origin got")


def test_concurrent_streams(proxy, h2_origin):
    p, origin = proxy(http2_max_concurrent_streams=10), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        client.get("/hello")
        assert client.conn.remote_settings.max_concurrent_streams == 10


def test_an_origin_that_allows_few_streams(proxy, h2_origin):
    """What is too many for it waits, and is not refused."""
    p, origin = proxy(), h2_origin(settings={"maxConcurrentStreams": 2})
    with h2_client(p, "origin.test", origin.port) as client:
        client.get("/hello")
        answers = client.wait(*[client.ask("GET", "/bytes/20000") for _ in range(30)])
        assert all(a.status == 200 and len(a.body) == 20000 for a in answers)


def test_malformed_requests_hurt_nobody_else(bridge):
    p, origin, client = bridge()
    wrong = [[(":method", "GET"), (":path", "/hello"), (":authority", client.authority)],  # no scheme
             [(":method", "GET"), (":scheme", "https"), (":path", "hello"), (":authority", client.authority)],
             [(":method", "GET"), (":scheme", "https"), (":path", "/hello"), (":authority", client.authority), ("connection", "close")],
             [(":method", "GET"), (":scheme", "https"), (":path", "/hello"), (":authority", client.authority), ("Upper", "x")],
             [(":method", "GET"), (":scheme", "https"), (":path", "/hello"), (":authority", client.authority), ("x", "a\nb")],
             [(":method", "GET"), (":scheme", "https"), (":path", "/hello"), (":authority", client.authority), ("transfer-encoding", "chunked")]]
    with client:
        from harness.h2 import Stream
        for head in wrong:
            stream = client.conn.get_next_available_stream_id()
            client.streams[stream] = Stream()
            client.conn.send_headers(stream, head, end_stream=True)
            client.flush()
            one = client.wait(stream)
            assert one.reset is not None or one.status == 400, head
        assert client.get("/hello").status == 200
    until(lambda: [r["url"] for r in origin.requests] == ["/hello"], 10, "what the origin got")


# ---- ends

def test_drain(bridge):
    """What has begun ends well, nothing new is taken."""
    p, origin, client = bridge()
    with client:
        port = client.sock.getsockname()[1]
        echo = client.ask("POST", "/echo", body=b"one", end=False)
        client.until(lambda: client.streams[echo].body == b"one")
        p.signal(signal.SIGTERM)
        client.until(lambda: client.goaway is not None)
        client.send(echo, b"two", end=True)
        assert client.wait(echo).body == b"onetwo"
        client.drain()
    assert p.wait_exit() == 0
    parent, streams = flow_of(p, port)
    assert parent[-1].at("reason_code") == "mitm_http_completed"
    assert closes(streams) == {echo: ("mitm_http_completed", None)}


def test_drain_of_an_idle_connection(bridge):
    p, origin, client = bridge()
    with client:
        client.get("/hello")
        p.signal(signal.SIGTERM)
        client.drain()
        assert client.goaway is not None and client.goaway[0] == 0
    assert p.wait_exit() == 0


def test_the_client_hangs_up(bridge):
    p, origin, client = bridge()
    port = client.sock.getsockname()[1]
    held = [client.ask("GET", "/hold") for _ in range(3)]
    until(lambda: len(origin.asked("/hold")) == 3, 10, "the requests")
    client.close()
    parent, streams = flow_of(p, port)
    assert parent[-1].at("reason_code") == "client_aborted"
    assert closes(streams) == {s: ("client_aborted", "response_head") for s in held}


def test_idle(bridge):
    p, origin, client = bridge(idle_timeout=span(1))
    with client:
        port = client.sock.getsockname()[1]
        client.get("/hello")
        client.drain()
        assert client.goaway is not None
    parent, streams = flow_of(p, port)
    assert (parent[-1].at("reason_code"), parent[-1].at("reason_detail")) == ("idle_watchdog_timeout", "idle")


def test_a_response_that_does_not_come(bridge):
    p, origin, client = bridge(response_header_timeout=span(1))
    with client:
        late, good = client.ask("GET", "/hold"), client.ask("GET", "/hello")
        late, good = client.wait(late, good)
        assert late.status == 504 and late.field("proxy-status") == "soth-mitm; error=http_response_timeout"
        assert good.status == 200 and client.get("/hello").status == 200


def test_memory_of_streams_one_after_the_other(proxy, h2_origin):
    p, origin = proxy(), h2_origin()
    with h2_client(p, "origin.test", origin.port) as client:
        for batches in range(20):
            batch = client.wait(*[client.ask("GET", "/hello") for _ in range(100)])
            assert all(one.status == 200 for one in batch)
            client.streams.clear()
            if batches == 2:
                before = p.resident()
        assert p.is_sanitized() or p.resident() - before < 2 << 20
