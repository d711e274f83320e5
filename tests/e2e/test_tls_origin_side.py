# SPDX-License-Identifier: MPL-2.0
"""What the settings about origins do to the handshakes with them: the name they are told, what is verified, what is revoked, the certificate
that we show, and what is resumed."""
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.faultlab import VERSIONS, server_context
from harness.openssl_server import OpensslServer
from harness.pki_lab import Certificate, FaultPki, key_pem


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return FaultPki(tmp_path_factory.mktemp("origins"))


@pytest.fixture
def lab(proxy, pki):
    """lab(settings...): a proxy that trusts the lab's roots."""
    return lambda **settings: proxy(**({"upstream_ca_file": str(pki.roots)} | settings))


def named(context):
    """Collects the server names that clients ask for."""
    names = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    return names


def fetch(p, host, port, sni=None, **trust):
    with p.https(host, port, sni=sni, **trust) as client:
        return client.ask("GET", "/hello", sni or host)


# ---- upstream_sni_mode

@pytest.mark.parametrize("mode,told", [("auto", "a.lab.test"), ("required", "a.lab.test"), ("disabled", None)])
def test_sni_of_a_name(lab, pki, origin, mode, told):
    context = server_context(pki.files("valid", "a.lab.test"))
    names, p = named(context), lab(upstream_sni_mode=mode)
    assert fetch(p, "a.lab.test", origin(tls=context).port).body == b"hello\n"
    assert names == [told]
    assert p.wait_event("tls_handshake_succeeded", peer="upstream").at("sni") == told


def without_name(p, host, port):
    """A client that sends no server name."""
    client = p.client().connect(f"{host}:{port}")
    context = p.trust()
    context.check_hostname = False
    return client.start_tls(context, None)


@pytest.mark.parametrize("mode,status,told", [("auto", 200, "b.lab.test"), ("required", 200, "b.lab.test"), ("disabled", 200, None)])
def test_sni_of_a_client_that_sends_none(lab, pki, origin, mode, status, told):
    context = server_context(pki.files("valid", "b.lab.test"))
    names, p = named(context), lab(upstream_sni_mode=mode)
    with without_name(p, "b.lab.test", origin(tls=context).port) as client:
        assert client.ask("GET", "/hello", "b.lab.test").status == status
    assert names == [told]


@pytest.mark.parametrize("mode", ["auto", "required", "disabled"])
def test_sni_of_an_address(lab, pki, origin, mode):
    context = server_context(pki.files("valid", "127.0.0.1"))
    server = origin(tls=context)
    names, p = named(context), lab(upstream_sni_mode=mode)
    with without_name(p, "127.0.0.1", server.port) as client:
        answer = client.ask("GET", "/hello", "127.0.0.1")
    if mode != "required":
        assert answer.body == b"hello\n" and names == [None]
        return
    assert (answer.status, answer.proxy_error) == (502, "http_request_error")
    p.closed_as("route_planner_failed", "sni_required")
    assert server.connections == 0, "nothing is dialled"


# ---- upstream_tls_insecure_skip_verify

def test_skip_verify_is_loud(lab, pki, origin):
    """A warning at the start, and every handshake says what would have been wrong."""
    server = origin(tls=server_context(pki.files("expired", "old.lab.test")))
    p = lab(upstream_tls_insecure_skip_verify=True)
    assert "NOT verified" in p.stderr()
    assert fetch(p, "old.lab.test", server.port).status == 200
    done = p.wait_event("tls_handshake_succeeded", peer="upstream")
    assert done.at("tls_verified") == "false" and done.at("tls_verify_code") == "151"


def test_skip_verify_of_one_host(lab, pki, origin):
    p = lab(extra_modules=[{"module": "policy_overrides", "config": {"overrides": [
        {"rule_id": "lab", "host_pattern": "old.lab.test", "skip_upstream_verify": True}]}}])
    for host, status in (("old.lab.test", 200), ("other.lab.test", 502)):
        assert fetch(p, host, origin(tls=server_context(pki.files("expired", host))).port).status == status
    assert p.wait_event("tls_handshake_succeeded", server_host="old.lab.test", peer="upstream").at("tls_verified") == "false"
    good = origin(tls=server_context(pki.files("valid", "good.lab.test")))
    assert fetch(p, "good.lab.test", good.port).status == 200
    assert p.wait_event("tls_handshake_succeeded", server_host="good.lab.test", peer="upstream").at("tls_verified") is None


# ---- upstream_client_auth_mode, upstream_client_certs

