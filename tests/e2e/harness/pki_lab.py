# SPDX-License-Identifier: MPL-2.0
"""A public-key infrastructure for faults: one trusted root, intermediates, and server certificates that are wrong in one way each.
Everything is made when it is asked for, in a folder of the test run; nothing secret is kept anywhere."""
import base64
import datetime
import functools
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from .tools import need, run

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def san(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def pem(*certs):
    return b"".join(c if isinstance(c, bytes) else c.public_bytes(serialization.Encoding.PEM) for c in certs)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@functools.lru_cache(maxsize=None)
def key_of(kind, number=0):
    """Keys are slow to make and may be shared: one of each kind."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind))


class Certificate:
    """A certificate with the key that signs below it."""

    def __init__(self, subject, issuer=None, key="ec", ca=False, days=(-2, 20), path_length=None, names=(), usage=(), key_usage=None,
                 constraints=None, more=(), signer=None, number=0, pss=False, subject_name=None):
        self.key = key_of(key, number)
        self.subject = subject_name or name(subject)
        self.issuer = issuer
        signing = signer or (issuer.key if issuer else self.key)
        public = self.key.public_key()
        build = (x509.CertificateBuilder().subject_name(self.subject).issuer_name(issuer.subject if issuer else self.subject)
                 .public_key(public).serial_number(x509.random_serial_number())
                 .not_valid_before(NOW + days[0] * DAY).not_valid_after(NOW + days[1] * DAY)
                 .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
                 .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                 .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False))
        if ca:
            build = build.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        elif key_usage:
            build = build.add_extension(key_usage, critical=True)
        if names:
            build = build.add_extension(x509.SubjectAlternativeName([san(n) for n in names]), critical=False)
        if usage:
            build = build.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if constraints:
            build = build.add_extension(constraints, critical=True)
        for extension, critical in more:
            build = build.add_extension(extension, critical=critical)
        extra = {"rsa_padding": padding.PSS(padding.MGF1(hashes.SHA256()), 32)} if pss else {}
        self.cert = build.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256(), **extra)
        self.pem = pem(self.cert)

    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    def broken_signature(self):
        """The same with its signature's last byte changed, as PEM."""
        der = self.der()
        return pem_of(der[:-1] + bytes([der[-1] ^ 1]))

    def broken_date(self, signing):
        """The same with an end that is no date, signed again by an EC key; as PEM."""
        old = b"\x17\x0d" + self.cert.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
        return pem_of(self.resigned(lambda tbs: tbs.replace(old, b"\x17\x0d" + b"no date here!"), signing))

    def resigned(self, change, signing):
        """DER of the same with other contents, signed by an EC key."""
        tbs = change(self.cert.tbs_certificate_bytes)
        assert tbs != self.cert.tbs_certificate_bytes
        signature = signing.sign(tbs, ec.ECDSA(hashes.SHA256()))
        ecdsa_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
        return sequence(tbs + ecdsa_sha256 + b"\x03" + size(len(signature) + 1) + b"\0" + signature)


def size(n):
    return bytes([n]) if n < 128 else b"\x81" + bytes([n]) if n < 256 else b"\x82" + n.to_bytes(2, "big")


def sequence(body):
    return b"\x30" + size(len(body)) + body


def pem_of(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


class FaultPki:
    """roots.pem is what the proxy trusts. files(case, host) makes the chain and key of a case."""

    def __init__(self, folder):
        self.folder = folder
        self.root = Certificate("lab root", ca=True, number=1)
        self.rsa_root = Certificate("lab RSA root", key="2048", ca=True, number=2)
        self.middle = Certificate("lab intermediate", self.root, ca=True, number=3)
        self.other_root = Certificate("nobody's root", ca=True, number=4)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(pem(self.root.cert, self.rsa_root.cert))

    def files(self, case, host):
        return self.write(f"{case}-{host[:40]}", *getattr(self, "_" + case)(host))

    def write(self, label, chain, key):
        """Files of a chain and a key."""
        chain_path, key_path = self.folder / f"{label}.pem", self.folder / f"{label}.key"
        chain_path.write_bytes(chain)
        key_path.touch(mode=0o600)
        key_path.write_bytes(key_pem(key))
        return chain_path, key_path

    def leaf(self, host, issuer=None, **what):
        """A good server certificate but for `what`."""
        what = {"names": (host,), "usage": (ExtendedKeyUsageOID.SERVER_AUTH,), "number": 10} | what
        return Certificate(host, issuer or self.root, **what)

    def _one(self, host, *rest, issuer=None, **what):
        leaf = self.leaf(host, issuer, **what)
        return pem(leaf.cert, *(c.cert for c in rest)), leaf.key

    # ---- what is good

    def _valid(self, host):
        return self._one(host)

    def _valid_chain(self, host):
        return self._one(host, self.middle, issuer=self.middle)

    def _unrelated_in_chain(self, host):
        return self._one(host, self.other_root, self.middle, issuer=self.middle)

    def _valid_rsa(self, host):
        return self._one(host, issuer=self.rsa_root, key="2048")

    def _valid_rsa_leaf(self, host):
        """Below a root with another kind of key."""
        return self._one(host, key="2048")

    def _valid_ed25519(self, host):
        return self._one(host, key="ed25519")

    def _valid_p384(self, host):
        return self._one(host, key="p384")

    def _valid_wildcard(self, host):
        return self._one(host, names=("*." + host.partition(".")[2],))

    # ---- whom it was signed by

    def _unknown_ca(self, host):
        return self._one(host, self.other_root, issuer=self.other_root)

    def _missing_intermediate(self, host):
        return self._one(host, issuer=self.middle)

    def _self_signed(self, host):
        leaf = Certificate(host, names=(host,), usage=(ExtendedKeyUsageOID.SERVER_AUTH,), number=11)
        return leaf.pem, leaf.key

    def _not_a_ca(self, host):
        """Signed by a server's certificate."""
        other = self.leaf("other.test", number=12)
        return self._one(host, other, issuer=other)

    def _same_name_root(self, host):
        """Signed by somebody who calls himself like our root."""
        fake = Certificate("lab root", ca=True, number=13)
        return self._one(host, fake, issuer=fake)

    # ---- what is wrong with it

    def _expired(self, host):
        return self._one(host, days=(-10, -1))

    def _expired_intermediate(self, host):
        old = Certificate("old intermediate", self.root, ca=True, days=(-10, -1), number=14)
        return self._one(host, old, issuer=old)

    def _not_yet_valid(self, host):
        return self._one(host, days=(2, 10))

    def _wrong_host(self, host):
        return self._one(host, names=("elsewhere.test",), subject_name=name("elsewhere.test"))

    def _wrong_wildcard(self, host):
        """A wildcard is for one label."""
        return self._one(host, names=("*.test",), subject_name=name("*.test"))

    def _wrong_ip(self, host):
        return self._one(host, names=("192.0.2.1",), subject_name=name("192.0.2.1"))

    def _wrong_usage(self, host):
        return self._one(host, usage=(ExtendedKeyUsageOID.CLIENT_AUTH,))

    def _path_length(self, host):
        short = Certificate("CA of no CAs", self.root, ca=True, path_length=0, number=15)
        below = Certificate("CA below it", short, ca=True, number=16)
        return self._one(host, below, short, issuer=below)

    def _name_constraints(self, host):
        only = x509.NameConstraints(permitted_subtrees=[x509.DNSName("allowed.example")], excluded_subtrees=None)
        limited = Certificate("CA of few names", self.root, ca=True, constraints=only, number=17)
        return self._one(host, limited, issuer=limited)

    def _excluded_name(self, host):
        none = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("lab.test")])
        limited = Certificate("CA of other names", self.root, ca=True, constraints=none, number=18)
        return self._one(host, limited, issuer=limited)

    def _weak_rsa(self, host):
        return self._one(host, key="1024")

    def _weak_ca(self, host):
        weak = Certificate("CA of a weak key", self.root, key="1024", ca=True, number=19)
        return self._one(host, weak, issuer=weak)

    def _sha1(self, host):
        """Signed with SHA-1 by the RSA root. The library at hand signs no such thing any more; openssl does."""
        return self._by_openssl(host, "-sha1")

    def _md5(self, host):
        return self._by_openssl(host, "-md5")

    def _by_openssl(self, host, digest):
        key = key_of("2048", 20)
        request = (x509.CertificateSigningRequestBuilder().subject_name(name(host)).sign(key, hashes.SHA256()))
        at = self.folder / f"request{digest}-{host[:40]}"
        for end, data in ((".csr", request.public_bytes(serialization.Encoding.PEM)), (".ca", self.rsa_root.pem),
                          (".key", key_pem(self.rsa_root.key)),
                          (".ext", f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n".encode())):
            at.with_suffix(end).touch(mode=0o600)
            at.with_suffix(end).write_bytes(data)
        done = run([need("openssl"), "x509", "-req", digest, "-days", "9", "-in", at.with_suffix(".csr"), "-CA", at.with_suffix(".ca"),
                    "-CAkey", at.with_suffix(".key"), "-set_serial", "77", "-extfile", at.with_suffix(".ext")])
        return done.stdout, key

    def _broken_signature(self, host):
        leaf = self.leaf(host)
        return leaf.broken_signature(), leaf.key

    def _malformed_date(self, host):
        leaf = self.leaf(host)
        return leaf.broken_date(self.root.key), leaf.key

    def _malformed_chain(self, host):
        """The intermediate ends in the middle of itself."""
        leaf = self.leaf(host, self.middle)
        return leaf.pem + pem_of(self.middle.resigned(lambda tbs: tbs.replace(b"\x03\x42\x00\x04", b"\x03\x42\x00\x09"), self.root.key)), leaf.key

    def _critical_extension(self, host):
        odd = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
        return self._one(host, more=((odd, True),))

    # ---- revocation

    def crl(self, *revoked, issuer=None, days=(-1, 5)):
        """PEM of a revocation list with these Certificates."""
        issuer = issuer or self.root
        build = (x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(NOW + days[0] * DAY)
                 .next_update(NOW + days[1] * DAY).add_extension(x509.CRLNumber(7), critical=False)
                 .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False))
        for one in revoked:
            build = build.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(one.cert.serial_number)
                                                  .revocation_date(NOW - DAY).build())
        return build.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def staple(self, leaf, status="good", responder=None, days=(-1, 3), subject=None, digest=None):
        """DER of an OCSP response about `leaf`, signed by its issuer or a responder."""
        issuer = leaf.issuer
        state = {"good": ocsp.OCSPCertStatus.GOOD, "revoked": ocsp.OCSPCertStatus.REVOKED, "unknown": ocsp.OCSPCertStatus.UNKNOWN}[status]
        build = ocsp.OCSPResponseBuilder().add_response(
            cert=(subject or leaf).cert, issuer=issuer.cert, algorithm=digest or hashes.SHA1(), cert_status=state,
            this_update=NOW + days[0] * DAY, next_update=NOW + days[1] * DAY, revocation_time=NOW - DAY if status == "revoked" else None,
            revocation_reason=None)
        signer = responder or issuer
        build = build.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.cert)
        if responder:
            build = build.certificates([responder.cert])
        return build.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def responder(self, usage=ExtendedKeyUsageOID.OCSP_SIGNING):
        """One that the root lets sign OCSP responses."""
        return Certificate("lab responder", self.root, usage=(usage,), number=30)
