# SPDX-License-Identifier: MPL-2.0
"""Hooks that overstay are named, one that hangs ends the process, and a crash names the module it happened in."""
import re
import signal
import threading

import pytest

from harness.modules import build_module
from harness.proxy import MODULES
from harness.timing import scaled, span, until
from harness.wire import Cut


@pytest.fixture
def life(proxy, tmp_path):
    """Starts a proxy whose policy `culprit` does what the host name asks for. On a sanitizer build the sanitizer's report follows ours and
    exits."""
    def start(kind="POLICY", **settings):
        build_module(tmp_path / "modules", "life.c", flags=[f"-DKIND=SOTH_KIND_{kind}"])
        return proxy(workers=2, modules_dir=[str(MODULES), str(tmp_path / "modules")],
                     extra_modules=[{"module": "life", "name": "culprit", "config": {"journal": str(tmp_path / "journal")}}], **settings)

    return start


def ask(p, host):
    try:
        with p.client() as client:
            client.ask_connect(f"{host}:443")
    except (OSError, Cut):
        pass


def died(p, seconds=20):
    """Waits for its death; returns (signal, stderr)."""
    code = p.wait_exit(seconds)
    text = p.stderr()
    p.process = None
    return -code, text


def crash_lines(text):
    return [line.removeprefix("soth-mitm: crash: ") for line in text.splitlines() if line.startswith("soth-mitm: crash: ")]


def test_a_slow_hook_is_named_once_a_stay(life, origin):
    p = life()
    ask(p, "sleep.test")
    event = p.wait_event("module_fault")
    assert event.at("module") == "culprit" and event.at("hook") == "connect" and "more than 100 ms" in event.at("detail") and event.flow == 0
    p.wait_closed(1)
    assert len(p.log.find("module_fault")) == 1 and p.stderr().count("culprit: hook connect has been on its worker") == 1
    ask(p, "sleep.test")
    until(lambda: len(p.log.find("module_fault")) == 2, 10, "the second stay to be named")
    ask(p, "quick.test")
    p.wait_closed(3)
    assert len(p.log.find("module_fault")) == 2
    assert p.log.find("connect_decision")[0].at("action") == "intercept", "it was slow, not wrong"


@pytest.mark.parametrize("how", ["hang", "loop"])
def test_a_hook_that_hangs_ends_the_process(life, how):
    p = life(hook_hang_timeout="400ms")
    p.checks = None
    asking = threading.Thread(target=ask, args=(p, f"{how}.test"), daemon=True)
    asking.start()
    number, text = died(p)
    said = crash_lines(text)
    assert number == signal.SIGABRT
    assert re.fullmatch(r"SIGABRT, .*; thread worker-[01]", said[0])
    assert said[1] == "module culprit, hook connect: has been on its worker for hook_hang_timeout (400 ms)"
    assert said[2] == "module culprit, hook connect"
    assert said[3].startswith("soth-mitm ") and "wolfSSL" in said[3]
    assert "life.so" in text.split("crash: stack:")[1], "the stack is that of the thread that hangs"
    asking.join(scaled(10))


def post(p, server, body):
    try:
        with p.client().connect(f"origin.test:{server.port}") as client:
            client.ask("POST", "/echo", "origin.test", body=body)
    except (OSError, Cut):
        pass


def test_a_decoder_is_watched_too(life, origin):
    server, p = origin(), life("DECODER")
    post(p, server, b"sleep well")
    event = p.wait_event("module_fault")
    assert event.at("module") == "culprit" and event.at("hook") == "data" and "more than 100 ms" in event.at("detail")
    p.checks = None
    ends_by_exit = p.is_sanitized()
    post(p, server, b"crash")
    number, text = died(p)
    assert number == signal.SIGSEGV or ends_by_exit
    assert crash_lines(text)[1] == "module culprit, hook data"


def test_the_limit_follows_the_configuration(life):
    p = life(hook_hang_timeout="1h")
    p.checks = None
    p.settings["hook_hang_timeout"] = "200ms"
    p.reload()
    threading.Thread(target=ask, args=(p, "hang.test"), daemon=True).start()
    assert died(p)[0] == signal.SIGABRT


def test_a_stopped_process_is_no_hook_that_hangs(life):
    """SIGSTOP in the middle of a hook: the time counts for nobody."""
    p = life(hook_hang_timeout=span(2))  # the hook takes 700 ms
    asking = threading.Thread(target=ask, args=(p, "sleep.test"), daemon=True)
    asking.start()
    until(lambda: "culprit  worker_init 1" in (p.folder.parent / "journal").read_text(), 10, "the start")
    p.signal(signal.SIGSTOP)
    asking.join(scaled(3))
    p.signal(signal.SIGCONT)
    asking.join(scaled(10))
    assert p.process.poll() is None
    ask(p, "quick.test")
    p.wait_closed(2)


@pytest.mark.parametrize("how, address", [("crash", "0x0"), ("deep", "0x[0-9a-f]+")])
def test_a_crash_names_the_module(life, how, address):
    """deep: the stack is used up, so that the report needs one of its own."""
    p = life()
    p.checks = None
    ends_by_exit = p.is_sanitized()
    ask(p, f"{how}.test")
    number, text = died(p)
    said = crash_lines(text)
    assert number == signal.SIGSEGV or ends_by_exit
    assert re.fullmatch(f"SIGSEGV, an access to memory that is not there, at {address}; thread worker-[01]", said[0])
    assert said[1] == "module culprit, hook connect"
    assert said[2].startswith("soth-mitm ") and ", wolfSSL " in said[2]
    assert "life.so" in text.split("crash: stack:")[1]


def test_a_crash_outside_of_modules(life):
    """Sent from outside: the report says that no module is to blame, and the signal takes its course."""
    p = life()
    p.checks = None
    ends_by_exit = p.is_sanitized()
    p.signal(signal.SIGBUS)
    number, text = died(p)
    assert number == signal.SIGBUS or ends_by_exit
    said = crash_lines(text)
    assert said[0].startswith("SIGBUS, ") and said[1] == "no module's hook is on this thread's stack"
