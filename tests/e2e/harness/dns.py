# SPDX-License-Identifier: MPL-2.0
"""A counting DNS server on UDP loopback. Names under .test are 127.0.0.1 unless a test says otherwise."""
import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def _question(packet):
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    qtype, _ = struct.unpack("!HH", packet[at + 1:at + 5])
    return ".".join(labels).lower(), qtype, packet[12:at + 5]


class Resolver:
    """answers: name -> list of addresses, an rcode, or None (never answers)."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.answers = {}
        self.queries = []  # (name, type), as they came
        self.ttl = 60
        threading.Thread(target=self._serve, daemon=True).start()

    def asked(self, name):
        return [q for q in self.queries if q[0] == name]

    def close(self):
        self.sock.close()

    def _serve(self):
        while True:
            try:
                packet, peer = self.sock.recvfrom(4096)
                reply = self._reply(packet)
                if reply:
                    self.sock.sendto(reply, peer)
            except (IndexError, struct.error):
                continue
            except OSError:  # closed: nobody asks any more
                return

    def _reply(self, packet):
        name, qtype, question = _question(packet)
        self.queries.append((name, qtype))
        answer = self.answers.get(name, ["127.0.0.1"] if name.endswith(".test") else NXDOMAIN)
        if answer is None:
            return None
        rcode, addresses = (answer, []) if isinstance(answer, int) else (NOERROR, answer)
        records = b""
        count = 0
        for text in addresses:
            address = ipaddress.ip_address(text)
            if qtype == (A if address.version == 4 else AAAA):
                records += b"\xc0\x0c" + struct.pack("!HHIH", qtype, 1, self.ttl, len(address.packed)) + address.packed
                count += 1
        flags = 0x8180 | rcode
        return packet[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records
