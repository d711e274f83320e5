# SPDX-License-Identifier: MPL-2.0
"""policy_tls_learning end to end: who pins and says so is learnt, tunnelled and intercepted again; nothing else is learnt from."""
import hashlib
import pathlib
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.client import trust
from harness.ports import free_port
from harness.timing import scaled, span, until
from harness.tools import go_program, run

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def learner(proxy):
    """learner(config, settings...) starts a proxy that learns."""
    def start(config=None, policy=None, **settings):
        module = {"module": "policy_tls_learning", "config": {"hosts": ["origin.test"]} | (config or {})}
        return proxy(extra_modules=[module], policy=policy, **({"tls_learning": "bypass"} | settings))
    return start


def lessons(p):
    return [(e.at("tls_learning_decision"), e.at("tls_learning_reason_code")) for e in p.log.find("tls_learning_audit")]


class Pinned:
    """A client that trusts the origin's own authority and nobody else: OpenSSL sends unknown_ca."""

    def __init__(self, p, server, authority):
        self.p, self.server, self.authority = p, server, authority
        self.count = len(p.log.find("stream_closed"))

    def try_once(self, source="127.0.0.1"):
        """True: it got its answer."""
        with self.p.client() as client:
            if source != "127.0.0.1":
                client.sock.close()
                client.sock = socket.create_connection(self.p.address(), scaled(15), source_address=(source, 0))
            client.connect(f"origin.test:{self.server.port}")
            try:
                client.start_tls(trust(self.authority.path), "origin.test")
            except ssl.SSLCertVerificationError:
                worked = False
            else:
                worked = client.ask("GET", "/hello", "origin.test").status == 200
        self.count += 1
        self.p.wait_closed(self.count)  # the next one comes after it
        return worked


def test_a_client_with_its_own_root(learner, origin, authority):
    server, p = origin(tls=True), learner(tls_bypass_ttl=f"{int(scaled(3))}s")
    client = Pinned(p, server, authority)
    assert [client.try_once() for _ in range(4)] == [False, False, False, True]
    assert lessons(p) == [("applied", "counted"), ("applied", "counted"), ("applied", "threshold_reached")]
    failed = p.log.find("tls_handshake_failed")
    assert [e.at("tls_learning_reason_code") for e in failed] == ["counted", "counted", "threshold_reached"]
    assert {(e.at("peer_rejected_ca"), e.at("tls_learning_decision"), e.at("source_confidence")) for e in failed} == {("certain", "applied", "authoritative")}
    for audit in p.log.find("tls_learning_audit"):
        assert {k: audit.at("signal_" + k) for k in ("host", "reason", "source", "provider", "inferred")} == {
            "host": "origin.test", "reason": "unknown_ca", "source": "native_authoritative", "provider": "soth-mitm", "inferred": "false"}
        kinds = [e.kind for e in p.events() if e.flow == audit.flow]
        assert kinds.index("tls_learning_audit") == kinds.index("tls_handshake_failed") + 1
    active, = p.log.find("tls_bypass_activated")
    assert (active.flow, active.at("host"), active.at("client"), active.at("ttl_s"), active.at("reason")) == (0, "origin.test", "127.0.0.1", str(int(scaled(3))), "peer_rejected_ca")
    decisions = [(e.at("action"), e.at("reason"), e.at("policy_module")) for e in p.log.find("connect_decision")]
    assert decisions[-1] == ("tunnel", "tls_bypass", "policy_tls_learning") and {d[0] for d in decisions[:-1]} == {"intercept"}
    over = p.wait_event("tls_bypass_expired", host="origin.test")  # nobody connects meanwhile
    assert (over.flow, over.at("reason"), over.at("client")) == (0, "ttl", "127.0.0.1")
    assert client.try_once() is False
    assert lessons(p)[-1] == ("applied", "counted"), "the count did not begin anew"


