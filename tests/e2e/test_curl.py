# SPDX-License-Identifier: MPL-2.0
"""curl, the client of the first hour: https by CONNECT, http by absolute-form, bulk both ways, HTTP's corners."""
import hashlib
import json
import os

import pytest

from harness.eventlog import flows
from harness.origin import pattern, pattern_sha256
from harness.tools import need, run

BULK = (1 << 30) if os.environ.get("SOTH_E2E_LARGE") == "1" else (64 << 20)


def curl(proxy, *args, timeout=60, check=True, listener=0, **kwargs):
    """Its output; the proxy by -x and its CA by --cacert."""
    address = proxy.addresses[listener]
    return run([need("curl"), "-sS", "--max-time", timeout, "--noproxy", "", "-x", f"http://{address}", "--cacert", proxy.ca_path,
                *args], timeout + 10, check, **kwargs)


def bulk_file(folder):
    path = folder / "bulk"
    if not path.exists():
        with open(path, "wb") as file:
            for piece in pattern(BULK):
                file.write(piece)
    return path


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_get(proxy, nginx, scheme):
    nginx.put("page.txt", b"a page\n")
    p = proxy()
    port = nginx.http if scheme == "http" else nginx.tls13
    assert curl(p, f"{scheme}://origin.test:{port}/page.txt").stdout == b"a page\n"
    events = p.closed_as("mitm_http_completed")
    response = next(e for e in events if e.kind == "response_headers")
    assert response.at("status_code") == "200" and response["protocol"] == "http1"
    request = next(e for e in events if e.kind == "request_headers")
    assert request.at("method") == "GET" and request.at("scheme") == scheme and request.at("target") == "/page.txt"
    assert request["server_host"] == "origin.test" and int(request["server_port"]) == port


