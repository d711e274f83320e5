# SPDX-License-Identifier: MPL-2.0
"""WebSockets through the proxy, with the clients and servers that people use: what they say arrives, and frames, messages and turns are events."""
import threading

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness.timing import scaled

WS = {"module": "ws"}


class Server:
    """A WebSocket server of Python's websockets."""

    def __init__(self, handler, tls=None, **kwargs):
        self.server = serve(handler, "127.0.0.1", 0, ssl=tls, **kwargs)
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join(10)


@pytest.fixture
def serving(authority):
    """serving(handler, tls=True) starts a server."""
    started = []

    def start(handler, tls=True, **kwargs):
        started.append(Server(handler, authority.server("origin.test") if tls else None, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def watching(proxy):
    """watching(config={}, sink={}) starts a proxy with the module ws."""
    def start(config=None, modules=(), **kwargs):
        return proxy(extra_modules=[WS | {"config": config or {}}, *modules], **kwargs)
    return start


def echo(socket):
    for message in socket:
        socket.send(message)


def client(p, port, tls=True, **kwargs):
    secure = {"ssl": p.trust(alpn=None)} if tls else {}
    return connect(f"{'wss' if tls else 'ws'}://origin.test:{port}/chat", proxy=p.url, open_timeout=scaled(15), close_timeout=scaled(10), **secure,
                   **kwargs)


def told(p, *kinds):
    return [e for e in p.events() if e.kind in kinds]


@pytest.mark.parametrize("tls", [True, False])
def test_echo(watching, serving, tls):
    server, p = serving(echo, tls, subprotocols=["chat.v1"]), watching()
    with client(p, server.port, tls, subprotocols=["chat.v1"], compression=None) as ws:
        for message in ("hello", b"\x00\xff" * 40000, ""):
            ws.send(message)
            assert ws.recv(timeout=scaled(10)) == message
        assert ws.ping().wait(scaled(10))
    events = p.closed_as("websocket_completed")
    assert [e["protocol"] for e in events if e.kind.startswith("ws_") or e.kind == "stream_closed"] == ["ws"] * len(
        [e for e in events if e.kind.startswith("ws_")] + [0])
    opened = told(p, "ws_opened")[0]
    assert opened.at("subprotocol") == "chat.v1" and opened.at("extensions") is None and opened.at("exchange_no") == "1"
    messages = [(e.at("direction"), e.at("opcode_label"), e.at("payload_len"), e.at("message_no")) for e in told(p, "ws_message")]
    assert messages == [("client_to_server", "text", "5", "1"), ("server_to_client", "text", "5", "2"),
                        ("client_to_server", "binary", "80000", "3"), ("server_to_client", "binary", "80000", "4"),
                        ("client_to_server", "text", "0", "5"), ("server_to_client", "text", "0", "6")]
    closed = told(p, "ws_closed")[0]
    assert (closed.at("close_code"), closed.at("initiated_by"), closed.at("violation")) == ("1000", "client", None)
    frames = told(p, "ws_frame")
    assert [e.at("sequence_no") for e in frames] == [str(n + 1) for n in range(10)]
    assert all(e.at("masked") == ("true" if e.at("direction") == "client_to_server" else "false") for e in frames)
    assert all(e.at("violation") is None for e in frames)
    assert events[-1].at("bytes_from_client") is not None


def test_compressed(watching, serving):
    server, p = serving(echo), watching(sink_top={"payload": "full"})
    text = "the same words again and again, " * 2000
    with client(p, server.port) as ws:
        for n in range(3):
            ws.send(text + str(n))
            assert ws.recv(timeout=scaled(10)) == text + str(n)
    p.closed_as("websocket_completed")
    assert told(p, "ws_opened")[0].at("extensions").startswith("permessage-deflate")
    messages = told(p, "ws_message")
    assert [e.at("inflated_len") for e in messages] == [str(len(text) + 1)] * 6
    assert all(int(e.at("payload_len")) < 2000 and e.at("violation") is None for e in messages)
    assert [e.at("data") for e in messages] == [text + str(n // 2) for n in range(6)]


def test_a_client_that_goes_without_a_word(watching, serving):
    gone = threading.Event()

    def handler(socket):
        with pytest.raises(ConnectionClosed):
            socket.recv()
            socket.recv()
        gone.set()

    server, p = serving(handler, tls=False), watching()
    ws = client(p, server.port, tls=False, compression=None)
    ws.send("one")
    ws.socket.shutdown(2)
    assert gone.wait(scaled(10))
    p.closed_as("websocket_error", "eof_without_close")
    turn = told(p, "ws_turn_completed")
    assert [(e.at("flush_reason"), e.at("client_frame_count"), e.at("server_frame_count")) for e in turn] == [("eof", "1", "0")]
    assert told(p, "ws_closed")[0].at("violation") == "eof_without_close"
