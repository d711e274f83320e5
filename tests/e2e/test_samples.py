# SPDX-License-Identifier: MPL-2.0
"""`payload: sample:N` of what decoders find: each sink sees its own N bytes of each message, secrets are hidden at any cut, and memory is for N."""
import hashlib
import json
import random

import pytest
from websockets.exceptions import ConnectionClosed

from harness.eventlog import EventLog
from harness.grpc_peers import Channel, GrpcServer
from harness.modules import module_metric
from harness.origin import reply
from harness.timing import scaled, until
from harness.websocket import echo
from test_payload import value
from test_slow_sink import Peak
from test_websocket import client, frame

DECODERS = [{"module": "content_decode"}, {"module": "sse"}, {"module": "ndjson"}, {"module": "grpc"}, {"module": "ws"}]
MIB = 1 << 20
SECRET = "s3cr3t \\\" \\\\ of the client"
SIZES = (1, 5, 64, 300)


def sink(tmp_path, payload, **top):
    name = payload.replace(":", "-")
    return {"module": "sink_file", "name": name, "payload": payload, "config": {"path": str(tmp_path / f"{name}.jsonl"), "flush_every": 1}} | top


def data(tmp_path, payload, kind, count):
    """The data of these events in that sink's log, when they are there."""
    log = EventLog(tmp_path / f"{payload.replace(':', '-')}.jsonl")
    events = until(lambda: (lambda e: e if len(e) >= count else None)(log.find(kind)), 10, lambda: f"{count} {kind}; have {[e.kind for e in log.events()]}")
    return [value(e, "data") for e in events]


def messages():
    """JSON with secrets, so long and so made that the sizes cut keys, values and escapes in them."""
    rng = random.Random(11)
    made = []
    for n in range(40):
        fields = [f'"user{n}":"{"x" * rng.randrange(0, 60)}"', f'"password" : "{SECRET * rng.randrange(1, 3)}"', f'"api_key":[{{"a":"{SECRET}"}}, 7]',
                  f'"last":"{"y" * rng.randrange(0, 300)}"']
        rng.shuffle(fields)
        made.append("{" + ", ".join(fields) + "}")
    return made


@pytest.fixture
def watching(proxy, tmp_path):
    def start(*payloads, **settings):
        return proxy(extra_modules=DECODERS + [sink(tmp_path, payload) for payload in payloads], **settings)
    return start


