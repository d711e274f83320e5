# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 on either side: ALPN as the origin chose it, all four pairings, bodies larger than every window, trailers, interim responses."""
import hashlib
import json

import httpx
import pytest

from harness.h2 import H2Client, H2Origin, flow_of, h2_client
from harness.origin import pattern, pattern_sha256
from harness.timing import until
from harness.tools import need, run

NAMES = ("origin.test", "*.origin.test", "127.0.0.1")
BULK = 24 << 20  # more than a stream's and a connection's window together


@pytest.fixture(scope="module")
def origins(authority):
    """One that speaks h2 alone, one that speaks HTTP/1.1 alone, one of each kind without TLS."""
    made = {}

    def start(kind):
        if kind not in made:
            tls = authority.leaf(*NAMES) if not kind.endswith("c") else None
            made[kind] = H2Origin(tls, http1=kind in ("both", "1c"))
        return made[kind]

    yield start
    for one in made.values():
        one.close()


def curl(proxy, *args, check=True, version="--http2"):
    return run([need("curl"), "-sS", "--max-time", 60, "--noproxy", "", "-x", proxy.url, "--cacert", proxy.ca_path, version, *args],
               70, check)


class Pairing:
    """A client of one kind in front of an origin of another. An HTTP/2 client meets an HTTP/1.1 origin behind a reverse listener; the
    others go through CONNECT. (curl's version, the origin, upstream_http2)"""

    KINDS = {"h2-h2": ("--http2", "h2", "mirror"), "h2-h1": ("--http2", "1c", "mirror"), "h1-h2": ("--http1.1", "h2", "always"),
             "h1-h1": ("--http1.1", "both", "mirror")}

    def __init__(self, name, proxy, origins):
        version, kind, upstream = self.KINDS[name]
        self.client, self.server = name.split("-")
        self.origin, self.version = origins(kind), version
        self.reverse = kind == "1c"
        if self.reverse:
            self.proxy = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                               reverse_upstream={"host": "origin.test", "port": self.origin.port})
            self.port = self.proxy.port
        else:
            self.proxy, self.port = proxy(upstream_http2=upstream), self.origin.port

    def curl(self, path, *args):
        url = f"https://origin.test:{self.port}/{path}"
        if not self.reverse:
            return curl(self.proxy, *args, url, version=self.version).stdout
        return run([need("curl"), "-sS", "--max-time", 60, "--noproxy", "*", "--resolve", f"origin.test:{self.port}:127.0.0.1", "--cacert",
                    self.proxy.ca_path, self.version, *args, url], 70).stdout

    def h2(self, **kwargs):
        if not self.reverse:
            return h2_client(self.proxy, "origin.test", self.port, **kwargs)
        wire = self.proxy.client().start_tls(self.proxy.trust(alpn=("h2",)), "origin.test")
        return H2Client(wire.sock, f"origin.test:{self.port}", **kwargs)

    def shown(self, out):
        """Without the answer to CONNECT that curl -i shows."""
        return out if self.reverse else out.split(b"\r\n\r\n", 1)[1]


@pytest.fixture(params=list(Pairing.KINDS))
def pairing(request, proxy, origins):
    return Pairing(request.param, proxy, origins)


def test_get(pairing):
    p, before = pairing.proxy, len(pairing.origin.requests)
    assert pairing.curl("hello") == {"h2": b"hello over 2.0\n", "h1": b"hello over 1.1\n"}[pairing.server]
    p.wait_closed()
    assert [e["protocol"] for e in p.log.find("request_headers")] == [{"h2": "http2", "h1": "http1"}[pairing.client]]
    assert {e.at("negotiated_alpn") for e in p.log.find("tls_handshake_succeeded", peer="downstream")} == \
        {{"h2": "h2", "h1": "http/1.1"}[pairing.client]}
    until(lambda: len(pairing.origin.requests) == before + 1, 10, "what the origin got")
    assert pairing.origin.requests[-1]["authority"] == f"origin.test:{pairing.port}"


