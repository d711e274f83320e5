# SPDX-License-Identifier: MPL-2.0
"""tlsops_mitmproxy: lines of the add-on become events and lessons; whoever sends something else is bounded, counted and told of."""
import json
import os
import pathlib
import shutil
import socket
import stat
import tempfile

import pytest

from harness.client import trust
from harness.timing import until

TRANSCRIPT = pathlib.Path(__file__).parent / "data" / "tlsops.jsonl"  # of mitmproxy 11.0.2 with the add-on, recorded by the lane tlsops


@pytest.fixture
def place():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soth-tlsops-"))  # a socket's path must be short
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def source(proxy, place):
    def start(learning=None, config=None, **settings):
        modules = [{"module": "tlsops_mitmproxy", "config": {"socket_path": str(place / "ops.sock")} | (config or {})}]
        if learning is not None:
            modules.append({"module": "policy_tls_learning", "config": learning})
        return proxy(extra_modules=modules, **settings)
    return start


class Sender:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))

    def send(self, *lines):
        for line in lines:
            self.sock.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        return self

    def is_cut_off(self):
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()


def failure(**more):
    return {"v": 1, "event": "failed", "provider": "mitmproxy", "provider_identity": "mitmproxy 11.0.2", "peer": "downstream",
            "host": "origin.test", "port": 443, "client": "127.0.0.1:4711", "alert_received": 48, "error": "tlsv1 alert unknown ca"} | more


def counted(p, name, **labels):
    return sum(value for key, value in p.metrics().items() if key.startswith(f"soth_tlsops_mitmproxy_{name}_total")
               and all(f'{k}="{v}"' in key for k, v in labels.items()))


def test_a_recorded_transcript(source, place):
    """What mitmproxy said in the lane, and the words that it gets here."""
    p = source({})
    sender = Sender(place / "ops.sock").send(TRANSCRIPT.read_bytes())
    lines = [json.loads(line) for line in TRANSCRIPT.read_text().splitlines()]
    failed = [line for line in lines if line["event"] == "failed"]
    until(lambda: len(p.log.find("tls_handshake_failed")) == len(failed), 10, "an event for each failure")
    sender.close()
    events = p.log.find("tls_handshake_failed")
    assert [(e.at("normalized_reason"), e.at("peer_rejected_ca")) for e in events] == [
        (line["expected"], line.get("rejected")) for line in failed]
    for event, line in zip(events, failed):
        assert (event.flow, event["server_host"], event["server_port"], event["client_addr"]) == (0, line["host"], line["port"], line["client"])
        assert event.at("tls_failure_reason") == event.at("normalized_reason") and event.at("raw_provider_error") == (line["error"] or None)
        assert (event.at("tls_ops_provider"), event.at("provider_identity"), event.at("peer")) == ("mitmproxy", line["provider_identity"], line["peer"])
    numbers = [int(e.at("tls_failure_global_count")) for e in events]
    assert numbers == list(range(1, len(failed) + 1))
    assert [int(e.at("tls_failure_host_count")) for e in events] == numbers
    for kind, word in (("tls_handshake_started", "started"), ("tls_handshake_succeeded", "established")):
        count = len([line for line in lines if line["event"] == word])
        until(lambda kind=kind, count=count: len(p.log.find(kind)) >= count, 10, f"{count} {kind}")
        assert len(p.log.find(kind)) == count
    assert counted(p, "lines", label="failed") == len(failed)


