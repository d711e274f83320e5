# SPDX-License-Identifier: MPL-2.0
"""Clients that people use beside curl: Python requests and httpx, Node, Go, wget, git. Each trusts only the proxy's CA."""
import hashlib
import pathlib
import subprocess

import httpx
import pytest
import requests

from harness.origin import pattern, pattern_sha256
from harness.tools import clean_env, go_program, need, node_modules, run

HERE = pathlib.Path(__file__).parent


def proxies(p):
    return {"http": p.url, "https": p.url}


@pytest.mark.parametrize("tls", [False, True])
def test_requests(proxy, origin, tls):
    server, p = origin(tls=tls), proxy()
    base = f"{'https' if tls else 'http'}://origin.test:{server.port}"
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.proxies = str(p.ca_path), proxies(p)
        assert session.get(base + "/hello").text == "hello\n"
        body = session.get(base + "/chunked/700000").content
        assert hashlib.sha256(body).hexdigest() == pattern_sha256(700000)
        data = b"".join(pattern(300000))
        assert session.post(base + "/echo", data=data).json()["sha256"] == pattern_sha256(300000)
        assert session.put(base + "/echo", data=iter([b"a", b"b" * 70000])).json()["length"] == 70001
        assert session.head(base + "/bytes/12345").headers["Content-Length"] == "12345"
    assert server.connections == 1
    p.closed_as("mitm_http_completed")


@pytest.mark.parametrize("tls", [False, True])
def test_httpx(proxy, origin, tls):
    server, p = origin(tls=tls), proxy()
    base = f"{'https' if tls else 'http'}://origin.test:{server.port}"
    with httpx.Client(proxy=p.url, verify=p.trust(alpn=None), trust_env=False, timeout=30) as client:
        assert client.get(base + "/hello").text == "hello\n"
        with client.stream("GET", base + "/bytes/3000000") as response:
            digest = hashlib.sha256()
            for piece in response.iter_bytes():
                digest.update(piece)
        assert digest.hexdigest() == pattern_sha256(3000000)
        assert client.post(base + "/echo", content=iter([b"x" * 100000])).json()["length"] == 100000


def test_httpx_many_at_once(proxy, origin):
    import asyncio
    server, p = origin(tls=True), proxy()

    async def fetch_all():
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(proxy=p.url, verify=p.trust(alpn=None), trust_env=False, timeout=60, limits=limits) as client:
            replies = await asyncio.gather(*(client.get(f"https://origin.test:{server.port}/bytes/{n}") for n in range(1000, 1100)))
            return [len(r.content) for r in replies]

    assert asyncio.run(fetch_all()) == list(range(1000, 1100))


@pytest.mark.parametrize("agent", ["env", "proxy"])
def test_node_fetch(proxy, origin, agent):
    server, p = origin(tls=True), proxy()
    base = f"https://origin.test:{server.port}"
    env = clean_env(NODE_PATH=node_modules(), NODE_EXTRA_CA_CERTS=p.ca_path, HTTPS_PROXY=p.url, HTTP_PROXY=p.url, SOTH_AGENT=agent)
    done = run([need("node"), HERE / "node" / "fetch.cjs", base + "/hello", base + "/chunked/100000", base + "/hello"], env=env)
    lines = done.stdout.decode().splitlines()
    assert lines[0] == lines[2] == '200 6 "hello\\n"' and lines[1].startswith("200 100000 ")
    p.wait_closed()


def test_node_https_with_its_own_connect(proxy, origin):
    server, p = origin(tls=True), proxy()
    host, port = p.address()
    done = run([need("node"), HERE / "node" / "https.cjs", host, port, "origin.test", server.port, "/hello"],
               env=clean_env(NODE_EXTRA_CA_CERTS=p.ca_path))
    assert done.stdout == b"200 hello\n\n"
    p.closed_as("mitm_http_completed")


@pytest.fixture(scope="session")
def go_client(tmp_path_factory):
    return go_program(HERE / "go", tmp_path_factory.mktemp("go") / "client")


@pytest.mark.parametrize("tls", [False, True])
def test_go_net_http(proxy, origin, go_client, tls):
    server, p = origin(tls=tls), proxy()
    base = f"{'https' if tls else 'http'}://origin.test:{server.port}"
    done = run([go_client, p.url, p.ca_path, base + "/hello", base + "/chunked/250000", base + "/status/204"])
    assert done.stdout.decode().splitlines() == ["200 HTTP/1.1 6", "200 HTTP/1.1 250000", "204 HTTP/1.1 0"]
    assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True])
