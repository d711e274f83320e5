# SPDX-License-Identifier: MPL-2.0
"""policy_overrides: single hosts are tunnelled, read leniently, not verified; what is blocked stays blocked."""
import subprocess

import pytest

from harness.client import trust
from harness.timing import scaled
from harness.tools import clean_env

FOLDED = b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def overridden(proxy):
    """overridden({...}, ...) starts a proxy with these overrides."""
    def start(*overrides, **kwargs):
        return proxy(extra_modules=[{"module": "policy_overrides", "config": {"overrides": list(overrides)}}], **kwargs)
    return start


def told(event):
    return {name: value for name, value in event.attrs.items() if name.startswith("override_")}


def test_force_tunnel(overridden, origin, authority):
    server = origin(tls=True)
    p = overridden({"rule_id": "pinned", "host_pattern": ".origin.test", "force_tunnel": True},
                   policy={"rules": [{"id": "explicit", "action": "intercept", "host": "origin.test"}]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.start_tls(trust(authority.path), "origin.test")  # the origin's own certificate
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    decided = p.decision()
    assert [decided.at(n) for n in ("action", "reason", "rule_id", "policy_module")] == ["tunnel", "override", "pinned", "policy_overrides"]
    assert told(decided) == {"override_rule_id": "pinned", "override_host_pattern": ".origin.test", "override_force_tunnel": "true"}
    assert {e["protocol"] for e in p.closed_as("relay_eof")} == {"tunnel"}


def test_skip_upstream_verify_for_one_host(overridden, origin, stranger):
    server = origin(tls=stranger.server("elsewhere.test"))
    p = overridden({"rule_id": "printer", "host_pattern": f"origin.test:{server.port}", "skip_upstream_verify": True})
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    decided = p.decision()
    assert (decided.at("action"), decided.at("reason"), decided.at("policy_module")) == ("intercept", "default_intercept", "policy_rules")
    assert told(decided) == {"override_rule_id": "printer", "override_host_pattern": f"origin.test:{server.port}",
                             "override_skip_upstream_verify": "true"}
    with p.https("other.test", server.port) as client:
        assert client.ask("GET", "/hello", "other.test").status == 502
    assert told(p.decision(server_host="other.test")) == {}


@pytest.mark.parametrize("everywhere,here,status", [(True, False, 200), (False, True, 502)])
@pytest.mark.parametrize("tls", [False, True])
def test_strict_header_mode_of_one_host(overridden, origin, everywhere, here, status, tls):
    server = origin(lambda wire: (wire.request(), wire.send(FOLDED)), tls=tls)
    p = overridden({"rule_id": "old", "host_pattern": "origin.test", "strict_header_mode": here}, strict_header_mode=everywhere)
    for name, wanted in (("origin.test", status), ("other.test", 702 - status)):
        with p.https(name, server.port) if tls else p.client().connect(f"{name}:{server.port}") as client:
            assert client.ask("GET", "/", name).status == wanted, name
    assert told(p.decision(server_host="origin.test")) == {
        "override_rule_id": "old", "override_host_pattern": "origin.test", "override_strict_header_mode": "true" if here else "false"}


def test_of_each_target_of_a_proxy_connection(overridden, origin):
    server = origin(lambda wire: (wire.request(), wire.send(FOLDED)))
    p = overridden({"rule_id": "old", "host_pattern": "origin.test", "strict_header_mode": False})
    for name, wanted in (("origin.test", 200), ("other.test", 502)):
        with p.client() as client:
            assert client.ask("GET", f"http://{name}:{server.port}/", f"{name}:{server.port}").status == wanted
    with p.client() as client:
        assert client.ask("GET", f"http://origin.test:{server.port}/", f"origin.test:{server.port}").status == 200
        assert client.ask("GET", f"http://other.test:{server.port}/", f"other.test:{server.port}").status == 502


@pytest.mark.parametrize("override", [{"force_tunnel": True}, {"skip_upstream_verify": True}])
def test_never_to_a_block(overridden, resolver, override):
    p = overridden({"rule_id": "x", "host_pattern": "origin.test"} | override, policy={"blocked_hosts": ["origin.test"]})
    with p.client() as client:
        assert client.ask_connect("origin.test:443").status == 403
    decided = p.decision()
    assert (decided.at("action"), decided.at("reason")) == ("block", "blocked_host") and told(decided) == {}
    assert resolver.queries == []


def test_the_first_that_matches(overridden, origin):
    server = origin(tls=True)
    p = overridden({"rule_id": "one", "host_pattern": "other.test", "force_tunnel": True},
                   {"rule_id": "two", "host_pattern": "*", "strict_header_mode": True},
                   {"rule_id": "three", "host_pattern": "origin.test", "force_tunnel": True})
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
    assert p.decision().at("override_rule_id") == "two"


def test_a_name_that_the_client_chooses_gets_none(overridden, origin, stranger):
    """CONNECT to one host with the SNI of another: the origin's certificate is verified."""
    server = origin(tls=stranger.server("origin.test", "other.test"))
    p = overridden({"rule_id": "lab", "host_pattern": "other.test", "skip_upstream_verify": True}, authority_mismatch="audit")
    with p.https("origin.test", server.port, sni="other.test") as client:
        assert client.ask("GET", "/hello", "other.test").status == 502
    assert server.requests == [] and told(p.decision()) == {}


def test_disabled(proxy, origin):
    server = origin(tls=True)
    p = proxy(extra_modules=[{"module": "policy_overrides", "enabled": False,
                              "config": {"overrides": [{"rule_id": "x", "host_pattern": "*", "force_tunnel": True}]}}])
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
    assert told(p.decision()) == {}


@pytest.mark.parametrize("override,key", [
    ({"rule_id": "a", "host_pattern": "a b", "force_tunnel": True}, "config.overrides[0].host_pattern"),
    ({"rule_id": "a", "host_pattern": "a.test"}, "config.overrides[0].rule_id"),
    ({"rule_id": "a", "host_pattern": "a.test", "disable_h3": True}, "config.overrides[0].disable_h3"),
])
def test_check(proxy, override, key):
    p = proxy(start=False, extra_modules=[{"module": "policy_overrides", "config": {"overrides": [override]}}])
    done = subprocess.run(p.command("check"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=scaled(10),
                          env=clean_env(HOME=p.folder))
    assert done.returncode == 20 and f": {key}: " in done.stdout and "policy_overrides.yaml:" in done.stdout
