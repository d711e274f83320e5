# SPDX-License-Identifier: MPL-2.0
"""Cleartext proxying: absolute-form requests, each decided anew on a kept-alive connection, its route bound per exchange."""
import pytest

from harness.wire import Cut

from harness.eventlog import flows


def get(client, url, host=None, fields=b"", method=b"GET"):
    authority = url.split("/")[2]
    client.send(method + b" " + url.encode() + b" HTTP/1.1\r\nHost: " + (host or authority).encode() + b"\r\n" + fields + b"\r\n")
    return client.response(method.decode())


def test_several_hosts_on_one_connection(proxy, origin):
    a, b = origin(), origin()
    p = proxy()
    with p.client() as client:
        for server, name in ((a, "a.test"), (b, "b.test"), (a, "a.test"), (b, "c.test")):
            assert get(client, f"http://{name}:{server.port}/hello").body == b"hello\n"
    assert [r.head.get("Host") for r in a.requests] == [f"a.test:{a.port}"] * 2
    assert [r.head.get("Host") for r in b.requests] == [f"b.test:{b.port}", f"c.test:{b.port}"]
    assert all(r.head.start == "GET /hello HTTP/1.1" for r in a.requests + b.requests)
    events = p.closed_as("mitm_http_completed")
    assert [e["server_host"] for e in events if e.kind == "connect_decision"] == ["a.test", "b.test", "a.test", "c.test"]
    assert [e.kind for e in events].count("connect_received") == 4
    for number in "1234":
        kinds = [e.kind for e in events if e.at("exchange_no") == number]
        assert kinds[:3] == ["connect_received", "connect_decision", "request_headers"]


def test_a_block_in_between_ends_neither_connection_nor_others(proxy, origin, resolver):
    server = origin()
    p = proxy(policy={"blocked_hosts": ["blocked.test"]})
    with p.client() as client:
        assert get(client, f"http://origin.test:{server.port}/hello").status == 200
        refused = get(client, f"http://blocked.test:{server.port}/hello")
        assert refused.status == 403 and refused.proxy_error == "http_request_denied"
        assert get(client, f"http://origin.test:{server.port}/hello").status == 200
    assert len(server.requests) == 2 and not resolver.asked("blocked.test")
    events = p.closed_as("mitm_http_completed")
    assert [e.at("action") for e in events if e.kind == "connect_decision"] == ["intercept", "block", "intercept"]


def test_the_body_of_a_blocked_request_is_not_a_request(proxy, origin):
    server = origin()
    p = proxy(policy={"blocked_hosts": ["blocked.test"]})
    smuggled = f"GET http://origin.test:{server.port}/smuggled HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode()
    with p.client() as client:
        client.send(b"POST http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        assert client.response().status == 403
        try:
            assert get(client, f"http://origin.test:{server.port}/hello").body == b"hello\n"
        except (OSError, EOFError):
            pass  # closing is right too
    assert all(r.head.target == "/hello" for r in server.requests)


def test_target_counts_and_host_is_rewritten(proxy, origin):
    """RFC 9112 3.2.2; the mismatch itself is blocked by default, so it is allowed here."""
    server, p = origin(), proxy(authority_mismatch="allow")
    with p.client() as client:
        assert get(client, f"http://origin.test:{server.port}/hello", host="other.test").status == 200
    assert server.requests[0].head.all("Host") == [f"origin.test:{server.port}"]


@pytest.mark.parametrize("target,host", [("blocked.test", "origin.test"), ("origin.test", "blocked.test")])
def test_block_list_looks_at_target_and_host(proxy, origin, target, host):
    server = origin()
    p = proxy(policy={"blocked_hosts": ["blocked.test"]}, authority_mismatch="allow")
    with p.client() as client:
        assert get(client, f"http://{target}:{server.port}/hello", host=host).status == 403
    assert server.connections == 0


def test_default_port_and_empty_path(proxy, origin):
    """http://HOST means port 80 and the path /; nothing listens there: 502, not 400."""
    p = proxy(policy={"default": "block"})
    with p.client() as client:
        assert get(client, "http://origin.test").status == 403
    decided = p.decision()
    assert (decided["server_host"], int(decided["server_port"])) == ("origin.test", 80)


@pytest.mark.parametrize("url,target", [("/", "/"), ("", "/"), ("?q", "/?q"), ("/a%2Fb//c/../d", "/a%2Fb//c/../d")])
def test_origin_form(proxy, origin, url, target):
    server, p = origin(), proxy()
    with p.client() as client:
        client.send(f"GET http://origin.test:{server.port}{url} HTTP/1.1\r\nHost: origin.test:{server.port}\r\n\r\n".encode())
        client.response()
    assert server.requests[0].head.target == target


@pytest.mark.parametrize("url,target", [("", "*"), ("/", "/"), ("?q", "/?q"), ("/a/", "/a/")])
@pytest.mark.parametrize("inside", [False, True], ids=["proxy", "connect"])
def test_options(proxy, origin, url, target, inside):
    """RFC 9112 3.2.4: OPTIONS for a URL without path and query is about the server, and goes on as an asterisk."""
    server, p = origin(), proxy()
    with p.client() as client:
        if inside:
            client.connect(f"origin.test:{server.port}")
        client.send(f"OPTIONS http://origin.test:{server.port}{url} HTTP/1.1\r\nHost: origin.test:{server.port}\r\n\r\n".encode())
        client.response()
    assert server.requests[0].head.target == target
    p.wait_event("request_headers", target=target.split("?")[0])


@pytest.mark.parametrize("url,status", [
    ("http://me:pw@origin.test/", 400), ("http:///path", 400), ("http://origin.test:99999/", 400), ("http://0x7f.1/", 400),
    ("http://2130706433/", 400), ("ftp://origin.test/", 400), ("http://origin.test:0/", 400),
])
def test_bad_urls(proxy, url, status):
    p = proxy()
    with p.client() as client:
        client.send(f"GET {url} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
        answer = client.response()
    assert answer.status == status and answer.proxy_error == "http_request_error"
    assert p.wait_closed()[0].at("reason_code") in ("connect_parse_failed", "mitm_http_error")


def test_pipelined_to_two_hosts(proxy, origin):
    a, b = origin(), origin()
    p = proxy()
    with p.client() as client:
        client.send(b"".join(f"GET http://x.test:{s.port}/bytes/{n} HTTP/1.1\r\nHost: x.test:{s.port}\r\n\r\n".encode()
                             for s, n in ((a, 100000), (b, 5), (a, 7))))
        assert [len(client.response().body) for _ in range(3)] == [100000, 5, 7]


def test_proxy_connection_field_is_not_relayed(proxy, origin):
    server, p = origin(), proxy()
    with p.client() as client:
        get(client, f"http://origin.test:{server.port}/hello", fields=b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n")
    assert not [n for n in server.requests[0].head.names if n.lower().startswith("proxy-")]


def test_failure_of_one_host_leaves_the_connection(proxy, origin, resolver):
    resolver.answers["gone.test"] = 3
    server, p = origin(), proxy()
    with p.client() as client:
        assert get(client, "http://gone.test/").status == 502
        try:
            assert get(client, f"http://origin.test:{server.port}/hello").status == 200
        except (OSError, Cut):
            pass  # a close after the 502 is allowed; a wrong answer is not
    p.wait_closed(1)
    assert list(flows(p.events())) == [1]
