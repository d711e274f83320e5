# SPDX-License-Identifier: MPL-2.0
"""Listener modes and addresses: explicit and reverse, TCP on both families, Unix sockets, several at once."""
import os
import ssl

import subprocess

import pytest

from harness.client import trust
from harness.timing import scaled


def reverse(server, upstream_tls=False, **listener):
    return {"listen": [{"addr": "127.0.0.1", "port": 0, "mode": "reverse"} | listener],
            "reverse_upstream": {"host": "origin.test", "port": server.port, "tls": upstream_tls}}


@pytest.mark.parametrize("upstream_tls", [False, True])
def test_reverse_without_tls(proxy, origin, upstream_tls):
    server = origin(tls=upstream_tls)
    p = proxy(**reverse(server, upstream_tls))
    with p.client() as client:
        assert client.ask("GET", "/hello", "public.test").body == b"hello\n"
        assert client.ask("POST", "/echo", "public.test", body=b"abc").status == 200
    assert [r.head.get("Host") for r in server.requests] == ["public.test"] * 2, "host_header: keep"
    events = p.closed_as("mitm_http_completed")
    assert events[0].kind == "connect_received" and events[0].at("listener_mode") == "reverse"
    assert server.connections == 1


def test_reverse_host_header_upstream(proxy, origin):
    server = origin()
    p = proxy(**reverse(server, host_header="upstream"))
    with p.client() as client:
        client.ask("GET", "/hello", "public.test")
    assert server.requests[0].head.all("Host") == [f"origin.test:{server.port}"]


@pytest.mark.parametrize("upstream_tls", [False, True])
def test_reverse_with_tls_and_a_leaf_for_the_sni(proxy, origin, upstream_tls):
    server = origin(tls=upstream_tls)
    p = proxy(**reverse(server, upstream_tls, tls=True))
    with p.client() as client:
        client.start_tls(p.trust(), "public.test")
        assert client.ask("GET", "/bytes/300000", "public.test").status == 200
    events = p.closed_as("mitm_http_completed")
    kinds = [(e.kind, e.at("peer")) for e in events if e.kind == "tls_handshake_succeeded"]
    assert ("tls_handshake_succeeded", "downstream") in kinds
    assert (("tls_handshake_succeeded", "upstream") in kinds) == upstream_tls


def test_reverse_with_a_given_certificate(proxy, origin, authority, tmp_path):
    server = origin()
    cert, key = authority.leaf("public.test")
    p = proxy(**reverse(server, tls=True, cert_path=str(cert), key_path=str(key)))
    with p.client() as client:
        client.start_tls(trust(authority.path), "public.test")
        assert client.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(cert.read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n")
        assert client.ask("GET", "/hello", "public.test").body == b"hello\n"


def test_reverse_sni_and_host_differ(proxy, origin):
    server = origin()
    p = proxy(**reverse(server, tls=True))
    with p.client() as client:
        client.start_tls(p.trust(), "public.test")
        answer = client.ask("GET", "/hello", "private.test")
    assert answer.status == 403 and server.requests == []
    p.closed_as("blocked", "authority_mismatch")


def test_reverse_is_no_open_proxy(proxy, origin, resolver):
    """Absolute-form and CONNECT on a reverse listener do not choose the target."""
    server, other = origin(), origin()
    p = proxy(**reverse(server), authority_mismatch="allow")
    with p.client() as client:
        client.send(f"GET http://other.test:{other.port}/hello HTTP/1.1\r\nHost: other.test\r\n\r\n".encode())
        client.response()
    with p.client() as client:
        client.send(f"CONNECT other.test:{other.port} HTTP/1.1\r\nHost: other.test\r\n\r\n".encode())
        assert client.response("CONNECT").status in (400, 403, 405)
    assert other.connections == 0 and not resolver.asked("other.test")


def test_reverse_keep_alive_and_blocked_path(proxy, origin):
    server = origin()
    p = proxy(policy={"rules": [{"id": "no-admin", "action": "block", "path": "/admin*"}]}, **reverse(server))
    with p.client() as client:
        assert [client.ask("GET", t, "public.test").status for t in ("/hello", "/admin", "/hello")] == [200, 403, 200]


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff", b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
                         ids=["tls", "ssh", "two_hosts"])
