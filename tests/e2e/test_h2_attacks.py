# SPDX-License-Identifier: MPL-2.0
"""What no honest peer sends, from either side, frame by frame: the right reset or GOAWAY, its class in the events, one close a flow, and
siblings that notice nothing where the RFC allows. The sanitizer build runs all of it."""
import struct

import pytest

from harness.h2 import H2Origin, flow_of
from harness.h2_raw import (ACK, CALM, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
                            HEADERS, NO_ERROR, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, SETTINGS, STREAM_CLOSED, Peer, frame, goaway, rst, settings, window)
from harness.timing import until

NAMES = ("origin.test", "*.origin.test")
FRAME_SIZE_ERROR, REFUSED_STREAM, INTERNAL_ERROR = 6, 7, 2
LIMITS = {"http2_max_header_list_size": "16k"}


@pytest.fixture(scope="module")
def site(shared, authority):
    """(proxy, origin) for all that clients try."""
    origin = H2Origin(authority.leaf(*NAMES))
    p = shared(**LIMITS)
    yield p, origin
    origin.close()


class Client(Peer):
    def __init__(self, p, port, **kwargs):
        wire = p.https("origin.test", port, alpn=("h2",))
        self.port, self.authority = wire.port, f"origin.test:{port}"
        super().__init__(wire, client=True, **kwargs)

    def ask(self, stream, path="/hello", method="GET", fields=(), end=True):
        return self.request(stream, path, method, fields, end, self.authority)

    def close(self):
        self.wire.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def flows(p, port):
    """How the connection and each of its streams have ended; that each did once is looked at with the whole log."""
    parent, streams = flow_of(p, port)
    return how(parent), {n: how(f) for n, f in streams.items()}


def how(events):
    return events[-1].at("reason_code"), events[-1].at("reason_detail")


DONE = ("mitm_http_completed", None)


# ---- a client that is wrong in one stream (3), while another one (1) is in the middle of its exchange

def pseudo(**changes):
    """The fields of a request with some pseudo-headers changed or (None) left out."""
    def make(c):
        head = {":method": "GET", ":scheme": "https", ":authority": c.authority, ":path": "/hello"} | {":" + k: v for k, v in changes.items()}
        return c.head(3, [(k, v) for k, v in head.items() if v is not None], END_HEADERS | END_STREAM)
    return make


def with_fields(*fields, end=True, method="GET"):
    return lambda c: c.ask(3, fields=fields, end=end, method=method)


def bomb(c):
    """4 KB in the table, then its index a thousand times."""
    first = c.head(3, [(":method", "GET"), (":scheme", "https"), (":authority", c.authority), (":path", "/hello"), ("x", "v" * 4000)],
                   END_HEADERS | END_STREAM)
    block = first[9:] + b"\xbe" * 12000
    return frame(HEADERS, END_HEADERS | END_STREAM, 3, block)


def large(c):
    """More than the limit, in frames that are not."""
    whole = c.ask(3, fields=[(f"x-{i}", "v" * 1000) for i in range(20)])[9:]
    return frame(HEADERS, END_STREAM, 3, whole[:16000]) + frame(CONTINUATION, END_HEADERS, 3, whole[16000:])


