# SPDX-License-Identifier: MPL-2.0
"""Content of messages in events: none, a sample or all of it, each sink as it asked; secrets leave with nobody."""
import base64
import gzip

import pytest

from harness.eventlog import EventLog
from harness.invariants import check_log
from harness.origin import pattern, reply
from harness.proxy import installed_schema
from harness.timing import until

SECRET = "s3cr3t-of-the-client"
BODY = bytes(range(256)) * 160  # 40 kB
FIELDS = [("Authorization", f"Bearer {SECRET}"), ("cOOkie", f"id={SECRET}"), ("X-Api-Key", SECRET), ("X-Internal-Key", SECRET),
          ("X-Auth-Token", SECRET), ("Accept", "text/*"), ("Referer", f"https://me:{SECRET}@h.test/page?ref=1"), ("accept", "a/b")]


def value(event, name):
    """An attribute's bytes, however they are written down; None when it is absent."""
    if name in event.attrs:
        return event.attrs[name].encode()
    return base64.b64decode(event.attrs[name + "_b64"]) if name + "_b64" in event.attrs else None


def body(events, kind):
    return b"".join(value(e, "payload") or b"" for e in events if e.kind == kind)


@pytest.fixture
def logs(proxy, origin, tmp_path):
    """A POST with secrets through a proxy with three sinks; their logs, by payload."""
    answer = reply(body=b"".join(pattern(30000)), fields=[("Set-Cookie", f"id={SECRET}"), ("Location", "/next?code=1"), ("X-Shown", "yes")])
    server = origin(routes={"/form": lambda wire, request: wire.send(answer)})
    more = [{"module": "sink_file", "name": "log-" + name, "payload": payload,
             "config": {"path": str(tmp_path / f"{name}.jsonl"), "flush_every": 1}} for name, payload in (("sample", "sample:1k"), ("full", "full"))]
    p = proxy(extra_modules=more, redact_headers=["x-internal-key"])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("POST", "/form?q=http://u:p@h/&k=v", f"origin.test:{server.port}", FIELDS, BODY).status == 200
    p.wait_closed()
    found = {"none": p.log}
    for name in ("sample", "full"):
        found[name] = EventLog(tmp_path / f"{name}.jsonl")
        until(lambda log=found[name]: log.find("stream_closed"), 10, "the flow's end in every log")
    return found


def test_every_log_is_sound(logs):
    for log in logs.values():
        until(log.is_indexed, 10, "all rows of the index")
        assert check_log(log, installed_schema()) == []
    chunks = [[(e.at("bytes"), e.at("offset")) for e in log.find("request_body_chunk")] for log in logs.values()]
    assert chunks[0] == chunks[1] == chunks[2], "all sinks get the same events"


def test_a_sink_without_payload_sees_none(logs):
    for event in logs["none"].events():
        assert not {"payload", "payload_b64", "headers", "headers_b64", "query", "query_b64"} & set(event.attrs)
    head = logs["none"].find("request_headers")[0]
    assert head.at("target") == "/form"


def test_full_is_the_whole_of_it(logs):
    events = logs["full"].events()
    assert body(events, "request_body_chunk") == BODY
    assert body(events, "response_body_chunk") == b"".join(pattern(30000))
    head = logs["full"].find("request_headers")[0]
    assert head.at("query") == "q=http://[redacted]@h/&k=v"
    assert head.at("target") == "/form"
    assert "Location: /next?code=1\n" in logs["full"].find("response_headers")[0].at("headers")


def test_a_sample_is_the_beginning(logs):
    events = logs["sample"].events()
    assert body(events, "request_body_chunk") == BODY[:1024]
    assert body(events, "response_body_chunk") == b"".join(pattern(30000))[:1024]
    bare = [value(e, "payload") is None for e in events if e.kind == "request_body_chunk"]
    assert bare == sorted(bare) and bare[-1], "what lies behind the sample carries nothing"
    head = logs["sample"].find("request_headers")[0]
    assert head.at("query") is None
    assert "Location: /next\n" in logs["sample"].find("response_headers")[0].at("headers")