def test_wget(proxy, nginx, tls, tmp_path):
    data = b"".join(pattern(400000))
    nginx.put("wget.bin", data)
    p = proxy()
    url = f"https://origin.test:{nginx.tls13}/wget.bin" if tls else f"http://origin.test:{nginx.http}/wget.bin"
    run([need("wget"), "-nv", "--tries=1", "--timeout=30", f"--ca-certificate={p.ca_path}", "-O", tmp_path / "got", url],
        env=clean_env(http_proxy=p.url, https_proxy=p.url))
    assert (tmp_path / "got").read_bytes() == data
    p.wait_closed()


def git_backend(root):
    """A route that is git's CGI."""
    backend = pathlib.Path(run([need("git"), "--exec-path"]).stdout.decode().strip()) / "git-http-backend"

    def answer(wire, request):
        path, _, query = request.head.target.partition("?")
        env = clean_env(GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path, QUERY_STRING=query,
                        REQUEST_METHOD=request.head.method, CONTENT_TYPE=request.head.get("Content-Type", ""),
                        CONTENT_LENGTH=str(len(request.body)), REMOTE_ADDR="127.0.0.1", REMOTE_USER="e2e",
                        HTTP_CONTENT_ENCODING=request.head.get("Content-Encoding", ""),
                        GIT_PROTOCOL=request.head.get("Git-Protocol", ""), GIT_CONFIG_COUNT="2",
                        GIT_CONFIG_KEY_0="http.receivepack", GIT_CONFIG_VALUE_0="true",
                        GIT_CONFIG_KEY_1="safe.directory", GIT_CONFIG_VALUE_1="*")
        out = subprocess.run([backend], input=request.body, stdout=subprocess.PIPE, env=env, check=True, timeout=60).stdout
        head, _, body = out.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = next((line[8:] for line in lines if line.startswith(b"Status: ")), b"200 OK")
        kept = [line for line in lines if not line.startswith(b"Status: ")]
        wire.send(b"HTTP/1.1 " + status + b"\r\n" + b"".join(k + b"\r\n" for k in kept)
                  + b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")

    return answer


def test_git_clone_and_push(proxy, origin, tmp_path):
    git = need("git")
    identity = {"GIT_AUTHOR_NAME": "e2e", "GIT_AUTHOR_EMAIL": "e2e@origin.test", "GIT_COMMITTER_NAME": "e2e",
                "GIT_COMMITTER_EMAIL": "e2e@origin.test", "HOME": tmp_path, "GIT_CONFIG_NOSYSTEM": "1"}
    work, bare = tmp_path / "work", tmp_path / "served" / "repo.git"
    run([git, "init", "-q", "-b", "main", work], env=clean_env(**identity))
    (work / "file.bin").write_bytes(b"".join(pattern(2_000_000)))
    run([git, "-C", work, "add", "."], env=clean_env(**identity))
    run([git, "-C", work, "commit", "-q", "-m", "first"], env=clean_env(**identity))
    run([git, "clone", "-q", "--bare", work, bare], env=clean_env(**identity))
    route = git_backend(tmp_path / "served")

    class Everything(dict):
        def __contains__(self, path):
            return True

        def __getitem__(self, path):
            return route

    server, p = origin(tls=True, routes=Everything()), proxy()
    env = clean_env(**identity, HTTPS_PROXY=p.url, GIT_SSL_CAINFO=p.ca_path, GIT_TERMINAL_PROMPT="0")
    url = f"https://origin.test:{server.port}/repo.git"
    run([git, "clone", "-q", url, tmp_path / "clone"], env=env)
    assert (tmp_path / "clone" / "file.bin").read_bytes() == (work / "file.bin").read_bytes()
    (tmp_path / "clone" / "new").write_bytes(b"".join(pattern(1_500_000))[::-1])
    run([git, "-C", tmp_path / "clone", "add", "."], env=env)
    run([git, "-C", tmp_path / "clone", "commit", "-q", "-m", "second"], env=env)
    run([git, "-C", tmp_path / "clone", "push", "-q", "origin", "main"], env=env)
    assert run([git, "-C", bare, "log", "--format=%s", "main"], env=env).stdout == b"second\nfirst\n"
    p.wait_event("request_headers", method="POST")
