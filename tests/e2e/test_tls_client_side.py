# SPDX-License-Identifier: MPL-2.0
"""TLS towards the client: forged leaves under strict verification, ALPN, resumption, clients that refuse us, our own CA."""
import ipaddress
import socket
import ssl

import pytest
from cryptography import x509

from harness.client import trust
from harness.timing import span
from harness.tools import clean_env, need, run


def leaf_of(p, host, port, sni=None):
    with p.https(host, port, sni=sni) as client:  # verifies in VERIFY_X509_STRICT mode
        client.ask("GET", "/hello", sni or host)
        return x509.load_der_x509_certificate(client.sock.getpeercert(True))


def openssl_verify(p, cert, folder, *args):
    from cryptography.hazmat.primitives.serialization import Encoding
    path = folder / "leaf.pem"
    path.write_bytes(cert.public_bytes(Encoding.PEM))
    run([need("openssl"), "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", p.ca_path, *args, path])


@pytest.mark.parametrize("profile", ["modern", "compat"])
@pytest.mark.parametrize("host", ["origin.test", "a.b.origin.test", "xn--bcher-kva.origin.test", "127.0.0.1", "::1",
                                  "x" * 63 + ".origin.test", "_dns.origin.test"])
def test_forged_leaf_verifies_strictly(proxy, origin, authority, tmp_path, host, profile):
    address = "::1" if host == "::1" else "127.0.0.1"
    server = origin(tls=authority.server(host), host=address)
    p = proxy(downstream_cert_profile=profile)
    cert = leaf_of(p, host, server.port)
    kind = "-verify_ip" if ":" in host or host[0].isdigit() else "-verify_hostname"
    openssl_verify(p, cert, tmp_path, kind, host)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if kind == "-verify_ip":
        assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(host)]
    else:
        assert host in names.get_values_for_type(x509.DNSName)
    assert (cert.not_valid_after_utc - cert.not_valid_before_utc).days <= 30
    assert cert.serial_number.bit_length() <= 128
    assert ("RSA" if profile == "compat" else "EC") in type(cert.public_key()).__name__
    assert x509.oid.ExtendedKeyUsageOID.SERVER_AUTH in cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


def test_ca_is_strictly_valid_and_private(proxy, tmp_path):
    p = proxy()
    assert p.ca_key.stat().st_mode & 0o777 == 0o600
    run([need("openssl"), "verify", "-x509_strict", "-CAfile", p.ca_path, p.ca_path])
    cert = x509.load_pem_x509_certificate(p.ca_path.read_bytes())
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca


def test_leaf_cache(proxy, origin):
    server, p = origin(tls=True), proxy(workers=1)
    serials = [leaf_of(p, "origin.test", server.port).serial_number for _ in range(3)]
    assert len(set(serials)) == 1
    p.wait_closed(3)
    done = p.log.find("tls_handshake_succeeded", peer="downstream")
    assert [e.at("cert_cache_status") for e in done] == ["miss", "hit", "hit"]


def test_leaf_cache_of_size_0_works(proxy, origin, tmp_path):
    server = origin(tls=True)
    p = proxy(workers=1, ca={"cert_path": "ca/ca.pem", "key_path": "ca/ca.key", "leaf_cache_capacity": 0})
    for _ in range(2):
        openssl_verify(p, leaf_of(p, "origin.test", server.port), tmp_path)
    assert not p.log.find("tls_handshake_succeeded", cert_cache_status="hit")


def test_a_given_ca_signs_under_the_subject_it_has(proxy, origin, authority, tmp_path):
    """Whatever common_name the configuration says."""
    from cryptography.hazmat.primitives import serialization
    (tmp_path / "given.pem").write_bytes(authority.path.read_bytes())
    key = authority.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "given.key").touch(mode=0o600)
    (tmp_path / "given.key").write_bytes(key)
    server = origin(tls=True)
    p = proxy(ca={"cert_path": str(tmp_path / "given.pem"), "key_path": str(tmp_path / "given.key"), "common_name": "Another"})
    p.ca_path = tmp_path / "given.pem"
    cert = leaf_of(p, "origin.test", server.port)
    assert cert.issuer == authority.cert.subject
    openssl_verify(p, cert, tmp_path, "-verify_hostname", "origin.test")


def test_ca_names_of_the_configuration(proxy):
    p = proxy(ca={"cert_path": "ca/ca.pem", "key_path": "ca/ca.key", "common_name": "Lab Proxy", "organization": "Lab"})
    subject = x509.load_pem_x509_certificate(p.ca_path.read_bytes()).subject.rfc4514_string()
    assert "CN=Lab Proxy" in subject and "O=Lab" in subject


def test_ca_survives_a_restart(proxy, tmp_path):
    first = proxy(folder=tmp_path / "same")
    before = first.ca_path.read_bytes()
    first.stop()
    second = proxy(folder=tmp_path / "same")
    assert second.ca_path.read_bytes() == before