def test_heads_are_whole_and_secrets_redacted(logs):
    for name in ("sample", "full"):
        lines = logs[name].find("request_headers")[0].at("headers").splitlines()
        assert lines[1:6] == ["Authorization: [redacted]", "cOOkie: [redacted]", "X-Api-Key: [redacted]", "X-Internal-Key: [redacted]",
                              "X-Auth-Token: [redacted]"]
        assert lines[6] == "Accept: text/*" and lines[8] == "accept: a/b"
        assert lines[7] == "Referer: https://[redacted]@h.test/page" + ("?ref=1" if name == "full" else "")
        answer = logs[name].find("response_headers")[0].at("headers").splitlines()
        assert "Set-Cookie: [redacted]" in answer and "X-Shown: yes" in answer


def test_no_secret_in_any_log(logs):
    for name, log in logs.items():
        assert SECRET.encode() not in log.path.read_bytes(), name


def test_every_message_has_a_sample_of_its_own(proxy, origin):
    server, p = origin(), proxy(sink_top={"payload": "sample:3"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        for text in (b"first", b"second"):
            client.ask("POST", "/hello", "origin.test", body=text)
    p.wait_closed()
    assert [e.at("payload") for e in p.log.find("request_body_chunk")] == ["fir", "sec"]
    assert [e.at("payload") for e in p.log.find("response_body_chunk")] == ["hel", "hel"]


def test_chunked_bodies_are_shown_without_their_framing(proxy, origin):
    server, p = origin(), proxy(sink_top={"payload": "full"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/chunked/100000", "origin.test")
    p.wait_closed()
    chunks = p.log.find("response_body_chunk")
    assert body(chunks, "response_body_chunk") == b"".join(pattern(100000))
    assert max(int(e.at("bytes")) for e in chunks) <= 16384, "pieces that fit into any queue"


def test_user_information_in_a_path_is_redacted_without_payload_too(proxy, origin):
    server, p = origin(), proxy()
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", f"/fetch/http://me:{SECRET}@h.test/x", "origin.test")
    p.wait_closed()
    assert p.log.find("request_headers")[0].at("target") == "/fetch/http://[redacted]@h.test/x"


def test_values_of_named_keys_are_hidden(proxy, origin, tmp_path):
    """In bodies of both sides however they are cut, in queries, in messages that decoders publish; what is relayed stays as it is."""
    from harness.streams import Paced
    form = b"user=me&password=" + SECRET.encode() + b"&x=1&" + b"y" * 20000 + b"&Api_Key=" + SECRET.encode()
    json_body = ('{"user":"me", "password" : "%s", "nested":{"api_key":["%s"]}}' % (SECRET, SECRET)).encode()
    pieces = [('data: {"password":"%s","delta":"hi"}\n\n' % SECRET).encode()]
    stream = Paced(pieces, "gzip")
    stream.go(9)
    fields = [("Location", f"https://app.test/?state=1&api_key={SECRET}")]
    server = origin(routes={"/form": lambda wire, request: wire.send(reply(body=json_body, fields=fields)), "/stream": stream})
    full = {"module": "sink_file", "name": "full", "payload": "full",
            "config": {"path": str(tmp_path / "full.jsonl"), "flush_every": 1, "bodies_dir": str(tmp_path / "bodies"), "bodies": "decoded"}}
    p = proxy(extra_modules=[full, {"module": "content_decode"}, {"module": "sse"}], redact_keys=["password", "api_key"])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("POST", f"/form?a=b&api_key={SECRET}", f"origin.test:{server.port}", body=form).body == json_body
        client.ask("GET", "/stream", f"origin.test:{server.port}")
    assert server.requests[0].body == form
    p.wait_closed()
    log = EventLog(tmp_path / "full.jsonl")
    until(lambda: log.find("stream_closed"), 10, "the flow's end")
    assert SECRET not in (tmp_path / "full.jsonl").read_text()
    hidden = "*" * len(SECRET)
    assert log.find("request_headers")[0].at("query") == f"a=b&api_key={hidden}"
    assert log.find("sse_event")[0].at("data") == '{"password":"%s","delta":"hi"}' % hidden
    assert f"Location: https://app.test/?state=1&api_key={hidden}\n" in log.find("response_headers")[0].at("headers")
    stored = {f.name.split("-", 2)[2]: f.read_bytes() for f in (tmp_path / "bodies").iterdir() if f.suffix == ".body"}
    assert stored["1-request.body"] == form.replace(SECRET.encode(), hidden.encode())
    assert stored["1-response.body"] == json_body.replace(SECRET.encode() + b'"]', hidden.encode() + b'"]').replace(
        SECRET.encode(), hidden.encode()).replace(b'["' + hidden.encode() + b'"]', b"[" + b"*" * (len(SECRET) + 2) + b"]")
    assert stored["2-response.body"] == pieces[0].replace(SECRET.encode(), hidden.encode())


def test_named_keys_in_other_text_are_hidden(proxy, origin, tmp_path):
    """In a URL within JSON, an attribute of HTML, a fragment, behind a quote that nothing closes; in records, queries and fields as in bodies."""
    bodies = {"json": '{"url":"https://h/cb?password=%s&x=1","msg":"one\\npassword=%s is it"}',
              "html": '<a href="/login?password=%s">x</a> <i>password=%s',
              "form": 'size=5"&password=%s&a="b&password=%s',
              "text": "https://h/cb#password=%s&x=1 (password=%s"}
    told = {name: (text % (SECRET, SECRET)).encode() for name, text in bodies.items()}
    records = told["json"] + b"\n"
    server = origin(routes={"/" + name: lambda wire, _, body=body: wire.send(reply(body=body)) for name, body in told.items()}
                    | {"/records": lambda wire, _: wire.send(reply(body=records, fields=[("Content-Type", "application/x-ndjson"),
                                                                                         ("Location", f"https://h/cb#password={SECRET}&x=1")]))})
    full = {"module": "sink_file", "name": "full", "payload": "full", "config": {"path": str(tmp_path / "full.jsonl"), "flush_every": 1}}
    p = proxy(extra_modules=[full, {"module": "ndjson"}], redact_keys=["password"])
    with p.client().connect(f"origin.test:{server.port}") as client:
        for name, body in told.items():
            assert client.ask("GET", f'/{name}?a="b&password={SECRET}', "origin.test").body == body
        client.ask("GET", "/records", "origin.test")
    p.wait_closed()
    log = EventLog(tmp_path / "full.jsonl")
    until(lambda: log.find("stream_closed"), 10, "the flow's end")
    hidden = "*" * len(SECRET)
    assert SECRET not in (tmp_path / "full.jsonl").read_text()
    seen = b"".join(value(e, "payload") or b"" for e in log.find("response_body_chunk"))
    assert seen.startswith(b"".join((text % (hidden, hidden)).encode() for text in bodies.values()))
    assert [value(e, "query") for e in log.find("request_headers")][:4] == [f'a="b&password={hidden}'.encode()] * 4
    assert value(log.find("stream_record")[0], "data") == (bodies["json"] % (hidden, hidden)).encode()
    assert f"Location: https://h/cb#password={hidden}&x=1\n" in log.find("response_headers")[4].at("headers")


def test_one_field_hides_nothing_of_the_next(proxy, origin, tmp_path):
    """A value that looks like the beginning of a secret ends with its field: the others, their names and what they say of the body stay."""
    body = b"some text " * 50
    coded = gzip.compress(body, mtime=0)
    odd = [("X-A", '{"password":"evil'), ("X-B", '"password":{"'), ("X-C", "password=a b"), ("X-D", ""), ("X-Shown", "yes")]
    server = origin(routes={"/x": lambda wire, _: wire.send(reply(body=coded, fields=[*odd, ("Content-Encoding", "gzip")]))})
    full = {"module": "sink_file", "name": "full", "payload": "full",
            "config": {"path": str(tmp_path / "full.jsonl"), "flush_every": 1, "bodies_dir": str(tmp_path / "bodies"), "bodies": "decoded"}}
    p = proxy(extra_modules=[full], redact_keys=["password"])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/x", "origin.test", odd).body == coded
    p.wait_closed()
    log = EventLog(tmp_path / "full.jsonl")
    until(lambda: log.find("stream_closed"), 10, "the flow's end")
    seen = 'X-A: {"password":"****\nX-B: "password":{*\nX-C: password=* b\nX-D: \nX-Shown: yes\n'
    assert seen in log.find("request_headers")[0].at("headers")
    assert seen + "Content-Encoding: gzip\n" in log.find("response_headers")[0].at("headers")
    until(lambda: [f.read_bytes() for f in (tmp_path / "bodies").glob("*.body")] == [body], 10, "the body, decoded")
