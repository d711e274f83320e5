# SPDX-License-Identifier: MPL-2.0
"""SIGHUP: a whole new generation or none. Old flows keep theirs, new ones get the new one, the log has no gap, nothing leaks."""
import hashlib
import socket
import subprocess
import threading

import pytest

from harness.client import Client, request
from harness.eventlog import EventLog, flows
from harness.invariants import check_lines
from harness.modules import build_module
from harness.origin import pattern, pattern_sha256
from harness.proxy import MODULES
from harness.ports import free_port
from harness.timing import SCALE, scaled, until
from harness.tools import need, run

BLOCK = {"blocked_hosts": ["origin.test"]}


def set_policy(p, **config):
    p.modules[0]["config"] = {"default": "intercept"} | config


def status_of(p, server, host="origin.test"):
    """How a new CONNECT is answered."""
    with p.client() as client:
        return client.ask_connect(f"{host}:{server.port}").status


def with_life(p_folder, **kinds):
    """Settings that find the fixture modules beside the shipped ones."""
    folder = p_folder / "modules"
    for name, kind in kinds.items():
        build_module(folder, "life.c", name, [f"-DKIND=SOTH_KIND_{kind}"])
    return [str(MODULES), str(folder)]


def life(name, journal, module="life", order=40, **config):
    return {"module": module, "name": name, "order": order, "config": {"journal": str(journal)} | config}


def lines(journal):
    return journal.read_text().splitlines() if journal.exists() else []


# ---- generations of flows


def test_a_policy_is_for_new_flows_only(proxy, origin):
    server, p = origin(tls=True), proxy(workers=2)
    with p.https("origin.test", server.port) as old:
        assert old.ask("GET", "/hello", "origin.test").status == 200
        set_policy(p, **BLOCK)
        p.reload()
        event = p.wait_event("config_reloaded")
        assert event.flow == 0 and event.attrs == {"generation": "2", "outcome": "applied"}
        assert [status_of(p, server) for _ in range(6)] == [403] * 6, "every worker has it"
        assert old.ask("GET", "/hello", "origin.test").status == 200, "an old flow keeps what it began with"
        found = p.metrics()
        assert found["soth_config_generation"] == 2 and found["soth_config_generations"] == 2
    p.wait_closed(7)
    until(lambda: p.metrics()["soth_config_generations"] == 1, 10, "the old generation to go with its last flow")


def test_a_download_runs_on_over_reloads(proxy, nginx, tmp_path):
    size = 48 << 20
    with open(tmp_path / "bulk", "wb") as file:
        for piece in pattern(size):
            file.write(piece)
    nginx.put("reload-bulk", (tmp_path / "bulk").read_bytes())
    p = proxy()
    curls = [subprocess.Popen([need("curl"), "-sS", "--max-time", "120", "--limit-rate", f"{int(16 / SCALE)}M", "--noproxy", "", "-x", p.url, "--cacert",
                               str(p.ca_path), "-o", str(tmp_path / f"out{n}"), f"https://origin.test:{nginx.tls13}/reload-bulk"])
             for n in range(2)]
    until(lambda: len(p.log.find("response_headers")) == 2, 15, "both downloads to run")
    for n in range(8):
        set_policy(p, **(BLOCK if n % 2 else {}))
        p.modules[1]["config"]["flush_every"] = 1 + n % 2
        p.reload()
    running = [c.poll() is None for c in curls]
    assert [c.wait(scaled(120)) for c in curls] == [0, 0] and any(running)
    for n in range(2):
        assert hashlib.sha256((tmp_path / f"out{n}").read_bytes()).hexdigest() == pattern_sha256(size)


@pytest.mark.parametrize("change, before, after", [
    ({"allow_clients": ["192.0.2.0/24"]}, 200, 403),
    ({"block_response": {"status": 451, "body": "not here\n"}}, 403, 451),
    ({"deny_upstreams": ["127.0.0.0/8"]}, 200, 403),
    ({"connect_parse_mode": "lenient"}, 400, 200),
    ({"resolvers": ["127.0.0.1:1"], "resolver_timeout": "50ms"}, 200, 200),
], ids=["allow_clients", "block_response", "deny_upstreams", "parse_mode", "resolvers"])
def test_settings_are_for_new_flows(proxy, origin, change, before, after):
    server = origin()
    p = proxy(policy=BLOCK if "block_response" in change else {})
    name = "connect" if "connect_parse_mode" in change else "CONNECT"

    def connect():
        with p.client() as client:
            client.send(f"{name} origin.test:{server.port} HTTP/1.1\r\nHost: origin.test:{server.port}\r\n\r\n".encode())
            status = client.response("CONNECT").status
            return status if status != 200 else client.ask("GET", "/hello", "origin.test").status

    assert connect() == before
    p.settings.update(change)
    p.reload()
    now = connect()
    if "deny_upstreams" in change or "resolvers" in change:
        assert now in (403, 502, 504)
    else:
        assert now == after


