# SPDX-License-Identifier: MPL-2.0
"""HTTP/1.1 through the proxy, byte by byte: what is kept, what is removed, what is forwarded when."""
import base64
import hashlib
import socket
import threading

import pytest

from harness.client import request
from harness.origin import pattern, pattern_sha256, reply
from harness.timing import Stopwatch, scaled, until
from harness.wire import Cut

HOST = "origin.test"
TLS = pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])


def open_client(p, server, tls):
    """A client behind CONNECT, with or without TLS inside."""
    if tls:
        return p.https(HOST, server.port)
    return p.client().connect(f"{HOST}:{server.port}")


def one_shot(answer):
    """A handler that reads one request, sends these bytes and ends."""
    def handler(wire):
        wire.request()
        wire.send(answer)
    return handler


# ---- heads

@TLS
def test_field_case_and_order_are_kept(proxy, origin, tls):
    server, p = origin(tls=tls), proxy()
    fields = [("X-First", "1"), ("accept", "*/*"), ("ACCEPT-language", "de"), ("x-first", "2"), ("Cookie", "a=1; b=2"),
              ("X-Empty", ""), ("zEBRA", "  spaced \t value"), ("Authorization", "Basic eDp5")]
    with open_client(p, server, tls) as client:
        client.ask("GET", "/hello?q=%41%zz&b=//../x#".rstrip("#"), HOST, fields)
    seen = server.requests[0].head
    assert seen.start == "GET /hello?q=%41%zz&b=//../x HTTP/1.1"
    assert [f for f in seen.fields if f[0] != "Host"] == [(n, v.strip()) for n, v in fields]
    assert seen.names[0] == "Host"


@TLS
def test_response_head_is_kept(proxy, origin, tls):
    fields = [("X-B", "1"), ("x-a", "2"), ("Set-Cookie", "a=1"), ("SET-COOKIE", "b=2"), ("Content-length", "2"), ("X-Z", "")]
    raw = b"HTTP/1.1 203 So la la\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in fields) + b"\r\nok"
    server, p = origin(one_shot(raw), tls=tls), proxy()
    with open_client(p, server, tls) as client:
        answer = client.ask("GET", "/", HOST)
    assert answer.head.start == "HTTP/1.1 203 So la la"
    assert [f for f in answer.head.fields if f[0].lower() != "connection"] == fields
    assert answer.body == b"ok"


