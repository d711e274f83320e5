# SPDX-License-Identifier: MPL-2.0
"""What `ca env` prints is all that a client needs: each one here gets those variables and nothing else."""
import json
import subprocess
import sys

import pytest

from harness.proxy import BINARY
from harness.tools import clean_env, missing, need, node_with_proxies, run

GO = """package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
    reply, err := http.Get(os.Args[1])
    if err != nil { fmt.Println(err); os.Exit(1) }
    body, _ := io.ReadAll(reply.Body)
    fmt.Print(string(body))
}
"""
JAVA = """import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
class Get {
    public static void main(String[] args) throws Exception {
        var reply = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString());
        System.out.print(reply.body());
        var old = new java.net.URL(args[0]).openConnection();
        System.out.print(new String(old.getInputStream().readAllBytes()));
    }
}
"""
NODE = "fetch(process.argv[1]).then(r => r.text()).then(t => process.stdout.write(t))"
PYTHON = {
    "requests": "import requests, sys; print(requests.get(sys.argv[1]).text, end='')",
    "httpx": "import httpx, sys; print(httpx.get(sys.argv[1]).text, end='')",
    "urllib": "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).read().decode(), end='')",
}


@pytest.fixture
def world(proxy, origin):
    """A running proxy, an origin's URL, and the environment of `ca env`."""
    server, p = origin(tls=True), proxy()
    done = run([BINARY, "ca", "env", "--shell", "json", "--proxy", p.url, "-c", p.conf], env=clean_env(HOME=p.folder))
    return p, f"https://origin.test:{server.port}/hello", clean_env(**json.loads(done.stdout))


def intercepted(p, done, body=b"hello\n"):
    assert done.stdout == body, done.stderr
    p.decision(action="intercept")


def test_curl(world):
    p, url, env = world
    intercepted(p, run([need("curl"), "-sS", url], env=env))


@pytest.mark.parametrize("library", sorted(PYTHON))
def test_python(world, library):
    p, url, env = world
    intercepted(p, run([sys.executable, "-c", PYTHON[library], url], env=env))


def test_node(world):
    p, url, env = world
    intercepted(p, run([node_with_proxies(), "-e", NODE, url], env=env))


def test_go(world, tmp_path):
    p, url, env = world
    go = need("go")
    (tmp_path / "go.mod").write_text("module env\n\ngo 1.19\n")
    (tmp_path / "main.go").write_text(GO)
    cache = {"GOCACHE": tmp_path / "cache", "GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0"}
    run([go, "build", "-o", tmp_path / "client", "."], timeout=300, cwd=tmp_path, env=clean_env(**cache))
    intercepted(p, run([tmp_path / "client", url], env=env))


def test_java(world, tmp_path):
    p, url, env = world
    java = need("java")
    (tmp_path / "Get.java").write_text(JAVA)
    done = run([java, tmp_path / "Get.java", url], env=env, check=False, timeout=120)
    if b"jdk.compiler" in done.stderr:
        missing("the Java here has no compiler (a JDK is needed)")
    intercepted(p, done, b"hello\nhello\n")


def test_git(world):
    """git says what it thinks of the certificate before it finds that there is no repository."""
    p, url, env = world
    done = run([need("git"), "ls-remote", url], env=env | {"GIT_TERMINAL_PROMPT": "0"}, check=False)
    assert b"certificate" not in done.stderr and b"is this a git repository" in done.stderr, done.stderr
    p.wait_event("request_headers")


def test_paths_with_a_quote_and_a_space(proxy, tmp_path):
    """The shell's text survives what a path may hold."""
    folder = tmp_path / "it's a place"
    folder.mkdir()
    p = proxy(start=False, folder=folder)
    env = clean_env(HOME=tmp_path)
    run([BINARY, "ca", "init", "-c", p.conf], env=env)
    text = run([BINARY, "ca", "env", "--proxy", "http://127.0.0.1:1", "-c", p.conf], env=env).stdout.decode()
    wanted = json.loads(run([BINARY, "ca", "env", "--shell", "json", "--proxy", "http://127.0.0.1:1", "-c", p.conf], env=env).stdout)
    got = subprocess.run(["sh", "-c", text + '\nprintf %s "$SSL_CERT_FILE"'], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert got == wanted["SSL_CERT_FILE"] == str(folder / "ca" / "bundle.pem")


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:8080", "http://127.0.0.1", "http://a b:1", "http://x:port", "http://u@h:1"])
def test_proxy_must_be_a_usable_url(proxy, url):
    p = proxy(start=False)
    run([BINARY, "ca", "init", "-c", p.conf])
    assert run([BINARY, "ca", "env", "--proxy", url, "-c", p.conf], check=False).returncode == 2
