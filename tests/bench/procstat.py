# SPDX-License-Identifier: MPL-2.0
"""CPU and memory of running programs, read from /proc. Never signals or changes a process."""

import os


def tree(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as f:
                    todo += [int(child) for child in f.read().split()]
        except OSError:
            found.pop()
    return found


def threads(pid):
    """CPU seconds by (tid, thread name) for the process and its descendants, in the scheduler's nanoseconds."""
    seconds = {}
    for one in tree(pid):
        try:
            tids = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for tid in tids:
            try:
                with open(f"/proc/{one}/task/{tid}/schedstat") as f:
                    spent = int(f.read().split()[0]) / 1e9
                with open(f"/proc/{one}/task/{tid}/comm") as f:
                    name = f.read().strip()
            except OSError:
                continue
            seconds[(int(tid), name)] = spent
    return seconds


def spent(before, after):
    """CPU seconds between two readings of threads(), largest first: [(name, seconds)]."""
    parts = [(name, seconds - before.get((tid, name), 0.0)) for (tid, name), seconds in after.items()]
    return sorted(parts, key=lambda part: -part[1])


def machine_busy():
    """CPU seconds that the whole machine has been busy since it started."""
    with open("/proc/stat") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def pss(pid):
    """Proportional set size in kB of the process and its descendants."""
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            continue
    return total


def anonymous(pid):
    """Memory of its own in kB, of the process and its descendants: what does not depend on who else runs the same libraries."""
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Anonymous:"))
        except OSError:
            continue
    return total


def sockets(pid):
    """Open sockets of the process and its descendants: shows whether both legs of a connection are kept."""
    count = 0
    for one in tree(pid):
        try:
            for fd in os.listdir(f"/proc/{one}/fd"):
                try:
                    count += os.readlink(f"/proc/{one}/fd/{fd}").startswith("socket:")
                except OSError:
                    continue
        except OSError:
            continue
    return count