@pytest.fixture(scope="session")
def go_pin(tmp_path_factory):
    return go_program(HERE / "go_pin", tmp_path_factory.mktemp("go_pin") / "pin")


def pin_of(authority):
    chain, _ = authority.leaf(*["origin.test", "127.0.0.1"])
    return hashlib.sha256(x509.load_pem_x509_certificate(chain.read_bytes()).public_bytes(Encoding.DER)).hexdigest()


@pytest.mark.parametrize("when,learnt", [("handshake", True), ("after", False)])
def test_go_that_pins(learner, origin, authority, go_pin, when, learnt):
    """VerifyPeerCertificate ends in an alert; a look at the pin after the handshake does not, and is never learnt."""
    server = origin(tls=authority.server("origin.test", "127.0.0.1"))
    p = learner()
    done = []
    for n in range(1, 6):
        done.append(run([go_pin, p.url, pin_of(authority), f"https://origin.test:{server.port}/hello", when], check=False).stdout.decode())
        p.wait_closed(n)
    worked = [d.startswith("200 6") for d in done]
    assert worked == ([False] * 3 + [True] * 2 if learnt else [False] * 5), done
    assert len(p.log.find("tls_bypass_activated")) == (1 if learnt else 0)
    if learnt:
        assert {e.at("tls_alert") for e in p.log.find("tls_handshake_failed")} == {"42"}
    else:
        assert ("applied", "counted") not in lessons(p)


def hang_up_in_the_handshake(p, server):
    from harness.hello import hello, records
    with p.client() as client:
        client.connect(f"origin.test:{server.port}")
        client.send(records(hello()))
        client.exactly(5)
        client.reset()


def hang_up_after_it(p, server):
    with p.https("origin.test", server.port) as client:
        client.sock.close()


def hang_up_before_it(p, server):
    with p.client() as client:
        client.connect(f"origin.test:{server.port}")


@pytest.mark.parametrize("leave", [hang_up_before_it, hang_up_in_the_handshake, hang_up_after_it])
def test_who_just_hangs_up_is_never_learnt(learner, origin, leave):
    server, p = origin(tls=True), learner({"threshold": 1})
    for n in range(1, 4):
        leave(p, server)
        p.wait_closed(n)
    assert not p.log.find("tls_bypass_activated")
    assert {l[0] for l in lessons(p)} <= {"ignored"}
    if leave is hang_up_in_the_handshake:
        assert lessons(p) == [("ignored", "rejection_likely")] * 3
    assert {e.at("action") for e in p.log.find("connect_decision")} == {"intercept"}


def test_two_at_the_same_moment_change_nothing(learner, origin, authority):
    """Connections that were open together are one attempt, whatever their alerts say."""
    server, p = origin(tls=True), learner({"threshold": 2})
    first, second = p.client(), p.client()
    for client in (first, second):
        client.connect(f"origin.test:{server.port}")
    for client in (first, second):
        with pytest.raises(ssl.SSLCertVerificationError):
            client.start_tls(trust(authority.path), "origin.test")
        client.close()
    p.wait_closed(2)
    assert sorted(lessons(p)) == [("applied", "counted"), ("ignored", "overlapping")]
    assert not p.log.find("tls_bypass_activated")
    aborted = [p.client().connect(f"origin.test:{server.port}") for _ in range(2)]
    for client in aborted:
        client.reset()
    p.wait_closed(4)
    assert not p.log.find("tls_bypass_activated")


def test_block_wins(learner, origin, authority):
    server, p = origin(tls=True), learner({"threshold": 1})
    client = Pinned(p, server, authority)
    assert [client.try_once(), client.try_once()] == [False, True]
    p.modules[0]["config"]["blocked_hosts"] = ["origin.test"]
    p.reload()
    with p.client() as refused:
        assert refused.ask_connect(f"origin.test:{server.port}").status == 403
    p.wait_closed(3)
    last = p.log.find("connect_decision")[-1]
    assert (last.at("action"), last.at("reason"), last.at("policy_module")) == ("block", "blocked_host", "policy_rules")
    p.modules[0]["config"]["blocked_hosts"] = []
    p.reload()
    client.count = 3
    assert client.try_once() is True, "two reloads made it forget"


