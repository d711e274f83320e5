# SPDX-License-Identifier: MPL-2.0
"""`soth-mitm ca`: made on first start or by hand, shown, exported, handed to clients by `ca env`."""
import json
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from harness.proxy import BINARY
from harness.tools import clean_env, need, run


def ca(p, *args, check=True, env=None):
    done = subprocess.run([str(BINARY), "ca", *map(str, args), "-c", str(p.conf)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_env(HOME=p.folder, XDG_DATA_HOME=p.folder / "data") | (env or {}))
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def made(proxy):
    p = proxy(start=False)
    ca(p, "init")
    return p


def certificate(p):
    return x509.load_pem_x509_certificate(p.ca_path.read_bytes())


def test_init(made):
    assert made.ca_key.stat().st_mode & 0o777 == 0o600
    run([need("openssl"), "verify", "-x509_strict", "-CAfile", made.ca_path, made.ca_path])
    cert = certificate(made)
    assert cert.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)


def test_init_does_not_replace(made):
    before = made.ca_path.read_bytes()
    ca(made, "init", check=False)
    assert made.ca_path.read_bytes() == before


def test_init_is_what_run_uses(made):
    before = made.ca_path.read_bytes()
    made.start()
    assert made.ca_path.read_bytes() == before


def test_first_start_makes_it_with_private_modes(proxy):
    import os
    old = os.umask(0o002)
    try:
        p = proxy()
    finally:
        os.umask(old)
    assert p.ca_key.stat().st_mode & 0o777 == 0o600
    assert p.ca_path.stat().st_mode & 0o022 == 0


def test_show(made):
    out = ca(made, "show").stdout.decode()
    cert = certificate(made)
    digest = cert.fingerprint(hashes.SHA256()).hex()
    assert digest in re.sub(r"[: ]", "", out).lower()
    name = cert.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert name in out and str(cert.not_valid_after_utc.year) in out
    assert "PRIVATE" not in out


def test_export_pem_to_standard_output(made):
    out = ca(made, "export").stdout
    assert x509.load_pem_x509_certificate(out) == certificate(made) and b"PRIVATE" not in out


def test_export_der(made):
    assert ca(made, "export", "--format", "der").stdout == certificate(made).public_bytes(Encoding.DER)


def test_export_to_a_file(made, tmp_path):
    ca(made, "export", "--out", tmp_path / "out.pem")
    assert x509.load_pem_x509_certificate((tmp_path / "out.pem").read_bytes()) == certificate(made)


def test_export_with_key(made, tmp_path):
    ca(made, "export", "--with-key", "--out", tmp_path / "both.pem")
    text = (tmp_path / "both.pem").read_text()
    assert "PRIVATE KEY" in text and "BEGIN CERTIFICATE" in text
    assert (tmp_path / "both.pem").stat().st_mode & 0o077 == 0


def test_export_p12(made, tmp_path):
    ca(made, "export", "--format", "p12", "--out", tmp_path / "ca.p12")

    done = run([need("openssl"), "pkcs12", "-in", tmp_path / "ca.p12", "-nokeys", "-passin", "pass:"])
    assert x509.load_pem_x509_certificate(done.stdout[done.stdout.index(b"-----BEGIN"):]) == certificate(made)


VARIABLES = """HTTPS_PROXY HTTP_PROXY NO_PROXY SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO
CARGO_HTTP_CAINFO PIP_CERT AWS_CA_BUNDLE JAVA_TOOL_OPTIONS""".split()


def variables(made, *args):
    return json.loads(ca(made, "env", "--shell", "json", *args).stdout)


def test_env_json(made):
    env = variables(made)
    assert set(VARIABLES) <= set(env)
    bundle = open(env["SSL_CERT_FILE"]).read()
    assert made.ca_path.read_text().strip() in bundle, "our CA is in the bundle"
    assert open(env["NODE_EXTRA_CA_CERTS"]).read().count("BEGIN CERTIFICATE") >= 1


def test_env_sh_can_be_evaluated(made):
    out = ca(made, "env").stdout.decode()
    done = run(["sh", "-c", out + '\nenv'])
    for name in VARIABLES:
        assert re.search(rf"^{name}=.", done.stdout.decode(), re.M) or name == "NO_PROXY", name


def test_env_fish_sets_each(made):
    out = ca(made, "env", "--shell", "fish").stdout.decode()
    for name in VARIABLES:
        assert re.search(rf"^set -gx {name} ", out, re.M) or re.search(rf"^set -x {name} ", out, re.M) or name == "NO_PROXY", out


def test_env_makes_curl_work(made, origin):
    """With nothing but these variables."""
    server = origin(tls=True)
    made.start()
    env = {k: v for k, v in variables(made).items() if k != "NO_PROXY"} | {"HTTPS_PROXY": made.url, "https_proxy": made.url}
    assert run([need("curl"), "-sS", f"https://origin.test:{server.port}/hello"], env=clean_env(**env)).stdout == b"hello\n"
