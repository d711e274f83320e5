# SPDX-License-Identifier: MPL-2.0
"""What no honest peer sends, from either side, frame by frame: the right reset or GOAWAY, its class in the events, one close a flow, and
siblings that notice nothing where the RFC allows. The sanitizer build runs all of it."""
import struct
import threading

import pytest

from harness.h2 import H2Origin, flow_of
from harness.h2_raw import (ACK, CALM, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, GOAWAY,
                            HEADERS, NO_ERROR, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, STREAM_CLOSED,
                            WINDOW_UPDATE, Peer, frame, goaway, rst, settings, window)

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
    """How the connection and each stream that became a flow have ended; check_log looks at the rest."""
    parent, streams = flow_of(p, port)
    how = lambda f: (f[-1].at("reason_code"), f[-1].at("reason_detail"))
    return how(parent), {n: how(f) for n, f in streams.items()}


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
    "upper case": (with_fields(("Upper", "x")), PROTOCOL_ERROR),
    "connection": (with_fields(("connection", "close")), PROTOCOL_ERROR),
    "keep-alive": (with_fields(("keep-alive", "1")), PROTOCOL_ERROR),
    "transfer-encoding": (with_fields(("transfer-encoding", "chunked")), PROTOCOL_ERROR),
    "te": (with_fields(("te", "gzip")), PROTOCOL_ERROR),
    "empty name": (with_fields(("", "x")), PROTOCOL_ERROR),
    "line feed": (with_fields(("x", "a\nb")), PROTOCOL_ERROR),
    "nul": (with_fields(("x", "a\0b")), PROTOCOL_ERROR),
    "colon in name": (with_fields(("a:b", "x")), PROTOCOL_ERROR),
    "two lengths": (with_fields(("content-length", "1"), ("content-length", "2"), end=False, method="POST"), PROTOCOL_ERROR),
    "bad length": (with_fields(("content-length", "-1"), end=False, method="POST"), PROTOCOL_ERROR),
    "length without body": (with_fields(("content-length", "5"), method="POST"), PROTOCOL_ERROR),
    "pseudo after field": (lambda c: c.head(3, [(":method", "GET"), (":scheme", "https"), ("x", "y"), (":path", "/"), (":authority", c.authority)], 5), PROTOCOL_ERROR),
    "unknown pseudo": (pseudo(proto="x"), PROTOCOL_ERROR),
    "status": (pseudo(status="200"), PROTOCOL_ERROR),
    "no method": (pseudo(method=None), PROTOCOL_ERROR),
    "no scheme": (pseudo(scheme=None), PROTOCOL_ERROR),
    "no path": (pseudo(path=None), PROTOCOL_ERROR),
    "empty path": (pseudo(path=""), PROTOCOL_ERROR),
    "path without slash": (pseudo(path="hello"), PROTOCOL_ERROR),
    "path with blank": (pseudo(path="/a b"), PROTOCOL_ERROR),
    "twice": (lambda c: c.head(3, [(":method", "GET"), (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", c.authority)], 5), PROTOCOL_ERROR),
    "authority with userinfo": (pseudo(authority="me@origin.test"), None),
    "connect with path": (pseudo(method="CONNECT"), PROTOCOL_ERROR),
    "protocol unannounced": (pseudo(method="CONNECT", protocol="websocket"), PROTOCOL_ERROR),
    "too large": (large, CALM),
    "many fields": (with_fields(*[(f"x{i}", "") for i in range(1200)]), CALM),
    "hpack bomb": (bomb, CALM),
    "body beyond length": (lambda c: c.ask(3, "/echo", "POST", [("content-length", "3")], False) + frame(DATA, 1, 3, b"12345"), PROTOCOL_ERROR),
    "body short of length": (lambda c: c.ask(3, "/upload", "POST", [("content-length", "9")], False) + frame(DATA, 1, 3, b"12345"), PROTOCOL_ERROR),
    "trailers with pseudo": (lambda c: c.ask(3, "/upload", "POST", end=False) + c.head(3, [(":path", "/x")], 5), PROTOCOL_ERROR),
    "trailers without end": (lambda c: c.ask(3, "/upload", "POST", end=False) + c.head(3, [("x", "y")]), PROTOCOL_ERROR),
    "no increment": (lambda c: c.ask(3, "/hold") + window(3, 0), PROTOCOL_ERROR),
    "window overflow": (lambda c: c.ask(3, "/hold") + window(3, 0x7fffffff), FLOW_CONTROL_ERROR),
    "depends on itself": (lambda c: c.ask(3, "/hold") + frame(PRIORITY, 0, 3, struct.pack(">IB", 3, 1)), "connection"),
    "data after end": (lambda c: c.ask(3, "/hold") + frame(DATA, 1, 3, b"x"), STREAM_CLOSED),
    "head after end": (lambda c: c.ask(3, "/hold") + c.head(3, [("x", "y")], 5), STREAM_CLOSED),
}


@pytest.mark.parametrize("wrong", list(WRONG_STREAMS))
def test_a_stream_that_is_wrong(site, wrong):
    p, origin = site
    make, code = WRONG_STREAMS[wrong]
    with Client(p, origin.port) as c:
        c.send(c.ask(1, "/echo", "POST", end=False), frame(DATA, 0, 1, b"one"))
        assert c.until(lambda: c.bodies.get(1) == b"one")
        c.send(make(c))
        c.until(lambda: c.over(3) or c.gone)
        print("OUTCOME", wrong, "status", c.status(3), "reset", c.resets.get(3), "goaways", c.goaways)
        if not c.gone:
            c.send(frame(DATA, 1, 1, b"two"), c.ask(5))
            assert c.until(lambda: c.over(1) and c.over(5))
            assert c.bodies[1] == b"onetwo" and c.status(5) == 200
    print("FLOWS", flows(p, c.port))
