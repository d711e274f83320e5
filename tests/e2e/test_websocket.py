# SPDX-License-Identifier: MPL-2.0
"""WebSockets through the proxy, with the clients and servers that people use: what they say arrives, and frames, messages and turns are events."""
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harness import chromium
from harness.modules import module_metric
from harness.origin import reply
from harness.timing import scaled, span, until
from harness.tools import clean_env, missing, need, node_modules, run
from harness.websocket import echo, for_threads

HERE = pathlib.Path(__file__).parent

def client(p, port, tls=True, **kwargs):
    secure = {"ssl": for_threads(p.trust(alpn=None))} if tls else {}
    return connect(f"{'wss' if tls else 'ws'}://origin.test:{port}/chat", proxy=p.url, open_timeout=scaled(15), close_timeout=scaled(10), **secure,
                   **kwargs)


def told(p, *kinds):
    return [e for e in p.events() if e.kind in kinds]


@pytest.mark.parametrize("tls", [True, False])
def test_echo(watching, serving, tls):
    server, p = serving(echo, tls, subprotocols=["chat.v1"]), watching()
    with client(p, server.port, tls, subprotocols=["chat.v1"], compression=None) as ws:
        for message in ("hello", b"\x00\xff" * 40000, ""):
            ws.send(message)
            assert ws.recv(timeout=scaled(10)) == message
        assert ws.ping().wait(scaled(10))
    events = p.closed_as("websocket_completed")
    assert [e["protocol"] for e in events if e.kind.startswith("ws_") or e.kind == "stream_closed"] == ["ws"] * len(
        [e for e in events if e.kind.startswith("ws_")] + [0])
    opened = told(p, "ws_opened")[0]
    assert opened.at("subprotocol") == "chat.v1" and opened.at("extensions") is None and opened.at("exchange_no") == "1"
    messages = [(e.at("direction"), e.at("opcode_label"), e.at("payload_len"), e.at("message_no")) for e in told(p, "ws_message")]
    assert messages == [("client_to_server", "text", "5", "1"), ("server_to_client", "text", "5", "2"),
                        ("client_to_server", "binary", "80000", "3"), ("server_to_client", "binary", "80000", "4"),
                        ("client_to_server", "text", "0", "5"), ("server_to_client", "text", "0", "6")]
    closed = told(p, "ws_closed")[0]
    assert (closed.at("close_code"), closed.at("initiated_by"), closed.at("violation")) == ("1000", "client", None)
    frames = told(p, "ws_frame")
    assert [e.at("sequence_no") for e in frames] == [str(n + 1) for n in range(10)]
    assert all(e.at("masked") == ("true" if e.at("direction") == "client_to_server" else "false") for e in frames)
    assert all(e.at("violation") is None for e in frames)
    assert events[-1].at("bytes_from_client") is not None


def test_events_have_the_same_number_whoever_listens(watching, serving):
    server, numbers = serving(echo), []
    for sink in ({}, {"sink_top": {"events": ["stream_closed"]}}):
        p = watching({"turn_idle": span(0.5)}, **sink)
        p.checks["complete"] = not sink
        with client(p, server.port) as ws:
            for pause in (0, scaled(1.2)):  # one turn ends with the next message, one in silence, one with the conversation
                ws.send("hello")
                assert ws.recv(timeout=scaled(10)) == "hello"
                time.sleep(pause)
            ws.send("hello")
            assert ws.recv(timeout=scaled(10)) == "hello"
        p.wait_closed()
        numbers.append(told(p, "stream_closed")[0]["flow_sequence_id"])
    assert numbers[0] == numbers[1]


