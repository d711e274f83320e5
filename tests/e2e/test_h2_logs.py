# SPDX-License-Identifier: MPL-2.0
"""Two equal runs over HTTP/2 with one worker: the same log for each stream, flow ids included. What differs by nature is left
out: the client's port, and how a body was cut. (An answer that comes while its request still does may cross it differently: none here does.)"""
import json

from harness.h2 import H2Origin, flow_of, h2_client

# The client's port, and the numbers that count the chunks of bodies, too. The log has no times unless it is told to (with_timestamps).
LEFT_OUT = {"client_addr", "sequence_id", "flow_sequence_id"}
POLICY = {"rules": [{"id": "secret", "action": "block", "path": "/secret/*"}]}


def script(client):
    """Twelve streams at once, answered, blocked, reset by either side, with bodies both ways."""
    client.until(lambda: client.settings is not None)
    asked = [client.ask("GET", "/hello"), client.ask("GET", "/bytes/300000"), client.ask("GET", "/trailers"), client.ask("GET", "/secret/1"),
             client.ask("POST", "/upload", [("content-type", "text/plain")], b"u" * 200000), client.ask("GET", "/early"),
             client.ask("GET", "/reset/8"), client.ask("HEAD", "/bytes/10"), client.ask("PUT", "/upload", (), b"e" * 50000),
             client.ask("GET", "/nothing"), client.ask("POST", "/secret/2", (), b"s" * 1000), client.ask("GET", "/head", [("x-n", "1")])]
    client.wait(*asked)
    return asked


def told(events):
    """What the log says of one stream, comparable; the chunks of a body in one."""
    found = []
    for event in events:
        if event.kind.endswith("_body_chunk"):
            size = int(event.at("bytes"))
            if found and found[-1][0] == event.kind:
                found[-1][1] += size
            else:
                found.append([event.kind, size])
            continue
        left_out = LEFT_OUT | ({"stream_key"} if event["stream_key"].startswith("flow:") else set())  # flow:<id>:<flow_sequence_id>
        found.append([event.kind, json.dumps({k: v for k, v in event.items() if k not in left_out}, sort_keys=True)])
    return [tuple(one) for one in found]


def run(proxy, origin):
    p = proxy(workers=1, policy=POLICY)
    with h2_client(p, "origin.test", origin.port) as client:
        port = client.sock.getsockname()[1]
        asked = script(client)
    _, streams = flow_of(p, port)
    assert sorted(streams) == asked
    return {number: told(events) for number, events in streams.items()}


def test_two_equal_runs_give_equal_logs(proxy, authority):
    origin = H2Origin(authority.leaf("origin.test"))
    try:
        first, second = run(proxy, origin), run(proxy, origin)
    finally:
        origin.close()
    assert [e[-1][0] for e in first.values()] == ["stream_closed"] * 12
    for number, events in first.items():
        assert events == second[number], number
