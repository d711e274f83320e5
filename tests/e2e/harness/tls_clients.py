# SPDX-License-Identifier: MPL-2.0
"""TLS clients that people use, as functions (proxy, host, port, CA file, version "1.2" or "1.3") -> did it get the page? Each trusts that CA
alone. Missing ones are skipped with their reason."""
import functools
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading

from .client import Client, trust
from .faultlab import VERSIONS
from .timing import scaled
from .tools import clean_env, need, run

E2E = pathlib.Path(__file__).parent.parent


def _got(done, mark=b"hello"):
    return done.returncode == 0 and mark in done.stdout


def curl(p, host, port, ca, version):
    return _got(run([need("curl"), "-sS", "--noproxy", "", "-x", p.url, "--cacert", ca, f"--tlsv{version}", "--tls-max", version,
                     f"https://{host}:{port}/hello"], check=False))


def wget(p, host, port, ca, version):
    return _got(run([need("wget"), "-nv", "--tries=1", "--timeout=20", f"--ca-certificate={ca}",
                     f"--ciphers=NORMAL:-VERS-ALL:+VERS-TLS{version}", "-O", "-", f"https://{host}:{port}/hello"],
                    check=False, env=clean_env(https_proxy=p.url)))


def python(p, host, port, ca, version):
    with Client(p.address()).connect(f"{host}:{port}") as client:
        try:
            client.start_tls(trust(ca, version=VERSIONS[version]), host)
            return client.ask("GET", "/hello", host).body == b"hello\n"
        except ssl.SSLError:
            return False


def openssl(p, host, port, ca, version):
    done = run([need("openssl"), "s_client", "-proxy", p.addresses[0], "-connect", f"{host}:{port}", "-servername", host, "-CAfile", ca,
                "-verify_return_error", "-verify_hostname", host, f"-tls{version.replace('.', '_')}", "-quiet", "-ign_eof"],
               input=f"GET /hello HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), check=False)
    return _got(done)


def node(p, host, port, ca, version):
    address = p.address()
    return _got(run([need("node"), f"--tls-min-v{version}", f"--tls-max-v{version}", E2E / "node" / "https.cjs", *map(str, address), host, port,
                     "/hello"], check=False, env=clean_env(NODE_EXTRA_CA_CERTS=ca)))


@functools.lru_cache(maxsize=None)
def go_program():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soth-go-"))
    run([need("go"), "build", "-o", folder / "tlsclient", "./tlsclient"], timeout=300, cwd=E2E / "go",
        env=clean_env(GOFLAGS="-mod=mod", GOTOOLCHAIN="local", GOPROXY="off", CGO_ENABLED="0",
                      HOME=os.environ.get("HOME", str(folder))))
    return folder / "tlsclient"


def go(p, host, port, ca, version, *options):
    return _got(run([go_program(), p.addresses[0], f"{host}:{port}", ca, f"version={version}", *options], check=False), b"200 OK")


def java(p, host, port, ca, version):
    address = p.address()
    return _got(run([need("java"), "-XX:TieredStopAtLevel=1", E2E / "java" / "TlsClient.java", *map(str, address), host, port, ca, f"TLSv{version}"],
                    check=False), b"200 OK")


class Relay:
    """Listens on loopback and sends what comes to the proxy, behind a CONNECT: for clients that know no proxies."""

    def __init__(self, p, target):
        self.p, self.target = p, target
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        conn, _ = self.sock.accept()
        client = Client(self.p.address()).connect(self.target)
        threads = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in ((conn, client.sock), (client.sock, conn))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        conn.close()
        client.sock.close()
        self.sock.close()

    @staticmethod
    def _copy(source, to):
        try:
            source.settimeout(scaled(20))
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, to):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def gnutls(p, host, port, ca, version):
    """gnutls-cli has no proxy option."""
    relay = Relay(p, f"{host}:{port}")
    command = [need("gnutls-cli"), "--x509cafile", str(ca), "--sni-hostname", host, "--verify-hostname", host, "-p", str(relay.port),
               "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_env()) as process:
        try:
            process.stdin.write(f"GET /hello HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            process.stdin.flush()
            out = process.stdout.read()
        except OSError:
            out = b""
        process.wait(scaled(30))
    return b"hello" in out


CLIENTS = {"curl": curl, "wget": wget, "python": python, "openssl": openssl, "node": node, "go": go, "java": java, "gnutls": gnutls}
