# SPDX-License-Identifier: MPL-2.0
"""The first bytes after the 200: TLS early or late, cleartext HTTP, an origin that speaks first, bytes that are neither."""
import time

import pytest

from harness.eventlog import flows
from harness.timing import until


def test_hello_after_a_second_of_silence_is_intercepted(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        time.sleep(1.0)  # the client's own silence is what is tested
        client.start_tls(p.trust(), "origin.test")
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    p.closed_as("mitm_http_completed")
    assert p.decision().at("action") == "intercept"


def test_silence_dials_after_300_ms(proxy, origin):
    """The origin is dialled although the client said nothing, and not before 300 ms."""
    opened = []

    def wait(wire):
        opened.append(time.monotonic())
        wire.rest()

    server, p = origin(wait), proxy()
    start = time.monotonic()  # before the silence, however late this is written down
    with p.client().connect(f"origin.test:{server.port}") as client:
        until(lambda: opened, 10, "the dial")
        assert opened[0] - start > 0.2
        client.sock.getpeername()


@pytest.mark.parametrize("not_tls", ["tunnel", "block"])
def test_origin_that_speaks_first(proxy, origin, not_tls):
    def banner(wire):
        wire.send(b"220 mail.test ready\r\n")
        wire.send(b"you said " + wire.until(b"\n"))

    server, p = origin(banner), proxy(not_tls=not_tls)
    with p.client().connect(f"origin.test:{server.port}") as client:
        if not_tls == "block":
            assert client.ended()
        else:
            assert client.until(b"\n") == b"220 mail.test ready\r\n"
            client.send(b"QUIT\r\n")
            assert client.until(b"\n") == b"you said QUIT\r\n"
    if not_tls == "block":
        p.closed_as("blocked", "not_tls")
    else:
        p.closed_as("relay_eof")
        decided = p.decision()
        assert (decided.at("action"), decided.at("reason")) == ("tunnel", "not_tls")


@pytest.mark.parametrize("not_tls", ["tunnel", "block"])
def test_bytes_that_are_neither_tls_nor_http(proxy, origin, not_tls):
    server, p = origin(lambda wire: wire.send(b"pong " + wire.exactly(8))), proxy(not_tls=not_tls)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"\x00\x01ping\xff\xfe")
        if not_tls == "block":
            client.ended()
        else:
            assert client.exactly(13) == b"pong \x00\x01ping\xff\xfe"
    p.closed_as("blocked", "not_tls") if not_tls == "block" else p.closed_as("relay_eof")
    assert p.decision().at("reason") == "not_tls"
    assert server.connections == (0 if not_tls == "block" else 1)


def test_cleartext_http_inside_connect_is_intercepted(proxy, origin):
    server, p = origin(), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", f"origin.test:{server.port}").body == b"hello\n"
        assert client.ask("GET", "/status/204", f"origin.test:{server.port}").status == 204
    events = p.closed_as("mitm_http_completed")
    assert [e.at("scheme") for e in events if e.kind == "request_headers"] == ["http", "http"]
    assert not [e for e in events if e.kind.startswith("tls_")]


@pytest.mark.parametrize("method", ["get", "X!#$%&'*+-.^_`|~09", "M" * 200])
def test_cleartext_of_any_method_is_intercepted(proxy, origin, method):
    """A method of one's own is no way around the policy."""
    server, p = origin(), proxy(policy={"rules": [{"id": "no-admin", "action": "block", "path": "/admin*"}]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask(method, "/admin", f"origin.test:{server.port}").status == 403
    assert server.requests == [] and p.decision().at("action") == "intercept"


def test_hello_byte_by_byte(proxy, origin):
    """A ClientHello in single bytes is read whole before anything else happens."""
    import ssl
    server, p = origin(tls=True), proxy()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = p.trust().wrap_bio(incoming, outgoing, server_hostname="origin.test")
    with p.client().connect(f"origin.test:{server.port}") as client:
        first = True
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                for at in range(0, len(data), 1 if first else len(data) or 1):
                    client.send(data[at:at + (1 if first else len(data))])
                first = False
                incoming.write(client.sock.recv(65536))
        client.send(outgoing.read())
        tls.write(b"GET /hello HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
        client.send(outgoing.read())
        incoming.write(client.rest())
        assert tls.read(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("hello", [
    b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01" + b"\0" * 100, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff",
    b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03" + b"\xff" * 36,
], ids=["empty_record", "record_too_long", "short_hello", "server_hello", "rubbish_inside"])
def test_broken_hello_ends_in_one_close(proxy, origin, hello):
    server, p = origin(tls=True), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(hello)
        client.finish()
        client.rest()
    flow = p.wait_closed()[0].flow
    events = flows(p.events())[flow]
    assert events[-1].at("reason_code") in ("tls_handshake_failed", "client_aborted", "blocked", "relay_eof", "relay_error")
    assert server.requests == []


def test_client_leaves_during_the_peek(proxy, origin):
    server, p = origin(), proxy()
    p.client().connect(f"origin.test:{server.port}").close()
    events = p.closed_as("client_aborted", "peek")
    assert [e.kind for e in events].count("connect_decision") == 1