def test_flow_limit_follows(proxy, origin):
    server, p = origin(), proxy(max_concurrent_flows=1)
    with p.client().connect(f"origin.test:{server.port}"):
        assert status_of(p, server) == 503
        p.settings["max_concurrent_flows"] = 10
        p.reload()
        assert status_of(p, server) == 200


def test_trust_is_read_anew(proxy, origin, stranger, authority, tmp_path):
    server = origin(tls=stranger.server("origin.test"))
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(authority.path.read_bytes())
    p = proxy(upstream_ca_file=str(bundle))
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 502
    bundle.write_bytes(authority.path.read_bytes() + stranger.path.read_bytes())
    p.hangup()
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200


def test_the_same_ca_keeps_its_leaves_another_one_signs_anew(proxy, origin):
    server, p = origin(tls=True), proxy()

    def leaf():
        with p.https("origin.test", server.port) as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
            return client.sock.getpeercert(True)

    first = leaf()
    p.hangup()
    assert leaf() == first
    other = proxy(start=False)
    run(other.command("ca", "init"))
    p.ca_path.write_bytes(other.ca_path.read_bytes())
    p.ca_key.write_bytes(other.ca_key.read_bytes())
    p.hangup()
    assert leaf() != first


# ---- what is refused


def broken_yaml(p, tmp_path):
    (p.folder / "soth-mitm.yaml").write_text("listen: [")


def unknown_key(p, tmp_path):
    (p.folder / "conf.d" / "00-policy_rules.yaml").write_text("module: policy_rules\nconfig: {defalt: block}\n")


def unknown_module(p, tmp_path):
    path = p.folder / "conf.d" / "77-more.yaml"
    path.write_text("module: no_such_thing\n")
    path.chmod(0o600)


def wide_file(p, tmp_path):
    (p.folder / "soth-mitm.yaml").chmod(0o666)


def no_conf_d(p, tmp_path):
    (p.folder / "conf.d").rename(p.folder / "elsewhere")


def unwritable_log(p, tmp_path):
    (tmp_path / "a-file").write_text("")
    p.modules[1]["config"]["path"] = str(tmp_path / "a-file" / "events.jsonl")
    p.write()


def second_sink_fails(p, tmp_path):
    p.modules[1]["config"]["flush_every"] = 7
    p.modules.append({"module": "sink_file", "name": "zzz", "order": 99, "config": {"path": "/proc/none/events.jsonl"}})
    p.write()


def no_ca(p, tmp_path):
    p.ca_path.rename(tmp_path / "away")
    p.ca_key.rename(tmp_path / "away-key")


def bad_trust(p, tmp_path):
    (tmp_path / "nonsense.pem").write_text("nonsense")
    p.settings["upstream_ca_file"] = str(tmp_path / "nonsense.pem")
    p.write()


REFUSED = [(broken_yaml, "soth-mitm.yaml"), (unknown_key, "00-policy_rules.yaml:2:10: config.defalt"), (unknown_module, "no_such_thing"),
           (wide_file, "soth-mitm.yaml"), (no_conf_d, "conf_d"), (unwritable_log, "config.path: cannot write"),
           (second_sink_fails, "config.path: cannot write"), (no_ca, "there is no CA"), (bad_trust, "nonsense.pem")]


@pytest.mark.parametrize("spoil, words", REFUSED, ids=[s.__name__ for s, _ in REFUSED])
def test_a_bad_configuration_changes_nothing_and_says_why(proxy, origin, tmp_path, spoil, words):
    server, p = origin(), proxy(policy={"blocked_hosts": ["other.test"]})
    fds, threads, addresses = p.fds(), p.threads(), p.addresses
    log_files = sorted(f.name for f in p.log.path.parent.iterdir())
    spoil(p, tmp_path)
    said = p.hangup("refused")
    assert words in said and "nothing was changed" in said
    event = p.wait_event("config_reloaded")
    assert event.at("outcome") == "refused" and words in event.at("detail") and event.at("generation") == "1"
    assert status_of(p, server) == 200 and status_of(p, server, "other.test") == 403
    p.wait_closed(2)
    assert p.metrics()['soth_config_reloads_total{outcome="refused"}'] == 1
    assert p.addresses == addresses and sorted(f.name for f in p.log.path.parent.iterdir()) == log_files
    until(lambda: (p.fds(), p.threads()) == (fds, threads), 10, lambda: f"{p.fds()} descriptors, {fds} before; {p.threads()} threads, {threads} before")


