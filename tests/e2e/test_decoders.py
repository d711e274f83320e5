# SPDX-License-Identifier: MPL-2.0
"""Decoders in the way of bodies: TRANSFORMs that change them, that wait, that fail; TAPs that look on; policies that judge frames."""
import hashlib
import json
import threading

import pytest

from harness.modules import build_module, module_metric
from harness.origin import reply
from harness.timing import until
from harness.wire import Cut

TEXT = b"a cat sat; the catalogue of cats, concatenated: ca" + b"t and c" * 3 + b"at" + bytes(range(256)) * 8 + b"cat"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    for source in ("transform.c", "lines.c", "pausing.c"):
        dirs = build_module(folder, source)
    return dirs


@pytest.fixture
def decoding(proxy, built):
    """decoding({"module": "transform", ...}, ...) starts a proxy with these."""
    def start(*modules, **settings):
        return proxy(modules_dir=built, extra_modules=list(modules), **settings)
    return start


def transform(top=None, **config):
    return {"module": "transform", "config": config} | (top or {})


def said(body, chunked=False, fields=(), pieces=None):
    """A route that answers with this body."""
    def answer(wire, request):
        if request.head.method == "HEAD":
            framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
            wire.send(reply(fields=[framing], length=False))
        elif chunked:
            wire.send(reply(fields=[("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain"), *fields], length=False))
            for i in range(0, len(body), pieces or 11):
                part = body[i:i + (pieces or 11)]
                wire.send(b"%x\r\n%s\r\n" % (len(part), part))
            wire.send(b"0\r\nX-Trailer: t\r\n\r\n")
        else:
            wire.send(reply(body=body, fields=[("Content-Type", "text/plain"), *fields]))
        return True
    return answer


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("extra", [{}, {"busy_every": 3}, {"pause_every": 2, "resume": True, "deadline": "10s"}])
def test_bodies_are_changed_both_ways(decoding, origin, chunked, tls, extra):
    server, p = origin(tls=tls, routes={"/text": said(TEXT, chunked)}), decoding(transform(**extra))
    changed = TEXT.replace(b"cat", b"tiger")
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(3):
            answer = client.ask("GET", "/text", "origin.test")
            assert answer.body == changed and answer.head.get("Content-Length") is None
            assert answer.head.get("Transfer-Encoding") == "chunked"
            if chunked:
                assert ("X-Trailer", "t") in [tuple(t) for t in answer.trailers]
            seen = json.loads(client.ask("POST", "/echo", "origin.test", body=TEXT).body)
            assert seen["sha256"] == hashlib.sha256(changed).hexdigest() and seen["length"] == len(changed)
        assert client.ask("HEAD", "/text", "origin.test").head.get("Content-Length") is None, "the length of what no GET gets"
        assert client.ask("GET", "/status/304", "origin.test").status == 304
        assert client.ask("GET", "/hello", "origin.test").body == b"hello\n"
    assert module_metric(p, "soth_transform_words_total") == 6 * TEXT.count(b"cat")


OF_OLD_BYTES = [("Content-Digest", "sha-256=:AAAA:"), ("Repr-Digest", "sha-256=:AAAA:"), ("Digest", "md5=AAAA"), ("Content-MD5", "AAAA")]


def test_digests_of_the_old_body_do_not_go_with_the_new_one(decoding, origin):
    server, p = origin(routes={"/text": said(TEXT, fields=[*OF_OLD_BYTES, ("ETag", '"a"'), ("Accept-Ranges", "bytes")])}), decoding(transform())
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("POST", "/echo", "origin.test", body=TEXT, fields=[*OF_OLD_BYTES, ("X-Kept", "1")])
        head = client.ask("GET", "/text", "origin.test").head
        client.ask("GET", "/echo", "origin.test", fields=OF_OLD_BYTES)
    assert {n.lower() for n, _ in head.fields} == {"content-type", "etag", "transfer-encoding"} and head.get("ETag") == 'W/"a"'
    posted, _, got = server.requests
    assert [posted.head.get(n) for n, _ in OF_OLD_BYTES] == [None] * 4 and posted.head.get("X-Kept") == "1"
    assert [got.head.get(n) for n, _ in OF_OLD_BYTES] == [v for _, v in OF_OLD_BYTES], "nothing was changed"


