# SPDX-License-Identifier: MPL-2.0
"""JA3 and JA4 of clients: in the events, the same as computed by other code from the same bytes, and as keys of rules."""
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from harness import fingerprint
from harness.client import trust
from harness.hello import alpn, extension, hello, padding, records
from harness.timing import scaled

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

HELLOS = [  # name, message, bytes of a record
    ("plain", hello(), 16384), ("one_byte_records", hello(), 1), ("no_sni", hello(None), 16384), ("h2", hello(more=alpn(b"h2", b"http/1.1")), 16384),
    ("odd_protocol", hello(more=alpn(b"\xab\xcd")), 16384), ("one_letter_protocol", hello(more=alpn(b"x")), 16384),
    ("grease", hello(suites=b"\x0a\x0a\x13\x01", versions=(0x5a5a, 0x0304), more=extension(0xdada, b"\0")), 100),
    ("ech_outer", hello(more=extension(0xfe0d, bytes(200))), 16384), ("tls12", hello(versions=None), 16384),
    ("two_records_of_16k", hello(more=padding(17000)), 16384), ("120_suites", hello(suites=bytes(range(240))), 16384),
    ("groups_that_lie", hello(more=extension(11, b"\xff\0")), 16384),
]


@pytest.fixture(scope="module")
def recorder(shared, shared_origin):
    return shared(), shared_origin(tls=True)


@pytest.mark.parametrize("message,size", [h[1:] for h in HELLOS], ids=[h[0] for h in HELLOS])
def test_hand_made(recorder, message, size):
    p, server = recorder
    with p.client() as client:
        client.connect(f"origin.test:{server.port}")
        client.send(records(message, size))
        client.exactly(1)
        mine = f"127.0.0.1:{client.port}"
    p.wait_event("stream_closed", client_addr=mine)
    events = [e for e in p.log.find(client_addr=mine) if e.kind.startswith("tls_") and e.at("peer") == "downstream"]
    assert {e.kind for e in events} == {"tls_handshake_started", "tls_handshake_failed"}
    for e in events:
        assert (e.at("ja3"), e.at("ja4")) == (fingerprint.ja3(message), fingerprint.ja4(message)), e
    for e in p.log.find(client_addr=mine, peer="upstream"):
        assert e.at("ja3") is None and e.at("ja4") is None, "an origin has no hello"


class Wiretap:
    """Between a client and the proxy: passes everything on and keeps what the client said first inside its CONNECT."""

    def __init__(self, port):
        self.to, self.first, self.whole = port, [], threading.Event()
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._pass, args=(server, client, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(client, server, bytearray()), daemon=True).start()

    def _pass(self, source, sink, kept):
        head = False
        while True:
            try:
                data = source.recv(65536)
                sink.sendall(data)
            except OSError:
                data = b""
            if not data:
                break
            if kept is not None:
                kept += data
                if not head and b"\r\n\r\n" in kept:
                    head = True
                    del kept[:kept.index(b"\r\n\r\n") + 4]
                if head and len(kept) > 5 and len(kept) >= 5 + int.from_bytes(kept[3:5], "big"):
                    self.first.append(bytes(kept[:5 + int.from_bytes(kept[3:5], "big")]))
                    kept = None
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.sock.close()


def _curl(tap, url, p):
    return ["curl", "-sS", "-o", "/dev/null", "--proxy", f"http://127.0.0.1:{tap.port}", "--cacert", str(p.ca_path), url]


def _openssl(tap, url, p):
    host = url.split("/")[2]
    return ["openssl", "s_client", "-proxy", f"127.0.0.1:{tap.port}", "-connect", host, "-servername", "origin.test", "-CAfile", str(p.ca_path),
            "-alpn", "h2,http/1.1"]


def _chromium(tap, url, p):
    return [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--ignore-certificate-errors",
            f"--user-data-dir={p.folder}/chromium", f"--proxy-server=http://127.0.0.1:{tap.port}", "--proxy-bypass-list=<-loopback>",
            "--dump-dom", url]


@pytest.mark.parametrize("command", [_curl, _openssl, pytest.param(_chromium, marks=pytest.mark.skipif(not CHROMIUM, reason="no chromium"))],
                         ids=["curl", "openssl", "chromium"])
def test_real_clients(proxy, origin, command):
    server = origin(tls=True)
    p = proxy(policy={"rules": [{"id": "home", "action": "block", "host": "*.google.com"}, {"id": "home2", "action": "block", "host": "*.googleapis.com"}]})
    tap = Wiretap(p.port)
    try:
        subprocess.run(command(tap, f"https://origin.test:{server.port}/hello", p), stdin=subprocess.DEVNULL, capture_output=True, timeout=scaled(60))
        started = p.wait_event("tls_handshake_started", peer="downstream", sni="origin.test")
    finally:
        tap.close()
    prints = {(fingerprint.ja3(m), fingerprint.ja4(m)) for m in map(fingerprint.message_of, tap.first) if m[:1] == b"\1"}
    assert (started.at("ja3"), started.at("ja4")) in prints
    if command is _chromium:
        assert started.at("ja4").startswith("t13d15"), "GREASE was counted"


def ja4_of(p):
    return p.wait_event("tls_handshake_started", peer="downstream").at("ja4")


def test_a_rule_by_fingerprint(proxy, origin, resolver):
    """The 200 comes first, then the hello, then the decision; nothing is looked up or dialled for a block."""
    server = origin(tls=True)
    p = proxy()
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
    mine = ja4_of(p)
    before = server.connections
    for pattern_text, status in ((mine, 403), (mine[:11] + "*", 403), ("t12*", 200)):
        resolver.queries.clear()
        p = proxy(policy={"rules": [{"id": "tool", "action": "block", "host": "origin.test", "ja4": pattern_text}]})
        with p.https("origin.test", server.port) as client:
            assert client.ask("GET", "/hello", "origin.test").status == status
        decision = p.decision()
        if status == 403:
            assert (decision.at("action"), decision.at("rule_id")) == ("block", "tool")
            assert resolver.queries == [] and server.connections == before
            closed = p.closed_as("blocked", "tool")
            assert [e.kind for e in closed][:2] == ["connect_received", "connect_decision"]
        else:
            assert decision.at("action") == "intercept" and server.connections == before + 1


def test_a_rule_by_fingerprint_tunnels(proxy, origin, authority):
    server = origin(tls=True)
    p = proxy(policy={"default": "block", "rules": [{"id": "known", "action": "tunnel", "ja4": "t13*", "alpn": "http/1.1", "sni": "origin.test"}]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.start_tls(trust(authority.path), "origin.test")
        assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(1)
    assert (p.decision().at("action"), p.decision().at("rule_id")) == ("tunnel", "known")
    with p.client().connect(f"origin.test:{server.port}") as client:  # no protocol offered: the default
        with pytest.raises(ssl.SSLError):
            client.start_tls(trust(authority.path, alpn=()), "origin.test")
    p.wait_closed(2)
    assert [e.at("action") for e in p.log.find("connect_decision")] == ["tunnel", "block"]
