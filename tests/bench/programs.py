# SPDX-License-Identifier: MPL-2.0
"""A program under load: how it is started, which way the load takes through it, and how it is ended. Only processes
started here are ever signalled, by their own id."""

import os
import shutil
import socket
import subprocess
import sys
import time

WAITING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "waiting.py")


class Unavailable(Exception):
    """The program cannot take part; the text says why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write(path, text, mode=0o644):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def need(tool):
    found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise Unavailable(f"{tool} is not installed")
    return found


class Program:
    """One row of a table. `way` is direct (TLS straight to it), connect (CONNECT, then TLS) or plain (TLS straight
    through it to the origin)."""

    name, way, ours = "", "direct", False
    load = ""  # a load generator of its own; "" = the plan's
    streams = False  # its origin is the one that streams,
    waits = False  # the one that does not answer

    def __init__(self, bench):
        self.bench = bench
        self.origin = bench.started(WaitingOrigin) if self.waits else bench.stream_origin if self.streams else bench.origin
        self.port, self.process = free_port(), None
        self.dir = os.path.join(bench.dir, self.name)
        self.output = os.path.join(self.dir, "output.txt")
        os.makedirs(self.dir, exist_ok=True)
        write(self.output, "")
        self.prepare()

    def prepare(self):
        """Writes the configuration; raises Unavailable."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return None

    @property
    def pid(self):
        return self.process.pid

    def launch(self, prefix=()):
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen([*prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=self.environment(), cwd=self.dir)

    def accepts(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, prefix=("setpriv", "--pdeathsig", "TERM"), seconds=20):
        self.launch(prefix)
        end = time.monotonic() + seconds
        while not self.accepts():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise Unavailable(f"{self.name} does not start: {self.last_words()}")
            time.sleep(0.02)
        return self

    def last_words(self):
        with open(self.output, errors="replace") as f:
            return " | ".join(f.read().strip().splitlines()[-3:])

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.cleanup()

    def complaints(self):
        """What makes its figures doubtful, in words."""
        return []

    def cleanup(self):
        """Removes what a run leaves behind, beyond its output."""


class Origin(Program):
    """nginx with the bench's files, over TLS and plain, one worker."""

    name = "origin"

    def __init__(self, bench):
        self.plain_port = free_port()
        bench.origin = self
        super().__init__(bench)

    def prepare(self):
        ca = self.bench.certs
        files = os.path.join(self.dir, "files")
        os.makedirs(files, exist_ok=True)
        with open(os.path.join(files, "1m"), "wb") as f:
            f.write(b"0123456789abcde\n" * (1 << 16))
        with open(os.path.join(files, "1g"), "wb") as f:
            f.truncate(1 << 30)  # sparse: it costs no disk
        write(f"{self.dir}/nginx.conf", f"""
daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log error;
events {{ worker_connections 16000; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; http2_max_concurrent_streams 1000; keepalive_timeout 120s;
  open_file_cache max=10; open_file_cache_valid 3600s; default_type application/octet-stream;
  client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
  uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
  ssl_certificate {ca.leaf}; ssl_certificate_key {ca.leaf_key}; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_cache shared:s:1m;
  server {{
    listen 127.0.0.1:{self.port} ssl http2 backlog=4096; listen 127.0.0.1:{self.plain_port};
    listen [::1]:{self.port} ssl http2 backlog=4096;
    root {files};
    location = /status {{ stub_status; }}
    location /bench. {{ default_type application/grpc; return 200 "{"0123456789abcde." * 4}"; }}
    location = /1k {{ return 200 "{"0123456789abcde." * 64}"; }}
  }}
}}
""")

    def command(self):
        return [need("nginx"), "-p", self.dir, "-c", f"{self.dir}/nginx.conf"]

    def accepted(self):
        """Connections accepted since its start."""
        with socket.create_connection(("127.0.0.1", self.plain_port)) as s:
            s.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            answer = b""
            while part := s.recv(4096):
                answer += part
        words = answer.split(b"requests\n")[1].split()
        return int(words[0])


class StreamOrigin(Program):
    """What sends events by schedule and echoes WebSocket messages (stream/serve.c)."""

    name = "stream-origin"

    def command(self):
        certs = self.bench.certs
        return [self.bench.stream, "serve", "--port", str(self.port), "--cert", certs.leaf, "--key", certs.leaf_key,
                "--connections", "50", "--rate", "20"]

    def accepted(self):
        return 0


class WaitingOrigin(Program):
    """What takes requests of HTTP/2 and never answers (waiting.py)."""

    name = "waiting-origin"

    def command(self):
        certs = self.bench.certs
        return [sys.executable, WAITING, "origin", "--port", str(self.port), "--cert", certs.leaf, "--key", certs.leaf_key]


class Direct(Program):
    """No program in between: the floor."""

    name, streams = "direct", True

    def start(self, *_, **__):
        self.port, self.process = self.origin.port, self.origin.process
        return self

    def stop(self):
        self.process = None


class Certs:
    """One CA (P-256) for everything: origin, peers and the intercepting proxies; made once."""

    def __init__(self, where):
        os.makedirs(where, exist_ok=True)
        self.ca, self.ca_key = f"{where}/ca.pem", f"{where}/ca.key"
        self.leaf, self.leaf_key = f"{where}/leaf.pem", f"{where}/leaf.key"
        self.bundle = f"{where}/bundle.pem"
        if not os.path.exists(self.bundle):
            self.make(where)

    def make(self, where):
        def openssl(*words):
            subprocess.run([need("openssl"), *words], check=True, capture_output=True, cwd=where)

        for key in (self.ca_key, self.leaf_key):
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
            os.chmod(key, 0o600)
        openssl("req", "-x509", "-new", "-key", self.ca_key, "-subj", "/CN=soth bench CA", "-days", "3650", "-out",
                self.ca, "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign")
        write(f"{where}/leaf.ext", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
              "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
              "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-new", "-key", self.leaf_key, "-subj", "/CN=localhost", "-out", "leaf.csr")
        openssl("x509", "-req", "-in", "leaf.csr", "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days",
                "3650", "-extfile", "leaf.ext", "-out", self.leaf)
        with open(self.leaf) as leaf, open(self.leaf_key) as key:
            write(self.bundle, leaf.read() + key.read(), 0o600)