def test_a_client_of_http10_gets_the_changed_body_until_the_close(decoding, origin):
    server, p = origin(routes={"/text": said(TEXT)}), decoding(transform())
    with p.client() as client:
        client.send(f"GET http://origin.test:{server.port}/text HTTP/1.0\r\nHost: origin.test\r\n\r\n".encode())
        answer = client.response("GET")
    assert answer.body == TEXT.replace(b"cat", b"tiger") and answer.head.get("Content-Length") is None


@pytest.mark.parametrize("extra", [{}, {"busy_every": 7}, {"pause_every": 50, "resume": True}])
def test_large_bodies_byte_by_byte_right(decoding, origin, extra):
    body = (b"the quick brown cat jumps over ca" + b"\0" * 61) * 60000
    server, p = origin(tls=True, routes={"/large": said(body)}), decoding(transform(**extra))
    changed = hashlib.sha256(body.replace(b"cat", b"tiger")).hexdigest()
    with p.https("origin.test", server.port, seconds=60) as client:
        assert hashlib.sha256(client.ask("GET", "/large", "origin.test").body).hexdigest() == changed
        assert json.loads(client.ask("POST", "/echo", "origin.test", body=body).body)["sha256"] == changed


@pytest.mark.slow
def test_little_that_becomes_much_costs_no_memory(decoding, origin):
    """2 MB become 400 MB for a client that reads slowly: what waits is bounded."""
    server, p = origin(routes={"/a": said(b"a" * 2000000)}), decoding(transform(**{"from": "a", "to": "x" * 200, "requests": False}))

    def rss():
        with open(f"/proc/{p.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    before = rss()
    with p.client() as client:
        client.send(f"GET http://origin.test:{server.port}/a HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
        got, most = 0, 0
        head = client.head()
        assert head.get("Transfer-Encoding") == "chunked"
        while got < 60000000:
            got += len(client.sock.recv(65536))
            most = max(most, rss()) if got % 50 == 0 else most
    assert max(most, rss()) - before < 30000, f"{most - before} kB more"
    p.checks = {}


@pytest.mark.parametrize("on_error,changed", [("open", False), ("closed", False), ("open", True)])
def test_a_transform_that_fails(decoding, origin, on_error, changed):
    """Before it changed anything its bytes pass; after that half a body of its making is no body."""
    body = b"nothing to see " * 1000 + b"cat " + b"and more of it " * 1000
    at = 20000 if changed else 1000
    server, p = origin(routes={"/text": said(body)}), decoding(transform({"on_error": on_error}, fail_after=at, requests=False))
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /text HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        if on_error == "open" and not changed:
            assert client.response("GET").body == body
        else:
            with pytest.raises(Cut):
                client.response("GET")
    event = p.wait_event("decoder_stage_failed")
    assert event.at("module") == "transform" and event.at("stage") == "payload_sanitize"
    assert event.at("action") == ("detached" if on_error == "open" and not changed else "closed")
    if event.at("action") == "closed":
        assert p.wait_closed()[0].at("reason_detail") == "decoder_stage_failed"


def test_a_transform_that_waits_for_ever_is_ended_by_its_deadline(decoding, origin):
    server = origin(routes={"/text": said(TEXT)})
    p = decoding(transform({"on_error": "closed"}, pause_every=1, deadline="50ms", on_timeout="closed", requests=False))
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /text HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut):
            client.response("GET")
    assert p.wait_event("decoder_stage_failed").at("action") == "closed"


def test_a_tap_sees_all_and_changes_nothing(decoding, origin):
    body = b"".join(b"line %d\n" % i for i in range(5000))
    server, p = origin(tls=True, routes={"/lines": said(body, True, pieces=997)}), decoding({"module": "lines"})
    with p.https("origin.test", server.port) as client:
        for _ in range(2):
            answer = client.ask("GET", "/lines", "origin.test")
            assert answer.body == body
    assert module_metric(p, "soth_lines_lines_total") == 10000 and module_metric(p, "soth_lines_bytes_total") == 2 * len(body)


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_frames_are_judged_before_their_bytes_go_on(decoding, origin, pieces):
    body = b"".join(b"line %d\n" % i for i in range(50)) + b"a secret\n" + b"never seen\n" * 10
    server = origin(routes={"/lines": said(body, True, pieces=pieces)})
    p = decoding({"module": "lines"}, {"module": "pausing", "config": {"on": ["frame"], "word": "secret"}})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /lines HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut):
            client.response("GET")
        assert b"line 49\n" not in client.buffer or b"secret" not in client.buffer
    events = p.closed_as("blocked", "word")
    decided = [e for e in events if e.kind == "frame_decision"]
    assert [(e.at("action"), e.at("rule_id"), e.at("direction")) for e in decided] == [("block", "word", "server_to_client")]