def test_compressed(watching, serving):
    server, p = serving(echo), watching(sink_top={"payload": "full"})
    text = "the same words again and again, " * 2000
    with client(p, server.port) as ws:
        for n in range(3):
            ws.send(text + str(n))
            assert ws.recv(timeout=scaled(10)) == text + str(n)
    p.closed_as("websocket_completed")
    assert told(p, "ws_opened")[0].at("extensions").startswith("permessage-deflate")
    messages = told(p, "ws_message")
    assert [e.at("inflated_len") for e in messages] == [str(len(text) + 1)] * 6
    assert all(int(e.at("payload_len")) < 2000 and e.at("violation") is None for e in messages)
    assert [e.at("data") for e in messages] == [text + str(n // 2) for n in range(6)]


def test_a_client_that_goes_without_a_word(watching, serving):
    gone = threading.Event()

    def handler(peer):
        with pytest.raises(ConnectionClosed):
            peer.recv()
            peer.recv()
        gone.set()

    server, p = serving(handler, tls=False), watching()
    ws = client(p, server.port, tls=False, compression=None)
    ws.send("one")
    ws.socket.shutdown(2)
    assert gone.wait(scaled(10))
    p.closed_as("websocket_error", "eof_without_close")
    turn = told(p, "ws_turn_completed")
    assert [(e.at("flush_reason"), e.at("client_frame_count"), e.at("server_frame_count")) for e in turn] == [("eof", "1", "0")]
    assert told(p, "ws_closed")[0].at("violation") == "eof_without_close"


def test_a_client_that_breaks_off(watching, origin):
    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        wire.send(frame(0x81, wire.exactly(9)[6:]))
        wire.rest()
        return False

    server, p = origin(routes={"/talk": upgrade}), watching()
    raw = p.client().connect(f"origin.test:{server.port}")
    assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
    raw.send(frame(0x81, b"one", b"\0\0\0\0"))
    assert raw.exactly(5) == frame(0x81, b"one")
    raw.reset()
    p.closed_as("client_aborted", "ws")
    assert [e.at("flush_reason") for e in told(p, "ws_turn_completed")] == ["error"]
    assert told(p, "ws_closed")[0].at("violation") == "cut_without_close"


def test_floods(watching, origin):
    """Pings without end: observation ends and says why, the bytes go on; with on_overflow: close nothing goes on."""
    ping = frame(0x89, b"", b"abcd")
    for on_overflow in ("detach", "close"):
        over, got = threading.Event(), []

        def upgrade(wire, _request, over=over, got=got):
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            try:
                while len(got) < 300:
                    got.append(wire.exactly(6))
            finally:
                over.set()
            return False

        server, p = origin(routes={"/talk": upgrade}), watching(config={"max_small_frames": 100, "on_overflow": on_overflow})
        with p.client().connect(f"origin.test:{server.port}") as raw:
            assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
            raw.send(ping * 300)
            assert over.wait(scaled(10))
        failed = p.wait_event("decoder_stage_failed")
        assert (failed.at("failure_code"), failed.at("action")) == ("frame_flood", "detached" if on_overflow == "detach" else "closed")
        assert (len(got) == 300) == (on_overflow == "detach")
        p.wait_closed()
        assert len(told(p, "ws_frame")) == 101 and told(p, "ws_closed")[0].at("violation") == "frame_flood"


# ---- policies that judge frames

@pytest.fixture
def judging(watching, judges):
    def start(frames=None, **kwargs):
        return watching(modules=[{"module": "frames", "config": frames or {}}], modules_dir=judges, **kwargs)
    return start


class Closes:
    """A server's handler that keeps what it got and how it ended."""

    def __init__(self, answer=None):
        self.got, self.code, self.reason, self.over = [], None, None, threading.Event()
        self.answer = answer

    def __call__(self, peer):
        try:
            while True:
                self.got.append(peer.recv())
                peer.send(self.answer or self.got[-1])
        except ConnectionClosed as closed:
            if closed.rcvd:
                self.code, self.reason = closed.rcvd.code, closed.rcvd.reason
        self.over.set()


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_blocked_message_closes_both_sides(judging, serving, tls, compression):
    handler = Closes()
    server, p = serving(handler, tls), judging()
    with client(p, server.port, tls, compression=compression) as ws:
        ws.send("fine")
        assert ws.recv(timeout=scaled(10)) == "fine"
        ws.send("please BLOCK this")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=scaled(10))
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "policy")
    assert handler.over.wait(scaled(10))
    assert handler.got == ["fine"] and (handler.code, handler.reason) == (1008, "policy")
    p.closed_as("blocked", "bad-frame")
    told_end = told(p, "ws_closed")[0]
    assert (told_end.at("close_code"), told_end.at("initiated_by")) == ("1008", "proxy")
    decisions = told(p, "frame_decision")
    assert [(e.at("action"), e.at("direction")) for e in decisions] == [("block", "client_to_server")]


