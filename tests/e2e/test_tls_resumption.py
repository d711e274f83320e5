# SPDX-License-Identifier: MPL-2.0
"""Resumption on both sides, with OpenSSL and Go: by ticket only, shared by workers, never of another name, policy or client certificate; and
never 0-RTT."""
import re
import threading

import pytest

from harness.faultlab import VERSIONS, server_context
from harness.h2 import H2Origin, h2_client
from harness.openssl_server import OpensslServer
from harness.pki_lab import FaultPki
from harness.ports import free_port
from harness.timing import until
from harness.tls_clients import go_program
from harness.tools import clean_env, need, run


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return FaultPki(tmp_path_factory.mktemp("resumption"))


def s_client(p, name, port, version, folder, *options, send=True):
    """One connection through the proxy; what openssl says of it."""
    args = [need("openssl"), "s_client", "-proxy", p.addresses[0], "-connect", f"{name}:{port}", "-servername", name, "-CAfile", p.ca_path,
            f"-tls{version.replace('.', '_')}", "-ign_eof", *options]
    request = f"GET /hello HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode() if send else b""
    return run(args, check=False, input=request, env=clean_env(OPENSSL_CONF="/dev/null")).stdout.decode(errors="replace")


def resumed(p, peer):
    return [e.at("resumed") for e in p.log.find("tls_handshake_succeeded", peer=peer)]


# ---- clients

@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_resumes(proxy, origin, tmp_path, version):
    server, p = origin(tls=True), proxy(workers=2)
    ticket = tmp_path / "session"
    assert "New, TLS" in s_client(p, "origin.test", server.port, version, tmp_path, "-sess_out", ticket)
    for _ in range(4):  # by any worker
        assert "Reused, TLS" in s_client(p, "origin.test", server.port, version, tmp_path, "-sess_in", ticket)
    p.wait_closed(5)
    assert resumed(p, "downstream") == ["false"] + 4 * ["true"]


