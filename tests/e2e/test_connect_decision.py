# SPDX-License-Identifier: MPL-2.0
"""What a CONNECT's decision does: block without touching the network, tunnel without touching the bytes, refuse by address."""
import hashlib
import socket
import ssl
import threading
import time

import pytest

from harness.client import request
from harness.origin import pattern, pattern_sha256
from harness.timing import until


def kinds(events):
    return [e.kind for e in events]


class Listener:
    """Counts connections and answers nothing."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]

    def connections(self):
        count = 0
        while True:
            try:
                self.sock.accept()[0].close()
                count += 1
            except BlockingIOError:
                return count


@pytest.fixture
def listener():
    one = Listener()
    yield one
    one.sock.close()


@pytest.mark.parametrize("pattern_text,host", [
    ("blocked.test", "blocked.test"), ("*.blocked.test", "deep.sub.blocked.test"), (".blocked.test", "blocked.test"),
    (".blocked.test", "sub.blocked.test"), ("BLOCKED.test.", "Blocked.Test."), ("127.0.0.0/8", "127.0.0.1"),
    ("[::1]", "[::1]"), ("xn--bcher-kva.test", "xn--bcher-kva.test"), ("bücher.test", "xn--bcher-kva.test"),
])
def test_blocked_host_causes_no_query_and_no_connection(proxy, resolver, listener, pattern_text, host):
    p = proxy(policy={"blocked_hosts": [pattern_text]})
    with p.client() as client:
        answer = client.ask_connect(f"{host}:{listener.port}")
    assert answer.status == 403 and answer.proxy_error == "http_request_denied"
    assert answer.body == b"blocked by policy\n" and answer.head.get("Content-Type").startswith("text/plain")
    events = p.closed_as("blocked", "blocked_host")
    assert kinds(events) == ["connect_received", "connect_decision", "stream_closed"]
    decision = events[1]
    assert (decision.at("action"), decision.at("reason"), decision.at("policy_module")) == ("block", "blocked_host", "policy_rules")
    assert resolver.queries == [] and listener.connections() == 0


@pytest.mark.parametrize("pattern_text,host", [
    ("*.blocked.test", "blocked.test"), ("blocked.test", "sub.blocked.test"), ("*.blocked.test", "xblocked.test"),
    ("blocked.test:1", "blocked.test"),
])
def test_pattern_does_not_match(proxy, origin, pattern_text, host):
    server, p = origin(), proxy(policy={"blocked_hosts": [pattern_text]})
    with p.client() as client:
        client.connect(f"{host}:{server.port}")
        assert client.ask("GET", "/hello", host).body == b"hello\n"


def test_pattern_with_port(proxy, resolver, listener):
    p = proxy(policy={"blocked_hosts": [f"blocked.test:{listener.port}"]})
    with p.client() as client:
        assert client.ask_connect(f"blocked.test:{listener.port}").status == 403
    assert resolver.queries == [] and listener.connections() == 0


def test_block_template(proxy, resolver):
    p = proxy(policy={"rules": [{"id": "no-ads", "action": "block", "host": "*.ads.test"}]},
              block_response={"status": 451, "body": "<p>{host}: {reason} by {rule_id}</p>", "content_type": "text/html"})
    with p.client() as client:
        answer = client.ask_connect("x.ads.test:443")
    assert answer.status == 451 and answer.body == b"<p>x.ads.test: rule by no-ads</p>"
    assert answer.head.get("Content-Type") == "text/html" and answer.proxy_error == "http_request_denied"
    p.closed_as("blocked", "no-ads")
    assert p.decision().at("rule_id") == "no-ads" and resolver.queries == []


def test_blocked_beats_ignored_and_rules(proxy, resolver):
    p = proxy(policy={"blocked_hosts": ["origin.test"], "ignore_hosts": ["origin.test"],
                      "rules": [{"id": "all", "action": "tunnel", "host": "*"}]})
    with p.client() as client:
        assert client.ask_connect("origin.test:443").status == 403
    assert p.decision().at("reason") == "blocked_host" and resolver.queries == []


def test_first_matching_rule_wins_and_order_is_rules_then_default(proxy, resolver):
    p = proxy(policy={"default": "block", "rules": [
        {"id": "first", "action": "block", "host": "a.test", "port": 443},
        {"id": "second", "action": "tunnel", "host": "a.test"}]})
    with p.client() as client:
        assert client.ask_connect("a.test:443").status == 403
    p.wait_closed(1)  # flows of two workers have no order among each other
    with p.client() as client:
        assert client.ask_connect("b.test:443").status == 403
    p.wait_closed(2)
    got = [(e["server_host"], e.at("reason"), e.at("rule_id")) for e in p.log.find("connect_decision")]
    assert got == [("a.test", "rule", "first"), ("b.test", "default_block", None)]


@pytest.mark.parametrize("client_net,status", [("127.0.0.0/8", 403), ("10.0.0.0/8", 200)])
def test_rule_on_client_address(proxy, origin, client_net, status):
    server = origin()
    p = proxy(policy={"rules": [{"id": "net", "action": "block", "client": client_net}]})
    with p.client() as client:
        assert client.ask_connect(f"origin.test:{server.port}").status == status
        if status == 200:
            assert client.ask("GET", "/hello", "origin.test").status == 200


# ---- tunnel

def test_tunnel_leaves_certificate_and_bytes_alone(proxy, origin, authority):
    server, p = origin(tls=True), proxy(policy={"ignore_hosts": ["origin.test"]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.start_tls(ssl.create_default_context(cafile=str(authority.path)), "origin.test")
        shown = client.sock.getpeercert(True)
        body = client.ask("GET", "/bytes/5000000", "origin.test").body
    own = ssl.PEM_cert_to_DER_cert(authority.leaf("origin.test", "*.origin.test", "other.test", "localhost", "127.0.0.1", "::1")[0]
                                   .read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    assert shown == own
    assert hashlib.sha256(body).hexdigest() == pattern_sha256(5000000)
    events = p.closed_as("relay_eof")
    assert kinds(events) == ["connect_received", "connect_decision", "stream_closed"]
    assert (events[1].at("action"), events[1].at("reason")) == ("tunnel", "ignored_host")
    assert {e["protocol"] for e in events} == {"tunnel"}
    assert int(events[-1].at("bytes_from_server")) > 5000000


def test_tunnel_of_any_bytes_both_ways(proxy, origin):
    """By IP address, without TLS: a rule's tunnel carries what it gets."""
    data = b"".join(pattern(3_000_000))

    def mirror(wire):
        wire.send(b"welcome\n")
        got = wire.rest()
        wire.send(hashlib.sha256(got).hexdigest().encode())

    server = origin(mirror)
    p = proxy(policy={"rules": [{"id": "t", "action": "tunnel", "port": server.port}]})
    with p.client().connect(f"127.0.0.1:{server.port}") as client:
        assert client.exactly(8) == b"welcome\n"
        client.send(data)
        client.finish()  # half-close is relayed; the answer still comes
        assert client.rest() == hashlib.sha256(data).hexdigest().encode()
    close = p.closed_as("relay_eof")[-1]
    assert (int(close.at("bytes_from_client")), int(close.at("bytes_from_server"))) == (len(data), 8 + 64)


