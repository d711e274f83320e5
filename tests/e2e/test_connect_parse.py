# SPDX-License-Identifier: MPL-2.0
"""The CONNECT parser over the wire: each parse_error_code of the contract, strict and lenient."""
import pytest

HUGE = b"CONNECT origin.test:443 HTTP/1.1\r\nX: " + b"a" * 70000 + b"\r\n\r\n"

# name, bytes, half-close after them, code, status; refused in strict and in lenient mode
BOTH = [
    ("incomplete_headers", b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin", True, "incomplete_headers", 400),
    ("incomplete_request_line", b"CONNECT origin.test:4", True, "incomplete_headers", 400),
    ("invalid_utf8", b"CONNECT \xff\xfe:443 HTTP/1.1\r\n\r\n", False, "invalid_utf8", 400),
    ("one_word", b"CONNECT\r\n\r\n", False, "invalid_request_line", 400),
    ("no_version", b"CONNECT origin.test:443\r\n\r\n", False, "invalid_request_line", 400),
    ("origin_form", b"GET /path HTTP/1.1\r\nHost: origin.test\r\n\r\n", False, "method_not_connect", 400),
    ("http_2", b"CONNECT origin.test:443 HTTP/2.0\r\n\r\n", False, "invalid_http_version", 400),
    ("no_http", b"CONNECT origin.test:443 XTTP/1.1\r\n\r\n", False, "invalid_http_version", 400),
    ("empty_host", b"CONNECT :443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("port_not_a_number", b"CONNECT origin.test:https HTTP/1.1\r\n\r\n", False, "invalid_port", 400),
    ("port_too_large", b"CONNECT origin.test:65536 HTTP/1.1\r\n\r\n", False, "invalid_port", 400),
    ("port_signed", b"CONNECT origin.test:+443 HTTP/1.1\r\n\r\n", False, "invalid_port", 400),
    ("ipv4_hex", b"CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv4_one_number", b"CONNECT 2130706433:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv4_two_numbers", b"CONNECT 127.1:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv4_octal", b"CONNECT 0177.0.0.1:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv4_five", b"CONNECT 1.2.3.4.5:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv6_broken", b"CONNECT [::g]:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("ipv6_open", b"CONNECT [::1:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("host_with_space", b"CONNECT a%20b:443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("host_too_long", b"CONNECT " + b"a" * 300 + b":443 HTTP/1.1\r\n\r\n", False, "invalid_authority", 400),
    ("header_too_large", HUGE, False, "header_too_large", 431),
    ("endless_line", b"CONNECT " + b"a" * 70000, False, "header_too_large", 431),
]
STRICT = [
    ("lower_case_method", b"connect origin.test:443 HTTP/1.1\r\n\r\n", "method_not_connect"),
    ("missing_port", b"CONNECT origin.test HTTP/1.1\r\n\r\n", "missing_port"),
    ("port_0", b"CONNECT origin.test:0 HTTP/1.1\r\n\r\n", "invalid_port"),
    ("userinfo", b"CONNECT me@origin.test:443 HTTP/1.1\r\n\r\n", "invalid_authority"),
    ("scheme", b"CONNECT https://origin.test:443 HTTP/1.1\r\n\r\n", "invalid_authority"),
    ("path", b"CONNECT origin.test:443/path HTTP/1.1\r\n\r\n", None),
    ("bare_ipv6", b"CONNECT ::1:443 HTTP/1.1\r\n\r\n", "invalid_authority"),
    ("doubled_space", b"CONNECT  origin.test:443 HTTP/1.1\r\n\r\n", "invalid_request_line"),
    ("tls_at_once", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 2, None),
]
LENIENT = [
    ("any_case", b"cOnNeCt origin.test:8443 HTTP/1.1", "origin.test", 8443),
    ("http_scheme", b"CONNECT http://origin.test:8443 HTTP/1.1", "origin.test", 8443),
    ("https_scheme_default_port", b"CONNECT https://origin.test HTTP/1.1", "origin.test", 443),
    ("path_behind", b"CONNECT origin.test:8443/path?q HTTP/1.1", "origin.test", 8443),
    ("missing_port", b"CONNECT origin.test HTTP/1.1", "origin.test", 443),
    ("bare_ipv6", b"CONNECT 2001:db8::7 HTTP/1.1", "2001:db8::7", 443),
]


@pytest.fixture(scope="module")
def parsers(shared):
    """mode -> proxy; everything that parses is blocked, so nothing is dialled."""
    made = {}

    def get(mode):
        if mode not in made:
            made[mode] = shared(policy={"default": "block"}, connect_parse_mode=mode)
        return made[mode]

    return get


def refused(p, data, half_close, code, status):
    with p.client() as client:
        client.send(data)
        if half_close:
            client.finish()
        answer = client.response()
        assert answer.status == status and answer.proxy_error == "http_request_error", answer.head.start
        assert answer.body and b"\0" not in answer.body
        client.ended()
        mine = f"127.0.0.1:{client.port}"
    closed = p.wait_event("stream_closed", client_addr=mine)
    assert closed.at("reason_code") == "connect_parse_failed"
    failed = p.wait_event("connect_parse_failed", client_addr=mine)
    if code:
        assert failed.at("parse_error_code") == code
        assert closed.at("reason_detail") == code, "reason_detail is the class"
    assert "server_host" not in failed


@pytest.mark.parametrize("mode", ["strict", "lenient"])
@pytest.mark.parametrize("data,half_close,code,status", [c[1:] for c in BOTH], ids=[c[0] for c in BOTH])
def test_refused_in_both_modes(parsers, mode, data, half_close, code, status):
    refused(parsers(mode), data, half_close, code, status)


@pytest.mark.parametrize("data,code", [c[1:] for c in STRICT], ids=[c[0] for c in STRICT])
def test_refused_in_strict_mode(parsers, data, code):
    refused(parsers("strict"), data, False, code, 400)


@pytest.mark.parametrize("line,host,port", [c[1:] for c in LENIENT], ids=[c[0] for c in LENIENT])
def test_taken_in_lenient_mode(parsers, line, host, port):
    p = parsers("lenient")
    with p.client() as client:
        client.send(line + b"\r\n\r\n")
        assert client.response().status == 403
        mine = f"127.0.0.1:{client.port}"
    decided = p.wait_event("connect_decision", client_addr=mine)
    assert (decided["server_host"], int(decided["server_port"])) == (host, port)


@pytest.mark.parametrize("head,host", [
    (b"CONNECT ORIGIN.Test.:443 HTTP/1.1\r\nHost: origin.test\r\n\r\n", "origin.test"),
    (b"CONNECT [2001:DB8::7]:443 HTTP/1.1\r\n\r\n", "2001:db8::7"),
    (b"CONNECT 192.0.2.7:443 HTTP/1.0\r\n\r\n", "192.0.2.7"),
    (b"\r\nCONNECT origin.test:443 HTTP/1.1\r\n\r\n", "origin.test"),
], ids=["case_and_dot", "ipv6", "http10", "empty_line_first"])
def test_taken_in_strict_mode(parsers, head, host):
    p = parsers("strict")
    with p.client() as client:
        client.send(head)
        assert client.response().status == 403
        mine = f"127.0.0.1:{client.port}"
    assert p.wait_event("connect_decision", client_addr=mine)["server_host"] == host


def test_byte_by_byte(parsers):
    p = parsers("strict")
    with p.client() as client:
        for byte in b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n":
            client.send(bytes([byte]))
        assert client.response().status == 403


def test_client_resets_inside_the_head(proxy):
    p = proxy()
    client = p.client()
    client.send(b"CONNECT origin.test:443 HT")
    client.reset()
    closed = p.wait_closed()[0]
    assert closed.at("reason_code") in ("connect_parse_failed", "client_aborted")


def test_client_that_connects_and_leaves(proxy):
    p = proxy()
    p.client().close()
    assert p.wait_closed()[0].at("reason_code") in ("client_aborted", "relay_eof", "connect_parse_failed")


def test_smaller_head_limit(proxy):
    p = proxy(max_http_head_bytes=4096)
    refused(p, b"CONNECT origin.test:443 HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n", False, "header_too_large", 431)