def test_an_address_in_use_refuses_the_reload(proxy, origin):
    server, p = origin(), proxy()
    with socket.create_server(("127.0.0.1", free_port())) as taken:  # it is bound again
        p.settings["listen"].append({"addr": "127.0.0.1", "port": taken.getsockname()[1]})
        assert "something else listens there" in p.reload("refused")
        assert status_of(p, server) == 200
    p.reload()
    assert len(p.addresses) == 2


def test_refused_in_drain(proxy, origin):
    go_on = threading.Event()

    def wait(wire):
        wire.request()
        go_on.wait(20)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server, p = origin(wait), proxy(drain_timeout="30s")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(request("GET", "/", "origin.test"))
        p.wait_event("request_headers")
        p.signal(15)
        until(lambda: "draining: no new" in p.stderr(), 10, "the drain")
        assert "draining" in p.hangup("refused")
        go_on.set()
        assert client.response().body == b"ok"
    assert p.wait_exit() == 0


# ---- sinks


def test_a_changed_sink_is_replaced_without_a_gap(proxy, origin):
    """Traffic never stops; after each change the log goes on in a new segment, at the next number."""
    server, p = origin(), proxy()
    stop, failures = threading.Event(), []

    def traffic():
        while not stop.is_set():
            try:
                with Client(p.address()).connect(f"origin.test:{server.port}") as client:
                    assert client.ask("GET", "/bytes/20000", "origin.test").status == 200
            except Exception as error:  # every one is a failure of the test
                failures.append(error)

    threads = [threading.Thread(target=traffic) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(6):
        p.modules[1]["config"]["flush_every"] = 2 + n
        p.reload()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert [number for number, _ in p.log.segments()] == list(range(7))
    p.stop()  # complete: numbers without a gap over all segments, an index that fits
    assert len(p.log.find("config_reloaded", outcome="applied")) == 6


def test_an_unchanged_sink_goes_on(proxy, origin):
    server, p = origin(), proxy()
    for n in range(3):
        set_policy(p, blocked_hosts=[f"{n}.test"])
        p.reload()
        assert status_of(p, server) == 200
    assert [number for number, _ in p.log.segments()] == [0]
    p.wait_closed(3)
    until(lambda: p.metrics()['soth_sink_events_total{sink="sink_file",fate="written"}'] > 3, 10, "it to count on")


def test_sinks_come_and_go(proxy, origin, tmp_path):
    server, p = origin(), proxy()
    second = EventLog(tmp_path / "second" / "events.jsonl")
    p.modules.append({"module": "sink_file", "name": "second", "events": ["connect"], "config": {"path": str(second.path), "flush_every": 1}})
    assert status_of(p, server) == 200
    p.wait_closed(1)  # or its end would be for the second, too
    p.reload()
    assert status_of(p, server) == 200
    until(lambda: second.find("stream_closed"), 10, "its first flow")
    kinds = {e.kind for e in second.events()}
    assert kinds <= {"connect_received", "connect_decision", "stream_closed"} and [e.flow for e in second.find("connect_received")] == [2]
    p.modules.pop()
    p.reload()
    count = len(second.events())
    assert status_of(p, server) == 200
    p.wait_closed(3)
    assert len(second.events()) == count and not check_lines(second.events())
    until(lambda: not any(file.startswith(str(second.path.parent)) for file in p.files()), 10, lambda: f"its files to be closed: {p.files()}")


def test_events_of_old_flows_go_to_the_sinks_of_now(proxy, origin, tmp_path):
    server, p = origin(), proxy()
    p.checks = None  # its log ends with the reload
    other = EventLog(tmp_path / "other" / "events.jsonl")
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
        p.wait_event("response_body_chunk")
        p.modules[1] = {"module": "sink_file", "config": {"path": str(other.path), "flush_every": 1}}
        p.reload()
        assert client.ask("GET", "/hello", "origin.test").status == 200
    until(lambda: other.find("stream_closed"), 10, "the old flow's end in the new log")
    until(lambda: len(p.log.events()) + len(other.events()) == other.events()[-1]["sequence_id"], 10, "all of both logs")
    both = p.log.events() + other.events()
    assert [e["sequence_id"] for e in both] == list(range(1, len(both) + 1)), "each event is in one of them"
    assert [e["flow_sequence_id"] for e in flows(both)[1]] == list(range(1, len(flows(both)[1]) + 1))


def test_a_sink_that_was_taken_out_holds_no_flows(proxy, origin, tmp_path):
    """audit_required on a full disk answers 503; without it the next reload is the way out."""
    server, p = origin(), proxy(start=False, sink={"audit_required": True, "flush_every": 1})
    p.checks = None
    p.modules[1]["config"]["path"] = "/dev/full"
    p.start()
    status_of(p, server)
    until(lambda: status_of(p, server) == 503, 10, "new flows to be held")
    p.modules[1]["config"] = {"path": str(p.log.path)}
    p.reload()
    assert status_of(p, server) == 200


# ---- listeners


def test_listeners_come_and_go(proxy, origin, tmp_path):
    server, p = origin(), proxy()
    first = p.address()
    path, port = tmp_path / "p.sock", free_port()  # what the system gave once it may give to somebody else
    p.settings["listen"] = [{"addr": f"unix:{path}"}, {"addr": "127.0.0.1", "port": 0}, {"addr": "::1", "port": 0}, {"addr": "127.0.0.1", "port": port}]
    p.reload()
    assert p.address(1) == first, "an address that stays is the same socket, whatever port 0 became"
    for n in range(4):
        with p.client(n).connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.settings["listen"] = [{"addr": "::1", "port": 0}]
    v6 = p.address(2)
    with p.client(1).connect(f"origin.test:{server.port}") as old, p.client(0).connect(f"origin.test:{server.port}") as oldest:
        p.reload()
        assert p.address() == v6
        for gone in (first, ("127.0.0.1", port)):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(gone, scaled(5))
        assert not path.exists()
        for client in (old, oldest):
            assert client.ask("GET", "/hello", "origin.test").status == 200, "connections outlive their listener"
    p.settings["listen"] = [{"addr": "127.0.0.1", "port": port}, {"addr": f"unix:{path}"}]
    p.reload()
    for n in range(2):
        with p.client(n).connect(f"origin.test:{server.port}") as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(8)


def test_a_listener_changes_its_mode(proxy, origin):
    server, p = origin(), proxy()
    address = p.address()
    p.settings |= {"listen": [{"addr": "127.0.0.1", "port": 0, "mode": "reverse"}], "reverse_upstream": {"host": "origin.test", "port": server.port}}
    with p.client().connect(f"origin.test:{server.port}") as old:
        p.reload()
        assert p.address() == address
        with p.client() as client:
            assert client.ask("GET", "/hello", "public.test").body == b"hello\n"
        assert old.ask("GET", "/hello", "origin.test").status == 200


def test_what_takes_effect_at_the_next_start_is_said(proxy):
    p = proxy(workers=1)
    p.settings["workers"] = 3
    p.reload()
    assert "workers: another number takes effect at the next start, 1 go on" in p.wait_event("config_reloaded").at("detail")
    assert "workers: another number" in p.stderr()


# ---- modules


def test_instances_order_and_enabled(proxy, origin):
    """Two instances of one module: which is there, and which is first, follows the configuration."""
    server, p = origin(), proxy(policy={"rules": [{"id": "one", "action": "block", "host": "origin.test"}]})
    p.modules[0]["order"] = 10
    p.modules.append({"module": "policy_rules", "name": "second", "order": 20,
                      "config": {"rules": [{"id": "two", "action": "block", "host": "origin.test"}]}})

    def rule():
        before = len(p.log.find("connect_decision"))
        status_of(p, server)
        decision = until(lambda: p.log.find("connect_decision")[before:], 10, "a decision")[0]
        return decision.at("policy_module"), decision.at("rule_id")

    assert rule() == ("policy_rules", "one")
    p.reload()
    assert rule() == ("policy_rules", "one")
    p.modules[0]["order"] = 30
    p.reload()
    assert rule() == ("second", "two")
    p.modules[-1]["enabled"] = False
    p.reload()
    assert rule() == ("policy_rules", "one")
    p.modules[0]["enabled"] = False
    p.reload()
    assert status_of(p, server) == 200


def test_instances_live_as_long_as_their_flows(proxy, origin, tmp_path):
    journal = tmp_path / "journal"
    dirs = with_life(tmp_path, life="POLICY")
    server, p = origin(), proxy(workers=2, modules_dir=dirs, extra_modules=[life("a", journal, word="first")])
    assert lines(journal)[0] == "a first create"
    assert sorted(lines(journal)[1:]) == ["a first worker_init 0", "a first worker_init 1"]
    with p.client().connect(f"origin.test:{server.port}") as old:
        p.modules[2] = life("a", journal, word="second")
        p.reload()
        assert "a second create" in lines(journal) and "a first destroy" not in lines(journal)
        until(lambda: sum(line.startswith("a first worker_fini") for line in lines(journal)) == 1, 10, "the worker without old flows to be done")
        assert old.ask("GET", "/hello", "origin.test").status == 200
    until(lambda: lines(journal)[-1] == "a first destroy", 10, lambda: lines(journal))
    p.stop()
    for word in ("first", "second"):
        mine = [line.removeprefix(f"a {word} ") for line in lines(journal) if f" {word} " in line]
        assert mine[0] == "create" and sorted(mine[1:3]) == ["worker_init 0", "worker_init 1"]
        assert sorted(mine[-3:-1]) == ["worker_fini 0", "worker_fini 1"] and mine[-1] == "destroy" and len(mine) == 6


@pytest.mark.parametrize("key", ["fail_worker_init", "fail_create"])
def test_an_instance_that_cannot_start_refuses_the_reload(proxy, origin, tmp_path, key):
    journal = tmp_path / "journal"
    dirs = with_life(tmp_path, life="POLICY")
    server, p = origin(), proxy(workers=2, modules_dir=dirs, extra_modules=[life("a", journal, word="first")])
    p.modules[2] = life("a", journal, word="second", **{key: True})
    said = p.reload("refused")
    assert ("worker_init failed on worker 1" in said) == (key == "fail_worker_init"), said
    if key == "fail_worker_init":
        mine = [line for line in lines(journal) if " second " in line]
        assert mine[0] == "a second create" and mine[-1] == "a second destroy"
        assert sorted(mine[1:-1]) == ["a second worker_fini 0", "a second worker_init 0", "a second worker_init 1"]
    assert status_of(p, server) == 200 and not any("first destroy" in line for line in lines(journal))


def test_signals_reach_policies(proxy, origin, stranger, tmp_path):
    """The host's own TLS failures, and what a source says."""
    journal, other = tmp_path / "journal", tmp_path / "source"
    dirs = with_life(tmp_path, life="POLICY", tap="SOURCE")
    server, p = origin(tls=stranger.server("origin.test")), proxy(modules_dir=dirs, extra_modules=[life("a", journal, word="first")])
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 502
    signals = [line for line in lines(journal) if "signal" in line]
    assert signals == ["a first signal flow=1 peer=upstream reason=unknown_ca source=native_authoritative provider=soth-mitm "
                       "authoritative=1 host=origin.test alert=48"]
    p.modules.append(life("s", other, module="tap", word="x"))
    p.reload()
    given = "signal flow=0 peer=upstream reason=timeout source=hudsucker_inferred provider=hudsucker authoritative=0 host=elsewhere.test alert=-1"
    until(lambda: f"a first {given}" in lines(journal), 10, "a signal of the source")
    p.modules[2] = life("a", journal, word="second")
    p.reload()
    until(lambda: f"a second {given}" in lines(journal), 10, "signals to go to the new instance")
    assert lines(other) == ["s x create", "s x start"], "the source was not touched"
    p.modules[3] = life("s", other, module="tap", word="y")
    p.reload()
    assert lines(other)[2:5] == ["s y create", "s x stop", "s y start"]
    until(lambda: "s x destroy" in lines(other), 10, lambda: lines(other))
    p.modules[3] = life("s", other, module="tap", word="z", fail_start=True)
    assert "s: the source could not be started" in p.reload("refused")
    assert lines(other)[-5:] == ["s z create", "s y stop", "s z start", "s y start", "s z destroy"]
    p.modules.pop()
    p.reload()
    until(lambda: lines(other)[-1] == "s y destroy", 10, lambda: lines(other))
    p.stop()
    assert lines(other)[-2:] == ["s y stop", "s y destroy"]


def test_a_module_replaced_on_disk_is_noticed(proxy, origin, tmp_path):
    journal = tmp_path / "journal"
    dirs = with_life(tmp_path, life="POLICY")
    server, p = origin(), proxy(modules_dir=dirs, extra_modules=[life("a", journal)])
    p.hangup()
    assert p.wait_event("config_reloaded").at("detail") is None and p.metrics()["soth_module_files_replaced"] == 0
    build_module(tmp_path / "modules", "life.c", flags=["-DKIND=SOTH_KIND_SINK"])
    p.hangup()
    assert "life.so was replaced on disk" in p.stderr()
    assert "module files replaced on disk: 1," in p.wait_event("config_reloaded", generation=3).at("detail")
    assert p.metrics()["soth_module_files_replaced"] == 1
    p.hangup()
    assert p.stderr().count("life.so was replaced on disk") == 1
    assert status_of(p, server) == 200


def test_a_breaker_is_reset_by_a_new_instance(proxy, origin, tmp_path):
    journal = tmp_path / "journal"
    dirs = with_life(tmp_path, life="POLICY")
    server = origin()
    p = proxy(workers=1, modules_dir=dirs, extra_modules=[life("a", journal)])
    state = 'soth_module_off{kind="policy",module="life",instance="a"}'
    assert p.metrics()[state] == 0
    assert [status_of(p, server, "fail.test") for _ in range(16)] == [403] * 16, "a policy fails closed"
    assert p.metrics()[state] == 1 and status_of(p, server) == 403, "switched off, whatever is asked"
    faults = until(lambda: (lambda found: found if len(found) > 1 else None)(p.log.find("module_fault")), 10, "two faults")
    assert [f.attrs for f in faults] == [{"detail": "failed", "hook": "connect", "module": "a"},
                                        {"detail": "failed too often and is not called any more", "hook": "connect", "module": "a"}]
    p.hangup()
    assert p.metrics()[state] == 0 and status_of(p, server) == 200


# ---- again and again


def reload_many(proxy, origin, times):
    """Reloads under traffic, everything changing; afterwards as many descriptors, threads and (without a sanitizer) bytes as before."""
    plain, tls = origin(), origin(tls=True)
    p = proxy(workers=2)
    stop, failures, done = threading.Event(), [], [0]

    def traffic(number):
        while not stop.is_set():
            try:
                if number % 2:
                    with p.https("origin.test", tls.port) as client:
                        assert client.ask("GET", "/bytes/30000", "origin.test").status == 200
                else:
                    with Client(p.address()).connect(f"origin.test:{plain.port}") as client:
                        for _ in range(5):
                            assert client.ask("GET", "/hello", "origin.test").status == 200
                done[0] += 1
            except Exception as error:  # every one is a failure of the test
                failures.append(error)
                return

    def once(n):
        set_policy(p, blocked_hosts=[f"{n}.test"])
        p.settings["idle_timeout"] = f"{n % 7 + 60}s"
        p.settings["listen"] = [{"addr": "127.0.0.1", "port": 0}] + ([{"addr": "::1", "port": 0}] if n % 2 else [])
        p.modules[1]["config"]["flush_every"] = n // 10 + 1
        if n % 5 == 4:
            p.settings["workers"] = "many"
        else:
            p.settings["workers"] = 2
        p.reload("refused" if n % 5 == 4 else "applied")

    threads = [threading.Thread(target=traffic, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    measured = {}
    for n in range(times):
        once(n)
        if n in (times // 2, times - 1):
            measured[n] = p.resident()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and done[0] > times // 10
    p.settings |= {"listen": [{"addr": "127.0.0.1", "port": 0}], "workers": 2}
    p.reload()
    until(lambda: p.metrics()["soth_config_generations"] == 1, 10, "old generations to go")
    fresh = proxy(workers=2)
    until(lambda: (p.fds(), p.threads()) == (fresh.fds(), fresh.threads()), 10,
          lambda: f"{p.fds()} descriptors and {p.threads()} threads, fresh {fresh.fds()} and {fresh.threads()}")
    if not p.is_sanitized():
        assert measured[times - 1] < measured[times // 2] + (6 << 20), measured


def test_fifty_reloads_under_traffic(proxy, origin):
    reload_many(proxy, origin, 50)


@pytest.mark.slow
@pytest.mark.leaks
def test_a_thousand_reloads_under_traffic(proxy, origin):
    reload_many(proxy, origin, 1000)