def test_a_blocked_answer_closes_both_sides(judging, serving):
    handler = Closes("never say BLOCK")
    server, p = serving(handler), judging()
    with client(p, server.port) as ws:
        ws.send("go on")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=scaled(10))
        assert closed.value.rcvd.code == 1008
    assert handler.over.wait(scaled(10))
    assert handler.code == 1008
    p.closed_as("blocked", "bad-frame")


def test_a_message_is_judged_whole(judging, serving):
    """What is forbidden is in two fragments, with a ping between them: nothing of it arrives."""
    handler = Closes()
    server, p = serving(handler), judging()
    with client(p, server.port, compression=None) as ws:
        def pieces():
            yield "BLO"
            ws.ping()
            yield "CK"

        ws.send(pieces())
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=scaled(10))
        assert closed.value.rcvd.code == 1008
    assert handler.over.wait(scaled(10))
    assert handler.got == [] and handler.code == 1008
    p.closed_as("blocked", "bad-frame")


def test_messages_wait_for_their_verdict(judging, serving):
    server, p = serving(echo), judging({"delay": "200ms"})
    with client(p, server.port, compression=None) as ws:
        begin = time.monotonic()
        for word in ("WAIT", "plain", "BUSY a moment", b"x" * 60000):
            ws.send(word)
            assert ws.recv(timeout=scaled(10)) == word
        assert time.monotonic() - begin >= 0.8  # WAIT: both frame and message, both ways
    p.closed_as("websocket_completed")
    assert module_metric(p, "soth_frames_waited_total") == 4


def test_messages_may_be_added(judging, serving):
    server, p = serving(echo), judging()
    with client(p, server.port) as ws:
        ws.send("INJECT please")
        # what is added goes behind what was allowed so far; what the server gets in addition it echoes, too
        got = [ws.recv(timeout=scaled(10)) for _ in range(4)]
        assert sorted(got) == ["INJECT please", "one more", "one more", "one more"]
    p.closed_as("websocket_completed")
    assert module_metric(p, "soth_frames_refused_total") == 0


@pytest.mark.parametrize("on_overflow", ["detach", "close"])
def test_what_is_too_long_to_be_judged(judging, serving, on_overflow):
    handler = Closes()
    server, p = serving(handler, max_size=None), judging(config={"on_overflow": on_overflow})
    with client(p, server.port, compression=None, max_size=None) as ws:
        if on_overflow == "detach":
            ws.send(b"x" * 70000)
            assert ws.recv(timeout=scaled(10)) == b"x" * 70000
        else:
            with pytest.raises(ConnectionClosed):
                ws.send(b"x" * 70000)
                ws.recv(timeout=scaled(10))
    assert handler.over.wait(scaled(10))
    p.closed_as(*(("websocket_completed",) if on_overflow == "detach" else ("websocket_error", "decoder_stage_failed")))
    failed = told(p, "decoder_stage_failed")[0]
    assert (failed.at("failure_code"), failed.at("action")) == ("window", "detached" if on_overflow == "detach" else "closed")


# ---- turns

