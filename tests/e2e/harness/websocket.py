# SPDX-License-Identifier: MPL-2.0
"""WebSockets over HTTP/1.1: a server of Python's websockets."""
import threading

from websockets.sync.server import serve


class WebSocketServer:
    def __init__(self, handler, tls=None, **kwargs):
        self.server = serve(handler, "127.0.0.1", 0, ssl=tls, **kwargs)
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join(10)


def echo(peer):
    for message in peer:
        peer.send(message)
