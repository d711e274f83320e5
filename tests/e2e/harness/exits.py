# SPDX-License-Identifier: MPL-2.0
"""Runs that are expected to end by themselves, with an exit code and a sentence."""
import subprocess

from .proxy import statuses
from .timing import scaled
from .tools import clean_env


def run_to_end(p, *args, env=None):
    done = subprocess.run(p.command("run", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(20),
                          env=clean_env(HOME=p.folder, **(env or {})))
    return done.returncode, done.stderr.decode(errors="replace")


def ends(p, code, name, *words):
    got, stderr = run_to_end(p)
    assert got == code, f"{got}: {stderr}"
    last = statuses(stderr)[-1]
    assert (last["stage"], last["outcome"], last["exit_code"], last["exit_class"]) == ("exit", "error", code, name)
    assert not [s for s in statuses(stderr) if s["outcome"] == "ready"]
    for word in words:
        assert word in stderr, stderr
    p.process = None
    return stderr