TURNS = [
    # what is said in order: c client, s server; a number lets the turn end by silence; pieces are fragments; ~ takes longer than that; X closes
    ("the client begins, one answer", "c s c s cX", [("client", 1, 1, "rollover"), ("client", 1, 1, "rollover"), ("client", 2, 0, "close_frame")]),
    ("the server begins", "s c s c sX", [("server", 1, 1, "rollover"), ("server", 1, 1, "rollover"), ("server", 0, 2, "close_frame")]),
    ("several before the answer", "c c s s c", [("client", 2, 2, "rollover"), ("client", 1, 0, "eof")]),
    ("fragments belong together", "c.c.c s.s c", [("client", 3, 2, "rollover"), ("client", 1, 0, "eof")]),
    ("silence after both spoke", "c s 1 s c 1 cX",
     [("client", 1, 1, "idle_timeout"), ("server", 1, 1, "idle_timeout"), ("client", 2, 0, "close_frame")]),
    ("silence of one is none", "c 1 s 1", [("client", 1, 1, "idle_timeout")]),
    ("a slow frame is none", "c s s~ c s c~", [("client", 1, 2, "rollover"), ("client", 1, 1, "rollover"), ("client", 1, 0, "eof")]),
    ("an end in the middle", "c s", [("client", 1, 1, "eof")]),
]


class Talk:
    """Both ends of a WebSocket by hand, so that the order of frames is exactly the script's."""

    def __init__(self, client, server):
        self.ends = {"c": (client, server), "s": (server, client)}

    @staticmethod
    def frame(who, opcode, payload, fin=True):
        mask = who == "c"
        head = bytes([(0x80 if fin else 0) | opcode, (0x80 if mask else 0) | len(payload)])
        return head + (b"\0\0\0\0" if mask else b"") + payload

    def say(self, who, opcode, payload, fin=True, pause=0):
        """Waits until it has arrived: the next word comes after it. With a pause two bytes at a time."""
        sender, receiver = self.ends[who]
        frame = self.frame(who, opcode, payload, fin)
        for piece in [frame[i:i + 2] for i in range(0, len(frame), 2)] if pause else [frame]:
            time.sleep(pause)
            sender.send(piece)
            assert receiver.exactly(len(piece)) == piece


IDLE = scaled(1.5)


def silence(p):
    """Until a turn has ended by it, or for so long that one would have."""
    before, deadline = len(told(p, "ws_turn_completed")), time.monotonic() + 2 * IDLE
    while len(told(p, "ws_turn_completed")) == before and time.monotonic() < deadline:
        time.sleep(0.02)


def play(p, talk, script):
    for word in script.split():
        if word == "1":
            silence(p)
            continue
        pieces = word.rstrip("X").split(".")
        for i, piece in enumerate(pieces):
            pause = 0.4 * IDLE if piece.endswith("~") else 0
            talk.say(piece[0], 0 if i else 1, b"word", fin=i + 1 == len(pieces), pause=pause)
        if word.endswith("X"):
            talk.say(pieces[0][0], 8, b"\x03\xe8")


@pytest.mark.parametrize("name,script,wanted", TURNS, ids=[t[0] for t in TURNS])
def test_turns_are_where_the_table_has_them(watching, origin, record_property, name, script, wanted):
    talking, over = threading.Event(), threading.Event()
    held = []

    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        held.append(wire)
        talking.set()
        over.wait(30)
        return False

    server, p = origin(routes={"/talk": upgrade}), watching(config={"turn_idle": f"{int(IDLE * 1000)}ms"} if set("1~") & set(script) else {})
    with p.client().connect(f"origin.test:{server.port}") as raw:
        assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
        assert talking.wait(10)
        play(p, Talk(raw, held[0]), script)
        over.set()
    p.wait_closed()
    got = [(e.at("initiated_by"), int(e.at("client_frame_count")), int(e.at("server_frame_count")), e.at("flush_reason"))
           for e in told(p, "ws_turn_completed")]
    record_property("row", ("turns of a conversation", f"{name:28} {script:16} {' | '.join(f'{i} {c}+{s} {r}' for i, c, s, r in got)}"))
    assert got == wanted
    started = told(p, "ws_turn_started")
    assert [e.at("turn_id") for e in started] == [e.at("turn_id") for e in told(p, "ws_turn_completed")]
    numbers = [(int(e.at("first_frame_no")), int(e.at("last_frame_no"))) for e in told(p, "ws_turn_completed")]
    assert all(a[1] < b[0] for a, b in zip(numbers, numbers[1:])) and all(first <= last for first, last in numbers)


