# SPDX-License-Identifier: MPL-2.0
"""Where decoders end: those that fail or give up, frames that are blocked or kept waiting, clients that leave, and what that does to the rest."""
import gzip
import threading
import time
import zlib

import pytest

from harness.modules import build_module, metrics, module_metric
from harness.origin import reply
from harness.timing import Stopwatch, scaled, until

HOST = "origin.test"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    for source in ("lines.c", "transform.c"):
        build_module(folder, source)
    return build_module(folder, "frames.c")


@pytest.fixture
def decoding(proxy, built):
    """decoding(transform={...}, lines={...}, frames={...}) starts a proxy with these modules; top={...}: on_error and the like of all."""
    def start(top=None, settings=None, **modules):
        return proxy(modules_dir=built, extra_modules=[{"module": m, "config": c} | (top or {}) for m, c in modules.items()], **(settings or {}))
    return start


def lines_of(*pieces, wait=None):
    """A route: a chunked text/plain response whose pieces go out one by one; wait(i) is called before piece i."""
    def route(wire, _request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i, piece in enumerate(pieces):
            if wait:
                wait(i)
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.send(b"0\r\n\r\n")
    return route


def fixed(body, content_type="text/plain"):
    return lambda wire, request: wire.send(reply(body=b"" if request.head.method == "HEAD" else body, fields=[("Content-Type", content_type)]))


# ---- TRANSFORM

def test_messages_without_a_body(decoding, origin):
    server, p = origin(routes={"/cats": fixed(b"cat")}), decoding(transform={})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        for method, path, status in (("HEAD", "/cats", 200), ("GET", "/status/204", 204), ("GET", "/status/304", 304), ("GET", "/cats", 200)):
            assert client.ask(method, path, HOST).status == status
        client.send(b"POST /cats HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 0\r\n\r\n")
        assert client.response().body == b"tiger"
    p.closed_as("mitm_http_completed")


@pytest.mark.parametrize("top,changed", [({}, False), ({}, True), ({"on_error": "closed"}, False)])
def test_a_transform_that_fails(decoding, origin, top, changed):
    body = b"x" * 500 + (b"cat" if changed else b"cow") + b"y" * 1000
    server = origin(routes={"/r": fixed(body)})
    p = decoding(top=top, transform={"fail_after": 1000})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        if changed or top:
            client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            got = client.rest()
            assert b"0\r\n\r\n" not in got  # nobody takes it for whole
        else:
            assert client.ask("GET", "/r", HOST).body == body
            assert client.ask("GET", "/hello", HOST).body == b"hello\n"
    p.wait_closed()
    failed = p.log.find("decoder_stage_failed")
    assert len(failed) == 1 and failed[0].at("module") == "transform" and failed[0].at("stage") == "payload_sanitize"
    assert failed[0].at("action") == ("closed" if changed or top else "detached") and failed[0].at("exchange_no") == "1"


def test_after_too_many_failures_it_is_left_alone(decoding, origin):
    server = origin(routes={"/r": fixed(b"cow" * 100)})
    p = decoding(transform={"fail_after": 10}, settings={"workers": 1})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        for _ in range(20):
            assert client.ask("GET", "/r", HOST).body == b"cow" * 100
    p.closed_as("mitm_http_completed")
    assert len(p.log.find("decoder_stage_failed")) == 16
    faults = [e.at("detail") for e in p.log.find("module_fault")]
    assert faults == ["invalid", "failed too often and is not called any more"]


@pytest.mark.parametrize("framing", ["until close", "length", "chunked"])
@pytest.mark.parametrize("how", [{"busy_every": 2}, {"pause_every": 2, "deadline": "50ms"}])
def test_an_origin_that_ends_while_a_transform_waits(decoding, origin, framing, how):
    """Its last bytes and its end come in one piece, and the decoder takes its time with them."""
    body = b"0123456789" * 3000
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    if framing == "length":
        whole = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    elif framing == "chunked":
        whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        whole = head + b"\r\n" + body

    def end(wire, _request):
        wire.send(whole)
        return False

    server, p = origin(routes={"/end": end}), decoding(transform={"from": "never"} | how)
    for _ in range(3):
        with p.client().connect(f"{HOST}:{server.port}") as client:
            assert client.ask("GET", "/end", HOST).body == body
    assert all(e.at("reason_code") == "mitm_http_completed" for e in p.wait_closed(3))


@pytest.mark.parametrize("tls", [False, True])
def test_a_body_that_ends_with_its_connection_has_an_end_for_decoders(proxy, origin, tls):
    """What waits for more bytes hears that none come: a transform lets go of what it held, a record without line end is one, a coding was cut."""
    held, records, cut = b")]}'", b'{"a":1}\n{"b":2}', gzip.compress(b"data: a\n\n")[:-4]
    routes = {"/held": ("application/json", "", held), "/records": ("application/x-ndjson", "", records), "/cut": ("text/event-stream", "gzip", cut)}

    def route(content_type, coding, body):
        def send(wire, _request):
            fields = f"Content-Type: {content_type}\r\n" + (f"Content-Encoding: {coding}\r\n" if coding else "")
            wire.send(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + body)
            return False
        return send

    server = origin(tls=tls, routes={path: route(*what) for path, what in routes.items()})
    p = proxy(extra_modules=[{"module": "content_decode"}, {"module": "sse"}, {"module": "ndjson"}, {"module": "antihijack", "config": {"rewrite": True}}])
    for path, (_, _, body) in routes.items():
        with p.https(HOST, server.port) if tls else p.client().connect(f"{HOST}:{server.port}") as client:
            assert client.ask("GET", path, HOST).body == body
    assert [e.at("reason_code") for e in p.wait_closed(3)] == ["mitm_http_completed"] * 3
    assert [e.at("record_len") for e in p.log.find("stream_record")] == ["7", "7"]
    failed = [(e.at("module"), e.at("failure_code")) for e in p.log.find("decoder_stage_failed")]
    assert failed == [("content_decode", "truncated"), ("sse", "undecoded")]


def in_two(body, at, content_type):
    def send(wire, _request):
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:at])
        time.sleep(0.1)
        wire.send(body[at:])
    return send


