# SPDX-License-Identifier: MPL-2.0
"""Streams of records: each is told while the stream runs; bodies of other kinds yield sizes and nothing else."""
import json
import socket
import struct

import pytest

from harness.modules import build_module
from harness.origin import reply
from harness.streams import Coder, Paced, coded
from harness.timing import until
from harness.wire import Cut, Wire

DECODERS = [{"module": "content_decode"}, {"module": "sse"}, {"module": "ndjson"}, {"module": "antihijack"}]
RECORDS = [json.dumps({"n": n, "text": "x" * n}).encode() for n in range(1, 6)]


def records(p, n):
    return until(lambda: (lambda e: e if len(e) == n else None)(p.log.find("stream_record")), 10,
                 lambda: f"{n} records; have {[(e.kind, e.attrs) for e in p.events()][-8:]}")


@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd"])
@pytest.mark.parametrize("content_type,before,after", [("application/x-ndjson", b"", b"\n"), ("application/jsonl", b"", b"\r\n"),
                                                       ("application/json-seq", b"\x1e", b"\n"), ("application/concatenated-json", b"", b"")])
def test_each_record_is_told_as_it_happens(proxy, origin, coding, content_type, before, after):
    route = Paced([before + r + after for r in RECORDS], coding, content_type)
    server, p = origin(tls=True, routes={"/r": route}), proxy(extra_modules=DECODERS)
    with p.https("origin.test", server.port) as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        for number, record in enumerate(RECORDS, 1):
            route.go()
            event = records(p, number)[-1]
            assert event.attrs == {"direction": "server_to_client", "exchange_no": "1", "record_len": str(len(record)), "sequence_no": str(number)}
            assert event["protocol"] == "streamable_http"
        route.go()
        coder = Coder(coding)
        sent = b"".join(coder.put(before + r + after) for r in RECORDS) + coder.end()
        assert client.response("GET").body == sent
    assert p.wait_closed()[0]["protocol"] == "streamable_http"


