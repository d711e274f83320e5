# SPDX-License-Identifier: MPL-2.0
"""Frames that are no good, before a policy that judges them: what has no verdict does not pass, whatever it is and however it ends."""
import threading
import zlib

import pytest

from harness.timing import scaled
from harness.wire import Cut

KEY = b"\1\2\3\4"
BLOCKED = ("blocked", "bad-frame")


def frame(side, opcode, payload, fin=True, rsv=0, length=None):
    """A frame of that side; length: what its head says, when that is a lie."""
    n, masked = len(payload) if length is None else length, side == "client"
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | min(n, 126)]) + (n.to_bytes(2, "big") if n > 125 else b"")
    return head + (KEY + bytes(c ^ KEY[i % 4] for i, c in enumerate(payload)) if masked else payload)


def close(side, code=1000):
    return frame(side, 8, code.to_bytes(2, "big"))


def deflated(text):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (c.compress(text) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Peers:
    def __init__(self, client, server):
        self.client, self.server = client, server

    def of(self, side):
        return (self.client, self.server) if side == "client" else (self.server, self.client)


@pytest.fixture
def peers(watching, judges, origin):
    """peers(ws={}, extensions="") -> the proxy and both ends of a WebSocket, by hand."""
    over, opened = threading.Event(), []

    def start(ws=None, extensions=""):
        ends, there = [], threading.Event()

        def upgrade(wire, _request):
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      + (f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else "").encode() + b"\r\n")
            ends.append(wire)
            there.set()
            over.wait(scaled(60))
            return False

        server, p = origin(routes={"/chat": upgrade}), watching(ws, modules=[{"module": "frames"}], modules_dir=judges)
        client = p.client().connect(f"origin.test:{server.port}")
        opened.append(client)
        assert client.ask("GET", "/chat", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                                          ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]).status == 101
        assert there.wait(scaled(10))
        return p, Peers(client, ends[0])

    yield start
    over.set()
    for client in opened:
        client.close()


def rest(wire):
    try:
        return wire.rest()
    except (Cut, ConnectionError):
        return b""


def is_policy_close(side, got):
    """1008 and nothing else, from that side's peer's point of view."""
    if side == "server":
        return got == b"\x88\x08\x03\xf0policy"
    key, payload = got[2:6], got[6:]
    return got[:2] == b"\x88\x88" and bytes(c ^ key[i % 4] for i, c in enumerate(payload)) == b"\x03\xf0policy"


SIDES = pytest.mark.parametrize("side", ["client", "server"])


@SIDES
@pytest.mark.parametrize("sent", [
    lambda s: frame(s, 1, b"BLOCK this", length=100),
    lambda s: frame(s, 1, b"BLO", fin=False) + frame(s, 0, b"CK", fin=False),
    lambda s: frame(s, 1, b"BLO", fin=False) + frame(s, 9, b"") + frame(s, 0, b"CK")[:-1],
], ids=["frame", "message", "fragment"])
def test_what_is_not_whole_at_the_end_does_not_pass(peers, side, sent):
    p, both = peers()
    here, there = both.of(side)
    here.send(frame(side, 1, b"fine") + sent(side))
    assert there.exactly(len(frame(side, 1, b"fine"))) == frame(side, 1, b"fine")
    here.finish()
    assert rest(there) == b""
    there.close()
    assert p.wait_closed()[0].at("reason_detail") == "truncated"


@SIDES
@pytest.mark.parametrize("sent", [
    lambda s: frame(s, 3, b"BLOCK"),
    lambda s: frame(s, 0, b"BLOCK"),
    lambda s: frame(s, 9, b"x" * 150 + b"BLOCK"),
    lambda s: frame(s, 1, b"BLO", fin=False, rsv=2) + frame(s, 0, b"CK"),
    lambda s: frame(s, 1, b"BLO", fin=False) + frame(s, 0, b"CK", fin=False) + close(s),
    lambda s: frame(s, 1, b"BLO", fin=False) + frame(s, 1, b"CK"),
], ids=["reserved", "stray", "ping", "rsv", "closed", "broken off"])
def test_whatever_it_is_it_is_judged(peers, side, sent):
    p, both = peers()
    here, there = both.of(side)
    here.send(sent(side))
    assert is_policy_close(side, rest(there))
    p.closed_as(*BLOCKED)


@SIDES
def test_what_follows_a_close_is_judged(peers, side):
    p, both = peers()
    here, there = both.of(side)
    here.send(close(side) + frame(side, 1, b"BLOCK"))
    assert rest(there) == close(side)
    p.closed_as(*BLOCKED)


@SIDES
def test_a_close_within_a_message_goes_on(peers, side):
    """RFC 6455 5.5.1: it is the last frame. What there is of the message has been judged, and goes with it."""
    p, both = peers()
    here, there = both.of(side)
    sent = frame(side, 1, b"fine", fin=False) + close(side) + frame(side, 9, b"late")
    here.send(sent)
    assert there.exactly(len(sent)) == sent
    other = "server" if side == "client" else "client"
    there.send(close(other))
    assert here.exactly(len(close(other))) == close(other)
    both.client.close()
    both.server.close()
    p.wait_closed()


@SIDES
@pytest.mark.parametrize("on_overflow", ["detach", "close"])
@pytest.mark.parametrize("broken", [b"\xfe\xfd\xfc", deflated(b"hello world")[:5]], ids=["rubbish", "cut"])
def test_what_cannot_be_inflated_cannot_be_judged(peers, side, on_overflow, broken):
    p, both = peers({"on_overflow": on_overflow}, "permessage-deflate")
    here, there = both.of(side)
    good, bad = frame(side, 1, deflated(b"fine"), rsv=4), frame(side, 1, broken, rsv=4)
    here.send(good + bad)
    if on_overflow == "detach":
        assert there.exactly(len(good + bad)) == good + bad
    else:
        assert rest(there) == good
    both.client.close()
    both.server.close()
    p.wait_closed()
    failed, = p.log.find("decoder_stage_failed")
    assert (failed.at("failure_code"), failed.at("action")) == ("invalid_deflate", "detached" if on_overflow == "detach" else "closed")
    assert failed.at("bytes_in") == str(len(good + bad))
