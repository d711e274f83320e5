# SPDX-License-Identifier: MPL-2.0
"""policy_webhook: a decision service decides for real clients, and dies, hangs, babbles and comes back meanwhile."""
import concurrent.futures
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import types

import pytest

from harness.client import trust
from harness.decider import Decider
from harness.modules import module_metric
from harness.ports import free_port
from harness.timing import scaled, span, until
from harness.tools import need, run


@pytest.fixture
def decider(tmp_path):
    """decider(decide) starts a decision service."""
    started = []

    def start(decide=None, **kwargs):
        started.append(Decider(decide, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def hooked(proxy):
    """hooked(decider, ...) starts a proxy that asks it."""
    def start(service, top=None, policy=None, settings=None, **config):
        config = {"url": service.url, "timeout": span(5)} | config  # its services answer at once, on a busy machine a bit later
        return proxy(policy=policy, extra_modules=[{"module": "policy_webhook", "config": config} | (top or {})],
                     **(settings or {}))
    return start


def counted(p, outcome):
    return module_metric(p, "soth_policy_webhook_questions_total", label=outcome)


class Slow:
    """Decides about all at once, and about what is slow when `go` is set."""

    def __init__(self, is_slow):
        self.is_slow, self.asked, self.go = is_slow, threading.Event(), threading.Event()

    def __call__(self, question):
        if self.is_slow(question):
            self.asked.set()
            self.go.wait(30)
        return {"action": "allow"}


def by_path(question):
    if question["path"] and question["path"].startswith("/admin"):
        return {"action": "block", "reason": "no-admin"}
    return {"action": "allow"}


# ---- what it decides

@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_decides_for_curl(hooked, decider, origin, scheme):
    server, service = origin(tls=scheme == "https"), decider(by_path)
    p = hooked(service)

    def curl(path):
        done = run([need("curl"), "-sS", "--path-as-is", "--noproxy", "", "-x", p.url, "--cacert", p.ca_path, "-w", "\n%{http_code}",
                    f"{scheme}://origin.test:{server.port}{path}"])
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body

    assert curl("/hello?q=1") == (200, "hello\n")
    status, body = curl("//x/../%61dmin?key=1")
    assert status == 403 and "blocked by policy" in body
    assert curl("/hello") == (200, "hello\n")
    assert [r.head.target for r in server.requests] == ["/hello?q=1", "/hello"]
    connects = [q for q in service.questions if q["hook"] == "connect"]
    requests = [q for q in service.questions if q["hook"] == "request"]
    assert {(q["host"], q["port"], q["client"], q["method"], q["path"]) for q in connects} == {
        ("origin.test", server.port, "127.0.0.1", None, None)}
    assert [(q["method"], q["path"]) for q in requests] == [("GET", "/hello"), ("GET", "/admin"), ("GET", "/hello")]
    assert set(requests[0]) == {"v", "hook", "flow_id", "client", "host", "port", "sni", "method", "path"} and requests[0]["v"] == 1
    decided = p.wait_event("request_decision", action="block")
    assert [decided.at(n) for n in ("policy_module", "reason", "rule_id")] == ["policy_webhook", "rule", "no-admin"]
    assert decided.flow == requests[1]["flow_id"]
    p.wait_closed(3)
    assert service.connections == 1 and counted(p, "ok") == len(service.questions)


@pytest.mark.parametrize("action", ["allow", "intercept", "tunnel", "block"])
def test_connections(hooked, decider, origin, authority, action):
    server, service = origin(tls=True), decider(lambda question: {"action": action, "reason": "said"})
    p = hooked(service, on=["connect"])
    with p.client() as client:
        assert client.ask_connect(f"origin.test:{server.port}").status == (403 if action == "block" else 200)
        if action != "block":
            client.start_tls(p.trust() if action != "tunnel" else trust(authority.path), "origin.test")
            assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    decided = p.decision()
    assert decided.at("action") == ("intercept" if action == "allow" else action)
    by = ("policy_rules", None) if action == "allow" else ("policy_webhook", "said")
    assert (decided.at("policy_module"), decided.at("rule_id")) == by
    assert p.wait_closed()[0].at("reason_detail") == ("said" if action == "block" else None)


def test_a_further_name_is_asked_about(hooked, decider, origin):
    """The SNI that differs from the target is a question of its own."""
    server = origin(tls=True)
    service = decider(lambda question: {"action": "block", "reason": "hidden"} if question["host"] == "other.test" else {"action": "allow"})
    p = hooked(service, settings={"authority_mismatch": "allow"}, on=["connect"])
    client = p.client().connect(f"origin.test:{server.port}").start_tls(p.trust(), "other.test")
    with client:
        assert client.ask("GET", "/hello", "other.test").status == 403
    assert server.connections == 0 or server.requests == []
    assert p.closed_as("blocked", "hidden")


def test_with_other_policies(hooked, decider, origin):
    """Block beats allow, whoever says it."""
    server, service = origin(), decider(by_path)
    p = hooked(service, policy={"rules": [{"id": "ro", "action": "block", "method": "POST"},
                                          {"id": "all", "action": "allow", "path": "*"}]})
    with p.client().connect(f"origin.test:{server.port}") as client:
        asked = (("GET", "/hello"), ("POST", "/echo"), ("GET", "/admin"))
        assert [client.ask(m, t, "origin.test").status for m, t in asked] == [200, 403, 403]


def test_nothing_of_a_body_goes_out_before_the_answer(hooked, decider, origin):
    slow = Slow(lambda question: question["hook"] == "request")
    server, service = origin(), decider(slow)
    p = hooked(service, timeout="30s")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
        assert slow.asked.wait(scaled(10)) and server.connections == 0
        slow.go.set()
        assert client.response().status == 200


def test_reasons_of_many_flows_do_not_mix(hooked, decider, origin):
    server = origin()
    service = decider(lambda q: {"action": "block", "reason": "because-of-" + q["path"]} if q["path"] else {"action": "allow"})
    p = hooked(service, max_in_flight=8)

    def one(number):
        with p.client().connect(f"origin.test:{server.port}") as client:
            return client.ask("GET", f"/{number}", "origin.test").status

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(100))) == {403}
    p.wait_closed(100)
    events = p.events()
    targets = {e.flow: e.at("target") for e in events if e.kind == "request_headers"}
    rules = {e.flow: e.at("rule_id") for e in events if e.kind == "request_decision"}
    assert len(rules) == 100 and all(rules[flow] == "because-of-" + targets[flow] for flow in rules)