# ---- other people's clients

@pytest.mark.parametrize("kind", ["ws", "undici"])
def test_node(watching, serving, kind):
    server, p = serving(echo, subprotocols=["chat.v1"]), watching()
    env = clean_env(NODE_PATH=node_modules(), NODE_EXTRA_CA_CERTS=p.ca_path, HTTPS_PROXY=p.url)
    if not os.path.isdir(os.path.join(node_modules(), "ws")):
        missing("ws is not installed (npm ci --prefix tests/e2e/node)")
    done = run([need("node"), HERE / "node" / "websocket.cjs", kind, f"wss://origin.test:{server.port}/chat"], env=env)
    said = json.loads(done.stdout)
    assert said["came"] == ["hello", "ä€😀", 100000, ""] and said["protocol"] == "chat.v1" and said["code"] == 1000
    p.closed_as("websocket_completed")
    texts = [e.at("opcode_label") for e in told(p, "ws_message")]
    assert texts == ["text"] * 8 and not [e for e in told(p, "ws_frame", "ws_message", "ws_closed") if e.at("violation")]
    assert (told(p, "ws_closed")[0].at("close_code"), told(p, "ws_closed")[0].at("close_reason")) == ("1000", "enough")


def websocat():
    """scripts/setup --lanes builds it, where cargo can."""
    here = HERE.parent.parent / "build" / "tools" / "bin" / "websocat"
    found = shutil.which("websocat") or (str(here) if here.exists() else None)
    return found or pytest.skip("websocat is not installed (scripts/setup --lanes)")


