# SPDX-License-Identifier: MPL-2.0
"""The public endpoints of badssl.com through the proxy, with the system's own trust: only where there is a network, and never a pass without."""
import os
import socket

import pytest

from harness.faultlab import Seen, seen

TITLE = "badssl.com"
ENDPOINTS = {  # host -> what is expected; None: it works
    "badssl.com": None, "sha256.badssl.com": None, "ecc256.badssl.com": None, "rsa2048.badssl.com": None, "tls-v1-2.badssl.com": None,
    "expired.badssl.com": "cert_validation", "wrong.host.badssl.com": "cert_validation", "self-signed.badssl.com": "unknown_ca",
    "untrusted-root.badssl.com": "unknown_ca", "incomplete-chain.badssl.com": "unknown_ca", "rc4.badssl.com": "handshake",
    "rc4-md5.badssl.com": "handshake", "3des.badssl.com": "handshake", "null.badssl.com": "handshake", "dh1024.badssl.com": "handshake",
    "tls-v1-0.badssl.com": "handshake", "tls-v1-1.badssl.com": "handshake", "no-subject.badssl.com": "cert_validation",
}
PORTS = {"tls-v1-2.badssl.com": 1012, "tls-v1-0.badssl.com": 1010, "tls-v1-1.badssl.com": 1011}


@pytest.fixture(scope="module")
def network():
    if os.environ.get("SOTH_TLS_LANE") != "1":
        pytest.skip("public endpoints: the lane tls asks them (SOTH_TLS_LANE=1)")
    try:
        socket.create_connection(("badssl.com", 443), 5).close()
    except OSError as error:
        pytest.skip(f"badssl.com cannot be reached: {error}")


@pytest.mark.parametrize("host", ENDPOINTS)
def test_badssl(network, proxy, record_property, host):
    p = proxy(upstream_ca_file="", resolvers=[])
    with p.https(host, PORTS.get(host, 443), seconds=30) as client:
        status = client.ask("GET", "/", host).status
    p.wait_closed()
    failed = p.log.find("tls_handshake_failed", peer="upstream")
    got = seen(failed[0]) if failed else Seen("(succeeded)", confidence="-")
    record_property("row", (TITLE, f"{host:30} expected {ENDPOINTS[host] or 'success':16} seen {got}"))
    assert (got.reason if failed else None) == ENDPOINTS[host], (status, failed and failed[0].attrs)