def test_the_service_of_the_documentation(hooked, origin, tmp_path):
    """docs/policy-webhook.md: its code runs, and decides as it says."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "policy-webhook.md").read_text()
    program = tmp_path / "decide.py"
    program.write_text(text.split("```python\n")[1].split("```")[0])
    port = free_port()
    process = subprocess.Popen([sys.executable, str(program), str(port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10, "the service")
        server, p = origin(), hooked(types.SimpleNamespace(url=f"http://127.0.0.1:{port}/decide"))
        with p.client().connect(f"origin.test:{server.port}") as client:
            assert [client.ask("GET", t, "origin.test").status for t in ("/hello", "//admin/x", "/hello")] == [200, 403, 200]
        assert p.wait_event("request_decision", action="block").at("rule_id") == "no-admin"
    finally:
        process.kill()
        process.wait()


# ---- fewer questions

def test_answers_are_kept(hooked, decider, origin):
    server, service = origin(), decider(by_path)
    p = hooked(service, cache_ttl="1h")
    for _ in range(3):
        with p.client().connect(f"origin.test:{server.port}") as client:
            assert [client.ask("GET", t, "origin.test").status for t in ("/hello", "/hello?other", "/admin")] == [200, 200, 403]
    assert len(service.questions) == 3
    assert counted(p, "cached") == 9


def test_one_call_for_many_who_ask_the_same(hooked, decider, origin):
    go = threading.Event()
    server = origin()
    service = decider(lambda question: go.wait(30) and {"action": "block", "reason": "same"})
    p = hooked(service, on=["request"], timeout="30s", max_in_flight=1)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        def one(_):
            with p.client() as client:
                return client.ask("GET", f"http://origin.test:{server.port}/x", "origin.test").status
        answers = [pool.submit(one, i) for i in range(20)]
        until(lambda: len(p.log.find("request_headers")) == 20, 10, "all requests")
        go.set()
        assert {a.result() for a in answers} == {403}
    assert len(service.questions) <= 2 and module_metric(p, "soth_policy_webhook_calls_total") == len(service.questions)


def test_a_unix_socket(hooked, decider, origin, tmp_path):
    server, service = origin(), decider(by_path, path=tmp_path / "decide.sock")
    p = hooked(service)
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert [client.ask("GET", t, "origin.test").status for t in ("/hello", "/admin")] == [200, 403]


# ---- a service that does not behave

@pytest.mark.parametrize("open_", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_service_is_killed_and_comes_back(hooked, decider, origin, open_, scheme):
    server, service = origin(tls=scheme == "https"), decider(by_path, port=free_port())  # it is bound again
    p = hooked(service, on_timeout="open" if open_ else "closed")

    def status():
        done = run([need("curl"), "-sS", "--noproxy", "", "-x", p.url, "--cacert", p.ca_path, "-o", "/dev/null", "-w",
                    "%{http_code} %{http_connect}", f"{scheme}://origin.test:{server.port}/hello"], check=False)
        code, connect = done.stdout.decode().split()
        return int(code) or int(connect)

    assert status() == 200
    service.close()
    assert [status() for _ in range(3)] == [200 if open_ else 403] * 3
    if not open_:
        assert p.wait_event("connect_decision", action="block").at("reason") == "module_fault"
    again = decider(by_path, port=service.port)
    assert status() == 200 and again.questions
    said = [line for line in p.stderr().splitlines() if "the decision service" in line]
    assert len(said) == 2 and "fails: cannot connect: Connection refused" in said[0] and "answers again" in said[1], said
    assert counted(p, "error") >= 3 and counted(p, "timeout") == 0


def test_killed_in_the_middle_of_a_call(hooked, decider, origin):
    asked = threading.Event()
    server = origin()
    service = decider(lambda question: asked.set() or threading.Event().wait(20) or {})
    p = hooked(service, on=["request"], timeout="20s")
    client = p.client()
    client.send(f"GET http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    assert asked.wait(scaled(10))
    service.close()
    assert client.response().status == 403
    client.close()
    assert p.wait_event("request_decision", action="block").at("reason") == "module_fault"
    assert server.requests == []


BABBLE = {
    "garbage": b"\x16\x03\x01\x02\x00garbage\r\n\r\n", "status": b"HTTP/1.1 500 Oops\r\nContent-Length: 18\r\n\r\n{\"action\":\"allow\"}",
    "not_json": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nallow",
    "action": b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"action\":\"deny\"}",
    "tunnel_a_request": b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"action\":\"tunnel\"}",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
    "nothing": b"", "too_long": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100000,
}


@pytest.mark.parametrize("open_", [False, True])
@pytest.mark.parametrize("said", BABBLE.values(), ids=BABBLE.keys())
def test_garbage(hooked, decider, origin, open_, said):
    server, service = origin(), decider(lambda question: said)
    p = hooked(service, on=["request"], on_timeout="open" if open_ else "closed")
    with p.client() as client:
        for _ in range(2):
            assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == (200 if open_ else 403)
    assert p.stderr().count("the decision service") == 1
    assert counted(p, "error") == 2


@pytest.mark.parametrize("open_", [False, True])
def test_slow(hooked, decider, origin, open_):
    server = origin()
    service = decider(lambda question: threading.Event().wait(5) or {"action": "allow"})
    p = hooked(service, on=["request"], timeout="150ms", on_timeout="open" if open_ else "closed")
    with p.client() as client:
        assert client.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == (200 if open_ else 403)
    if not open_:
        assert p.wait_event("request_decision", action="block").at("reason") == "module_timeout"
    assert counted(p, "timeout") == 1 and "it does not answer in time" in p.stderr()


def test_more_than_may_be_in_flight(hooked, decider, origin):
    server, now, most, lock = origin(), [0], [0], threading.Lock()

    def decide(question):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= 1
        return {"action": "allow"}

    p = hooked(decider(decide), on=["request"], max_in_flight=2, timeout="20s")

    def one(number):
        with p.client() as client:
            return client.ask("GET", f"http://origin.test:{server.port}/hello?{number}", f"h{number}.test").status

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert set(pool.map(one, range(60))) == {200}
    assert most[0] <= 2 and counted(p, "error") == counted(p, "timeout") == 0


# ---- a client that leaves

@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_the_client_leaves_during_a_call(hooked, decider, origin, tls, answers):
    """Whether the answer comes later or never: the flow ends, nothing stays behind, the next one is served."""
    slow = Slow(lambda question: question["path"] == "/slow")
    server, service = origin(tls=tls), decider(slow)
    p = hooked(service, timeout="30s" if answers else span(1))

    def client():
        return p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}")

    fds = p.fds()
    for number in range(3):
        leaving = client()
        leaving.send(b"GET /slow HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert slow.asked.wait(scaled(10))
        leaving.reset()
        if answers:
            slow.go.set()
        p.wait_closed(number + 1)
        slow.asked.clear()
        slow.go.clear()
    with client() as staying:
        assert staying.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(4)
    until(lambda: p.fds() <= fds + 1, 5, "no descriptor left but the service's")  # its connection is kept
    assert counted(p, "error") == 0 and counted(p, "ok") + counted(p, "timeout") + counted(p, "gone") == len(service.questions)


def test_a_client_that_leaves_makes_room_for_the_next_question(hooked, decider, origin):
    """It is not read meanwhile, and is noticed all the same: its question is given up, not answered after 30 s."""
    slow = Slow(lambda question: question["path"] == "/slow")
    server, service = origin(), decider(slow)
    p = hooked(service, timeout="30s", max_in_flight=1)
    leaving = p.client()
    leaving.send(f"GET http://origin.test:{server.port}/slow HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    assert slow.asked.wait(scaled(10))
    leaving.reset()
    p.closed_as("client_aborted", ...)
    with p.client() as staying:
        assert staying.ask("GET", f"http://origin.test:{server.port}/hello", "origin.test").status == 200
    slow.go.set()
    assert counted(p, "gone") == 1 and counted(p, "error") == counted(p, "timeout") == 0


def test_a_drain_during_a_call(hooked, decider, origin):
    """Nobody waits longer than the drain for a service that does not answer."""
    asked = threading.Event()
    server = origin()
    service = decider(lambda question: asked.set() or threading.Event().wait(30) or {})
    p = hooked(service, on=["request"], timeout="30s", settings={"drain_timeout": "300ms"})
    p.exit = 26
    client = p.client()
    client.send(f"GET http://origin.test:{server.port}/hello HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    assert asked.wait(scaled(10))
    p.stop()
    client.close()


def test_a_reload_during_a_call(hooked, decider, origin):
    """Who waits is answered by the service that was asked; who comes later asks the new one."""
    asked, go = threading.Event(), threading.Event()
    server = origin()
    old = decider(lambda question: asked.set() or go.wait(30) and {"action": "block", "reason": "old"})
    new = decider(lambda question: {"action": "block", "reason": "new"})
    p = hooked(old, on=["request"], timeout="30s")
    waiting = p.client()
    waiting.send(f"GET http://origin.test:{server.port}/1 HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
    assert asked.wait(scaled(10))
    p.modules[-1]["config"]["url"] = new.url
    p.write()
    p.signal(signal.SIGHUP)
    p.wait_event("config_reloaded", outcome="applied")
    with p.client() as client:
        assert client.ask("GET", f"http://origin.test:{server.port}/2", "origin.test").status == 403
    go.set()
    assert waiting.response().status == 403
    waiting.close()
    p.wait_closed(2)
    assert sorted(e.at("rule_id") for e in p.log.find("request_decision")) == ["new", "old"]
    assert len(old.questions) == len(new.questions) == 1
