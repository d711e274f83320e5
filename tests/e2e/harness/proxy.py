# SPDX-License-Identifier: MPL-2.0
"""The program under test: writes a configuration, starts `soth-mitm run`, learns its addresses from the status lines, stops it
by SIGTERM and then holds the log, the exit code and stderr to account."""
import glob
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import yaml

from .client import Client, trust
from .eventlog import EventLog, flows
from .invariants import check_log
from .timing import scaled, until
from .tools import clean_env

PREFIX = pathlib.Path(os.environ.get("SOTH_MITM_PREFIX", "/usr/local"))
BINARY = PREFIX / "bin" / "soth-mitm"
MODULES = PREFIX / "lib" / "soth-mitm" / "modules"
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer")
STATUS_KEYS = ["schema", "stage", "outcome", "exit_code", "exit_class", "unix_ms", "detail"]


def installed_schema():
    """The JSON Schema of the event log, as installed."""
    found = [p for p in glob.glob(str(PREFIX / "share" / "soth-mitm" / "*.schema.json"))]
    assert found, f"no *.schema.json in {PREFIX}/share/soth-mitm"
    named = [p for p in found if "log" in os.path.basename(p)] or found
    return json.loads(pathlib.Path(named[0]).read_text())


def write_private(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def whole_lines(text):
    """Those that are complete: who writes may be in the middle of one."""
    return text[:text.rfind("\n") + 1].splitlines()


def statuses(stderr):
    """The status objects in a stderr text."""
    return [json.loads(line.split("\t", 1)[1]) for line in whole_lines(stderr) if line.startswith("SOTH_MITM_STATUS\t")]


class Proxy:
    """settings: keys of soth-mitm.yaml. policy, sink: `config` of policy_rules and sink_file; sink_top, extra_modules: the rest of
    the sink's mapping, and further mappings for conf.d. exit: the exit code expected at the end."""

    def __init__(self, folder, policy=None, sink=None, sink_top=None, extra_modules=(), exit=0, **settings):
        self.folder = pathlib.Path(folder)
        self.exit, self.checks = exit, {"complete": True}
        self.ca_path, self.ca_key = self.folder / "ca" / "ca.pem", self.folder / "ca" / "ca.key"
        self.log = EventLog(self.folder / "log" / "events.jsonl")
        self.log.path.parent.mkdir(parents=True, exist_ok=True)
        self.conf = self.folder / "soth-mitm.yaml"
        self.stderr_path = self.folder / "stderr"
        self.settings = {
            "listen": [{"addr": "127.0.0.1", "port": 0}],
            "modules_dir": str(MODULES),
            "conf_d": "conf.d",
            "ca": {"cert_path": str(self.ca_path), "key_path": str(self.ca_key)},
        } | settings
        self.modules = [{"module": "policy_rules", "config": {"default": "intercept"} | (policy or {})},
                        {"module": "sink_file", "config": {"path": str(self.log.path), "flush_every": 1, "flush_interval": "20ms"}
                         | (sink or {})} | (sink_top or {}), *extra_modules]
        self.process, self.addresses, self.ports = None, [], set()

    # ---- life

    def write(self):
        write_private(self.conf, yaml.safe_dump(self.settings, sort_keys=False))
        for number, module in enumerate(self.modules):
            write_private(self.folder / "conf.d" / f"{number:02}-{module['module']}.yaml", yaml.safe_dump(module, sort_keys=False))
        return self

    def command(self, *args):
        return [str(BINARY), *args, "-c", str(self.conf)]

    def launch(self, wrapper=(), env=None, **popen):
        """Starts it without waiting for anything."""
        self.write()
        home = {"HOME": self.folder, "XDG_DATA_HOME": self.folder / "data", "XDG_CONFIG_HOME": self.folder / "config"}
        with open(self.stderr_path, "ab") as stderr, open(self.folder / "stdout", "ab") as stdout:
            self.process = subprocess.Popen([*wrapper, *self.command("run")], stdin=subprocess.DEVNULL, stdout=stdout,
                                            stderr=stderr, env=clean_env(**(home | (env or {}))), **popen)
        return self

    def start(self, **launch):
        """Starts it and waits until it is ready."""
        offset = self.stderr_path.stat().st_size if self.stderr_path.exists() else 0
        self.launch(**launch)
        until(lambda: self.process.poll() is not None or self._ready(offset), 20, lambda: "readiness; stderr: " + self.stderr())
        assert self.process.poll() is None, f"ended with {self.process.returncode} at start: {self.stderr()}"
        return self

    def _ready(self, offset):
        for status in statuses(self.stderr_path.read_bytes()[offset:].decode(errors="replace")):
            if (status["stage"], status["outcome"]) == ("running", "ready"):
                detail = status["detail"]
                assert detail.startswith("listening on "), detail
                self.addresses = detail[len("listening on "):].split(", ")
                return True
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, outcome="applied", seconds=20):
        """Writes the configuration as it is now, SIGHUP, waits for what the proxy says about it; returns that line."""
        for left in (self.folder / "conf.d").glob("*.yaml"):
            left.unlink()
        self.write()
        return self.hangup(outcome, seconds)

    def hangup(self, outcome="applied", seconds=20):
        """SIGHUP with the configuration that is on disk."""
        before = len(self._said_of_reloads())
        self.signal(signal.SIGHUP)
        said = until(lambda: self._said_of_reloads()[before:], seconds, lambda: "a word about SIGHUP; stderr: " + self.stderr()[-2000:])[0]
        assert ("is in effect" in said) == (outcome == "applied"), said
        if ", listening on " in said:
            self.addresses = said.split(", listening on ", 1)[1].split(", ")
        return said

    def _said_of_reloads(self):
        return [line for line in whole_lines(self.stderr()) if ": SIGHUP: " in line]

    def metrics(self):
        """What SIGUSR2 prints, name{labels} -> value."""
        before = len(self.stderr())
        self.signal(signal.SIGUSR2)
        text = until(lambda: (lambda t: t if "# EOF\n" in t else None)(self.stderr()[before:]), 10, "metrics on stderr")
        found = {}
        for line in text.splitlines():
            if line.startswith("soth_") and " " in line:
                name, value = line.rsplit(" ", 1)
                found[name] = int(value)
        return found

    def wait_metric(self, name, value, seconds=10):
        """Until the number is that. What is counted behind the answer that a test waits for, or on another thread, comes a moment later."""
        found = {}

        def told():
            found.update(self.metrics())
            return found.get(name) == value
        until(told, seconds, lambda: f"{name} to become {value}, it is {found.get(name)}")

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def resident(self):
        """Bytes of memory."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def is_sanitized(self):
        return "libasan" in (maps := pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()) or "libtsan" in maps

    def wait_exit(self, seconds=20):
        return self.process.wait(scaled(seconds))

    def stop(self):
        """SIGTERM, the exit code, a clean stderr, a sound log."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end after SIGTERM: {self.stderr()[-3000:]}") from None
        self.process = None
        said = SANITIZER.search(self.stderr())
        assert not said, self.stderr()[-6000:]
        assert code == self.exit, f"exit code {code}, expected {self.exit}: {self.stderr()[-3000:]}"
        if self.checks:
            findings = check_log(self.log, installed_schema(), **self.checks)
            assert not findings, "\n".join(findings[:20])

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # ---- what it says

    def stderr(self):
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def statuses(self):
        return statuses(self.stderr())

    def address(self, listener=0):
        """(host, port) or the path of a Unix socket."""
        text = self.addresses[listener]
        if text.startswith("unix:"):
            return text[len("unix:"):]
        host, _, port = text.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self):
        return self.address()[1]

    @property
    def url(self):
        return f"http://{self.addresses[0]}"

    def files(self):
        """What its descriptors are."""
        found = []
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{self.process.pid}/fd/{fd}"))
            except OSError:  # closed meanwhile
                continue
        return found

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # ---- clients

    def client(self, listener=0, seconds=15):
        """Of a port that no client of this proxy had before: tests find their flow by it."""
        while True:
            one = Client(self.address(listener), seconds)
            if one.sock.family == socket.AF_UNIX or one.port not in self.ports:
                break
            one.close()
        if one.sock.family != socket.AF_UNIX:
            self.ports.add(one.port)
        return one

    def trust(self, **kwargs):
        return trust(self.ca_path, **kwargs)

    def https(self, host, port, sni=None, seconds=15, listener=0, **kwargs):
        """A client inside the intercepted TLS of a CONNECT to host:port."""
        client = self.client(listener, seconds)
        name = f"[{host}]" if ":" in host else host
        return client.connect(f"{name}:{port}").start_tls(self.trust(**kwargs), sni or host)

    # ---- events

    def events(self):
        return self.log.events()

    def wait_event(self, kind, seconds=10, **wanted):
        """The first event of that kind with these values in envelope or attributes."""
        return until(lambda: self.log.find(kind, **wanted), seconds,
                     lambda: f"{kind} {wanted}; have {[(e.kind, e.attrs) for e in self.events()][-12:]}; "
                             f"stderr: {self.stderr()[-800:]}")[0]

    def wait_closed(self, count=1, seconds=10):
        """The first `count` stream_closed events."""
        return until(lambda: (lambda c: c if len(c) >= count else None)(self.log.find("stream_closed")), seconds,
                     lambda: f"{count} closed flows; have {[(e.kind, e.attrs) for e in self.events()][-12:]}; "
                             f"stderr: {self.stderr()[-800:]}")[:count]

    def closed_as(self, reason_code, reason_detail=None, seconds=10):
        """Waits for the one flow's close and asserts how it ended; returns the flow's events."""
        event = self.wait_closed(1, seconds)[0]
        got = (event.at("reason_code"), event.at("reason_detail"))
        wanted = (reason_code, got[1] if reason_detail is ... else reason_detail)
        assert got == wanted, f"closed as {got}, expected {wanted}"
        return flows(self.events())[event.flow]

    def decision(self, **wanted):
        return self.wait_event("connect_decision", **wanted)
