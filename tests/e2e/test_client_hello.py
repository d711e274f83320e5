# SPDX-License-Identifier: MPL-2.0
"""ClientHellos of every shape, through CONNECT and at a TLS listener: those that are well-formed get a ServerHello, the others an alert,
and each connection one close that says why."""
import struct

import pytest

from harness.hello import alpn, extension, hello, padding, records, server_name
from harness.timing import scaled

ANSWERED = [  # name, bytes
    ("plain", records(hello())), ("one_byte_records", records(hello(), 1)), ("padded", records(hello(more=padding(12000)))),
    ("two_records_of_16k", records(hello(more=padding(17000)))), ("no_sni", records(hello(None))),
    ("tls12", records(hello(versions=None))), ("sni_upper_case_and_dot", records(hello(b"ORIGIN.test."))),
    ("grease", records(hello(suites=b"\x0a\x0a\x13\x01", versions=(0x5a5a, 0x0304), more=extension(0xdada, b"\0")))),
    ("ech_outer", records(hello(more=extension(0xfe0d, bytes(200))))), ("h2_alone", records(hello(more=alpn(b"h2")))),
    ("odd_protocols", records(hello(more=alpn(b"\xff\0,", b"x" * 255)))),
]
DECODE_ERROR, HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, PROTOCOL_VERSION = 50, 40, 47, 70
REFUSED = [  # name, bytes, alert, reason
    ("longer_than_64k", records(hello(more=padding(65000)) + b"") + b"\x16\x03\x01\x40\x00" + bytes(16384), HANDSHAKE_FAILURE, "handshake"),
    ("longer_than_tls_library_takes", records(hello(more=padding(40000))), HANDSHAKE_FAILURE, "handshake"),
    ("claims_16m", b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(200), DECODE_ERROR, "other"),
    ("sni_with_nul", records(hello(b"origin.test\0.evil.test")), DECODE_ERROR, "other"),
    ("sni_with_space", records(hello(b"origin .test")), DECODE_ERROR, "other"),
    ("sni_not_ascii", records(hello("bücher.test".encode())), DECODE_ERROR, "other"),
    ("sni_wildcard", records(hello(b"*.origin.test")), DECODE_ERROR, "other"),
    ("sni_ipv6", records(hello(b"::1")), DECODE_ERROR, "other"),
    ("sni_empty", records(hello(b"")), DECODE_ERROR, "other"),
    ("sni_of_254", records(hello(b".".join([b"a" * 62] * 4) + b".xy")), DECODE_ERROR, "other"),
    ("sni_of_300", records(hello(b".".join([b"a" * 59] * 5))), DECODE_ERROR, "other"),
    ("sni_label_of_64", records(hello(b"a" * 64 + b".test")), DECODE_ERROR, "other"),
    ("two_names", records(hello(names=server_name(b"origin.test", b"other.test"))), DECODE_ERROR, "other"),
    ("sni_extension_twice", records(hello(names=server_name(b"origin.test") * 2)), DECODE_ERROR, "other"),
    ("sni_extension_empty", records(hello(names=extension(0, b""))), DECODE_ERROR, "other"),
    ("alpn_length_lies", records(hello(more=extension(16, b"\0\5\2h2"))), DECODE_ERROR, "other"),
    ("alpn_empty_name", records(hello(more=extension(16, b"\0\1\0"))), DECODE_ERROR, "other"),
    ("no_suites", records(hello(suites=b"")), DECODE_ERROR, "other"),
    ("session_id_of_33", records(hello(session=b"x" * 33)), DECODE_ERROR, "other"),
    ("bytes_behind_it", (lambda m: b"\x16\x03\x01" + struct.pack("!H", len(m) + 3) + m + b"xyz")(hello()), DECODE_ERROR, "other"),
    ("empty_record_first", b"\x16\x03\x01\0\0" + records(hello()), DECODE_ERROR, "other"),
    ("unknown_suites", records(hello(suites=b"\x13\xff")), HANDSHAKE_FAILURE, "handshake"),
    ("compression", records(hello(compression=b"\1")), ILLEGAL_PARAMETER, "handshake"),
    ("tls11", records(hello(versions=(0x0302,), legacy=0x0302)), PROTOCOL_VERSION, "handshake"),
    ("tls10", records(hello(versions=None, legacy=0x0301)), PROTOCOL_VERSION, "handshake"),
    ("ssl3", records(hello(None, versions=None, legacy=0x0300), version=0x0300), PROTOCOL_VERSION, "handshake"),
]


