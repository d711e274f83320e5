# SPDX-License-Identifier: MPL-2.0
"""WebSockets over HTTP/2 (RFC 8441), in all four pairings with HTTP/1.1: what is said arrives byte by byte, and events are those of any WebSocket."""
import asyncio
import base64
import hashlib
import json
import pathlib
import signal
import struct
import subprocess
import zlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.asyncio.client import connect as async_connect
from websockets.sync.client import connect

from harness import chromium
from harness.h2 import H2Origin, h2_client
from harness.h2_websocket import BINARY, CLOSE, PING, PONG, SCRIPT, TEXT, H2WebSocket, WebSocketOrigin, frame
from harness.modules import build_module, module_metric
from harness.timing import scaled, until
from harness.tools import clean_env, go_program, need, node_modules, run
from harness.websocket import echo, for_threads

HERE = pathlib.Path(__file__).parent
NAMES = ("origin.test", "*.origin.test")
PIECE = (b"the quick brown fox jumps over the lazy dog; " * 1500)[:1 << 16]


@pytest.fixture
def origins(authority):
    """origins(connect=True, http1=False)"""
    started = []

    def start(**kwargs):
        started.append(WebSocketOrigin(authority.leaf(*NAMES), **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.close()


def told(p, *kinds):
    return [e for e in p.events() if e.kind in kinds]


class Talk:
    """One client of either kind: say and hear whole messages. In one thread: Python's TLS does not like two at once."""

    def __init__(self, p, kind, port, path, **fields):
        self.kind = kind
        if kind == "h2":
            self.h2 = h2_client(p, "origin.test", port)
            self.ws = H2WebSocket(self.h2, path, [("sec-websocket-protocol", "chat.v1")])
            assert self.ws.open() == 200
            assert self.ws.one.field("sec-websocket-accept") is None and self.ws.one.field("upgrade") is None
        else:
            self.loop = asyncio.new_event_loop()
            self.ws = self.wait(self.open(f"wss://origin.test:{port}{path}", proxy=p.url, ssl=p.trust(alpn=None)))
            assert self.ws.subprotocol == "chat.v1"

    @staticmethod
    async def open(url, **kwargs):
        return await async_connect(url, open_timeout=scaled(15), close_timeout=scaled(10), compression=None, max_size=None,
                                   subprotocols=["chat.v1"], **kwargs)

    def wait(self, what):
        return self.loop.run_until_complete(asyncio.wait_for(what, scaled(20)))

    def say(self, message):
        if self.kind == "h2":
            self.ws.send(TEXT if isinstance(message, str) else BINARY, message)
        else:
            self.wait(self.ws.send(message))

    def hear(self):
        if self.kind != "h2":
            return self.wait(self.ws.recv())
        first, payload = self.ws.receive()
        assert first in (0x80 | TEXT, 0x80 | BINARY)
        return payload.decode() if first & 15 == TEXT else payload

    def close(self):
        if self.kind == "h2":
            self.ws.close()
            self.h2.close()
        else:
            self.wait(self.ws.close())
            self.loop.close()


class Pairing:
    def __init__(self, name, watching, origins, **kwargs):
        self.client, self.server = name.split("-")
        self.origin = origins(http2=self.server == "h2")
        self.proxy = watching(upstream_http2="always" if name == "h1-h2" else "mirror", **kwargs)

    def talk(self, path):
        return Talk(self.proxy, self.client, self.origin.port, path)

    def ended(self):
        """The events of the WebSocket's flow."""
        p = self.proxy
        p.wait_closed(2 if self.client == "h2" else 1)
        flow = told(p, "ws_opened")[0].flow
        return [e for e in p.events() if e.flow == flow]


@pytest.fixture(params=["h2-h2", "h2-h1", "h1-h2", "h1-h1"])
def pairing(request, watching, origins):
    return Pairing(request.param, watching, origins)


@pytest.fixture(params=["h2-h2", "h2-h1", "h1-h2", "h1-h1"])
def pairing_of(request, watching, origins):
    return lambda **kwargs: Pairing(request.param, watching, origins, **kwargs)


def test_echo(pairing):
    talk = pairing.talk("/chat")
    for message in ("hello", b"\x00\xff" * 40000, ""):
        talk.say(message)
        assert talk.hear() == message
    talk.close()
    events = pairing.ended()
    assert [e.kind for e in events].count("stream_closed") == 1
    closed = events[-1]
    assert (closed.at("reason_code"), closed.at("reason_detail"), closed["protocol"]) == ("websocket_completed", None, "ws")
    request = next(e for e in events if e.kind == "request_headers")
    assert (request.at("method"), request.at("target"), request.at("scheme")) == ("GET", "/chat", "https")
    response = next(e for e in events if e.kind == "response_headers")
    assert response.at("status_code") == "101"
    opened = next(e for e in events if e.kind == "ws_opened")
    assert opened.at("subprotocol") == "chat.v1" and opened["protocol"] == "ws"
    assert (opened.at("http2_stream_id") is not None) == (pairing.client == "h2")
    messages = [(e.at("direction"), e.at("opcode_label"), e.at("payload_len"), e.at("message_no")) for e in events if e.kind == "ws_message"]
    assert messages == [("client_to_server", "text", "5", "1"), ("server_to_client", "text", "5", "2"),
                        ("client_to_server", "binary", "80000", "3"), ("server_to_client", "binary", "80000", "4"),
                        ("client_to_server", "text", "0", "5"), ("server_to_client", "text", "0", "6")]
    end = next(e for e in events if e.kind == "ws_closed")
    assert (end.at("close_code"), end.at("initiated_by"), end.at("violation")) == ("1000", "client", None)
    assert not [e for e in events if e.kind in ("request_body_chunk", "response_body_chunk")]
    if pairing.server == "h2":
        asked = pairing.origin.asked("/chat")
        assert [(a["method"], a["protocol"], a["key"], a["version"]) for a in asked] == [("CONNECT", "websocket", "", "2")]


def test_the_server_closes(pairing):
    talk = pairing.talk("/leave")
    if pairing.client == "h2":
        first, payload = talk.ws.receive()
        assert first == 0x88 and payload == struct.pack(">H", 4001) + b"enough"
        talk.ws.send(CLOSE, payload)
        talk.h2.until(lambda: talk.ws.one.over)
        talk.ws.end()
        talk.h2.close()
    else:
        with pytest.raises(Exception) as closed:
            talk.hear()
        assert closed.value.rcvd.code == 4001
    events = pairing.ended()
    end = next(e for e in events if e.kind == "ws_closed")
    assert (end.at("close_code"), end.at("close_reason"), end.at("initiated_by")) == ("4001", "enough", "server")
    assert events[-1].at("reason_code") == "websocket_completed"


BULK = 16 << 20


WHOLE = hashlib.sha256(PIECE * (BULK // len(PIECE))).hexdigest()


def over_h2(p, port, path):
    talk = Talk(p, "h2", port, path)
    for _ in range(BULK // len(PIECE)):
        talk.say(PIECE)
    digest, got = hashlib.sha256(), 0
    while got < BULK:
        message = talk.hear()
        digest.update(message)
        got += len(message)
    told_sum = json.loads(talk.hear())
    talk.close()
    return digest.hexdigest(), told_sum


async def over_h1(p, port, path):
    async with async_connect(f"wss://origin.test:{port}{path}", proxy=p.url, ssl=p.trust(alpn=None), compression=None, max_size=None,
                             open_timeout=scaled(15)) as ws:
        async def say():
            for _ in range(BULK // len(PIECE)):
                await ws.send(PIECE)

        sender = asyncio.create_task(say())
        digest, got = hashlib.sha256(), 0
        while got < BULK:
            message = await asyncio.wait_for(ws.recv(), scaled(20))
            digest.update(message)
            got += len(message)
        await sender
        return digest.hexdigest(), json.loads(await asyncio.wait_for(ws.recv(), scaled(20)))


def test_both_ways_at_once(pairing):
    over = pairing.proxy, pairing.origin.port, f"/both/{BULK}"
    there, back = over_h2(*over) if pairing.client == "h2" else asyncio.run(over_h1(*over))
    assert there == WHOLE and back == {"sha256": WHOLE}
    events = pairing.ended()
    assert events[-1].at("reason_code") == "websocket_completed"
    end = next(e for e in events if e.kind == "ws_closed")
    assert int(end.at("client_bytes")) == BULK + 2 and int(end.at("server_bytes")) >= BULK


def test_many_on_one_connection(watching, origins):
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port) as client:
        sockets = [H2WebSocket(client, f"/chat/{n}") for n in range(20)]
        for n, ws in enumerate(sockets):
            assert ws.open() == 200
            ws.send(TEXT, f"I am {n}")
        assert [ws.receive() for ws in sockets] == [(0x81, f"I am {n}".encode()) for n in range(20)]
        assert client.get("/hello").body == b"hello"
        sockets[3].send(PING, b"?")
        assert sockets[3].receive() == (0x80 | PONG, b"?")
        for ws in sockets:
            assert ws.close() == 1000
    p.wait_closed(22)
    assert [e.at("reason_code") for e in told(p, "stream_closed") if e["protocol"] == "ws"] == ["websocket_completed"] * 20


# ---- who may

RULES = {"rules": [{"id": "no-chat", "action": "block", "host": "origin.test", "method": "GET", "path": "/secret*"}]}


@pytest.mark.parametrize("server_kind", ["h2", "h1"])
def test_one_rule_for_both(watching, origins, serving, server_kind):
    server = origins() if server_kind == "h2" else serving(echo)
    p = watching(policy=RULES)
    with h2_client(p, "origin.test", server.port) as client:
        other = H2WebSocket(client, "/chat")
        assert other.open() == 200
        blocked = H2WebSocket(client, "/secret/1")
        assert blocked.open() == 403
        other.send(TEXT, "still here")
        assert other.receive() == (0x81, b"still here")
        other.close()
    with pytest.raises(Exception, match="403"):
        connect(f"wss://origin.test:{server.port}/secret/2", proxy=p.url, ssl=for_threads(p.trust(alpn=None)), open_timeout=scaled(10))
    p.wait_closed(4)
    decisions = [(e.at("action"), e.at("rule_id")) for e in told(p, "request_decision") if e.at("action") == "block"]
    assert decisions == [("block", "no-chat")] * 2
    if server_kind == "h2":
        assert [a["url"] for a in server.asked()] == ["/chat"]


def test_other_protocols_are_refused(watching, origins):
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port) as client:
        udp = H2WebSocket(client, "/udp", protocol="connect-udp")
        assert udp.open() == 501
        plain = client.ask("CONNECT", "/x", [(":protocol", "")], end=False)
        client.until(lambda: client.streams[plain].over)
        assert client.get("/hello").body == b"hello"
    assert [a["url"] for a in server.asked()] == ["/hello"]
    p.wait_closed(3)
    assert "connect_protocol" in [e.at("reason_detail") for e in told(p, "stream_closed")]


def test_a_refusal_passes(watching, origins):
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, "/refuse")
        assert ws.open() == 403
        client.wait(ws.stream)
        assert ws.one.body == b"no"
        again = H2WebSocket(client, "/chat")
        assert again.open() == 200
        again.close()


def test_a_page_is_no_websocket(watching, origin):
    server = origin(tls=True, routes={"/chat": lambda wire, request: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok!")})
    p = watching()
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, "/chat")
        assert ws.open() == 502
        client.wait(ws.stream)
        assert b"ok!" not in ws.one.body
    p.wait_closed(2)
    assert ("mitm_http_error", "websocket_not_switched") in [(e.at("reason_code"), e.at("reason_detail")) for e in told(p, "stream_closed")]


def test_an_h2_origin_that_does_not_take_it(watching, origins):
    """Asked over HTTP/1.1, where it has that; else there is a clear answer."""
    server, p = origins(connect=False, http1=True), watching()
    with h2_client(p, "origin.test", server.port) as client:
        assert client.get("/hello").body == b"hello"
        ws = H2WebSocket(client, "/chat")
        assert ws.open() == 200
        ws.send(TEXT, "over the bridge")
        assert ws.receive() == (0x81, b"over the bridge")
        ws.close()
    assert [(a["version"], a["method"]) for a in server.asked("/chat")] == [("1.1", "GET")]
    alone = H2Origin(server_tls(server), settings={"enableConnectProtocol": False})
    try:
        with h2_client(p, "origin.test", alone.port) as client:
            ws = H2WebSocket(client, "/chat")
            assert ws.open() == 502
            assert client.get("/hello").status == 200
    finally:
        alone.close()


def server_tls(server):
    options = json.loads(server.process.args[-1])
    return options["cert"], options["key"]


@pytest.mark.parametrize("connects", [True, False])
def test_a_client_of_http1(watching, origins, connects):
    """An origin of HTTP/2 gets extended CONNECT when it takes that, else HTTP/1.1 with Upgrade, as one that speaks nothing else."""
    server, p = origins(connect=connects, http1=True), watching(upstream_http2="always")
    talk = Talk(p, "h1", server.port, "/chat")
    talk.say("hello")
    assert talk.hear() == "hello"
    talk.close()
    p.closed_as("websocket_completed")
    assert [a["version"] for a in server.asked("/chat")] == ["2" if connects else "1.1"]


def test_compressed(watching, serving):
    server, p = serving(echo), watching(sink_top={"payload": "full"})
    text = "the same words again and again, " * 2000
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, "/chat", [("sec-websocket-extensions", "permessage-deflate; client_no_context_takeover; server_no_context_takeover")])
        assert ws.open() == 200
        assert ws.one.field("sec-websocket-extensions").startswith("permessage-deflate")
        packer = zlib.compressobj(wbits=-15)
        ws.send(TEXT, (packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv1=True)
        first, payload = ws.receive()
        assert first == 0xc1 and zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") == text.encode()
        ws.close()
    p.wait_closed(2)
    messages = told(p, "ws_message")
    assert [(e.at("inflated_len"), e.at("data")) for e in messages] == [(str(len(text)), text)] * 2
    assert told(p, "ws_opened")[0].at("extensions").startswith("permessage-deflate")


# ---- policies that judge frames

@pytest.mark.parametrize("server_kind", ["h2", "h1"])
def test_a_blocked_message_closes_both_sides(watching, origins, serving, judges, server_kind):
    server = origins() if server_kind == "h2" else serving(echo)
    p = watching(modules=[{"module": "frames", "config": {}}], modules_dir=judges)
    with h2_client(p, "origin.test", server.port) as client:
        other, ws = H2WebSocket(client, "/other"), H2WebSocket(client, "/chat")
        assert (other.open(), ws.open()) == (200, 200)
        ws.send(TEXT, "fine")
        assert ws.receive() == (0x81, b"fine")
        ws.send(TEXT, "INJECT please")
        assert sorted(ws.receive()[1] for _ in range(5)) == [b"INJECT please"] + [b"one more"] * 4
        ws.send(TEXT, "please BLOCK this")
        assert ws.receive() == (0x88, struct.pack(">H", 1008) + b"policy")
        client.until(lambda: ws.one.over)
        other.send(TEXT, "still here")
        assert other.receive() == (0x81, b"still here")
        other.close()
    p.wait_closed(3)
    assert {(e.at("reason_code"), e.at("reason_detail")) for e in told(p, "stream_closed") if e["protocol"] == "ws"} == \
        {("blocked", "bad-frame"), ("websocket_completed", None)}
    if server_kind == "h2":
        assert server.wait("ended", "/chat")["code"] == 1008


# ---- aborts

def test_the_client_resets(watching, origins):
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port) as client:
        early, late = H2WebSocket(client, "/silent"), H2WebSocket(client, "/chat")
        assert late.open() == 200
        early.reset()
        assert server.wait("closed", "/silent")["rst"] == 8
        late.send(TEXT, "half a messa"[:6], fin=False)
        late.reset()
        assert server.wait("closed", "/chat")["rst"] == 8
        assert client.get("/hello").body == b"hello"
    p.wait_closed(4)
    ends = [(e.at("reason_code"), e.at("reason_detail")) for e in told(p, "stream_closed")]
    assert ends.count(("client_aborted", "response_head")) == 1 and ends.count(("client_aborted", "ws")) == 1


@pytest.mark.parametrize("path,code", [("/reset-first", 8), ("/reset/11", 11), ("/cut", None)])
def test_the_origin_resets(watching, origins, path, code):
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, path)
        client.until(lambda: ws.one.reset is not None)
        assert code in (None, ws.one.reset)
        assert client.get("/hello").body == b"hello"  # on another connection, should it have to be
    p.wait_closed(3)


UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_of_http1_goes(watching, origins, how):
    """A connection that breaks is a stream that is reset, a connection that ends a stream that ends."""
    server, p = origins(), watching(upstream_http2="always")
    raw = p.https("origin.test", server.port)
    answer = raw.ask("GET", "/chat", f"origin.test:{server.port}", UPGRADE)
    assert answer.status == 101 and answer.head.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    raw.send(frame(TEXT, b"one"))
    assert raw.exactly(5) == frame(TEXT, b"one", mask=None)
    if how == "reset":
        raw.reset()
        assert server.wait("closed", "/chat")["rst"] == 8
        p.closed_as("client_aborted", "ws")
    else:
        raw.send(frame(CLOSE, b"\x03\xe8"))
        assert raw.exactly(4) == frame(CLOSE, b"\x03\xe8", mask=None)
        raw.close()
        assert server.wait("closed", "/chat")["rst"] in (0, 8)
        p.closed_as("websocket_completed")


def test_an_origin_of_http1_breaks(watching, origin):
    def upgrade(wire, request):
        key = request.head.get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        wire.exactly(9)
        wire.reset()
        return False

    server, p = origin(tls=True, routes={"/chat": upgrade}), watching()
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, "/chat")
        assert ws.open() == 200
        ws.send(TEXT, "one")
        client.until(lambda: ws.one.over)
        assert ws.one.reset == 8
    p.wait_closed(2)
    assert ("websocket_error", "ECONNRESET") in [(e.at("reason_code"), e.at("reason_detail")) for e in told(p, "stream_closed")]


def test_the_clients_connection_goes(watching, origins):
    server, p = origins(), watching()
    client = h2_client(p, "origin.test", server.port)
    sockets = [H2WebSocket(client, f"/chat/{n}") for n in range(3)]
    assert [ws.open() for ws in sockets] == [200] * 3
    client.close()
    for n in range(3):
        assert server.wait("closed", f"/chat/{n}")["rst"] == 8
    p.wait_closed(4)
    assert [e.at("reason_code") for e in told(p, "stream_closed")] == ["client_aborted"] * 4


def test_a_slow_reader(watching, origins):
    """It takes nothing of one WebSocket: the others go on, and nothing piles up for it."""
    server, p = origins(), watching()
    with h2_client(p, "origin.test", server.port, auto=False) as client:
        slow, quick = H2WebSocket(client, f"/pour/{64 << 20}"), H2WebSocket(client, "/chat")
        assert (slow.open(), quick.open()) == (200, 200)
        client.until(lambda: len(slow.one.body) == 65535)  # the window of the stream, and of the connection
        before = p.resident()
        client.open_window(None, 1 << 20)
        for n in range(50):
            quick.send(TEXT, f"word {n}")
            assert quick.receive() == (0x81, f"word {n}".encode())
        assert len(slow.one.body) == 65535
        assert p.resident() - before < (16 if p.is_sanitized() else 8) << 20  # a sanitizer keeps for a while what was freed
        client.open_window(slow.stream, 2 << 20)
        client.open_window(None, 2 << 20)
        client.until(lambda: len(slow.one.body) == 65535 + (2 << 20))
        slow.reset()
        quick.close()
    p.wait_closed(3)


# ---- other people's clients

def test_node(watching, origins):
    server, p = origins(), watching()
    done = run([need("node"), SCRIPT, "client", *p.address(), "origin.test", server.port],
               env=clean_env(NODE_PATH=node_modules(), NODE_EXTRA_CA_CERTS=p.ca_path))
    said = json.loads(done.stdout)
    assert said == {"status": 200, "protocol": "chat.v1", "accept": "", "came": ["hello", "ä€😀", 100000, ""], "code": 1000}
    p.wait_closed(2)
    assert "websocket_completed" in [e.at("reason_code") for e in told(p, "stream_closed")]
    assert [e.at("opcode_label") for e in told(p, "ws_message")] == ["text"] * 8


@pytest.fixture
def go_origin(authority, tmp_path):
    program = go_program(HERE / "go" / "h2origin", tmp_path / "h2origin")
    server = subprocess.Popen([program, *authority.leaf(*NAMES)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env=clean_env(GODEBUG="http2xconnect=1"))
    yield int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.mark.parametrize("client", ["h2", "h1"])
def test_go(watching, go_origin, client):
    """A server whose handler returns after the close: it ends its stream and resets it without an error."""
    p = watching(upstream_http2="always" if client == "h1" else "mirror")
    if client == "h2":
        with h2_client(p, "origin.test", go_origin) as session:
            ws = H2WebSocket(session, "/ws")
            assert ws.open() == 200
            for n in range(20):
                ws.send(BINARY, bytes([n]) * 50000)
                assert ws.receive() == (0x82, bytes([n]) * 50000)
            assert ws.close() == 1000
            assert session.get("/hello").body == b"hello over HTTP/2.0"
    else:
        with connect(f"wss://origin.test:{go_origin}/ws", proxy=p.url, ssl=for_threads(p.trust(alpn=None)), compression=None, open_timeout=scaled(15)) as ws:
            ws.send("hello")
            assert ws.recv(timeout=scaled(10)) == "hello"
    p.wait_closed(3 if client == "h2" else 1)
    assert [e.at("reason_code") for e in told(p, "stream_closed") if e["protocol"] == "ws"] == ["websocket_completed"]
    assert [e.at("version") for e in told(p, "response_headers") if e.at("status_code") == "101"] == ["HTTP/2"]


@pytest.mark.slow
def test_chromium(watching, origins, tmp_path):
    """A page and its WebSocket share one connection of HTTP/2."""
    server = origins()
    p = watching(policy=chromium.PAGE_ALONE)
    done = chromium.load(p, f"https://origin.test:{server.port}/page", tmp_path)
    assert server.asked("/done?3-4001-true"), done.stdout[-800:] + done.stderr[-800:]
    assert [a["method"] for a in server.asked("/chat")] == ["CONNECT"]
    closed = p.wait_event("ws_closed")
    assert (closed.at("close_code"), closed.at("close_reason"), closed.at("violation")) == ("4001", "done", None)
    assert told(p, "ws_opened")[0]["parent_flow_id"] == p.log.find("request_headers", target="/page")[0]["parent_flow_id"]
    assert [e.at("inflated_len") or e.at("payload_len") for e in told(p, "ws_message")] == ["3", "3", "3", "3", "70000", "70000"]


# ---- messages that a module adds, where nobody judges frames

@pytest.fixture(scope="module")
def asides(tmp_path_factory):
    return build_module(tmp_path_factory.mktemp("modules"), "aside.c")


@pytest.mark.parametrize("order", [40, 60])  # in front of `ws`, behind it
@pytest.mark.parametrize("client", ["h1", "h2"])
def test_messages_are_added_between_messages(watching, origins, asides, client, order):
    """Every few milliseconds one in each direction, while large messages pass: each is whole and where messages may be."""
    server, p = origins(http2=False), watching(modules=[{"module": "aside", "order": order, "config": {"every": "5ms"}}], modules_dir=asides)
    talk = Talk(p, client, server.port, "/chat")
    added = 0
    for n in range(20):
        message = bytes([n]) * 400_000
        talk.say(message)
        while (heard := talk.hear()) != message:
            assert heard == "by the way"
            added += 1
    assert added > 0
    if client == "h2":  # what was added is echoed, too, until the close has passed
        talk.ws.send(CLOSE, struct.pack(">H", 1000))
        while (heard := talk.ws.receive())[0] != 0x88:
            assert heard == (0x81, b"by the way")
        talk.ws.end()
        talk.h2.until(lambda: talk.ws.one.over)
        talk.h2.close()
    else:
        talk.close()
    p.wait_closed(2 if client == "h2" else 1)
    end = told(p, "ws_closed")[0]
    assert (end.at("close_code"), end.at("violation")) == ("1000", None)
    assert module_metric(p, "soth_aside_said_total") > 0


def test_a_message_for_each_piece(watching, serving, asides):
    server, p = serving(echo, compression=None), watching(modules=[{"module": "aside", "config": {"pieces": True}}], modules_dir=asides)
    with connect(f"wss://origin.test:{server.port}/chat", proxy=p.url, ssl=for_threads(p.trust(alpn=None)), compression=None, open_timeout=scaled(15)) as ws:
        ws.send("one")
        heard = [ws.recv(timeout=scaled(10)) for _ in range(4)]
    assert heard[0] == "by the way" and "one" in heard


# ---- drain

@pytest.mark.parametrize("judged", [False, True])
def test_open_websockets_are_told_of_the_end(pairing_of, judges, judged):
    pairing = pairing_of(modules=[{"module": "frames", "config": {}}] if judged else [], modules_dir=judges)
    p, talk = pairing.proxy, pairing.talk("/chat")
    talk.say("hello")
    assert talk.hear() == "hello"
    p.signal(signal.SIGTERM)
    if pairing.client == "h2":
        assert talk.ws.receive() == (0x88, struct.pack(">H", 1001) + b"going away")
        talk.h2.until(lambda: talk.ws.one.over)
        talk.h2.close()
    else:
        with pytest.raises(ConnectionClosed) as closed:
            talk.hear()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "going away")
        talk.close()
    assert p.wait_exit() == 0
    end = [e for e in p.events() if e.kind == "ws_closed"][0]
    assert (end.at("close_code"), end.at("initiated_by"), end.at("violation")) == ("1001", "proxy", None)
    assert [e.at("reason_code") for e in p.events() if e.kind == "stream_closed" and e["protocol"] == "ws"] == ["shutdown_drain"]
    ended = pairing.origin.wait("ended", "/chat")
    assert (ended["code"], ended["reason"]) == (1001, "going away")


def test_a_drain_waits_for_the_end_of_a_message(watching, serving):
    got = []

    def keep(peer):
        try:
            while True:
                got.append(peer.recv())
        except ConnectionClosed as closed:
            got.append(closed.rcvd.code)

    server, p = serving(keep, compression=None), watching()
    with h2_client(p, "origin.test", server.port) as client:
        ws = H2WebSocket(client, "/chat")
        assert ws.open() == 200
        whole = frame(TEXT, b"a message in two halves")
        client.send(ws.stream, whole[:12])
        assert client.get("/not-there").status == 426  # what was sent before that has passed
        p.signal(signal.SIGTERM)
        assert ws.receive() == (0x88, struct.pack(">H", 1001) + b"going away")
        assert ws.one.ended is False
        client.send(ws.stream, whole[12:])
        client.until(lambda: ws.one.over)
    assert p.wait_exit() == 0
    until(lambda: len(got) == 2, 10, lambda: f"what the server got: {got}")
    assert got == ["a message in two halves", 1001]
