# SPDX-License-Identifier: MPL-2.0
"""gRPC through CONNECT, both sides of grpc-python: every kind of call, what the module tells of it, and what refusals look like to a client."""
import base64
import pathlib
import queue

import grpc
import pytest

from harness.grpc_peers import Channel, GrpcServer
from harness.origin import reply
from harness.ports import free_port
from harness.timing import scaled, span, until
from harness.tools import need, run

GRPC = {"module": "grpc"}


@pytest.fixture(scope="module")
def tls(authority):
    return authority.leaf("origin.test", "*.origin.test")


@pytest.fixture(scope="module")
def server(tls):
    one = GrpcServer(tls)
    yield one
    one.close()


def of_call(p, method, kinds=("grpc_",), count=None, last="grpc_response_trailers"):
    """The events of the one call of this method, in order, when its last has come."""
    def found():
        events = [e for e in p.events() if e.kind.startswith(tuple(kinds)) and e.at("grpc_method") == method]
        return events if any(e.kind == last for e in events) and (count is None or len(events) >= count) else None
    events = until(found, 10, lambda: f"{last} of {method}; have {[(e.kind, e.attrs) for e in p.events()][-8:]}; {p.stderr()[-500:]}")
    assert [e.at("grpc_event_sequence") for e in events] == [str(i + 1) for i in range(len(events))]
    assert {e.at("grpc_service") for e in events} == {"test.Echo"} and {e["protocol"] for e in events} == {"http2"}
    return events


def told(events):
    """kind, direction, length of each message; kind alone of the rest."""
    short = {"client_to_server": "up", "server_to_client": "down"}
    return [(short[e.at("direction")], int(e.at("message_len"))) if e.kind == "grpc_message" else e.kind[len("grpc_"):] for e in events]


def test_a_unary_call(proxy, server):
    p = proxy(extra_modules=[GRPC])
    with Channel(p, server.port) as c:
        answer, call = c.unary(b"hello", metadata=(("x-ask", "1"),))
    assert answer == b"hello" and call.code() == grpc.StatusCode.OK
    assert dict(call.trailing_metadata())["x-length"] == "5"
    events = of_call(p, "Unary")
    assert told(events) == ["request_headers", ("up", 5), "response_headers", ("down", 5), "response_trailers"]
    assert events[0].at("content_type") == "application/grpc" and events[0].at("grpc_timeout")
    assert (events[-1].at("grpc_status"), events[-1].at("trailer_count")) != (None, None)
    assert events[-1].at("grpc_status") == "0" and "x-length" in events[-1].at("names").split(",")
    assert len({e.at("http2_stream_id") for e in events}) == 1
    # the server's settings come while its client still shakes hands with us: they wait, and its connection is the only one
    upstream = [e for e in p.events() if e.kind == "tls_handshake_started" and e.at("peer") == "upstream"]
    assert len(upstream) == 1


def test_plaintext_with_prior_knowledge(proxy):
    plain = GrpcServer()
    try:
        p = proxy(extra_modules=[GRPC])
        with Channel(p, plain.port, secure=False) as c:
            assert c.unary(b"plain")[0] == b"plain"
        assert told(of_call(p, "Unary"))[1] == ("up", 5)
    finally:
        plain.close()


def test_streams_of_the_client_of_the_server_and_of_both(proxy, server):
    p = proxy(extra_modules=[GRPC])
    with Channel(p, server.port) as c:
        answer, _ = c.client(iter([b"a" * n for n in (1, 0, 70000)]))
        assert answer == b"3 70001"
        assert [len(one) for one in c.server(b"5 1000")] == [1000] * 5
        asked = queue.Queue()
        answers = c.bidi(iter(asked.get, None))
        for word in (b"one", b"two", b"three"): # each is answered before the next is asked
            asked.put(word)
            assert next(answers) == word.upper()
        asked.put(None)
        assert list(answers) == [] and answers.code() == grpc.StatusCode.OK
    assert told(of_call(p, "Client")) == ["request_headers", ("up", 1), ("up", 0), ("up", 70000), "response_headers", ("down", 7), "response_trailers"]
    assert told(of_call(p, "Server")) == ["request_headers", ("up", 6), "response_headers", *[("down", 1000)] * 5, "response_trailers"]
    assert told(of_call(p, "Bidi")) == ["request_headers", ("up", 3), "response_headers", ("down", 3), ("up", 3), ("down", 3), ("up", 5), ("down", 5),
                                        "response_trailers"]


def test_a_status_that_is_not_ok(proxy, server):
    p = proxy(extra_modules=[GRPC])
    with Channel(p, server.port) as c:
        with pytest.raises(grpc.RpcError) as error:
            c.unary(b"x", method="Fail")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND and error.value.details() == "no such thing: 50%"
    events = until(lambda: [e for e in p.events() if e.at("grpc_status") == "5"], 10, "the status")
    assert events[0].at("grpc_message") == "no such thing: 50%25"
    assert events[0].kind == "grpc_response_trailers" or events[0].at("trailers_only") == "true"


