# SPDX-License-Identifier: MPL-2.0
"""--profile: one more run of a row of ours, watched by perf, or by callgrind where perf may not sample. Leaves the raw
profile and a text report beside the bench's other files."""

import os
import subprocess

from programs import Unavailable, need
from runner import run


def perf_usable():
    try:
        probe = [need("perf"), "record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"]
        return subprocess.run(probe, capture_output=True, timeout=20).returncode == 0
    except (Unavailable, subprocess.SubprocessError):
        return False


def with_perf(bench, plan, program, base):
    perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", base + ".data", "-p",
                             str(program.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run(bench, program, plan, seconds=3)
    finally:
        perf.send_signal(2)
        perf.wait(30)
    with open(base + ".txt", "w") as out:
        for more in (["--no-children", "-g", "none"], ["--children", "-g", "caller,0.5,callee,function,percent"]):
            subprocess.run(["perf", "report", "--stdio", "-i", base + ".data", "--percent-limit", "0.4", *more],
                           stdout=out, stderr=subprocess.DEVNULL)
    return base + ".txt"


def with_callgrind(bench, plan, program, base):
    program.stop()
    prefix = [need("valgrind"), "--tool=callgrind", f"--callgrind-out-file={base}.callgrind"]
    program.start(prefix=prefix, seconds=60)
    run(bench, program, plan, seconds=3)
    program.stop()
    with open(base + ".txt", "w") as out:
        subprocess.run(["callgrind_annotate", base + ".callgrind"], stdout=out, stderr=subprocess.DEVNULL)
    return base + ".txt"


def profile(bench, plan, programs):
    how = with_perf if perf_usable() else with_callgrind
    for program in programs:
        if program.ours and program.name in ("soth", "soth-tunnel", "soth-rev"):
            base = os.path.join(bench.dir, f"profile-{plan.name}-{program.name}")
            try:
                print(f"  profile: {how(bench, plan, program, base)}")
            except Unavailable as e:
                bench.skip(program.name, f"no profile: {e}")
