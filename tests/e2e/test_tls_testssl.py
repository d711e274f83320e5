# SPDX-License-Identifier: MPL-2.0
"""testssl.sh against a TLS listener, in the three profiles. Minutes each: only in the lane `tls` (SOTH_TLS_LANE=1)."""
import json
import os

import pytest

from harness.tools import clean_env, need, run

pytestmark = pytest.mark.skipif(os.environ.get("SOTH_TLS_LANE") != "1", reason="long: the lane tls runs it (SOTH_TLS_LANE=1)")
RANK = ["DEBUG", "OK", "INFO", "WARN", "LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"]
# What it says of every proxy that makes its own certificates: they live for a month, and there is nobody to ask whether one is revoked.
OF_THE_LEAF = ("cert_expirationStatus", "cert_crlDistributionPoints", "cert_ocspURL", "cert_revocation", "cert_trust", "cert_caIssuers",
               "cert_chain_of_trust", "DNS_CAArecord", "cert_notAfter", "cert_extlifeSpan", "OCSP_stapling", "cert_mustStapleExtension")
# (--fs is left out for compat: testssl.sh 3.0 trips over its own list of groups there; test_tls_profiles.py looks at each group)
# and what compat is for: (finding, at most)
COMPAT = {"LUCKY13": "LOW", "cipherlist_OBSOLETED": "MEDIUM", "cipherlist_AVERAGE": "LOW"}


@pytest.mark.parametrize("profile", ["strict", "default", "compat"])
def test_testssl(proxy, origin, tmp_path, record_property, profile):
    server = origin()
    p = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}], tls_profile=profile,
              reverse_upstream={"host": "127.0.0.1", "port": server.port}, downstream_cert_profile="compat" if profile == "compat" else "modern")
    p.checks = None  # thousands of handshakes that fail
    out = tmp_path / "findings.json"
    done = run([need("testssl", "testssl.sh"), "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "min", "--add-ca", p.ca_path,
         "--protocols", "--std", "--server-preference", *([] if profile == "compat" else ["--fs"]), "--server-defaults", "--vulnerable", "--jsonfile", out,
         f"localhost:{p.port}"], timeout=900, check=False, env=clean_env(TERM="dumb"))
    findings = json.loads(out.read_text())
    assert len(findings) > 40, f"it did not look: {done.returncode} " + (done.stdout + done.stderr).decode(errors="replace")[-1500:]
    worst = [f for f in findings if RANK.index(f["severity"]) > RANK.index("LOW") and not f["id"].split(" ")[0].startswith(OF_THE_LEAF)]
    for finding in findings:
        if finding["severity"] not in ("OK", "INFO", "DEBUG"):
            record_property("row", ("testssl.sh", f"{profile:8} {finding['severity']:8} {finding['id']}: {finding['finding'][:100]}"))
    record_property("row", ("testssl.sh", f"{profile:8} {len(findings)} findings, {len(worst)} above LOW"))
    if profile == "compat":
        worst = [f for f in worst if RANK.index(f["severity"]) > RANK.index(COMPAT.get(f["id"], "LOW"))]
    assert not worst, worst
