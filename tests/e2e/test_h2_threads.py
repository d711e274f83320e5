# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 on two workers at once, what they share being changed meanwhile: the thread sanitizer's build runs it."""
import concurrent.futures

import pytest

from harness.h2 import H2Client, H2Origin
from harness.timing import until

NAMES = ("origin.test", "*.origin.test")
CLIENTS, ROUNDS = 6, 4


@pytest.fixture(params=["h2", "h1"])
def behind(request, proxy, authority):
    """(proxy, origin) of a reverse listener with TLS."""
    secure = request.param == "h2"
    origin = H2Origin(authority.leaf(*NAMES) if secure else None, http1=not secure)
    yield proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}], workers=2,
                reverse_upstream={"host": "origin.test", "port": origin.port} | ({"tls": True} if secure else {}),
                policy={"rules": [{"id": "no-secret", "action": "block", "path": "/secret*"}]},
                extra_modules=[{"module": "content_decode"}, {"module": "grpc"}]), origin
    origin.close()


def work(p, wire, number):
    with H2Client(wire.sock, f"origin.test:{p.port}") as client:
        for turn in range(ROUNDS):
            asked = [client.ask("GET", "/bytes/50000"), client.ask("GET", "/secret"), client.ask("GET", "/trailers"),
                     client.ask("POST", "/upload", [("content-type", "application/grpc")], body=b"\0\0\0\0\5hello" * 1000)]
            held = client.ask("GET", "/hold")
            got = client.wait(*asked)
            assert [a.status for a in got] == [200, 403, 200, 200] and len(got[0].body) == 50000, (number, turn)
            client.conn.reset_stream(held, 8)
            client.flush()
    return 5 * ROUNDS


def test_many_clients_on_two_workers(behind):
    p, origin = behind
    wires = [p.client().start_tls(p.trust(alpn=("h2",)), "origin.test") for _ in range(CLIENTS)]
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [pool.submit(work, p, wire, number) for number, wire in enumerate(wires)]
        p.reload()
        p.metrics()
        streams = sum(job.result() for job in jobs)
    closed = until(lambda: (lambda c: c if len(c) >= streams + CLIENTS else None)(p.log.find("stream_closed")), 20, "all ends")
    assert len([e for e in closed if "parent_flow_id" in e]) == streams
    assert len({e.flow for e in closed}) == len(closed) == streams + CLIENTS
    assert not [r for r in origin.requests if r["url"] == "/secret"]
