# SPDX-License-Identifier: MPL-2.0
"""Traffic that is nearly right: requests, hellos and responses with a few bytes changed, cut into pieces, from clients and origins that
leave when they like. Nothing is expected of the answers; the proxy lives, gives back its descriptors, and every flow's log is sound
(judged when it stops). SOTH_E2E_SEED repeats a run, SOTH_E2E_NOISE_SECONDS makes it longer."""
import os
import random
import socket
import struct
import threading
import time

import pytest

from harness.hello import alpn, hello, padding, records
from harness.timing import scaled, until

SEED = int(os.environ.get("SOTH_E2E_SEED", "20"))
RESOLVER = 4  # sockets that look-ups may keep, two a worker
SECONDS = float(os.environ.get("SOTH_E2E_NOISE_SECONDS", "6"))
HOSTS = ["origin.test"] * 4 + ["bad.test", "ignored.test", "by-sni.test", "gone.invalid", "127.0.0.1"]
REQUESTS = [
    b"GET %s/x HTTP/1.1\r\nHost: origin.test\r\n\r\n", b"HEAD %s/ HTTP/1.0\r\n\r\n",
    b"POST %s/admin HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST %s/e HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"GET %s/ws HTTP/1.1\r\nHost: origin.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"POST %s/ HTTP/1.1\r\nHost: bad.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"SSH-2.0-x\r\n",
    b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x02hi", b"\x15\x03\x03\0\2\2\x28",
]
WORDS = [b"\r\n", b"\n", b"\0", b"\r\n\r\n", b":", b" ", b"chunked", b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]


def spoil(r, data):
    data = bytearray(data)
    for _ in range(r.choice([0, 0, 1, 1, 2, 3, 8])):
        at = r.randrange(len(data) or 1)
        kind = r.randrange(5)
        if kind == 0:
            data[at:at + 1] = bytes([r.randrange(256)])
        elif kind == 1:
            del data[at:at + r.randrange(1, 8)]
        elif kind == 2:
            data[at:at] = r.choice(WORDS)
        elif kind == 3:
            data[at:at] = data[max(0, at - r.randrange(1, 40)):at]
        else:
            del data[at:]
    return bytes(data)


def depart(r, sock):
    if r.random() < 0.3:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class NoisyOrigin:
    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        number = 0
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(conn, random.Random(SEED * 7919 + number)), daemon=True).start()

    @staticmethod
    def _serve(conn, r):
        conn.settimeout(1)
        try:
            if r.random() < 0.1:
                conn.sendall(b"220 ready\r\n")
            while r.random() > 0.1 and conn.recv(65536):
                conn.sendall(spoil(r, r.choice(RESPONSES)))
        except OSError:
            pass
        depart(r, conn)


def script(r, port, reverse):
    """The bytes of one client."""
    host = r.choice(HOSTS).encode()
    parts = [b"CONNECT %s:%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, port, host)] if not reverse and r.random() < 0.6 else []
    prefix = b"" if parts or reverse or r.random() < 0.1 else b"http://%s:%d" % (host, port)
    if r.random() < 0.3:
        name = host if host[:1].isalpha() else None
        parts.append(records(hello(name, more=r.choice([b"", alpn(b"h2", b"http/1.1"), padding(300)])), r.choice([16384, 1, 7, 100])))
    else:
        parts += [r.choice(REQUESTS) % prefix for _ in range(r.randrange(1, 4))]
    return b"".join(spoil(r, part) if r.random() < 0.6 else part for part in parts)


def client(r, address, data):
    with socket.create_connection(address, 3) as sock:
        sock.settimeout(0.3)
        at = 0
        while at < len(data):
            n = r.choice([1, 3, 50, 1000, 100000])
            sock.sendall(data[at:at + n])
            at += n
        if r.random() < 0.3:
            sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65536):
                pass
        except TimeoutError:
            pass
        depart(r, sock)


@pytest.mark.slow
def test_noise(proxy):
    server = NoisyOrigin()
    times = {"stream_stage_timeout": "700ms", "idle_timeout": "1s", "tls_handshake_timeout": "700ms", "response_header_timeout": "700ms",
             "upstream_connect_timeout": "1s", "resolver_timeout": "500ms",
             "policy": {"blocked_hosts": ["bad.test"], "ignore_hosts": ["ignored.test"],
                        "rules": [{"id": "path", "action": "block", "path": "/admin*"}, {"id": "sni", "action": "block", "sni": "by-sni.test"}]}}
    behind = {"addr": "127.0.0.1", "port": 0, "mode": "reverse"}
    proxies = [proxy(**times), proxy(connect_parse_mode="lenient", strict_header_mode=False, authority_mismatch="audit", **times),
               proxy(listen=[behind, behind | {"tls": True}], reverse_upstream={"host": "origin.test", "port": server.port}, **times)]
    before, begin, done = [p.fds() for p in proxies], time.monotonic(), [0] * 8

    def goes_on():  # a busy machine comes to a hundred later
        seconds = time.monotonic() - begin
        return seconds < SECONDS or (sum(done) <= 100 and seconds < scaled(60))

    def crowd(number):
        r = random.Random(SEED * 1009 + number)
        while goes_on():
            p = r.choice(proxies)
            try:
                client(r, p.address(r.randrange(len(p.addresses))), script(r, server.port, p is proxies[2]))
            except OSError:
                pass
            done[number] += 1

    clients = [threading.Thread(target=crowd, args=(number,)) for number in range(len(done))]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    print(f"seed {SEED}: {sum(done)} connections")
    assert sum(done) > 100 and [p.process.poll() for p in proxies] == [None] * 3
    until(lambda: all(p.fds() <= was + RESOLVER for p, was in zip(proxies, before)), 20,
          lambda: f"{[p.fds() for p in proxies]} descriptors to become {before}")
    server.sock.close()
