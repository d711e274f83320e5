# SPDX-License-Identifier: MPL-2.0
"""tls_profile, min_rsa_bits and downstream_cert_profile: what each lets through and refuses, towards clients (openssl s_client against a
reverse listener) and towards origins."""
import re
import ssl

import pytest

from harness.faultlab import server_context
from harness.pki_lab import FaultPki
from harness.tls_clients import go_program
from harness.tools import clean_env, need, run

PROFILES = ("strict", "default", "compat")
OLD = "DEFAULT:@SECLEVEL=0"

# what is asked for -> the profiles that give it
VERSIONS = {"tls1": (), "tls1_1": (), "tls1_2": ("default", "compat"), "tls1_3": PROFILES}
GROUPS = {"X25519": PROFILES, "P-256": PROFILES, "P-384": PROFILES, "P-521": ("compat",), "X448": ()}
SUITES_13 = {"TLS_AES_128_GCM_SHA256": PROFILES, "TLS_AES_256_GCM_SHA384": PROFILES, "TLS_CHACHA20_POLY1305_SHA256": PROFILES,
             "TLS_AES_128_CCM_SHA256": ()}
SUITES_12 = {"ECDHE-ECDSA-AES128-GCM-SHA256": ("default", "compat"), "ECDHE-ECDSA-AES256-GCM-SHA384": ("default", "compat"),
             "ECDHE-ECDSA-CHACHA20-POLY1305": ("default", "compat"), "ECDHE-ECDSA-AES128-SHA256": ("compat",),
             "ECDHE-ECDSA-AES256-SHA384": ("compat",), "ECDHE-ECDSA-AES128-SHA": ("compat",), "ECDHE-ECDSA-AES256-SHA": ("compat",),
             "DHE-RSA-AES128-GCM-SHA256": (), "ECDHE-ECDSA-NULL-SHA": ()}
SUITES_12_RSA = {"ECDHE-RSA-AES128-GCM-SHA256": ("default", "compat"), "ECDHE-RSA-AES128-SHA": ("compat",), "AES128-GCM-SHA256": ("compat",),
                 "AES256-SHA256": ("compat",), "AES128-SHA": ("compat",), "DES-CBC3-SHA": (), "NULL-SHA256": ()}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return FaultPki(tmp_path_factory.mktemp("profiles"))


@pytest.fixture(scope="module")
def listeners(shared, shared_origin):
    """profile, RSA leaf? -> a proxy with a reverse TLS listener."""
    origin, made = shared_origin(), {}

    def get(profile, rsa=False):
        if (profile, rsa) not in made:
            made[profile, rsa] = shared(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}], tls_profile=profile,
                                        reverse_upstream={"host": "127.0.0.1", "port": origin.port}, workers=1,
                                        downstream_cert_profile="compat" if rsa else "modern")
        return made[profile, rsa]
    return get


def s_client(p, *options, sni="origin.test"):
    """(version, suite, group) or None."""
    done = run([need("openssl"), "s_client", "-connect", p.addresses[0], "-servername", sni, "-CAfile", p.ca_path, *options], check=False,
               input=b"", env=clean_env(OPENSSL_CONF="/dev/null"))
    out = done.stdout.decode(errors="replace")
    found = re.search(r"New, (\S+), Cipher is (\S+)", out)
    if not found or found[2] == "(NONE)":
        return None
    # OpenSSL 3.5 says Peer
    group = re.search(r"(?:Server|Peer) Temp Key: (?:ECDH, )?([^,\n]+)", out)
    return found[1], found[2], group and group[1]


def expects(p, profile, allowed, *options):
    got = s_client(p, *options)
    assert (got is not None) == (profile in allowed), (profile, options, got)
    return got


@pytest.mark.parametrize("profile", PROFILES)
def test_versions_for_clients(listeners, record_property, profile):
    for version, allowed in VERSIONS.items():
        expects(listeners(profile), profile, allowed, f"-{version}", "-cipher", OLD)
        record_property("row", ("TLS profiles, clients", f"{profile:8} {version:32} {'yes' if profile in allowed else 'no'}"))


@pytest.mark.parametrize("profile", PROFILES)
def test_groups_for_clients(listeners, record_property, profile):
    for group, allowed in GROUPS.items():
        got = expects(listeners(profile), profile, allowed, "-tls1_3", "-groups", group)
        assert not got or got[2] in (group, group.replace("P-", "secp") + "r1", "prime256v1"), got
        record_property("row", ("TLS profiles, clients", f"{profile:8} {group:32} {'yes' if profile in allowed else 'no'}"))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])
def test_suites_for_clients(listeners, record_property, profile, rsa):
    p = listeners(profile, rsa)
    for suite, allowed in ({} if rsa else SUITES_13).items():
        expects(p, profile, allowed, "-tls1_3", "-ciphersuites", suite)
        record_property("row", ("TLS profiles, clients", f"{profile:8} {suite:32} {'yes' if profile in allowed else 'no'}"))
    for suite, allowed in (SUITES_12_RSA if rsa else SUITES_12).items():
        got = expects(p, profile, allowed, "-tls1_2", "-cipher", suite + ":@SECLEVEL=0")
        assert not got or got[1] == suite
        record_property("row", ("TLS profiles, clients", f"{profile:8} {suite:32} {'yes' if profile in allowed else 'no'}"))


