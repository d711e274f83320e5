# SPDX-License-Identifier: MPL-2.0
"""A sink that takes its time: pause_flow makes the client wait and the memory stay, drop_oldest lets it go and says exactly what is
missing; what a sink acknowledges late is waited for at the end."""
import hashlib
import re
import signal
import threading

import pytest

from harness.modules import build_module
from harness.origin import pattern_sha256
from harness.timing import SCALE, Stopwatch, until

MB = 1 << 20


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return build_module(tmp_path_factory.mktemp("modules"), "slow.c")


def journal(path):
    """Lines of the fixture: (sequence_id, kind, [numbers])."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(int(row[0]), row[1], [int(n) for n in row[2:]]) for row in rows if len(row) > 1]


def sink(path, payload="none", queue=None, **config):
    return {"module": "slow", "payload": payload, "queue": queue or {}, "config": {"journal": str(path)} | config}


def rss(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


class Peak:
    """The most that a process ever has while the block runs."""

    def __init__(self, pid):
        self.pid, self.most, self.over = pid, rss(pid), threading.Event()
        self.before = self.most
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, rss(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def growth(self):
        return self.most - self.before


def download(p, server, size):
    with p.client(seconds=60).connect(f"origin.test:{server.port}") as client:
        answer = client.ask("GET", f"/bytes/{size}", "origin.test")
        assert hashlib.sha256(answer.body).hexdigest() == pattern_sha256(size)


def test_pause_flow_slows_the_client_and_keeps_memory_flat(proxy, origin, slow, tmp_path):
    path, server = tmp_path / "journal", origin()
    queue = {"max_events": 16, "max_bytes": "1M", "on_full": "pause_flow"}
    p = proxy(extra_modules=[sink(path, "full", queue, per_second=1000)], modules_dir=slow, workers=1, drain_timeout="20s")
    download(p, server, MB)  # its memory is made
    with Peak(p.process.pid) as peak:
        watch = Stopwatch()
        download(p, server, 16 * MB)  # 1,000 pieces of 16 kB, each with its content
        seconds = watch.seconds
    assert seconds > 0.8, "a thousand pieces a second, no more"
    if SCALE == 1:  # a sanitizer keeps what was freed
        assert peak.growth < 6 * MB, f"grew by {peak.growth / MB:.1f} MB"
    p.stop()
    numbers = [row[0] for row in journal(path)]
    assert numbers == [e["sequence_id"] for e in p.events()], "nothing is lost"


def test_drop_oldest_slows_nobody_and_tells_what_is_missing(proxy, origin, slow, tmp_path):
    path, server = tmp_path / "journal", origin()
    queue = {"max_events": 32, "on_full": "drop_oldest"}
    p = proxy(extra_modules=[sink(path, "none", queue, per_second=20)], modules_dir=slow)
    for _ in range(60):
        download(p, server, 64 * 1024)
    p.wait_closed(60)
    taken_before_the_end = len(journal(path))
    assert taken_before_the_end < len(p.events()) / 2, "nobody waited for it"
    p.stop()
    rows = journal(path)
    arrived = {row[0] for row in rows}
    missing = {e["sequence_id"] for e in p.events()} - arrived
    assert missing, "the sink was too slow for something to be lost"
    told = set()
    for _, kind, numbers in rows:
        if kind == "events_lost":
            count, first, last = numbers
            lost = set(range(first, last + 1)) - arrived
            assert len(lost) == count and not lost & told
            told |= lost
    assert told == missing


def test_the_end_waits_for_what_is_not_acknowledged(proxy, origin, tmp_path):
    folder = build_module(tmp_path / "modules", "slow.c", flags=["-DACKS"])
    path, server = tmp_path / "journal", origin()
    p = proxy(extra_modules=[sink(path, ack_every="1s")], modules_dir=folder)
    download(p, server, 1000)
    until(lambda: any(kind == "stream_closed" for _, kind, _ in journal(path)), 10, "the sink to take it all")
    watch = Stopwatch()
    p.stop()
    assert watch.seconds > 0.5, "it acknowledges later"
    assert "could not be delivered" not in p.stderr()


def test_flows_wait_for_acknowledgements(proxy, origin, tmp_path):
    """A queue of 16 with 16 that are not acknowledged is full, whatever the sink took."""
    folder = build_module(tmp_path / "modules", "slow.c", flags=["-DACKS"])
    path, server = tmp_path / "journal", origin()
    p = proxy(extra_modules=[sink(path, queue={"max_events": 16, "on_full": "pause_flow"}, ack_every="200ms")],
              modules_dir=folder, workers=1)
    watch = Stopwatch()
    with p.client(seconds=60).connect(f"origin.test:{server.port}") as client:
        for _ in range(24):  # three events each
            assert client.ask("GET", "/hello", "origin.test").status == 200
    assert watch.seconds > 0.5
    p.stop()
    assert len(journal(path)) == len(p.events())


def test_metrics_of_modules_are_printed_on_sigusr2(proxy, origin, slow, tmp_path):
    path, server = tmp_path / "journal", origin()
    p = proxy(extra_modules=[sink(path), sink(tmp_path / "second") | {"name": "second"}], modules_dir=slow)
    download(p, server, 1000)
    until(lambda: all(any(kind == "stream_closed" for _, kind, _ in journal(tmp_path / name)) for name in ("journal", "second")), 10, "the flow's end")
    p.signal(signal.SIGUSR2)
    until(lambda: "# EOF\n" in p.stderr(), 10, "the metrics")
    text = p.stderr()
    count = len(journal(path))
    for line in ("# TYPE soth_slow_events_total counter", "# TYPE soth_slow_last gauge", "# TYPE soth_slow_batch_events histogram"):
        assert text.count(line + "\n") == 1
    for name in ("slow", "second"):
        assert f'soth_slow_events_total{{instance="{name}",label="all"}} {count}\n' in text
        assert f'soth_slow_last{{instance="{name}"}} {count}\n' in text
        assert f'soth_slow_batch_events_sum{{instance="{name}"}} {count}\n' in text
        buckets = [int(n) for n in re.findall(f'soth_slow_batch_events_bucket{{instance="{name}",le="[^"]*"}} ([0-9]+)\n', text)]
        assert buckets == sorted(buckets) and len(buckets) == 4 and buckets[-1] > 0
        assert f'soth_slow_batch_events_count{{instance="{name}"}} {buckets[-1]}\n' in text
