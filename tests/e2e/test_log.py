# SPDX-License-Identifier: MPL-2.0
"""sink_file: segments, rotation, torn tails, reopening, a full disk, equal logs for equal work."""
import json
import os
import re
import signal
import threading

import pytest

from harness.eventlog import EventLog
from harness.invariants import check_log
from harness.proxy import installed_schema
from harness.timing import until
from harness.tools import need


def exchange(p, server, count=1, path="/hello"):
    for _ in range(count):
        with p.client().connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", path, "origin.test").status == 200


def closed(p):
    return len(p.log.find("stream_closed"))


def test_log_file_is_private_and_complete_lines(proxy, origin):
    server, p = origin(), proxy()
    exchange(p, server)
    p.wait_closed()
    assert p.log.path.stat().st_mode & 0o077 == 0 or p.log.path.stat().st_mode & 0o007 == 0
    assert p.log.path.read_bytes().endswith(b"\n")


def test_keys_and_values_of_a_line(proxy, origin):
    server, p = origin(), proxy()
    exchange(p, server)
    p.wait_closed()
    line = p.log.path.read_text().splitlines()[0]
    event = json.loads(line)
    assert list(event)[:4] == ["schema", "sequence_id", "flow_id", "flow_sequence_id"]
    assert event["kind"] == "connect_received" and event["stream_key"] == "flow:1:1" and event["protocol"] == "tunnel"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", event["client_addr"])
    assert "parent_flow_id" not in event


def test_with_timestamps(proxy, origin):
    server, p = origin(), proxy(sink={"with_timestamps": True})
    p.checks["timestamps"] = True
    exchange(p, server)
    close = p.wait_closed()[0]
    assert int(close.at("duration_ms")) >= 0
    times = [e["unix_ms"] for e in p.events()]
    assert times == sorted(times) and all(isinstance(e["monotonic_ns"], int) for e in p.events())
    assert len({e["run_id"] for e in p.events()}) == 1


def test_every_start_opens_a_new_segment(proxy, origin, tmp_path):
    server = origin()
    for number in range(3):
        p = proxy(folder=tmp_path / "same")
        p.checks["complete"] = False  # numbers begin anew with each process
        exchange(p, server)
        p.wait_closed(number + 1)
        before = {path: path.read_bytes() for _, path in p.log.segments()[:-1]}
        p.stop()
        assert all(path.read_bytes() == data for path, data in before.items()), "older segments are never touched"
    assert [s for s, _ in p.log.segments()] == [0, 1, 2]


def test_rotation_by_bytes(proxy, origin):
    server, p = origin(), proxy(sink={"rotate_bytes": "4k"})
    exchange(p, server, 12)
    p.wait_closed(12)
    p.stop()  # schema, order and index are judged across all segments
    segments = p.log.segments()
    assert len(segments) >= 4
    assert all(path.stat().st_size <= 8192 for _, path in segments)


def test_keep_segments(proxy, origin):
    server, p = origin(), proxy(sink={"rotate_bytes": "2k", "keep_segments": 2})
    p.checks["complete"] = False
    exchange(p, server, 12)
    until(lambda: p.log.segments()[-1][0] >= 5, what="rotation")
    p.stop()
    assert len(p.log.segments()) <= 3