def test_uploads_are_told_too(proxy, origin):
    server, p = origin(), proxy(extra_modules=DECODERS)
    body = b"\n".join(RECORDS)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("POST", "/echo", "origin.test", [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip")], coded("gzip", body))
    p.wait_closed()
    assert [(e.at("direction"), e.at("record_len")) for e in records(p, 5)] == [("client_to_server", str(len(r))) for r in RECORDS]
    assert sum(int(e.at("decoded_bytes")) for e in p.log.find("request_body_chunk")) == len(body)


def test_an_upload_beyond_the_limit(proxy, origin):
    server, p = origin(), proxy(extra_modules=[{"module": "ndjson", "config": {"max_record_bytes": "64", "on_overflow": "close"}}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        answer = client.ask("POST", "/echo", "origin.test", [("Content-Type", "application/x-ndjson")], b"[1]\n[" + b"1," * 50 + b"1]\n")
        assert (answer.status, answer.proxy_error) == (413, "http_request_error")
    assert [(e.at("reason_code"), e.at("reason_detail")) for e in p.wait_closed()] == [("mitm_http_error", "decoder_stage_failed")]


def msgpack():
    return b"".join(b"\x82\xa1a" + struct.pack(">Bi", 0xd2, n) + b"\xa1b\xa3{}\n" for n in range(100))


@pytest.mark.parametrize("content_type", ["application/msgpack", "application/vnd.msgpack", "application/x-protobuf", "application/protobuf",
                                          "application/octet-stream", "application/cbor"])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_opaque_bodies_yield_sizes_and_nothing_else(proxy, origin, content_type, coding):
    body = coded(coding, msgpack())
    fields = [("Content-Type", content_type)] + ([("Content-Encoding", coding)] if coding else [])
    server = origin(routes={"/b": lambda wire, request: wire.send(reply(body=body, fields=fields))})
    p = proxy(extra_modules=DECODERS)
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("POST", "/b", "origin.test", fields, body).body == body
    closed = p.wait_closed()[0]
    assert closed["protocol"] == "http1"
    kinds = [e.kind for e in p.events() if e.flow == closed.flow]
    assert set(kinds) == {"connect_received", "connect_decision", "request_headers", "request_body_chunk", "response_headers", "response_body_chunk",
                          "stream_closed"}
    for kind in ("request_body_chunk", "response_body_chunk"):
        chunks = p.log.find(kind)
        assert sum(int(e.at("bytes")) for e in chunks) == len(body)
        assert all(set(e.attrs) <= {"bytes", "offset", "exchange_no"} for e in chunks)


@pytest.mark.parametrize("on_overflow", ["detach", "close"])
def test_a_record_without_end(proxy, origin, on_overflow):
    body = b"[1]\n[" + b"1," * 50000 + b"1]\n[2]\n"
    server = origin(routes={"/r": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Type", "application/jsonl")]))})
    p = proxy(extra_modules=[{"module": "ndjson", "config": {"max_record_bytes": "64k", "on_overflow": on_overflow}}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        if on_overflow == "detach":
            assert client.response("GET").body == body
        else:
            with pytest.raises(Cut):
                client.response("GET")
    event = p.wait_event("decoder_stage_failed")
    assert (event.at("failure_code"), event.at("module")) == ("max_record_bytes", "ndjson")
    assert event.at("action") == ("detached" if on_overflow == "detach" else "closed")
    p.wait_closed()
    assert len(records(p, 1)) == 1


def test_a_stream_that_is_cut_leaves_no_half_record(proxy, origin):
    route = Paced([b"[1]\n", b"[2"], "", "application/x-ndjson", cut=True)
    route.go(9)
    server, p = origin(routes={"/r": route}), proxy(extra_modules=DECODERS)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut):
            client.response("GET")
    p.wait_closed()
    assert len(records(p, 1)) == 1


@pytest.mark.parametrize("piece", [1000, 30000, 80000])
def test_a_record_that_cannot_be_judged_is_told_the_same_however_it_comes(proxy, origin, tmp_path, piece):
    body = b'{"a":1}\n\n{"b":"' + b"x" * 70000 + b'"}\n{"c":1}\n'
    route = Paced([body[at:at + piece] for at in range(0, len(body), piece)], "", "application/x-ndjson")
    route.go(100)
    server = origin(routes={"/r": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[{"module": "ndjson"}, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/r", "origin.test").body == body
    p.wait_closed()
    assert [(e.at("failure_code"), e.at("bytes_in")) for e in p.log.find("decoder_stage_failed")] == [("window", "65545")]
    assert len(records(p, 1)) == 1


SEQUENCE, CONCATENATED, LINES = "application/json-seq", "application/concatenated-json", "application/x-ndjson"


@pytest.mark.parametrize("content_type,passes,blocked", [
    (LINES, b"\n" * 80000, b'"BLOCK"\n'), (LINES, (b" " * 30 + b"\n") * 3000, b'"BLOCK"\n'), (LINES, b" \r\n ", b'"BLOCK"'),
    (SEQUENCE, b'\x1e{"cut\n' * 12000, b'\x1e"BLOCK"\n'), (SEQUENCE, b"\x1e\n" * 40000, b'\x1e{"a":"BLOCK'),
    (SEQUENCE, b"\x1e[1]\n", b'\x1e["BLOCK"\x1e'),
    (CONCATENATED, b" \n" * 40000, b'["BLOCK"]'), (CONCATENATED, b"[1]\n", b'{"a":"BLOCK"')],
    ids=["lines-empty", "lines-white", "lines-last", "seq-cut", "seq-rest", "seq-cut-blocked", "texts-white", "texts-rest"])
def test_not_a_byte_of_a_blocked_record_is_relayed(proxy, origin, tmp_path, content_type, passes, blocked):
    """Neither how much comes before it nor that it is none, since the next one or the end has cut it, lets it through."""
    server = origin(routes={"/r": lambda wire, request: wire.send(reply(body=passes + blocked, fields=[("Content-Type", content_type)]))})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[{"module": "ndjson"}, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        assert passes.startswith(client.rest())
    assert p.wait_closed()[0].at("reason_code") == "blocked"
    assert p.log.find("decoder_stage_failed") == []


def relayed(client, n):
    """The chunks that come, until they have n bytes."""
    got = b""
    while len(got) < n:
        got += client.exactly(int(client.until(b"\r\n"), 16) + 2)[:-2]
    return got


@pytest.mark.parametrize("content_type,pieces", [(LINES, [(b'\n\n \r\n{"a":', b"\n\n \r\n"), (b"1}\n\n ", b'{"a":1}\n\n ')]),
                                                 (SEQUENCE, [(b"[1]\n\x1e", b"[1]\n"), (b"\n\x1e{", b"\x1e\n"), (b"}\n\x1e", b"\x1e{}\n")])],
                         ids=["lines", "sequence"])
def test_what_is_between_records_waits_for_nobody(proxy, origin, tmp_path, content_type, pieces):
    route = Paced([piece for piece, _ in pieces], "", content_type)
    server = origin(routes={"/r": route})
    p = proxy(modules_dir=build_module(tmp_path, "frames.c"), extra_modules=[{"module": "ndjson"}, {"module": "frames"}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.head()
        for _, expected in pieces:
            route.go()
            assert relayed(client, len(expected)) == expected
        route.go()
    p.wait_closed()


def test_records_and_events_of_one_exchange_each_have_their_protocol(proxy):
    """The response begins before the request has ended: what is told of each is told with its own protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        p = proxy(extra_modules=DECODERS)
        with p.client().connect(f"origin.test:{listener.getsockname()[1]}") as client:
            client.send(b"POST /both HTTP/1.1\r\nHost: origin.test\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"4\r\n{ }\n\r\n")
            with listener.accept()[0] as accepted:
                server = Wire(accepted)
                server.until(b"{ }\n\r\n")
                server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                for number in (1, 2, 3):
                    server.send(b"data: a\n\n")
                    client.until(b"data: a\n\n")
                    client.send(b"4\r\n{ }\n\r\n")
                    server.until(b"{ }\n\r\n")
                client.send(b"0\r\n\r\n")
                server.until(b"0\r\n\r\n")
    p.wait_closed()
    told = {(e.kind, e["protocol"]) for e in p.log.find("stream_record") + p.log.find("sse_event")}
    assert told == {("stream_record", "streamable_http"), ("sse_event", "sse")}
    assert len(p.log.find("stream_record")) == 4