def test_upload_larger_than_every_window(pairing, tmp_path):
    with open(tmp_path / "bulk", "wb") as file:
        for piece in pattern(BULK):
            file.write(piece)
    got = json.loads(pairing.curl("upload", "-T", tmp_path / "bulk", "-H", "Expect:"))
    assert got["size"] == BULK and got["sha256"] == pattern_sha256(BULK)


@pytest.mark.parametrize("path", ["bytes", "stream"])
def test_download(pairing, tmp_path, path):
    pairing.curl(f"{path}/{BULK}", "-o", tmp_path / "got")
    assert (tmp_path / "got").stat().st_size == BULK
    head = pairing.proxy.wait_event("response_headers")
    assert (head.at("content_length") == str(BULK)) == (path == "bytes")


def test_both_ways_at_once(pairing, tmp_path):
    with open(tmp_path / "bulk", "wb") as file:
        for piece in pattern(BULK):
            file.write(piece)
    pairing.curl("echo", "-T", tmp_path / "bulk", "-H", "Expect:", "-o", tmp_path / "got")
    assert hashlib.file_digest(open(tmp_path / "got", "rb"), "sha256").hexdigest() == pattern_sha256(BULK)


def test_trailers(pairing):
    out = pairing.curl("trailers", "-i")
    assert b"body\n" in out
    event = pairing.proxy.wait_event("response_trailers")
    assert event.at("names") == "x-check,grpc-status" and event.at("trailer_count") == "2"
    assert b"x-check: done" in out.lower()  # curl prints trailers behind the body


def test_interim_response(pairing):
    out = pairing.shown(pairing.curl("early", "-i"))
    assert b" 103 " in out.split(b"\r\n", 1)[0] and b"link: </a.css>; rel=preload" in out.lower() and out.endswith(b"late\n")
    assert pairing.proxy.wait_event("response_headers", interim="true").at("status_code") == "103"


def test_request_trailers(pairing):
    """In chunks from an HTTP/1 client, behind the last DATA of an HTTP/2 one."""
    p = pairing.proxy
    if pairing.client == "h1":
        with p.https("origin.test", pairing.port) as wire:
            wire.send(b"POST /upload HTTP/1.1\r\nHost: origin.test:%d\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
                      b"4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n" % pairing.port)
            body = wire.response("POST").body
    else:
        with pairing.h2() as client:
            stream = client.ask("POST", "/upload", [("trailer", "x-sum")], b"body", end=False)
            client.conn.send_headers(stream, [("x-sum", "7")], end_stream=True)
            client.flush()
            body = bytes(client.wait(stream).body)
    got = json.loads(body)
    assert got["size"] == 4 and got["trailers"].get("x-sum") == "7", got
    assert p.wait_event("request_trailers").at("names") == "x-sum"


def test_head_and_empty(pairing):
    assert b"content-length: 1000" in pairing.curl("bytes/1000", "-I").lower()
    assert pairing.curl("bytes/0") == b""
    assert pairing.curl("echo", "-w", "%{http_code}", "-T", "/dev/null") == b"200"


def test_headers_pass(pairing):
    got = json.loads(pairing.curl("head", "-H", "X-One: 1", "-H", "Cookie: a=1; b=2", "-H", "TE: trailers"))
    assert got["x-one"] == "1" and got["cookie"] == "a=1; b=2", got
    assert got["te"] == "trailers" and "proxy-connection" not in got


def test_httpx(proxy, origins):
    p, origin = proxy(), origins("h2")
    with httpx.Client(http2=True, proxy=p.url, verify=p.trust(alpn=None), trust_env=False) as client:
        answers = [client.get(f"https://origin.test:{origin.port}/hello") for _ in range(5)]
    assert all(a.http_version == "HTTP/2" and a.text == "hello over 2.0\n" for a in answers)


