# SPDX-License-Identifier: MPL-2.0
"""Event streams: each event is told while the stream runs, coded or not; what is relayed is what was sent."""
import subprocess
import zlib

import pytest

from harness.modules import build_module, metrics
from harness.origin import reply
from harness.streams import Coder, Paced, coded, gzip_bomb
from harness.timing import scaled, span, until
from harness.tools import clean_env, need
from harness.wire import Cut

CODINGS = ["", "gzip", "deflate", "raw-deflate", "br", "zstd", "gzip, br"]
DECODE, SSE = {"module": "content_decode"}, {"module": "sse"}


def tokens(n):
    return [b'id: %d\nevent: token\ndata: {"delta": "word %d"}\n\n' % (i, i) for i in range(1, n + 1)]


def told(p, n, seconds=10, **wanted):
    """The sse_events so far, when there are n of them."""
    return until(lambda: (lambda e: e if len(e) >= n else None)(p.log.find("sse_event", **wanted)), seconds,
                 lambda: f"{n} sse_events; have {[(e.kind, e.attrs) for e in p.events()][-6:]}")


@pytest.fixture
def streaming(proxy):
    def start(*more, decode=None, sse=None, **settings):
        return proxy(extra_modules=[DECODE | {"config": decode or {}}, SSE | {"config": sse or {}}, *more], **settings)
    return start


def curl(p, url, *args):
    return subprocess.Popen([need("curl"), "-sN", "--proxy", p.url, "--cacert", str(p.ca_path), *args, url], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=clean_env())


def raw_pipe_read(process, n):
    data = b""
    while len(data) < n:
        piece = process.stdout.read1(65536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_is_told_as_it_happens(streaming, origin, coding):
    pieces = tokens(5)
    route = Paced(pieces, coding)
    server, p = origin(tls=True, routes={"/events": route}), streaming()
    client = curl(p, f"https://origin.test:{server.port}/events")
    expected, coder = b"", Coder(coding)
    for number, piece in enumerate(pieces, 1):
        route.go()
        event = told(p, number)[-1]
        assert (event.at("sequence_no"), event.at("id"), event.at("event"), event.at("data_line_count")) == (str(number), str(number), "token", "1")
        assert event["protocol"] == "sse" and event.at("data") is None
        wire = coder.put(piece)
        expected += wire
        assert raw_pipe_read(client, len(wire)) == wire, "the client has it, too"
        assert len(p.log.find("sse_event")) == number, "and no other before its time"
    route.go()
    rest = coder.end()
    assert client.communicate(timeout=scaled(20))[0] == rest
    assert client.returncode == 0
    closed = p.wait_closed()[0]
    assert closed["protocol"] == "sse" and closed.at("reason_code") == "mitm_http_completed"
    chunks = p.log.find("response_body_chunk")
    assert {e["protocol"] for e in chunks} == {"http1"}
    assert sum(int(e.at("bytes")) for e in chunks) == len(expected + rest)
    if coding:
        assert sum(int(e.at("decoded_bytes") or 0) for e in chunks) == sum(map(len, pieces))


def test_the_console_shows_them(streaming, origin):
    """What an operator sees with the shipped console sink."""
    route = Paced(tokens(2), "gzip")
    server, p = origin(routes={"/e": route}), streaming({"module": "sink_console"})
    client = curl(p, f"http://origin.test:{server.port}/e")
    for number in (1, 2):
        route.go()
        until(lambda number=number: (p.folder / "stdout").read_text().count("sse_event") == number or None, 10,
              lambda: (p.folder / "stdout").read_text())
    route.go()
    client.communicate(timeout=scaled(20))


def test_payload_on_demand(streaming, origin, tmp_path):
    from harness.eventlog import EventLog
    pieces = [b"data: one\ndata: two\n\n", b"data: three"]
    more = {"module": "sink_file", "name": "full", "payload": "full", "config": {"path": str(tmp_path / "full.jsonl"), "flush_every": 1}}
    route = Paced(pieces, "br")
    server, p = origin(routes={"/e": route}), streaming(more)
    route.go(3)
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/e", "origin.test").body == coded_as_sent("br", pieces)
    p.wait_closed()
    full = EventLog(tmp_path / "full.jsonl")
    events = until(lambda: (lambda e: e if len(e) == 2 else None)(full.find("sse_event")), 10, "two events")
    assert [e.at("data") for e in events] == ["one\ntwo", "three"]
    assert [e.at("partial") for e in events] == [None, "true"]
    assert all(e.at("data") is None for e in p.log.find("sse_event"))


def coded_as_sent(coding, pieces):
    coder = Coder(coding)
    return b"".join(coder.put(x) for x in pieces) + coder.end()


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_stream_that_is_cut(streaming, origin, coding):
    route = Paced([b"data: a\n\n", b"id: 4\ndata: half"], coding, cut=True)
    server, p = origin(routes={"/e": route}), streaming()
    route.go(3)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut):
            client.response("GET")
    events = told(p, 2)
    assert [(e.at("sequence_no"), e.at("partial")) for e in events] == [("1", None), ("2", "true")]
    assert p.wait_closed()[0].at("reason_detail") == "origin_truncated"
    assert p.log.find("decoder_stage_failed") == []


