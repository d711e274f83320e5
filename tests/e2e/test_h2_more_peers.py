# SPDX-License-Identifier: MPL-2.0
"""More HTTP/2 peers as they are: Java's HttpClient and Chromium through CONNECT; nginx and Go as origins."""
import os
import pathlib
import subprocess

import pytest

from harness import chromium
from harness.h2 import H2Origin, h2_client
from harness.ports import free_port
from harness.timing import scaled, until
from harness.tools import clean_env, go_program, need, run

HERE = pathlib.Path(__file__).parent
NAMES = ("origin.test", "*.origin.test")


@pytest.fixture
def node_origin(authority):
    one = H2Origin(authority.leaf(*NAMES))
    yield one
    one.close()


def both_spoke_http2(p):
    """On either side of the proxy."""
    for peer in ("downstream", "upstream"):
        p.wait_event("tls_handshake_succeeded", peer=peer, negotiated_alpn="h2")


def test_java(proxy, node_origin):
    p = proxy()
    host, port = p.address()
    done = run([need("java"), HERE / "java" / "H2Client.java", host, port, f"https://origin.test:{node_origin.port}", p.ca_path, 20], 120)
    assert done.stdout.decode().splitlines() == ["HTTP_2 200 15"] + ["HTTP_2 200 200000"] * 20 + ["HTTP_2 200 3000000"]
    both_spoke_http2(p)


NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; default_type text/plain; types {{ text/html html; image/svg+xml svg; }} client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  root {folder}/root; dav_methods PUT; create_full_put_path on;
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; }}
}}
"""


@pytest.fixture
def nginx_h2(authority, tmp_path):
    """(port, folder of its files)"""
    folder = tmp_path / "nginx"
    (folder / "root").mkdir(parents=True)
    cert, key = authority.leaf(*NAMES)
    port = free_port()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, cert=cert, key=key, user="user root;" if os.getuid() == 0 else ""))
    server = subprocess.Popen([need("nginx"), "-e", folder / "error.log", "-p", folder, "-c", folder / "conf"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env())
    try:
        until((folder / "nginx.pid").exists, 20, "nginx with http2")
        yield port, folder / "root"
    finally:
        server.terminate()
        server.wait(scaled(10))


def test_nginx(proxy, nginx_h2):
    port, root = nginx_h2
    (root / "file").write_bytes(b"f" * 700000)
    p = proxy()
    with h2_client(p, "origin.test", port) as client:
        assert all(len(a.body) == 700000 for a in client.wait(*[client.ask("GET", "/file") for _ in range(20)]))
        assert client.wait(client.ask("PUT", "/new", [("content-length", "2500000")], b"n" * 2500000)).status == 201
        assert client.get("/missing").status == 404
        part = client.wait(client.ask("GET", "/file", [("range", "bytes=0-99")]))
        assert part.status == 206 and part.body == b"f" * 100
    assert (root / "new").read_bytes() == b"n" * 2500000
    both_spoke_http2(p)


@pytest.mark.slow
def test_chromium(proxy, nginx_h2, tmp_path):
    port, root = nginx_h2
    pictures = "".join(f'<img src="/{n}.svg" onload="count()">' for n in range(30))
    (root / "index.html").write_text("<!doctype html><body><script>let n = 0; function count() { document.body.dataset.loaded = ++n; }"
                                     f"</script>{pictures}</body>")
    for number in range(30):
        (root / f"{number}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!--{number}--></svg>')
    p = proxy(policy=chromium.PAGE_ALONE)
    done = chromium.load(p, f"https://origin.test:{port}/index.html", tmp_path, budget_ms=20000)
    assert b'data-loaded="30"' in done.stdout, done.stdout.decode()[:1500] + done.stderr.decode()[-2000:]
    def requests():
        return p.log.find("request_headers", authority=f"origin.test:{port}", protocol="http2")

    until(lambda: {e.at("target") for e in requests()} >= {f"/{n}.svg" for n in range(30)}, 10, "all pictures in the log")
    asked = requests()
    assert len({e["parent_flow_id"] for e in asked if e.at("target").endswith(".svg")}) == 1, "one connection for all pictures"


@pytest.fixture
def go_origin(authority, tmp_path):
    program = go_program(HERE / "go" / "h2origin", tmp_path / "h2origin")
    cert, key = authority.leaf(*NAMES)
    server = subprocess.Popen([program, cert, key], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()


def test_go_origin(proxy, go_origin):
    p = proxy()
    with h2_client(p, "origin.test", go_origin) as client:
        assert all(a.body == b"hello over HTTP/2.0" for a in client.wait(*[client.ask("GET", "/hello") for _ in range(50)]))
        assert client.wait(client.ask("POST", "/echo", (), b"g" * 3000000)).body == b"g" * 3000000
        answer = client.get("/trailers")
        assert answer.body == b"body" and answer.trailers == {"x-check": "done"}
    both_spoke_http2(p)
