# SPDX-License-Identifier: MPL-2.0
"""Prefixes before JSON: told, and with `rewrite` taken away from what clients get."""
import json

import pytest

from harness.h2 import H2Client
from harness.origin import reply
from harness.streams import Paced, coded

DECODE = {"module": "content_decode"}


def answers(body, coding="", content_type="application/json"):
    fields = [("Content-Type", content_type)] + ([("Content-Encoding", coding)] if coding else [])
    return lambda wire, request: wire.send(reply(body=coded(coding, body), fields=fields))


def ask(p, server, path="/j"):
    with p.client().connect(f"origin.test:{server.port}") as client:
        answer = client.ask("GET", path, "origin.test")
    p.wait_closed()
    return answer


@pytest.mark.parametrize("coding", ["", "gzip", "br"])
@pytest.mark.parametrize("prefix", [")]}'\n", ")]}'", "while(1);", "for (;;);", "{}&&"])
def test_observers_are_told_and_the_wire_is_untouched(proxy, origin, coding, prefix):
    body = prefix.encode() + json.dumps({"rows": list(range(20000))}).encode()
    server, p = origin(routes={"/j": answers(body, coding)}), proxy(extra_modules=[DECODE, {"module": "antihijack"}])
    answer = ask(p, server)
    assert answer.body == coded(coding, body) and answer.head.get("Content-Length") == str(len(answer.body))
    event = p.wait_event("payload_sanitized")
    assert event.attrs == {"direction": "server_to_client", "exchange_no": "1", "sanitized": "true", "sanitized_prefix": prefix.strip(),
                           "sanitized_provenance": "view"}


@pytest.mark.parametrize("body,content_type,told", [
    (b'{"a": 1}', "application/json", "false"), (b")]}'\nalert(1)", "application/json", "false"), (b"while(1);run()", "text/javascript", None),
    (b")]}'\n{}", "text/html", None), (b"true", "application/problem+json", "false")])
def test_what_has_no_prefix(proxy, origin, body, content_type, told):
    server, p = origin(routes={"/j": answers(body, "", content_type)}), proxy(extra_modules=[{"module": "antihijack"}])
    assert ask(p, server).body == body
    events = p.log.find("payload_sanitized")
    assert [(e.at("sanitized"), e.at("sanitized_prefix")) for e in events] == ([(told, None)] if told else [])


@pytest.mark.parametrize("chunked", [False, True])
def test_clients_get_clean_json(proxy, origin, chunked):
    value = {"rows": ["x" * 100] * 1000}
    body = b"\xef\xbb\xbf)]}'\r\n" + json.dumps(value).encode()
    route = Paced([body[i:i + 1] for i in range(12)] + [body[12:]], content_type="application/json") if chunked else answers(body)
    if chunked:
        route.go(99)
    server, p = origin(routes={"/j": route}), proxy(extra_modules=[{"module": "antihijack", "config": {"rewrite": True}}])
    answer = ask(p, server)
    assert json.loads(answer.body) == value
    assert answer.head.get("Transfer-Encoding") == "chunked" and answer.head.get("Content-Length") is None
    event = p.wait_event("payload_sanitized")
    assert (event.at("sanitized"), event.at("sanitized_provenance")) == ("true", "wire")


def test_what_is_coded_stays_as_it_is_when_clients_are_rewritten_for(proxy, origin):
    """Two instances: one for clients, one for those who look on."""
    body = b")]}'\n[1]"
    server = origin(routes={"/j": answers(body, "gzip"), "/plain": answers(body)})
    p = proxy(extra_modules=[DECODE, {"module": "antihijack", "name": "clients", "config": {"rewrite": True}}, {"module": "antihijack", "name": "observers"}])
    assert ask(p, server).body == coded("gzip", body)
    assert [e.at("sanitized_provenance") for e in p.log.find("payload_sanitized")] == ["view"]
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/plain", "origin.test").body == b"[1]"
    p.wait_closed(2)
    assert [(e.at("sanitized"), e.at("sanitized_provenance")) for e in p.log.find("payload_sanitized")][1:] == [("true", "wire"), ("false", None)]


def test_what_follows_is_not_decoded_for_nobody(proxy, origin):
    """Once the beginning is known, nobody looks at the rest of the view any more."""
    from harness.modules import metrics
    body = b")]}'\n" + json.dumps(["x" * 50] * 100000).encode()
    server, p = origin(routes={"/j": answers(body, "gzip")}), proxy(extra_modules=[DECODE, {"module": "antihijack"}])
    assert ask(p, server).body == coded("gzip", body)
    out = sum(v for (name, labels), v in metrics(p).items() if name == "soth_decoder_bytes_out_total" and "antihijack" in labels)
    assert 0 < out < 200000, "it has seen the beginning alone"


# ---- rewrite: what heads say about the body

REWRITE = [DECODE, {"module": "antihijack", "config": {"rewrite": True}}]
BODY = b")]}'\n[1]"
OF_OLD_BYTES = [("Content-Digest", "sha-256=:AAAA:"), ("Repr-Digest", "sha-256=:AAAA:"), ("Digest", "md5=AAAA"), ("Content-MD5", "AAAA")]