def test_a_client_that_leaves(streaming, origin):
    route = Paced([b"data: a\n\n", b"data: b\n\n"])
    server, p = origin(routes={"/e": route}), streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        route.go()
        told(p, 1)
    p.closed_as("client_aborted", "sse")
    route.go(9)


def test_a_stream_that_falls_silent(streaming, origin):
    route = Paced([b"data: a\n\n", b"data: b\n\n"])
    server, p = origin(routes={"/e": route}), streaming(idle_timeout=span(1))
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        route.go()
        with pytest.raises(Cut):
            client.response("GET")
    p.closed_as("idle_watchdog_timeout", "sse")
    route.go(9)


def test_the_next_exchange_is_http_again(streaming, origin):
    route = Paced([b"data: a\n\n"])
    route.go(9)
    server, p = origin(routes={"/e": route}), streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/e", "origin.test")
        client.ask("GET", "/hello", "origin.test")
    closed = p.wait_closed()[0]
    assert closed["protocol"] == "http1" and [e["protocol"] for e in p.log.find("sse_event")] == ["sse"]


@pytest.mark.parametrize("method,status", [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")])
def test_a_head_without_a_body_is_no_stream(streaming, origin, method, status):
    head = b"HTTP/1.1 %s\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n" % status
    server, p = origin(routes={"/e": lambda wire, request: wire.send(head)}), streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask(method, "/e", "origin.test").status == int(status[:3])
    assert p.wait_closed()[0]["protocol"] == "http1"
    assert p.log.find("sse_event") == [] and p.log.find("decoder_stage_failed") == []


@pytest.mark.parametrize("on_overflow", ["detach", "close"])
def test_an_event_without_end(streaming, origin, on_overflow):
    body = b"data: a\n\ndata: " + b"x" * 100000 + b"\n\ndata: b\n\n"
    server = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Type", "text/event-stream")]))})
    p = streaming(sse={"max_event_bytes": "64k", "on_overflow": on_overflow})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        if on_overflow == "detach":
            assert client.response("GET").body == body
        else:
            with pytest.raises(Cut):
                client.response("GET")
    event = p.wait_event("decoder_stage_failed")
    assert (event.at("failure_code"), event.at("action")) == ("max_event_bytes", "detached" if on_overflow == "detach" else "closed")
    assert (event.at("stage"), event.at("module"), event["protocol"]) == ("protocol_frame_parse", "sse", "sse")
    assert len(told(p, 1)) == 1
    p.wait_closed()


def test_bad_traffic_does_not_switch_the_module_off(streaming, origin):
    """However often: it is the traffic that is at fault."""
    bad = reply(body=b"no gzip", fields=[("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")])
    good = reply(body=coded("gzip", b"data: a\n\n"), fields=[("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")])
    server = origin(routes={"/bad": lambda wire, request: wire.send(bad), "/good": lambda wire, request: wire.send(good)})
    p = streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(40):
            assert client.ask("GET", "/bad", "origin.test").body == b"no gzip"
        client.ask("GET", "/good", "origin.test")
    p.wait_closed()
    assert len(told(p, 1)) == 1
    codes = [(e.at("module"), e.at("failure_code")) for e in p.log.find("decoder_stage_failed")]
    assert codes == [("content_decode", "wrong_coding"), ("sse", "undecoded")] * 40
    assert p.log.find("module_fault") == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_failure_says_where_it_was(streaming, origin, coding):
    plain = b"data: a\n\n" * 100
    good = coded(coding, plain)
    fields = [("Content-Type", "text/event-stream"), ("Content-Encoding", coding)]
    server = origin(routes={"/e": lambda wire, request: wire.send(reply(body=good + b"something else", fields=fields))})
    p = streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/e", "origin.test").body == good + b"something else"
    p.wait_closed()
    event = p.log.find("decoder_stage_failed", module="content_decode")[0]
    assert event.at("failure_code") == "trailing_garbage"
    assert (int(event.at("bytes_in")), int(event.at("bytes_out"))) == (len(good), len(plain))
    assert len(told(p, 100)) == 100


@pytest.mark.parametrize("coding", ["compress", "gzip, unknown"])
def test_a_coding_that_nobody_knows(streaming, origin, coding):
    body = b"data: not what it seems\n\n"
    fields = [("Content-Type", "text/event-stream"), ("Content-Encoding", coding)]
    server, p = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=fields))}), streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/e", "origin.test").body == body
    p.wait_closed()
    assert p.log.find("sse_event") == [] and p.log.find("decoder_stage_failed") == []


