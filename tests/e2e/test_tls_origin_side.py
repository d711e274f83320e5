# SPDX-License-Identifier: MPL-2.0
"""What the settings about origins do to the handshakes with them: the name they are told, what is verified, what is revoked, the certificate
that we show, and what is resumed."""
import ssl

import pytest

from harness.faultlab import server_context
from harness.pki_lab import FaultPki


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