def asks_for_certificates(pki, host, version=None, insists=True):
    context = server_context(pki.files("valid", host), version)
    context.load_verify_locations(pki.roots)
    context.verify_mode = ssl.CERT_REQUIRED if insists else ssl.CERT_OPTIONAL
    return context


def tells_subject(wire):
    """An origin that answers with the common name of its client's certificate."""
    while wire.request():
        peer = wire.sock.getpeercert()
        name = dict(pair for part in peer["subject"] for pair in part)["commonName"] if peer else "nobody"
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode())


def identity(pki, folder, name, key="ec", **what):
    """Files of a client certificate."""
    cert = Certificate(name, what.pop("issuer", pki.root), key=key, usage=(ExtendedKeyUsageOID.CLIENT_AUTH,), number=40, **what)
    chain, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(cert.pem)
    key_path.touch(mode=0o600)
    key_path.write_bytes(key_pem(cert.key))
    return {"cert_path": str(chain), "key_path": str(key_path)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["ec", "2048"])
def test_client_certificate(lab, pki, origin, tmp_path, version, key):
    p = lab(upstream_client_auth_mode="if_requested", upstream_client_certs=[
        {"host_pattern": "a.lab.test", **identity(pki, tmp_path, "for-a", key)}, {"host_pattern": "*.lab.test", **identity(pki, tmp_path, "for-all")}])
    for host, told in (("a.lab.test", b"for-a"), ("b.lab.test", b"for-all")):
        server = origin(tells_subject, tls=asks_for_certificates(pki, host, VERSIONS[version]))
        assert fetch(p, host, server.port).body == told
    unasked = origin(tells_subject, tls=server_context(pki.files("valid", "c.lab.test"), VERSIONS[version]))
    assert fetch(p, "c.lab.test", unasked.port).body == b"nobody"
    other = origin(tells_subject, tls=asks_for_certificates(pki, "other.test", VERSIONS[version], insists=False))
    assert fetch(p, "other.test", other.port).body == b"nobody", "no pattern has this host"


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificate_that_is_required(lab, pki, origin, tmp_path, version):
    """An origin that does not ask for it is not used; others are as they were."""
    p = lab(upstream_client_auth_mode="required", upstream_client_certs=[{"host_pattern": "*.lab.test", **identity(pki, tmp_path, "mine")}])
    asks = origin(tells_subject, tls=asks_for_certificates(pki, "a.lab.test", VERSIONS[version]))
    for _ in range(3):  # resumed the second time
        assert fetch(p, "a.lab.test", asks.port).body == b"mine"
    careless = origin(tells_subject, tls=server_context(pki.files("valid", "b.lab.test"), VERSIONS[version]))
    assert fetch(p, "b.lab.test", careless.port).status == 502
    failed = p.wait_event("tls_handshake_failed", peer="upstream")
    assert failed.at("tls_failure_reason") == "handshake" and "upstream_client_auth_mode" in failed.at("detail")
    elsewhere = origin(tells_subject, tls=server_context(pki.files("valid", "other.test"), VERSIONS[version]))
    assert fetch(p, "other.test", elsewhere.port).body == b"nobody"


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificate_that_the_origin_refuses(lab, pki, origin, tmp_path, version):
    p = lab(upstream_client_auth_mode="if_requested", upstream_client_certs=[
        {"host_pattern": "a.lab.test", **identity(pki, tmp_path, "stranger", issuer=pki.other_root)}])
    server = origin(tells_subject, tls=asks_for_certificates(pki, "a.lab.test", VERSIONS[version]))
    assert fetch(p, "a.lab.test", server.port).status == 502
    failed = p.wait_event("tls_handshake_failed", peer="upstream")
    assert (failed.at("tls_failure_reason"), failed.at("tls_alert")) == ("handshake", "48")
    assert "certificate" in failed.at("detail")


def test_client_certificates_that_cannot_be_used(lab, pki, tmp_path):
    good = identity(pki, tmp_path, "good")
    other = identity(pki, tmp_path, "other", key="2048")
    wrong = [
        ({"upstream_client_auth_mode": "if_requested"}, 20, "upstream_client_certs"),
        ({"upstream_client_certs": [{"host_pattern": "*", **good}]}, 20, "upstream_client_auth_mode"),
        ({"upstream_client_auth_mode": "required", "upstream_client_certs": [{"host_pattern": "a..b", **good}]}, 22, "host_pattern"),
        ({"upstream_client_auth_mode": "required", "upstream_client_certs": [
            {"host_pattern": "*", "cert_path": good["cert_path"], "key_path": other["key_path"]}]}, 22, "not the key of the certificate"),
        ({"upstream_client_auth_mode": "required", "upstream_client_certs": [
            {"host_pattern": "*", "cert_path": "/nonexistent", "key_path": good["key_path"]}]}, 22, "/nonexistent"),
    ]
    for settings, code, says in wrong:
        p = lab(start=False, exit=code, **settings)
        p.checks = None
        assert p.launch().wait_exit() == code and says in p.stderr(), (settings, p.stderr())


