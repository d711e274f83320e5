# SPDX-License-Identifier: MPL-2.0
"""testssl.sh against a TLS listener, in the three profiles, with a leaf of ours and with a certificate of the operator's own: nothing above LOW. A minute
each: only in the lane `tls` (SOTH_TLS_LANE=1)."""
import json
import os

import pytest

from harness.tools import clean_env, need, run

pytestmark = pytest.mark.skipif(os.environ.get("SOTH_TLS_LANE") != "1", reason="long: the lane tls runs it (SOTH_TLS_LANE=1)")
RANK = ["DEBUG", "OK", "INFO", "WARN", "LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"]
# A leaf lives 30 days at most (contract: ca.leaf_days), as short as it can be for who steals one; it is made anew by itself long before its end.
# testssl.sh thinks of certificates that somebody has to renew, and of these two findings only where it is less than 60 days.
SHORT_LIFE = {"cert_expirationStatus", "cert_notAfter"}


def own_certificate(folder):
    """As an operator has one from a CA: a year, SAN, a CRL and an OCSP responder. (root, certificate, key)"""
    extensions = folder / "own.ext"
    extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
                          "subjectAltName=DNS:localhost\ncrlDistributionPoints=URI:http://crl.test/root.crl\n"
                          "authorityInfoAccess=OCSP;URI:http://ocsp.test/\n")
    openssl, new = need("openssl"), ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run([openssl, "req", "-x509", *new, "-keyout", folder / "root.key", "-out", folder / "root.pem", "-days", "3650", "-subj", "/CN=own root",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
    run([openssl, "req", *new, "-keyout", folder / "own.key", "-out", folder / "own.csr", "-subj", "/CN=localhost"])
    run([openssl, "x509", "-req", "-in", folder / "own.csr", "-CA", folder / "root.pem", "-CAkey", folder / "root.key", "-CAcreateserial",
         "-days", "365", "-extfile", extensions, "-out", folder / "own.pem"])
    (folder / "own.key").chmod(0o600)
    return folder / "root.pem", folder / "own.pem", folder / "own.key"


@pytest.mark.parametrize("profile", ["strict", "default", "compat"])
@pytest.mark.parametrize("certificate", ["leaf", "own"])
def test_testssl(proxy, origin, tmp_path, record_property, profile, certificate):
    server = origin()
    listener = {"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}
    if certificate == "own":
        root, cert, key = own_certificate(tmp_path)
        listener |= {"cert_path": str(cert), "key_path": str(key)}
    p = proxy(listen=[listener], tls_profile=profile, reverse_upstream={"host": "127.0.0.1", "port": server.port},
              downstream_cert_profile="compat" if profile == "compat" else "modern")
    p.checks = None  # thousands of handshakes that fail
    out = tmp_path / "findings.json"
    # (--fs is left out for compat: testssl.sh 3.0 trips over its own list of groups there; test_tls_profiles.py looks at each group)
    done = run([need("testssl", "testssl.sh"), "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "min",
                "--add-ca", root if certificate == "own" else p.ca_path, "--protocols", "--std", "--server-preference",
                *([] if profile == "compat" else ["--fs"]), "--server-defaults", "--vulnerable", "--jsonfile", out,
                f"localhost:{p.port}"], timeout=900, check=False, env=clean_env(TERM="dumb"))
    findings = json.loads(out.read_text())
    assert len(findings) > 40, f"it did not look: {done.returncode} " + (done.stdout + done.stderr).decode(errors="replace")[-1500:]
    seen = {f["id"].split(" ")[0] for f in findings}
    assert {"cert_trust", "cert_chain_of_trust", "cert_notAfter", "cert_crlDistributionPoints"} <= seen, "it did not look at the certificate"
    worst = [f for f in findings if RANK.index(f["severity"]) > RANK.index("LOW")]
    for finding in findings:
        if finding["severity"] not in ("OK", "INFO", "DEBUG"):
            record_property("row", ("testssl.sh", f"{profile:8} {certificate:5} {finding['severity']:8} {finding['id']}: {finding['finding'][:100]}"))
    record_property("row", ("testssl.sh", f"{profile:8} {certificate:5} {len(findings)} findings, {len(worst)} above LOW"))
    if certificate == "leaf":
        assert {f["id"] for f in worst} >= SHORT_LIFE, "no exception is needed any more"
        worst = [f for f in worst if f["id"] not in SHORT_LIFE]
    assert not worst, worst
