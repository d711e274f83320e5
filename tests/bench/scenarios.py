# SPDX-License-Identifier: MPL-2.0
"""The scenarios: what is loaded, in which unit it is judged, and what has to be reached. The goals are ratios against a
peer of the same run, but for memory and start, which are absolute."""

import select
import statistics
import time
from dataclasses import dataclass, field, replace

import peers
import procstat
import subject
from programs import Unavailable
from runner import KINDS, Load, Waiting, run


@dataclass
class Goal:
    row: str
    peer: str  # "" = an absolute goal
    limit: float
    at_most: bool
    key: str = "value"


@dataclass
class Plan:
    name: str
    title: str
    unit: str
    rows: list
    lower_is_better: bool = True
    path: str = "/1k"
    connections: int = 32
    churn: bool = False
    warmup: float = 0.3
    load: str = "load"  # of runner.KINDS
    figure: str = ""  # of a sample, instead of CPU
    streams: int = 0  # h2load: at a time, a connection
    size: int = 200  # stream: bytes of an event or a message
    more: list = field(default_factory=list)  # words for the generator
    goals: list = field(default_factory=list)

    def value(self, sample):
        if self.figure:
            return sample[self.figure]
        if self.lower_is_better:
            return sample["cpu"] / sample["requests"] * 1e6
        return sample["bytes"] / 1e6 / sample["cpu"]

    def units(self, sample):
        return sample["requests"] if self.lower_is_better else sample["bytes"] / 1e6

    def wall(self, sample):
        if self.lower_is_better:
            return sample["requests"] / sample["seconds"]
        return sample["bytes"] / 1e6 / sample["seconds"]


def rounds(bench, plan, programs):
    """Interleaved rounds; the order turns by one each round, so that no program always follows the same other."""
    samples = {p.name: [] for p in programs}
    latency = {p.name: [] for p in programs}
    alive = list(programs)
    for number in range(bench.rounds):
        turn = alive[number % len(alive):] + alive[:number % len(alive)]
        for program in turn:
            try:
                sample = run(bench, program, plan)
                samples[program.name].append(sample)
                if 0 < bench.rate <= 0.8 * sample["requests"] / sample["seconds"]:
                    latency[program.name].append(run(bench, program, plan, rate=bench.rate))
            except Unavailable as e:
                bench.skip(program.name, str(e))
                alive.remove(program)
        if not alive:
            break
    return samples, latency


def idle_round(bench, plan, programs):
    """All programs at once, since memory does not mind: 1,000 connections, one request each, then idle; and again 5 s
    after they were closed."""
    found = {}
    loads = []
    warm = replace(plan, connections=4)
    kind = KINDS[plan.load]
    try:
        for p in programs:
            with kind(bench, p, warm, 0) as load:
                load.ready()
        time.sleep(1)
        before = {p.name: (procstat.pss(p.pid), procstat.sockets(p.pid)) for p in programs}
        for p in programs:
            loads.append((p, kind(bench, p, plan, 0)))
        for _, load in loads:
            load.ready()
        time.sleep(2)
        for p, load in loads:
            count = load.measure()
            held, sockets = procstat.pss(p.pid), procstat.sockets(p.pid)
            kept = plan.connections - count["lost"] - count["errors"]
            if kept < 1:
                raise Unavailable(f"{p.name}: no connection was kept: {count['fault']}")
            found[p.name] = {"value": (held - before[p.name][0]) / kept, "before_kb": before[p.name][0],
                             "held_kb": held, "kept": kept, "fault": count["fault"],
                             "sockets": (sockets - before[p.name][1]) / kept}
        for _, load in loads:
            load.close()
    finally:
        for _, load in loads:
            load.__exit__()
    time.sleep(5)
    for p in programs:
        found[p.name]["after_kb"] = procstat.pss(p.pid)
        found[p.name]["grown_mb"] = (found[p.name]["after_kb"] - found[p.name]["before_kb"]) / 1024
    return found


def idle(bench, plan, programs):
    """Every round with fresh processes."""
    samples = {p.name: [] for p in programs}
    for number in range(bench.rounds):
        if number:
            for p in programs:
                p.stop()
                p.start()
        for name, sample in idle_round(bench, plan, programs).items():
            samples[name].append(sample)
    return samples, {}


def peak_growth(program, load, seconds):
    """MB that the program grows at most while the load opens its connections or until the time is over."""
    before = highest = procstat.pss(program.pid)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        highest = max(highest, procstat.pss(program.pid))
        if select.select([load.process.stdout], [], [], 0.02)[0]:
            load.line()
            break
    return (highest - before) / 1024


