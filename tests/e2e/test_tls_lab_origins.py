# SPDX-License-Identifier: MPL-2.0
"""The fault lab, origins: every certificate, end and alert of harness/faultlab.py with TLS 1.2 and 1.3. One proxy for all of them, so that
no failure may disturb the next; the score is printed."""
import ssl

import pytest

from harness.faultlab import (ALERTS, CERTIFICATES, ENDS, STEPS, SUCCESS, VERSIONS, Seen, alert, at_step, leave, matches, quiet, refuses, seen, server_context,
                              step_expects)
from harness.pki_lab import FaultPki
from harness.timing import scaled

TITLE = "TLS fault lab, origins"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return FaultPki(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def lab(shared, pki):
    return shared(upstream_ca_file=str(pki.roots), tls_handshake_timeout=f"{int(scaled(1000))}ms")


def visit(p, server, host):
    """One request; what the proxy says of the origin's handshake."""
    with p.https(host, server.port) as client:
        answer = client.ask("GET", "/hello", host)
    p.wait_event("stream_closed", server_host=host)
    failed = p.log.find("tls_handshake_failed", server_host=host, peer="upstream")
    if not failed:
        return SUCCESS, answer, None
    return seen(failed[0]), answer, failed[0]


def judge(record_property, case, version, wanted, got, event):
    verify = (event and event.at("tls_verify_code")) or "-"
    mark = "ok" if matches(wanted, got) else "WRONG"
    record_property("row", (TITLE, f"{case:34} {version or 'any':4} expected {wanted}   seen {got} {verify:>4}   {mark}"))
    assert mark == "ok", (case, f"expected {wanted}", f"seen {got}", event and event.attrs)


def check_told(answer, event, got):
    """The client was told the same."""
    assert answer.status == (504 if got.reason == "timeout" else 502)
    assert got.reason.encode() in answer.body
    assert event.at("normalized_reason") == event.at("tls_failure_reason") == got.reason
    assert event.at("tls_failure_source") == "native_authoritative" and event.at("tls_ops_provider") == "soth-mitm"
    assert event.at("detail") and event.at("raw_provider_error")
    assert event.at("peer_rejected_ca") is None
    for counter in ("host", "host_rolling", "source", "reason", "global"):
        assert int(event.at(f"tls_failure_{counter}_count")) >= 1
    assert event.at("tls_failure_host_count") == event.at("tls_failure_host_rolling_count") == "1", "one host a case"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CERTIFICATES)
def test_certificate(lab, pki, shared_origin, record_property, case, version):
    host = f"{case.replace('_', '-')}-{version[2]}.lab.test"
    server = shared_origin(tls=server_context(pki.files(case, host), VERSIONS[version]))
    got, answer, event = visit(lab, server, host)
    judge(record_property, case, version, CERTIFICATES[case], got, event)
    if event:
        check_told(answer, event, got)
        assert server.requests == [], "nothing is sent to an origin that is not trusted"
    else:
        assert answer.body == b"hello\n"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["wrong_ip", "valid"])
def test_certificate_for_an_address(lab, pki, shared_origin, record_property, case, version):
    """The origin is asked for by address. A certificate for a name only is wrong, too."""
    host = "127.0.0.1"
    before = len(lab.log.find("tls_handshake_failed", server_host=host))
    files = pki.files(case, host if case == "wrong_ip" else "name-only.test")
    server = shared_origin(tls=server_context(files, VERSIONS[version]))
    with lab.https(host, server.port) as client:
        answer = client.ask("GET", "/hello", host)
    assert answer.status == 502
    events = lab.wait_event("stream_closed", server_host=host, server_port=server.port) and lab.log.find("tls_handshake_failed", server_host=host)
    judge(record_property, "address: " + ("another one's" if case == "wrong_ip" else "a name only"), version,
          Seen("cert_validation", "42"), seen(events[before]), events[before])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("step", STEPS)