@pytest.mark.parametrize("mode", ["pause", "busy", "at_once", "twice"])
def test_frames_wait_for_a_policy(decoding, origin, mode):
    body = b"".join(b"line %d\n" % i for i in range(100))
    server = origin(routes={"/lines": said(body, True, pieces=333)})
    p = decoding({"module": "lines"}, {"module": "pausing", "config": {"on": ["frame"], "mode": mode, "delay": "2ms"}})
    with p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(2):
            assert client.ask("GET", "/lines", "origin.test").body == body
    assert module_metric(p, "soth_lines_lines_total") == 200


def upgraded(wire, request):
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\nContent-Type: text/plain\r\n\r\nwelcome\n")
    while True:
        line = wire.until(b"\n")
        if line == b"bye\n":
            wire.send(b"so long\n")
            return False
        wire.send(b"you said " + line)


@pytest.mark.parametrize("policy", [None, "pause", "word"])
def test_both_directions_after_an_upgrade(decoding, origin, policy):
    server = origin(tls=True, routes={"/up": upgraded})
    modules = [{"module": "lines"}]
    if policy:
        modules.append({"module": "pausing", "config": {"on": ["frame"], "delay": "2ms"} | ({"word": "secret"} if policy == "word" else {})})
    p = decoding(*modules)
    with p.https("origin.test", server.port) as client:
        client.send(b"GET /up HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\nearly\n")
        assert client.head().status == 101
        assert client.until(b"\n") == b"welcome\n" and client.until(b"\n") == b"you said early\n"
        for i in range(20):
            client.send(b"number %d\n" % i)
            assert client.until(b"\n") == b"you said number %d\n" % i
        client.send(b"a secret\nbye\n" if policy == "word" else b"bye\n")
        if policy == "word":
            with pytest.raises(Cut):
                client.until(b"\n")
        else:
            assert client.until(b"\n") == b"so long\n"
    if policy == "word":
        p.closed_as("blocked", "word")
    else:
        p.wait_closed()
    assert module_metric(p, "soth_lines_lines_total") >= 40


def test_a_client_that_leaves_while_a_decoder_waits(decoding, origin):
    server, p = origin(routes={"/text": said(TEXT)}), decoding(transform(pause_every=1, deadline="300ms", requests=False))
    fds = p.fds()
    for _ in range(20):
        client = p.client()
        client.send(f"GET http://origin.test:{server.port}/text HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
        client.close()
    p.wait_closed(20)
    until(lambda: p.fds() <= fds, 5, "no descriptor left")


def test_many_streams_through_a_transform_at_once(decoding, origin):
    server, p = origin(tls=True, routes={"/text": said(TEXT * 50, True, pieces=4001)}), decoding(transform(pause_every=3, resume=True, deadline="10s"), workers=2)
    changed, wrong = (TEXT * 50).replace(b"cat", b"tiger"), []

    def one():
        with p.https("origin.test", server.port, seconds=60) as client:
            for _ in range(3):
                if client.ask("GET", "/text", "origin.test").body != changed:
                    wrong.append(1)

    threads = [threading.Thread(target=one) for _ in range(25)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
