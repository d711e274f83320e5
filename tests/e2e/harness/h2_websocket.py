# SPDX-License-Identifier: MPL-2.0
"""WebSockets over HTTP/2 (RFC 8441): an origin in Node (node/h2_websocket.js), and a client whose every frame is the test's."""
import json
import pathlib
import struct
import subprocess
import threading

from .timing import until
from .tools import clean_env, need, node_modules

SCRIPT = pathlib.Path(__file__).parent.parent / "node" / "h2_websocket.js"
CONNECT_PROTOCOL = 8  # SETTINGS_ENABLE_CONNECT_PROTOCOL
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocketOrigin:
    """connect: extended CONNECT is announced and taken. http1: HTTP/1.1 with Upgrade on the same port, http2=False: alone. .said: what it told."""

    def __init__(self, tls, connect=True, http1=False, http2=True):
        options = {"cert": str(tls[0]), "key": str(tls[1]), "connect": connect, "http1": http1, "http2": http2}
        self.process = subprocess.Popen([need("node"), str(SCRIPT), "server", json.dumps(options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=clean_env(NODE_PATH=node_modules()), text=True)
        first = self.process.stdout.readline()
        assert first, self.process.stderr.read()
        self.port = json.loads(first)["port"]
        self.said = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def asked(self, url=None, count=1, seconds=10):
        """The requests that it told of, once there are so many."""
        def found():
            return [s for s in self.said if "method" in s and url in (None, s["url"])]
        until(lambda: len(found()) >= count, seconds, lambda: f"{count} requests; it said {self.said}")
        return found()

    def wait(self, key, url, seconds=10):
        """What it said about the end: key `ended` (of the WebSocket) or `closed` (of the stream)."""
        return until(lambda: next((s for s in self.said if s.get(key) == url), None), seconds, lambda: f"{key} {url}; it said {self.said}")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def frame(opcode, payload=b"", fin=True, rsv1=False, mask=b"\x11\x22\x33\x44"):
    """Masked, as a client sends it; mask None: not."""
    n = len(payload)
    size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
    head = bytes([(fin << 7) | (rsv1 << 6) | opcode, size[0] | (0x80 if mask else 0)]) + size[1:]
    if not mask:
        return head + payload
    key = (mask * (n // 4 + 1))[:n]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")


class H2WebSocket:
    """On a stream of an H2Client."""

    def __init__(self, client, path, fields=(), protocol="websocket", version=True):
        client.until(lambda: client.settings is not None)
        assert client.settings.get(CONNECT_PROTOCOL) == 1, client.settings
        self.client, self.at = client, 0
        more = [("sec-websocket-version", "13")] if version else []
        self.stream = client.ask("CONNECT", path, [(":protocol", protocol), *more, *fields], end=False)
        self.one = client.streams[self.stream]

    def open(self):
        """Until it is answered. Returns the status."""
        self.client.until(lambda: self.one.head or self.one.over)
        return self.one.head and self.one.status

    def send(self, opcode, payload=b"", **kwargs):
        self.client.send(self.stream, frame(opcode, payload if isinstance(payload, bytes) else payload.encode(), **kwargs))

    def _need(self, n):
        self.client.until(lambda: len(self.one.body) >= self.at + n or self.one.over)
        assert len(self.one.body) >= self.at + n, f"it ended: {self.one.reset}"
        piece = bytes(self.one.body[self.at:self.at + n])
        self.at += n
        return piece

    def receive(self):
        """(first byte, payload) of the next frame."""
        first, size = self._need(2)
        assert not size & 0x80, "masked"
        n = struct.unpack(">H", self._need(2))[0] if size == 126 else struct.unpack(">Q", self._need(8))[0] if size == 127 else size
        return first, self._need(n)

    def end(self):
        self.client.conn.end_stream(self.stream)
        self.client.flush()

    def reset(self, code=8):
        self.client.conn.reset_stream(self.stream, code)
        self.client.flush()

    def close(self, code=1000):
        """The closing handshake, and the end of the stream. Returns the other's code."""
        self.send(CLOSE, struct.pack(">H", code))
        first, payload = self.receive()
        assert first == 0x80 | CLOSE
        self.end()
        self.client.until(lambda: self.one.over)
        return struct.unpack(">H", payload[:2])[0]