def memory(bench, plan, programs):
    """One connection reads 1 GiB as fast as it can, then another one at 1 MB/s for 4 s, after a connection to warm up.
    Once a program and run: memory does not need interleaving."""
    samples = {p.name: [] for p in programs}
    warm = Plan("", "", "", [], path="/1m", connections=4, warmup=0.3)
    for p in programs:
        with Load(bench, p, warm, 0) as load:
            load.ready()
        with Load(bench, p, plan, 0) as load:
            fast = peak_growth(p, load, 15)
        with Load(bench, p, plan, 0, slow=1e6) as load:
            slow = peak_growth(p, load, 4)
        samples[p.name].append({"value": fast, "slow_mb": slow})
    return samples, {}


def waiting_once(bench, plan, program):
    """Some connections with a stream each, then all with a hundred; before that one connection that came and went."""
    with Waiting(bench, program, plan, 0) as load:
        load.ready()
        time.sleep(0.5)
        before = procstat.anonymous(program.pid)
        counted = load.measure()
        time.sleep(0.5)
        grown = procstat.anonymous(program.pid) - before
        load.close()
    if counted["fault"] or counted["answered"]:
        raise Unavailable(f"{program.name}: {counted['answered']} streams were answered; {counted['fault']}")
    each = grown / counted["streams"]
    return {"value": each * plan.streams, "stream_bytes": each * 1024}


def waiting(bench, plan, programs):
    """Every round with fresh processes: memory that was given back once would be taken for none."""
    samples = {p.name: [] for p in programs}
    for _ in range(bench.rounds):
        for p in programs:
            p.stop()
            p.start()
            samples[p.name].append(waiting_once(bench, plan, p))
    return samples, {}


def start_once(program):
    began = time.monotonic()
    program.launch()
    sample = {}
    while "value" not in sample:
        if program.accepts():
            sample["value"] = (time.monotonic() - began) * 1000
        elif program.process.poll() is not None or time.monotonic() - began > 20:
            raise Unavailable(f"{program.name} does not start: {program.last_words()}")
        else:
            time.sleep(0.0002)
    if program.ours:
        while not program.ready() and time.monotonic() - began < 20:
            time.sleep(0.0002)
        sample["ready_ms"] = (time.monotonic() - began) * 1000
    program.stop()
    return sample


def startup(bench, plan, programs):
    """From exec to the first accepted connection; several starts a round, because each is short."""
    samples = {p.name: [] for p in programs}
    for p in programs:
        p.stop()
        start_once(p)  # brings the files into the page cache
    for _ in range(bench.rounds * 3):
        for p in programs:
            samples[p.name].append(start_once(p))
    return samples, {}


def fold(samples, key="value"):
    """median, lowest, highest"""
    values = [s[key] for s in samples if key in s]
    return (statistics.median(values), min(values), max(values)) if values else None


