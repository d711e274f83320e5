# SPDX-License-Identifier: MPL-2.0
"""The peers: nginx, haproxy and mitmproxy, one worker each, TLS 1.3 with AES-128-GCM and the origin's certificate
verified, set up the way their own documentation recommends for speed."""

import os
import subprocess
import sys

from programs import Direct, Program, Unavailable, need, write

SUITE = "TLS_AES_128_GCM_SHA256"


class Nginx(Program):
    """https to https, upstream connections kept."""

    name = "nginx"
    connection, extra = 'proxy_set_header Connection "";', ""

    def prepare(self):
        certs, port = self.bench.certs, self.origin.port
        write(f"{self.dir}/nginx.conf", f"""
daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log error;
events {{ worker_connections 8000; }}
http {{
  map $http_upgrade $connection_words {{ default upgrade; "" ""; }}
  http2_max_concurrent_streams 1000;
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 120s;
  client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
  uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
  ssl_certificate {certs.leaf}; ssl_certificate_key {certs.leaf_key}; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites {SUITE}; ssl_session_cache shared:s:1m;
  upstream origin {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.port} ssl http2 backlog=4096;
    location / {{
      proxy_pass https://origin; proxy_http_version 1.1; {self.connection} proxy_set_header Host $host;
      proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {certs.ca};
      proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0; {self.extra}
    }}
  }}
}}
""")

    def command(self):
        return [need("nginx"), "-p", self.dir, "-c", f"{self.dir}/nginx.conf"]


class NginxStream(Nginx):
    """The same for streams: nothing is buffered, upgrades are passed on."""

    name, streams = "nginx-stream", True
    connection = "proxy_set_header Connection $connection_words; proxy_set_header Upgrade $http_upgrade;"
    extra = "proxy_buffering off; proxy_read_timeout 120s;"


class Haproxy(Program):
    front = back = mode = extra = front_more = back_more = ""

    def prepare(self):
        certs = self.bench.certs
        front = f" ssl crt {certs.bundle} ssl-min-ver TLSv1.3{self.front_more}" if self.front else ""
        back = f" ssl verify required ca-file {certs.ca} sni str(localhost) verifyhost localhost{self.back_more}" if self.back else ""
        write(f"{self.dir}/haproxy.cfg", f"""
global
  maxconn 4000
  nbthread 1
  ssl-default-bind-ciphersuites {SUITE}
  ssl-default-server-ciphersuites {SUITE}
defaults
  mode {self.mode}
  timeout connect 10s
  timeout client 120s
  timeout server 120s
  {self.extra}
listen bench
  bind 127.0.0.1:{self.port} backlog 4096{front}
  server origin 127.0.0.1:{self.origin.port}{back}
""")

    def command(self):
        return [need("haproxy"), "-db", "-f", f"{self.dir}/haproxy.cfg"]


class HaproxyHttp(Haproxy):
    name, mode, front, back, extra = "haproxy-http", "http", True, True, "http-reuse always"


class HaproxyH2(HaproxyHttp):
    name, front_more, back_more = "haproxy-h2", " alpn h2", " alpn h2"


class HaproxyH2Waiting(HaproxyH2):
    name, waits = "haproxy-h2-waiting", True


class HaproxyTcp(Haproxy):
    name, mode, front, back = "haproxy-tcp", "tcp", True, True


class HaproxyCopy(Haproxy):
    name, way, mode = "haproxy-copy", "plain", "tcp"


class HaproxySplice(Haproxy):
    name, way, mode, extra = "haproxy-splice", "plain", "tcp", "option splice-auto"


class Mitmproxy(Program):
    """mitmdump from a venv of the bench's own; bodies are streamed, or it would hold each one whole."""

    name, way, options = "mitmproxy", "connect", ()
    version = "11.0.2" if sys.version_info < (3, 12) else "12.2.3"

    def prepare(self):
        certs = self.bench.certs
        self.program = self.install()
        confdir = os.path.join(self.dir, "confdir")
        os.makedirs(confdir, exist_ok=True)
        with open(certs.ca_key) as key, open(certs.ca) as ca:
            write(f"{confdir}/mitmproxy-ca.pem", key.read() + ca.read(), 0o600)

    def install(self):
        venv = os.path.join(self.bench.dir, "mitmproxy-venv-" + self.version)
        program = os.path.join(venv, "bin", "mitmdump")
        if not os.path.exists(program):
            print(f"installing mitmproxy {self.version} into {venv}", file=sys.stderr)
            try:
                subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True)
                subprocess.run([f"{venv}/bin/pip", "install", "-q", f"mitmproxy=={self.version}"], check=True,
                               capture_output=True, timeout=300)
            except (subprocess.SubprocessError, OSError) as e:
                raise Unavailable(f"mitmproxy {self.version} cannot be installed: {e}") from e
        return program

    def command(self):
        return [self.program, "-q", "--listen-host", "127.0.0.1", "--listen-port", str(self.port),
                "--set", f"confdir={self.dir}/confdir", "--set", "http2=false", "--set", "stream_large_bodies=64k",
                "--set", f"ssl_verify_upstream_trusted_ca={self.bench.certs.ca}",
                "--set", "tls_version_client_min=TLS1_3", *self.options]


class MitmproxyTunnel(Mitmproxy):
    name, options = "mitmproxy-tunnel", ("--ignore-hosts", ".*")


ALL = [Direct, Nginx, NginxStream, HaproxyHttp, HaproxyH2, HaproxyH2Waiting, HaproxyTcp, HaproxyCopy, HaproxySplice, Mitmproxy, MitmproxyTunnel]
