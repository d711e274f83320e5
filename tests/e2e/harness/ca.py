# SPDX-License-Identifier: MPL-2.0
"""The authority of a proxy: the commands of `soth-mitm ca`, and authorities made by hand, of any age and in any state."""
import datetime
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .proxy import BINARY
from .timing import scaled
from .tools import clean_env

SECOND = datetime.timedelta(seconds=1)
TICK = 2  # seconds: time(2) is read at the last tick of the kernel, so a program may still see the second before this one


def command(p, *args, code=0, env=None):
    """`soth-mitm ca ARGS` with the configuration of p; what it printed. code: the exit code that it must end with, None = any."""
    done = subprocess.run([str(BINARY), "ca", *map(str, args), "-c", str(p.conf)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=scaled(60), env=clean_env(HOME=p.folder, XDG_DATA_HOME=p.folder / "data") | {k: str(v) for k, v in (env or {}).items()})
    if code is not None:
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def current(p):
    return x509.load_pem_x509_certificate(p.ca_path.read_bytes())


def key_id(cert):
    return cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def signed_by(leaf_der):
    """The key id of a leaf's issuer."""
    leaf = x509.load_der_x509_certificate(leaf_der)
    return leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def make(p, seconds_old=0, seconds_left=365 * 86400, ca=True, issuer=None, called="made by hand"):
    """Writes a CA as p's: valid from so many seconds ago (and TICK) for so many more. issuer: (certificate, key) of who signs it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(issuer[0].subject if issuer else name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - (seconds_old + TICK) * SECOND).not_valid_after(now + seconds_left * SECOND)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(issuer[1] if issuer else key, hashes.SHA256()))
    p.ca_path.parent.mkdir(mode=0o700, exist_ok=True)
    p.ca_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    p.ca_key.touch(mode=0o600)
    p.ca_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return cert, key
