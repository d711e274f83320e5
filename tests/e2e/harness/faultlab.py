# SPDX-License-Identifier: MPL-2.0
"""Origins that fail their TLS handshake in one way each: at which step, and how. What is expected of each stands beside it."""
import socket
import ssl
import time
from dataclasses import dataclass

from .wire import Cut

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = {"1.2": TLS12, "1.3": TLS13}


@dataclass(frozen=True)
class Seen:
    """What the event of a failed handshake says; None: the attribute is absent."""
    reason: str
    alert: str = None
    rejected: str = None
    confidence: str = "authoritative"

    def __str__(self):
        alert = "any" if self.alert is ... else self.alert or "-"
        return f"{self.reason:16} {alert:>5} {self.rejected or '-':8} {self.confidence:14}"


def seen(event):
    """The same of an event. A flow that ended after its handshake is told by its stream_closed."""
    if event.kind == "stream_closed":
        return Seen("(succeeded)", None, event.at("peer_rejected_ca"), "inferred" if event.at("peer_rejected_ca") else "-")
    return Seen(event.at("tls_failure_reason"), event.at("tls_alert"), event.at("peer_rejected_ca"), event.at("source_confidence"))


SUCCESS = Seen("(succeeded)", confidence="-")

# Certificates, by their names in pki_lab.py. The alert is the one that we send.
CERTIFICATES = {
    "valid": SUCCESS, "valid_chain": SUCCESS, "unrelated_in_chain": SUCCESS, "valid_rsa": SUCCESS, "valid_p384": SUCCESS,
    "valid_wildcard": SUCCESS,
    "unknown_ca": Seen("unknown_ca", "48"),
    "missing_intermediate": Seen("unknown_ca", "48"),
    "self_signed": Seen("unknown_ca", "48"),
    "not_a_ca": Seen("unknown_ca", "48"),
    "same_name_root": Seen("unknown_ca", "48"),
    "expired": Seen("cert_validation", "45"),
    "expired_intermediate": Seen("cert_validation", "45"),
    "not_yet_valid": Seen("cert_validation", "45"),
    "wrong_host": Seen("cert_validation", "42"),
    "wrong_wildcard": Seen("cert_validation", "42"),
    "wrong_ip": Seen("cert_validation", "42"),
    "wrong_usage": Seen("cert_validation", "42"),
    "path_length": Seen("cert_validation", "48"),
    "name_constraints": Seen("cert_validation", "42"),
    "excluded_name": Seen("cert_validation", "42"),
    "weak_rsa": Seen("cert_validation", "42"),
    "weak_ca": Seen("cert_validation", "42"),
    "sha1": Seen("cert_validation", "42"),
    "md5": Seen("cert_validation", "42"),
    "broken_signature": Seen("cert_validation", "42"),
    "malformed_date": Seen("cert_validation", "45"),
    "malformed_chain": Seen("cert_validation", ...),
    "critical_extension": Seen("cert_validation", "42"),
}

# How a server may fail that has come to a step; (what it does, what is then expected before and after its ServerHello)
HTTP_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nno TLS here\n"
SSH_BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
GARBAGE = bytes(range(128, 256)) * 4


def leave(wire):
    wire.sock.shutdown(socket.SHUT_WR)
    quiet(wire)


def quiet(wire):
    try:
        wire.rest()
    except OSError:
        pass


def says(data):
    def speak(wire):
        wire.send(data)
        quiet(wire)
    return speak


def alert(number, level=2):
    return b"\x15\x03\x03\x00\x02" + bytes([level, number])


ENDS = {"stops": quiet, "closes": leave, "resets": lambda wire: wire.reset(), "http": says(HTTP_ANSWER), "ssh": says(SSH_BANNER),
        "garbage": says(GARBAGE), "alert_40": says(alert(40)), "alert_80": says(alert(80))}
STEPS = ("at_once", "after_hello", "inside_server_hello", "after_server_hello", "before_finished")


def step_expects(step, end, version):
    if end == "stops":
        return Seen("timeout")
    if end in ("closes", "resets"):
        return Seen("eof_or_reset")
    if step == "inside_server_hello":  # the bytes become a part of it, whatever they are: of its key share, which may be any
        return Seen("timeout") if end.startswith("alert") and version == "1.3" else Seen("handshake", ...)
    if end.startswith("alert"):
        return Seen("handshake", end[6:])
    return Seen("other", ...) if step in ("at_once", "after_hello") else Seen("handshake", ...)


def matches(wanted, got):
    """An alert of ... is any or none."""
    return all(w is ... or w == g for w, g in zip((wanted.reason, wanted.alert, wanted.rejected, wanted.confidence),
                                                  (got.reason, got.alert, got.rejected, got.confidence)))


def first_flight(wire, context):
    """The server's first flight, as bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
            raise AssertionError("a handshake of one flight")
        except ssl.SSLWantReadError:
            if outgoing.pending:
                return outgoing.read()
        data = wire.sock.recv(65536)
        if not data:
            raise Cut(b"")
        incoming.write(data)


def record_size(data):
    return 5 + int.from_bytes(data[3:5], "big")


def at_step(step, end, context):
    """A handler for Origin: comes as far as `step`, then does ENDS[end]."""
    def handler(wire):
        if step == "at_once":
            ENDS[end](wire)
            return
        if step == "after_hello":
            wire.fill()
        else:
            flight = first_flight(wire, context)
            size = record_size(flight)
            wire.send({"inside_server_hello": flight[:size - 5], "after_server_hello": flight[:size], "before_finished": flight}[step])
        ENDS[end](wire)
    return handler


# Alerts in answer to our hello
ALERTS = {10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure", 47: "illegal_parameter", 49: "access_denied",
          50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
          86: "inappropriate_fallback", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
          116: "certificate_required", 120: "no_application_protocol"}


def refuses(number, level=2, then=quiet):
    def handler(wire):
        wire.fill()
        wire.send(alert(number, level))
        then(wire)
    return handler


def server_context(files, version=None, ciphers=None, alpn=("http/1.1",), curve=None, old=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers or "DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(*files)
    if version:
        context.minimum_version = context.maximum_version = version
    if curve:
        context.set_ecdh_curve(curve)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def settle():
    time.sleep(0.05)
