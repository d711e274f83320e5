# SPDX-License-Identifier: MPL-2.0
"""The scenario `modules`: instructions that a module costs on the flow's side, counted by callgrind in a build of its own, and a storm
of events. tests/bench/micro/*.c do the work; nothing of it is timed but the storm."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = {name: os.path.join("tests", "bench", "micro", name) for name in ("modules", "exchange", "handshake", "parsers", "ws_events")}
FEW, MANY = 2000, 42000  # the difference is free of what start and end cost


@dataclass
class Part:
    name: str
    title: str
    goal: float
    only: str = ""  # count inside this function alone
    less: str = ""  # the part that is taken off: with one module less
    program: str = "modules"
    thread: int = 1


# A part here is a part of its program. The thread that counts is the flow's; sinks have threads of their own.
PARTS = [
    Part("policy", "an empty policy hook", 150, only="registry_ask"),
    Part("taps", "an empty TAP decoder, a piece of a body", 150, less="tap"),
    Part("event", "an event to an empty sink", 400),
    Part("unwanted", "an event that nobody wants, with what its attributes cost", 40),
    Part("deaf", "a policy that takes part in no hook of an exchange, an exchange", 1, less="alone", program="exchange"),
]
# Printed beside them, so that the figures can be read.
BESIDE = [
    Part("alone", "a whole exchange without a policy", 0, program="exchange"),
    Part("asked", "what a policy adds to it that is asked about requests", 0, less="alone", program="exchange"),
    Part("echo", "the six events of a WebSocket's echo, worker", 0, program="ws_events"),
    Part("echo", "the same, views and lines on the sink's thread", 0, program="ws_events", thread=2),
]
STORM_RATE = 1_000_000


def build(bench):
    """-O2, without sanitizers, in the bench's own directory. Name -> program."""
    folder = os.path.join(bench.dir, "host")
    os.makedirs(folder, exist_ok=True)
    if not os.access(os.path.join(ROOT, "configure"), os.X_OK):
        subprocess.run(["autoreconf", "-fi"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.exists(os.path.join(folder, "Makefile")):
        words = subprocess.run([os.path.join(ROOT, "scripts", "setup"), "--print-configure"], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()
        subprocess.run([os.path.join(ROOT, "configure"), "-q", *words, "CFLAGS=-O2 -g"], cwd=folder, check=True)
    subprocess.run(["make", "-s", f"-j{os.cpu_count()}", *PROGRAMS.values()], cwd=folder, check=True)
    return {name: os.path.join(folder, path) for name, path in PROGRAMS.items()}


def instructions(bench, program, part, n):
    """Of one thread."""
    out = os.path.join(bench.dir, "callgrind.out")
    words = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=yes", f"--callgrind-out-file={out}"]
    if part.only:
        words.append(f"--toggle-collect={part.only}")
    for name in os.listdir(bench.dir):
        if name.startswith("callgrind.out"):
            os.remove(os.path.join(bench.dir, name))
    subprocess.run([*words, program, part.name, str(n)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(f"{out}-{part.thread:02}") as file:
        return int(re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)[-1])


def a_call(bench, programs, part):
    few, many = (instructions(bench, programs[part.program], part, n) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW) - (a_call(bench, programs, replace(part, name=part.less, less="")) if part.less else 0)


def verdict(met, text):
    print(f"  {'met   ' if met else 'MISSED'} {text}")
    return {"met": met, "text": text}


def storm(program, rate, seconds):
    done = subprocess.run([program, "storm", str(rate), str(seconds)], check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def run(bench):
    print("\nmodules: what a module costs on the flow's side, instructions a call")
    goals, counts = [], {}
    programs = build(bench)
    if shutil.which("valgrind"):
        for part in PARTS:
            counts[part.name] = got = a_call(bench, programs, part)
            goals.append(verdict(got <= part.goal, f"{part.title}: {got:.0f} instructions, wanted at most {part.goal:g}"))
        for part in BESIDE:
            name = part.name if part.thread == 1 else f"{part.name}-{part.thread}"
            counts[name] = a_call(bench, programs, part)
            print(f"         {part.title}: {counts[name]:.0f} instructions")
    else:
        bench.skip("callgrind", "valgrind is not installed: no instructions are counted")
    seconds = max(1, round(bench.seconds))
    steady = min((storm(programs["modules"], STORM_RATE, seconds) for _ in range(bench.rounds)), key=lambda s: s["lost"])  # the calmest round
    flood = storm(programs["modules"], 0, seconds)
    rate = steady["emitted"] / steady["emit_seconds"]
    goals.append(verdict(steady["lost"] == 0 and steady["counted"] == steady["emitted"] and rate >= 0.99 * STORM_RATE,
                         f"{rate:,.0f} events/s from two threads into a sink that counts, {steady['lost']:,} lost, wanted "
                         f"{STORM_RATE:,} and none"))
    print(f"         as fast as they go, with pause_flow: {flood['emitted'] / flood['seconds']:,.0f} events/s, {flood['lost']:,} lost")
    return {"scenario": "modules", "instructions": counts, "storm": steady, "flood": flood, "goals": goals}
