# SPDX-License-Identifier: MPL-2.0
"""transform_headers: fields, credentials and targets, and where none of them may go."""
import json
import os
import signal
import subprocess

import pytest

from harness.proxy import write_private
from harness.timing import scaled, until
from harness.tools import clean_env, need, run

SECRET = "sk-4f1c-this-must-not-be-seen"


@pytest.fixture
def transforming(proxy):
    """transforming({...}, ...) starts a proxy with these rules."""
    def start(*rules, **kwargs):
        return proxy(extra_modules=[{"module": "transform_headers", "config": {"rules": list(rules)}}], **kwargs)
    return start


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "vendor.key"
    write_private(path, SECRET + "\n")
    return path


def seen(answer):
    """The fields that the origin got, of an /echo."""
    return json.loads(answer.body)["fields"]


def values(fields, name):
    return [v for n, v in fields if n.lower() == name.lower()]


def everything_written(p):
    """Every byte that the proxy wrote: log, index, stderr, stdout, whatever is in its folder."""
    written = b""
    for folder, _, names in os.walk(p.folder):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    written += file.read()
    return written


# ---- credentials

def test_an_api_key_for_one_host_and_path_only(transforming, origin, key_file):
    """With curl, as its users do; the key is in the requests that it is for and nowhere else."""
    server, other = origin(tls=True), origin(tls=True)
    p = transforming({"host": "origin.test", "path": "/echo*", "secret": {"header": "Authorization", "file": str(key_file),
                                                                          "format": "Bearer {secret}"}})

    def curl(url, *args):
        return run([need("curl"), "-sS", "--noproxy", "", "-x", p.url, "--cacert", p.ca_path, *args, url]).stdout

    got = json.loads(curl(f"https://origin.test:{server.port}/echo?q=1", "-H", "Authorization: Basic the-clients-own"))["fields"]
    assert values(got, "authorization") == [f"Bearer {SECRET}"]
    curl(f"https://origin.test:{server.port}/hello")
    curl(f"https://other.test:{other.port}/echo")
    for request in [r for r in server.requests if r.head.target == "/hello"] + other.requests:
        assert request.head.get("Authorization") is None
    assert len(server.requests) == 2 and len(other.requests) == 1
    p.wait_closed(3)
    p.signal(signal.SIGUSR2)
    metrics = until(lambda: "# EOF" in p.stderr() and p.stderr(), 5, "metrics")
    assert 'soth_transform_headers_changed_total{' in metrics
    assert SECRET.encode() not in everything_written(p)


