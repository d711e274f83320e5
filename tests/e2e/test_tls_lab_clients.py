# SPDX-License-Identifier: MPL-2.0
"""The fault lab, clients: what each client that people use does when it does not trust us, and every other way in which a client's handshake
fails, with TLS 1.2 and 1.3. The score is printed."""
import socket
import ssl

import pytest

from harness.faultlab import GARBAGE, HTTP_ANSWER, SSH_BANNER, Seen, alert, matches, seen
from harness.faultlab import VERSIONS as TLS
from harness.hello import hello, padding, records
from harness.late_alert import refuse_late
from harness.timing import scaled
from harness.tls_clients import CLIENTS, go
from harness.tools import need, run

TITLE = "TLS fault lab, clients"
VERSIONS = ("1.2", "1.3")


@pytest.fixture(scope="module")
def lab(shared):
    return shared(tls_handshake_timeout=f"{int(scaled(2500))}ms")


@pytest.fixture(scope="module")
def server(shared_origin, authority):
    return shared_origin(tls=authority.server("*.clients.test"))


def outcome(p, host):
    """What the log says of the client's side of the one flow to this host."""
    closed = p.wait_event("stream_closed", server_host=host)
    failed = p.log.find("tls_handshake_failed", server_host=host, peer="downstream")
    return failed[0] if failed else closed


def judge(record_property, case, version, wanted, event):
    got = seen(event)
    mark = "ok" if matches(wanted, got) else "WRONG"
    record_property("row", (TITLE, f"{case:34} {version or 'any':4} expected {wanted}   seen {got}   {mark}"))
    assert mark == "ok", (case, f"expected {wanted}", f"seen {got}", event.attrs)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CLIENTS)
def test_client_that_trusts_us(lab, server, record_property, name, version):
    host = f"{name}-trusts-{version[2]}.clients.test"
    assert CLIENTS[name](lab, host, server.port, lab.ca_path, version)
    event = outcome(lab, host)
    judge(record_property, f"{name}: trusts us", version, Seen("(succeeded)", confidence="-"), event)
    done = lab.log.find("tls_handshake_succeeded", server_host=host, peer="downstream")[0]
    assert done.at("tls_version") == "TLSv" + version


