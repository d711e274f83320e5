# SPDX-License-Identifier: MPL-2.0
"""Origins: a threaded server whose behaviour on a connection is one Python function, and an HTTP origin on top of it."""
import hashlib
import json
import random
import socket
import ssl
import threading
import time

from .timing import scaled
from .wire import Cut, Wire

BLOCK = random.Random(20).randbytes(1 << 20)


def pattern(n):
    """n bytes that do not compress and are the same each time, in pieces."""
    while n > 0:
        piece = BLOCK[:n]
        yield piece
        n -= len(piece)


def pattern_sha256(n):
    digest = hashlib.sha256()
    for piece in pattern(n):
        digest.update(piece)
    return digest.hexdigest()


class Origin:
    """Listens on loopback and calls handler(wire) for each connection; counts them. tls: an SSLContext."""

    def __init__(self, handler, tls=None, host="127.0.0.1", backlog=512):
        self.handler, self.tls = handler, tls
        self.sock = self.listen(host, backlog)
        self.host, self.port = host, self.sock.getsockname()[1]
        self.connections = 0
        self.errors = []    # what handlers raised
        self.requests = []  # Messages, by those handlers that read HTTP
        self.open = set()
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def listen(self, host, backlog):
        return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # or the thread in accept() would take one more
        except OSError:
            pass
        self.sock.close()
        with self.lock:
            for conn in list(self.open):
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        if conn.family != socket.AF_UNIX:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.open.add(conn)
        wrapped = conn
        try:
            if self.tls:
                conn.settimeout(scaled(20))
                wrapped = self.tls.wrap_socket(conn, server_side=True)
                with self.lock:
                    self.open.discard(conn)
                    self.open.add(wrapped)
            self.handler(Wire(wrapped, seconds=60))
        except (OSError, Cut, ssl.SSLError) as error:
            self.errors.append(error)
        finally:
            with self.lock:
                self.open.discard(conn)
                self.open.discard(wrapped)
            self._part(wrapped)

    @staticmethod
    def _part(conn):
        """A clean end: close_notify where there is TLS, then FIN."""
        try:
            if isinstance(conn, ssl.SSLSocket):
                conn.settimeout(0.2)
                conn.unwrap()
        except (OSError, ValueError):
            pass
        conn.close()


def drip(count, pause):
    """A handler whose body comes one byte at a time, at the origin's pace."""
    def handler(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
        for _ in range(count):
            wire.send(b"x")
            time.sleep(pause)
    return handler


def reply(status="200 OK", body=b"", fields=(), length=True):
    """A response's bytes."""
    lines = [f"HTTP/1.1 {status}"] + [f"{n}: {v}" for n, v in fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class HttpOrigin(Origin):
    """Keep-alive HTTP/1.1. routes: path -> function(wire, request) that writes the reply; False ends the connection.
    Built in: /hello, /bytes/N, /chunked/N, /echo (JSON of what arrived), /status/N."""

    def __init__(self, routes=None, **kwargs):
        self.routes = {} if routes is None else routes
        super().__init__(self._exchange, **kwargs)

    def _exchange(self, wire):
        while True:
            head = self._head(wire)
            if head is None:
                return
            request = self._read_body(wire, head)
            self.requests.append(request)
            if self._answer(wire, request) is False or (head.get("Connection") or "").lower() == "close":
                return

    @staticmethod
    def _head(wire):
        try:
            return wire.head()
        except Cut as cut:
            if cut.data:
                raise
            return None

    @staticmethod
    def _read_body(wire, head):
        from .wire import Message
        message = Message(head)
        if (head.get("Expect") or "").lower() == "100-continue":
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (head.get("Transfer-Encoding") or "").lower() == "chunked":
            message.body, message.trailers = wire.chunked()
        elif head.get("Content-Length"):
            message.body = wire.exactly(int(head.get("Content-Length")))
        return message

    def _answer(self, wire, request):
        path = request.head.target.split("?")[0]
        if path in self.routes:
            return self.routes[path](wire, request)
        what, _, argument = path.lstrip("/").partition("/")
        if what == "hello":
            wire.send(reply(body=b"hello\n", fields=[("Content-Type", "text/plain")]))
        elif what in ("bytes", "chunked"):
            self._bulk(wire, request, int(argument), what == "chunked")
        elif what == "echo":
            wire.send(reply(body=self._seen(request), fields=[("Content-Type", "application/json")]))
        elif what == "status":
            wire.send(reply(f"{argument} Said", b"", length=argument not in ("204", "304")))
        else:
            wire.send(reply("404 Not Found", b"no such thing\n"))
        return True

    @staticmethod
    def _bulk(wire, request, n, chunked):
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {n}"
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n".encode())
        if request.head.method == "HEAD":
            return
        for piece in pattern(n):
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            wire.send(b"0\r\n\r\n")

    @staticmethod
    def _seen(request):
        return json.dumps({"start": request.head.start, "fields": request.head.fields, "length": len(request.body),
                           "sha256": hashlib.sha256(request.body).hexdigest(), "trailers": request.trailers}).encode()
