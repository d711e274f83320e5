# SPDX-License-Identifier: MPL-2.0
"""Everything that can go wrong between the proxy and the origin, row by row of the contract's table of causes: what the client
sees, Proxy-Status, reason_code and reason_detail."""
import socket
import ssl

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.ports import free_port
from harness.timing import Stopwatch, scaled, span

ALERT_40 = b"\x15\x03\x03\x00\x02\x02\x28"
ALERT_70 = b"\x15\x03\x01\x00\x02\x02\x46"


def fails(p, host, port, status, error, reason, detail):
    """The same failure, told inside the intercepted TLS and as the answer to an absolute-form request."""
    with p.https(host, port) as client:
        answer = client.ask("GET", "/", host)
    assert (answer.status, answer.proxy_error) == (status, error), answer.head.raw
    events = p.closed_as(reason, detail)
    assert answer.body, "a short text says what happened"
    return events


def fails_cleartext(p, host, port, status, error, reason, detail):
    with p.client() as client:
        client.send(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = client.response()
    assert (answer.status, answer.proxy_error) == (status, error), answer.head.raw
    return p.closed_as(reason, detail)


BOTH = pytest.mark.parametrize("fails_as", [fails, fails_cleartext], ids=["https", "http"])


# ---- names

@BOTH
@pytest.mark.parametrize("rcode,detail", [(3, "dns:NXDOMAIN"), (2, "dns:SERVFAIL"), (5, "dns:REFUSED")])
def test_name_does_not_resolve(proxy, resolver, fails_as, rcode, detail):
    resolver.answers["gone.test"] = rcode
    fails_as(proxy(), "gone.test", 443, 502, "dns_error", "upstream_connect_failed", detail)
    assert resolver.asked("gone.test")


def test_name_without_addresses(proxy, resolver):
    resolver.answers["empty.test"] = []
    p = proxy()
    with p.https("empty.test", 443) as client:
        answer = client.ask("GET", "/", "empty.test")
    assert (answer.status, answer.proxy_error) == (502, "dns_error")
    assert p.wait_closed()[0].at("reason_detail").startswith("dns:")


@BOTH
def test_resolvers_silent(proxy, resolver, fails_as):
    resolver.answers["silent.test"] = None
    watch = Stopwatch()
    fails_as(proxy(resolver_timeout="700ms"), "silent.test", 443, 504, "dns_timeout", "upstream_connect_failed", "dns:timeout")
    assert watch.seconds < scaled(8)


def test_answers_are_cached_and_the_cache_is_bounded_by_resolver_cache_ttl(proxy, origin, resolver):
    server = origin(tls=True)
    for ttl, most in (("60s", 1), ("0s", 3)):
        resolver.queries.clear()
        p = proxy(resolver_cache_ttl=ttl, workers=1)
        for _ in range(3):
            with p.https("origin.test", server.port) as client:
                client.ask("GET", "/hello", "origin.test")
        p.wait_closed(3)
        assert len([q for q in resolver.asked("origin.test") if q[1] == 1]) == most, ttl


# ---- dials

@BOTH
def test_refused(proxy, fails_as):
    fails_as(proxy(), "origin.test", free_port(), 502, "connection_refused", "upstream_connect_failed", "ECONNREFUSED")


@pytest.fixture
def full_backlog():
    """A listener that accepts nothing any more: SYNs to it are dropped."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    clients = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(server.getsockname())
        clients.append(one)
    yield server.getsockname()[1]
    for one in clients + [server]:
        one.close()


@BOTH
def test_connect_timeout(proxy, full_backlog, fails_as):
    p = proxy(upstream_connect_timeout="600ms")
    fails_as(p, "origin.test", full_backlog, 504, "connection_timeout", "upstream_connect_failed", "ETIMEDOUT")


def test_second_address_is_tried(proxy, origin, resolver):
    """Happy Eyeballs: IPv6 refuses, IPv4 answers."""
    server = origin(tls=True)
    resolver.answers["origin.test"] = ["::1", "127.0.0.1"]
    p = proxy()
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"


def test_silent_first_address_does_not_hold_up_the_second(proxy, resolver, authority, full_backlog):
    """127.0.0.1 swallows the SYN, 127.0.0.2 answers on the same port."""
    server = socket.create_server(("127.0.0.2", full_backlog))
    server.settimeout(scaled(10))
    resolver.answers["origin.test"] = ["127.0.0.1", "127.0.0.2"]
    p = proxy(upstream_connect_timeout="8s")
    watch = Stopwatch()
    with p.client() as client:
        client.send(f"GET http://origin.test:{full_backlog}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        conn, _ = server.accept()
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.response().body == b"ok"
        conn.close()
    server.close()
    assert watch.seconds < scaled(4)


# ---- TLS with the origin

def tls_failure(p, host, port, error, status=502):
    with p.https(host, port) as client:
        answer = client.ask("GET", "/", host)
    assert answer.status == status and answer.proxy_error == error, answer.head.raw
    failed = p.wait_event("tls_handshake_failed", peer="upstream")
    reason = failed.at("tls_failure_reason")
    assert reason.encode() in answer.body, "the reply says the reason"
    p.closed_as("tls_handshake_failed", "upstream:" + reason)
    assert failed.at("normalized_reason") and failed.at("tls_failure_source") == "native_authoritative"
    assert failed.at("tls_ops_provider") == "soth-mitm" and failed.at("source_confidence") == "authoritative"
    for counter in ("host", "host_rolling", "source", "reason", "global"):
        assert failed.at(f"tls_failure_{counter}_count") == "1", counter
    return reason


def test_origin_of_an_unknown_authority(proxy, origin, stranger):
    server = origin(tls=stranger.server("origin.test"))
    assert tls_failure(proxy(), "origin.test", server.port, "tls_certificate_error") == "unknown_ca"
    assert server.requests == []


def test_origin_self_signed(proxy, origin, authority):
    server = origin(tls=authority.server("origin.test", self_signed=True))
    assert tls_failure(proxy(), "origin.test", server.port, "tls_certificate_error") == "unknown_ca"


@pytest.mark.parametrize("leaf", [
    {"days": (-10, -1)}, {"days": (1, 10)}, {"usage": ExtendedKeyUsageOID.CLIENT_AUTH},
    {"rsa_bits": 1024},
], ids=["expired", "not_yet_valid", "client_usage", "rsa_1024"])
def test_origin_certificate_invalid(proxy, origin, authority, leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(*authority.leaf("origin.test", **leaf))
    server = origin(tls=context)
    assert tls_failure(proxy(), "origin.test", server.port, "tls_certificate_error") == "cert_validation"


def test_origin_certificate_for_another_name(proxy, origin, authority):
    server = origin(tls=authority.server("elsewhere.test"))
    assert tls_failure(proxy(), "origin.test", server.port, "tls_certificate_error") == "cert_validation"


def test_address_not_in_the_certificate(proxy, origin, authority):
    server = origin(tls=authority.server("origin.test"))
    assert tls_failure(proxy(), "127.0.0.1", server.port, "tls_certificate_error") == "cert_validation"


def test_skip_verify(proxy, origin, stranger):
    server = origin(tls=stranger.server("elsewhere.test"))
    p = proxy(upstream_tls_insecure_skip_verify=True)
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"


@pytest.mark.parametrize("alert,reason", [(ALERT_40, "handshake"), (ALERT_70, "handshake")], ids=["handshake_failure", "version"])
def test_origin_sends_an_alert(proxy, origin, alert, reason):
    def refuse(wire):
        wire.fill()
        wire.send(alert)

    server = origin(refuse)
    p = proxy()
    assert tls_failure(p, "origin.test", server.port, "tls_alert_received") == reason
    assert p.log.find("tls_handshake_failed")[0].at("tls_alert")


@pytest.mark.parametrize("end", ["close", "reset", "close_at_once"])
def test_origin_ends_in_the_handshake(proxy, origin, end):
    def leave(wire):
        if end != "close_at_once":
            wire.fill()
        if end == "reset":
            wire.reset()

    server = origin(leave)
    assert tls_failure(proxy(), "origin.test", server.port, "tls_protocol_error") == "eof_or_reset"


def test_origin_that_speaks_http_on_its_tls_port(proxy, origin):
    def plain(wire):
        wire.fill()
        wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = origin(plain)
    assert tls_failure(proxy(), "origin.test", server.port, "tls_protocol_error") in ("other", "handshake")


def test_origin_silent_in_the_handshake(proxy, origin):
    server = origin(lambda wire: wire.rest())
    p = proxy(tls_handshake_timeout=span(1))
    assert tls_failure(p, "origin.test", server.port, "connection_timeout", 504) == "timeout"


def test_tls_failure_counters_grow(proxy, origin, stranger):
    server = origin(tls=stranger.server("origin.test"))
    p = proxy(workers=1)
    for _ in range(3):
        with p.https("origin.test", server.port) as client:
            assert client.ask("GET", "/", "origin.test").status == 502
    p.wait_closed(3)
    failed = p.log.find("tls_handshake_failed")
    for counter in ("host", "host_rolling", "source", "reason", "global"):
        assert [e.at(f"tls_failure_{counter}_count") for e in failed] == ["1", "2", "3"], counter


# ---- HTTP with the origin

@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["nothing", "half_a_head"])
def test_origin_closes_before_a_response(proxy, origin, tls, garbage):
    def leave(wire):
        wire.head()
        wire.send(garbage) if garbage else None

    server, p = origin(leave, tls=tls), proxy()
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        answer = client.ask("POST", "/", "origin.test", body=b"not to be repeated")
    assert (answer.status, answer.proxy_error) == (502, "connection_terminated")
    p.closed_as("mitm_http_error", "origin_eof")
    assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("head,part", [
    (b"Content-Length: 1000", b"x" * 300), (b"Transfer-Encoding: chunked", b"64\r\n" + b"x" * 50),
    (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")], ids=["length", "inside_chunk", "between_chunks"])
def test_origin_closes_inside_a_body(proxy, origin, tls, head, part):
    def cut(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + part)

    server, p = origin(cut, tls=tls), proxy()
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        try:
            got = client.rest()
        except OSError:
            got = b""
    assert not got.endswith(b"0\r\n\r\n"), "a cut body never looks complete"
    p.closed_as("mitm_http_error", "origin_truncated")


def test_close_delimited_body_without_close_notify_is_cut(proxy, origin):
    """RFC 9112 9.8: over TLS only close_notify says that such a body is whole."""
    def cut(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nthe first half")
        socket.socket.shutdown(wire.sock, socket.SHUT_WR)
        wire.rest()

    server, p = origin(cut, tls=True), proxy()
    with p.https("origin.test", server.port) as client:
        client.sock.suppress_ragged_eofs = False
        client.send(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(ssl.SSLEOFError):
            client.response()
    p.closed_as("mitm_http_error", "origin_truncated")


def test_origin_resets_inside_a_body(proxy, origin):
    def cut(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxxx")
        wire.reset()

    server, p = origin(cut), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        try:
            assert len(client.rest()) < 1000
        except OSError:
            pass
    p.closed_as("mitm_http_error", "origin_truncated")


def test_response_head_too_late(proxy, origin):
    server = origin(lambda wire: wire.rest(), tls=True)
    p = proxy(response_header_timeout="600ms")
    with p.https("origin.test", server.port) as client:
        answer = client.ask("GET", "/", "origin.test")
    assert (answer.status, answer.proxy_error) == (504, "http_response_timeout")
    p.closed_as("stream_stage_timeout", "response_header")


def test_response_head_over_the_limit(proxy, origin):
    def big(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 9000 + b"\r\nContent-Length: 0\r\n\r\n")

    server, p = origin(big, tls=True), proxy(max_http_head_bytes=8192)
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/", "origin.test").status == 502
    assert p.wait_closed()[0].at("reason_code") == "mitm_http_error"


def test_upstream_ca_file_is_needed(proxy, origin):
    """Without it the origin's authority is unknown: verification is on by default."""
    server = origin(tls=True)
    assert tls_failure(proxy(upstream_ca_file=""), "origin.test", server.port, "tls_certificate_error") == "unknown_ca"


def test_upstream_ca_file_may_be_a_whole_store(proxy, origin, authority, tmp_path):
    """A bundle of everything, as companies hand it out, is longer than any one certificate."""
    system = "/etc/ssl/certs/ca-certificates.crt"
    with open(system) as roots:
        (tmp_path / "all.pem").write_text(roots.read() + authority.path.read_text())
    server, p = origin(tls=True), proxy(upstream_ca_file=str(tmp_path / "all.pem"))
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