def test_without_content_decode_coded_streams_are_left_alone(proxy, origin):
    body = coded("gzip", b"data: a\n\n")
    fields = [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")]
    server, p = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=fields))}), proxy(extra_modules=[SSE])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/e", "origin.test").body == body
    p.wait_closed()
    assert p.log.find("sse_event") == []


@pytest.mark.parametrize("coding", ["", "gzip", "br"])
def test_a_policy_holds_events_back(proxy, origin, tmp_path, coding):
    """Not a byte of a blocked event reaches the client."""
    pieces = [b"data: fine\n\n", b"data: also\n\ndata: BLOCK me\n\n", b"data: never\n\n"]
    route = Paced(pieces, coding)
    route.go(9)
    server = origin(routes={"/e": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[DECODE, SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut) as cut:
            client.response("GET")
    assert cut.value.data is not None
    decision = p.wait_event("frame_decision")
    assert (decision.at("action"), decision.at("rule_id"), decision["protocol"]) == ("block", "bad-frame", "sse")
    assert p.wait_closed()[0].at("reason_code") == "blocked"
    assert len(p.log.find("sse_event")) == 3


def relayed(client, n):
    """The chunks that come, until they have n bytes."""
    got = b""
    while len(got) < n:
        got += client.exactly(int(client.until(b"\r\n"), 16) + 2)[:-2]
    return got


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_policy_does_not_hold_back_what_is_no_event(proxy, origin, tmp_path, coding):
    """Comments that keep the connection alive, and all of an event's last line end: clients wait for it."""
    pieces = [b": here\r\n\r\n", b"data: a\r\n\r\n", b"data: b\r\n\r", b"\n", b": still\n\n"]
    route = Paced(pieces, coding)
    server = origin(routes={"/e": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[DECODE, SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        decoder = zlib.decompressobj(31)
        for piece in pieces:
            route.go()
            got = b""
            while len(got) < len(piece):
                data = client.exactly(int(client.until(b"\r\n"), 16) + 2)[:-2]
                got += decoder.decompress(data) if coding else data
            assert got == piece
        route.go()
    p.wait_closed()
    assert len(p.log.find("sse_event")) == 2


@pytest.mark.parametrize("between", [b": keep-alive\n\n", b"id: 1\n\n", b"\n"], ids=["comment", "fields", "empty"])
def test_however_much_comes_between_events_the_next_is_judged(proxy, origin, tmp_path, between):
    """More than may be held back in one burst is no event that cannot be judged: nothing of it waits."""
    body = between * (80000 // len(between)) + b"data: BLOCK\n\n"
    server = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Type", "text/event-stream")]))})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        assert b"BLOCK" not in client.rest()
    assert p.wait_closed()[0].at("reason_code") == "blocked"
    assert p.log.find("decoder_stage_failed") == []


def test_what_comes_before_half_an_event_waits_for_nobody(proxy, origin, tmp_path):
    route = Paced([b": ping\n\nid: 4\n\ndata: ha", b"lf\n\n: more\n\n\r\n: not yet\n"], "")
    server = origin(routes={"/e": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        for expected in (b": ping\n\nid: 4\n\n", b"data: half\n\n: more\n\n\r\n", b": not yet\n"):
            route.go()
            assert relayed(client, len(expected)) == expected
    p.wait_closed()


@pytest.mark.parametrize("rest", [b"data: BLOCK", b"data: a\ndata: BLOCK\n", b"data: BLOCK\nid: 4", b"event: x\ndata: BLOCK\r"],
                         ids=["line", "lines", "field", "cr"])
def test_an_event_that_the_end_cuts_is_judged(proxy, origin, tmp_path, rest):
    body = b"data: fine\n\n: c\n\n" + rest
    server = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Type", "text/event-stream")]))})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        assert client.rest() in (b"", b"data: fine\n\n: c\n\n")
    assert p.wait_closed()[0].at("reason_code") == "blocked"
    assert p.log.find("sse_event")[-1].at("partial") == "true"


@pytest.mark.parametrize("on_overflow", ["detach", "close"])
def test_events_that_cannot_be_judged(proxy, origin, tmp_path, on_overflow):
    """Longer than what may be held back: on_overflow decides. However many there are, the next short one is judged."""
    long = b"data: " + b"x" * 70000 + b"\n\n"
    routes = {path: lambda wire, request, body=body: wire.send(reply(body=body, fields=[("Content-Type", "text/event-stream")]))
              for path, body in (("/long", long), ("/bad", b"data: BLOCK\n\n"))}
    server = origin(routes=routes)
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"),
              extra_modules=[DECODE, SSE | {"config": {"on_overflow": on_overflow}}, {"module": "frames"}])
    for path in ["/long"] * 20 + ["/bad"]:
        with p.client().connect(f"origin.test:{server.port}") as client:
            client.send(b"GET %s HTTP/1.1\r\nHost: origin.test\r\n\r\n" % path.encode())
            if path == "/long" and on_overflow == "detach":
                assert client.response("GET").body == long
            else:
                with pytest.raises((Cut, ConnectionError)):
                    assert b"BLOCK" not in client.response("GET").body
    p.wait_closed(21)
    failures = {(e.at("failure_code"), e.at("action")) for e in p.log.find("decoder_stage_failed")}
    assert failures == {("window", "detached" if on_overflow == "detach" else "closed")}
    assert ("limits of sse passes without its verdict" in p.stderr()) == (on_overflow == "detach")
    assert p.log.find("frame_decision")[-1].at("action") == "block"
    assert p.log.find("module_fault") == []


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("piece", [1000, 30000, 65536, 80000])
def test_an_event_that_cannot_be_judged_is_told_the_same_however_it_comes(proxy, origin, tmp_path, coding, piece):
    """The place is the first byte beyond the limit; neither the event nor a part of it is told: the stream goes on."""
    body = b"data: ok\n\n" + b"id: 7\ndata: " + b"x" * 70000 + b"\n\ndata: y\n\n"
    route = Paced([body[at:at + piece] for at in range(0, len(body), piece)], coding)
    route.go(100)
    server = origin(routes={"/e": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[DECODE, SSE, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        got = client.response("GET").body
        assert (zlib.decompress(got, 31) if coding else got) == body
    p.wait_closed()
    assert [(e.at("failure_code"), e.at("bytes_in"), e.at("bytes_out")) for e in p.log.find("decoder_stage_failed")] == [("window", "65546", "65546")]
    assert [e.at("sequence_no") for e in p.log.find("sse_event")] == ["1"]


@pytest.mark.slow
def test_a_bomb_of_ten_gigabytes(streaming, origin):
    """The client gets its bytes, memory does not move, the event says why nobody looks on any more."""
    bomb = gzip_bomb(10_000_000_000)
    fields = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    server = origin(routes={"/bomb": lambda wire, request: wire.send(reply(body=bomb, fields=fields)),
                            "/small": lambda wire, request: wire.send(reply(body=coded("gzip", b"{}"), fields=fields))})
    p = streaming(decode={"always": True})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/small", "origin.test")
        before, cpu = p.resident(), sum(map(int, open(f"/proc/{p.process.pid}/stat", encoding="ascii").read().split()[13:15]))
        assert client.ask("GET", "/bomb", "origin.test").body == bomb
        after, used = p.resident(), sum(map(int, open(f"/proc/{p.process.pid}/stat", encoding="ascii").read().split()[13:15])) - cpu
        client.ask("GET", "/small", "origin.test")
    event = p.wait_event("decoder_stage_failed")
    assert event.at("failure_code") in ("max_ratio", "max_bytes") and event.at("action") == "detached"
    assert int(event.at("bytes_out")) <= 256 << 20
    if not p.is_sanitized():
        assert after - before < 4 << 20, f"{after - before} bytes more"
        assert used < 300, f"{used} ticks"
    p.wait_closed()
    assert zlib.decompress(coded("gzip", b"{}"), 31) == b"{}" and metrics(p)


def test_truncated_coding_is_told_and_events_before_it_stand(streaming, origin):
    body = coded("gzip", b"data: a\n\ndata: b\n\n")[:-4]
    fields = [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")]
    server, p = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=fields))}), streaming()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/e", "origin.test").body == body
    p.wait_closed()
    assert len(told(p, 2)) == 2
    failed = [(e.at("module"), e.at("failure_code")) for e in p.log.find("decoder_stage_failed")]
    assert failed == [("content_decode", "truncated"), ("sse", "undecoded")]
