# SPDX-License-Identifier: MPL-2.0
"""A raw client of the proxy: every byte it sends is in the test."""
import socket
import ssl

from .timing import scaled
from .wire import Wire


def trust(ca_path, strict=True, alpn=("http/1.1",), version=None):
    """A client's SSLContext that trusts one CA file, in strict mode (RFC 5280 checks of VERIFY_X509_STRICT)."""
    context = ssl.create_default_context(cafile=str(ca_path))
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Client(Wire):
    def __init__(self, address, seconds=15):
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(scaled(seconds))
            sock.connect(address)
        else:
            sock = socket.create_connection(address, scaled(seconds))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def ask_connect(self, authority, fields=()):
        """Sends CONNECT and reads the reply."""
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"] + [f"{n}: {v}" for n, v in fields]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        return self.response("CONNECT")

    def connect(self, authority, fields=()):
        """CONNECT that must be answered 200."""
        answer = self.ask_connect(authority, fields)
        assert answer.status == 200, f"CONNECT {authority}: {answer.head.start} {answer.body!r}"
        return self

    def start_tls(self, context, name):
        assert not self.buffer, f"bytes before TLS: {self.buffer!r}"
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        return self

    def ask(self, method, target, host, fields=(), body=b""):
        """One request and its response. Content-Length is added for a body."""
        self.send(request(method, target, host, fields, body))
        return self.response(method)

    def close(self):
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(0.05)
                self.sock.unwrap()
        except (OSError, ValueError):
            pass
        self.sock.close()


def request(method, target, host, fields=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"] + [f"{n}: {v}" for n, v in fields]
    if body and not any(n.lower() in ("content-length", "transfer-encoding") for n, _ in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
