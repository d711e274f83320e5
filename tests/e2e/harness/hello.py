# SPDX-License-Identifier: MPL-2.0
"""ClientHellos made by hand: well-formed by default, each part replaceable by something that is not."""
import os
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


def extension(kind, body):
    return struct.pack("!HH", kind, len(body)) + body


def server_name(*names):
    entries = b"".join(b"\0" + struct.pack("!H", len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def alpn(*names):
    entries = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, struct.pack("!H", len(entries)) + entries)


def hello(name=b"origin.test", versions=(0x0304, 0x0303), legacy=0x0303, suites=b"\x13\x01\xc0\x2b\xc0\x2f", compression=b"\0",
          session=b"", more=b"", names=None):
    """One handshake message. more: further extensions; names: the server_name extension as bytes, in place of `name`."""
    share = X25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    extensions = (server_name(name) if name is not None else b"") if names is None else names
    extensions += extension(10, b"\0\4\0\x1d\0\x17") + extension(13, b"\0\x0a\4\3\5\3\6\3\x08\x04\x04\x01")
    if versions:
        extensions += extension(43, bytes([2 * len(versions)]) + b"".join(struct.pack("!H", v) for v in versions))
        extensions += extension(51, struct.pack("!H", 36) + b"\0\x1d\0\x20" + share)
    extensions += more
    body = struct.pack("!H", legacy) + os.urandom(32) + bytes([len(session)]) + session
    body += struct.pack("!H", len(suites)) + suites + bytes([len(compression)]) + compression
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\1" + len(body).to_bytes(3, "big") + body


def records(message, size=16384, version=0x0301):
    """The message in handshake records of at most `size` bytes."""
    return b"".join(b"\x16" + struct.pack("!HH", version, len(message[at:at + size])) + message[at:at + size]
                    for at in range(0, len(message), size))


def padding(n):
    return extension(21, bytes(n))