def test_the_key_is_not_in_what_a_sink_with_payload_gets(transforming, origin, key_file):
    """Events tell the head that the client sent, whatever the field is called."""
    server = origin()
    p = transforming({"host": "origin.test", "secret": {"header": "X-Whatever", "file": str(key_file)}, "set": {"X-Set": "by-a-rule"}},
                     sink_top={"payload": "full"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", "origin.test", fields=[("X-Mine", "seen")]).body == b"hello\n"
    assert server.requests[0].head.get("X-Whatever") == SECRET and server.requests[0].head.get("X-Set") == "by-a-rule"
    p.wait_closed()
    log = p.log.path.read_bytes()
    assert b"X-Mine" in log and b"by-a-rule" not in log and SECRET.encode() not in everything_written(p)


@pytest.mark.parametrize("tls", [False, True])
def test_who_lies_about_the_host_gets_no_key(transforming, origin, key_file, tls):
    """A request that goes to one server under the name of another."""
    server = origin(tls=tls)
    p = transforming({"host": "origin.test", "secret": {"header": "X-Key", "file": str(key_file)}}, authority_mismatch="allow")
    with p.https("other.test", server.port) if tls else p.client().connect(f"other.test:{server.port}") as client:
        assert values(seen(client.ask("GET", "/echo", "origin.test")), "X-Key") == []
        assert values(seen(client.ask("GET", "/echo", f"origin.test:{server.port}")), "X-Key") == []
    if not tls:
        with p.client() as client:
            for _ in range(2):
                assert values(seen(client.ask("GET", f"http://other.test:{server.port}/echo", "origin.test")), "X-Key") == []
                assert values(seen(client.ask("GET", f"http://origin.test:{server.port}/echo", "other.test")), "X-Key") == [SECRET]
    assert SECRET.encode() not in everything_written(p)


def test_a_port_belongs_to_the_name(transforming, origin, key_file):
    mine, other = origin(), origin()
    p = transforming({"host": f"origin.test:{mine.port}", "secret": {"header": "X-Key", "file": str(key_file)}})
    for server, wanted in ((mine, [SECRET]), (other, [])):
        with p.client() as client:
            assert values(seen(client.ask("GET", f"http://origin.test:{server.port}/echo", f"origin.test:{mine.port}")), "X-Key") == wanted
        with p.client().connect(f"origin.test:{server.port}") as client:
            for host in (f"origin.test:{mine.port}", f"origin.test:{server.port}", "origin.test"):
                assert values(seen(client.ask("GET", "/echo", host)), "X-Key") == wanted, host


def test_a_key_of_the_environment(transforming, origin):
    server = origin()
    p = transforming({"host": "origin.test", "secret": {"header": "X-Key", "env": "VENDOR_KEY"}}, launch={"env": {"VENDOR_KEY": SECRET}})
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert values(seen(client.ask("GET", "/echo", "origin.test")), "X-Key") == [SECRET]
    assert SECRET.encode() not in everything_written(p)


@pytest.mark.parametrize("what,words", [("missing", "No such file"), ("readable", "chmod 600"), ("empty", "is empty"),
                                        ("lines", "more than one line")])
def test_a_key_that_cannot_be_had_is_an_error(transforming, tmp_path, what, words):
    path = tmp_path / "vendor.key"
    if what != "missing":
        write_private(path, {"readable": SECRET, "empty": "\n", "lines": SECRET + "\n" + SECRET}[what])
        path.chmod(0o640 if what == "readable" else 0o600)
    p = transforming({"host": "origin.test", "secret": {"header": "X-Key", "file": str(path)}}, start=False)
    done = subprocess.run(p.command("run"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=scaled(20),
                          env=clean_env(HOME=p.folder))
    assert done.returncode == 22 and words in done.stdout, done.stdout
    assert "transform_headers.yaml:" in done.stdout and "config.rules[0].secret.file" in done.stdout
    assert SECRET not in done.stdout


# ---- fields

@pytest.mark.parametrize("tls", [False, True])
def test_fields_of_requests_and_responses(transforming, origin, tls):
    server = origin(tls=tls, routes={"/reply": lambda wire, request: wire.send(
        b"HTTP/1.1 200 OK\r\nServer: secret/1.2\r\nX-A: origin\r\nX-A: twice\r\nContent-Length: 2\r\n\r\nok") or True})
    p = transforming({"host": "origin.test", "path": "/reply*", "set": {"X-A": "one"}, "add": {"X-B": ["1", "2"]}, "remove": "Cookie",
                      "set_response": {"X-A": "proxy"}, "add_response": {"X-New": "n"}, "remove_response": ["Server"]})
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(2):
            answer = client.ask("GET", "/reply?q", "origin.test", fields=[("x-a", "client"), ("Cookie", "a=b"), ("X-A", "more")])
            assert answer.body == b"ok" and answer.head.get("Server") is None
            assert answer.head.all("X-A") == ["proxy"] and answer.head.all("X-New") == ["n"]
        assert values(seen(client.ask("GET", "/echo", "origin.test", fields=[("Cookie", "a=b")])), "Cookie") == ["a=b"]
    request = server.requests[0].head
    assert request.all("X-A") == ["one"] and request.all("X-B") == ["1", "2"] and request.get("Cookie") is None


def test_a_body_goes_with_its_changed_head(transforming, origin):
    server = origin(tls=True)
    p = transforming({"host": "origin.test", "set": {"X-A": "one"}})
    with p.https("origin.test", server.port) as client:
        answer = client.ask("POST", "/echo", "origin.test", body=b"x" * 200000)
        assert json.loads(answer.body)["length"] == 200000 and values(seen(answer), "X-A") == ["one"]
        client.send(b"POST /echo HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n")
        answer = client.response()
        assert json.loads(answer.body)["length"] == 3 and values(seen(answer), "X-A") == ["one"]


# ---- targets

def test_a_connection_goes_elsewhere(transforming, origin, authority, resolver):
    """The client's certificate is of the name that it asked for; the decision is about the new target, as is what the origin gets."""
    server = origin(tls=authority.server("other.test"))
    p = transforming({"host": "wanted.test", "map_to": {"host": "other.test", "port": server.port}, "set": {"X-Mapped": "yes"},
                      "set_response": {"X-Back": "yes"}})
    with p.https("wanted.test", 443) as client:
        for _ in range(2):
            answer = client.ask("GET", "/echo", "wanted.test")
            assert values(seen(answer), "X-Mapped") == ["yes"] and answer.head.get("X-Back") == "yes"
            assert values(seen(answer), "Host") == [f"other.test:{server.port}"]
    decided = p.decision()
    assert (decided["server_host"], decided["server_port"]) == ("other.test", server.port)
    assert {name for name, _ in resolver.queries} == {"other.test"}


def test_the_new_target_is_what_is_judged(transforming, origin):
    server = origin()
    p = transforming({"host": "wanted.test", "map_to": {"host": "other.test"}}, policy={"blocked_hosts": ["other.test"]})
    with p.client() as client:
        assert client.ask_connect(f"wanted.test:{server.port}").status == 403
    with p.client() as client:
        assert client.ask("GET", f"http://wanted.test:{server.port}/hello", "wanted.test").status == 403
    assert server.connections == 0


def test_single_requests_go_elsewhere(transforming, origin):
    """In one intercepted connection: one path goes to another server, the rest to where the client wanted."""
    here, there = origin(tls=True), origin(tls=True)
    p = transforming({"host": "origin.test", "path": "/v1/*", "map_to": {"host": "other.test", "port": there.port, "path": "/old/*"},
                      "set": {"X-Mapped": "yes"}, "set_response": {"X-Back": "yes"}},
                     {"host": "origin.test", "path": "/hello", "set_response": {"X-Home": "yes"}})
    with p.https("origin.test", here.port) as client:
        for _ in range(2):
            answer = client.ask("GET", "/v1/hello?q=1", "origin.test")
            assert answer.status == 404 and answer.head.get("X-Back") == "yes"
            answer = client.ask("GET", "/hello", "origin.test")
            assert answer.body == b"hello\n" and answer.head.get("X-Back") is None and answer.head.get("X-Home") == "yes"
    assert [r.head.target for r in there.requests] == ["/old/hello?q=1"] * 2
    assert [r.head.get("X-Mapped") for r in there.requests] == ["yes"] * 2
    assert [r.head.target for r in here.requests] == ["/hello"] * 2
    assert [r.head.get("X-Mapped") for r in here.requests] == [None] * 2


@pytest.mark.parametrize("tls", [False, True])
def test_a_single_request_to_a_blocked_host(transforming, origin, tls):
    here, there = origin(tls=tls), origin(tls=tls)
    p = transforming({"host": "origin.test", "path": "/v1/*", "map_to": {"host": "other.test", "port": there.port}},
                     policy={"blocked_hosts": ["other.test"]})
    with p.https("origin.test", here.port) if tls else p.client().connect(f"origin.test:{here.port}") as client:
        got = [client.ask("GET", path, "origin.test").status for path in ("/hello", "/v1/x", "/hello", "/v1/x", "/hello")]
    assert got == [200, 403, 200, 403, 200] and there.connections == 0
    p.wait_closed()
    assert [e.at("action") for e in p.log.find("request_decision")] == ["block"] * 2


def test_absolute_form_goes_elsewhere(transforming, origin):
    here, there = origin(), origin()
    p = transforming({"host": "origin.test", "path": "/v1/*", "map_to": {"port": there.port, "path": "/*"}})
    with p.client() as client:
        for _ in range(2):
            assert client.ask("GET", f"http://origin.test:{here.port}/v1/hello", f"origin.test:{here.port}").body == b"hello\n"
            assert client.ask("GET", f"http://origin.test:{here.port}/hello", f"origin.test:{here.port}").body == b"hello\n"
    assert [r.head.target for r in there.requests] == ["/hello"] * 2 and [r.head.target for r in here.requests] == ["/hello"] * 2


def test_a_key_goes_along_with_the_mapping(transforming, origin, key_file):
    there = origin(tls=True)
    p = transforming({"host": "wanted.test:443", "map_to": {"host": "origin.test", "port": there.port}},
                     {"host": "wanted.test:443", "path": "/echo", "secret": {"header": "X-Key", "file": str(key_file)}})
    with p.https("wanted.test", 443) as client:
        assert values(seen(client.ask("GET", "/echo", "wanted.test")), "X-Key") == [SECRET]
    assert SECRET.encode() not in everything_written(p)


# ---- reload and check

def test_check_says_where(transforming):
    p = transforming({"host": "origin.test", "set": {"Content-Length": "1"}}, start=False)
    done = subprocess.run(p.command("check"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=scaled(10),
                          env=clean_env(HOME=p.folder))
    assert done.returncode == 20 and "config.rules[0].set.Content-Length" in done.stdout
    assert any(line.startswith(str(p.folder / "conf.d" / "02-transform_headers.yaml:")) for line in done.stdout.splitlines())


def test_a_reload_reads_the_key_again(transforming, origin, key_file):
    """A connection that is open keeps the key that it began with; a key that cannot be had leaves everything as it was."""
    server = origin(tls=True)
    p = transforming({"host": "origin.test", "secret": {"header": "X-Key", "file": str(key_file)}})

    def key(client):
        return values(seen(client.ask("GET", "/echo", "origin.test")), "X-Key")[0]

    def reload(outcome):
        before = len(p.log.find("config_reloaded"))
        p.signal(signal.SIGHUP)
        until(lambda: len(p.log.find("config_reloaded")) > before, 10, lambda: "the reload; " + p.stderr()[-500:])
        assert p.log.find("config_reloaded")[-1].at("outcome") == outcome

    with p.https("origin.test", server.port) as old:
        assert key(old) == SECRET
        write_private(key_file, "another-" + SECRET)
        reload("applied")
        assert key(old) == SECRET
        with p.https("origin.test", server.port) as new:
            assert key(new) == "another-" + SECRET
    key_file.chmod(0o644)
    reload("refused")
    with p.https("origin.test", server.port) as new:
        assert key(new) == "another-" + SECRET
    assert SECRET.encode() not in everything_written(p)
