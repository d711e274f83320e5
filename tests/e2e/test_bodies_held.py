# SPDX-License-Identifier: MPL-2.0
"""Bodies that a policy holds back: chunks and files are what the client got; and what is told at a message's end, in its order."""
import pytest

from harness.h2 import h2_client
from harness.origin import reply
from harness.timing import until
from test_bodies import content, files

SSE, NDJSON = "text/event-stream", "application/x-ndjson"


def pieces(content_type, *parts, end=b"0\r\n\r\n"):
    """A route: a chunked response."""
    def route(wire, _request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % content_type.encode())
        wire.send(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end)
        return bool(end)
    return route


def whole(content_type, body):
    return lambda wire, _request: wire.send(reply(body=body, fields=[("Content-Type", content_type)]))


@pytest.fixture
def held(proxy, judges, tmp_path):
    """held(bodies=True) starts a proxy that judges frames and captures bodies, into files or into its log."""
    def start(bodies=True):
        p = proxy(modules_dir=judges, extra_modules=[{"module": "sse"}, {"module": "ndjson"}, {"module": "frames", "config": {"delay": "100ms"}}],
                  sink={"bodies_dir": str(tmp_path / "bodies")} if bodies else {}, sink_top={"payload": "full"})
        return p, tmp_path / "bodies"
    return start


def body_of(got):
    """The bytes of a body, of which perhaps not everything came."""
    head, rest = got.split(b"\r\n\r\n", 1)
    if b"chunked" not in head:
        return rest
    body = b""
    while b"\r\n" in rest:
        size, rest = rest.split(b"\r\n", 1)
        body, rest = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    return body


def told(p):
    return [(e.at("offset"), e.at("bytes"), e.at("last")) for e in p.log.find("response_body_chunk")]


BLOCKED = {
    "the end, unfinished": (pieces(SSE, b"data: a\n\ndata: BLOCK"), b"data: a\n\n"),
    "in two parts": (pieces(SSE, b"data: a\n\ndata: BLO", b"CK\n\n"), b"data: a\n\n"),
    "among others": (pieces(NDJSON, b'{}\n"BLOCK"\n{}\n'), b"{}\n"),
    "a length": (whole(SSE, b"data: a\n\ndata: BLOCK\n\n"), b"data: a\n\n"),
    "a length, the end": (whole(NDJSON, b'{}\n"BLOCK"'), b"{}\n"),
}


@pytest.mark.parametrize("bodies", [True, False])
@pytest.mark.parametrize("case", BLOCKED)
def test_what_is_blocked_is_nowhere(held, origin, case, bodies):
    route, let_through = BLOCKED[case]
    server, (p, folder) = origin(routes={"/r": route}), held(bodies)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert body_of(client.rest()) == let_through
    p.closed_as("blocked", "bad-frame")
    assert told(p) == [("0", str(len(let_through)), None)]
    if bodies:
        until(lambda: files(folder, "cut") and files(folder, "sha256"), 10, "a file")
        assert not files(folder, "body", "part") and content(folder, "response") == let_through
    else:
        assert p.log.find("response_body_chunk")[0].at("payload").encode() == let_through


def test_what_is_held_when_the_origin_breaks_off(held, origin):
    server, (p, folder) = origin(routes={"/r": pieces(NDJSON, b'{}\n"WAIT"\n[1', end=b"")}), held()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert body_of(client.rest()) == b'{}\n"WAIT"\n'
    p.closed_as("mitm_http_error", "origin_truncated")
    assert told(p) == [("0", "3", None), ("3", "7", None)]
    until(lambda: files(folder, "cut") and files(folder, "sha256"), 10, "a file")
    assert content(folder, "response") == b'{}\n"WAIT"\n'


@pytest.mark.parametrize("route", [pieces(NDJSON, b'{}\n"WAIT"'), whole(NDJSON, b'{}\n"WAIT"')], ids=["chunked", "length"])
def test_the_end_waits_for_its_verdict(held, origin, route):
    server, (p, folder) = origin(routes={"/r": route}), held()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/r", "origin.test").body == b'{}\n"WAIT"'
        assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed()
    until(lambda: len(files(folder, "body")) == 2 == len(files(folder, "sha256")), 10, "two files")
    assert content(folder, "response", 0) == b'{}\n"WAIT"'


# ---- the order at the end, without a policy

def kinds(p, *wanted):
    return [e.kind + (":last" if e.at("last") else "") + (":partial" if e.at("partial") else "") for e in p.events() if e.kind in wanted]


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("content_type, body, found", [(SSE, b"data: a\n\ndata: b", "sse_event"), (NDJSON, b"{}\n[1]", "stream_record")])
def test_what_the_end_completes(proxy, origin, content_type, body, found, http2):
    server = origin(tls=http2, routes={"/r": pieces(content_type, body, end=b"0\r\nX-T: 1\r\n\r\n"), "/l": whole(content_type, body)})
    p = proxy(extra_modules=[{"module": "sse"}, {"module": "ndjson"}], sink_top={"payload": "full"})
    chunk, kind = "response_body_chunk", found + (":partial" if found == "sse_event" else "")
    with h2_client(p, "origin.test", server.port) if http2 else p.client().connect(f"origin.test:{server.port}") as client:
        for path in ("/r", "/l"):
            assert bytes((client.get(path) if http2 else client.ask("GET", path, "origin.test")).body) == body
    p.wait_closed()
    got = until(lambda: (lambda k: k if k.count(chunk + ":last") == 2 else None)(kinds(p, found, chunk, "response_trailers")), 10, "both bodies")
    assert got in ([found, chunk, kind, chunk + ":last", "response_trailers", found, kind, chunk + ":last"],
                   [found, chunk, kind, chunk + ":last", "response_trailers", found, chunk, kind, chunk + ":last"])
