# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 frame by frame: peers that say what no library would. Heads are made and read with hpack, nothing else is checked."""
import struct

from hpack import Decoder, Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CALM = 0, 1, 2, 3, 5, 7, 8, 9, 11
MAX_STREAMS, INITIAL_WINDOW = 3, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**pairs):
    """settings(max_streams=0, window=65535)"""
    names = {"max_streams": MAX_STREAMS, "window": INITIAL_WINDOW, "push": 2, "frame": 5, "table": 1, "list": 6}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[n], v) for n, v in pairs.items()))


def rst(stream, code):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def goaway(last, code=0):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


def window(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


class Peer:
    """On a Wire (harness/wire.py). heard: (kind, flags, stream, payload) as they came; heads: stream -> lists of fields, interim ones too."""

    def __init__(self, wire, client=False, first=None):
        self.wire, self.encoder, self.decoder = wire, Encoder(), Decoder()
        self.heard, self.heads, self.bodies, self.ended, self.resets, self.goaways = [], {}, {}, set(), {}, []
        self.gone, self.left = False, b""
        self.grants = True  # what DATA costs is given back
        if client:
            self.send(PREFACE)
        else:
            assert self._have(len(PREFACE)) and self.left.startswith(PREFACE)
            self.left = self.left[len(PREFACE):]
        self.send(settings() if first is None else first)

    def send(self, *frames):
        self.wire.sock.sendall(b"".join(frames))

    def head(self, stream, fields, flags=END_HEADERS):
        """A HEADERS frame: ("x", "y") pairs or a dict."""
        pairs = fields.items() if isinstance(fields, dict) else fields
        return frame(HEADERS, flags, stream, self.encoder.encode([(str(n), str(v)) for n, v in pairs], huffman=False))

    def respond(self, stream, status=200, body=b"", fields=(), trailers=None):
        """A whole response."""
        self.send(self.head(stream, [(":status", status), *fields], END_HEADERS | (0 if body or trailers else END_STREAM)))
        if body:
            self.send(frame(DATA, 0 if trailers else END_STREAM, stream, body))
        if trailers:
            self.send(self.head(stream, trailers, END_HEADERS | END_STREAM))

    def _have(self, n):
        """So many bytes are in self.left; what has come before a time-out stays there."""
        while len(self.left) < n:
            try:
                piece = self.wire.sock.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                self.gone = True
                return False
            self.left += piece
        return True

    def turn(self):
        """One frame, noted; answers to SETTINGS, PING and what DATA costs go by themselves. None at the end."""
        if not self._have(9) or not self._have(9 + int.from_bytes(self.left[:3], "big")):
            return None
        size, kind, flags = int.from_bytes(self.left[:3], "big"), self.left[3], self.left[4]
        stream, payload = int.from_bytes(self.left[5:9], "big") & 0x7fffffff, self.left[9:9 + size]
        self.left = self.left[9 + size:]
        self.heard.append((kind, flags, stream, payload))
        try:
            self._note(kind, flags, stream, payload)
        except ConnectionError:
            pass
        return self.heard[-1]

    def _note(self, kind, flags, stream, payload):
        if kind == HEADERS:
            self.heads.setdefault(stream, []).append(dict(self.decoder.decode(payload)))
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
            if payload and self.grants:
                self.send(window(0, len(payload)), b"" if flags & END_STREAM else window(stream, len(payload)))
        elif kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big")))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def until(self, fact):
        """Reads until fact() is true; false when the connection ends before."""
        while not fact():
            if self.turn() is None:
                return fact()
        return True

    def over(self, stream):
        return stream in self.ended or stream in self.resets

    def drain(self):
        while self.turn() is not None:
            pass

    def status(self, stream):
        """Of the final head, None when there is none."""
        found = [h[":status"] for h in self.heads.get(stream, []) if not h.get(":status", "1").startswith("1")]
        return int(found[0]) if found else None

    def request(self, stream, path="/", method="GET", fields=(), end=True, authority="origin.test", scheme="https"):
        return self.head(stream, [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *fields],
                         END_HEADERS | (END_STREAM if end else 0))
