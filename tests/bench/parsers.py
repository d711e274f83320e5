# SPDX-License-Identifier: MPL-2.0
"""The scenario `parsers`: what the parsers of streams do by themselves, instructions a byte and bytes a second of one core."""

import json
import shutil
import subprocess
from dataclasses import dataclass

import micro

FEW, MANY = 1, 5  # MB for callgrind; the difference is free of what start and end cost


@dataclass
class Part:
    name: str
    title: str
    goal: float  # GB/s


PARTS = [Part("sse", "server-sent events of 200 bytes", 1), Part("ndjson", "lines of 200 bytes", 2), Part("json", "JSON texts one after another, 200 bytes", 1)]


def speed(program, part, megabytes):
    done = subprocess.run([program, part.name, str(megabytes)], check=True, text=True, stdout=subprocess.PIPE)
    said = json.loads(done.stdout)
    return said["bytes"] / said["seconds"] / 1e9


def run(bench):
    print("\nparsers: what the parsers of streams do by themselves, one core, no sink")
    program = micro.build(bench)["parsers"]
    goals, rates, counts = [], {}, {}
    for part in PARTS:
        rates[part.name] = rate = max(speed(program, part, 500) for _ in range(bench.rounds))
        goals.append(micro.verdict(rate >= part.goal, f"{part.title}: {rate:.1f} GB/s, wanted at least {part.goal:g}"))
        if shutil.which("valgrind"):
            few, many = (micro.instructions(bench, program, micro.Part(part.name, part.title, 0), n) for n in (FEW, MANY))
            counts[part.name] = (many - few) / ((MANY - FEW) << 20)
            print(f"         {counts[part.name]:.2f} instructions a byte")
    if not counts:
        bench.skip("callgrind", "valgrind is not installed: no instructions are counted")
    return {"scenario": "parsers", "gigabytes_a_second": rates, "instructions_a_byte": counts, "goals": goals}
