# SPDX-License-Identifier: MPL-2.0
"""policy_rules on requests: method and path, one request blocked while its connection goes on."""
import pytest

RULES = [
    {"id": "no-delete", "action": "block", "host": "origin.test", "method": ["DELETE", "PATCH"]},
    {"id": "public", "action": "allow", "path": "/admin/public*"},
    {"id": "no-admin", "action": "block", "path": "/admin*"},
]


@pytest.mark.parametrize("tls", [False, True])
def test_a_blocked_request_leaves_the_connection(proxy, origin, tls):
    server = origin(tls=tls)
    p = proxy(policy={"rules": RULES})
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        got = [client.ask(m, t, "origin.test").status for m, t in (
            ("GET", "/hello"), ("DELETE", "/hello"), ("GET", "/admin/x"), ("GET", "/admin/public/hello"), ("GET", "/hello"))]
        refused = client.ask("PATCH", "/hello", "origin.test", body=b"the body is not a request")
        assert client.ask("GET", "/hello", "origin.test").status == 200
    assert got == [200, 403, 403, 404, 200] and refused.status == 403
    assert refused.proxy_error == "http_request_denied"
    assert [r.head.target for r in server.requests] == ["/hello", "/admin/public/hello", "/hello", "/hello"]
    events = p.closed_as("mitm_http_completed")
    decided = {e.at("exchange_no"): (e.at("action"), e.at("rule_id")) for e in events if e.kind == "request_decision"}
    assert decided["2"] == ("block", "no-delete") and decided["3"] == ("block", "no-admin") and decided["4"] == ("allow", "public")
    kinds = [e.kind for e in events if e.at("exchange_no") == "2"]
    assert kinds.index("request_headers") < kinds.index("request_decision")


@pytest.fixture(scope="module")
def admin(shared, shared_origin):
    return shared(policy={"rules": [{"id": "no-admin", "action": "block", "path": "/admin*"}]}), shared_origin()


@pytest.mark.parametrize("path,status", [
    ("/admin", 403), ("/admin/", 403), ("//admin/x", 403), ("/./admin", 403), ("/x/../admin", 403), ("/%61dmin", 403), ("/%61%64min/..", 404),
    ("/x/%2e%2e/admin", 403), ("/x//..//admin", 403), ("/Admin", 404), ("/x/admin", 404), ("/admin?q=1", 403), ("/%2561dmin", 404),
])
def test_paths_are_compared_normalised_and_relayed_unchanged(admin, path, status):
    """Percent-decoding of unreserved characters, folding of repeated slashes, then removal of dot segments."""
    p, server = admin
    before = len(server.requests)
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", path, "origin.test").status == status
    assert [r.head.target for r in server.requests[before:]] == ([path] if status == 404 else [])


def test_no_request_decision_without_request_rules(proxy, origin):
    server, p = origin(tls=True), proxy(policy={"rules": [{"id": "c", "action": "intercept", "host": "origin.test"}]})
    with p.https("origin.test", server.port) as client:
        client.ask("GET", "/hello", "origin.test")
    p.closed_as("mitm_http_completed")
    assert not p.log.find("request_decision") and p.decision().at("rule_id") == "c"


def test_rules_on_method_with_absolute_form(proxy, origin):
    server = origin()
    p = proxy(policy={"rules": [{"id": "ro", "action": "block", "method": "POST"}]})
    with p.client() as client:
        for method, status in (("POST", 403), ("GET", 200)):
            client.send(f"{method} http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test:{server.port}\r\n"
                        f"Content-Length: 0\r\n\r\n".encode())
            assert client.response().status == status
    assert len(server.requests) == 1


def test_policy_modules_in_order_block_beats_all(proxy, resolver):
    """Two instances of policy_rules: the one that blocks wins, wherever it stands."""
    for orders in ((10, 20), (20, 10)):
        p = proxy(extra_modules=[{"module": "policy_rules", "name": "second", "order": orders[0],
                                  "config": {"default": "intercept", "blocked_hosts": ["origin.test"]}}],
                  policy={"rules": [{"id": "t", "action": "tunnel", "host": "origin.test"}]})
        with p.client() as client:
            assert client.ask_connect("origin.test:443").status == 403
        decided = p.decision()
        assert decided.at("policy_module") == "second" and decided.at("reason") == "blocked_host"
    assert resolver.queries == []


def test_disabled_module_does_nothing(proxy, origin):
    server = origin()
    p = proxy(extra_modules=[{"module": "policy_rules", "name": "off", "enabled": False, "config": {"default": "block"}}])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_a_rule_that_waits_for_the_hello_hides_no_later_rule(proxy, origin, tls):
    """What a Host field names is judged when the hello is long known, or known not to come."""
    server = origin(tls=tls)
    p = proxy(authority_mismatch="allow", policy={"rules": [
        {"id": "pinned", "action": "tunnel", "sni": "pinned.test"}, {"id": "no-evil", "action": "block", "host": "evil.test"}]})
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", "evil.test").status == 403
        assert client.ask("GET", "/hello", "origin.test").status == 200
    assert [r.head.get("Host") for r in server.requests] == ["origin.test"]


def test_a_server_name_rule_knows_the_name_for_every_request(proxy, origin):
    server = origin(tls=True)
    p = proxy(authority_mismatch="allow", policy={"rules": [{"id": "r", "action": "block", "host": "evil.test", "sni": "origin.test"}]})
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "evil.test").status == 403
        assert client.ask("GET", "/hello", "other.test").status == 200
