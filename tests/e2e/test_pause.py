# SPDX-License-Identifier: MPL-2.0
"""Policies that ask elsewhere: PAUSE, BUSY and PEEK at every hook, resumes of all kinds, deadlines, clients that leave meanwhile."""
import concurrent.futures
import json
import socket
import struct

import pytest

from harness.h2 import H2Origin, flow_of, h2_client
from harness.modules import build_module, module_metric
from harness.origin import pattern as pieces
from harness.timing import Stopwatch, span, until
from harness.tools import need, run


def pattern(n):
    return b"".join(bytes(piece) for piece in pieces(n))


@pytest.fixture(scope="module")
def pausing(tmp_path_factory):
    return build_module(tmp_path_factory.mktemp("modules"), "pausing.c")


@pytest.fixture
def paused(proxy, pausing):
    """paused(mode=..., on=[...]) starts a proxy with the module."""
    def start(top=None, settings=None, policy=None, **config):
        return proxy(policy=policy, modules_dir=pausing, extra_modules=[{"module": "pausing", "config": config} | (top or {})], **(settings or {}))
    return start


def counted(p, name):
    return module_metric(p, f"soth_pausing_{name}_total")


@pytest.mark.parametrize("hooks", [["connect"], ["request"], ["response"], ["connect", "request", "response"]])
@pytest.mark.parametrize("tls", [True, False])
def test_everything_waits_and_goes_on(paused, origin, hooks, tls):
    server, p = origin(tls=tls), paused(on=hooks)
    if tls:
        with p.https("origin.test", server.port) as client:
            for _ in range(3):
                assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
            assert json.loads(client.ask("POST", "/echo", "origin.test", body=b"x" * 5000).body)["length"] == 5000
    else:
        with p.client() as client:
            for _ in range(3):
                assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").body == b"hello\n"
            assert client.ask("POST", f"http://origin.test:{server.port}/echo", "origin.test", body=b"x" * 5000).status == 200
    events = p.closed_as("mitm_http_completed")
    kinds = [e.kind for e in events]
    assert kinds.count("connect_received") == kinds.count("connect_decision") == (1 if tls else 4)
    assert kinds.count("request_headers") == 4 and kinds.count("response_headers") == 4
    paused_times = (("connect" in hooks) * (1 if tls else 4)) + 4 * ("request" in hooks) + 4 * ("response" in hooks)
    until(lambda: counted(p, "resumed") == paused_times, 10, "all resumes to be counted")  # the module does so behind them
    assert counted(p, "paused") == paused_times and counted(p, "stale") == 0


