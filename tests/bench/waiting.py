#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 streams that wait: an origin that takes requests and never answers, and clients that open such streams. Frames by
hand: nothing here must cost memory or take part in what is measured. The client speaks like the load generator, at quiet
points: "ready" when each of its connections has one stream, then a line in, the other streams, a line of JSON out."""

import argparse
import json
import selectors
import socket
import ssl
import struct
import sys
import time

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Peer:
    """One connection: answers what has to be answered, counts the rest."""

    def __init__(self, sock):
        self.sock, self.inbox, self.seen, self.fault = sock, b"", [], ""

    def read(self):
        """False: it has ended."""
        try:
            data = self.sock.recv(65536)
            while self.sock.pending():
                data += self.sock.recv(65536)
        except (ssl.SSLWantReadError, TimeoutError):
            return True
        except OSError:
            return False
        self.inbox += data
        while len(self.inbox) >= 9 and len(self.inbox) >= 9 + (size := int.from_bytes(self.inbox[:3], "big")):
            kind, flags, stream = struct.unpack(">BBI", self.inbox[3:9])
            payload, self.inbox = self.inbox[9:9 + size], self.inbox[9 + size:]
            self.take(kind, flags, stream, payload)
        return bool(data)

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == HEADERS:
            self.seen.append(stream)
        elif kind in (RESET, GOAWAY):
            self.fault = f"frame {kind} on {stream}: {payload.hex()}"


class Server(Peer):
    def __init__(self, sock):
        super().__init__(sock)
        self.magic = len(MAGIC)
        sock.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1000)))  # MAX_CONCURRENT_STREAMS

    def take(self, kind, flags, stream, payload):
        super().take(kind, flags, stream, payload)
        self.fault = ""

    def read(self):
        if self.magic:
            try:
                self.magic -= len(self.sock.recv(self.magic))
            except ssl.SSLWantReadError:
                return True
            except OSError:
                return False
            return self.magic == 0 and (not self.sock.pending() or super().read())
        return super().read()


def origin(options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", options.port), backlog=64)
    loop = selectors.DefaultSelector()
    loop.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in loop.select():
            if key.fileobj is listener:
                sock = listener.accept()[0]
                sock.settimeout(5)
                try:
                    loop.register(secure := context.wrap_socket(sock, server_side=True), selectors.EVENT_READ, Server(secure))
                except (OSError, ssl.SSLError):
                    sock.close()
            elif not key.data.read():
                loop.unregister(key.fileobj)
                key.fileobj.close()


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Client(Peer):
    def __init__(self, options):
        context = ssl.create_default_context(cafile=options.ca)
        context.set_alpn_protocols(["h2"])
        sock = socket.create_connection(("127.0.0.1", options.port))
        if options.connect:
            sock.sendall(f"CONNECT {options.connect} HTTP/1.1\r\nHost: {options.connect}\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += sock.recv(1)
            if b" 200 " not in answer:
                raise OSError(answer)
        super().__init__(context.wrap_socket(sock, server_hostname=options.tls))
        if self.sock.selected_alpn_protocol() != "h2":
            raise OSError("no HTTP/2")
        self.sock.sendall(MAGIC + frame(SETTINGS, 0, 0))
        self.next = 1
        self.host = options.header.encode()

    def ask(self, count):
        """That many requests in one piece, as a client has them that wants much at once."""
        words = b""
        for _ in range(count):
            block = b"\x82\x87" + literal(b":path", b"/waiting/%d" % self.next) + literal(b":authority", self.host)
            block += literal(b"user-agent", b"curl/7.88.1") + literal(b"accept", b"*/*")
            words += frame(HEADERS, END_HEADERS | END_STREAM, self.next, block)
            self.next += 2
        self.sock.sendall(words)

    def settle(self, seconds):
        """Reads what comes; nothing should."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            if not self.read():
                self.fault = self.fault or "the connection has ended"
                return


def client(options):
    once = Client(options)  # what the program takes once, whoever comes: buffers of its log and the like
    once.ask(options.streams)
    once.settle(0.5)
    once.sock.close()
    time.sleep(0.5)
    peers = [Client(options) for _ in range(options.connections)]
    for peer in peers:
        peer.ask(1)
        peer.settle(0.1)
    print("ready", flush=True)
    sys.stdin.readline()
    for peer in peers:  # one after the other: ten clients at one moment would be a larger burst than the one before
        peer.ask(options.streams - 1)
        peer.settle(0.3)
    fault = next((peer.fault for peer in peers if peer.fault), "")
    answered = sum(len(peer.seen) for peer in peers)
    print(json.dumps({"streams": len(peers) * (options.streams - 1), "answered": answered, "fault": fault}), flush=True)
    sys.stdin.readline()
    for peer in peers:
        peer.sock.close()
    print("closed", flush=True)


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("role", choices=("origin", "client"))
    p.add_argument("--port", type=int, required=True)
    for name in ("cert", "key", "ca", "tls", "header", "connect"):
        p.add_argument("--" + name)
    p.add_argument("--connections", type=int, default=1)
    p.add_argument("--streams", type=int, default=101)
    return p.parse_args()


if __name__ == "__main__":
    given = parse()
    {"origin": origin, "client": client}[given.role](given)
