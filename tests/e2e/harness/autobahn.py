# SPDX-License-Identifier: MPL-2.0
"""The Autobahn Testsuite (scripts/autobahn): its fuzzing client and its fuzzing server, and what each case came to."""
import json
import os
import pathlib
import subprocess
import tempfile

from .ports import free_port
from .timing import scaled, until
from .tools import missing, run

TOP = pathlib.Path(__file__).resolve().parents[3]
SHORT = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
ALL = ["*"]


def cases():
    """Those that take seconds, or what SOTH_E2E_AUTOBAHN_CASES says: "all" in the lane, else patterns as "12.1.*,13.*"."""
    said = os.environ.get("SOTH_E2E_AUTOBAHN_CASES", "")
    return ALL if said == "all" else said.split(",") if said else SHORT


def wstest():
    for place in (os.environ.get("SOTH_E2E_AUTOBAHN"), TOP / "build" / "autobahn"):
        if place and (pathlib.Path(place) / "wstest").exists():
            return pathlib.Path(place) / "wstest"
    missing("the Autobahn Testsuite is not installed (scripts/autobahn, or SOTH_E2E_AUTOBAHN=DIR)")


def outcomes(folder, agent):
    """case -> what it came to, without what depends on time."""
    report = json.loads((folder / "index.json").read_text())[agent]
    return {case: (r["behavior"], r["behaviorClose"], r["remoteCloseCode"]) for case, r in report.items()}


def fuzz_server(folder, url, wanted):
    """The fuzzing client against a server."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    spec = {"outdir": str(folder), "servers": [{"agent": "it", "url": url, "options": {"version": 18}}], "cases": wanted, "exclude-cases": [],
            "exclude-agent-cases": {}}
    (folder / "client.json").write_text(json.dumps(spec))
    run([wstest(), "-m", "fuzzingclient", "-s", folder / "client.json"], timeout=3600, cwd=folder)
    return outcomes(folder, "it")


class FuzzingServer:
    """Runs its cases against clients that come; each agent by its own name."""

    def __init__(self, folder, wanted):
        for _ in range(5):  # somebody else may be quicker with a port that was free
            self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
            self._start(free_port(), wanted)
            if until(self._settled, 60, "the fuzzing server") == "listens":
                return
        raise AssertionError(f"the fuzzing server does not start: {self._said()[-500:]}")

    def _start(self, port, wanted):
        self.port = port
        spec = {"url": f"ws://127.0.0.1:{port}", "outdir": str(self.folder), "cases": wanted, "exclude-cases": [], "exclude-agent-cases": {}}
        (self.folder / "server.json").write_text(json.dumps(spec))
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen([str(wstest()), "-m", "fuzzingserver", "-s", str(self.folder / "server.json"), "-u", "0"],
                                            cwd=self.folder, stdout=output, stderr=output)

    def _said(self):
        return (self.folder / "output").read_text(errors="replace")

    def _settled(self):
        """It ends when it cannot have its port, some moments after it has said what it will do."""
        if self.process.poll() is not None:
            return "ended"
        return "listens" if "Ok, will run" in self._said() and self._listens() else None

    def _listens(self):
        """Is the port its own? Its socket stands in its table of descriptors."""
        wanted = f"0100007F:{self.port:04X}", f"00000000:{self.port:04X}"
        inodes = {line.split()[9] for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
                  if line.split()[1] in wanted and line.split()[3] == "0A"}
        try:
            links = list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir())
            return any(os.readlink(link) in {f"socket:[{inode}]" for inode in inodes} for link in links)
        except OSError:
            return False

    def outcomes(self, agent):
        return outcomes(self.folder, agent)

    def close(self):
        self.process.terminate()
        self.process.wait(scaled(10))


class Comparison:
    """Runs without the proxy and with it. Some cases depend on how fast an endpoint reads (what it still answers before it fails a broken
    frame): those that come to different things are run again, both ways, until both have come to one thing that is the same, or the proxy has
    come to more: OK where NON-STRICT is all that comes without it is a matter of speed, too, as long as the connection ends in the same way."""

    TIMES = 12

    def __init__(self, direct, through, wanted):
        """direct, through: functions of a list of cases, that return their outcomes."""
        self.first = direct(wanted), through(wanted)
        self.seen = [{case: {came_to} for case, came_to in found.items()} for found in self.first]
        self.again = set()
        self.runs = 0
        while self.runs < self.TIMES and (apart := self.apart()):
            self.runs += 1
            self.again |= set(apart)
            for seen, ask in zip(self.seen, (direct, through)):
                for case, came_to in ask(apart).items():
                    seen.setdefault(case, set()).add(came_to)

    def apart(self):
        direct, through = self.seen
        return sorted(case for case in direct.keys() | through.keys() if not direct.get(case, set()) & through.get(case, set())
                      and not (self.runs == self.TIMES and stricter(direct.get(case, set()), through.get(case, set()))))

    def __str__(self):
        direct, through = (summary(found) for found in self.first)
        return f"{len(self.first[1])} cases: {through}; without the proxy: {direct}; run again because they depend on time: {sorted(self.again)}"

    def complaint(self):
        return "\n".join(f"{case}: {self.seen[0].get(case)} without the proxy, {self.seen[1].get(case)} with it" for case in self.apart())


def stricter(direct, through):
    """Is there an OK of `through` to a NON-STRICT of `direct`, with the same end?"""
    return {("OK", *rest) for behavior, *rest in direct if behavior == "NON-STRICT"} & through


def summary(found):
    """How many cases came to what."""
    counts = {}
    for behavior, _, _ in found.values():
        counts[behavior] = counts.get(behavior, 0) + 1
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