@pytest.fixture(scope="module")
def fronts(shared, shared_origin):
    """where -> (proxy, what to do first)."""
    server = shared_origin(tls=True)
    by_connect = shared()
    in_front = shared(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                      reverse_upstream={"host": "origin.test", "port": server.port, "tls": True})
    return {"connect": (by_connect, lambda client: client.connect(f"origin.test:{server.port}")), "reverse": (in_front, lambda client: None)}


def first_record(client):
    kind, _, length = struct.unpack("!BHH", client.exactly(5))
    return kind, client.exactly(length)


WHERE = pytest.mark.parametrize("where", ["connect", "reverse"])


@WHERE
@pytest.mark.parametrize("data", [v[1] for v in ANSWERED], ids=[v[0] for v in ANSWERED])
def test_well_formed(fronts, where, data):
    p, begin = fronts[where]
    with p.client() as client:
        begin(client)
        client.send(data)
        kind, body = first_record(client)
        assert (kind, body[0]) == (22, 2), f"no ServerHello: {kind} {body[:4].hex()}"
        mine = f"127.0.0.1:{client.port}"
    assert p.wait_event("stream_closed", client_addr=mine).at("reason_code") == "tls_handshake_failed"


@WHERE
@pytest.mark.parametrize("data,alert,reason", [v[1:] for v in REFUSED], ids=[v[0] for v in REFUSED])
def test_refused(fronts, where, data, alert, reason):
    p, begin = fronts[where]
    with p.client() as client:
        begin(client)
        client.send(data)
        assert first_record(client) == (21, bytes([2, alert]))
        assert client.ended()
        mine = f"127.0.0.1:{client.port}"
    closed = p.wait_event("stream_closed", client_addr=mine)
    assert (closed.at("reason_code"), closed.at("reason_detail")) == ("tls_handshake_failed", f"downstream:{reason}")
    failed = [e for e in p.log.find("tls_handshake_failed", peer="downstream") if e.flow == closed.flow]
    assert len(failed) == 1 and failed[0].at("tls_failure_reason") == reason and failed[0].at("detail")
    assert failed[0].at("tls_alert") == str(alert)


@WHERE
def test_never_whole(proxy, origin, where):
    """Every beginning of a hello ends at the deadline."""
    server, data = origin(tls=True), records(hello())
    settings = {}
    if where == "reverse":
        settings = {"listen": [{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                    "reverse_upstream": {"host": "origin.test", "port": server.port, "tls": True}}
    p = proxy(tls_handshake_timeout="500ms", **settings)
    cuts = [2, 5, 6, 9, 11, 43, 44, 60, len(data) // 2, len(data) - 1]
    clients = []
    for cut in cuts:
        client = p.client(seconds=scaled(10))
        if where == "connect":
            client.connect(f"origin.test:{server.port}")
        client.send(data[:cut])
        clients.append(client)
    for client in clients:
        assert client.ended()
        client.close()
    closed = p.wait_closed(len(cuts))
    assert {(e.at("reason_code"), e.at("reason_detail")) for e in closed} == {("tls_handshake_failed", "downstream:timeout")}
    assert server.connections == 0


@WHERE
def test_cut_anywhere(fronts, where):
    """A client that leaves within its hello has not judged us."""
    p, begin = fronts[where]
    data = records(hello(more=padding(700)), 400)
    for cut in range(2, len(data), 7):
        with p.client() as client:
            begin(client)
            client.send(data[:cut])
            client.finish()
            assert client.rest() == b""
            mine = f"127.0.0.1:{client.port}"
        closed = p.wait_event("stream_closed", client_addr=mine)
        assert (closed.at("reason_code"), closed.at("reason_detail")) == ("tls_handshake_failed", "downstream:eof_or_reset")
        failed = [e for e in p.log.find("tls_handshake_failed", peer="downstream") if e.flow == closed.flow]
        assert [(e.at("detail"), e.at("peer_rejected_ca"), e.at("raw_provider_error")) for e in failed] == [
            ("the client hung up before its ClientHello was whole", "no", f"end after {cut} bytes of a ClientHello")]
        assert [e.kind for e in p.events() if e.flow == closed.flow].count("connect_decision") == 1