def test_a_bypass_is_one_clients_own(learner, origin, authority):
    server, p = origin(tls=True), learner({"threshold": 1})
    client = Pinned(p, server, authority)
    assert [client.try_once(), client.try_once("127.0.0.2"), client.try_once()] == [False, False, True]
    p = learner({"threshold": 1, "per_client": False})
    client = Pinned(p, server, authority)
    assert [client.try_once(), client.try_once("127.0.0.2")] == [False, True]
    assert p.log.find("tls_bypass_activated")[0].at("client") is None


def test_a_tunnel_for_one_name_is_none_for_another(learner, origin, authority):
    """A client that was let through for a name cannot take another name with it."""
    server, p = origin(tls=True), learner({"threshold": 1})
    assert Pinned(p, server, authority).try_once() is False
    with p.client() as client:
        client.connect(f"origin.test:{server.port}")
        client.start_tls(p.trust(), "other.test")  # our certificate: the refusal is told inside
        assert client.ask("GET", "/hello", "other.test").status == 403
    assert p.wait_closed(2)[-1].at("reason_detail") == "authority_mismatch"


def test_a_target_that_is_an_address(learner, origin, authority):
    """Its name is in the hello alone: once something is bypassed, the decision waits for it."""
    server, p = origin(tls=True), learner({"threshold": 1})
    works = []
    for n, name in enumerate(("origin.test", "origin.test", None), 1):
        with p.client().connect(f"127.0.0.1:{server.port}") as client:
            context = trust(authority.path)
            try:
                client.start_tls(context, name or "127.0.0.1")
                works.append(client.ask("GET", "/hello", "origin.test").status)
            except ssl.SSLCertVerificationError:
                works.append(None)
        p.wait_closed(n)
    assert works == [None, 200, None], "the address itself was never learnt"
    assert [(e.at("action"), e.at("reason")) for e in p.log.find("connect_decision")][1] == ("tunnel", "tls_bypass")
    assert p.log.find("tls_bypass_activated")[0].at("host") == "origin.test"
    assert lessons(p) == [("applied", "threshold_reached"), ("ignored", "host_not_listed")]


def test_behind_a_reverse_listener(learner, origin, authority):
    server = origin(tls=True)
    p = learner({"threshold": 2}, listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                reverse_upstream={"host": "origin.test", "port": server.port, "tls": True})
    works = []
    for n in range(1, 5):
        with p.client() as client:
            try:
                client.start_tls(trust(authority.path), "origin.test")
                works.append(client.ask("GET", "/hello", "origin.test").status)
            except ssl.SSLCertVerificationError:
                works.append(None)
        p.wait_closed(n)
    assert works == [None, None, 200, 200]


def test_what_teaches_nothing(learner, origin, authority, stranger, resolver):
    """A CONNECT that is tried again and again, names that do not resolve, ports that nobody listens on, origins that are silent or bad."""
    silent, port = socket.create_server(("127.0.0.1", 0)), free_port()
    bad = origin(tls=stranger.server("origin.test"))
    p = learner({"threshold": 1, "hosts": ["*"]}, tls_handshake_timeout=span(1), upstream_connect_timeout=span(2))
    n = 0
    for host, at in (("no-such-name.invalid", 443), ("origin.test", port), ("origin.test", silent.getsockname()[1]), ("origin.test", bad.port)):
        for _ in range(2):
            with p.https(host, at) as client:
                assert client.ask("GET", "/", host).status in (502, 504)
            n += 1
            p.wait_closed(n)
    for _ in range(20):
        with p.client() as client:
            client.connect(f"origin.test:{bad.port}")
        n += 1
    p.wait_closed(n)
    silent.close()
    assert set(lessons(p)) == {("ignored", "upstream_failure")}
    assert not p.log.find("tls_bypass_activated") and {e.at("action") for e in p.log.find("connect_decision")} == {"intercept"}


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_other_modes_tunnel_nothing(learner, origin, authority, mode):
    server, p = origin(tls=True), learner({"threshold": 1}, tls_learning=mode)
    client = Pinned(p, server, authority)
    assert [client.try_once() for _ in range(3)] == [False] * 3
    assert lessons(p) == ([("applied", "would_bypass")] * 3 if mode == "observe" else [])
    failed = p.log.find("tls_handshake_failed")
    assert {e.at("tls_learning_decision") for e in failed} == ({"applied"} if mode == "observe" else {None})
    assert not p.log.find("tls_bypass_activated")


