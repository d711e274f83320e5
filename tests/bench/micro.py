# SPDX-License-Identifier: MPL-2.0
"""The scenario `modules`: instructions that a module costs on the flow's side, counted by callgrind in a build of its own, and a storm
of events. tests/bench/micro/modules.c does the work; nothing of it is timed but the storm."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FEW, MANY = 2000, 42000  # the difference is free of what start and end cost


@dataclass
class Part:
    name: str
    title: str
    goal: float
    only: str = ""  # count inside this function alone
    less: str = ""  # the part that is taken off: with one module less


# A part here is a part of modules.c. The thread that counts is the flow's; sinks have threads of their own.
PARTS = [
    Part("policy", "an empty policy hook", 150, only="registry_ask"),
    Part("taps", "an empty TAP decoder, a piece of a body", 150, less="tap"),
    Part("event", "an event to an empty sink", 400),
    Part("unwanted", "an event that nobody wants, with what its attributes cost", 40),
]
STORM_RATE = 1_000_000


def build(bench, name="modules"):
    """-O2, without sanitizers, in the bench's own directory."""
    folder = os.path.join(bench.dir, "host")
    os.makedirs(folder, exist_ok=True)
    if not os.access(os.path.join(ROOT, "configure"), os.X_OK):
        subprocess.run(["autoreconf", "-fi"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.exists(os.path.join(folder, "Makefile")):
        words = subprocess.run([os.path.join(ROOT, "scripts", "setup"), "--print-configure"], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()
        subprocess.run([os.path.join(ROOT, "configure"), "-q", *words, "CFLAGS=-O2 -g"], cwd=folder, check=True)
    program = os.path.join("tests", "bench", "micro", name)
    subprocess.run(["make", "-s", f"-j{os.cpu_count()}", program], cwd=folder, check=True)
    return os.path.join(folder, program)


def instructions(bench, program, part, n):
    """Of the first thread."""
    out = os.path.join(bench.dir, "callgrind.out")
    words = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=yes", f"--callgrind-out-file={out}"]
    if part.only:
        words.append(f"--toggle-collect={part.only}")
    for name in os.listdir(bench.dir):
        if name.startswith("callgrind.out"):
            os.remove(os.path.join(bench.dir, name))
    subprocess.run([*words, program, part.name, str(n)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(f"{out}-01") as file:
        return int(re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)[-1])


def a_call(bench, program, part):
    few, many = (instructions(bench, program, part, n) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def verdict(met, text):
    print(f"  {'met   ' if met else 'MISSED'} {text}")
    return {"met": met, "text": text}


def storm(program, rate, seconds):
    done = subprocess.run([program, "storm", str(rate), str(seconds)], check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def run(bench):
    print("\nmodules: what a module costs on the flow's side, instructions a call")
    goals, counts = [], {}
    program = build(bench)
    if shutil.which("valgrind"):
        for part in PARTS:
            counts[part.name] = got = a_call(bench, program, part) - (a_call(bench, program, replace(part, name=part.less)) if part.less else 0)
            goals.append(verdict(got <= part.goal, f"{part.title}: {got:.0f} instructions, wanted at most {part.goal:g}"))
    else:
        bench.skip("callgrind", "valgrind is not installed: no instructions are counted")
    seconds = max(1, round(bench.seconds))
    steady = min((storm(program, STORM_RATE, seconds) for _ in range(bench.rounds)), key=lambda s: s["lost"])  # the calmest round
    flood = storm(program, 0, seconds)
    rate = steady["emitted"] / steady["emit_seconds"]
    goals.append(verdict(steady["lost"] == 0 and steady["counted"] == steady["emitted"] and rate >= 0.99 * STORM_RATE,
                         f"{rate:,.0f} events/s from two threads into a sink that counts, {steady['lost']:,} lost, wanted "
                         f"{STORM_RATE:,} and none"))
    print(f"         as fast as they go, with pause_flow: {flood['emitted'] / flood['seconds']:,.0f} events/s, {flood['lost']:,} lost")
    return {"scenario": "modules", "instructions": counts, "storm": steady, "flood": flood, "goals": goals}
