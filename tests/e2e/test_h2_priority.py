# SPDX-License-Identifier: MPL-2.0
"""RFC 9218: the priority field goes on as it is, and a PRIORITY_UPDATE goes to an origin that has said that it wants them, with the number of its own stream."""
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from harness.h2 import h2_client
from harness.timing import until

NO_RFC7540_PRIORITIES, PRIORITY_UPDATE = 9, 16


class Hearing:
    """An origin that answers a stream when it is let, and notes heads and PRIORITY_UPDATEs."""

    def __init__(self, wants):
        self.wants, self.heads, self.updates, self.answer = wants, {}, [], threading.Event()

    def __call__(self, wire):
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if self.wants:
            conn.local_settings = h2.settings.Settings(client=False, initial_values={**conn.local_settings, NO_RFC7540_PRIORITIES: 1})
        conn.initiate_connection()
        wire.sock.sendall(conn.data_to_send())
        wire.sock.settimeout(0.1)
        waiting = set()
        while True:
            try:
                data = wire.sock.recv(65536)
                if not data:
                    return
                for event in conn.receive_data(data):
                    self.note(event, waiting)
            except TimeoutError:
                pass
            while self.answer.is_set() and waiting:
                conn.send_headers(waiting.pop(), [(":status", "204")], end_stream=True)
            wire.sock.sendall(conn.data_to_send())

    def note(self, event, waiting):
        if isinstance(event, h2.events.RequestReceived):
            self.heads[event.stream_id] = dict(event.headers)
            waiting.add(event.stream_id)
        elif isinstance(event, h2.events.UnknownFrameReceived) and event.frame.type == PRIORITY_UPDATE:
            self.updates.append((int.from_bytes(event.frame.body[:4], "big"), event.frame.body[4:]))


def update(stream, value):
    return (len(value) + 4).to_bytes(3, "big") + bytes([PRIORITY_UPDATE, 0]) + bytes(4) + stream.to_bytes(4, "big") + value


@pytest.mark.parametrize("wants", [True, False])
def test_priority(proxy, origin, authority, wants):
    context = authority.server("origin.test")
    context.set_alpn_protocols(["h2"])
    hearing = Hearing(wants)
    server, p = origin(hearing, tls=context), proxy(policy={"rules": [{"id": "no", "action": "block", "path": "/no"}]})
    with h2_client(p, "origin.test", server.port) as client:
        assert client.get("/no").status == 403  # the origin's streams have other numbers from here on
        asked = [client.ask("GET", f"/{n}", [("priority", f"u={n}, i")]) for n in (1, 2)]
        until(lambda: len(hearing.heads) == 2, 10, "both requests")
        client.raw(update(asked[1], b"u=7"))
        client.raw(update(asked[0], b"u=0, i"))
        last = client.ask("GET", "/3")  # behind the updates
        until(lambda: len(hearing.heads) == 3, 10, "the third request")
        client.raw(update(last + 2, b"u=4") + update(last + 2, b"u=5"))  # before it begins: the later one counts
        later = client.ask("GET", "/4")
        until(lambda: len(hearing.heads) == 4 and (not wants or len(hearing.updates) == 3), 10, "the fourth request")
        hearing.answer.set()
        assert later == last + 2 and [a.status for a in client.wait(*asked, last, later)] == [204] * 4
    paths = {head[":path"]: number for number, head in hearing.heads.items()}
    assert [hearing.heads[paths[f"/{n}"]].get("priority") for n in (1, 2, 3)] == ["u=1, i", "u=2, i", None]
    assert hearing.updates == ([(paths["/2"], b"u=7"), (paths["/1"], b"u=0, i"), (paths["/4"], b"u=5")] if wants else [])
    assert paths["/1"] != asked[0]