HUNG_UP = Seen("(succeeded)", None, "likely", "inferred")  # after a handshake that was finished
UNKNOWN_CA = Seen("unknown_ca", "48", "certain")
DISTRUST = {
    ("curl", "1.2"): UNKNOWN_CA, ("curl", "1.3"): UNKNOWN_CA,
    ("wget", "1.2"): HUNG_UP, ("wget", "1.3"): HUNG_UP,
    ("python", "1.2"): UNKNOWN_CA, ("python", "1.3"): UNKNOWN_CA,
    ("openssl", "1.2"): UNKNOWN_CA, ("openssl", "1.3"): UNKNOWN_CA,
    ("node", "1.2"): HUNG_UP, ("node", "1.3"): Seen("eof_or_reset", None, "likely"),
    ("go", "1.2"): Seen("cert_validation", "42", "certain"), ("go", "1.3"): Seen("cert_validation", "42", "certain"),
    ("java", "1.2"): Seen("cert_validation", "46", "certain"), ("java", "1.3"): Seen("cert_validation", "46", "certain"),
    ("gnutls", "1.2"): Seen("cert_validation", "42", "certain"), ("gnutls", "1.3"): Seen("cert_validation", "42", "certain"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CLIENTS)
def test_client_that_does_not_trust_us(lab, server, record_property, authority, name, version):
    host = f"{name}-distrusts-{version[2]}.clients.test"
    assert not CLIENTS[name](lab, host, server.port, authority.path, version)
    judge(record_property, f"{name}: does not know our CA", version, DISTRUST[name, version], outcome(lab, host))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("option", ["pin", "pinlate"])
def test_client_that_pins(lab, server, record_property, option, version):
    """It knows our CA and wants another certificate. Go says so with an alert, in both of its hooks."""
    host = f"go-{option}-{version[2]}.clients.test"
    assert not go(lab, host, server.port, lab.ca_path, version, option)
    judge(record_property, f"go: pins ({option})", version, Seen("cert_validation", "42", "certain"), outcome(lab, host))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number,wanted", [(42, "certain"), (46, "certain"), (48, "certain"), (44, "likely"), (80, "no")])
def test_alert_after_the_handshake(lab, server, record_property, number, wanted, version):
    """A fatal alert in place of a first byte is the handshake's failure, told late."""
    host = f"late-{number}-{version[2]}.clients.test"
    with lab.client().connect(f"{host}:{server.port}") as client:
        client.sock.settimeout(None)
        assert refuse_late(client.sock, host, version, number)
        client.sock.settimeout(scaled(10))
        client.ended()
    reason = "handshake" if number == 80 else "unknown_ca" if number == 48 else "cert_validation"
    judge(record_property, f"alert {number} after its Finished", version, Seen(reason, str(number), wanted), outcome(lab, host))
    assert lab.log.find("tls_handshake_succeeded", server_host=host, peer="downstream")
    assert lab.wait_event("stream_closed", server_host=host).at("reason_detail") == "downstream:" + reason


@pytest.mark.parametrize("version", VERSIONS)
def test_alert_after_the_handshake_of_http2(lab, server, record_property, version):
    host = f"late-h2-{version[2]}.clients.test"
    with lab.client().connect(f"{host}:{server.port}") as client:
        client.sock.settimeout(None)
        assert refuse_late(client.sock, host, version, 42, b"h2")
        client.sock.settimeout(scaled(10))
        client.ended()
    judge(record_property, "h2: alert 42 after its Finished", version, Seen("cert_validation", "42", "certain"), outcome(lab, host))


@pytest.mark.parametrize("version", VERSIONS)
def test_origin_that_refuses_late_an_http2_client(shared, shared_origin, authority, version):
    """It wants a client certificate; with TLS 1.3 that is told after its handshake. Each request gets the reason, none waits."""
    host = f"wants-h2-{version[2]}.clients.test"
    context = authority.server("*.clients.test", versions=(TLS[version], TLS[version]), alpn=("h2", "http/1.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.path)
    server, p = shared_origin(tls=context), shared()
    done = run([need("curl"), "-sS", "--http2", "--noproxy", "", "-x", p.url, "--cacert", p.ca_path, "-o", "/dev/null", "-o", "/dev/null",
                "-w", "%{http_version} %{http_code}\n", f"https://{host}:{server.port}/a", f"https://{host}:{server.port}/b"])
    assert done.stdout == b"2 502\n2 502\n"
    failed = p.wait_event("tls_handshake_failed", server_host=host, peer="upstream")
    assert failed.at("tls_alert") == ("116" if version == "1.3" else "40")


# ---- clients made by hand

def cert_alerts(version):
    return {42: ("cert_validation", "certain"), 43: ("cert_validation", "certain"), 44: ("cert_validation", "likely"),
            45: ("cert_validation", "certain"), 46: ("cert_validation", "certain"), 48: ("unknown_ca", "certain"),
            40: ("handshake", "no"), 47: ("handshake", "no"), 50: ("handshake", "no"), 51: ("handshake", "no"), 80: ("handshake", "no"),
            90: ("handshake", "no"), 109: ("handshake", "no")}


class Half:
    """A client that comes as far as our first flight."""

    def __init__(self, p, host, port, version, context=None):
        self.client = p.client().connect(f"{host}:{port}")
        self.context = context or p.trust(version=TLS[version])
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.hello = self.outgoing.read()

    def to_flight(self):
        """Sends the hello, waits for our first flight, gives back what would follow."""
        self.client.send(self.hello)
        while True:
            assert self.client.fill()
            self.incoming.write(self.client.take(len(self.client.buffer)))
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                if self.outgoing.pending:
                    break
        return self.outgoing.read()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", cert_alerts("1.3"))
def test_plaintext_alert(lab, server, record_property, number, version):
    """In place of its second flight. TLS 1.3 clients that have not switched their keys yet send it in plaintext."""
    host = f"plain-{number}-{version[2]}.clients.test"
    half = Half(lab, host, server.port, version)
    half.to_flight()
    half.client.send(alert(number))
    half.client.ended()
    half.client.close()
    reason, rejected = cert_alerts(version)[number]
    judge(record_property, f"plaintext alert {number}", version, Seen(reason, str(number), rejected), outcome(lab, host))


def after_hello(end):
    def act(half):
        half.client.send(half.hello)
        if end == "stops":
            half.client.rest()
        elif end == "closes":
            half.client.sock.shutdown(socket.SHUT_WR)
            half.client.rest()
        else:
            half.client.fill()
            half.client.reset()
    return act


def after_flight(end):
    def act(half):
        half.to_flight()
        {"stops": lambda: half.client.ended(), "closes": lambda: (half.client.finish(), half.client.ended()), "resets": half.client.reset,
         "http": lambda: (half.client.send(HTTP_ANSWER), half.client.ended()), "ssh": lambda: (half.client.send(SSH_BANNER), half.client.ended()),
         "garbage": lambda: (half.client.send(GARBAGE), half.client.ended())}[end]()
    return act


LEAVES = Seen("eof_or_reset", None, "likely")
BROKEN = Seen("handshake", ..., "no")
ENDS = {"stops": Seen("timeout", None, "no"), "closes": LEAVES, "resets": LEAVES, "http": BROKEN, "ssh": BROKEN, "garbage": BROKEN}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ENDS)
def test_end_before_its_finished(lab, server, record_property, end, version):
    host = f"flight-{end}-{version[2]}.clients.test"
    half = Half(lab, host, server.port, version)
    after_flight(end)(half)
    judge(record_property, f"before its Finished: {end}", version, ENDS[end], outcome(lab, host))


@pytest.mark.parametrize("end", ["stops", "resets"])
def test_end_after_its_hello(lab, server, record_property, end):
    host = f"hello-{end}.clients.test"
    half = Half(lab, host, server.port, "1.3")
    after_hello(end)(half)
    judge(record_property, f"after its hello: {end}", None, ENDS[end], outcome(lab, host))


@pytest.mark.parametrize("version", VERSIONS)
def test_hangs_up_after_the_handshake(lab, server, record_property, version):
    host = f"silent-{version[2]}.clients.test"
    with lab.https(host, server.port, version=TLS[version]):
        pass
    judge(record_property, "hangs up without a byte", version, HUNG_UP, outcome(lab, host))


def offer(p, **what):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(p.ca_path)
    context.set_ciphers(what.get("ciphers", "DEFAULT:@SECLEVEL=0"))
    if "version" in what:
        context.minimum_version = context.maximum_version = what["version"]
    if "curve" in what:
        context.set_ecdh_curve(what["curve"])
    return context


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
@pytest.mark.parametrize("case,what", [
    ("no version in common", {"version": ssl.TLSVersion.TLSv1_1, "ciphers": "ALL:@SECLEVEL=0"}),
    ("no suite in common", {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256"}),
    ("no group in common", {"version": ssl.TLSVersion.TLSv1_3, "curve": "secp521r1"}),
])
def test_nothing_in_common(lab, server, record_property, case, what):
    host = case.replace(" ", "-") + ".clients.test"
    half = Half(lab, host, server.port, None, offer(lab, **what))
    half.client.send(half.hello)
    got = half.client.rest()
    assert got[:1] == b"\x15" and len(got) == 7, "a client is told by an alert"
    judge(record_property, case, None, Seen("handshake", str(got[6]), "no"), outcome(lab, host))
    assert got[6] == {"no version in common": 70, "no suite in common": 40, "no group in common": 47}[case]


@pytest.mark.parametrize("size,works", [(12000, True), (17000, True), (20000, False), (60000, False)])
def test_long_hello(lab, server, record_property, size, works):
    """The TLS library takes hellos of 18 KiB; more is refused with words that say so."""
    host = f"hello-of-{size}.clients.test"
    with lab.client().connect(f"{host}:{server.port}") as client:
        client.send(records(hello(host.encode(), more=padding(size))))
        kind = client.exactly(5)[0]
        assert kind == (22 if works else 21)
        client.close()
    event = outcome(lab, host)
    wanted = Seen("eof_or_reset", None, "likely") if works else Seen("handshake", "40", "no")
    judge(record_property, f"hello of {size} bytes", "1.3", wanted, event)
    assert works or ("18 KiB" in event.at("detail") and "ignore_hosts" in event.at("detail")), event.attrs