def test_lessons(source, place, origin, authority):
    """What mitmproxy is certain of teaches; the client of that address is tunnelled here, too."""
    server = origin(tls=True)
    p = source({"hosts": ["origin.test"], "threshold": 2}, tls_learning="bypass")
    sender = Sender(place / "ops.sock")
    sender.send(failure(alert_received=None, closed=True), failure(peer="upstream"), failure(host="other.test"), failure(), failure(client="127.0.0.1:4712"))
    p.wait_event("tls_bypass_activated", host="origin.test")
    until(lambda: len(p.log.find("tls_learning_audit")) == 5, 10, "audits")
    audits = p.log.find("tls_learning_audit")
    assert [a.at("tls_learning_reason_code") for a in audits] == ["rejection_likely", "upstream_failure", "host_not_listed", "counted", "threshold_reached"]
    assert {(a.flow, a.at("signal_source"), a.at("signal_provider"), a.at("signal_inferred")) for a in audits} == {
        (0, "mitmproxy_authoritative", "mitmproxy", "false")}
    assert [e.at("tls_learning_reason_code") for e in p.log.find("tls_handshake_failed")] == [a.at("tls_learning_reason_code") for a in audits]
    with p.client() as client:
        client.connect(f"origin.test:{server.port}").start_tls(trust(authority.path), "origin.test")
        assert client.ask("GET", "/hello", "origin.test").status == 200
    assert p.decision().at("reason") == "tls_bypass"
    sender.close()


def test_what_is_inferred_teaches_nothing(source, place):
    """Hudsucker's signals are inferred, whatever they claim; mitmproxy may say so of its own."""
    p = source({"hosts": ["origin.test"], "threshold": 1}, tls_learning="bypass")
    sender = Sender(place / "ops.sock")
    sender.send(failure(provider="hudsucker"), failure(provider="hudsucker", confidence="authoritative"), failure(confidence="inferred"))
    until(lambda: len(p.log.find("tls_learning_audit")) == 3, 10, "audits")
    sender.close()
    audits = p.log.find("tls_learning_audit")
    assert [(a.at("tls_learning_decision"), a.at("tls_learning_reason_code"), a.at("signal_inferred")) for a in audits] == [
        ("ignored", "inferred_source", "true")] * 3
    failed = p.log.find("tls_handshake_failed")
    assert [(e.at("tls_failure_source"), e.at("tls_ops_provider"), e.at("source_confidence")) for e in failed] == [
        ("hudsucker_inferred", "hudsucker", "inferred")] * 2 + [("mitmproxy_authoritative", "mitmproxy", "inferred")]
    assert [e.at("tls_failure_source_count") for e in failed] == ["1", "2", "1"], "each source is counted by itself"
    assert [e.at("tls_failure_global_count") for e in failed] == ["1", "2", "3"]
    assert not p.log.find("tls_bypass_activated")


def test_nonsense_is_counted_and_told_once(source, place):
    p = source()
    sender = Sender(place / "ops.sock").send(b"hello\n", b"{}\n", {"v": 1, "event": "failed", "provider": "nobody"}, b"\n\r\n", failure())
    p.wait_event("tls_handshake_failed")
    assert counted(p, "lines", label="malformed") == 3 and counted(p, "lines", label="failed") == 1
    assert p.stderr().count("is ignored: ") == 1 and "is ignored: it is no JSON (told once a connection)" in p.stderr()
    sender.send(b"nonsense\n" * 97)
    assert sender.is_cut_off() and "is cut off after 100 lines that made no sense" in p.stderr()
    again = Sender(place / "ops.sock").send(failure())
    until(lambda: len(p.log.find("tls_handshake_failed")) == 2, 10, "the next one")
    again.close()


def test_a_line_that_does_not_end(source, place):
    p = source()
    sender = Sender(place / "ops.sock")
    before = p.resident()
    for _ in range(64):
        sender.send(b"x" * 65536)
    sender.send(b"\n", failure())
    p.wait_event("tls_handshake_failed")
    assert counted(p, "lines", label="too_long") == 1 and "it is longer than 16384 bytes" in p.stderr()
    assert p.resident() < before + (8 << 20)
    sender.send(b'{"v":1,', json.dumps(failure()).encode()[1:-40])  # and one that is cut off by the end
    sender.close()
    other = Sender(place / "ops.sock").send(json.dumps(failure()).encode()[:7])
    other.send(json.dumps(failure()).encode()[7:], b"\n")
    until(lambda: len(p.log.find("tls_handshake_failed")) == 2, 10, "a line in two pieces")
    other.close()