def test_client_key_that_others_can_read(lab, pki, tmp_path):
    files = identity(pki, tmp_path, "open")
    (tmp_path / "open.key").chmod(0o644)
    p = lab(start=False, exit=22, upstream_client_auth_mode="required", upstream_client_certs=[{"host_pattern": "*", **files}])
    p.checks = None
    assert p.launch().wait_exit() == 22 and "open.key" in p.stderr()


# ---- crl_files

@pytest.mark.parametrize("version", VERSIONS)
def test_revoked_by_a_list(lab, pki, origin, tmp_path, version):
    revoked, good = pki.leaf("bad.lab.test", number=50), pki.leaf("good.lab.test", number=51)
    below = pki.leaf("below.lab.test", pki.middle, number=52)
    (tmp_path / "both.crl").write_bytes(pki.crl(revoked) + pki.crl(issuer=pki.rsa_root))
    p = lab(crl_files=["both.crl"], folder=tmp_path)  # beside the configuration
    for leaf, chain, status in ((revoked, revoked.pem, 502), (good, good.pem, 200), (below, below.pem + pki.middle.pem, 200)):
        host = leaf.cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)[0]
        server = origin(tls=server_context(pki.write(host, chain, leaf.key), VERSIONS[version]))
        assert fetch(p, host, server.port).status == status, host
    failed = p.wait_event("tls_handshake_failed", peer="upstream")
    assert failed.at("tls_failure_reason") == "cert_validation" and failed.at("tls_verify_code") == "361" and failed.at("tls_alert") in ("42", "44")
    assert "revoked" in failed.at("detail") and "CRL" in failed.at("detail")


def test_revoked_intermediate(lab, pki, origin, tmp_path):
    middle = Certificate("revoked intermediate", pki.root, ca=True, number=53)
    leaf = pki.leaf("below.lab.test", middle)
    (tmp_path / "ca.crl").write_bytes(pki.crl(middle))
    p = lab(crl_files=[str(tmp_path / "ca.crl")])
    server = origin(tls=server_context(pki.write("below.lab.test", leaf.pem + middle.pem, leaf.key)))
    assert fetch(p, "below.lab.test", server.port).status == 502
    assert p.wait_event("tls_handshake_failed", peer="upstream").at("tls_verify_code") == "361"


