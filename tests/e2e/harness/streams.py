# SPDX-License-Identifier: MPL-2.0
"""Bodies that come piece by piece: content codings that are flushed, chunked replies that go on when a test says so."""
import gzip
import threading
import zlib

import brotli
import zstandard

from .origin import reply
from .timing import scaled


class Coder:
    """put(bytes) -> coded bytes from which all of it can be decoded; end() -> the rest."""

    def __init__(self, name):
        self.parts = [self._one(n) for n in name.split(", ")] if name else []

    @staticmethod
    def _one(name):
        if name in ("gzip", "deflate", "raw-deflate"):
            c = zlib.compressobj(6, zlib.DEFLATED, {"gzip": 31, "deflate": 15, "raw-deflate": -15}[name])
            return (lambda b: c.compress(b) + c.flush(zlib.Z_SYNC_FLUSH)), (lambda b: c.compress(b) + c.flush())
        if name == "br":
            c = brotli.Compressor(quality=5)
            return (lambda b: c.process(b) + c.flush()), (lambda b: c.process(b) + c.finish())
        assert name == "zstd", name
        c = zstandard.ZstdCompressor().compressobj()
        return (lambda b: c.compress(b) + c.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)), (lambda b: c.compress(b) + c.flush())

    def put(self, data):
        for put, _ in self.parts:
            data = put(data)
        return data

    def end(self):
        data = b""
        for _, end in self.parts:
            data = end(data)
        return data


def coded(name, data):
    coder = Coder(name)
    return coder.put(data) + coder.end()


def gzip_bomb(size):
    """gzip of that many zeros, made of members of 100 MB."""
    member = gzip.compress(b"\0" * 100_000_000, 9, mtime=0)
    return member * (size // 100_000_000)


class Paced:
    """A route that sends pieces, each when go() has been called once more, coded and chunked."""

    def __init__(self, pieces, coding="", content_type="text/event-stream", cut=False, fields=()):
        self.pieces, self.coding, self.content_type, self.cut, self.fields = pieces, coding, content_type, cut, list(fields)
        self.turns = threading.Semaphore(0)

    def go(self, times=1):
        for _ in range(times):
            self.turns.release()

    def __call__(self, wire, request):
        coder = Coder(self.coding)
        name = self.coding.replace("raw-", "")
        fields = [("Transfer-Encoding", "chunked"), ("Content-Type", self.content_type), *self.fields]
        wire.send(reply(fields=fields + ([("Content-Encoding", name)] if name else []), length=False))
        for piece in self.pieces:
            assert self.turns.acquire(timeout=scaled(60)), "nobody said go"
            self.chunk(wire, coder.put(piece))
        assert self.turns.acquire(timeout=scaled(60)), "nobody said go"
        if self.cut:
            return False
        self.chunk(wire, coder.end())
        wire.send(b"0\r\n\r\n")
        return True

    @staticmethod
    def chunk(wire, data):
        if data:
            wire.send(b"%x\r\n%s\r\n" % (len(data), data))
