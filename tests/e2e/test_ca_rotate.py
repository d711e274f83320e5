# SPDX-License-Identifier: MPL-2.0
"""A CA's successor in a running proxy: by SIGHUP and by age, while flows go on; what clients are given meanwhile; keys under a passphrase."""
import hashlib
import re
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.ca import TICK, command, current, key_id, make, signed_by
from harness.exits import ends
from harness.origin import pattern_sha256
from harness.timing import scaled, until
from harness.tools import need, run

DAY = 86400
BACKDATED = 2 * DAY  # the age of a CA counts from two days after its notBefore


def leaf_issuer(client):
    return signed_by(client.sock.getpeercert(binary_form=True))


def fresh(p, server, ca_path, host="origin.test"):
    """A new client that trusts this file: who signed what it is shown."""
    client = p.client()
    client.connect(f"{host}:{server.port}").start_tls(ssl.create_default_context(cafile=str(ca_path)), host)
    with client:
        assert client.ask("GET", "/hello", host).body == b"hello\n"
        return leaf_issuer(client)


def certificates(text):
    return x509.load_pem_x509_certificates(text)


def test_rotate_and_sighup_drop_nothing(proxy, origin, tmp_path):
    server, p = origin(tls=True), proxy(workers=2)
    old_file = tmp_path / "old.pem"
    old_file.write_bytes(p.ca_path.read_bytes())
    old = current(p)
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
        client.send(b"GET /bytes/30000000 HTTP/1.1\r\nHost: origin.test\r\n\r\n")  # more than fits into sockets: it is under way
        done = command(p, "rotate")
        assert b"SIGHUP" in done.stderr and b"PRIVATE" not in done.stdout + done.stderr
        new = current(p)
        assert new != old and new.subject == old.subject
        assert fresh(p, server, old_file) == key_id(old), "until SIGHUP the old one signs"
        p.hangup()
        assert fresh(p, server, p.ca_path) == key_id(new)
        body = client.response("GET").body
        assert hashlib.sha256(body).hexdigest() == pattern_sha256(30000000), "a transfer goes on over it"
        assert leaf_issuer(client) == key_id(old)
        assert client.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(3)
    assert p.ca_key.stat().st_mode & 0o777 == 0o600


def test_both_are_given_to_clients(proxy, origin):
    """Who has the bundle of today trusts what is signed before and after."""
    server, p = origin(tls=True), proxy()
    command(p, "env")
    bundle, trust = p.ca_path.parent / "bundle.pem", p.ca_path.parent / "trust.pem"
    old = current(p)
    command(p, "rotate", "--prepare")
    assert [key_id(c) for c in certificates(trust.read_bytes())][0] == key_id(old) and len(certificates(trust.read_bytes())) == 2
    assert fresh(p, server, bundle) == key_id(old)
    before = bundle.read_bytes()
    command(p, "rotate")
    p.hangup()
    new = current(p)
    assert key_id(new) in [key_id(c) for c in certificates(before)[-2:]], "what was prepared has come"
    (p.folder / "early.pem").write_bytes(before)
    assert fresh(p, server, p.folder / "early.pem", "a.origin.test") == key_id(new), "who was told early has nothing to do"
    assert fresh(p, server, bundle, "b.origin.test") == key_id(new)
    exported = certificates(command(p, "export").stdout)
    assert exported[0] == new and exported[1:] == [old]
    shown = command(p, "show").stdout.decode()
    assert "previous:" in shown and "trusted to" in shown
    command(p, "rotate", "--drop-old")
    assert len(certificates(command(p, "export").stdout)) == 1 and old not in certificates(bundle.read_bytes())


