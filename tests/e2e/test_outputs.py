# SPDX-License-Identifier: MPL-2.0
"""Two sinks that would write to one place, however it is spelt; who may follow whom at a reload, and beside a process that drains."""
import os
import subprocess
import threading

import pytest

from harness.eventlog import EventLog
from harness.origin import reply
from harness.timing import until


def sink(name, path, **config):
    return {"module": "sink_file", "name": name, "payload": "full", "config": {"path": str(path), "flush_every": 1} | config}


def ask(p, server, path="/hello"):
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", path, "origin.test").status == 200


def refused(p, *words):
    p.launch()
    assert p.wait_exit() == 20
    said = p.stderr()
    assert all(word in said for word in words), said
    assert subprocess.run(p.command("check"), capture_output=True, check=False).returncode == 20
    p.process = None


@pytest.mark.parametrize("spelt", ["two.jsonl", "./two.jsonl", "../logs/two.jsonl", "../link//two.jsonl"])
def test_a_log_has_one_writer(proxy, tmp_path, spelt):
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs")
    p = proxy(start=False, exit=20, extra_modules=[sink("one", tmp_path / "logs" / "two.jsonl"), sink("two", f"{tmp_path}/logs/{spelt}")])
    refused(p, "config.path", "is also path of 'one'", str(tmp_path / "logs" / "two.jsonl"), "give each its own")
    assert os.listdir(tmp_path / "logs") == []


@pytest.mark.parametrize("spelt", ["bodies", "bodies/", "./bodies", "link"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_of_bodies_has_one_writer(proxy, tmp_path, spelt, exists):
    if exists or spelt == "link":
        (tmp_path / "bodies").mkdir()
    (tmp_path / "link").symlink_to("bodies")
    p = proxy(start=False, exit=20, extra_modules=[sink("one", tmp_path / "1", bodies_dir=str(tmp_path / "bodies")),
                                                   sink("two", tmp_path / "2", bodies_dir=f"{tmp_path}/{spelt}")])
    refused(p, "config.bodies_dir", "is also bodies_dir of 'one'")


def test_a_reload_refuses_it_and_all_goes_on(proxy, origin, tmp_path):
    server, p = origin(), proxy(extra_modules=[sink("one", tmp_path / "one.jsonl")])
    p.modules.append(sink("two", tmp_path / "." / "one.jsonl"))
    p.reload("refused")
    assert "is also path of 'one'" in p.stderr()
    ask(p, server)
    p.wait_closed()
    until(lambda: EventLog(tmp_path / "one.jsonl").find("stream_closed"), 10, "the first one to go on")


def test_an_instance_follows_itself(proxy, origin, tmp_path):
    """Other settings, the same places: neither the old one nor the lock of its folder stands in its way, however often."""
    server, p = origin(), proxy(extra_modules=[sink("one", tmp_path / "one.jsonl", bodies_dir=str(tmp_path / "bodies"))])
    for n in range(1, 6):
        ask(p, server)
        p.wait_closed(n)
        p.modules[2]["config"]["flush_every"] = n + 1
        p.reload()
    p.stop()
    bodies = [f for f in os.listdir(tmp_path / "bodies") if f.endswith(".body")]
    assert len(bodies) == 5 and not [f for f in os.listdir(tmp_path / "bodies") if f.endswith((".part", ".cut"))]
    logs = sorted(tmp_path.glob("one.jsonl*"), key=lambda f: (len(f.name), f.name))
    assert [f.name for f in logs if not f.name.endswith("tsv")][:2] == ["one.jsonl", "one.jsonl.part00001"]


def test_places_change_hands(proxy, origin, tmp_path):
    """Two instances swap their places in one reload: whose place it was is done with it before the other one begins."""
    def pair(a, b):
        return [sink("one", tmp_path / f"{a}.jsonl", bodies_dir=str(tmp_path / f"{a}.d")), sink("two", tmp_path / f"{b}.jsonl", bodies_dir=str(tmp_path / f"{b}.d"))]

    server, p = origin(), proxy(extra_modules=pair("x", "y"))
    ask(p, server)
    p.wait_closed()
    p.modules[2:] = pair("y", "x")
    p.reload()
    ask(p, server)
    p.wait_closed(2)
    p.stop()
    for place in ("x", "y"):
        assert len([f for f in os.listdir(tmp_path / f"{place}.d") if f.endswith(".body")]) == 2
        for part in ("", ".part00001"):
            assert EventLog(tmp_path / f"{place}.jsonl{part}").find("stream_closed")


def test_the_next_process_begins_while_the_first_one_drains(proxy, origin, tmp_path):
    """As when a new version takes over: both write, each to its own segment, and what one has on its way the other one does not cut."""
    go_on = threading.Event()

    def halves(wire, _request):
        wire.send(reply(fields=[("Content-Length", "6")], length=False) + b"one")
        assert go_on.wait(30)
        wire.send(b"two")
        return True

    server = origin(routes={"/halves": halves})
    modules = [sink("one", tmp_path / "one.jsonl", bodies_dir=str(tmp_path / "bodies"))]
    first, second = proxy(extra_modules=modules), proxy(start=False, extra_modules=modules)
    with first.client(seconds=30).connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /halves HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        until(lambda: [f for f in os.listdir(tmp_path / "bodies") if f.endswith(".part")], 10, "the body's beginning")
        second.start()
        ask(second, server)
        second.wait_closed()
        until(lambda: [f for f in os.listdir(tmp_path / "bodies") if f.endswith(".body")], 10, "a body of the second one")
        go_on.set()
        assert client.response("GET").body == b"onetwo"
    first.wait_closed()
    first.stop()
    ask(second, server)
    second.wait_closed(2)
    second.stop()
    names = os.listdir(tmp_path / "bodies")
    assert sorted(f[f.rindex("."):] for f in names if not f.endswith(".sha256")) == [".body"] * 3
    flows = [(tmp_path / f"one.jsonl{part}").read_text().count('"kind":"stream_closed"') for part in ("", ".part00001")]
    assert flows == [1, 2], "each in a segment of its own"
