# SPDX-License-Identifier: MPL-2.0
"""Deadlines. A test never sleeps to let something happen: it polls for the fact, up to a deadline that grows with
SOTH_E2E_TIME_SCALE (sanitizer builds, loaded machines)."""
import os
import time

SCALE = float(os.environ.get("SOTH_E2E_TIME_SCALE", "1"))


def scaled(seconds):
    return seconds * SCALE


def span(seconds):
    """The same as a duration in a configuration."""
    return f"{int(scaled(seconds) * 1000)}ms"


def until(fact, seconds=10.0, what="the fact", step=0.01):
    """Polls fact() until it is true and returns what it returned; AssertionError at the deadline."""
    deadline = time.monotonic() + scaled(seconds)
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"waited {scaled(seconds):.1f} s in vain for {said}")
        time.sleep(step)


class Stopwatch:
    def __init__(self):
        self.start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.start