@pytest.mark.parametrize("version", ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
@pytest.mark.parametrize("upstream", ["tls12", "tls13"])
def test_tls_versions_of_both_sides_are_independent(proxy, nginx, version, upstream):
    nginx.put("page.txt", b"a page\n")
    p = proxy()
    assert curl(p, *version.split(), f"https://origin.test:{getattr(nginx, upstream)}/page.txt").stdout == b"a page\n"
    done = [e for e in p.closed_as("mitm_http_completed") if e.kind == "tls_handshake_succeeded"]
    versions = {e.at("peer"): e.at("tls_version") for e in done}
    assert set(versions) == {"downstream", "upstream"}
    assert ("1.2" in versions["downstream"]) == ("1.2" in version), versions
    assert ("1.2" in versions["upstream"]) == (upstream == "tls12"), versions


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bulk_download(proxy, nginx, scheme, tmp_path):
    bulk_file(nginx.root)
    p = proxy()
    port = nginx.http if scheme == "http" else nginx.tls13
    curl(p, f"{scheme}://origin.test:{port}/bulk", "-o", tmp_path / "got", timeout=240)
    assert (tmp_path / "got").stat().st_size == BULK
    assert sha256(tmp_path / "got") == pattern_sha256(BULK)
    events = p.closed_as("mitm_http_completed")
    assert sum(int(e.at("bytes")) for e in events if e.kind == "response_body_chunk") == BULK


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bulk_upload(proxy, nginx, scheme, tmp_path):
    source = bulk_file(tmp_path)
    p = proxy()
    port = nginx.http if scheme == "http" else nginx.tls13
    curl(p, f"{scheme}://origin.test:{port}/up-{scheme}", "-T", source, timeout=240)
    stored = nginx.root / f"up-{scheme}"
    assert sha256(stored) == pattern_sha256(BULK)
    stored.unlink()
    events = p.closed_as("mitm_http_completed")
    assert sum(int(e.at("bytes")) for e in events if e.kind == "request_body_chunk") == BULK


@pytest.mark.parametrize("tls", [False, True])
def test_chunked_upload(proxy, origin, tls, tmp_path):
    server, p = origin(tls=tls), proxy()
    data = b"".join(pattern(3_000_000))
    scheme = "https" if tls else "http"
    seen = json.loads(curl(p, "-T", "-", "-H", "Expect:", f"{scheme}://origin.test:{server.port}/echo", input=data).stdout)
    assert seen["length"] == len(data) and seen["sha256"] == pattern_sha256(len(data))
    names = [n.lower() for n, _ in seen["fields"]]
    assert "transfer-encoding" in names and "content-length" not in names


def test_expect_100_continue_is_end_to_end(proxy, origin):
    server, p = origin(tls=True), proxy()
    done = curl(p, "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "30", "--data-binary", "x" * 5000,
                f"https://origin.test:{server.port}/echo")
    assert json.loads(done.stdout)["length"] == 5000
    assert b"100 Continue" in done.stderr
    assert server.requests[0].head.get("Expect") == "100-continue"
    interim = p.wait_event("response_headers", interim="true")
    assert interim.at("status_code") == "100"


def test_expect_refused_by_origin_without_the_body(proxy, origin):
    def refuse(wire):
        wire.head()
        wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    server, p = origin(refuse, tls=True), proxy()
    done = curl(p, "-w", "%{http_code}", "-H", "Expect: 100-continue", "--expect100-timeout", "30", "--data-binary", "x" * 5000,
                f"https://origin.test:{server.port}/echo", check=False)
    assert b"417" in done.stdout


def test_head(proxy, nginx):
    nginx.put("page.txt", b"a page\n")
    p = proxy()
    out = curl(p, "-I", f"https://origin.test:{nginx.tls13}/page.txt", f"https://origin.test:{nginx.tls13}/page.txt").stdout
    assert out.lower().count(b"content-length: 7") == 2
    p.stop()
    assert len(p.log.find("request_headers", method="HEAD")) == 2


def test_range(proxy, nginx):
    nginx.put("digits.txt", b"0123456789" * 1000)
    p = proxy()
    assert curl(p, "-r", "5005-5009", f"https://origin.test:{nginx.tls13}/digits.txt").stdout == b"56789"
    assert p.wait_event("response_headers").at("status_code") == "206"


@pytest.mark.parametrize("tls", [False, True])
def test_http10_client(proxy, origin, tls):
    """A chunked response reaches an HTTP/1.0 client without chunks, ended by the close."""
    server, p = origin(tls=tls), proxy()
    scheme = "https" if tls else "http"
    done = curl(p, "--http1.0", "-D", "/dev/stderr", f"{scheme}://origin.test:{server.port}/chunked/2500000")
    assert hashlib.sha256(done.stdout).hexdigest() == pattern_sha256(2500000)
    assert b"transfer-encoding" not in done.stderr.lower().split(b"\r\n\r\n")[-2]


def test_keep_alive_uses_one_connection_on_both_sides(proxy, origin):
    server, p = origin(tls=True), proxy()
    url = f"https://origin.test:{server.port}"
    out = curl(p, "-w", "%{num_connects};", f"{url}/hello", f"{url}/bytes/0", f"{url}/status/204", f"{url}/hello").stdout
    assert out == b"hello\n1;0;0;hello\n0;"
    assert server.connections == 1 and len(server.requests) == 4
    events = p.closed_as("mitm_http_completed")
    assert [e.at("exchange_no") for e in events if e.kind == "request_headers"] == ["1", "2", "3", "4"]
    assert [e.kind for e in events].count("connect_received") == 1


def test_ipv6_listener_and_ipv6_origin(proxy, origin):
    server = origin(tls=True, host="::1")
    p = proxy(listen=[{"addr": "::1", "port": 0}])
    assert p.addresses[0].startswith("[::1]:")
    assert curl(p, "-g", f"https://[::1]:{server.port}/hello").stdout == b"hello\n"
    assert p.closed_as("mitm_http_completed")[0]["client_addr"].startswith("[::1]:")


def test_post_and_form_upload(proxy, origin):
    server, p = origin(tls=True), proxy()
    seen = json.loads(curl(p, "-F", "a=1", "-F", "b=@-;filename=f", f"https://origin.test:{server.port}/echo", input=b"file").stdout)
    assert any(n.lower() == "content-type" and v.startswith("multipart/form-data") for n, v in seen["fields"])


def test_each_connection_is_a_flow(proxy, origin):
    server, p = origin(tls=True), proxy()
    for _ in range(3):
        curl(p, f"https://origin.test:{server.port}/hello")
    p.wait_closed(3)
    found = flows(p.events())
    assert sorted(found) == [1, 2, 3]
    assert all(e[-1].at("reason_code") == "mitm_http_completed" for e in found.values())


def test_compressed_body_is_untouched(proxy, origin):
    import gzip
    packed = gzip.compress(b"text " * 1000)

    def answer(wire, _request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)

    server, p = origin(tls=True, routes={"/z": answer}), proxy()
    assert curl(p, "--compressed", f"https://origin.test:{server.port}/z").stdout == b"text " * 1000
    assert curl(p, f"https://origin.test:{server.port}/z").stdout == packed
    assert p.wait_event("response_headers").at("content_encoding") == "gzip"