@pytest.mark.parametrize("profile", PROFILES)
def test_handshake_signatures_for_clients(listeners, profile):
    """No SHA-1, and PSS where a client asks for it."""
    p = listeners(profile, True)
    version = "-tls1_3" if profile == "strict" else "-tls1_2"
    assert s_client(p, version, "-sigalgs", "RSA-PSS+SHA256")
    assert not s_client(p, "-tls1_2", "-sigalgs", "RSA+SHA1", "-cipher", OLD)


@pytest.mark.parametrize("profile", PROFILES)
def test_client_that_is_refused_is_told_why(listeners, profile):
    """By an alert, and in the log."""
    p = listeners(profile)
    before = len(p.log.find("tls_handshake_failed"))
    assert not s_client(p, "-tls1_1", "-cipher", OLD)
    failed = p.wait_event("tls_handshake_failed", tls_alert="70")
    assert failed.at("peer") == "downstream" and failed.at("tls_failure_reason") == "handshake" and failed.at("peer_rejected_ca") == "no"
    assert len(p.log.find("tls_handshake_failed")) > before or before


# ---- origins

def visit(p, server, host):
    with p.https(host, server.port) as client:
        answer = client.ask("GET", "/hello", host)
    p.wait_event("stream_closed", server_host=host)
    failed = p.log.find("tls_handshake_failed", server_host=host, peer="upstream")
    assert (answer.status == 200) == (not failed), answer.head.raw
    return failed[0] if failed else None


@pytest.fixture(scope="module")
def towards(shared, pki):
    made = {}

    def get(profile, **more):
        key = (profile, *sorted(more.items()))
        if key not in made:
            made[key] = shared(tls_profile=profile, upstream_ca_file=str(pki.roots), **more)
        return made[key]
    return get


ORIGINS = {
    "tls 1.3": ("valid", {"version": ssl.TLSVersion.TLSv1_3}, PROFILES),
    "tls 1.2": ("valid", {"version": ssl.TLSVersion.TLSv1_2}, ("default", "compat")),
    "tls 1.1": ("valid", {"version": ssl.TLSVersion.TLSv1_1, "ciphers": "ALL:@SECLEVEL=0"}, ()),
    "group p-384": ("valid", {"curve": "secp384r1"}, PROFILES),
    "group p-521": ("valid", {"curve": "secp521r1"}, ("compat",)),
    "cbc": ("valid", {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256"}, ("compat",)),
    "cbc sha": ("valid", {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"}, ("compat",)),
    "static rsa": ("valid_rsa", {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-GCM-SHA256"}, ("compat",)),
    "aead": ("valid", {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}, ("default", "compat")),
    "rsa 1024": ("weak_rsa", {}, ("compat",)),
    "rsa 1024 in the chain": ("weak_ca", {}, ("compat",)),
    "sha-1": ("sha1", {}, ("compat",)),
    "md5": ("md5", {}, ()),
    "ed25519": ("valid_ed25519", {}, PROFILES),
    "rsa 2048": ("valid_rsa", {}, PROFILES),
    "unknown ca": ("unknown_ca", {}, ()),
}


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", ORIGINS)
def test_origins(towards, pki, shared_origin, record_property, profile, case):
    certificate, server, allowed = ORIGINS[case]
    host = f"{case}-{profile}".replace(" ", "-").replace(".", "") + ".lab.test"
    failed = visit(towards(profile), shared_origin(tls=server_context(pki.files(certificate, host), **server)), host)
    assert (failed is None) == (profile in allowed), failed and failed.attrs
    record_property("row", ("TLS profiles, origins", f"{profile:8} {case:32} {'yes' if profile in allowed else 'no'}"))


@pytest.mark.parametrize("bits,key,works", [(0, "2048", True), (2048, "2048", True), (3072, "2048", False), (1024, "1024", True), (2049, "2048", False)])
def test_min_rsa_bits(towards, pki, shared_origin, bits, key, works):
    """Over the profile's own number, both ways."""
    host = f"min-{bits}-{key}.lab.test"
    case = "weak_rsa" if key == "1024" else "valid_rsa_leaf"
    failed = visit(towards("default", min_rsa_bits=bits), shared_origin(tls=server_context(pki.files(case, host))), host)
    assert (failed is None) == works
    if failed:
        assert failed.at("tls_failure_reason") == "cert_validation" and "RSA" in failed.at("detail")


# ---- hellos that offer a post-quantum hybrid first

@pytest.mark.parametrize("groups", ["first", "hybrid"])
def test_hybrid_first(towards, pki, shared_origin, groups):
    """Go offers X25519MLKEM768 first: the second key share is taken, or another one asked for (HelloRetryRequest)."""
    p, host = towards("default"), f"go-{groups}.lab.test"
    server = shared_origin(tls=server_context(pki.files("valid", host)))
    done = run([go_program(), p.addresses[0], f"{host}:{server.port}", p.ca_path, f"groups={groups}"], check=False)
    assert done.stdout == b"TLS 1.3 false HTTP/1.1 200 OK\r\n", done.stdout


def test_origin_that_asks_for_another_key_share(towards, pki, shared_origin):
    host = "retry.lab.test"
    assert visit(towards("default"), shared_origin(tls=server_context(pki.files("valid", host), ssl.TLSVersion.TLSv1_3, curve="secp384r1")), host) is None
