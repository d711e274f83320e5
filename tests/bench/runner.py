# SPDX-License-Identifier: MPL-2.0
"""One run of load against one program: the load generator stops at quiet points, and CPU is read there."""

import json
import os
import re
import resource
import subprocess
import sys
import time

import procstat
from programs import WAITING, Unavailable, need

SETTLE = 0.3  # the sinks' flush_interval is 200 ms: what was written for the load counts


class Load:
    """The load generator as a context; the quiet points are ready(), measure() and close()."""

    def __init__(self, bench, program, plan, seconds, rate=0.0, slow=0.0):
        words = self.words(bench, program, plan, seconds)
        if rate:
            words += ["--rate", str(rate)]
        if slow:
            words += ["--slow", str(slow)]
        self.program = program
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def words(self, bench, program, plan, seconds):
        target = f"localhost:{program.origin.port}"
        words = [bench.load, "--port", str(program.port), "--tls", "localhost", "--ca", bench.certs.ca, "--header",
                 target, "--path", plan.path, "--connections", str(plan.connections), "--seconds", str(seconds),
                 "--warmup", str(plan.warmup)]
        if program.way == "connect":
            words += ["--connect", target]
        if plan.churn:
            words += ["--churn"]
        return words

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            words = self.process.stderr.read().strip() or f"the load generator ended ({self.process.wait()})"
            raise Unavailable(f"{self.program.name}: {words}; {self.program.last_words()}")
        return text

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ready(self):
        self.line()

    def measure(self):
        self.go()
        return json.loads(self.line())

    def close(self):
        self.go()
        self.line()


class Stream(Load):
    """Clients of the streaming origin (stream/consume.c); they speak like the load generator."""

    def words(self, bench, program, plan, seconds):
        target = f"localhost:{program.origin.port}"
        words = [bench.stream, plan.path, "--port", str(program.port), "--tls", "localhost", "--ca", bench.certs.ca, "--header",
                 target, "--connections", str(plan.connections), "--seconds", str(seconds), "--warmup", str(plan.warmup),
                 "--size", str(plan.size), *plan.more]
        if program.way == "connect":
            words += ["--connect", target]
        return words


class Waiting(Load):
    """Clients with many streams that nobody answers (waiting.py); they speak like the load generator."""

    def words(self, bench, program, plan, seconds):
        target = f"localhost:{program.origin.port}"
        return [sys.executable, WAITING, "client", "--port", str(program.port), "--tls", "localhost", "--ca", bench.certs.ca, "--header", target,
                "--connections", str(plan.connections), "--streams", str(plan.streams)]


class H2Load(Load):
    """h2load runs to its end in one go: its few handshakes are part of the sample."""

    def words(self, bench, program, plan, seconds):
        return [need("h2load"), "-t1", f"-c{plan.connections}", f"-m{plan.streams}", "-D", str(max(1, round(seconds))),
                f"--connect-to=127.0.0.1:{program.port}", *plan.more, f"https://localhost:{program.port}{plan.path}"]

    def __init__(self, bench, program, plan, seconds, rate=0.0, slow=0.0):
        self.program, self.process = program, None
        self.command = self.words(bench, program, plan, seconds)

    def __exit__(self, *_):
        pass

    def ready(self):
        pass

    def close(self):
        pass

    def measure(self):
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(["setpriv", "--pdeathsig", "TERM", *self.command], text=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        counts = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", done.stdout)
        if not counts:
            raise Unavailable(f"{self.program.name}: {done.stderr.strip() or done.stdout.strip()[-200:]}")
        good, bad = int(counts[2]), int(counts[3])
        statuses = re.search(r"status codes: (\d+) 2xx", done.stdout)
        if not statuses or int(statuses[1]) < good:
            raise Unavailable(f"{self.program.name}: {re.search('status codes.*', done.stdout)[0]}")
        size = int(re.search(r"traffic: .*?\((\d+)\) total", done.stdout)[1])
        if b"Application protocol: h2" not in done.stdout.encode():
            raise Unavailable(f"{self.program.name}: no HTTP/2")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"requests": good, "bytes": size, "errors": bad, "lost": 0, "seconds": time.monotonic() - began, "load_cpu": cpu,
                "fault": ""}


KINDS = {"load": Load, "stream": Stream, "h2load": H2Load}


def wait_for_calm(seconds):
    """Waits until nobody else uses more than a tenth of the machine, but not longer than that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = procstat.machine_busy()
        time.sleep(0.3)
        if procstat.machine_busy() - before < 0.03 * os.cpu_count():
            return


def run(bench, program, plan, rate=0.0, seconds=None):
    """A sample: what the load generator counted, and the CPU seconds of the program's threads for it."""
    wait_for_calm(bench.patience)
    kind = KINDS[program.load or plan.load]
    with kind(bench, program, plan, seconds or bench.seconds, rate) as load:
        load.ready()
        time.sleep(SETTLE)
        accepted = program.origin.accepted()
        before, origin = procstat.threads(program.pid), procstat.threads(program.origin.pid)
        busy, began = procstat.machine_busy(), time.monotonic()
        sample = load.measure()
        time.sleep(SETTLE)
        parts = procstat.spent(before, procstat.threads(program.pid))
        sample["cpu"] = sum(seconds for _, seconds in parts)
        sample["threads"] = parts
        sample["origin_cpu"] = sum(s for _, s in procstat.spent(origin, procstat.threads(program.origin.pid)))
        busy = procstat.machine_busy() - busy - sample["cpu"] - sample["origin_cpu"] - sample["load_cpu"]
        sample["others"] = max(0.0, busy / os.cpu_count() / (time.monotonic() - began))
        sample["origin_connections"] = program.origin.accepted() - accepted - 1  # one of them asked for the status
        load.close()
    if program.process.poll() is not None:
        raise Unavailable(f"{program.name} died: {program.last_words()}")
    if sample["requests"] == 0 or sample["cpu"] <= 0:
        raise Unavailable(f"{program.name}: no request succeeded: {sample['fault']}")
    sample["value"] = plan.value(sample)
    return sample


def build(bench, name, folder, more=()):
    """Compiles a generator when a source is newer than it."""
    here = os.path.dirname(os.path.abspath(__file__))
    source = os.path.join(here, folder)
    files = [os.path.join(source, f) for f in sorted(os.listdir(source)) if f.endswith((".c", ".h"))]
    files += [os.path.join(here, f) for f in more]
    target = os.path.join(bench.dir, name)
    if not os.path.exists(target) or any(os.path.getmtime(f) > os.path.getmtime(target) for f in files):
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-o",
                        target, *[f for f in files if f.endswith(".c")], "-lssl", "-lcrypto", "-lz"], check=True)
    return target