@pytest.mark.parametrize("algorithm", ["Gzip", "Deflate"])
def test_compressed_messages(proxy, tls, algorithm):
    server = GrpcServer(tls, compression=getattr(grpc.Compression, algorithm))
    try:
        p = proxy(extra_modules=[GRPC])
        with Channel(p, server.port, compression=getattr(grpc.Compression, algorithm)) as c:
            assert c.unary(b"hello " * 5000)[0] == b"hello " * 5000
        events = of_call(p, "Unary")
    finally:
        server.close()
    messages = [e for e in events if e.kind == "grpc_message"]
    assert [(e.at("compressed"), e.at("decompressed_len")) for e in messages] == [("true", "30000")] * 2
    assert all(int(e.at("message_len")) < 1000 for e in messages)
    assert events[0].at("grpc_encoding") == algorithm.lower()


def test_large_messages(proxy, server):
    """Larger than every window; within the limit they are told, beyond it nobody looks on any more and the call goes on."""
    body = bytes(range(256)) * (24 << 12)
    p = proxy(extra_modules=[GRPC | {"config": {"max_message_bytes": "32M"}}])
    with Channel(p, server.port) as c:
        assert c.unary(body, timeout=60)[0] == body
    assert told(of_call(p, "Unary"))[1] == ("up", len(body))


def test_a_message_beyond_the_limit_passes_unseen(proxy, server):
    p = proxy(extra_modules=[GRPC | {"config": {"max_message_bytes": "1k"}}])
    with Channel(p, server.port) as c:
        assert c.unary(b"x" * 2000)[0] == b"x" * 2000
    e = p.wait_event("grpc_malformed")
    assert (e.at("class"), e.at("direction"), e.at("message_len")) == ("message_too_large", "client_to_server", "2000")
    e = p.wait_event("decoder_stage_failed")
    assert (e.at("module"), e.at("failure_code"), e.at("action")) == ("grpc", "max_message_bytes", "detached")


def test_or_ends_its_call(proxy, server):
    p = proxy(extra_modules=[GRPC | {"config": {"max_message_bytes": "1k", "on_overflow": "close"}}])
    with Channel(p, server.port) as c:
        assert c.unary(b"x" * 10)[0] == b"x" * 10
        with pytest.raises(grpc.RpcError) as failed:
            c.unary(b"x" * 2000)
        assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert c.unary(b"y" * 10)[0] == b"y" * 10 # its siblings go on
    assert p.wait_event("decoder_stage_failed").at("action") == "closed"


def test_a_call_that_its_client_cancels(proxy, server):
    p = proxy(extra_modules=[GRPC])
    server.cancelled.clear()
    server.calls.clear()
    with Channel(p, server.port) as c:
        call = c.start(b"x")
        until(lambda: "Slow" in server.calls, 10, "the call at its server")
        call.cancel()
        assert server.cancelled.wait(scaled(10))
        assert c.unary(b"after")[0] == b"after"
    until(lambda: [e for e in p.log.find("stream_closed") if e.at("reason_code") == "client_aborted"], 10, "the cancelled stream's close")


def test_a_deadline(proxy, server):
    p = proxy(extra_modules=[GRPC])
    with Channel(p, server.port) as c:
        assert c.unary(b"before")[0] == b"before"  # the connection is there: all of the time is the call's
        with pytest.raises(grpc.RpcError) as error:
            c.unary(b"x", method="Slow", timeout=scaled(0.5))
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert c.unary(b"after")[0] == b"after"
    assert p.wait_event("grpc_request_headers", grpc_method="Slow").at("grpc_timeout")


# ---- refusals

def test_a_blocked_method_is_permission_denied(proxy, server):
    server.calls.clear()
    p = proxy(extra_modules=[GRPC], policy={"rules": [{"id": "no-fail", "action": "block", "grpc_service": "test.*", "grpc_method": "Fail"}]})
    with Channel(p, server.port) as c:
        with pytest.raises(grpc.RpcError) as error:
            c.unary(b"x", method="Fail")
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED and error.value.details() == "blocked by policy"
        assert c.unary(b"fine")[0] == b"fine"
    assert server.calls == ["Unary"]
    e = p.wait_event("request_decision", action="block")
    assert (e.at("rule_id"), e.at("policy_module")) == ("no-fail", "policy_rules")


def test_an_upload_that_is_blocked(proxy, server):
    server.calls.clear()
    p = proxy(policy={"rules": [{"id": "no-uploads", "action": "block", "grpc_method": "Client"}]})
    with Channel(p, server.port) as c:
        with pytest.raises(grpc.RpcError) as error:
            c.client(iter([b"x" * 100000] * 50))
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert c.unary(b"fine")[0] == b"fine"
    assert server.calls == ["Unary"]


