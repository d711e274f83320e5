# SPDX-License-Identifier: MPL-2.0
"""A decision service for policy_webhook: answers questions as a test's function says."""
import json
import socket

from .origin import HttpOrigin, reply


class Decider(HttpOrigin):
    """decide(question) returns the answer as a dict, or bytes that are sent as they are. path: a Unix socket instead of a port."""

    def __init__(self, decide=None, path=None, port=0):
        self.decide = decide or (lambda question: {"action": "allow"})
        self.questions = []
        self.path, self.wanted = path, port
        super().__init__({"/decide": self._decide, "/": self._decide})

    def listen(self, host, backlog):
        if self.path is None:
            return socket.create_server((host, self.wanted), backlog=backlog)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.path))
        sock.listen(backlog)
        return sock

    @property
    def url(self):
        return f"unix:{self.path}" if self.path else f"http://127.0.0.1:{self.port}/decide"

    def _decide(self, wire, request):
        question = json.loads(request.body)
        self.questions.append(question)
        answer = self.decide(question)
        if isinstance(answer, bytes):
            wire.send(answer)
            return False
        wire.send(reply(body=json.dumps(answer).encode(), fields=[("Content-Type", "application/json")]))
        return True
