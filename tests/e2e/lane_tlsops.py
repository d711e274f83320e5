# SPDX-License-Identifier: MPL-2.0
"""Lane tlsops: the same failures through soth-mitm itself and through a mitmproxy that tells it of them must get the same words. Prints a table;
`scripts/lane tlsops` runs it. Needs mitmproxy in build/mitmproxy (scripts/setup --lanes), or SOTH_MITMDUMP. With SOTH_TLSOPS_RECORD=FILE what
mitmproxy says is written there, with our own words for it: tests/e2e/data/tlsops.jsonl is such a file."""
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import pytest

from harness.client import Client, trust
from harness.hello import hello, records
from harness.origin import reply
from harness.ports import free_port
from harness.timing import scaled, until
from harness.tools import clean_env, go_program, missing, run
from test_tls_learning import pin_of

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
ADDON = ROOT / "modules" / "tlsops_mitmproxy" / "addon" / "soth_tls_ops.py"
MITMDUMP = os.environ.get("SOTH_MITMDUMP") or str(ROOT / "build" / "mitmproxy" / "bin" / "mitmdump")
HOST = "origin.test"

# mitmproxy asks the system about names: ours is here.
HERE_ADDON = """
def server_connect(data):
    if data.server.address and data.server.address[0] == "origin.test":
        data.server.address = ("127.0.0.1", data.server.address[1])
"""


# ---- origins that fail

class Raw:
    """Accepts, reads the hello, does one thing."""

    def __init__(self, answer):
        self.answer, self.kept = answer, []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            conn.recv(65536)
            self.answer(self, conn)
        except OSError:
            pass

    def close(self):
        self.sock.close()
        for conn in self.kept:
            conn.close()


def says(data):
    def answer(_, conn):
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(65536):
            pass
        conn.close()
    return answer


def hangs_up(_, conn):
    conn.close()


