# SPDX-License-Identifier: MPL-2.0
"""SIGHUP and what modules have under way: flows that wait, bodies that decoders are reading, events that are not acknowledged, content."""
import threading

import pytest

from harness.eventlog import EventLog
from harness.modules import build_module, module_metric
from harness.origin import reply
from harness.timing import Stopwatch, span, until

HOST = "origin.test"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    build_module(folder, "slow.c", flags=["-DACKS"])
    for source in ("pausing.c", "transform.c"):
        dirs = build_module(folder, source)
    return dirs


def generations(p):
    return p.metrics()["soth_config_generations"]


# ---- pauses


@pytest.mark.parametrize("hook", ["connect", "request", "response"])
@pytest.mark.parametrize("ends", ["resume", "deadline"])
def test_a_flow_that_waits_goes_on_with_what_it_began_with(proxy, origin, built, hook, ends):
    wait = span(2)  # a reload takes a part of it
    how = {"delay": wait, "deadline": "60s"} if ends == "resume" else {"mode": "forget", "deadline": wait}
    server = origin()
    p = proxy(modules_dir=built, workers=1, extra_modules=[{"module": "pausing", "config": {"on": [hook]} | how}])
    with p.client(seconds=30) as client:
        client.send(f"GET http://{HOST}:{server.port}/hello HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode())
        until(lambda: module_metric(p, "soth_pausing_paused_total") == 1, 10, "the pause")
        p.modules[2]["config"] = {"on": [hook], "mode": "peek", "action": "block"}
        p.reload()
        assert generations(p) == 2, "it waits still"
        answer = client.response("GET")
        assert answer.status == (200 if ends == "resume" else 403)
        with p.client() as other:
            assert other.ask("GET", f"http://{HOST}:{server.port}/hello", HOST).status == 403, "new flows are judged by the new one"
    if ends == "deadline":
        kind = {"connect": "connect_decision"}.get(hook, f"{hook}_decision")
        assert p.wait_event(kind, action="block").at("reason") == "module_timeout"
    until(lambda: generations(p) == 1, 10, "the old generation to go")


# ---- decoders


@pytest.mark.parametrize("extra", [{}, {"pause_every": 2, "resume": True, "deadline": "10s"}])
def test_a_body_is_read_to_its_end_by_the_decoders_it_began_with(proxy, origin, built, extra):
    go_on = threading.Event()

    def halves(wire, _request):
        wire.send(reply(fields=[("Transfer-Encoding", "chunked")], length=False) + b"6\r\nca cat\r\n")
        assert go_on.wait(30)
        wire.send(b"7\r\n cat ca\r\n0\r\n\r\n")
        return True

    server = origin(routes={"/halves": halves, "/cat": lambda wire, _request: wire.send(reply(body=b"cat dog")) or True})
    p = proxy(modules_dir=built, extra_modules=[{"module": "transform", "config": extra}])
    with p.client(seconds=30).connect(f"{HOST}:{server.port}") as old:
        old.send(f"GET /halves HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        p.wait_event("response_body_chunk")
        p.modules[2]["config"] = {"from": "dog", "to": "wolf"}
        p.reload()
        with p.client().connect(f"{HOST}:{server.port}") as new:
            assert new.ask("GET", "/cat", HOST).body == b"cat wolf"
        go_on.set()
        assert old.response("GET").body == b"ca tiger tiger ca"
        assert old.ask("GET", "/cat", HOST).body == b"tiger dog", "and what comes after it on this connection"
        p.modules.pop()
        p.reload()
        with p.client().connect(f"{HOST}:{server.port}") as new:
            assert new.ask("GET", "/cat", HOST).body == b"cat dog"
        until(lambda: generations(p) == 2, 10, "the second one to go, whose connection is closed; the first one's is not")
    until(lambda: generations(p) == 1, 10, "the old generation to go")


# ---- sinks


def test_a_sink_that_leaves_gets_its_acknowledgements(proxy, origin, built, tmp_path):
    def sink(name):
        return {"module": "slow", "config": {"journal": str(tmp_path / name), "ack_every": "1s"}}

    def numbers(name):
        return [int(line.split()[0]) for line in (tmp_path / name).read_text().splitlines()]

    server, p = origin(), proxy(modules_dir=built, extra_modules=[sink("first")])
    with p.client().connect(f"{HOST}:{server.port}") as client:
        assert client.ask("GET", "/hello", HOST).status == 200
    p.wait_closed(1)
    watch = Stopwatch()
    p.modules[2] = sink("second")
    p.reload()
    until(lambda: numbers("second"), 10, "its successor to write")
    assert watch.seconds > 0.5, "it waits for the one that waits"
    with p.client().connect(f"{HOST}:{server.port}") as client:
        assert client.ask("GET", "/hello", HOST).status == 200
    p.wait_closed(2)
    p.stop()
    assert p.log.find("events_lost") == []
    assert numbers("first") + numbers("second") == [e["sequence_id"] for e in p.events()]


def test_content_is_in_events_from_the_reload_on(proxy, origin, tmp_path):
    def log(payload):
        return {"module": "sink_file", "name": "content", "payload": payload, "config": {"path": str(tmp_path / "content.jsonl"), "flush_every": 1}}

    def samples():
        return [e.at("payload") for e in EventLog(tmp_path / "content.jsonl").find("response_body_chunk")]

    server, p = origin(), proxy(extra_modules=[log("none")])
    with p.client().connect(f"{HOST}:{server.port}") as client:
        for n, payload in enumerate(("none", "sample:3", "full", "none")):
            p.modules[2] = log(payload)
            p.reload()
            assert client.ask("GET", "/hello", HOST).status == 200, "also of a connection that is older"
            until(lambda n=n: len(samples()) == n + 1, 10, lambda: samples())
    assert samples() == [None, "hel", "hello\n", None]
    assert all(e.at("payload") is None for e in p.log.find("response_body_chunk")), "the other sink never wanted any"