def test_end_at_a_step(lab, pki, shared_origin, record_property, step, end, version):
    if step in ("at_once", "after_hello") and version == "1.2":
        pytest.skip("no version has been chosen yet: the same as with TLS 1.3")
    if step == "before_finished" and version == "1.3":
        pytest.skip("in TLS 1.3 the first flight ends the handshake for us: see test_late")
    host = f"{step}-{end}-{version[2]}.lab.test".replace("_", "-")
    server = shared_origin(at_step(step, end, server_context(pki.files("valid", host), VERSIONS[version])))
    got, answer, event = visit(lab, server, host)
    judge(record_property, f"{step}: {end}", version if step not in ("at_once", "after_hello") else None, step_expects(step, end, version), got, event)
    check_told(answer, event, got)


@pytest.mark.parametrize("number", ALERTS)
def test_alert(lab, shared_origin, record_property, number):
    host = f"alert-{number}.lab.test"
    got, answer, event = visit(lab, shared_origin(refuses(number)), host)
    judge(record_property, f"alert {number} {ALERTS[number]}", None, Seen("handshake", str(number)), got, event)
    check_told(answer, event, got)


def test_warning_alert_and_close(lab, shared_origin, record_property):
    host = "warning.lab.test"
    got, answer, event = visit(lab, shared_origin(refuses(112, level=1, then=leave)), host)
    judge(record_property, "warning 112, then closes", None, Seen("handshake", "112"), got, event)
    check_told(answer, event, got)


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificate_wanted(lab, pki, shared_origin, record_property, version):
    """In TLS 1.3 we are done with the handshake when the origin's alert comes: it is the handshake's failure all the same."""
    host = f"client-certificate-{version[2]}.lab.test"
    context = server_context(pki.files("valid", host), VERSIONS[version])
    context.load_verify_locations(pki.roots)
    context.verify_mode = ssl.CERT_REQUIRED
    server = shared_origin(tls=context)
    got, answer, event = visit(lab, server, host)
    judge(record_property, "wants a client certificate", version, Seen("handshake", "116" if version == "1.3" else "40"), got, event)
    check_told(answer, event, got)
    assert answer.proxy_error == "tls_alert_received"
    order = [(e.kind, e.at("peer")) for e in lab.log.find(server_host=host)]
    assert (("tls_handshake_succeeded", "upstream") in order) == (version == "1.3")


def late(context, number):
    """A server that is done with the handshake and then refuses us after all, inside TLS."""
    def handler(wire):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.send(outgoing.read())
                incoming.write(wire.sock.recv(65536))
        outgoing.read()  # tickets
        wire.send(alert(number))  # in plaintext, where only ciphertext may be
        quiet(wire)
    return handler


def test_plaintext_alert_after_the_handshake_is_none(lab, pki, shared_origin):
    """Anybody on the way can send that: it says nothing of the origin, and breaks the connection."""
    host = "late-plaintext.lab.test"
    server = shared_origin(late(server_context(pki.files("valid", host), VERSIONS["1.3"]), 116))
    got, answer, _ = visit(lab, server, host)
    assert got == SUCCESS and answer.status == 502 and answer.proxy_error == "connection_terminated"


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
@pytest.mark.parametrize("case,server,wanted", [
    ("no version in common", {"version": ssl.TLSVersion.TLSv1_1, "ciphers": "ALL:@SECLEVEL=0"}, Seen("handshake", "70")),
    ("no suite in common", {"version": VERSIONS["1.2"], "ciphers": "ECDHE-ECDSA-AES128-SHA256"}, Seen("handshake", "40")),
    ("no group in common", {"version": VERSIONS["1.3"], "curve": "secp521r1"}, Seen("handshake", "40")),
])
def test_nothing_in_common(lab, pki, shared_origin, record_property, case, server, wanted):
    host = case.replace(" ", "-") + ".lab.test"
    got, answer, event = visit(lab, shared_origin(tls=server_context(pki.files("valid", host), **server)), host)
    judge(record_property, case, None, wanted, got, event)
    check_told(answer, event, got)


def test_every_failure_was_counted(lab):
    """The counters of one process: global and per reason, each number once."""
    failed = lab.log.find("tls_handshake_failed")
    assert sorted(int(e.at("tls_failure_global_count")) for e in failed) == list(range(1, len(failed) + 1))
    for reason in {e.at("tls_failure_reason") for e in failed}:
        mine = sorted(int(e.at("tls_failure_reason_count")) for e in failed if e.at("tls_failure_reason") == reason)
        assert mine == list(range(1, len(mine) + 1)), reason