WRONG_STREAMS = {
    "upper case": (with_fields(("Upper", "x")), PROTOCOL_ERROR, "malformed_head"),
    "connection": (with_fields(("connection", "close")), PROTOCOL_ERROR, "malformed_head"),
    "keep-alive": (with_fields(("keep-alive", "1")), PROTOCOL_ERROR, "malformed_head"),
    "transfer-encoding": (with_fields(("transfer-encoding", "chunked")), PROTOCOL_ERROR, "malformed_head"),
    "te": (with_fields(("te", "gzip")), PROTOCOL_ERROR, "malformed_head"),
    "empty name": (with_fields(("", "x")), PROTOCOL_ERROR, "empty_field_name"),
    "line feed": (with_fields(("x", "a\nb")), PROTOCOL_ERROR, "control_character"),
    "nul": (with_fields(("x", "a\0b")), PROTOCOL_ERROR, "nul"),
    "colon in name": (with_fields(("a:b", "x")), PROTOCOL_ERROR, "invalid_field_name"),
    "two lengths": (with_fields(("content-length", "1"), ("content-length", "2"), end=False, method="POST"), PROTOCOL_ERROR, "malformed_head"),
    "bad length": (with_fields(("content-length", "-1"), end=False, method="POST"), PROTOCOL_ERROR, "malformed_head"),
    "length without body": (with_fields(("content-length", "5"), method="POST"), PROTOCOL_ERROR, "malformed_head"),
    "pseudo after field": (lambda c: c.head(3, [(":method", "GET"), (":scheme", "https"), ("x", "y"), (":path", "/"), (":authority", c.authority)], 5), PROTOCOL_ERROR, "malformed_head"),
    "unknown pseudo": (pseudo(proto="x"), PROTOCOL_ERROR, "malformed_head"),
    "status": (pseudo(status="200"), PROTOCOL_ERROR, "malformed_head"),
    "no method": (pseudo(method=None), PROTOCOL_ERROR, "malformed_head"),
    "no scheme": (pseudo(scheme=None), PROTOCOL_ERROR, "malformed_head"),
    "no path": (pseudo(path=None), PROTOCOL_ERROR, "malformed_head"),
    "empty path": (pseudo(path=""), PROTOCOL_ERROR, "malformed_head"),
    "path without slash": (pseudo(path="hello"), PROTOCOL_ERROR, "malformed_head"),
    "path with blank": (pseudo(path="/a b"), PROTOCOL_ERROR, "malformed_head"),
    "twice": (lambda c: c.head(3, [(":method", "GET"), (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", c.authority)], 5), PROTOCOL_ERROR, "malformed_head"),
    "authority with a bad port": (pseudo(authority="origin.test:x"), PROTOCOL_ERROR, "invalid_host"),
    "authority with userinfo": (pseudo(authority="me@origin.test"), PROTOCOL_ERROR, {"invalid_host", "malformed_head"}),  # nghttp2 1.64 refuses it itself
    "connect with path": (pseudo(method="CONNECT"), PROTOCOL_ERROR, "malformed_head"),
    "too large": (large, CALM, "header_too_large"),
    "many fields": (with_fields(*[(f"x{i}", "") for i in range(1200)]), CALM, "header_too_large"),
    "hpack bomb": (bomb, CALM, "header_too_large"),
    "body beyond length": (lambda c: c.ask(3, "/echo", "POST", [("content-length", "3")], False) + frame(DATA, 1, 3, b"12345"), PROTOCOL_ERROR, "content_length_mismatch"),
    "body short of length": (lambda c: c.ask(3, "/upload", "POST", [("content-length", "9")], False) + frame(DATA, 1, 3, b"12345"), PROTOCOL_ERROR, "content_length_mismatch"),
    "trailers with pseudo": (lambda c: c.ask(3, "/upload", "POST", end=False) + c.head(3, [(":path", "/x")], 5), PROTOCOL_ERROR, "malformed_head"),
    "trailers without end": (lambda c: c.ask(3, "/upload", "POST", end=False) + c.head(3, [("x", "y")]), PROTOCOL_ERROR, "malformed_head"),
    "window overflow": (lambda c: c.ask(3, "/hold") + window(3, 0x7fffffff), FLOW_CONTROL_ERROR, "h2_flow_control_error"),
}


@pytest.mark.parametrize("wrong", list(WRONG_STREAMS))
def test_a_stream_that_is_wrong(site, wrong):
    p, origin = site
    make, code, fault = WRONG_STREAMS[wrong]
    with Client(p, origin.port) as c:
        c.send(c.ask(1, "/echo", "POST", end=False), frame(DATA, 0, 1, b"one"))
        assert c.until(lambda: c.bodies.get(1) == b"one")
        c.send(make(c))
        assert c.until(lambda: c.over(3)) and c.resets[3] == code
        c.send(frame(DATA, 1, 1, b"two"), c.ask(5))
        assert c.until(lambda: c.over(1) and c.over(5))
        assert c.bodies[1] == b"onetwo" and c.status(5) == 200 and not c.goaways
    parent, streams = flows(p, c.port)
    reason, detail = streams.pop(3)
    assert reason == "mitm_http_error" and detail in ({fault} if isinstance(fault, str) else fault)
    assert (parent, streams) == (DONE, {1: DONE, 5: DONE})


# ---- a client that is wrong as a whole (some of it RFC 9113 lets us take for the stream's fault, 5.4.1), and floods

def many(n, one):
    return lambda c: one * n


def split_head(c):
    """A head in two thousand pieces."""
    block = c.ask(3, fields=[("x", "v" * 1900)])[9:]
    return frame(HEADERS, END_STREAM, 3, b"") + b"".join(frame(CONTINUATION, 0, 3, block[i:i + 1]) for i in range(2000))


def rapid_reset(c):
    return b"".join(c.ask(n, "/hold") + rst(n, CANCEL) for n in range(3, 4003, 2))


def wrong_heads(c):
    return b"".join(c.head(n, [(":method", "GET")], 5) for n in range(3, 4003, 2))


WRONG_CONNECTIONS = {
    "data on 0": (lambda c: frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR, "h2_protocol_error"),
    "head on 0": (lambda c: c.head(0, [(":method", "GET")]), PROTOCOL_ERROR, "h2_protocol_error"),
    "even stream": (lambda c: c.ask(2), PROTOCOL_ERROR, "h2_protocol_error"),
    "data on idle": (lambda c: frame(DATA, 0, 9, b"x"), PROTOCOL_ERROR, "h2_protocol_error"),
    "reset of idle": (lambda c: rst(9, CANCEL), PROTOCOL_ERROR, "h2_protocol_error"),
    "window of idle": (lambda c: window(9, 1), PROTOCOL_ERROR, "h2_protocol_error"),
    "stream backwards": (lambda c: c.ask(7) + c.ask(5), PROTOCOL_ERROR, "h2_protocol_error"),
    "lone continuation": (lambda c: frame(CONTINUATION, END_HEADERS, 1, b"\x82"), PROTOCOL_ERROR, "h2_protocol_error"),
    "frame inside a head": (lambda c: frame(HEADERS, END_STREAM, 3, c.ask(3)[9:20]) + frame(PING, 0, 0, b"12345678"), PROTOCOL_ERROR, "h2_protocol_error"),
    "hpack garbage": (lambda c: frame(HEADERS, 5, 3, b"\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR, "h2_compression_error"),
    "table beyond limit": (lambda c: frame(HEADERS, 5, 3, b"\x3f\xe1\xff\x03\x82"), COMPRESSION_ERROR, "h2_compression_error"),
    "push": (lambda c: frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2\x82"), PROTOCOL_ERROR, "h2_protocol_error"),
    "long settings": (lambda c: frame(SETTINGS, 0, 0, b"12345"), FRAME_SIZE_ERROR, "h2_frame_size_error"),
    "ack with payload": (lambda c: frame(SETTINGS, ACK, 0, b"123456"), FRAME_SIZE_ERROR, "h2_frame_size_error"),
    "settings on a stream": (lambda c: frame(SETTINGS, 0, 1), PROTOCOL_ERROR, "h2_protocol_error"),
    "window setting": (lambda c: settings(window=1 << 31), FLOW_CONTROL_ERROR, "h2_flow_control_error"),
    "short ping": (lambda c: frame(PING, 0, 0, b"1234"), FRAME_SIZE_ERROR, "h2_frame_size_error"),
    "large frame": (lambda c: frame(DATA, 0, 1, b"x" * 16385), FRAME_SIZE_ERROR, "h2_frame_size_error"),
    "padding beyond frame": (lambda c: frame(DATA, PADDED, 1, b"\xff123"), PROTOCOL_ERROR, "h2_protocol_error"),
    "no increment": (lambda c: window(0, 0), PROTOCOL_ERROR, "h2_protocol_error"),
    "no increment of a stream": (lambda c: window(1, 0), PROTOCOL_ERROR, "h2_protocol_error"),
    "window overflow": (lambda c: window(0, 0x7fffffff), FLOW_CONTROL_ERROR, "h2_flow_control_error"),
    "depends on itself": (lambda c: frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 1)), PROTOCOL_ERROR, "h2_protocol_error"),
    "data after end": (lambda c: c.ask(3, "/hold") + frame(DATA, 1, 3, b"x"), STREAM_CLOSED, "h2_stream_closed"),
    "head after end": (lambda c: c.ask(3, "/hold") + c.head(3, [("x", "y")], 5), STREAM_CLOSED, "h2_stream_closed"),
    "flood of continuation": (split_head, CALM, "h2_flood:continuation"),
    "flood of pings": (many(5000, frame(PING, 0, 0, b"12345678")), CALM, "h2_flood:ping"),
    "flood of settings": (many(5000, settings()), CALM, "h2_flood:settings"),
    "flood of empty data": (many(5000, frame(DATA, 0, 1)), CALM, "h2_flood:empty_data"),
    "flood of padding alone": (many(5000, frame(DATA, PADDED, 1, b"\0")), CALM, "h2_flood:empty_data"),
    "flood of windows": (many(9000, window(0, 1)), CALM, "h2_flood:window_update"),
    "flood of windows of a stream": (many(9000, window(1, 1)), CALM, "h2_flood:window_update"),
    "flood of priority": (many(5000, frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1))), CALM, "h2_flood:priority"),
    "flood of priority updates": (many(5000, frame(16, 0, 0, b"\0\0\0\1u=1")), CALM, "h2_flood:priority"),
    "flood of what nobody knows": (many(5000, frame(99, 0, 0, b"x")), CALM, "h2_flood:unknown"),
    "flood of goaways": (many(5000, goaway(0)), CALM, "h2_flood:unknown"),
    "rapid reset": (rapid_reset, CALM, "h2_flood:rapid_reset"),
    "flood of wrong heads": (wrong_heads, CALM, "h2_flood:rapid_reset"),
}


@pytest.mark.parametrize("wrong", list(WRONG_CONNECTIONS))
def test_a_connection_that_is_wrong(site, wrong):
    p, origin = site
    make, code, fault = WRONG_CONNECTIONS[wrong]
    with Client(p, origin.port) as c:
        c.send(c.ask(1, "/echo", "POST", end=False), frame(DATA, 0, 1, b"one"))
        assert c.until(lambda: c.bodies.get(1) == b"one")
        try:
            c.send(make(c))
        except OSError:
            pass
        c.drain()
        assert [g[0] for g in c.goaways] == [code]
    parent, streams = flows(p, c.port)
    assert parent == ("mitm_http_error", fault)
    assert set(streams.values()) == {parent} and len(streams) < 250


# ---- an origin that is wrong

class WrongOrigin:
    """Answers /good with 200; does `wrong(peer, stream)` with /bad."""

    def __init__(self, origin, authority):
        self.wrong, self.asked = None, []
        self.server = origin(self._serve, tls=authority.server(*NAMES, alpn=("h2",)))
        self.port = self.server.port

    def _serve(self, wire):
        peer, seen = Peer(wire), 0
        while peer.turn() is not None:
            for stream in list(peer.heads)[seen:]:
                seen += 1
                path = peer.heads[stream][0][":path"]
                self.asked.append(path)
                try:
                    if path == "/bad":
                        self.wrong(peer, stream)
                    elif path == "/good":
                        peer.respond(stream, body=b"good\n")
                    elif path == "/half":
                        peer.send(peer.head(stream, [(":status", "200")]), frame(DATA, 0, stream, b"half"))
                        half = stream
                    elif path == "/rest":
                        peer.send(frame(DATA, 1, half, b"whole"))
                        peer.respond(stream)
                except OSError:
                    return


@pytest.fixture(scope="module")
def wrong_site(shared, shared_origin, authority):
    one = WrongOrigin(shared_origin, authority)
    return shared(**LIMITS), shared(**LIMITS, upstream_http2="always"), one


def response(*fields, status="200", flags=END_HEADERS | END_STREAM):
    return lambda o, n: o.send(o.head(n, [(":status", status), *fields] if status else fields, flags))


def after_head(*frames_of, fields=()):
    return lambda o, n: o.send(o.head(n, [(":status", "200"), *fields]), *[f(o, n) for f in frames_of])


def data(text, flags=END_STREAM):
    return lambda o, n: frame(DATA, flags, n, text)


def trailers(*fields, flags=END_HEADERS | END_STREAM):
    return lambda o, n: o.head(n, fields, flags)


def large_response(o, n):
    whole = o.head(n, [(":status", "200")] + [(f"x-{i}", "v" * 1000) for i in range(20)])[9:]
    o.send(frame(HEADERS, END_STREAM, n, whole[:16000]), frame(CONTINUATION, END_HEADERS, n, whole[16000:]))


def response_bomb(o, n):
    first = o.head(n, [(":status", "200"), ("x", "v" * 4000)])
    o.send(frame(HEADERS, END_HEADERS | END_STREAM, n, first[9:] + b"\xbe" * 12000))


def interim_flood(o, n):
    for _ in range(3000):
        o.send(o.head(n, [(":status", "103"), ("link", "</a>")]))
    o.respond(n, body=b"late\n")


WRONG_ANSWERS = {
    "upper case": (response(("Upper", "x")), 502, "malformed_head"),
    "connection": (response(("connection", "close")), 502, "malformed_head"),
    "no status": (response(status=None), 502, "malformed_head"),
    "bad status": (response(status="abc"), 502, "malformed_head"),
    "status 99": (response(status="99"), 502, "malformed_head"),
    "status 1000": (response(status="1000"), 502, "malformed_head"),
    "status 101": (response(status="101", flags=END_HEADERS), 502, "malformed_head"),
    "two statuses": (response((":status", "200")), 502, "malformed_head"),
    "path": (response((":path", "/")), 502, "malformed_head"),
    "line feed": (response(("x", "a\nb")), 502, "control_character"),
    "interim that ends": (response(status="100"), 502, "malformed_head"),
    "data before head": (lambda o, n: o.send(frame(DATA, 1, n, b"x")), 502, "h2_protocol_error"),
    "body beyond length": (after_head(data(b"12345"), fields=[("content-length", "3")]), 200, "content_length_mismatch"),
    "body short of length": (after_head(data(b"12345"), fields=[("content-length", "9")]), 200, "content_length_mismatch"),
    "length without body": (response(("content-length", "9")), 502, "malformed_head"),
    "two lengths": (response(("content-length", "1"), ("content-length", "2")), 502, "malformed_head"),
    "trailers with status": (after_head(trailers((":status", "200"))), 200, "malformed_head"),
    "trailers without end": (after_head(trailers(("x", "y"), flags=END_HEADERS)), 200, "malformed_head"),
    "too large": (large_response, 502, "header_too_large"),
    "hpack bomb": (response_bomb, 502, "header_too_large"),
    "no content with content": (lambda o, n: o.send(o.head(n, [(":status", "204")]), frame(DATA, 1, n, b"x")), 204, "content_length_mismatch"),
    "reset at once": (lambda o, n: o.send(rst(n, INTERNAL_ERROR)), None, "origin_reset:internal_error"),
    "reset without error": (lambda o, n: o.send(rst(n, NO_ERROR)), None, "origin_reset:no_error"),
    "reset in the body": (after_head(data(b"half", 0), lambda o, n: rst(n, CANCEL)), 200, "origin_reset:cancel"),
    "window overflow": (after_head(lambda o, n: window(n, 0x7fffffff)), 200, "h2_flow_control_error"),
    "refused twice": (lambda o, n: o.send(rst(n, REFUSED_STREAM)), None, "origin_reset:refused_stream"),
    "interim flood": (interim_flood, 200, None),
    "body after end": (lambda o, n: (o.respond(n, body=b"x"), o.send(frame(DATA, 1, n, b"y"))), 200, None),
    # as a whole
    "data on 0": (lambda o, n: o.send(frame(DATA, 0, 0, b"x")), 502, "h2_protocol_error"),
    "hpack garbage": (lambda o, n: o.send(frame(HEADERS, 5, n, b"\xff\xff\xff\xff\xff\xff")), 502, "h2_compression_error"),
    "push": (lambda o, n: o.send(frame(PUSH_PROMISE, 4, n, b"\0\0\0\2\x82\x84\x87\x41\x01a")), 502, "h2_protocol_error"),
    "stream of its own": (lambda o, n: o.send(o.head(2, [(":status", "200")])), 502, "h2_protocol_error"),
    "idle stream": (lambda o, n: o.send(o.head(n + 100, [(":status", "200")])), 502, "h2_protocol_error"),
    "large frame": (after_head(data(b"x" * 16385)), 200, "h2_frame_size_error"),
    "goaway with error": (lambda o, n: o.send(goaway(0, INTERNAL_ERROR)), None, "origin_reset:refused_stream"),
    "flood of continuation": (lambda o, n: o.send(frame(HEADERS, 1, n, b""), frame(CONTINUATION, 0, n, b"") * 2000), 502, "h2_flood:continuation"),
    "flood of pings": (lambda o, n: o.send(frame(PING, 0, 0, b"12345678") * 5000), 502, "h2_flood:ping"),
    "flood of settings": (lambda o, n: o.send(settings() * 5000), 502, "h2_flood:settings"),
    "flood of empty data": (after_head(lambda o, n: frame(DATA, 0, n) * 5000), 200, "h2_flood:empty_data"),
    "flood of windows": (lambda o, n: o.send(window(0, 1) * 9000), 502, "h2_flood:window_update"),
    "flood of what nobody knows": (lambda o, n: o.send(frame(99, 0, 0, b"x") * 5000), 502, "h2_flood:unknown"),
    "flood of goaways": (lambda o, n: o.send(goaway(0x7fffffff) * 5000), 502, "h2_flood:unknown"),
}


WHOLE = set(list(WRONG_ANSWERS)[list(WRONG_ANSWERS).index("data on 0"):]) | {"data before head"}  # the origin's connection ends


@pytest.mark.parametrize("wrong", list(WRONG_ANSWERS))
def test_an_answer_that_is_wrong(wrong_site, wrong):
    """The client's connection goes on, whatever becomes of the origin's; a sibling does where only the stream is wrong."""
    p, _, origin = wrong_site
    origin.wrong, status, fault = WRONG_ANSWERS[wrong]
    with Client(p, origin.port) as c:
        c.send(c.ask(1, "/half"))
        assert c.until(lambda: c.bodies.get(1) == b"half")
        c.send(c.ask(3, "/bad"))
        assert c.until(lambda: c.over(3))
        c.send(c.ask(5, "/good"))
        assert c.until(lambda: c.over(5)) and c.bodies[5] == b"good\n" and not c.goaways
        if wrong not in WHOLE:
            c.send(c.ask(7, "/rest"))
            assert c.until(lambda: c.over(1) and c.over(7)) and c.bodies[1] == b"halfwhole"
        else:
            assert c.until(lambda: c.over(1)) and c.resets[1] == INTERNAL_ERROR
        assert c.status(3) == status and (3 in c.resets) == (fault is not None and status not in (502, 204))
    parent, streams = flows(p, c.port)
    assert parent == DONE and streams[5] == DONE
    assert streams[3] == (("mitm_http_error", fault) if fault else DONE)
    assert streams[1] == (("mitm_http_error", fault) if wrong in WHOLE else DONE)


@pytest.mark.parametrize("wrong", list(WRONG_ANSWERS))
def test_an_answer_that_is_wrong_for_http1(wrong_site, wrong):
    """502 with the class where nothing has gone, a cut where it has: never an end that looks whole."""
    _, p, origin = wrong_site
    origin.wrong, status, fault = WRONG_ANSWERS[wrong]
    with p.https("origin.test", origin.port) as client:
        port = client.port
        client.send(f"GET /bad HTTP/1.1\r\nHost: origin.test:{origin.port}\r\nConnection: close\r\n\r\n".encode())
        said = client.rest()
    heads, _, body = said.rpartition(b"HTTP/1.1 ")
    assert body.startswith(str(status or 502).encode())
    if (status or 502) == 502:
        assert fault.encode() in body
    elif fault and status != 204:
        assert not body.endswith(b"0\r\n\r\n") and (b"content-length: 3" not in body or not body.endswith(b"123"))
    elif not fault:
        assert body.endswith(b"0\r\n\r\n")
    closed = until(lambda: [e for e in p.log.find("stream_closed") if e["client_addr"].endswith(f":{port}")], 10, "its end")
    assert how(closed) == (("mitm_http_error", fault) if fault else DONE)


# ---- messages without a body, whose end comes in a frame of its own

@pytest.mark.parametrize("method,status", [("GET", 204), ("GET", 304), ("HEAD", 200)])
@pytest.mark.parametrize("fields", [[], [("content-length", "5")]])
def test_an_end_without_body(wrong_site, method, status, fields):
    old, new, origin = wrong_site
    origin.wrong = lambda o, n: o.send(o.head(n, [(":status", status), *(fields if status != 204 else [])]), frame(DATA, END_STREAM, n))
    with new.https("origin.test", origin.port) as client:
        for _ in range(2):  # what follows would show a byte too many
            client.send(f"{method} /bad HTTP/1.1\r\nHost: origin.test:{origin.port}\r\n\r\n".encode())
            answer = client.response(method)
            assert answer.status == status and answer.head.get("Transfer-Encoding") is None
            assert client.ask("GET", "/good", f"origin.test:{origin.port}").body == b"good\n"
    with Client(old, origin.port) as c:
        c.send(c.ask(1, "/bad", method))
        assert c.until(lambda: c.over(1)) and c.status(1) == status and not c.resets and not c.bodies.get(1)
    assert flows(old, c.port)[1] == {1: DONE}
