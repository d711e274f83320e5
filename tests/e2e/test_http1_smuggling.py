# SPDX-License-Identifier: MPL-2.0
"""Request smuggling and ambiguous framing: each vector that parsers disagree about ends in 400 (request) or 502 (response), or is
serialised anew without the ambiguity. The table of what happened is printed at the end of the run. Whatever happens, the origin
never sees a second request."""
import pytest

from harness.origin import reply
from harness.wire import Cut, Message

GET = b"GET /one HTTP/1.1\r\n"
POST = b"POST /one HTTP/1.1\r\n"
HOST = b"Host: origin.test\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: origin.test\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ZERO = b"0\r\n\r\n"

# name, bytes, outcomes allowed: 400 or "normal" (one clean request at the origin)
REQUESTS = [
    ("te_and_cl", POST + HOST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + ZERO + SMUGGLED, {400}),
    ("cl_and_te", POST + HOST + CHUNKED + b"Content-Length: 5\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("cl_differing", POST + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_twice_the_same", POST + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", {400}),
    ("cl_list", POST + HOST + b"Content-Length: 5, 5\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_plus", POST + HOST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_minus", POST + HOST + b"Content-Length: -5\r\n\r\n" + SMUGGLED, {400}),
    ("cl_hex", POST + HOST + b"Content-Length: 0x5\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_empty", POST + HOST + b"Content-Length: \r\n\r\n" + SMUGGLED, {400}),
    ("cl_overflow", POST + HOST + b"Content-Length: 18446744073709551617\r\n\r\n" + SMUGGLED, {400}),
    ("cl_leading_zero", POST + HOST + b"Content-Length: 05\r\n\r\nhello", {400, "normal"}),
    ("cl_trailing_space", POST + HOST + b"Content-Length: 5 \r\n\r\nhello", {400, "normal"}),
    ("te_empty", POST + HOST + b"Transfer-Encoding:\r\n\r\n" + SMUGGLED, {400}),
    ("te_empty_and_cl", POST + HOST + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED, {400}),
    ("te_empty_then_chunked", POST + HOST + b"Transfer-Encoding:\r\n" + CHUNKED + b"\r\n" + ZERO + SMUGGLED, {400}),
    ("te_chunked_twice", POST + HOST + CHUNKED + CHUNKED + b"\r\n" + ZERO + SMUGGLED, {400}),
    ("te_comma_chunked", POST + HOST + b"Transfer-Encoding: ,chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_gzip_chunked", POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_chunked_gzip", POST + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_identity", POST + HOST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED, {400}),
    ("te_unknown", POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_parameter", POST + HOST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_vertical_tab", POST + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_space_before_colon", POST + HOST + b"Transfer-Encoding : chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_obs_fold", POST + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_with_http10", b"POST /one HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + ZERO + SMUGGLED, {400}),
    ("te_upper_case", POST + HOST + b"TRANSFER-ENCODING: ChUnKeD\r\n\r\n" + ZERO, {"normal"}),
    ("obs_fold", GET + HOST + b"X: a\r\n b\r\n\r\n", {400}),
    ("fold_before_first_field", GET + b" X: a\r\n" + HOST + b"\r\n", {400}),
    ("bare_lf_in_head", GET + b"Host: origin.test\nX: 1\r\n\r\n", {400}),
    ("bare_lf_everywhere", b"GET /one HTTP/1.1\nHost: origin.test\n\n", {400}),
    ("bare_cr_in_value", GET + HOST + b"X: a\rY: b\r\n\r\n", {400}),
    ("nul_in_value", GET + HOST + b"X: a\0b\r\n\r\n", {400}),
    ("control_in_value", GET + HOST + b"X: a\x01b\r\n\r\n", {400}),
    ("del_in_value", GET + HOST + b"X: a\x7fb\r\n\r\n", {400}),
    ("space_before_colon", GET + HOST + b"X : 1\r\n\r\n", {400}),
    ("tab_before_colon", GET + HOST + b"X\t: 1\r\n\r\n", {400}),
    ("empty_name", GET + HOST + b": 1\r\n\r\n", {400}),
    ("no_colon", GET + HOST + b"nonsense\r\n\r\n", {400}),
    ("eight_bit_name", GET + HOST + b"X\xe9: 1\r\n\r\n", {400}),
    ("no_host", GET + b"\r\n", {400}),
    ("two_hosts", GET + HOST + b"Host: other.test\r\n\r\n", {400}),
    ("two_hosts_the_same", GET + HOST + HOST + b"\r\n", {400}),
    ("host_list", GET + b"Host: origin.test, other.test\r\n\r\n", {400, 403}),
    ("host_userinfo", GET + b"Host: me@origin.test\r\n\r\n", {400, 403}),
    ("host_with_path", GET + b"Host: origin.test/x\r\n\r\n", {400, 403}),
    ("http_09", b"GET /one\r\n", {400}),
    ("http_09_headers", b"GET /one\r\n" + HOST + b"\r\n", {400}),
    ("http_20", b"GET /one HTTP/2.0\r\n" + HOST + b"\r\n", {400}),
    ("http_12", b"GET /one HTTP/1.2\r\n" + HOST + b"\r\n", {400}),
    ("http_lower_case", b"GET /one http/1.1\r\n" + HOST + b"\r\n", {400}),
    ("source_protocol", b"SOURCE /one ICE/1.0\r\n" + HOST + b"\r\n", {400}),
    ("rtsp", b"DESCRIBE /one RTSP/1.0\r\n" + HOST + b"\r\n", {400}),
    ("spaces_before_target", b"GET   /one HTTP/1.1\r\n" + HOST + b"\r\n", {400, "normal"}),
    ("space_in_target", b"GET /one two HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("control_in_target", b"GET /one\x01 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("fragment_in_target", b"GET /one#frag HTTP/1.1\r\n" + HOST + b"\r\n", {400, "normal"}),
    ("asterisk_with_get", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("no_slash_target", b"GET one HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("connect_inside", b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n", {400, 403}),
    ("absolute_inside_differs", b"GET http://other.test/one HTTP/1.1\r\n" + HOST + b"\r\n", {400, 403}),
    ("leading_crlf", b"\r\n\r\n" + GET + HOST + b"\r\n", {400, "normal"}),
    ("leading_space", b" " + GET + HOST + b"\r\n", {400}),
    ("leading_nul", b"\0" + GET + HOST + b"\r\n", {400}),
    ("chunk_size_hex_prefix", POST + HOST + CHUNKED + b"\r\n0x5\r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_space", POST + HOST + CHUNKED + b"\r\n5 \r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_minus", POST + HOST + CHUNKED + b"\r\n-5\r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_underscore", POST + HOST + CHUNKED + b"\r\n0_5\r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_overflow", POST + HOST + CHUNKED + b"\r\n10000000000000005\r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_empty", POST + HOST + CHUNKED + b"\r\n\r\nhello\r\n" + ZERO, {400}),
    ("chunk_size_20_zeros", POST + HOST + CHUNKED + b"\r\n" + b"0" * 20 + b"5\r\nhello\r\n" + ZERO, {400, "normal"}),
    ("chunk_no_crlf_behind", POST + HOST + CHUNKED + b"\r\n5\r\nhelloX" + ZERO, {400}),
    ("chunk_bare_lf", POST + HOST + CHUNKED + b"\r\n5\nhello\r\n" + ZERO, {400}),
    ("chunk_ext_lf", POST + HOST + CHUNKED + b"\r\n5;a=\nb\r\nhello\r\n" + ZERO, {400}),
    ("chunk_ext_cr", POST + HOST + CHUNKED + b"\r\n5;a=\rb\r\nhello\r\n" + ZERO, {400}),
    ("chunk_ext_endless", POST + HOST + CHUNKED + b"\r\n5;" + b"a" * 200000 + b"\r\nhello\r\n" + ZERO, {400, 431}),
    ("cl_in_trailers", POST + HOST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", {400, "normal"}),
    ("te_in_trailers", POST + HOST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", {400, "normal"}),
    ("host_in_trailers", POST + HOST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nHost: evil.test\r\n\r\n", {400, "normal"}),
    ("connection_names_cl", POST + HOST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello", {400, "normal"}),
    ("connection_names_te", POST + HOST + b"Connection: transfer-encoding\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n" + ZERO, {400, "normal"}),
    ("te_name_with_nul", POST + HOST + b"Transfer-Encoding\0: chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_no_break_space", POST + HOST + b"Transfer-Encoding: \xa0chunked\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_quoted", POST + HOST + b"Transfer-Encoding: \"chunked\"\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_and_identity", POST + HOST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_trailing_comma", POST + HOST + b"Transfer-Encoding: chunked,\r\n\r\n" + ZERO + SMUGGLED, {400}),
    ("te_tab_behind", POST + HOST + b"Transfer-Encoding: chunked\t\r\n\r\n" + ZERO, {400, "normal"}),
    ("te_with_underscore", POST + HOST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + ZERO, {"normal"}),
    ("te_behind_a_cr", POST + HOST + b"Content-Length: 5\r\nX: y\rTransfer-Encoding: chunked\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_with_nul", POST + HOST + b"Content-Length: 5\0\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_semicolon", POST + HOST + b"Content-Length: 5;\r\n\r\nhello" + SMUGGLED, {400}),
    ("cl_space_inside", POST + HOST + b"Content-Length: 1 5\r\n\r\nhello" + SMUGGLED, {400}),
    ("host_open_bracket", GET + b"Host: [::1\r\n\r\n", {400}),
    ("host_folded", GET + b"Host:\r\n origin.test\r\n\r\n", {400}),
    ("target_tab", b"GET\t/one HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("target_nul", b"GET /one\0 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("target_eight_bit", b"GET /one\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    ("version_1_10", b"GET /one HTTP/1.10\r\n" + HOST + b"\r\n", {400}),
    ("space_behind_version", b"GET /one HTTP/1.1 \r\n" + HOST + b"\r\n", {400}),
    ("chunk_tab_before_extension", POST + HOST + CHUNKED + b"\r\n5\t;a\r\nhello\r\n" + ZERO, {400}),
    ("chunk_lf_behind_data", POST + HOST + CHUNKED + b"\r\n5\r\nhello\n" + ZERO + SMUGGLED, {400}),
    ("last_chunk_then_lf", POST + HOST + CHUNKED + b"\r\n0\r\n\n" + SMUGGLED, {400}),
    ("trailer_folded", POST + HOST + CHUNKED + b"\r\n0\r\nX: a\r\n b\r\n\r\n" + SMUGGLED, {400}),
    ("trailer_without_colon", POST + HOST + CHUNKED + b"\r\n0\r\nXa\r\n\r\n" + SMUGGLED, {400}),
    ("trailers_over_the_limit", POST + HOST + CHUNKED + b"\r\n0\r\nX: " + b"a" * 100000 + b"\r\n\r\n", {400, 431}),
    ("h2c", GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", {"normal"}),
    ("get_with_body", GET + HOST + b"Content-Length: 5\r\n\r\nhello", {"normal"}),
    ("after_connection_close", GET + HOST + b"Connection: close\r\n\r\n" + SMUGGLED, {"normal"}),
]


@pytest.fixture(scope="module")
def smuggling(shared, shared_origin):
    """where -> (proxy, origin, what the client does): inside a CONNECT, as absolute-form requests, at a reverse listener."""
    server = shared_origin()
    forward = shared()
    behind = shared(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse"}], reverse_upstream={"host": "origin.test", "port": server.port})
    absolute = b" http://origin.test:%d/one" % server.port
    return {"connect": (forward, server, lambda client, data: client.connect(f"origin.test:{server.port}").send(data)),
            "absolute": (forward, server, lambda client, data: client.send(data.replace(b" /one", absolute, 1))),
            "reverse": (behind, server, lambda client, data: client.send(data))}


def looks_normal(request):
    """A head that every parser reads the same way."""
    raw, head = request.head.raw, request.head
    lines = raw[:-4].split(b"\r\n")
    assert b"\n" not in b"".join(lines) and b"\r" not in b"".join(lines) and b"\0" not in raw, raw
    assert len(head.start.split(" ")) == 3 and head.start.endswith(" HTTP/1.1"), raw
    assert all(n and n == n.strip() for n in head.names), raw
    assert len(head.all("Host")) == 1 and "evil" not in str(request.trailers)
    coding, length = head.all("Transfer-Encoding"), head.all("Content-Length")
    assert len(coding) + len(length) <= 1, raw
    assert coding in ([], ["chunked"]) or coding[0].lower() == "chunked", raw
    assert not length or length[0] == str(int(length[0])), f"Content-Length is serialised anew: {raw}"
    assert not {n.lower() for n, _ in request.trailers} & {"host", "content-length", "transfer-encoding"}, request.trailers


FIRST_BYTES = ("leading_space", "leading_nul")  # as the first bytes they are not HTTP at all, and fall under not_tls
NOT_ABSOLUTE = FIRST_BYTES + ("leading_crlf", "bare_lf_everywhere", "http_09", "http_09_headers", "source_protocol", "rtsp",
                              "asterisk_with_get", "no_slash_target", "connect_inside", "absolute_inside_differs", "spaces_before_target",
                              "target_tab")  # these are about the request line, which is the CONNECT parser's there


CASES = [(where, *vector) for where in ("connect", "absolute", "reverse") for vector in REQUESTS
         if where != "absolute" or vector[0] not in NOT_ABSOLUTE]


@pytest.mark.parametrize("where,name,data,allowed", CASES, ids=[f"{c[1]}-{c[0]}" for c in CASES])
def test_request_vector(smuggling, record_property, where, name, data, allowed):
    p, server, send = smuggling[where]
    if where != "connect":
        allowed = allowed | {"normal"} if name.startswith("host_") or name == "absolute_inside_differs" else allowed
    before = len(server.requests)
    with p.client(seconds=6) as client:
        if where == "connect" and name in FIRST_BYTES:
            client.connect(f"origin.test:{server.port}").ask("GET", "/hello", "origin.test")
            client.send(data)
            before += 1
        else:
            send(client, data)
        status = client.response().status
        mine = f"127.0.0.1:{client.port}"
    closed = p.wait_event("stream_closed", client_addr=mine)
    seen = server.requests[before:]
    targets = [r.head.target for r in seen]
    assert "/smuggled" not in targets and len(seen) <= 1, f"the origin saw {targets}"
    if status == 200 or status == 404:
        outcome = "normal"
        looks_normal(seen[0])
        body = f", body {seen[0].body!r}" if seen[0].body else ""
        said = f"relayed as {seen[0].head.raw[:70]!r}{body}"
    else:
        outcome = status
        detail = closed.at("reason_detail")
        said = f"{status} ({detail})"
        assert not seen, "a refused request does not reach the origin"
        if status == 400:
            assert closed.at("reason_code") == "mitm_http_error" and detail, "the class is in reason_detail"
    if where == "connect":
        record_property("row", ("requests: smuggling vectors", f"{name:26} {said}"))
    assert outcome in allowed, said


# name, bytes, outcomes: 502, "cut" (begun, never cleanly ended) or "normal"
OK = b"HTTP/1.1 200 OK\r\n"
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
RESPONSES = [
    ("te_and_cl", OK + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + ZERO + SECOND, {502}),
    ("cl_differing", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", {502}),
    ("cl_twice_the_same", OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", {502}),
    ("cl_list", OK + b"Content-Length: 5, 5\r\n\r\nhello", {502}),
    ("cl_plus", OK + b"Content-Length: +5\r\n\r\nhello", {502}),
    ("cl_hex", OK + b"Content-Length: 0x5\r\n\r\nhello", {502}),
    ("te_chunked_gzip", OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + ZERO, {502}),
    ("te_gzip", OK + b"Transfer-Encoding: gzip\r\n\r\nx", {502}),
    ("te_gzip_chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ZERO, {502}),
    ("te_empty", OK + b"Transfer-Encoding:\r\n\r\n" + ZERO, {502}),
    ("te_twice", OK + CHUNKED + CHUNKED + b"\r\n" + ZERO, {502}),
    ("te_with_http10", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + ZERO, {502}),
    ("obs_fold", OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", {502}),
    ("bare_lf", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", {502}),
    ("bare_cr", OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n", {502}),
    ("nul", OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", {502}),
    ("space_before_colon", OK + b"Content-Length : 0\r\n\r\n", {502}),
    ("status_099", b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", {502}),
    ("status_two_digits", b"HTTP/1.1 20 Odd\r\nContent-Length: 0\r\n\r\n", {502}),
    ("http_2", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", {502}),
    ("not_http", b"SSH-2.0-OpenSSH_9.2\r\n", {502}),
    ("101_not_asked_for", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" + SECOND, {502}),
    ("chunk_bad_size", OK + CHUNKED + b"\r\nzz\r\n", {"cut", 502}),
    ("chunk_no_crlf", OK + CHUNKED + b"\r\n5\r\nhelloX\r\n" + ZERO, {"cut", 502}),
    ("more_than_the_length", OK + b"Content-Length: 5\r\n\r\nhello" + SECOND, {"normal"}),
    ("body_behind_204", b"HTTP/1.1 204 No\r\nContent-Length: 8\r\n\r\nsmuggled", {"normal"}),
    ("leading_crlf", b"\r\n" + OK + b"Content-Length: 0\r\n\r\n", {502, "normal"}),
]


@pytest.mark.parametrize("data,allowed", [v[1:] for v in RESPONSES], ids=[v[0] for v in RESPONSES])
def test_response_vector(shared, shared_origin, record_property, request, data, allowed):
    p = shared.made[0] if shared.made else shared()
    name = request.node.callspec.id
    seen = []

    def answer(wire):
        seen.append(wire.request())
        wire.send(data if len(seen) == 1 else reply(body=b"second"))

    server = shared_origin(answer)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /one HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        head = client.head()
        if head.status == 502:
            outcome, said = 502, "502"
        else:
            try:
                no_body = head.status == 204 or head.get("Content-Length") == "0"
                body = b"" if no_body else client._body(Message(head), head.get("Content-Length")).body
                outcome, said = "normal", f"{head.start!r} {body!r}"
                assert b"smuggled" not in body
                second = client.ask("GET", "/two", "origin.test")
                assert second.body == b"second", f"the next exchange got {second.body!r}"
            except (Cut, OSError):
                outcome, said = "cut", f"{head.start!r}, cut"
        mine = f"127.0.0.1:{client.port}"
    closed = p.wait_event("stream_closed", client_addr=mine)
    if outcome != "normal":
        assert closed.at("reason_code") == "mitm_http_error"
        said += f" ({closed.at('reason_detail')})"
    record_property("row", ("responses: smuggling vectors", f"{name:26} {said}"))
    assert outcome in allowed, said


@pytest.mark.parametrize("data,body", [
    (OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", b"ok"), (OK + b"Content-Length : 2\r\n\r\nok", b"ok"),
    (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok"), (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
], ids=["obs_fold", "space_before_colon", "cl_twice_the_same", "bare_lf"])
def test_strict_header_mode_off_repairs_responses(proxy, origin, data, body):
    server, p = origin(lambda wire: (wire.request(), wire.send(data))), proxy(strict_header_mode=False)
    with p.client().connect(f"origin.test:{server.port}") as client:
        answer = client.ask("GET", "/", "origin.test")
    assert answer.status == 200 and answer.body == body and len(answer.head.all("Content-Length")) == 1
    if answer.head.get("X"):
        assert answer.head.get("X").split() == ["a", "b"] and b"\r\n " not in answer.head.raw


def test_strict_header_mode_off_leaves_requests_strict(proxy, origin):
    server, p = origin(), proxy(strict_header_mode=False)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(GET + HOST + b"X: a\r\n b\r\n\r\n")
        assert client.response().status == 400
    assert server.requests == []