def test_nothing_is_looked_up_or_dialled_while_connect_waits(paused, origin, resolver):
    server, p = origin(tls=True), paused(on=["connect"], delay=span(2), deadline="60s")
    client = p.client()
    client.send(f"CONNECT origin.test:{server.port} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    until(lambda: counted(p, "paused") == 1, 10, "the pause")
    assert resolver.queries == [] and server.connections == 0
    assert client.response("CONNECT").status == 200
    client.close()


def test_no_byte_of_a_request_reaches_the_origin_before_its_decision(paused, origin):
    server, p = origin(), paused(on=["request"], mode="forget", deadline="300ms")
    with p.client() as client:
        answer = client.ask("POST", f"http://origin.test:{server.port}/echo", "origin.test", body=b"secret")
    assert answer.status == 403 and server.requests == [] and server.connections == 0
    assert p.wait_event("request_decision", action="block").at("reason") == "module_timeout"


@pytest.mark.parametrize("hook,status", [("connect", 403), ("request", 403), ("response", 403)])
@pytest.mark.parametrize("open_", [False, True])
def test_a_deadline_decides(paused, origin, hook, status, open_):
    server = origin()
    p = paused(on=[hook], mode="forget", deadline="100ms", on_timeout="open" if open_ else "closed")
    with p.client() as client:
        watch = Stopwatch()
        answer = client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test")
        assert watch.seconds >= 0.09
        assert answer.status == (200 if open_ else status)
        if not open_ and hook != "connect":
            assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == status
    assert counted(p, "cancelled") == counted(p, "paused") > 0
    if not open_:
        event = p.wait_event(f"{hook}_decision", action="block")
        assert event.at("reason") == "module_timeout" and event.at("policy_module") == "pausing"


@pytest.mark.parametrize("mode", ["twice", "at_once", "unused", "busy", "again"])
def test_odd_resumes_change_nothing(paused, origin, mode):
    server, p = origin(tls=True), paused(mode=mode, delay="5ms")
    with p.https("origin.test", server.port) as client:
        for _ in range(5):
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.closed_as("mitm_http_completed")
    if mode == "twice":
        until(lambda: counted(p, "stale") == 2 * counted(p, "resumed") > 0, 10, "stale resumes")
    if mode == "unused":
        until(lambda: counted(p, "stale") > 0, 10, "resumes of what nobody waits for")
    assert counted(p, "cancelled") == 0


def test_pause_without_a_token_is_a_fault_and_fails_closed(paused, origin):
    server, p = origin(), paused(mode="no_token", on=["request"])
    p.exit = 0
    with p.client() as client:
        assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == 403
    assert p.wait_event("module_fault").at("hook") == "request" and server.requests == []


def test_block_after_a_pause(paused, origin):
    server, p = origin(tls=True), paused(action="block", on=["connect"])
    with p.client() as client:
        answer = client.ask_connect(f"origin.test:{server.port}")
    assert answer.status == 403 and answer.proxy_error == "http_request_denied" and server.connections == 0
    p.closed_as("blocked", "pausing")


def test_a_blocked_response_never_reaches_the_client(paused, origin):
    server, p = origin(), paused(action="block", on=["response"])
    with p.client() as client:
        for _ in range(2):
            answer = client.ask("GET", f"http://origin.test:{server.port}/bytes/100000", "origin.test")
            assert answer.status == 403 and b"blocked" in answer.body
    assert len(server.requests) == 2
    events = p.closed_as("mitm_http_completed")
    assert [e.at("action") for e in events if e.kind == "response_decision"] == ["block", "block"]


@pytest.mark.parametrize("size,need,chunked", [(10, 4, False), (10, 10, True), (10, 60000, False), (200000, 60000, False), (200000, 1, True), (0, 5, False)])
def test_peek_at_a_request(paused, origin, size, need, chunked):
    server, p = origin(), paused(mode="peek", on=["request"], need_bytes=need)
    body = pattern(size)
    with p.client() as client:
        for _ in range(2):
            if chunked:
                client.send(f"POST http://origin.test:{server.port}/echo HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                for i in range(0, size, 7000):
                    part = body[i:i + 7000]
                    client.send(b"%x\r\n%s\r\n" % (len(part), part))
                client.send(b"0\r\nX-Trailer: t\r\n\r\n")
                answer = client.response("POST")
            else:
                answer = client.ask("POST", f"http://origin.test:{server.port}/echo", "origin.test", body=body)
            assert answer.status == 200
            assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == 200
    assert [r.body for r in server.requests if r.head.method == "POST"] == [body, body]
    assert counted(p, "peeked") >= 2 * min(size, need)


@pytest.mark.parametrize("size,need,path", [(10, 4, "bytes"), (200000, 60000, "bytes"), (10, 60000, "chunked"), (200000, 1, "chunked"), (0, 10, "bytes")])
def test_peek_at_a_response(paused, origin, size, need, path):
    server, p = origin(), paused(mode="peek", on=["response"], need_bytes=need)
    with p.client() as client:
        for _ in range(2):
            answer = client.ask("GET", f"http://origin.test:{server.port}/{path}/{size}", "origin.test")
            assert answer.status == 200 and answer.body == pattern(size)
    assert counted(p, "peeked") >= 2 * min(size, need)


def test_peek_at_a_response_that_ends_with_its_connection(paused, origin):
    def close_delimited(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nshort")
        return False
    server, p = origin(routes={"/close": close_delimited}), paused(mode="peek", on=["response"], need_bytes=1000)
    with p.client() as client:
        assert client.ask("GET", f"http://origin.test:{server.port}/close", "origin.test").body == b"short"


def test_a_blocked_peek_leaves_the_connection(paused, origin):
    server, p = origin(), paused(mode="peek", on=["request"], need_bytes=100, action="block")
    with p.client() as client:
        for size in (50, 5000, 200000):
            assert client.ask("POST", f"http://origin.test:{server.port}/echo", "origin.test", body=pattern(size)).status == 403
    assert server.requests == []


@pytest.mark.parametrize("hook", ["connect", "request", "response"])
def test_a_client_that_leaves_meanwhile(paused, origin, hook):
    server, p = origin(), paused(on=[hook], mode="forget", deadline="300ms")
    fds = p.fds()
    for _ in range(20):
        client = p.client()
        client.send(f"GET http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
        client.close()
    p.wait_closed(20)
    until(lambda: p.fds() <= fds, 10, "no descriptor left")
    until(lambda: counted(p, "cancelled") == counted(p, "paused"), 10, "every pause cancelled")


def ask_plainly(p, server):
    client = p.client()
    client.send(f"GET http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("hook", ["connect", "request", "response"])
def test_a_client_that_resets_frees_its_slot_at_once(paused, origin, hook):
    """Nobody reads while a policy thinks; that it has gone is noticed all the same, and does not wait for the deadline."""
    server, p = origin(), paused(on=[hook], mode="forget", deadline="60s", settings={"max_concurrent_flows": 1})
    for n in (1, 2):
        client = ask_plainly(p, server)
        until(lambda: counted(p, "paused") == n, 10, "the pause")
        client.reset()
        p.wait_closed(n)
        until(lambda: counted(p, "cancelled") == n, 10, "the pause cancelled")
    assert [e.at("reason_code") for e in p.log.find("stream_closed")] == ["client_aborted"] * 2


def test_a_client_in_tls_that_resets(paused, origin):
    server, p = origin(tls=True), paused(on=["request"], mode="forget", deadline="60s")
    client = p.https("origin.test", server.port)
    client.send(b"GET /hello HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    until(lambda: counted(p, "paused") == 1, 10, "the pause")
    client.reset()
    p.closed_as("client_aborted", ...)
    until(lambda: counted(p, "cancelled") == 1, 10, "the pause cancelled")


@pytest.mark.parametrize("hook", ["connect", "request", "response"])
@pytest.mark.parametrize("stage", ["absolute", "tunnelled"])
def test_a_resume_behind_a_reset_is_harmless(paused, origin, hook, stage):
    """The flow is over before it comes: nobody was dialled for a client that had gone, and the module hears that its token is none any more."""
    server, p = origin(), paused(on=[hook], delay=span(1), deadline="60s")
    client = p.client()
    if stage == "tunnelled" and hook == "connect":
        client.send(f"CONNECT origin.test:{server.port} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    else:
        target = "/hello" if stage == "tunnelled" else f"http://origin.test:{server.port}/hello"
        if stage == "tunnelled":
            client.connect(f"origin.test:{server.port}")
        client.send(f"GET {target} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    until(lambda: counted(p, "paused") == 1, 10, "the pause")
    client.reset()
    assert p.wait_closed()[0].at("reason_code") == "client_aborted"
    until(lambda: counted(p, "stale") == 1, 10, "the late resume")
    assert counted(p, "resumed") == 0 and counted(p, "cancelled") == 1
    assert len(server.requests) == (hook == "response")
    if hook == "connect":
        assert server.connections == 0
    with ask_plainly(p, server) as other:
        assert other.response("GET").body == b"hello\n"


@pytest.mark.parametrize("hook", ["request", "response"])
@pytest.mark.parametrize("how", ["stream", "connection"])
def test_a_client_of_http2_that_resets(paused, authority, hook, how):
    """A stream, or the connection with all of its streams; the one that is not reset goes on."""
    one = H2Origin(authority.leaf("origin.test"))
    try:
        p = paused(on=[hook], delay=span(1), deadline="60s")
        with h2_client(p, "origin.test", one.port) as client:
            port = client.sock.getsockname()[1]
            asked = [client.ask("GET", f"/hello?{n}") for n in range(2)]
            until(lambda: counted(p, "paused") == 2, 10, "both pauses")
            if how == "stream":
                client.conn.reset_stream(asked[0], 8)
                client.flush()
                p.wait_closed(1)
                assert client.wait(asked[1]).status == 200
            else:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        parent, streams = flow_of(p, port)
        gone = asked[:1] if how == "stream" else asked
        assert {n: f[-1].at("reason_code") for n, f in streams.items()} == {
            n: "client_aborted" if n in gone else "mitm_http_completed" for n in asked}
        until(lambda: counted(p, "stale") == len(gone), 10, "late resumes")
        until(lambda: counted(p, "resumed") == 2 - len(gone), 10, "the other one to be counted")
        assert counted(p, "cancelled") == len(gone)
        assert p.process.poll() is None
        if hook == "request":
            until(lambda: len(one.requests) == 2 - len(gone), 10, "what the origin got")
    finally:
        one.close()


@pytest.mark.parametrize("hook", ["connect", "request", "response"])
def test_a_client_that_only_ended_its_side_gets_its_answer(paused, origin, hook):
    server, p = origin(), paused(on=[hook], delay="700ms")
    client = ask_plainly(p, server)
    client.finish()
    assert client.response("GET").body == b"hello\n"
    p.closed_as("mitm_http_completed")
    assert counted(p, "cancelled") == 0


def test_a_client_that_ended_its_side_is_not_waited_for_for_ever(paused, origin):
    server, p = origin(), paused(on=["request"], mode="forget", deadline="60s")
    client = ask_plainly(p, server)
    client.finish()
    p.wait_closed(1, seconds=20)
    assert p.log.find("stream_closed")[0].at("reason_code") == "client_aborted"
    until(lambda: counted(p, "cancelled") == 1, 10, "the pause cancelled")


def test_an_origin_that_resets_while_its_response_is_judged(paused, origin):
    def broken(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        until(lambda: counted(p, "paused") == 1, 10, "the pause")
        wire.reset()
        return False
    server, p = origin(routes={"/broken": broken}), paused(on=["response"], mode="forget", deadline="60s")
    with p.client() as client:
        answer = client.ask("GET", f"http://origin.test:{server.port}/broken", "origin.test")
    assert answer.status == 502 and answer.proxy_error == "connection_terminated"
    p.closed_as("mitm_http_error", "origin_truncated")
    assert counted(p, "cancelled") == 1


def test_drain_does_not_wait_for_a_module_for_ever(paused, origin):
    server, p = origin(), paused(on=["request"], mode="forget", deadline="60s", settings={"drain_timeout": "300ms"})
    p.exit = 26
    client = p.client()
    client.send(f"GET http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    until(lambda: counted(p, "paused") == 1, 10, "the pause")
    p.stop()
    assert p.log.find("stream_closed")[0].at("reason_code") == "shutdown_drain"


def test_many_at_once(paused, origin):
    """Hundreds of flows that wait in each hook, on two workers."""
    server, p = origin(tls=True), paused(mode="again", delay="3ms", settings={"workers": 2})

    def one(_):
        with p.https("origin.test", server.port, seconds=60) as client:
            return [client.ask("GET", "/hello", "origin.test").status for _ in range(3)]

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        assert all(r == [200, 200, 200] for r in pool.map(one, range(150)))
    p.wait_closed(150)
    until(lambda: counted(p, "paused") == counted(p, "resumed") > 0, 10, "all resumes to be counted")


def test_curl_through_pauses(paused, origin, authority, tmp_path):
    server, p = origin(tls=True), paused(delay="10ms")
    done = run([need("curl"), "-sS", "-x", p.url, "--cacert", str(p.ca_path), f"https://origin.test:{server.port}/bytes/3000000", "-o",
                str(tmp_path / "got"), "--next", "-sS", "-x", p.url, "--cacert", str(p.ca_path), "-T", "-", f"https://origin.test:{server.port}/echo"],
               input=pattern(300000))
    assert (tmp_path / "got").read_bytes() == pattern(3000000) and json.loads(done.stdout)["length"] == 300000