def test_websocat(watching, serving):
    server, p = serving(echo, tls=False), watching()
    tunnel = f"PROXY:127.0.0.1:origin.test:{server.port},proxyport={p.port}"
    words = [b"hello", b"x" * 3000, "äöü".encode()]
    with subprocess.Popen([websocat(), "--text", "--no-close", "--ws-c-uri", f"ws://origin.test:{server.port}/chat", "-", f"ws-c:cmd:{need('socat')} - {tunnel}"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env()) as talk:
        for word in words:
            talk.stdin.write(word + b"\n")
            talk.stdin.flush()
            assert talk.stdout.readline() == word + b"\n"
        until(lambda: len(told(p, "ws_message")) == 6, 10, "six messages")
        talk.terminate()
    messages = told(p, "ws_message")
    assert [e.at("direction") for e in messages] == ["client_to_server", "server_to_client"] * 3
    assert [e.at("payload_len") for e in messages[::2]] == [str(len(word) + 1) for word in words]
    p.wait_closed()
    assert {e.at("violation") for e in told(p, "ws_frame")} == {None}


PAGE = b"""<!doctype html><meta charset=utf-8><title>waiting</title><body><img src=/wait><script>
const ws = new WebSocket('wss://origin.test:' + location.hash.slice(1) + '/chat');
const words = ['one', 'two', 'x'.repeat(70000)];
let n = 0;
ws.onopen = () => ws.send(words[0]);
ws.onmessage = (e) => { if (e.data === words[n]) n++; if (n < words.length) ws.send(words[n]); else ws.close(4001, 'done'); };
ws.onclose = (e) => fetch('/done?' + n + '-' + e.code + '-' + e.wasClean);
</script></body>"""


@pytest.mark.slow
def test_chromium(watching, serving, origin, tmp_path):
    server, ended = serving(echo), threading.Event()
    result = []

    def done_with(wire, request):
        result.append(request.head.target)
        ended.set()
        wire.send(reply())

    def wait(wire, _request):  # the page is not loaded, and not dumped, before it has told how it ended
        ended.wait(scaled(20))
        wire.send(reply())

    page = origin(tls=True, routes={"/": lambda wire, _: wire.send(reply(body=PAGE, fields=[("Content-Type", "text/html")])), "/done": done_with,
                                    "/wait": wait})
    p = watching(policy=chromium.PAGE_ALONE)
    done = chromium.load(p, f"https://origin.test:{page.port}/#{server.port}", tmp_path)
    assert result == ["/done?3-4001-true"], done.stdout[-800:] + done.stderr[-800:]
    closed = p.wait_event("ws_closed")
    assert (closed.at("close_code"), closed.at("close_reason"), closed.at("violation")) == ("4001", "done", None)
    assert [e.at("inflated_len") for e in told(p, "ws_message")] == ["3", "3", "3", "3", "70000", "70000"]


# ---- whatever frames look like

def frame(first, payload=b"", mask=None, length=None):
    size = bytes([(0x80 if mask else 0) | len(payload)]) if length is None else length
    return bytes([first]) + size + (mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if mask else payload)


STRANGE = [  # from the client; the server says the same without a mask
    ("reserved_bits", frame(0xf1, b"a", b"abcd")), ("reserved_opcode", frame(0x83, b"a", b"abcd")), ("unmasked_client_frame", frame(0x81, b"a")),
    ("length_not_minimal", frame(0x81, b"a", b"abcd", b"\xff\0\0\0\0\0\0\0\1")), ("control_fragmented", frame(0x09, b"a", b"abcd")),
    ("unexpected_continuation", frame(0x80, b"a", b"abcd")), ("close_code", frame(0x88, b"\x03\xed", b"abcd")), ("after_close", frame(0x81, b"late", b"abcd")),
]


@pytest.mark.parametrize("judged", [False, True])
def test_broken_rules_are_told_and_every_byte_passes(watching, judging, origin, judged):
    over, held = threading.Event(), []

    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n")
        held.append(wire)
        over.wait(30)
        return False

    server, p = origin(routes={"/talk": upgrade}), judging() if judged else watching()
    with p.client().connect(f"origin.test:{server.port}") as raw:
        assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
        until(lambda: held, 10, "the upgrade")
        for _, strange in STRANGE:
            raw.send(strange)
            assert held[0].exactly(len(strange)) == strange
        held[0].send(frame(0x82, b"b", b"abcd"))
        assert raw.exactly(7) == frame(0x82, b"b", b"abcd")
        over.set()
    p.closed_as("websocket_error", "reserved_bits")
    violations = [e.at("violation") for e in told(p, "ws_frame")]
    assert violations == [name for name, _ in STRANGE] + ["masked_server_frame"]


@pytest.mark.parametrize("before,broken", [(b"", "length_too_big"), (frame(0xb1, b"a", b"abcd"), "reserved_bits")])
def test_a_length_that_cannot_be_followed(watching, origin, before, broken):
    """The module looks away; that a rule was broken is said where the flow ends, too."""
    over = threading.Event()

    def upgrade(wire, _request):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert wire.exactly(len(said)) == said
        over.wait(30)
        return False

    said = before + b"\x82\xff\x80" + bytes(7) + b"abcd" + b"behind"
    server, p = origin(routes={"/talk": upgrade}), watching()
    with p.client().connect(f"origin.test:{server.port}") as raw:
        assert raw.ask("GET", "/talk", "origin.test", [("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 101
        raw.send(said)
        assert p.wait_event("decoder_stage_failed").at("failure_code") == "length_too_big"
        over.set()
    p.closed_as("websocket_error", broken)
