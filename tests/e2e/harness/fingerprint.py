# SPDX-License-Identifier: MPL-2.0
"""JA3 and JA4 of a ClientHello, computed a second time, by other code than the proxy's."""
import hashlib


def _u16s(data):
    return [int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _grease(number):
    return number & 0x0f0f == 0x0a0a and number >> 8 == number & 0xff


def _real(numbers):
    return [n for n in numbers if not _grease(n)]


def message_of(records):
    """The handshake message in TLS records."""
    out, at = b"", 0
    while at < len(records):
        size = int.from_bytes(records[at + 3:at + 5], "big")
        out += records[at + 5:at + 5 + size]
        at += 5 + size
    return out[:4 + int.from_bytes(out[1:4], "big")]


def _parse(message):
    at = 4 + 2 + 32
    legacy = int.from_bytes(message[4:6], "big")
    at += 1 + message[at]
    size = int.from_bytes(message[at:at + 2], "big")
    suites = _u16s(message[at + 2:at + 2 + size])
    at += 2 + size
    at += 1 + message[at]
    extensions, end = [], at + 2 + int.from_bytes(message[at:at + 2], "big") if at < len(message) else at
    at += 2
    while at < end:
        size = int.from_bytes(message[at + 2:at + 4], "big")
        extensions.append((int.from_bytes(message[at:at + 2], "big"), message[at + 4:at + 4 + size]))
        at += 4 + size
    return legacy, suites, extensions


def ja3(message):
    legacy, suites, extensions = _parse(message)
    known = dict(extensions)
    groups, formats = _u16s(known.get(10, b"")[2:]), list(known.get(11, b"")[1:])
    fields = [_real(suites), _real(t for t, _ in extensions), _real(groups), formats]
    return hashlib.md5(",".join([str(legacy)] + ["-".join(map(str, f)) for f in fields]).encode()).hexdigest()


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def _hex(numbers):
    return ",".join(f"{n:04x}" for n in numbers)


def ja4(message):
    legacy, suites, extensions = _parse(message)
    known, suites = dict(extensions), _real(suites)
    types = _real(t for t, _ in extensions)
    version = max(_real(_u16s(known[43][1:])), default=0) if 43 in known else legacy
    version = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}.get(version, "00")
    first = known[16][3:3 + known[16][2]] if 16 in known else b""
    if not first:
        protocol = "00"
    elif chr(first[0]).isascii() and chr(first[0]).isalnum() and chr(first[-1]).isascii() and chr(first[-1]).isalnum():
        protocol = chr(first[0]) + chr(first[-1])
    else:
        protocol = first.hex()[0] + first.hex()[-1]
    tail = _hex(sorted(t for t in types if t not in (0, 16)))
    signatures = _real(_u16s(known.get(13, b"")[2:]))
    if tail and signatures:
        tail += "_" + _hex(signatures)
    return (f"t{version}{'d' if 0 in known else 'i'}{min(len(suites), 99):02}{min(len(types), 99):02}{protocol}"
            f"_{_digest(_hex(sorted(suites)))}_{_digest(tail)}")