def test_hosts_that_are_not_listed(learner, origin, authority):
    server, p = origin(tls=True), learner({"threshold": 1, "hosts": [".bank.test"]})
    client = Pinned(p, server, authority)
    assert [client.try_once() for _ in range(2)] == [False] * 2
    assert lessons(p) == [("ignored", "host_not_listed")] * 2


def test_a_restart_with_a_state_file(learner, origin, authority, tmp_path):
    server, p = origin(tls=True), learner({"threshold": 2, "state_path": str(tmp_path / "learnt")})
    client = Pinned(p, server, authority)
    assert [client.try_once() for _ in range(3)] == [False, False, True]
    p.stop()
    p.checks = None  # the log goes on with another process's numbers
    assert (tmp_path / "learnt").stat().st_mode & 0o777 == 0o600
    p.start()
    assert client.try_once() is True
    told = [e.at("reason") for e in p.log.find("tls_bypass_activated")]
    assert told == ["peer_rejected_ca", "restored"]
    p.stop()
    (tmp_path / "learnt").write_text("soth-mitm tls learning 1\ncut of")
    p.start()
    assert "is no state of this module: it is no text, or was cut off; nothing of it is used, it is kept as" in p.stderr()
    assert [f.read_text() for f in tmp_path.glob("learnt.bad-*")] == ["soth-mitm tls learning 1\ncut of"]
    assert client.try_once() is False


def test_a_kill_loses_no_more_than_a_moment(learner, origin, authority, tmp_path):
    state = tmp_path / "learnt"
    server, p = origin(tls=True), learner({"threshold": 1, "state_path": str(state)})
    client = Pinned(p, server, authority)
    assert client.try_once() is False
    until(lambda: state.exists() and "origin.test 127.0.0.1" in state.read_text(), 10, "the state file")
    p.kill()
    p.checks = None
    p.start()
    assert client.try_once() is True


def test_mistakes_are_told(proxy):
    p = proxy(start=False, tls_learning="bypass")
    done = subprocess.run(p.command("check"), capture_output=True, text=True)
    assert done.returncode == 20
    assert ": tls_learning: 'bypass' needs the module policy_tls_learning: enable it in conf.d" in done.stderr
    assert done.stderr.startswith(f"{p.conf}:"), done.stderr
    module = {"module": "policy_tls_learning", "config": {"threshold": 3}}
    p = proxy(start=False, tls_learning="bypass", extra_modules=[module])
    done = subprocess.run(p.command("check"), capture_output=True, text=True)
    assert done.returncode == 20 and ": config.hosts: tls_learning: bypass needs to know which hosts may be bypassed" in done.stderr
    p = proxy(start=False, tls_learning="bypass", extra_modules=[module | {"enabled": False}])
    assert subprocess.run(p.command("check"), capture_output=True).returncode == 20
    p = proxy(start=False, tls_learning="sometimes")
    done = subprocess.run(p.command("check"), capture_output=True, text=True)
    assert done.returncode == 20 and "off, observe, bypass" in done.stderr
