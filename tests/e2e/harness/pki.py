# SPDX-License-Identifier: MPL-2.0
"""A public-key infrastructure for origins: one authority, leaves for any names, and leaves that are wrong on purpose."""
import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _san(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(obj):
    return obj.public_bytes(serialization.Encoding.PEM)


def _key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Authority:
    """A CA with its certificate in a file (`path`)."""

    def __init__(self, folder, label):
        self.folder, self.label = folder, label
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        public = self.key.public_key()
        self.cert = (x509.CertificateBuilder().subject_name(_name(label)).issuer_name(_name(label)).public_key(public)
                     .serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
                     .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                     .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
                     .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                     .sign(self.key, hashes.SHA256()))
        self.path = folder / f"{label}.pem"
        self.path.write_bytes(_pem(self.cert))
        self._leaves = {}

    def leaf(self, *names, days=(-1, 10), rsa_bits=0, usage=ExtendedKeyUsageOID.SERVER_AUTH, self_signed=False):
        """Files (chain, key) of a leaf for these names; days are its first and last day from now."""
        asked = (names, days, rsa_bits, usage.dotted_string, self_signed)
        if asked not in self._leaves:
            self._leaves[asked] = self._issue(len(self._leaves), *asked[:3], usage, self_signed)
        return self._leaves[asked]

    def _issue(self, number, names, days, rsa_bits, usage, self_signed):
        key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        signer, issuer = (key, _name(names[0])) if self_signed else (self.key, self.cert.subject)
        now = datetime.datetime.now(datetime.timezone.utc)
        cert = (x509.CertificateBuilder().subject_name(_name(names[0])).issuer_name(issuer).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
                .add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=False)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
                .sign(signer, hashes.SHA256()))
        chain = self.folder / f"{self.label}-{number}.pem"
        chain.write_bytes(_pem(cert) + (b"" if self_signed else _pem(self.cert)))
        key_path = self.folder / f"{self.label}-{number}.key"
        key_path.touch(mode=0o600)
        key_path.write_bytes(_key_pem(key))
        return chain, key_path

    def server(self, *names, alpn=("http/1.1",), versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), **leaf):
        """An SSLContext for an origin with these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.leaf(*names, **leaf))
        context.minimum_version, context.maximum_version = versions
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context
