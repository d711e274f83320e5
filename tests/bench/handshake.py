# SPDX-License-Identifier: MPL-2.0
"""The scenario `handshake`: CPU of a pair of TLS handshakes as the proxy does them, beside the library's own, in one process and without
sockets (tests/bench/micro/handshake.c). Rounds are interleaved; ratios are of the same round."""

import os
import statistics
import subprocess

import micro

HELLO = os.path.join(micro.ROOT, "tests", "bench", "chromium.hello")  # 1.7 kB, with post-quantum key share and GREASE
PARTS = {"bare": 400, "full": 400, "resumed": 800, "fresh": 400, "hello": 20000}


def once(bench, program, part):
    certs = bench.certs
    words = [program, part, str(PARTS[part]), certs.ca, certs.ca_key, certs.leaf, certs.leaf_key, HELLO]
    return float(subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE).stdout) / 1000


def run(bench):
    print("\nhandshake: us of CPU, both ends of a connection, TLS 1.3, X25519, P-256")
    program = micro.build(bench)["handshake"]
    samples = {part: [] for part in PARTS}
    for _ in range(bench.rounds):
        for part, taken in samples.items():
            taken.append(once(bench, program, part))
    mid = {part: statistics.median(taken) for part, taken in samples.items()}
    print("  " + ", ".join(f"{part} {mid[part]:.1f} [{min(taken):.1f}-{max(taken):.1f}]" for part, taken in samples.items()))
    full = statistics.median(a / b for a, b in zip(samples["full"], samples["bare"]))
    again = statistics.median(a / b for a, b in zip(samples["resumed"], samples["full"]))
    new = statistics.median(a - b for a, b in zip(samples["fresh"], samples["full"]))
    goals = [micro.verdict(full <= 1.2, f"a full pair: {full:.2f} x the library alone, wanted at most 1.2"),
             micro.verdict(again <= 0.5, f"resumed on both sides: {again:.2f} x full, wanted at most 0.5"),
             micro.verdict(new <= 100, f"a host never seen before: {new:.0f} us more, wanted at most 100"),
             micro.verdict(mid["hello"] <= 5, f"reading a ClientHello, with JA3 and JA4: {mid['hello']:.2f} us, wanted at most 5")]
    return {"scenario": "handshake", "samples": samples, "goals": goals}