SOTH = ["soth", "soth-noev", "soth-modules", "soth-rev", "soth-rev-noev"]
PLANS = {plan.name: plan for plan in [
    Plan("small", "1 KiB GET, keep-alive, 32 connections", "us CPU/request",
         ["nginx", "haproxy-http", "haproxy-tcp", "mitmproxy", *SOTH, "soth-w2"],
         goals=[Goal("soth", "nginx", 0.9, True), Goal("soth-rev", "nginx", 0.9, True),
                Goal("soth-w2", "soth", 1.1, True)]),
    Plan("bulk", "1 MiB GETs, 8 connections", "MB/CPU-s", ["nginx", "haproxy-http", "haproxy-tcp", "mitmproxy", *SOTH],
         lower_is_better=False, path="/1m", connections=8,
         goals=[Goal("soth", "haproxy-tcp", 1.0, False), Goal("soth-rev", "haproxy-tcp", 1.0, False)]),
    Plan("churn", "each request on a new connection with a full handshake, 16 at a time", "us CPU/connection",
         ["haproxy-tcp", "mitmproxy", "soth", "soth-noev"], connections=16, churn=True,
         goals=[Goal("soth", "haproxy-tcp", 0.45, True)]),
    Plan("tunnel", "1 MiB GETs over end-to-end TLS through a tunnel, 8 connections", "MB/CPU-s",
         ["haproxy-copy", "haproxy-splice", "mitmproxy-tunnel", "soth-tunnel"], lower_is_better=False, path="/1m",
         connections=8, goals=[Goal("soth-tunnel", "haproxy-copy", 1.0, False),
                               Goal("soth-tunnel", "haproxy-splice", 1.0, False)]),
    Plan("h2", "1 KiB GETs, HTTP/2 on both sides, 8 connections with 10 streams each", "us CPU/request",
         ["nginx", "haproxy-h2", "soth-h2", "soth-h2-noev", "soth-rev-h1"], connections=8, load="h2load", streams=10,
         goals=[Goal("soth-h2", "soth-rev-h1", 0.9, True), Goal("soth-h2", "haproxy-h2", 1.5, True)]),
    Plan("h2bulk", "1 MiB GETs, one HTTP/2 connection with one stream", "MB/CPU-s", ["nginx", "haproxy-h2", "soth-h2", "soth-rev-h1"],
         lower_is_better=False, path="/1m", connections=1, load="h2load", streams=1,
         goals=[Goal("soth-h2", "soth-rev-h1", 0.8, False)]),
    Plan("grpc", "calls with a message of 1 KiB, 8 connections with 10 streams each", "us CPU/call",
         ["haproxy-h2", "soth-h2", "soth-h2-grpc"], path="/bench.Echo/Say", connections=8, load="h2load", streams=10,
         goals=[Goal("soth-h2-grpc", "soth-h2", 1.1, True)]),
    Plan("sse", "50 streams with 20 events/s each, from send to receive", "us p50", ["direct", "nginx-stream", "soth-bare", "soth-stream"],
         path="sse", connections=50, load="stream", figure="p50_us",
         goals=[Goal("soth-stream", "nginx-stream", 1.05, True), Goal("soth-stream", "nginx-stream", 1.1, True, "p95_us")]),
    Plan("sse-gzip", "the same, compressed", "us p50", ["direct", "nginx-stream", "soth-bare", "soth-stream"],
         path="sse", connections=50, load="stream", figure="p50_us", more=["--gzip"],
         goals=[Goal("soth-stream", "nginx-stream", 1.05, True), Goal("soth-stream", "nginx-stream", 1.1, True, "p95_us")]),
    Plan("ws", "echo of 1 KiB messages, 8 WebSockets", "us CPU/message", ["nginx-stream", "soth-bare", "soth-stream-noev", "soth-stream"],
         path="ws", connections=8, load="stream", size=1024,
         goals=[Goal("soth-stream", "soth-bare", 1.15, True), Goal("soth-stream", "nginx-stream", 1.0, True)]),
    Plan("idle", "1,000 idle connections, one request each", "kB/connection",
         ["nginx", "haproxy-http", "haproxy-tcp", "mitmproxy", "soth", "soth-noev"], connections=1000, warmup=0,
         goals=[Goal("soth", "", 24, True), Goal("soth", "", 2, True, "grown_mb")]),
    Plan("sse-idle", "1,000 silent streams of server-sent events", "kB/stream", ["nginx-stream", "soth-bare", "soth-stream"],
         path="sse", connections=1000, load="stream", warmup=0, more=["--idle"],
         goals=[Goal("soth-stream", "", 32, True)]),
    Plan("h2streams", "100 open streams without an answer, HTTP/2 on both sides, 10 connections", "KiB on top of a connection",
         ["haproxy-h2-waiting", "soth-h2-bare", "soth-h2-waiting", "soth-h2-shipped"], connections=10, streams=100,
         goals=[Goal("soth-h2-bare", "", 100, True), Goal("soth-h2-waiting", "", 100, True), Goal("soth-h2-shipped", "", 100, True)]),
    Plan("startup", "from exec to the first accepted connection, CA on disk", "ms",
         ["nginx", "haproxy-http", "haproxy-tcp", "mitmproxy", "soth"], goals=[Goal("soth", "", 15, True)]),
    Plan("memory", "growth under a body of 1 GiB, one connection", "MB at full speed",
         ["nginx", "haproxy-http", "haproxy-tcp", "mitmproxy", "soth", "soth-rev"], path="/1g", connections=1, warmup=0,
         goals=[Goal(row, "", 2, True, key) for row in ("soth", "soth-rev") for key in ("value", "slow_mb")]),
]}
SPECIAL = {"idle": idle, "sse-idle": idle, "memory": memory, "startup": startup, "h2streams": waiting}


def take_part(bench, plan):
    """The programs of a scenario that are wanted and can start; the others are skipped with a reason."""
    known = {kind.name: kind for kind in [*peers.ALL, *subject.ALL]}
    programs = []
    for name in plan.rows:
        kind = known[name]
        if kind.ours:
            if not bench.installed or (name == "soth-modules" and not bench.modules):
                continue
        elif not any(name == wanted or name.startswith(wanted + "-") for wanted in bench.peers):
            continue
        try:
            programs.append(bench.started(kind))
        except Unavailable as e:
            bench.skip(name, str(e))
    return programs