def resets(_, conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def is_silent(server, conn):
    server.kept.append(conn)


def alert(number):
    return says(bytes([21, 3, 3, 0, 2, 2, number]))


RAW = {
    "origin hangs up": hangs_up, "origin resets": resets, "origin is silent": is_silent,
    "origin speaks HTTP": says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "origin speaks SSH": says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "origin: alert handshake_failure": alert(40), "origin: alert protocol_version": alert(70), "origin: alert unrecognized_name": alert(112),
    "origin: alert internal_error": alert(80), "origin: alert access_denied": alert(49),
}


# ---- clients that fail

def ends(client):
    try:
        while client.sock.recv(65536):
            pass
    except OSError:
        pass


def plain_client(address, target, authority):
    with Client(address, 20) as client:
        client.connect(target)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        try:
            client.start_tls(context, HOST)
            client.ask("GET", "/hello", HOST)
        except (OSError, AssertionError, EOFError):
            pass


def own_root(version):
    def go(address, target, authority):
        with Client(address, 20) as client:
            client.connect(target)
            with pytest.raises(ssl.SSLError):
                client.start_tls(trust(authority.path, version=version), HOST)
            ends(client)
    return go


def with_flight(then):
    """Sends a hello, reads the beginning of the answer, and then..."""
    def go(address, target, authority):
        with Client(address, 20) as client:
            client.connect(target)
            client.send(records(hello(HOST.encode())))
            client.exactly(5)
            then(client)
    return go


def send_alert(number):
    def go(client):
        client.send(bytes([21, 3, 3, 0, 2, 2, number]))
        ends(client)
    return go


def old_version(address, target, authority):
    with Client(address, 20) as client:
        client.connect(target)
        client.send(records(hello(HOST.encode(), versions=(0x0302,), legacy=0x0302)))
        ends(client)


CLIENTS = {
    "client: own root, TLS 1.3": own_root(ssl.TLSVersion.TLSv1_3), "client: own root, TLS 1.2": own_root(ssl.TLSVersion.TLSv1_2),
    "client hangs up": with_flight(lambda c: c.sock.close()), "client resets": with_flight(lambda c: c.reset()),
    "client is silent": with_flight(ends), "client: TLS 1.1 only": old_version,
    "client: alert bad_certificate": with_flight(send_alert(42)), "client: alert certificate_revoked": with_flight(send_alert(44)),
    "client: alert certificate_expired": with_flight(send_alert(45)), "client: alert certificate_unknown": with_flight(send_alert(46)),
    "client: alert unknown_ca": with_flight(send_alert(48)), "client: alert handshake_failure": with_flight(send_alert(40)),
}


class Tee:
    """Between the add-on and the module: keeps the lines that pass."""

    def __init__(self, path, to):
        self.lines, self.to = [], str(to)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with socket.socket(socket.AF_UNIX) as on, conn, conn.makefile("rb") as lines:
                on.connect(self.to)
                for line in lines:
                    self.lines.append(json.loads(line))
                    on.sendall(line)


# ---- the two

@pytest.fixture(scope="module")
def place():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soth-tlsops-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def native(shared, place):
    return shared(extra_modules=[
        {"module": "tlsops_mitmproxy", "config": {"socket_path": str(place / "ops.sock")}},
        {"module": "policy_tls_learning", "config": {}}], tls_handshake_timeout="2s", exit=0)


@pytest.fixture(scope="module")
def tee(native, place):
    one = Tee(place / "tee.sock", place / "ops.sock")
    yield one
    one.sock.close()


@pytest.fixture(scope="module")
def mitmproxy(native, place, authority, tee):
    if not os.path.exists(MITMDUMP):
        missing(f"{MITMDUMP} does not exist: scripts/setup --lanes")
    script = place / "here.py"
    script.write_text(HERE_ADDON)
    port = free_port()
    with open(place / "mitmdump.log", "wb") as out:
        process = subprocess.Popen(
            [MITMDUMP, "--set", f"confdir={place}/conf", "--listen-host", "127.0.0.1", "--listen-port", str(port), "-s", str(script), "-s", str(ADDON),
             "--set", f"soth_tls_socket={place}/tee.sock", "--set", "soth_tls_timeout=2", "--set", f"ssl_verify_upstream_trusted_ca={authority.path}"],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=clean_env())

    def listens():
        assert process.poll() is None, (place / "mitmdump.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    until(listens, 60, "mitmproxy")
    yield ("127.0.0.1", port)
    process.terminate()
    try:
        process.wait(scaled(20))
    except subprocess.TimeoutExpired:
        process.kill()
    said = (place / "mitmdump.log").read_text()
    assert "Traceback" not in said and "Addon error" not in said, said[-4000:]


@pytest.fixture(scope="module")
def table(tee):
    rows = []
    yield rows
    record = os.environ.get("SOTH_TLSOPS_RECORD")
    if record:
        with open(record, "w") as out:
            for line in tee.lines:
                if line["event"] != "failed" or "expected" in line:
                    out.write(json.dumps(line) + "\n")
    width = max(len(r[0]) for r in rows)
    print(f"\n\n{'case':{width}}  side        soth-mitm                              mitmproxy                              same")
    for case, peer, mine, other in rows:
        texts = [f"{r['reason']:16} alert {r['alert'] or '-':4} {r['rejected'] or '':7}" for r in (mine, other)]
        print(f"{case:{width}}  {peer:10}  {texts[0]:37}  {texts[1]:37}  {'yes' if agree(mine, other) else 'NO'}")
    print(f"{sum(agree(m, o) for _, _, m, o in rows)} of {len(rows)} the same")


def agree(mine, other):
    return (mine["reason"], mine["rejected"]) == (other["reason"], other["rejected"])


def words(event):
    return {"reason": event.at("normalized_reason"), "alert": event.at("tls_alert"), "rejected": event.at("peer_rejected_ca")}


def compare(case, native, mitmproxy, tee, table, authority, port, client, peer):
    target = f"{HOST}:{port}"
    found = []
    for address, is_native in ((native.address(), True), (mitmproxy, False)):
        before, said = len(native.events()), len(tee.lines)
        client(address, target, authority)
        event = until(lambda: [e for e in native.events()[before:] if e.kind == "tls_handshake_failed" and e.at("peer") == peer
                               and (e.flow != 0) == is_native], 20, lambda: f"the failure of {'soth-mitm' if is_native else 'mitmproxy'}; {native.stderr()[-500:]}")[0]
        assert event.get("server_host") == HOST and event.get("server_port") == port
        if not is_native:
            assert (event.at("tls_failure_source"), event.at("tls_ops_provider"), event.at("source_confidence")) == (
                "mitmproxy_authoritative", "mitmproxy", "authoritative")
            assert event.at("provider_identity").startswith("mitmproxy ") and event.at("raw_provider_error")
        found.append(words(event))
    line = next(line for line in tee.lines[said:] if line["event"] == "failed" and line["peer"] == peer)
    line.update({"case": case, "expected": found[0]["reason"]} | ({"rejected": found[0]["rejected"]} if found[0]["rejected"] else {}))
    table.append((case, peer, *found))
    assert agree(*found), f"{case}: soth-mitm {found[0]}, mitmproxy {found[1]}"


@pytest.mark.parametrize("case", RAW)
def test_origins_that_speak_no_tls(native, mitmproxy, tee, table, authority, case):
    server = Raw(RAW[case])
    try:
        compare(case, native, mitmproxy, tee, table, authority, server.port, plain_client, "upstream")
    finally:
        server.close()


CERTIFICATES = {
    "origin: unknown CA": dict(stranger=True), "origin: self-signed": dict(self_signed=True), "origin: expired": dict(days=(-10, -1)),
    "origin: not yet valid": dict(days=(1, 10)), "origin: another name": dict(name="other.test"), "origin: an address": dict(name="127.0.0.9"),
    "origin: a client's certificate": dict(client=True), "origin: TLS 1.1 only": dict(old=True),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_origins_with_bad_certificates(native, mitmproxy, tee, table, authority, stranger, shared_origin, case):
    from cryptography.x509.oid import ExtendedKeyUsageOID
    wish = dict(CERTIFICATES[case])
    by = stranger if wish.pop("stranger", False) else authority
    if wish.pop("client", False):
        wish["usage"] = ExtendedKeyUsageOID.CLIENT_AUTH
    old = wish.pop("old", False)
    context = by.server(wish.pop("name", HOST), **wish)
    if old:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    server = shared_origin(lambda wire: wire.send(reply(body=b"x")), tls=context)
    compare(case, native, mitmproxy, tee, table, authority, server.port, plain_client, "upstream")


@pytest.mark.parametrize("case", CLIENTS)
def test_clients(native, mitmproxy, tee, table, authority, shared_origin, case):
    compare(case, native, mitmproxy, tee, table, authority, shared_origin(tls=True).port, CLIENTS[case], "downstream")


def test_go_that_pins(native, mitmproxy, tee, table, authority, shared_origin, tmp_path_factory):
    pin = go_program(HERE / "go_pin", tmp_path_factory.mktemp("go_pin") / "pin")
    server = shared_origin(tls=True)

    def client(address, target, _):
        run([pin, f"http://{address[0]}:{address[1]}", pin_of(authority), f"https://{target}/", "handshake"], check=False)
    compare("client: Go, VerifyPeerCertificate", native, mitmproxy, tee, table, authority, server.port, client, "downstream")


def test_what_goes_well_is_told_too(native, mitmproxy, shared_origin, authority, place):
    server = shared_origin(tls=True)
    before = len(native.events())
    with Client(mitmproxy, 20) as client:
        client.connect(f"{HOST}:{server.port}")
        client.start_tls(trust(place / "conf" / "mitmproxy-ca-cert.pem", strict=False), HOST)
        assert client.ask("GET", "/hello", HOST).status == 200
    told = until(lambda: (lambda t: t if len(t) == 4 else None)([e for e in native.events()[before:] if e.flow == 0 and e.kind.startswith("tls_handshake_")]), 10,
                 "four events")
    assert {(e.kind, e.at("peer"), e.at("tls_ops_provider")) for e in told} == {
        (f"tls_handshake_{what}", peer, "mitmproxy") for what in ("started", "succeeded") for peer in ("upstream", "downstream")}


def test_lessons_come_from_both(native, mitmproxy):
    """Without a list of hosts observe counts all of them: what mitmproxy was certain of is there like our own."""
    audits = native.log.find("tls_learning_audit", signal_provider="mitmproxy")
    assert any(a.at("tls_learning_decision") == "applied" for a in audits)
    assert {a.at("signal_source") for a in audits} == {"mitmproxy_authoritative"}