class Asks:
    """A client of either HTTP in front of an origin of HTTP/1.1: (status, fields in lower case, body, trailers in lower case)."""

    def __init__(self, http, proxy, server):
        self.http, self.port = http, server.port
        if http == "h2":
            self.proxy = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}], extra_modules=REWRITE,
                               reverse_upstream={"host": "origin.test", "port": server.port})
        else:
            self.proxy = proxy(extra_modules=REWRITE)

    def __call__(self, method, path):
        if self.http == "h2":
            wire = self.proxy.client().start_tls(self.proxy.trust(alpn=("h2",)), "origin.test")
            client = H2Client(wire.sock, f"origin.test:{self.port}")
            stream = client.wait(client.ask(method, path))
            fields, body, trailers = stream.head[1:], bytes(stream.body), (stream.trailers or {}).items()
            status = stream.status
            wire.close()
        else:
            with self.proxy.client().connect(f"origin.test:{self.port}") as client:
                answer = client.ask(method, path, "origin.test")
            status, fields, body, trailers = answer.status, answer.head.fields, answer.body, answer.trailers
        return status, *({n.lower(): v for n, v in some or ()} for some in (fields, trailers)), body


@pytest.fixture(params=["h1", "h2"])
def asks(request, proxy, origin):
    return lambda routes: Asks(request.param, proxy, origin(routes=routes))


def route(status="200 OK", fields=(), body=BODY, length=True, trailers=b""):
    """To HEAD it says what it would say to GET."""
    def answer(wire, request):
        none = request.head.method == "HEAD" or status.startswith("304")
        own = [("Content-Length", len(body))] if length else [("Transfer-Encoding", "chunked")]
        wire.send(reply(status, fields=[*fields, *own], length=False))
        if not none:
            wire.send(body if length else b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers))
    return answer


JSON = ("Content-Type", "application/json")
FRAMING = {"transfer-encoding", "connection"}


def test_head_says_no_length_that_get_has_not(asks):
    ask_it = asks({"/j": route(fields=[JSON]), "/html": route(fields=[("Content-Type", "text/html")]), "/part": route("206 Partial Content", [JSON]),
                   "/gzip": route(fields=[JSON, ("Content-Encoding", "gzip")], body=coded("gzip", BODY)), "/empty": route(fields=[JSON], body=b"")})
    for path, changed in (("/j", True), ("/html", False), ("/part", False), ("/gzip", False), ("/empty", False)):
        got, head = ask_it("GET", path), ask_it("HEAD", path)
        assert got[1].get("content-length") == head[1].get("content-length"), path
        assert (head[1].get("content-length") is None) == changed, path
        assert head[3] == b"" and (got[3] == b"[1]") == changed, path


@pytest.mark.parametrize("type_,changed", [("application/json", True), ("", True), ("text/html", False)])
def test_a_304_tells_of_what_a_get_has(asks, type_, changed):
    fields = [("ETag", '"a"'), ("Content-Digest", "x")] + ([("Content-Type", type_)] if type_ else [])
    status, head, _, body = asks({"/j": route("304 Not Modified", fields)})("GET", "/j")
    assert (status, body) == (304, b"")
    assert (head.get("content-length"), head.get("content-digest")) == ((None, None) if changed else ("8", "x"))
    assert head["etag"] == ('W/"a"' if changed else '"a"')


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_holds_for_the_old_bytes_alone_is_not_sent(asks, method):
    kept = [JSON, ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("Cache-Control", "max-age=5")]
    _, head, _, body = asks({"/j": route(fields=[*kept, *OF_OLD_BYTES, ("ETag", '"a"'), ("Accept-Ranges", "bytes")])})(method, "/j")
    assert body == (b"[1]" if method == "GET" else b"")
    assert set(head) - FRAMING == {"content-type", "last-modified", "cache-control", "etag"} and head["etag"] == 'W/"a"'


def test_digests_in_trailers_are_not_sent(asks):
    trailers = b'Content-Digest: x\r\nX-Trailer: t\r\nETag: "a"\r\n'
    assert asks({"/j": route(fields=[JSON], length=False, trailers=trailers)})("GET", "/j")[2:] == ({"x-trailer": "t", "etag": 'W/"a"'}, b"[1]")


def test_a_part_is_left_alone(asks):
    fields = [JSON, ("Content-Range", "bytes 0-7/100"), ("ETag", '"a"'), ("Content-Digest", "x"), ("Accept-Ranges", "bytes")]
    for some in (fields, [f for f in fields if f[0] != "Content-Range"]):
        status, head, _, body = asks({"/j": route("206 Partial Content", some)})("GET", "/j")
        assert (status, body, head["content-length"]) == (206, BODY, "8")
        assert [head[n] for n in ("etag", "content-digest", "accept-ranges")] == ['"a"', "x", "bytes"]


def test_who_looks_on_leaves_heads_alone(proxy, origin):
    fields = [*OF_OLD_BYTES, ("ETag", '"a"'), ("Accept-Ranges", "bytes")]
    server, p = origin(routes={"/j": route(fields=[JSON, *fields])}), proxy(extra_modules=[{"module": "antihijack"}])
    for method in ("GET", "HEAD"):
        with p.client().connect(f"origin.test:{server.port}") as client:
            head = client.ask(method, "/j", "origin.test").head
        assert head.get("Content-Length") == "8" and all(head.get(n) == v for n, v in fields)


@pytest.mark.parametrize("n", [1015, 1016, 1017])
@pytest.mark.parametrize("cut", [3, 8, 1023, 1024, 1025])
def test_what_the_first_kilobyte_leaves_open_is_relayed_whole(proxy, origin, n, cut):
    body = b")]}'true" + b"\n" * n + b"alert(1)"
    paced = Paced([body[:cut], body[cut:]], content_type="application/json")
    paced.go(99)
    server, p = origin(routes={"/j": paced}), proxy(extra_modules=REWRITE)
    assert ask(p, server).body == body
    assert [e.at("sanitized") for e in p.log.find("payload_sanitized")] == ["false"]
