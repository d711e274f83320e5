# SPDX-License-Identifier: MPL-2.0
"""h2load in ramps of streams and header sizes through a reverse listener with TLS, memory looked at; and what one stalled stream costs
the 99 beside it, as a figure. A lane: rates are printed, never judged here."""
import os
import pathlib
import re
import statistics
import time

import pytest

from harness.h2 import H2Client, H2Origin
from harness.tools import need, run

if os.environ.get("SOTH_LANE") != "1":
    pytest.skip("scripts/lane h2load", allow_module_level=True)

REQUESTS = int(os.environ.get("SOTH_LANE_REQUESTS", "6000"))
CONNECTIONS = 4
REVERSE = {"listen": [{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}]}
ROOM = 96 << 20  # streams that are open, their heads, windows, and the log's queue


@pytest.fixture
def behind(proxy, authority):
    origin = H2Origin(authority.leaf("origin.test"))
    yield proxy(**REVERSE, reverse_upstream={"host": "origin.test", "port": origin.port, "tls": True}), origin
    origin.close()


def load(p, path, streams, *args):
    """h2load to the proxy with the name of the origin: requests a second. Each request must have come back with 200."""
    done = run([need("h2load"), "-t1", f"-c{CONNECTIONS}", f"-m{streams}", f"-n{REQUESTS}", f"--connect-to=127.0.0.1:{p.port}", *args,
                f"https://origin.test:{p.port}{path}"], 300)
    said = done.stdout.decode()
    assert f"{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert f"status codes: {REQUESTS} 2xx" in said, said
    return float(re.search(r"([0-9.]+) req/s", said).group(1))


def test_streams(behind, record_property):
    p, _ = behind
    load(p, "/hello", 10)  # what a process needs once
    before, rows = p.resident(), []
    for streams in (1, 10, 50, 100, 128):
        rate = load(p, "/hello", streams)
        rows.append(f"streams {streams:3}: {rate:6.0f} requests/s, resident {p.resident() >> 20} MB")
    if not p.is_sanitized():
        assert p.resident() < before + ROOM, rows
    for row in rows:
        record_property("row", ("h2load", row))


def test_header_sizes(behind, record_property):
    p, _ = behind
    load(p, "/hello", 10)
    before, rows = p.resident(), []
    for size in (100, 1000, 4000, 15000):
        fields = ["-H", "x-load: " + "v" * size]
        rate = load(p, "/hello", 20, *fields)
        rows.append(f"headers {size:5} bytes: {rate:6.0f} requests/s, resident {p.resident() >> 20} MB")
    if not p.is_sanitized():
        assert p.resident() < before + ROOM, rows
    for row in rows:
        record_property("row", ("h2load", row))


# ---- one stalled stream among 100

BODY = 256 << 10
ROUNDS = 5
PAIRS = 12


def download(p, stall):
    """MB/s of 99 streams at once; stall: beside one whose window stays shut with a body of 24 MB waiting."""
    wire = p.client(seconds=120).start_tls(p.trust(alpn=("h2",)), "origin.test")
    with H2Client(wire.sock, f"origin.test:{p.port}", auto=False) as client:
        client.until(lambda: client.settings is not None)
        client.conn.increment_flow_control_window((1 << 30))
        client.flush()
        stalled = client.ask("GET", f"/bytes/{24 << 20}") if stall else None
        if stall:
            client.until(lambda: len(client.streams[stalled].body) == 65535)  # the first window of a stream
        start, size = time.monotonic(), 0
        for _ in range(ROUNDS):
            streams = []
            for _ in range(99):
                streams.append(client.ask("GET", f"/bytes/{BODY}"))
                client.conn.increment_flow_control_window(BODY, streams[-1])
            client.flush()
            for one in client.wait(*streams):
                assert one.status == 200 and len(one.body) == BODY
                size += len(one.body)
        seconds = time.monotonic() - start
        if stall:
            assert not client.streams[stalled].over and len(client.streams[stalled].body) == 65535
    return size / seconds / 1e6


def processor_seconds(p):
    fields = pathlib.Path(f"/proc/{p.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_one_stalled_stream(behind, record_property):
    """The same with it and without it, in pairs, whose first is the one and the other by turns. The rate is the client's, too, and the
    machine's; the proxy's own time is not."""
    p, _ = behind
    download(p, False)
    rates, spent = {False: [], True: []}, {False: 0, True: 0}
    for number in range(PAIRS):
        for stall in (number % 2 == 0, number % 2 != 0):
            before = processor_seconds(p)
            rates[stall].append(download(p, stall))
            spent[stall] += processor_seconds(p) - before
    ratios = sorted(beside / alone for alone, beside in zip(rates[False], rates[True]))
    alone, beside = (statistics.median(rates[stall]) for stall in (False, True))
    record_property("row", ("h2stall", f"99 streams: {alone:.0f} MB/s alone, {beside:.0f} MB/s beside a stalled one (medians of {PAIRS}); ratio of pairs: "
                            f"median {statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}; the proxy's processor time "
                            f"{spent[False]:.2f} s alone, {spent[True]:.2f} s beside it"))