def test_reverse_bad_input(proxy, origin, garbage):
    server = origin()
    p = proxy(**reverse(server))
    with p.client() as client:
        client.send(garbage)
        assert client.response().status == 400
    assert p.wait_closed()[0].at("reason_code") in ("mitm_http_error", "connect_parse_failed") and server.requests == []


def test_reverse_tls_listener_with_plain_http(proxy, origin):
    server = origin()
    p = proxy(**reverse(server, tls=True))
    with p.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: public.test\r\n\r\n")
        try:
            client.rest()
        except OSError:
            pass
    assert p.wait_closed()[0].at("reason_code") in ("tls_handshake_failed", "blocked", "mitm_http_error")
    assert server.requests == []


def test_explicit_proxy_over_tls_is_refused_by_name(proxy):
    """An https:// proxy does not exist yet; the configuration says so instead of listening in cleartext."""
    p = proxy(start=False, listen=[{"addr": "127.0.0.1", "port": 0, "tls": True}])
    done = subprocess.run(p.command("check"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(20))
    assert done.returncode == 20 and b"listen[0].tls" in done.stderr


def test_unix_socket(proxy, origin, tmp_path):
    server = origin(tls=True)
    path = str(tmp_path / "p.sock")
    p = proxy(listen=[{"addr": f"unix:{path}"}])
    assert p.addresses == [f"unix:{path}"]
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    assert p.closed_as("mitm_http_completed")[0]["client_addr"].startswith("unix:")
    p.stop()
    assert not os.path.exists(path)


def test_unix_socket_left_over_by_a_crash(proxy, origin, tmp_path):
    server = origin()
    path = str(tmp_path / "p.sock")
    first = proxy(listen=[{"addr": f"unix:{path}"}])
    first.kill()
    first.process = None
    assert os.path.exists(path)
    second = proxy(listen=[{"addr": f"unix:{path}"}])
    with second.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200


def test_dual_stack(proxy, origin):
    from harness.client import Client
    server, p = origin(), proxy(listen=[{"addr": "[::]", "port": 0}])
    assert p.addresses[0].startswith("[::]:")
    for host in ("127.0.0.1", "::1"):
        with Client((host, p.port)).connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(2)
    clients = {e["client_addr"].rsplit(":", 1)[0] for e in p.events()}
    assert clients == {"127.0.0.1", "[::1]"}, "a mapped IPv4 client is an IPv4 client"


def test_several_listeners(proxy, origin, tmp_path):
    server = origin()
    p = proxy(listen=[{"addr": "127.0.0.1", "port": 0}, {"addr": "::1", "port": 0}, {"addr": f"unix:{tmp_path}/s"},
                      {"addr": "127.0.0.1", "port": 0, "mode": "reverse"}],
              reverse_upstream={"host": "origin.test", "port": server.port})
    assert len(p.addresses) == len(set(p.addresses)) == 4
    for number in range(3):
        with p.client(number).connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    with p.client(3) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(4)


def test_opens_nothing_but_its_listeners(proxy):
    """No control port: the process's TCP sockets are those of the configuration."""
    p = proxy(workers=1)
    inodes = set()
    for fd in os.listdir(f"/proc/{p.process.pid}/fd"):
        try:
            target = os.readlink(f"/proc/{p.process.pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    listening = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{p.process.pid}/net/{table}") as file:
            for line in list(file)[1:]:
                cells = line.split()
                if cells[9] in inodes and cells[3] == "0A":
                    listening.append(cells[1])
    assert listening == ["0100007F:%04X" % p.port]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_the_port(proxy, origin, workers):
    server, p = origin(tls=True), proxy(workers=workers)
    for _ in range(8):
        with p.https("origin.test", server.port) as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(8)
