# SPDX-License-Identifier: MPL-2.0
"""WebSockets over HTTP/1.1: a server of Python's websockets, and TLS that bears its threads."""
import errno
import select
import ssl
import threading
import time

from websockets.sync.server import serve


class OneAtATime(ssl.SSLSocket):
    """websockets reads in one thread and writes in another; OpenSSL's connections are not for two threads at once, and in one of some hundred the
    request was never sent: a session ticket was read while it was written. Here each call of OpenSSL has the connection to itself, and what
    has to wait waits outside."""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls, *args, **kwargs)
        self.turn, self.seconds, self.shared = threading.Lock(), None, False
        return self

    def settimeout(self, value):
        self.seconds = value
        if not self.shared:
            super().settimeout(value)

    def _when_possible(self, act, mask):
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        while True:
            with self.turn:
                if not self.shared:  # the handshake is over, it had one thread
                    super().settimeout(0)
                    self.shared = True
                try:
                    return act()
                except ssl.SSLWantReadError:
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
                except BlockingIOError:  # without TLS, after its end
                    wanted = mask
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            if self.fileno() < 0:
                raise OSError(errno.EBADF, "closed")
            poll = select.poll()
            poll.register(self.fileno(), wanted)
            poll.poll(None if left is None else left * 1000)

    def recv(self, buflen=1024, flags=0):
        return self._when_possible(lambda: super(OneAtATime, self).recv(buflen, flags), select.POLLIN)

    def send(self, data, flags=0):
        return self._when_possible(lambda: super(OneAtATime, self).send(data, flags), select.POLLOUT)


def for_threads(context):
    """The same context, for the clients and servers of websockets.sync."""
    context.sslsocket_class = OneAtATime
    return context


class WebSocketServer:
    def __init__(self, handler, tls=None, **kwargs):
        self.server = serve(handler, "127.0.0.1", 0, ssl=tls and for_threads(tls), **kwargs)
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join(10)


def echo(peer):
    for message in peer:
        peer.send(message)
