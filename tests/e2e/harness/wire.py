# SPDX-License-Identifier: MPL-2.0
"""Bytes on a connection, HTTP/1 read by hand: used by raw clients and raw origins alike, so that nothing is normalised
before a test looks at it."""
import socket
import struct
from dataclasses import dataclass, field

from .timing import scaled


class Cut(Exception):
    """The peer ended before what was awaited was complete; .data is what came."""

    def __init__(self, data):
        super().__init__(f"connection ended after {len(data)} bytes: {data[-120:]!r}")
        self.data = data


@dataclass
class Head:
    """A head as it stood on the wire."""
    raw: bytes
    start: str
    fields: list  # (name, value) as sent, in order

    @classmethod
    def parse(cls, raw):
        lines = raw[:-4].split(b"\r\n")
        pairs = []
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            pairs.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return cls(raw, lines[0].decode("latin-1"), pairs)

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def names(self):
        return [n for n, _ in self.fields]

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    @property
    def status(self):
        return int(self.start.split(" ")[1])


@dataclass
class Message:
    head: Head
    body: bytes = b""
    trailers: list = field(default_factory=list)
    interim: list = field(default_factory=list)  # heads of 1xx replies before it

    @property
    def status(self):
        return self.head.status

    @property
    def proxy_error(self):
        """error=... of the Proxy-Status that soth-mitm set, or None."""
        said = self.head.get("Proxy-Status")
        if not said or not said.startswith("soth-mitm"):
            return None
        for part in said.split(";")[1:]:
            name, _, value = part.strip().partition("=")
            if name == "error":
                return value
        return None


class Wire:
    """A socket with a read buffer."""

    def __init__(self, sock, seconds=15):
        self.sock, self.buffer = sock, b""
        sock.settimeout(scaled(seconds))

    def fill(self):
        """Reads once. False at the end of the stream."""
        more = self.sock.recv(262144)
        self.buffer += more
        return bool(more)

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise Cut(self.buffer)
        return self.take(self.buffer.index(mark) + len(mark))

    def exactly(self, n):
        parts, have = [], 0
        while have < n:
            if not self.buffer and not self.fill():
                raise Cut(b"".join(parts))
            piece = self.take(n - have)
            parts.append(piece)
            have += len(piece)
        return b"".join(parts)

    def rest(self):
        """Everything up to the end of the stream."""
        parts = [self.take(len(self.buffer))]
        while self.fill():
            parts.append(self.take(len(self.buffer)))
        return b"".join(parts)

    def send(self, data):
        self.sock.sendall(data)

    def head(self):
        while True:  # empty lines before a start line mean nothing
            raw = self.until(b"\r\n")
            if raw != b"\r\n":
                break
        while not raw.endswith(b"\r\n\r\n"):
            raw += self.until(b"\r\n")
        return Head.parse(raw)

    def chunked(self):
        """(body, trailers) of a chunked message."""
        parts = []
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        trailers = []
        while True:
            line = self.until(b"\r\n")
            if line == b"\r\n":
                return b"".join(parts), trailers
            name, _, value = line.partition(b":")
            trailers.append((name.decode("latin-1"), value.strip().decode("latin-1")))

    def request(self):
        """The next request as a Message; None when the peer ended before one began."""
        try:
            head = self.head()
        except Cut as cut:
            if cut.data:
                raise
            return None
        return self._body(Message(head), head.get("Content-Length") or "0")

    def response(self, method="GET"):
        """The next final response, interim ones kept beside it."""
        interim = []
        while True:
            head = self.head()
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        message = Message(head, interim=interim)
        connect = method == "CONNECT" and 200 <= head.status < 300
        if method == "HEAD" or connect or head.status in (101, 204, 304):
            return message
        return self._body(message, head.get("Content-Length"))

    def _body(self, message, length):
        coding = (message.head.get("Transfer-Encoding") or "").lower()
        if coding == "chunked":
            message.body, message.trailers = self.chunked()
        elif length is not None:
            message.body = self.exactly(int(length))
        else:
            message.body = self.rest()
        return message

    def ended(self):
        """True when the peer ends, cleanly or not, without another byte."""
        try:
            return not self.buffer and not self.fill()
        except (ConnectionError, BrokenPipeError):
            return True

    def finish(self):
        """Half-close: no more bytes from here."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()
