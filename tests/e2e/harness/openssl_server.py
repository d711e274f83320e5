# SPDX-License-Identifier: MPL-2.0
"""`openssl s_server` as an origin: for what Python's ssl cannot do, such as stapling."""
import re
import subprocess
import threading

from .timing import until
from .tools import clean_env, need


class OpensslServer:
    """Answers every request with its own page, or with what the test writes to .say(); .log is what it prints."""

    def __init__(self, chain, key, *options, port=0, page=True):
        self.log = ""
        command = [need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", chain, "-cert_chain", chain, "-key", key,
                   *(["-www"] if page else []), *options]
        self.process = subprocess.Popen([str(a) for a in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=clean_env(OPENSSL_CONF="/dev/null"))
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: "ACCEPT" in self.log, 10, lambda: "s_server: " + self.log)
        self.port = port or int(until(lambda: re.search(r"ACCEPT \S*?:(\d+)\n", self.log), 10, lambda: "s_server: " + self.log)[1])

    def say(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _read(self):
        for line in self.process.stdout:
            self.log += line.decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()