def test_lists_that_cannot_be_used(lab, pki, tmp_path):
    broken = pki.crl()
    for name, data, says in (("strange.crl", pki.crl(issuer=pki.other_root), "upstream_ca_file"), ("none.crl", b"no list\n", "not a revocation list"),
                             ("half.crl", broken[:len(broken) // 2], "not a revocation list")):
        (tmp_path / name).write_bytes(data)
        p = lab(start=False, exit=22, crl_files=[str(tmp_path / name)])
        p.checks = None
        assert p.launch().wait_exit() == 22 and says in p.stderr() and name in p.stderr(), p.stderr()


# ---- revocation_policy_mode

STAPLES = {  # -> what it says, whether enforce_staple accepts it
    "good": ({}, "good", True),
    "good, named by SHA-256": ({"digest": hashes.SHA256()}, "invalid", False),  # the library compares SHA-1, as responders are asked
    "good, by a responder": ({"responder": "responder"}, "good", True),
    "revoked": ({"status": "revoked"}, "revoked", False),
    "unknown": ({"status": "unknown"}, "invalid", False),
    "expired": ({"days": (-9, -1)}, "invalid", False),
    "of another certificate": ({"subject": "other"}, "invalid", False),
    "by nobody we know": ({"responder": "stranger"}, "invalid", False),
    "by one who may not": ({"responder": "server"}, "invalid", False),
    "none": (None, "absent", False),
}


@pytest.fixture
def stapler(pki, tmp_path):
    """stapler(host, case, version): an origin with that staple."""
    started = []

    def start(host, case, version):
        what, *_ = STAPLES[case]
        leaf = pki.leaf(host, number=60)
        chain, key = pki.write(host, leaf.pem, leaf.key)
        options = [f"-tls{version.replace('.', '_')}"]
        if what is not None:
            what = dict(what)
            if "subject" in what:
                what["subject"] = pki.leaf("other.test", number=61)
            if "responder" in what:
                what["responder"] = {"responder": pki.responder(), "stranger": pki.other_root,
                                     "server": pki.responder(ExtendedKeyUsageOID.SERVER_AUTH)}[what["responder"]]
            (tmp_path / "staple.der").write_bytes(pki.staple(leaf, **what))
            options += ["-status_file", tmp_path / "staple.der"]
        started.append(OpensslServer(chain, key, *options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", STAPLES)
@pytest.mark.parametrize("mode", ["off", "passive_observe", "enforce_staple"])
def test_staple(lab, stapler, mode, case, version):
    _, status, good = STAPLES[case]
    p, host = lab(revocation_policy_mode=mode, workers=1), "stapled.lab.test"
    server = stapler(host, case, version)
    answer = fetch(p, host, server.port)
    assert answer.status == (200 if good or mode != "enforce_staple" else 502), answer.body
    kind = "tls_handshake_succeeded" if answer.status == 200 else "tls_handshake_failed"
    event = p.wait_event(kind, peer="upstream")
    if mode == "off":
        assert not [name for name in event.attrs if "staple" in name or "revocation" in name]
        return
    decision = "accepted" if good or (status == "absent" and mode == "passive_observe") else "refused" if mode == "enforce_staple" else "observed"
    assert event.at("revocation_policy_mode") == mode
    assert event.at("upstream_ocsp_staple_present") == ("false" if status == "absent" else "true")
    assert event.at("upstream_ocsp_staple_status") == status and event.at("revocation_decision") == decision
    if answer.status == 502:
        assert event.at("tls_failure_reason") == "cert_validation"
        p.closed_as("tls_handshake_failed", "upstream:cert_validation")


# ---- allow_keylog

@pytest.mark.parametrize("version", VERSIONS)
def test_key_log(lab, pki, origin, tmp_path, version):
    """Both legs, in NSS format; nothing is resumed meanwhile, so that each connection can be read by itself."""
    log = tmp_path / "keys.log"
    ends = server_context(pki.files("valid", "a.lab.test"), VERSIONS[version])
    ends.keylog_filename = str(tmp_path / "origin.log")
    server = origin(tls=ends)
    p = lab(allow_keylog=True, launch={"env": {"SSLKEYLOGFILE": log}}, workers=1)
    assert str(log) in p.stderr() and "keys" in p.stderr()
    own = tmp_path / "own.log"
    context = p.trust(version=VERSIONS[version])
    context.keylog_filename = str(own)
    session = None
    for _ in range(2):
        with p.client().connect(f"a.lab.test:{server.port}") as client:
            client.sock = context.wrap_socket(client.sock, server_hostname="a.lab.test", session=session)
            assert client.ask("GET", "/hello", "a.lab.test").status == 200
            session = client.sock.session
            assert not client.sock.session_reused
    p.wait_closed(2)
    lines = log.read_text().splitlines()
    labels = {"1.2": ["CLIENT_RANDOM"], "1.3": ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0",
                                                "SERVER_TRAFFIC_SECRET_0"]}[version]
    for label in labels:
        assert len([line for line in lines if line.startswith(label + " ")]) == 4, "two connections of two legs"
    for other in (own, tmp_path / "origin.log"):
        saw = [line for line in other.read_text().splitlines() if line.split(" ")[0] in labels]
        assert saw and set(saw) <= set(lines), "client and origin know the same secrets"
    assert log.stat().st_mode & 0o077 == 0


def test_key_log_is_not_allowed(lab, pki, origin, tmp_path):
    """The variable alone does nothing."""
    log = tmp_path / "keys.log"
    server = origin(tls=server_context(pki.files("valid", "a.lab.test")))
    p = lab(launch={"env": {"SSLKEYLOGFILE": log}})
    assert fetch(p, "a.lab.test", server.port).status == 200
    assert not log.exists()


def test_key_log_that_cannot_be_written(lab, tmp_path):
    p = lab(start=False, exit=22, allow_keylog=True)
    p.checks = None
    assert p.launch(env={"SSLKEYLOGFILE": tmp_path / "no" / "where"}).wait_exit() == 22 and "SSLKEYLOGFILE" in p.stderr()