def test_one_connection_carries_all_streams(proxy, origins):
    p, origin = proxy(), origins("h2")
    with h2_client(p, "origin.test", origin.port) as client:
        port = client.sock.getsockname()[1]
        first = [client.ask("GET", "/hello?twenty") for _ in range(20)]
        for one in client.wait(*first):
            assert one.status == 200 and one.body == b"hello over 2.0\n"
    asked = until(lambda: len(origin.asked("/hello?twenty")) == 20 and origin.asked("/hello?twenty"), 10, "what the origin got")
    assert len({r["session"] for r in asked}) == 1
    parent, streams = flow_of(p, port)
    assert sorted(streams) == first
    assert parent[-1].at("reason_code") == "mitm_http_completed" and parent[-1]["protocol"] == "http2"
    for number, events in streams.items():
        assert [e.kind for e in events] == ["request_headers", "response_headers", "response_body_chunk", "stream_closed"]
        assert all(e["parent_flow_id"] == parent[0].flow and e["protocol"] == "http2" for e in events)
        assert all(e["stream_key"] == f"h2:{number}" for e in events[:-1])
        assert events[-1].at("reason_code") == "mitm_http_completed"
        assert events[0].at("version") == events[1].at("version") == "HTTP/2"


def test_h2c_inside_connect(proxy, origins):
    """Prior knowledge: what plaintext gRPC does."""
    p, origin = proxy(), origins("c")
    with h2_client(p, "origin.test", origin.port, tls=False) as client:
        assert client.get("/hello").body == b"hello over 2.0\n"
        assert client.wait(client.ask("POST", "/echo", body=b"x" * 100000)).body == b"x" * 100000
    assert p.wait_event("request_headers", target="/echo").at("scheme") == "http"


def test_h2c_to_the_proxy_itself(proxy, origin):
    """Each stream names its own target, as absolute-form does; origins without TLS are spoken to in HTTP/1.1."""
    p = proxy(policy={"blocked_hosts": ["blocked.test"]})
    first, second = origin(), origin()
    with H2Client(p.client().sock, "unused", "http") as client:
        port = client.sock.getsockname()[1]
        one = client.get("/hello", authority=f"a.origin.test:{first.port}")
        two = client.get("/hello", authority=f"b.origin.test:{second.port}")
        three = client.get("/hello", authority="blocked.test")
        four = client.get("/hello", authority=f"a.origin.test:{first.port}")
    assert [one.status, two.status, three.status, four.status] == [200, 200, 403, 200]
    assert [len(first.requests), len(second.requests)] == [2, 1]
    flow_of(p, port)
    decisions = [e.at("action") for e in p.log.find("connect_decision")]
    assert decisions == ["intercept", "intercept", "block", "intercept"]


@pytest.mark.parametrize("tls", [False, True])
def test_reverse(proxy, origins, tls):
    origin = origins("h2" if tls else "c")
    p = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": tls}],
              reverse_upstream={"host": "origin.test", "port": origin.port, "tls": tls})
    host, port = p.address()
    args = ["--resolve", f"origin.test:{port}:{host}", "--cacert", p.ca_path] if tls else ["-H", f"Host: origin.test:{origin.port}"]
    done = run([need("curl"), "-sS", "--max-time", 30, "--http2" if tls else "--http2-prior-knowledge", *args,
                f"https://origin.test:{port}/hello" if tls else f"http://{host}:{port}/hello"], 40)
    assert done.stdout == b"hello over 2.0\n"


def test_switched_off(proxy, origins, origin):
    """http2_enabled: false, or disable_h2 for a host: its clients get HTTP/1.1, and nothing else is offered to it."""
    both = origins("both")
    for settings in ({"http2_enabled": False},
                     {"extra_modules": [{"module": "policy_overrides", "config": {"overrides": [
                         {"rule_id": "old", "host_pattern": "origin.test", "disable_h2": True}]}}]}):
        p = proxy(**settings)
        assert curl(p, f"https://origin.test:{both.port}/hello").stdout == b"hello over 1.1\n"
        assert p.wait_event("tls_handshake_started", peer="upstream").at("alpn_offered") == "http/1.1"
        assert p.wait_event("tls_handshake_succeeded", peer="downstream").at("negotiated_alpn") == "http/1.1"


def test_no_preface_when_switched_off(proxy, origins):
    p, origin = proxy(http2_enabled=False), origins("c")
    with p.client().connect(f"origin.test:{origin.port}") as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert wire.response("PRI").status == 400