def test_many_clients(source, place):
    p = source()
    idle = [Sender(place / "ops.sock") for _ in range(31)]
    busy = Sender(place / "ops.sock").send(failure())
    p.wait_event("tls_handshake_failed")
    beyond = [Sender(place / "ops.sock") for _ in range(3)]
    assert all(one.is_cut_off() for one in beyond)
    until(lambda: counted(p, "refused_clients") == 3, 10, "all three to be counted")
    assert p.stderr().count("serves 32 clients already") == 1
    idle.pop().close()
    # one that sends without an end does not keep the others waiting
    busy.send(*[failure(host="busy.test")] * 2000)
    idle[0].send(failure(host="idle.test"))
    p.wait_event("tls_handshake_failed", server_host="idle.test")
    until(lambda: len(p.log.find("tls_handshake_failed")) == 2002, 20, "all of them")
    for one in (*idle, busy, *beyond):
        one.close()


def test_the_socket(source, place):
    path = place / "ops.sock"
    p = source(config={"mode": "0660"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    p.stop()
    assert not path.exists()
    stale = socket.socket(socket.AF_UNIX)  # of a process that was killed
    stale.bind(str(path))
    stale.close()
    p = source()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    Sender(path).send(failure()).close()
    p.wait_event("tls_handshake_failed")


@pytest.mark.parametrize("what", ["file", "served"])
def test_a_socket_that_cannot_be_had(proxy, source, place, what):
    path = place / "ops.sock"
    server = None
    if what == "file":
        path.write_text("precious")
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
    p = proxy(start=False, exit=22, extra_modules=[{"module": "tlsops_mitmproxy", "config": {"socket_path": str(path)}}])
    p.checks = None
    p.launch()
    assert p.wait_exit() == 22
    assert ("there is something that is no socket" if what == "file" else "another process serves it") in p.stderr()
    assert "tlsops_mitmproxy: the source could not be started" in p.stderr()
    if server:
        server.close()
    else:
        assert path.read_text() == "precious"


def test_reloads(source, place):
    """An unchanged document keeps socket and connections; a changed one moves; a bad one leaves everything as it was."""
    p = source()
    sender = Sender(place / "ops.sock").send(failure())
    p.wait_event("tls_handshake_failed")
    p.reload()
    sender.send(failure())
    until(lambda: len(p.log.find("tls_handshake_failed")) == 2, 10, "the same connection")
    module = next(m for m in p.modules if m["module"] == "tlsops_mitmproxy")
    module["config"]["socket_path"] = str(place / "no" / "ops.sock")
    p.reload(outcome="refused")
    again = Sender(place / "ops.sock").send(failure())  # it was started again
    until(lambda: len(p.log.find("tls_handshake_failed")) == 3, 10, "the old socket")
    again.close()
    module["config"]["socket_path"] = str(place / "other.sock")
    p.reload()
    assert not (place / "ops.sock").exists()
    moved = Sender(place / "other.sock").send(failure())
    until(lambda: len(p.log.find("tls_handshake_failed")) == 4, 10, "the new socket")
    moved.close()
    sender.close()


@pytest.mark.parametrize("config,wrong", [
    ({"socket_path": "/tmp/" + "x" * 120}, "is longer than the 107 bytes that a socket's path may have"),
    ({"socket_path": "/tmp/x", "mode": "0999"}, "is no octal number of permissions"), ({"socket_path": "/tmp/x", "mode": "0060"}, "is no octal number"),
    ({}, "socket_path"),
])
def test_mistakes_are_told(proxy, config, wrong):
    import subprocess
    p = proxy(start=False, extra_modules=[{"module": "tlsops_mitmproxy", "config": config}])
    done = subprocess.run(p.command("check"), capture_output=True, text=True)
    assert done.returncode == 20 and wrong in done.stderr, done.stderr


def test_the_add_on_is_installed():
    prefix = os.environ.get("SOTH_MITM_PREFIX")
    from harness.proxy import PREFIX
    addon = pathlib.Path(prefix or PREFIX) / "share" / "soth-mitm" / "mitmproxy" / "soth_tls_ops.py"
    compile(addon.read_text(), str(addon), "exec")