def test_half_a_record_in_a_coding_that_was_cut(proxy, origin):
    """The message is whole, its coding is not: what is left of a record is none. Two instances take the coding away once."""
    coder = zlib.compressobj(6, zlib.DEFLATED, 31)
    body = coder.compress(b"[1]\n[2") + coder.flush(zlib.Z_SYNC_FLUSH)
    server = origin(routes={"/r": in_two(body, 20, "application/x-ndjson")})
    p = proxy(extra_modules=[{"module": "content_decode"}, {"module": "content_decode", "name": "again"}, {"module": "ndjson"}])
    with p.client().connect(f"{HOST}:{server.port}") as client:
        assert client.ask("GET", "/r", HOST).body == body
    p.closed_as("mitm_http_completed")
    assert [e.at("record_len") for e in p.log.find("stream_record")] == ["3"]
    assert [e.at("failure_code") for e in p.log.find("decoder_stage_failed")] == ["truncated", "undecoded"]


@pytest.mark.parametrize("at", [5, 14, 20])
def test_a_limit_closes_whatever_the_timing(proxy, origin, at):
    body = gzip.compress(b'"' + b"abcdefgh" * 8 + b'"', mtime=0)
    server = origin(routes={"/j": in_two(body, at, "application/json")})
    p = proxy(extra_modules=[{"module": "content_decode", "config": {"max_bytes": 40, "on_overflow": "close"}}, {"module": "antihijack"}])
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(b"GET /j HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert body not in client.rest()
    p.closed_as("mitm_http_error", "decoder_stage_failed")
    failed, = p.log.find("decoder_stage_failed")
    assert (failed.at("failure_code"), failed.at("bytes_in"), failed.at("bytes_out")) == ("max_bytes", "22", "40")


@pytest.mark.parametrize("early", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("up,code,failures", [(b"no gzip at all, whatever the head says", "wrong_coding", 2),
                                              (gzip.compress(b"[" + b"1," * 99 + b"1]\n", mtime=0), "max_record_bytes", 1)], ids=["coding", "record"])
def test_a_request_that_cannot_be_read_blinds_nobody_to_its_response(proxy, origin, up, code, failures, early):
    """The response is decoded and read, and a policy judges it, whether its head comes before or after the request's fault."""
    down = gzip.compress(b"[1]\n[2]\n", mtime=0)
    head = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip")]

    def answer(wire):
        wire.head()
        response = reply(body=down, fields=head)
        n = len(response) - 10 if early else 0
        wire.send(response[:n])
        wire.exactly(len(up))
        wire.send(response[n:])

    server = origin(answer)
    p = proxy(extra_modules=[{"module": "content_decode"}, {"module": "ndjson", "config": {"max_record_bytes": "64"}}])
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(b"POST /r HTTP/1.1\r\nHost: origin.test\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(up))
        if early:
            client.head()
        client.send(up)
        if not early:
            client.head()
        assert client.exactly(len(down)) == down
    p.wait_closed()
    assert [(e.at("direction"), e.at("record_len")) for e in p.log.find("stream_record")] == [("server_to_client", "3")] * 2
    failed = p.log.find("decoder_stage_failed")
    assert failed[0].at("failure_code") == code and len(failed) == failures


# ---- TAP

def test_one_that_gives_up_lets_everything_pass(decoding, origin):
    text = b"short\n" + b"x" * 5000 + b"\nmore\n"
    server, p = origin(routes={"/t": lines_of(text)}), decoding(lines={"max_line": 100})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        assert client.ask("GET", "/t", HOST).body == text
        assert client.ask("GET", "/t", HOST).body == text
    p.closed_as("mitm_http_completed")
    assert [(e.at("failure_code"), e.at("action"), e.at("exchange_no")) for e in p.log.find("decoder_stage_failed")] == [
        ("limit", "detached", "1"), ("limit", "detached", "2")]


# ---- frames before a policy

def test_a_blocked_frame_is_not_relayed_and_those_before_it_are(decoding, origin):
    server = origin(tls=True, routes={"/t": lines_of(b"one\ntwo\nBLO", b"CK me\nthree\n")})
    p = decoding(lines={}, frames={})
    with p.https(HOST, server.port) as client:
        client.send(b"GET /t HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.head().status == 200
        got = client.rest()
    assert b"two\n" in got and b"BLO" not in got and b"0\r\n\r\n" not in got
    p.closed_as("blocked", "bad-frame")
    told = p.log.find("frame_decision")
    assert [(e.at("action"), e.at("direction"), e.at("rule_id"), e.at("policy_module")) for e in told] == [
        ("block", "server_to_client", "bad-frame", "frames")]


def test_a_blocked_frame_of_a_request_never_reaches_the_origin(decoding, origin):
    server, p = origin(), decoding(lines={}, frames={})
    body = b"fine\nBLOCK\nmore\n"
    with p.client().connect(f"{HOST}:{server.port}") as client:
        answer = client.ask("POST", "/echo", HOST, fields=[("Content-Type", "text/plain")], body=body)
        assert answer.status == 403
    p.closed_as("blocked", "bad-frame")
    assert not server.requests  # it was never complete
    assert p.log.find("frame_decision")[0].at("direction") == "client_to_server"


def test_a_frame_waits_for_its_verdict(decoding, origin):
    first = threading.Event()
    server = origin(routes={"/t": lines_of(b"one\n", b"WAIT\n", b"three\n", wait=lambda i: i == 1 and first.wait(scaled(10)))})
    p = decoding(lines={}, frames={"delay": "300ms"})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(b"GET /t HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.head().status == 200
        assert client.until(b"one\n\r\n")  # before the other one is even sent
        watch = Stopwatch()
        first.set()
        client.until(b"WAIT\n")
        assert watch.seconds >= 0.25
        assert client.until(b"three\n")
        assert client.until(b"0\r\n\r\n") == b"\r\n0\r\n\r\n"
    assert module_metric(p, "soth_frames_waited_total") == 1 and module_metric(p, "soth_frames_seen_total") == 3


@pytest.mark.parametrize("on_timeout", ["open", "closed"])
def test_a_deadline_decides(decoding, origin, on_timeout):
    server = origin(routes={"/t": lines_of(b"one\nFORGET\nthree\n")})
    p = decoding(lines={}, frames={"deadline": "100ms", "on_timeout": on_timeout})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(b"GET /t HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.head().status == 200
        got = client.until(b"0\r\n\r\n") if on_timeout == "open" else client.rest()
    assert (b"FORGET" in got) == (on_timeout == "open") and b"one\n" in got
    until(lambda: module_metric(p, "soth_frames_cancelled_total") == 1)


def test_many_frames_of_all_kinds(decoding, origin):
    words = [b"plain", b"WAIT", b"BUSY", b"#note", b"plain"]
    text = b"".join(b"%s %d\n" % (words[i % 5], i) for i in range(200))
    server = origin(tls=True, routes={"/t": lines_of(*[text[i:i + 61] for i in range(0, len(text), 61)])})
    p = decoding(lines={}, frames={"delay": "1ms"})
    with p.https(HOST, server.port) as client:
        assert client.ask("GET", "/t", HOST).body == text
        client.ask("POST", "/echo", HOST, fields=[("Content-Type", "text/plain")], body=text)
    assert server.requests[-1].body == text
    assert module_metric(p, "soth_frames_seen_total") == 320


def test_a_client_that_leaves_while_a_frame_waits(decoding, origin):
    server = origin(routes={"/t": lines_of(b"FORGET\n", b"more\n")})
    p = decoding(lines={}, frames={"deadline": "30s"})
    for i in range(5):
        client = p.client().connect(f"{HOST}:{server.port}")
        client.send(b"GET /t HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.head().status == 200
        until(lambda n=i + 1: module_metric(p, "soth_frames_waited_total") == n)
        client.reset()
    until(lambda: module_metric(p, "soth_frames_cancelled_total") == 5)
    p.wait_closed(5)


def test_behind_a_transform_frames_are_what_it_makes(decoding, origin):
    server = origin(routes={"/t": lines_of(b"a cat\nBLOCK\n")})
    p = decoding(lines={}, frames={"block": "tiger"}, transform={})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.send(b"GET /t HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.head().status == 200
        assert b"tiger" not in client.rest()
    p.closed_as("blocked", "bad-frame")


# ---- after a 101

def upgrade(after):
    def route(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Type: text/plain\r\n\r\n")
        after(wire)
        return False
    return route


def ask_upgrade(client):
    answer = client.ask("GET", "/up", HOST, [("Upgrade", "x"), ("Connection", "Upgrade")])
    assert answer.status == 101
    return client


@pytest.mark.parametrize("tls", [True, False])
def test_both_directions_after_a_101(decoding, origin, tls):
    def talk(wire):
        wire.send(b"hello\n")
        assert wire.until(b"\n") == b"WAIT there\n"
        wire.send(b"and ")
        wire.send(b"bye\nlast")
        wire.finish() if not tls else None

    server = origin(tls=tls, routes={"/up": upgrade(talk)})
    p = decoding(lines={}, frames={"delay": "50ms"})
    with p.https(HOST, server.port) if tls else p.client().connect(f"{HOST}:{server.port}") as client:
        ask_upgrade(client)
        assert client.until(b"hello\n")
        client.send(b"WAIT th")
        client.send(b"ere\n")
        assert client.rest() == b"and bye\nlast"
    assert not server.errors
    p.wait_closed()
    assert module_metric(p, "soth_lines_lines_total") == 4 and module_metric(p, "soth_frames_seen_total") == 4


def test_a_blocked_frame_ends_both_directions(decoding, origin):
    got = []
    server = origin(routes={"/up": upgrade(lambda wire: got.append(wire.rest()))})
    p = decoding(lines={}, frames={})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        ask_upgrade(client)
        client.send(b"fine\nBLOCK\nmore\n")
        assert client.ended()
    p.closed_as("blocked", "bad-frame")
    until(lambda: got or server.errors)
    assert got in ([], [b"fine\n"])


def cpu(p):
    with open(f"/proc/{p.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_who_fails_in_one_direction_lets_go_in_the_other(decoding, origin):
    """Half a frame is held on its way up; then the decoder gives up on the way down."""
    half, go = threading.Event(), threading.Event()

    def talk(wire):
        go.wait(scaled(10))
        wire.send(b"x" * 500 + b"\n")
        if wire.exactly(4) == b"half":
            half.set()
        wire.until(b"!")

    server = origin(routes={"/up": upgrade(talk)})
    p = decoding(lines={"max_line": 100}, frames={}, settings={"workers": 1})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        ask_upgrade(client)
        client.send(b"half")
        time.sleep(0.2)
        go.set()
        assert client.exactly(501)
        assert half.wait(scaled(10)), "the half frame stays"
        before = cpu(p)
        time.sleep(0.5)
        assert cpu(p) - before < 10, "it spins"
        client.send(b"!")
    p.wait_closed()


def test_numbers_of_decoders(decoding, origin):
    server, p = origin(routes={"/t": fixed(b"one\ntwo\n")}), decoding(lines={})
    with p.client().connect(f"{HOST}:{server.port}") as client:
        client.ask("GET", "/t", HOST)
    p.wait_closed()
    numbers = {name: value for (name, labels), value in metrics(p).items() if 'instance="lines"' in labels}
    assert numbers["soth_decoder_bytes_in_total"] == numbers["soth_decoder_bytes_out_total"] == 8
    assert numbers["soth_decoder_calls_total"] >= 1 and numbers["soth_decoder_failures_total"] == 0