def test_each_sink_sees_its_own_beginning(watching, origin, serving, authority, tmp_path):
    """Of WebSocket messages, of server-sent events, of records, of gRPC messages: what a sink with `full` sees, cut."""
    said = messages()
    stream = "".join(f"id: {n}\ndata: {text}\n\n" for n, text in enumerate(said)).encode()
    records = "".join(text + "\n" for text in said).encode()
    server = origin(routes={"/sse": lambda wire, _: wire.send(reply(body=stream, fields=[("Content-Type", "text/event-stream")])),
                            "/records": lambda wire, _: wire.send(reply(body=records, fields=[("Content-Type", "application/x-ndjson")]))})
    p = watching("full", *(f"sample:{n}" for n in SIZES), redact_keys=["password", "api_key"])
    with p.client().connect(f"origin.test:{server.port}") as http:
        assert http.ask("GET", "/sse", "origin.test").body == stream
        assert http.ask("GET", "/records", "origin.test").body == records
    with client(p, serving(echo).port) as ws:
        for text in said:
            ws.send(text)
            assert ws.recv(timeout=scaled(10)) == text
    p.wait_closed(2)
    calls = GrpcServer(authority.leaf("origin.test"))
    try:
        with Channel(p, calls.port) as channel:
            assert list(channel.bidi(iter([text.encode() for text in said]))) == [text.encode().upper() for text in said]
    finally:
        calls.close()
    for kind, count in (("sse_event", len(said)), ("stream_record", len(said)), ("ws_message", 2 * len(said)), ("grpc_message", 2 * len(said))):
        full = data(tmp_path, "full", kind, count)
        assert len(full) == count and not any(b"s3cr3t" in text.lower() for text in full)
        assert all(b"password" in text.lower() and b'" : "***' in text for text in full)
        for size in SIZES:
            assert data(tmp_path, f"sample:{size}", kind, count) == [text[:size] for text in full], (kind, size)
    assert all(value(e, "data") is None for e in p.events())


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_large_websocket_message_costs_what_is_wanted_of_it(watching, serving, tmp_path, compression):
    """15 MiB each way, in one message each: the proxy grows by what it takes to relay, and the log has 64 bytes of each."""
    digests, size = [], 15 * MIB
    content = random.Random(5).randbytes(MIB) * 15 if compression is None else b"all the same words again and again. " * (size // 36)

    def keep(peer):
        for message in peer:
            digests.append(hashlib.sha256(message).hexdigest())
            peer.send(message)

    p = watching("sample:64")
    server = serving(keep, max_size=None, compression=compression)
    with client(p, server.port, max_size=None, compression=compression) as ws:
        ws.send(b"warm")
        assert ws.recv(timeout=scaled(10)) == b"warm"
        with Peak(p.process.pid) as memory:
            for _ in range(2):
                ws.send(content)
                assert ws.recv(timeout=scaled(60)) == content
    p.closed_as("websocket_completed")
    assert digests[1:] == [hashlib.sha256(content).hexdigest()] * 2
    assert data(tmp_path, "sample:64", "ws_message", 6) == [b"warm"] * 2 + [content[:64]] * 4
    if not p.is_sanitized():
        assert memory.growth < 8 * MIB, f"{memory.growth >> 20} MiB more"


def test_a_large_event_and_record_cost_what_is_wanted_of_them(proxy, origin, tmp_path):
    """The limits of what they may have are high, what is kept is small."""
    size = 24 * MIB
    pieces = [b"data: " + b"x" * 65000 + b"\n"] * (size // 65000)
    record = b'["' + b"y" * size + b'"]\n'
    server = origin(routes={"/sse": lambda wire, _: wire.send(reply(body=b"".join(pieces) + b"\n", fields=[("Content-Type", "text/event-stream")])),
                            "/record": lambda wire, _: wire.send(reply(body=record, fields=[("Content-Type", "application/jsonl")]))})
    p = proxy(extra_modules=[{"module": "sse", "config": {"max_event_bytes": "64M"}}, {"module": "ndjson", "config": {"max_record_bytes": "64M"}},
                             sink(tmp_path, "sample:64", events=["stream"])])
    with p.client(seconds=scaled(60)).connect(f"origin.test:{server.port}") as http:
        http.ask("GET", "/hello", "origin.test")
        with Peak(p.process.pid) as memory:
            for path in ("/sse", "/record"):
                assert len(http.ask("GET", path, "origin.test").body) > 23 * MIB
    p.wait_closed()
    assert data(tmp_path, "sample:64", "sse_event", 1) == [b"x" * 64]
    assert data(tmp_path, "sample:64", "stream_record", 1) == [b'["' + b"y" * 62]
    if not p.is_sanitized():
        assert memory.growth < 8 * MIB, f"{memory.growth >> 20} MiB more"


@pytest.mark.parametrize("events", [["stream_closed"], ["ws_closed", "stream_closed"], ["ws_frame", "stream_closed"], ["ws_message", "stream_closed"],
                                    ["stream", "stream_closed"], ["tls"]])
def test_a_broken_text_is_told_whoever_listens(proxy, origin, events):
    """What is said of the end does not depend on whether somebody listens to messages, and what is counted not on whether anybody does."""
    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + frame(0x81, b"\xc3("))
        wire.exactly(8)
        wire.send(frame(0x88, b"\x03\xe8"))
        return False

    server, p = origin(routes={"/talk": upgrade}), proxy(extra_modules=[{"module": "ws"}], sink_top={"events": events})
    p.checks["complete"] = False
    with p.client().connect(f"origin.test:{server.port}") as raw:
        assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
        assert raw.exactly(4) == frame(0x81, b"\xc3(")
        raw.send(frame(0x88, b"\x03\xe8", b"abcd"))
        assert raw.exactly(4) == frame(0x88, b"\x03\xe8")
    p.wait_metric('soth_flows_closed_total{reason_code="websocket_error"}', 1)
    assert module_metric(p, "soth_ws_violations_total") == 1
    if "stream_closed" not in events:
        return
    closed = p.wait_closed()[0]
    assert (closed.at("reason_code"), closed.at("reason_detail")) == ("websocket_error", "invalid_utf8")
    for event in p.events():
        if event.kind in ("ws_closed", "ws_message"):
            assert event.at("violation") == "invalid_utf8"