def has_line(p, text):
    """While segments are removed."""
    try:
        return any(text in path.read_text() for _, path in p.log.segments())
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("keep", [0, 5])
def test_a_sink_that_a_reload_replaces_is_done_before_the_next_one_begins(proxy, origin, keep):
    """Its queue is drained, and rotates segments, while its successor exists already."""
    server, p = origin(), proxy(sink={"rotate_bytes": "4k", "keep_segments": keep, "fsync": "always"})
    p.checks["complete"] = keep == 0
    stop, answers = threading.Event(), []

    def ask():
        with p.client(seconds=30).connect(f"origin.test:{server.port}") as client:
            while not stop.is_set():
                answers.append(client.ask("GET", "/hello", "origin.test").status)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for n in range(6):
        before = len(answers)
        p.modules[1]["order"] = 60 + n
        p.reload()
        until(lambda: len(answers) > before + 20, 20, "traffic")
    stop.set()
    for asker in askers:
        asker.join()
    exchange(p, server, path="/bytes/4711")
    until(lambda: has_line(p, '"/bytes/4711"'), 60, "the last request in the log")
    p.stop()  # schema and index are judged across all segments
    assert set(answers) == {200} and not p.log.find("events_lost")
    numbers = [e["sequence_id"] for e in p.events()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "segments are in order, and nothing is missing between them"
    assert numbers[0] == 1 if keep == 0 else len(p.log.segments()) == keep
    assert has_line(p, '"/bytes/4711"'), "what is kept is the newest"


def test_torn_tail_is_moved_aside(proxy, origin, tmp_path):
    server = origin()
    first = proxy(folder=tmp_path / "same")
    exchange(first, server, 2)
    first.wait_closed(2)
    until(first.log.is_indexed, what="all rows of the index")
    first.kill()  # a crash
    first.process = None
    whole = first.log.path.read_bytes()
    torn = b'{"schema":"soth-mitm-event-log-v2","sequence_id":99,"flow'
    with open(first.log.path, "ab") as file:
        file.write(torn)
    second = proxy(folder=tmp_path / "same")
    second.checks["complete"] = False
    exchange(second, server)
    until(lambda: closed(second) >= 3, what="the new segment")
    second.stop()  # the index goes on and agrees
    assert first.log.path.read_bytes() == whole
    assert open(f"{first.log.path}.torn", "rb").read().rstrip(b"\n") == torn
    assert "torn" in second.stderr()


def test_a_crash_loses_at_most_the_tail(proxy, origin, tmp_path):
    server, p = origin(), proxy()
    exchange(p, server, 5)
    p.wait_closed(5)
    until(p.log.is_indexed, what="all rows of the index")
    p.kill()
    p.process = None
    findings = check_log(p.log, installed_schema())
    assert not findings, findings


def test_sigusr1_reopens_the_log(proxy, origin):
    """logrotate: rename, signal, nothing is lost."""
    server, p = origin(), proxy()
    exchange(p, server, 3)
    p.wait_closed(3)
    moved = p.log.path.with_name("moved.jsonl")
    p.log.path.rename(moved)
    p.signal(signal.SIGUSR1)
    until(p.log.path.exists, what="a new file")
    exchange(p, server, 3)
    until(lambda: closed(p) >= 3, what="events in the new file")
    p.checks["complete"] = False
    p.stop()  # the index has rows of the new file alone
    events = EventLog(moved).events() + p.log.events()
    numbers = [e["sequence_id"] for e in events]
    assert numbers == list(range(1, len(numbers) + 1))


def test_full_disk_is_said_once_and_traffic_goes_on(proxy, origin):
    """The log lies on a tmpfs of 64 KiB in the proxy's own mount namespace."""
    server, p = origin(), proxy(start=False)
    wrapper = [need("unshare"), "-m"] if os.getuid() == 0 else [need("unshare"), "-Urm"]
    p.start(wrapper=[*wrapper, "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"', "sh", str(p.log.path.parent)])
    p.checks = {}
    inside = EventLog(f"/proc/{p.process.pid}/root{p.log.path}")
    exchange(p, server)
    until(inside.events, what="the first lines")  # later ones may come together, and then fit together or not at all
    exchange(p, server, 120)
    assert p.process.poll() is None

    def said():
        return [line for line in p.stderr().splitlines() if "space" in line.lower() and "SOTH_MITM_STATUS" not in line]

    until(said, 10, "a word about the disk")
    exchange(p, server, 5)
    assert len(said()) == 1, p.stderr()
    assert inside.events(), "what fitted is whole"


def test_file_size_limit_is_no_death(proxy, origin):
    """RLIMIT_FSIZE: the signal is not deadly and the write error is said once."""
    import resource
    server = origin()
    p = proxy(launch={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))})
    p.checks = {}
    exchange(p, server, 60)
    assert p.process.poll() is None


def test_audit_required_answers_503_while_the_log_cannot_be_written(proxy, origin):
    server, p = origin(), proxy(start=False, sink={"audit_required": True})
    wrapper = [need("unshare"), "-m"] if os.getuid() == 0 else [need("unshare"), "-Urm"]
    p.start(wrapper=[*wrapper, "sh", "-c", 'mount -t tmpfs -o size=16k tmpfs "$1" && shift && exec "$@"', "sh", str(p.log.path.parent)])
    p.checks = {}

    def status():
        with p.client() as client:
            return client.ask_connect(f"origin.test:{server.port}").status

    until(lambda: status() == 503, 20, "503")


def without_ports(events):
    """What two runs of the same work share: client ports and the cutting of body chunks left out."""
    lines = []
    for event in events:
        if event.kind.endswith("_body_chunk"):
            continue
        event = json.loads(json.dumps(event))
        for key in ("client_addr", "sequence_id", "flow_sequence_id", "stream_key"):
            event.pop(key, None)
        lines.append(event)
    return lines


def test_two_equal_runs_give_equal_logs(proxy, origin):
    server = origin(tls=True)
    logs = []
    for _ in range(2):
        p = proxy(workers=1, policy={"blocked_hosts": ["blocked.test"], "rules": [{"id": "r", "action": "block", "path": "/admin*"}]})
        with p.https("origin.test", server.port) as client:
            for path in ("/hello", "/bytes/100000", "/admin", "/chunked/5000"):
                client.ask("GET", path, "origin.test")
        p.wait_closed(1)
        with p.client() as client:
            client.ask_connect("blocked.test:443")
        p.wait_closed(2)
        with p.client() as client:
            client.send(b"nonsense\r\n\r\n")
            client.rest()
        p.wait_closed(3)
        p.stop()
        logs.append(without_ports(p.events()))
    assert logs[0] == logs[1]


@pytest.mark.parametrize("events,kinds", [
    (["connect"], {"connect_received", "connect_decision", "stream_closed"}),
    (["stream_closed"], {"stream_closed"}), (["tls", "http"], None),
])
def test_subscription(proxy, origin, events, kinds):
    """A sink gets the kinds that it asked for; flow_sequence_id is consumed whether or not anybody listens."""
    server = origin(tls=True)
    p = proxy(sink_top={"events": events})
    p.checks["complete"] = False
    with p.https("origin.test", server.port) as client:
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    got = {e.kind for e in p.events()}
    assert got == kinds if kinds else {k.split("_")[0] for k in got} <= {"tls", "request", "response", "stream"}
    assert p.log.find("stream_closed")[0]["flow_sequence_id"] > len(p.events())


def test_without_an_index(proxy, origin):
    server, p = origin(), proxy(sink={"index": False})
    p.checks["index"] = False
    exchange(p, server)
    p.wait_closed()
    assert not p.log.index.exists()


def test_two_sinks(proxy, origin, tmp_path):
    server = origin()
    p = proxy(extra_modules=[{"module": "sink_file", "name": "second", "events": ["all"],
                              "config": {"path": str(tmp_path / "second.jsonl"), "flush_every": 1}}])
    exchange(p, server, 2)
    p.wait_closed(2)
    p.stop()
    assert (tmp_path / "second.jsonl").read_bytes() == p.log.path.read_bytes()


def test_console(proxy, origin):
    """One readable line an exchange."""
    server = origin(tls=True)
    p = proxy(extra_modules=[{"module": "sink_console"}])
    with p.https("origin.test", server.port) as client:
        client.ask("GET", "/hello?x=1", "origin.test")
        client.ask("POST", "/echo", "origin.test", body=b"x")
    p.stop()
    out = (p.folder / "stdout").read_text() + p.stderr()
    lines = [line for line in out.splitlines() if "origin.test" in line and not line.startswith("SOTH")]
    assert len([line for line in lines if "GET" in line and "200" in line]) == 1
    assert len([line for line in lines if "POST" in line and "200" in line]) == 1
    assert "\x1b[" not in out, "no colour without a terminal"


def test_a_closed_standard_output_is_nobody_elses(proxy, origin):
    """Its number is not given to a connection, which the console would write into."""
    server = origin()
    p = proxy(extra_modules=[{"module": "sink_console"}], launch={"preexec_fn": lambda: os.close(1)})
    exchange(p, server, 3)
    p.wait_closed(3)
    assert os.readlink(f"/proc/{p.process.pid}/fd/1") == "/dev/null"