def test_an_origin_that_is_not_there_is_unavailable(proxy):
    p = proxy()
    with Channel(p, free_port()) as c:
        with pytest.raises(grpc.RpcError) as error:
            c.unary(b"x", timeout=scaled(5))
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_origin_that_goes_away_in_a_call(proxy, tls):
    server = GrpcServer(tls)
    p = proxy(extra_modules=[GRPC])
    with Channel(p, server.port) as c:
        call = c.start(b"x", timeout=20)
        until(lambda: server.calls, 10, "the call at its server")
        server.close()
        with pytest.raises(grpc.RpcError) as error:
            call.result()
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_response_that_is_too_late_is_deadline_exceeded(proxy, server):
    p = proxy(response_header_timeout=span(1))
    with Channel(p, server.port) as c:
        with pytest.raises(grpc.RpcError) as error:
            c.unary(b"x", method="Slow", timeout=20)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "response_header" in error.value.details()


# ---- gRPC-Web, over HTTP/1.1

def web_frame(flag, data):
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


def web_call(p, server, path, body, content_type):
    args = ["-sS", "-i", "--suppress-connect-headers", "--http1.1", "--proxy", p.url, "--cacert", p.ca_path, "-H", f"content-type: {content_type}", "--data-binary", "@-",
            f"https://origin.test:{server.port}{path}"]
    return run([need("curl"), *args], 30, input=body).stdout


@pytest.mark.parametrize("content_type", ["application/grpc-web+proto", "application/grpc-web-text"])
def test_grpc_web(proxy, origin, content_type):
    code = base64.b64encode if content_type.endswith("text") else bytes
    answer = code(web_frame(0, b"answer")) + code(web_frame(128, b"grpc-status:0\r\ngrpc-message:fine\r\n"))
    server = origin(tls=True, routes={"/test.Echo/Web": lambda wire, _: wire.send(reply(body=answer, fields=[("Content-Type", content_type)]))})
    p = proxy(extra_modules=[GRPC])
    got = web_call(p, server, "/test.Echo/Web", code(web_frame(0, b"ask")), content_type)
    assert got.endswith(answer)
    end = p.wait_event("grpc_response_trailers", grpc_method="Web")
    assert (end.at("grpc_status"), end.at("grpc_message"), end.at("names")) == ("0", "fine", "grpc-status,grpc-message")
    events = [e for e in p.events() if e.kind.startswith("grpc_")]
    assert told(events) == ["request_headers", ("up", 3), "response_headers", ("down", 6), "response_trailers"]
    assert {e["protocol"] for e in events} == {"http1"}


def test_a_blocked_web_call(proxy, origin):
    server = origin(tls=True)
    p = proxy(policy={"rules": [{"id": "no", "action": "block", "grpc_method": "Web"}]})
    got = web_call(p, server, "/test.Echo/Web", web_frame(0, b"ask"), "application/grpc-web+proto").decode()
    head, _, body = got.partition("\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:])
    assert head.startswith("HTTP/1.1 200 OK\r\n") and body == ""
    assert (fields["grpc-status"], fields["grpc-message"], fields["content-type"]) == ("7", "blocked by policy", "application/grpc-web")
    assert fields["proxy-status"] == "soth-mitm; error=http_request_denied" and server.requests == []


# ---- the log that docs/grpc.md prints

# What depends on versions of the peers' libraries and on the machine.
VARYING = {"grpc_timeout", "header_bytes", "header_count", "grpc_accept_encoding", "bytes_from_client", "bytes_from_server"}
SAME = {"grpc_service", "grpc_method", "grpc_detection_mode", "http2_stream_id"}  # said once for all of the call


def printed(event):
    return " ".join([f"{event['flow_sequence_id']:2}", event.kind] + [f"{k}={v}" for k, v in event.attrs.items() if k not in VARYING | SAME])


def test_the_log_of_the_documentation(proxy, tls):
    """One bidirectional call, as it is explained there line by line."""
    server = GrpcServer(tls)
    p = proxy(workers=1, extra_modules=[GRPC])
    try:
        with Channel(p, server.port) as c:
            asked = queue.Queue()
            answers = c.bidi(iter(asked.get, None))
            for word in (b"one", b"two"):
                asked.put(word)
                assert next(answers) == word.upper()
            asked.put(None)
            assert list(answers) == []
        p.wait_closed(2)
    finally:
        server.close()
    stream = [e for e in p.events() if "parent_flow_id" in e]
    log = [printed(e).replace(f":{server.port}", ":PORT") for e in stream]
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "grpc.md").read_text()
    shown = page.split("```text\n", 1)[1].split("```", 1)[0].splitlines()
    assert {e.at("http2_stream_id") for e in stream} == {"1"} and {e["stream_key"] for e in stream} == {"h2:1"}
    assert log == shown, "\n".join(log)