def test_no_handshake_fails_over_rotations(proxy, origin):
    """Clients that come all the time, each with the trust.pem of its moment, while the CA is rotated three times."""
    server, p = origin(tls=True), proxy(workers=2)
    command(p, "env")
    trust = p.ca_path.parent / "trust.pem"
    stop, failures, seen = threading.Event(), [], set()

    def come(number):
        while not stop.is_set():
            try:
                seen.add(fresh(p, server, trust, f"{chr(97 + number)}.origin.test"))
            except Exception as error:  # whatever it is, it is what this is about
                failures.append(repr(error))
                return

    threads = [threading.Thread(target=come, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    signers = []
    for prepared in (False, True, False):
        if prepared:
            command(p, "rotate", "--prepare")
            p.hangup()
        command(p, "rotate")
        p.hangup()
        signers.append(key_id(current(p)))
        until(lambda: failures or signers[-1] in seen, 10, "a client that is shown the new one")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and set(signers) <= seen


def test_java_store_has_both(proxy):
    p = proxy(start=False)
    command(p, "init")
    command(p, "rotate")
    command(p, "env")
    listed = run([need("keytool"), "-list", "-rfc", "-keystore", p.ca_path.parent / "java-trust.p12", "-storepass", "changeit"]).stdout
    found = [c for c in certificates(listed) if c.subject == current(p).subject]
    assert len(found) == 2 and len(certificates(listed)) > 2, "and the system's roots"


def test_by_age_without_a_signal(proxy, origin):
    server, p = origin(tls=True), proxy(start=False, workers=2)
    p.settings["ca"]["rotate_after"] = "48h"
    old, _ = make(p, BACKDATED + 2 * DAY - scaled(5) - TICK)  # due five seconds from now
    old_file = p.folder / "old.pem"
    old_file.write_bytes(p.ca_path.read_bytes())
    p.start()
    with p.client().connect(f"origin.test:{server.port}").start_tls(ssl.create_default_context(cafile=str(old_file)), "origin.test") as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
        until(lambda: "the CA was rotated" in p.stderr(), 20, lambda: p.stderr())
        new = current(p)
        assert new != old
        assert fresh(p, server, p.ca_path) == key_id(new)
        assert client.ask("GET", "/hello", "origin.test").status == 200
        assert leaf_issuer(client) == key_id(old)
    p.wait_closed(2)
    told = p.wait_event("config_reloaded", outcome="applied")
    assert told.at("detail").startswith("ca: rotated by age, sha-256 ") and told.at("generation") == "1"
    assert told.at("detail").split()[-1].replace(":", "").lower() == new.fingerprint(new.signature_hash_algorithm).hex()
    metrics = p.metrics()
    assert metrics["soth_ca_rotations_total"] == 1
    assert metrics["soth_ca_expires_timestamp_seconds"] == int(new.not_valid_after_utc.timestamp())
    assert old in certificates(command(p, "export").stdout)


def test_a_successor_is_prepared_in_time(proxy):
    p = proxy(start=False)
    p.settings["ca"]["rotate_after"] = "1000h"
    old, _ = make(p, BACKDATED + 800 * 3600)
    p.start()
    until(lambda: "successor is prepared" in p.stderr(), 20, lambda: p.stderr())
    assert current(p) == old and len(certificates(command(p, "export").stdout)) == 2
    assert "successor, prepared" in command(p, "show").stdout.decode()


def test_its_end_is_told(proxy):
    p = proxy(start=False)
    make(p, 100 * DAY, 3 * DAY)
    p.start()
    until(lambda: re.search("valid until .* only: `soth-mitm ca rotate`", p.stderr()), 20, lambda: p.stderr())


def test_an_issued_ca_is_not_rotated(proxy, tmp_path):
    p = proxy(start=False)
    root = make(p)
    make(p, issuer=root, called="between")
    before = p.ca_path.read_bytes()
    assert b"is issued by another CA" in command(p, "rotate", code=22).stderr and p.ca_path.read_bytes() == before
    p.ca_path.write_bytes(before + root[0].public_bytes(Encoding.PEM))
    assert certificates(command(p, "export").stdout)[1] == root[0], "clients trust the root, which lies behind it"
    p.settings["ca"]["rotate_after"] = "48h"
    p.write()
    ends(p, 22, "host_init_failed", "take ca.rotate_after out")


# ---- keys under a passphrase


@pytest.fixture
def locked(proxy):
    p = proxy(start=False)
    secret = p.folder / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    p.settings["ca"]["key_passphrase_file"] = "passphrase"  # beside the configuration
    return p.write()


def test_a_key_with_a_passphrase(locked, origin):
    server, p = origin(tls=True), locked
    command(p, "init")
    assert "ENCRYPTED" in p.ca_key.read_text()
    p.start()
    with p.https("origin.test", server.port) as client:
        assert client.ask("GET", "/hello", "origin.test").status == 200
    command(p, "rotate")
    assert "ENCRYPTED" in p.ca_key.read_text()
    p.hangup()
    assert fresh(p, server, p.ca_path) == key_id(current(p))
    run([need("openssl"), "pkey", "-in", p.ca_key, "-passin", "pass:correct horse", "-noout"])
    assert "horse" not in p.stderr()
    p.wait_closed(2)


def test_22_wrong_passphrase(locked):
    command(locked, "init")
    (locked.folder / "passphrase").write_text("battery staple\n")
    said = ends(locked, 22, "host_init_failed", "the passphrase does not open it")
    assert "staple" not in said and "horse" not in said


def test_22_passphrase_that_others_can_read(locked):
    command(locked, "init")
    (locked.folder / "passphrase").chmod(0o644)
    ends(locked, 22, "host_init_failed", "chmod 600")


def test_22_encrypted_key_without_a_passphrase(locked):
    command(locked, "init")
    del locked.settings["ca"]["key_passphrase_file"]
    locked.write()
    ends(locked, 22, "host_init_failed", "ca.key_passphrase_file")


# ---- files that are not what they should be


def cut(path):
    text = path.read_bytes()
    path.write_bytes(text[:len(text) // 2])


WRONG = {
    "no key": (lambda p: p.ca_key.unlink(), "ca.key: is missing while"),
    "no certificate": (lambda p: p.ca_path.unlink(), "ca.pem: is missing while"),
    "key cut": (lambda p: cut(p.ca_key), "ca.key: cannot be used as a private key: it is not a whole PEM"),
    "certificate cut": (lambda p: cut(p.ca_path), "ca.pem: is not a PEM certificate, or not a whole one"),
    "empty key": (lambda p: p.ca_key.write_bytes(b""), "ca.key: cannot be used as a private key"),
    "empty certificate": (lambda p: p.ca_path.write_bytes(b""), "ca.pem: is not a PEM certificate"),
    "expired": (lambda p: make(p, 10 * DAY, -DAY), "ca.pem: has expired; `soth-mitm ca rotate`"),
    "not yet valid": (lambda p: make(p, -DAY), "ca.pem: is not valid yet; check this machine's clock"),
    "not a CA": (lambda p: make(p, ca=False), "ca.pem: is not a CA certificate that may sign others"),
    "key in the certificate's place": (lambda p: p.ca_path.write_bytes(p.ca_key.read_bytes()), "ca.pem: holds a private key where the CA's certificate is expected: are the two files swapped?"),
    "certificate in the key's place": (lambda p: p.ca_key.write_bytes(p.ca_path.read_bytes()), "ca.key: cannot be used as a private key"),
    "readable by the group": (lambda p: p.ca_key.chmod(0o640), "ca.key: mode 0640 lets group or others at a private key"),
    "a directory": (lambda p: (p.ca_key.unlink(), p.ca_key.mkdir()), "ca.key: not a regular file"),
    "huge": (lambda p: p.ca_path.write_bytes(b"x" * 100000), "ca.pem: not a regular file of at most 65536 bytes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_22_wrong_files(proxy, what):
    p = proxy(start=False)
    make(p)
    WRONG[what][0](p)
    ends(p, 22, "host_init_failed", WRONG[what][1])


@pytest.mark.parametrize("what", ["no key", "key cut", "expired", "not a CA", "readable by the group"])
def test_a_reload_with_wrong_files_changes_nothing(proxy, origin, what):
    server, p = origin(tls=True), proxy()
    trusted = p.folder / "trusted.pem"
    trusted.write_bytes(p.ca_path.read_bytes())
    WRONG[what][0](p)
    assert WRONG[what][1].split(": ", 1)[1] in p.hangup("refused")
    fresh(p, server, trusted)


def test_no_leaf_cache(proxy, origin):
    server, p = origin(tls=True), proxy(start=False)
    p.settings["ca"]["leaf_cache_capacity"] = 0
    p.start()
    shown = set()
    for _ in range(3):
        with p.https("origin.test", server.port) as client:
            assert client.ask("GET", "/hello", "origin.test").status == 200
            shown.add(client.sock.getpeercert(binary_form=True))
    assert len(shown) == 3, "each is signed anew"
    p.wait_metric("soth_leaf_cache_misses_total", 3)  # a worker that does not come to it in time is printed with its numbers of before
    assert p.metrics()["soth_leaf_cache_hits_total"] == 0


def test_leaf_days(proxy, origin):
    server, p = origin(tls=True), proxy(start=False)
    p.settings["ca"]["leaf_days"] = 5
    p.start()
    with p.https("origin.test", server.port) as client:
        leaf = x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True))
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 5