@pytest.mark.parametrize("version", VERSIONS)
def test_go_resumes(proxy, origin, version):
    server, p = origin(tls=True), proxy(workers=2)
    done = run([go_program(), p.addresses[0], f"origin.test:{server.port}", p.ca_path, f"version={version}", "times=5"])
    assert [line.split(" ")[2] for line in done.stdout.decode().splitlines()] == ["false"] + 4 * ["true"]
    p.wait_closed(5)
    assert resumed(p, "downstream") == ["false"] + 4 * ["true"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_of_another_name_is_none(proxy, origin, tmp_path, version):
    server, p = origin(tls=True), proxy()
    s_client(p, "origin.test", server.port, version, tmp_path, "-sess_out", tmp_path / "s")
    assert "New, TLS" in s_client(p, "other.test", server.port, version, tmp_path, "-sess_in", tmp_path / "s")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_outlives_a_reload_but_not_the_process(proxy, origin, tmp_path, version):
    server, p = origin(tls=True), proxy()
    s_client(p, "origin.test", server.port, version, tmp_path, "-sess_out", tmp_path / "s")
    p.reload()
    assert "Reused, TLS" in s_client(p, "origin.test", server.port, version, tmp_path, "-sess_in", tmp_path / "s")
    p.stop()
    other = proxy(ca={"cert_path": str(p.ca_path), "key_path": str(p.ca_key)})
    other.ca_path = p.ca_path
    assert "New, TLS" in s_client(other, "origin.test", server.port, version, tmp_path, "-sess_in", tmp_path / "s")


def test_a_ticket_of_another_profile_is_none(proxy, origin, tmp_path):
    """What compat let through is not resumed under default."""
    server, p = origin(tls=True), proxy(tls_profile="compat")
    s_client(p, "origin.test", server.port, "1.2", tmp_path, "-sess_out", tmp_path / "s", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
    p.settings["tls_profile"] = "default"
    p.reload()
    out = s_client(p, "origin.test", server.port, "1.2", tmp_path, "-sess_in", tmp_path / "s")
    assert "New, TLS" in out and "AES128-SHA256" not in out


def test_no_resumption_by_session_id(proxy, origin, tmp_path):
    server, p = origin(tls=True), proxy()
    out = s_client(p, "origin.test", server.port, "1.2", tmp_path, "-no_ticket")
    assert "New, TLS" in out and re.search(r"Session-ID: *\n", out), "there is no id to come back with"


def test_never_early_data_for_clients(proxy, origin, tmp_path):
    server, p = origin(tls=True), proxy()
    ticket = tmp_path / "session"
    out = s_client(p, "origin.test", server.port, "1.3", tmp_path, "-sess_out", ticket)
    assert set(re.findall(r"Max Early Data: (\d+)", out)) <= {"0"}, "tickets allow none"
    (tmp_path / "early").write_bytes(b"GET /early HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    out = s_client(p, "origin.test", server.port, "1.3", tmp_path, "-sess_in", ticket, "-early_data", tmp_path / "early")
    assert "Early data was accepted" not in out
    p.wait_closed(2)
    assert not [r for r in server.requests if r.head.target == "/early"]


# ---- origins

def visit(p, host, port, **more):
    with p.https(host, port, **more) as client:
        return client.ask("GET", "/hello", host)


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_origin_is_resumed(proxy, pki, version):
    server = OpensslServer(*pki.files("valid", "a.lab.test"), f"-tls{version.replace('.', '_')}")
    p = proxy(upstream_ca_file=str(pki.roots), workers=1)
    try:
        for _ in range(4):
            assert visit(p, "a.lab.test", server.port).status == 200
        p.wait_closed(4)
    finally:
        server.close()
    assert resumed(p, "upstream") == ["false"] + 3 * ["true"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_origin_with_other_ticket_keys(proxy, pki, origin, version):
    """A ticket that it does not know any more costs a full handshake, nothing else."""
    files = pki.files("valid", "a.lab.test")
    p = proxy(upstream_ca_file=str(pki.roots), workers=1)
    port = free_port()  # it is bound again
    keys = [OpensslServer(*files, f"-tls{version.replace('.', '_')}", port=port)]
    assert visit(p, "a.lab.test", port).status == 200
    keys[0].close()
    again = OpensslServer(*files, f"-tls{version.replace('.', '_')}", port=port)
    try:
        assert visit(p, "a.lab.test", port).status == 200
        p.wait_closed(2)
    finally:
        again.close()
    assert resumed(p, "upstream") == ["false", "false"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_not_verified_is_not_resumed_where_it_is(proxy, pki, origin, version):
    """The policy is part of what a session belongs to: one made with skip_upstream_verify is none for anybody else."""
    server = origin(tls=server_context(pki.files("expired", "a.lab.test"), VERSIONS[version]))
    override = {"module": "policy_overrides", "config": {"overrides": [
        {"rule_id": "lab", "host_pattern": "a.lab.test", "skip_upstream_verify": True}]}}
    p = proxy(upstream_ca_file=str(pki.roots), workers=1, extra_modules=[override])
    for _ in range(2):
        assert visit(p, "a.lab.test", server.port).status == 200
    p.wait_closed(2)
    assert resumed(p, "upstream") == ["false", "true"]
    p.modules.remove(override)
    p.reload()
    assert visit(p, "a.lab.test", server.port).status == 502
    assert p.wait_event("tls_handshake_failed", peer="upstream").at("tls_failure_reason") == "cert_validation"


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_of_one_name(proxy, pki, origin, resolver, version):
    """The same address and port under another name, whose certificate would not be right."""
    server = origin(tls=server_context(pki.files("valid", "a.lab.test"), VERSIONS[version]))
    p = proxy(upstream_ca_file=str(pki.roots), workers=1)
    assert visit(p, "a.lab.test", server.port).status == 200
    assert visit(p, "b.lab.test", server.port).status == 502
    p.wait_closed(2)
    assert resumed(p, "upstream") == ["false"]


def test_never_early_data_to_origins(proxy, pki):
    """From an origin whose tickets allow it."""
    server = OpensslServer(*pki.files("valid", "a.lab.test"), "-tls1_3", "-early_data", "-max_early_data", "16384", "-no_anti_replay", "-tlsextdebug", page=False)
    p = proxy(upstream_ca_file=str(pki.roots), workers=1)
    try:
        for number in range(1, 4):
            with p.https("a.lab.test", server.port) as client:
                client.send(b"GET /%d HTTP/1.1\r\nHost: a.lab.test\r\n\r\n" % number)
                until(lambda: f"GET /{number} " in server.log, 10, lambda: server.log)
                server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                assert client.response().status == 200
        p.wait_closed(3)
    finally:
        server.close()
    assert resumed(p, "upstream") == ["false", "true", "true"]
    assert "Early data received" not in server.log and "No early data received" in server.log
    assert 'extension "psk"' in server.log and "early_data" not in server.log and "early data" not in server.log.replace("No early data received", "")


def test_two_workers_share_origin_sessions(proxy, pki, origin):
    server = origin(tls=server_context(pki.files("valid", "a.lab.test")))
    p = proxy(upstream_ca_file=str(pki.roots), workers=2)
    assert visit(p, "a.lab.test", server.port).status == 200
    p.wait_closed(1)
    failures = []

    def some():
        for _ in range(6):
            if visit(p, "a.lab.test", server.port).status != 200:
                failures.append(1)

    threads = [threading.Thread(target=some) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p.wait_closed(13)
    assert not failures and resumed(p, "upstream").count("true") >= 10


def test_an_origin_that_renews_no_ticket(proxy, authority):
    """Node gives none where it resumes. What was offered is not kept beside the secret of the connection that it began: the origin would
    break the handshake off, and so would it the one that is tried after it."""
    origin = H2Origin(authority.leaf("origin.test"))
    try:
        p = proxy(workers=1)
        for number in range(6):
            with h2_client(p, "origin.test", origin.port) as client:
                assert client.get("/hello").status == 200
            p.wait_closed(2 * (number + 1))
    finally:
        origin.close()
    assert len(p.log.find("tls_handshake_started", peer="upstream")) == 6, "none was tried twice"
    assert [e.at("resumed") for e in p.log.find("tls_handshake_succeeded", peer="upstream")] == ["false", "true"] * 3