@TLS
def test_nothing_of_the_proxy_is_added(proxy, origin, tls):
    server, p = origin(tls=tls), proxy()
    with open_client(p, server, tls) as client:
        answer = client.ask("GET", "/hello", HOST)
    assert server.requests[0].head.names == ["Host"]
    for head in (server.requests[0].head, answer.head):
        for name in ("Via", "X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "Proxy-Status"):
            assert head.get(name) is None


def test_hop_by_hop_fields_never_reach_the_other_side(proxy, origin):
    raw = (b"HTTP/1.1 200 OK\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
           b"Proxy-Connection: keep-alive\r\nX-Stay: 1\r\nContent-Length: 2\r\n\r\nok")
    server, p = origin(one_shot(raw), tls=True), proxy()
    asked = []
    server.handler = lambda wire: (asked.append(wire.request()), wire.send(raw))
    fields = [("Connection", "x-secret, close, content-length, host"), ("X-Secret", "1"), ("Keep-Alive", "5"),
              ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eDp5"), ("TE", "gzip, trailers"),
              ("HTTP2-Settings", "AAAA"), ("X-Stay", "1")]
    with p.https(HOST, server.port) as client:
        answer = client.ask("POST", "/", HOST, fields, b"body")
    sent = [n.lower() for n in asked[0].head.names]
    assert {"x-secret", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"}.isdisjoint(sent)
    assert {"host", "x-stay", "content-length"} <= set(sent) and asked[0].body == b"body"
    assert asked[0].head.get("TE") in (None, "trailers")
    got = [n.lower() for n in answer.head.names]
    assert {"x-hop", "keep-alive", "proxy-authenticate", "proxy-connection"}.isdisjoint(got) and "x-stay" in got


def test_obs_text_is_untouched(proxy, origin):
    raw = b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9 \xff\x80\r\nContent-Length: 0\r\n\r\n"
    server, p = origin(one_shot(raw), tls=True), proxy()
    seen = []
    server.handler = lambda wire: (seen.append(wire.request()), wire.send(raw))
    with p.https(HOST, server.port) as client:
        client.send(b"GET /caf%C3%A9 HTTP/1.1\r\nHost: origin.test\r\nX-Latin: \xfc\xfe\x81x\r\n\r\n")
        answer = client.response()
    assert seen[0].head.raw.count(b"\xfc\xfe\x81x") == 1
    assert answer.head.get("X-Latin") == "caf\xe9 \xff\x80"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO", "M-SEARCH", "X!#$%&'*+.^_`|~", "get"])
def test_any_token_is_a_method(proxy, origin, method):
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask(method, "/hello", HOST).body == b"hello\n"
    assert server.requests[0].head.method == method
    p.wait_event("request_headers", method=method)


def test_options_asterisk(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        client.ask("OPTIONS", "*", HOST)
    assert server.requests[0].head.start == "OPTIONS * HTTP/1.1"


def test_long_head_just_under_the_limit(proxy, origin):
    server, p = origin(tls=True), proxy()
    value = "v" * 60000
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/hello", HOST, [("X-Long", value)]).status == 200
        answer = client.ask("GET", "/hello", HOST, [("X-Long", "v" * 70000)])
    assert server.requests[0].head.get("X-Long") == value
    assert answer.status == 431 and answer.proxy_error == "http_request_error" and len(server.requests) == 1


# ---- exchanges

@TLS
def test_pipelined_requests_are_answered_in_order(proxy, origin, tls):
    server, p = origin(tls=tls), proxy()
    with open_client(p, server, tls) as client:
        client.send(b"".join(request("GET", f"/bytes/{n}", HOST) for n in (1, 70000, 0, 3)) + request("POST", "/echo", HOST, body=b"x" * 9))
        sizes = [len(client.response().body) for _ in range(4)]
        assert b'"length": 9' in client.response().body
    assert sizes == [1, 70000, 0, 3]
    assert [r.head.target for r in server.requests] == ["/bytes/1", "/bytes/70000", "/bytes/0", "/bytes/3", "/echo"]
    p.closed_as("mitm_http_completed")


def test_bodies_of_all_framings_keep_the_connection(proxy, origin):
    def no_content(wire, _):
        wire.send(b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n")

    def not_modified(wire, _):
        wire.send(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n")

    server, p = origin(tls=True, routes={"/204": no_content, "/304": not_modified}), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/204", HOST).status == 204
        assert client.ask("GET", "/304", HOST).head.get("Content-Length") == "500"
        assert client.ask("HEAD", "/bytes/500", HOST).head.get("Content-Length") == "500"
        assert client.ask("HEAD", "/chunked/500", HOST).status == 200
        assert client.ask("GET", "/status/204", HOST).status == 204
        assert len(client.ask("GET", "/chunked/500", HOST).body) == 500
        assert client.ask("GET", "/hello", HOST).body == b"hello\n"
    assert server.connections == 1
    p.closed_as("mitm_http_completed")


@TLS
def test_chunked_trailers_both_ways(proxy, origin, tls):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                  b"3;ext=1\r\nabc\r\n000002\r\nde\r\n0\r\nX-Sum: 5\r\nX-More: y\r\n\r\n")

    server, p = origin(tls=tls, routes={"/t": answer}), proxy()
    with open_client(p, server, tls) as client:
        client.send(b"POST /t HTTP/1.1\r\nHost: origin.test\r\nTE: trailers\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"5;a=b\r\nhello\r\n0\r\nX-Check: abc\r\nHost: evil.test\r\nAuthorization: evil\r\n\r\n")
        answer = client.response()
    assert answer.body == b"abcde" and answer.trailers == [("X-Sum", "5"), ("X-More", "y")]
    seen = server.requests[0]
    assert seen.body == b"hello" and seen.trailers == [("X-Check", "abc")], "Host and Authorization are no trailers"
    events = p.closed_as("mitm_http_completed")
    trailers = {e.kind: e for e in events if e.kind.endswith("_trailers")}
    assert trailers["response_trailers"].at("trailer_count") == "2" and "request_trailers" in trailers


def test_interim_responses_are_relayed(proxy, origin):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply(body=b"done"))

    server, p = origin(tls=True, routes={"/i": answer}), proxy()
    with p.https(HOST, server.port) as client:
        got = client.ask("GET", "/i", HOST)
        assert client.ask("GET", "/hello", HOST).body == b"hello\n"
    assert [h.status for h in got.interim] == [103, 102] and got.interim[0].get("Link") == "</a.css>" and got.body == b"done"
    events = p.closed_as("mitm_http_completed")
    heads = [(e.at("status_code"), e.at("interim")) for e in events if e.kind == "response_headers" and e.at("exchange_no") == "1"]
    assert heads == [("103", "true"), ("102", "true"), ("200", None)] or heads == [("103", "true"), ("102", "true"), ("200", "false")]


@TLS
def test_close_delimited_body(proxy, origin, tls):
    data = b"".join(pattern(200_000))
    server, p = origin(one_shot(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n" + data), tls=tls), proxy()
    with open_client(p, server, tls) as client:
        answer = client.ask("GET", "/", HOST)
        assert answer.body == data and client.ended()
    p.closed_as("mitm_http_completed")


def test_http10_origin(proxy, origin):
    server, p = origin(one_shot(b"HTTP/1.0 200 OK\r\n\r\nold"), tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/", HOST).body == b"old"
    assert p.wait_event("response_headers").at("version") in ("1.0", "HTTP/1.0")


def test_connection_close_by_the_client(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/hello", HOST, [("Connection", "close")]).body == b"hello\n"
        assert client.ended()
    p.closed_as("mitm_http_completed")


def test_http10_client_with_keep_alive(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        for _ in range(2):
            client.send(b"GET /hello HTTP/1.0\r\nHost: origin.test\r\nConnection: keep-alive\r\n\r\n")
            answer = client.response()
            assert answer.body == b"hello\n" and answer.head.get("Connection", "").lower() == "keep-alive"
        client.send(b"GET /hello HTTP/1.0\r\nHost: origin.test\r\n\r\n")
        assert client.response().body == b"hello\n" and client.ended()


def test_http10_client_without_host(proxy, origin):
    """What goes on is HTTP/1.1, which must have a Host: the target's."""
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        client.send(b"GET /hello HTTP/1.0\r\n\r\n")
        assert client.response().body == b"hello\n"
    assert server.requests[0].head.all("Host") == [f"{HOST}:{server.port}"], server.requests[0].head.raw


# ---- time

@TLS
def test_first_byte_is_forwarded_at_once(proxy, origin, tls):
    """The origin sends half a body and waits until the client has it."""
    more = threading.Event()

    def halves(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        assert more.wait(10)
        for _ in range(2):
            more.clear()
            wire.send(b"12345")
            assert more.wait(10)

    server, p = origin(halves, tls=tls), proxy()
    with open_client(p, server, tls) as client:
        client.send(request("GET", "/", HOST))
        assert client.head().status == 200
        more.set()
        assert client.exactly(5) == b"12345"
        more.set()
        assert client.exactly(5) == b"12345"
        more.set()


def test_each_chunk_is_forwarded_at_once(proxy, origin):
    got = threading.Semaphore(0)

    def drip(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            wire.send(b"1\r\n%c\r\n" % (65 + number))
            assert got.acquire(timeout=10)
        wire.send(b"0\r\n\r\n")

    server, p = origin(drip, tls=True), proxy()
    with p.https(HOST, server.port) as client:
        client.send(request("GET", "/", HOST))
        client.head()
        for number in range(20):
            size = int(client.until(b"\r\n"), 16)
            assert client.exactly(size) == bytes([65 + number]) and client.exactly(2) == b"\r\n"
            got.release()
        assert client.exactly(5) == b"0\r\n\r\n"


@TLS
def test_request_body_is_forwarded_at_once(proxy, origin, tls):
    """The origin answers each piece of an upload; neither side waits for the whole."""
    def talk(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(3):
            wire.send(wire.exactly(2).upper())

    server, p = origin(talk, tls=tls), proxy()
    with open_client(p, server, tls) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 6\r\n\r\n")
        client.head()
        for piece in (b"ab", b"cd", b"ef"):
            client.send(piece)
            assert client.exactly(2) == piece.upper()
    p.closed_as("mitm_http_completed")


def test_early_response_while_uploading(proxy, origin):
    """413 before the body is read: the client gets it, the upload is cut short, nobody hangs."""
    def refuse(wire):
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")

    server, p = origin(refuse, tls=True), proxy()
    with p.https(HOST, server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 100000000\r\n\r\n")
        answer = client.response()
        assert answer.status == 413 and answer.body == b"much"
        try:
            for piece in pattern(100_000_000):
                client.send(piece)
            raise AssertionError("the proxy swallowed an upload that nobody reads")
        except OSError:
            pass
    p.wait_closed()


def test_slow_reader_holds_the_origin_back(proxy, origin):
    """Backpressure: what the client does not read is not taken from the origin."""
    sent = [0]

    def flood(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        for piece in pattern(400_000_000):
            wire.send(piece)
            sent[0] += len(piece)

    server, p = origin(flood), proxy()
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(request("GET", "/", HOST))
        client.head()
        seen = [-1]

        def stalled():
            before, seen[0] = seen[0], sent[0]
            return before == sent[0] > 0

        until(stalled, 20, "the origin to stall", step=0.5)
        assert sent[0] < 100_000_000
        status = open(f"/proc/{p.process.pid}/status").read()
        rss = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        assert rss < 300_000, f"{rss} kB resident"
    p.closed_as("client_aborted", "response_body")


# ---- upstream connections

def test_stale_connection_is_retried_once(proxy, origin):
    """The origin closes an idle keep-alive connection just as the next request comes."""
    def once(wire):
        wire.request()
        wire.send(reply(body=b"first"))
        wire.request()  # taken, but never answered: the connection ends

    server, p = origin(once, tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/1", HOST).body == b"first"
        assert client.ask("GET", "/2", HOST).body == b"first"
    assert server.connections == 2
    p.closed_as("mitm_http_completed")


def test_connection_closed_while_idle_is_not_used(proxy, origin):
    ended = []

    def once(wire):
        wire.request()
        wire.send(reply(body=b"one"))
        wire.close()
        ended.append(1)

    server, p = origin(once), proxy()
    with p.client().connect(f"{HOST}:{server.port}") as client:
        for number in range(3):
            assert client.ask("POST", "/", HOST, body=b"x").body == b"one"
            until(lambda: len(ended) == number + 1)
    assert server.connections == 3


def test_post_is_not_retried(proxy, origin):
    def once(wire):
        wire.request()
        wire.send(reply(body=b"first"))
        wire.request()

    server, p = origin(once, tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("POST", "/1", HOST, body=b"a").body == b"first"
        answer = client.ask("POST", "/2", HOST, body=b"b")
    assert (answer.status, answer.proxy_error) == (502, "connection_terminated")
    assert server.connections == 1


def test_a_fresh_connection_that_dies_is_not_retried(proxy, origin):
    server, p = origin(lambda wire: wire.head(), tls=True), proxy()
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/", HOST).status == 502
    assert server.connections == 1


# ---- upgrade

def websocket_origin(wire):
    head = wire.head()
    assert head.get("Upgrade") == "websocket" and "upgrade" in head.get("Connection").lower()
    accept = base64.b64encode(hashlib.sha1((head.get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
                              .digest()).decode()
    wire.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
              .encode() + b"\x81\x02hi")
    while True:
        try:
            first, second = wire.exactly(2)
        except Cut:
            return
        mask, body = wire.exactly(4), None
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(wire.exactly(second & 127)))
        wire.send(bytes([first, len(body)]) + body)
        if first & 15 == 8:
            return


@TLS
def test_websocket_upgrade_is_relayed(proxy, origin, tls):
    server, p = origin(websocket_origin, tls=tls), proxy()
    with open_client(p, server, tls) as client:
        answer = client.ask("GET", "/ws", HOST, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                                 ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        assert answer.status == 101 and answer.head.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.head.get("Upgrade") == "websocket" and "upgrade" in answer.head.get("Connection").lower()
        assert client.exactly(4) == b"\x81\x02hi"
        for text in (b"one", b"two two", b""):
            client.send(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
            assert client.exactly(2 + len(text)) == bytes([0x81, len(text)]) + text
        client.send(b"\x88\x82\0\0\0\0\x03\xe8")
        assert client.exactly(4) == b"\x88\x02\x03\xe8"
    assert p.wait_closed()[0].at("reason_code") in ("relay_eof", "websocket_completed", "mitm_http_completed")


def test_upgrade_refused_by_the_origin(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        answer = client.ask("GET", "/hello", HOST, [("Upgrade", "websocket"), ("Connection", "Upgrade")])
        assert answer.status == 200 and answer.body == b"hello\n"
        assert client.ask("GET", "/hello", HOST).body == b"hello\n"


def test_h2c_upgrade_is_not_offered(proxy, origin):
    server, p = origin(), proxy()
    with p.client().connect(f"{HOST}:{server.port}") as client:
        answer = client.ask("GET", "/hello", HOST, [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABk")])
        assert answer.body == b"hello\n"
    assert server.requests[0].head.get("Upgrade") is None and server.requests[0].head.get("HTTP2-Settings") is None


# ---- the client's end

@pytest.mark.parametrize("phase", ["request_head", "request_body", "response_head", "response_body"])
def test_client_leaves(proxy, origin, phase):
    """reason_detail is the phase in which it left."""
    reached = threading.Event()

    def slow(wire):
        wire.head()
        if phase == "response_body":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        reached.set()
        wire.rest()

    server, p = origin(slow), proxy()
    client = p.client().connect(f"{HOST}:{server.port}")
    sent = {"request_head": b"GET / HTTP/1.1\r\nHost: origin", "request_body": b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 9\r\n\r\nhalf",
            "response_head": request("GET", "/", HOST), "response_body": request("GET", "/", HOST)}[phase]
    client.send(sent)
    if phase == "response_body":
        client.until(b"half")
    elif phase != "request_head":
        assert reached.wait(10)
    else:
        p.wait_event("connect_decision")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sock.close()
    p.closed_as("client_aborted", phase)


def test_client_half_closes_after_its_request(proxy, origin):
    """printf | nc: a client that shuts its sending side still gets its response."""
    server, p = origin(), proxy()
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(request("GET", "/bytes/500000", HOST))
        client.finish()
        answer = client.response()
    assert hashlib.sha256(answer.body).hexdigest() == pattern_sha256(500000)


def test_small_exchanges_take_no_time(proxy, origin):
    """No Nagle, no timer on the way: 200 exchanges on one connection."""
    server, p = origin(tls=True), proxy()
    with p.https(HOST, server.port) as client:
        client.ask("GET", "/hello", HOST)
        watch = Stopwatch()
        for _ in range(200):
            client.ask("POST", "/echo", HOST, body=b"x")
        assert watch.seconds < scaled(4)