@pytest.mark.parametrize("offered,chosen", [(("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1"), ((), None)])
def test_alpn_is_mirrored(proxy, origin, authority, offered, chosen):
    server = origin(tls=authority.server("origin.test", alpn=("http/1.1",)))
    p = proxy()
    with p.https("origin.test", server.port, alpn=offered) as client:
        assert client.sock.selected_alpn_protocol() == chosen
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    p.wait_closed()
    started = p.log.find("tls_handshake_started", peer="downstream")[0]
    assert (started.at("alpn_offered") or "").replace(" ", ",") == ",".join(offered)
    assert p.log.find("tls_handshake_succeeded", peer="downstream")[0].at("negotiated_alpn") == chosen


def test_origin_without_alpn(proxy, origin, authority):
    server = origin(tls=authority.server("origin.test", alpn=()))
    p = proxy()
    with p.https("origin.test", server.port, alpn=("h2", "http/1.1")) as client:
        assert client.sock.selected_alpn_protocol() in (None, "http/1.1")
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"


def test_handshake_events(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.https("origin.test", server.port) as client:
        client.ask("GET", "/hello", "origin.test")
        cipher = client.sock.cipher()[0]
    events = [e for e in p.closed_as("mitm_http_completed") if e.kind.startswith("tls_")]
    order = [(e.kind, e.at("peer")) for e in events]
    assert order.index(("tls_handshake_succeeded", "upstream")) < order.index(("tls_handshake_succeeded", "downstream"))
    down = next(e for e in events if e.kind == "tls_handshake_succeeded" and e.at("peer") == "downstream")
    assert down.at("sni") == "origin.test" and down.at("resumed") == "false"
    assert down.at("cipher").replace("-", "_") in (cipher, cipher.replace("-", "_"), "TLS13_" + cipher[4:].replace("-", "_"))
    start = next(e for e in events if e.kind == "tls_handshake_started" and e.at("peer") == "downstream")
    assert start.at("sni") == "origin.test"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_by_the_client(proxy, origin, version):
    server, p = origin(tls=True), proxy(workers=1)  # flows of two workers have no order among each other
    context, session, resumed = p.trust(version=version), None, []
    for _ in range(2):
        with p.client().connect(f"origin.test:{server.port}") as client:
            client.sock = context.wrap_socket(client.sock, server_hostname="origin.test", session=session)
            assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
            session = client.sock.session
            resumed.append(client.sock.session_reused)
    assert resumed == [False, True]
    p.wait_closed(2)
    assert [e.at("resumed") for e in p.log.find("tls_handshake_succeeded", peer="downstream")] == ["false", "true"]


def test_ticket_is_bound_to_its_sni(proxy, origin):
    server, p = origin(tls=True), proxy(authority_mismatch="allow")
    context = p.trust()
    context.check_hostname = False
    session = None
    for name in ("origin.test", "other.test"):
        with p.client().connect(f"{name}:{server.port}") as client:
            client.sock = context.wrap_socket(client.sock, server_hostname=name, session=session)
            assert client.ask("GET", "/hello", name).status == 200
            session, reused = client.sock.session, client.sock.session_reused
    assert reused is False


def test_resumption_with_the_origin(proxy, origin):
    server, p = origin(tls=True), proxy(workers=1)
    for _ in range(3):
        with p.https("origin.test", server.port) as client:
            client.ask("GET", "/hello", "origin.test")
    p.wait_closed(3)
    assert [e.at("resumed") for e in p.log.find("tls_handshake_succeeded", peer="upstream")] == ["false", "true", "true"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_that_does_not_trust_us(proxy, origin, authority, version):
    server, p = origin(tls=True), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.start_tls(trust(authority.path, version=version), "origin.test")
    p.closed_as("tls_handshake_failed", "downstream:unknown_ca")
    failed = p.wait_event("tls_handshake_failed", peer="downstream")
    assert failed.at("tls_failure_reason") == "unknown_ca" and failed.at("peer_rejected_ca") == "certain"
    assert failed.at("tls_alert") in ("48", "unknown_ca")
    assert server.requests == []


def test_curl_that_does_not_trust_us(proxy, origin, authority):
    server, p = origin(tls=True), proxy()
    done = run([need("curl"), "-sS", "--noproxy", "", "-x", p.url, "--cacert", authority.path,
                f"https://origin.test:{server.port}/hello"], check=False)
    assert done.returncode == 60
    p.closed_as("tls_handshake_failed", "downstream:unknown_ca")


def test_client_that_hangs_up_after_the_handshake(proxy, origin):
    """No handshake failure, but its close says that it may have rejected our CA."""
    server, p = origin(tls=True), proxy()
    with p.https("origin.test", server.port):
        pass
    close = p.wait_closed()[0]
    assert close.at("reason_code") != "tls_handshake_failed" and close.at("peer_rejected_ca") == "likely"


def test_client_silent_in_the_handshake(proxy, origin):
    server, p = origin(tls=True), proxy(tls_handshake_timeout=span(1))  # the origin's has this time, too
    with p.client().connect(f"origin.test:{server.port}") as client:
        bio = ssl.MemoryBIO()
        tls = p.trust().wrap_bio(ssl.MemoryBIO(), bio, server_hostname="origin.test")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client.send(bio.read())  # a ClientHello, then nothing
        client.rest()
    p.closed_as("tls_handshake_failed", "downstream:timeout")


def test_client_that_stops_inside_its_hello(proxy, origin):
    server, p = origin(tls=True), proxy(tls_handshake_timeout="700ms")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert client.ended()
    p.closed_as("tls_handshake_failed", "downstream:timeout")


def test_client_that_leaves_in_the_handshake(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        client.sock.shutdown(socket.SHUT_RDWR)
    close = p.wait_closed()[0]
    assert (close.at("reason_code"), close.at("reason_detail")) == ("tls_handshake_failed", "downstream:eof_or_reset")


def test_tls_1_1_client_is_refused(proxy, origin):
    server, p = origin(tls=True), proxy()
    done = run([need("openssl"), "s_client", "-proxy", p.addresses[0], "-connect", f"origin.test:{server.port}", "-tls1_1",
                "-cipher", "DEFAULT:@SECLEVEL=0"], check=False, env=clean_env(OPENSSL_CONF="/dev/null"), input=b"")
    assert done.returncode != 0
    assert p.wait_closed()[0].at("reason_code") == "tls_handshake_failed"
    assert server.requests == []