def test_tunnel_half_close_by_the_origin(proxy, origin):
    got = []

    def first_to_end(wire):
        wire.send(b"all I have")
        wire.finish()
        got.append(wire.rest())

    server = origin(first_to_end)
    p = proxy(policy={"default": "tunnel"})
    with p.client().connect(f"127.0.0.1:{server.port}") as client:
        assert client.rest() == b"all I have"
        client.send(b"but I go on")
        client.finish()
        until(lambda: got == [b"but I go on"], what="the rest at the origin")
    p.closed_as("relay_eof")
    assert p.decision().at("reason") == "default_tunnel"


def test_tunnel_carries_bytes_sent_behind_the_connect(proxy, origin):
    server = origin(lambda wire: wire.send(b"got " + wire.exactly(5)))
    p = proxy(policy={"default": "tunnel"})
    with p.client() as client:
        client.send(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n\r\nearly".encode())
        assert client.response("CONNECT").status == 200
        assert client.exactly(9) == b"got early"


def test_tunnel_reset_by_the_origin(proxy, origin):
    def reset(wire):
        wire.exactly(1)
        wire.reset()

    server, p = origin(reset), proxy(policy={"default": "tunnel"})
    with p.client().connect(f"127.0.0.1:{server.port}") as client:
        client.send(b"x")
        assert client.ended()
    assert p.wait_closed()[0].at("reason_code") in ("relay_error", "relay_eof")


@pytest.mark.parametrize("gone", ["client", "origin"])
def test_tunnel_whose_one_side_has_gone_is_cut(proxy, origin, gone):
    """A close looks like a half-close until something is sent: then whoever still sends hears that nobody listens."""
    ended = threading.Event()

    def serve(wire):
        wire.exactly(5)
        wire.send(b"bye")
        if gone == "client":
            wire.rest()
            with pytest.raises(OSError):
                for piece in pattern(400_000_000):
                    wire.send(piece)
            ended.set()

    server, p = origin(serve), proxy(policy={"default": "tunnel"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"hello")
        assert client.exactly(3) == b"bye"
        if gone == "origin":
            with pytest.raises(OSError):
                for _ in range(1000):
                    client.send(b"x" * 1000)
                    time.sleep(0.01)  # the client's pace
    if gone == "client":
        assert ended.wait(20), "the origin sent everything to nobody"
        p.closed_as("client_aborted", "tunnel")
    else:
        p.closed_as("relay_error", ...)


@pytest.mark.parametrize("side", ["client", "origin"])
def test_reset_of_a_tunnel_reaches_the_other_side(proxy, origin, side):
    seen = []

    def serve(wire):
        wire.exactly(1)
        if side == "origin":
            wire.reset()
            return
        try:
            wire.send(b"y")
            seen.append(wire.rest())
        except OSError as error:
            seen.append(error)

    server, p = origin(serve), proxy(policy={"default": "tunnel"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"x")
        if side == "client":
            client.exactly(1)
            client.reset()
            until(lambda: seen, what="the end at the origin")
            assert isinstance(seen[0], ConnectionResetError)
        else:
            with pytest.raises(ConnectionResetError):
                client.rest()
    p.closed_as(*(("client_aborted", "tunnel") if side == "client" else ("relay_error", "ECONNRESET")))


def test_tunnel_answers_200_only_after_the_dial(proxy, resolver):
    resolver.answers["gone.test"] = 3
    p = proxy(policy={"default": "tunnel"})
    with p.client() as client:
        answer = client.ask_connect("gone.test:443")
    assert answer.status == 502 and answer.proxy_error == "dns_error"
    p.closed_as("upstream_connect_failed", "dns:NXDOMAIN")


# ---- by address

@pytest.mark.parametrize("allowed,status", [(["10.0.0.0/8"], 403), (["127.0.0.1"], 200), ([], 403)])
def test_allow_clients(proxy, origin, resolver, allowed, status):
    server = origin()
    p = proxy(allow_clients=allowed)
    with p.client() as client:
        answer = client.ask_connect(f"origin.test:{server.port}")
        assert answer.status == status
        if status == 200:
            assert client.ask("GET", "/hello", "origin.test").status == 200
            return
    assert answer.proxy_error == "http_request_denied"
    p.closed_as("blocked", "client_not_allowed")
    assert resolver.queries == [] and server.connections == 0


@pytest.mark.parametrize("target", ["169.254.10.20", "[fe80::1]", "[::ffff:169.254.10.20]"])
def test_deny_upstreams_by_default_is_link_local(proxy, target):
    p = proxy()
    with p.client() as client:
        answer = client.ask_connect(f"{target}:80")
    assert answer.status == 403 and answer.proxy_error == "destination_ip_prohibited"
    p.closed_as("blocked", "denied_upstream")


@pytest.mark.parametrize("target", ["127.9.9.9", "0.0.0.0", "[::ffff:127.0.0.1]", "[::]", "[0:0:0:0:0:0:0:1]"])
def test_deny_upstreams_looks_behind_other_spellings(proxy, target):
    p = proxy(deny_upstreams=["127.0.0.0/8", "::1"])
    with p.client() as client:
        answer = client.ask_connect(f"{target}:80")
    assert answer.status == 403 and answer.proxy_error == "destination_ip_prohibited"
    p.closed_as("blocked", "denied_upstream")


def test_deny_upstreams_by_address_looked_up(proxy, origin):
    """Found before the connection: 403 inside the intercepted TLS."""
    server = origin(tls=True)
    p = proxy(deny_upstreams=["127.0.0.0/8"])
    with p.https("origin.test", server.port) as client:
        answer = client.ask("GET", "/hello", "origin.test")
    assert answer.status == 403 and answer.proxy_error == "destination_ip_prohibited"
    p.closed_as("blocked", "denied_upstream")
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loop_is_508(proxy, resolver, host):
    resolver.answers["localhost"] = ["127.0.0.1"]
    p = proxy()
    with p.client() as client:
        client.send(f"GET http://{host}:{p.port}/ HTTP/1.1\r\nHost: {host}:{p.port}\r\n\r\n".encode())
        answer = client.response()
        assert answer.status == 508 and answer.proxy_error == "proxy_loop_detected"
    p.closed_as("route_planner_failed", "loop")


def test_loop_by_connect_is_508(proxy):
    p = proxy()
    with p.client() as client:
        answer = client.ask_connect(f"127.0.0.1:{p.port}")
    assert answer.status == 508 and answer.proxy_error == "proxy_loop_detected"
    p.closed_as("route_planner_failed", "loop")


# ---- CONNECT target, SNI, Host

@pytest.mark.parametrize("mode", ["block", "audit", "allow"])
def test_sni_that_differs(proxy, origin, mode):
    server, p = origin(tls=True), proxy(authority_mismatch=mode)
    with p.https("origin.test", server.port, sni="other.test") as client:
        answer = client.ask("GET", "/hello", "other.test")
    if mode == "block":
        assert answer.status == 403 and answer.proxy_error == "http_request_denied"
        p.closed_as("blocked", "authority_mismatch")
        decided = p.decision()
        assert (decided.at("action"), decided.at("reason")) == ("block", "authority_mismatch")
        assert server.connections == 0
    else:
        assert answer.body == b"hello\n"
        assert (p.decision().at("authority_mismatch") is not None) == (mode == "audit")


@pytest.mark.parametrize("mode,action", [("block", "block"), ("audit", "allow"), ("allow", None)])
def test_host_field_inside_tls_that_differs(proxy, origin, mode, action):
    server, p = origin(tls=True), proxy(authority_mismatch=mode)
    with p.https("origin.test", server.port) as client:
        answer = client.ask("GET", "/hello", "other.test")
    assert answer.status == (403 if mode == "block" else 200)
    assert len(server.requests) == (0 if mode == "block" else 1)
    p.wait_closed()
    told = [(e.at("action"), e.at("reason")) for e in p.log.find("request_decision")]
    assert told == ([(action, "authority_mismatch")] if action else [])


def test_host_field_of_the_connect_that_differs(proxy, resolver):
    p = proxy()
    with p.client() as client:
        client.send(b"CONNECT origin.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")
        answer = client.response("CONNECT")
    assert answer.status == 403 and answer.proxy_error == "http_request_denied"
    p.closed_as("blocked", "authority_mismatch")
    assert resolver.queries == []


@pytest.mark.parametrize("where", ["sni", "host"])
def test_block_list_looks_at_every_name(proxy, origin, where):
    """CONNECT to an allowed name, the blocked one in SNI or Host; authority_mismatch: allow does not help."""
    server = origin(tls=True)
    p = proxy(policy={"blocked_hosts": ["other.test"]}, authority_mismatch="allow")
    with p.https("origin.test", server.port, sni="other.test" if where == "sni" else None) as client:
        assert client.ask("GET", "/hello", "other.test").status == 403
    assert server.requests == []


def test_missing_sni_is_no_mismatch(proxy, origin):
    server, p = origin(tls=True), proxy()
    with p.client().connect(f"127.0.0.1:{server.port}") as client:
        client.start_tls(p.trust(), "127.0.0.1")
        assert client.ask("GET", "/hello", "127.0.0.1").body == b"hello\n"
    p.closed_as("mitm_http_completed")


def test_ignored_target_with_another_sni_is_a_mismatch(proxy, origin, authority):
    """A hello whose SNI is not ignored too does not slip through a tunnel."""
    server, p = origin(tls=True), proxy(policy={"ignore_hosts": ["origin.test"]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        try:
            client.start_tls(ssl.create_default_context(cafile=str(authority.path)), "other.test")
            client.send(request("GET", "/hello", "other.test"))
            answered = client.response().status
        except (ssl.SSLError, OSError, EOFError):
            answered = None
    assert answered in (None, 403)
    p.wait_event("stream_closed", reason_code="blocked", reason_detail="authority_mismatch")
    assert server.requests == []


def test_rule_on_sni_decides_after_the_hello(proxy, origin, resolver):
    """200, the hello is read, then decided, then dialled: a block is a 403 inside TLS and no query was made."""
    server = origin(tls=True)
    p = proxy(policy={"rules": [{"id": "by-sni", "action": "block", "sni": "origin.test"}]})
    with p.https("origin.test", server.port) as client:
        answer = client.ask("GET", "/hello", "origin.test")
    assert answer.status == 403
    p.closed_as("blocked", "by-sni")
    assert len(p.log.find("connect_decision")) == 1
    assert resolver.queries == [] and server.connections == 0
