# SPDX-License-Identifier: MPL-2.0
"""An nginx of our own on loopback: static files with ranges, uploads by PUT, over http and over TLS 1.2 and 1.3."""
import subprocess

from .ports import free_port
from .timing import scaled, until
from .tools import clean_env, need

CONF = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/octet-stream; sendfile on; keepalive_requests 10000;
  client_max_body_size 0; large_client_header_buffers 4 64k;
  types {{ text/html html; text/css css; application/javascript js; image/svg+xml svg; text/plain txt; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  root {root};
  dav_methods PUT; create_full_put_path on;
  server {{ listen 127.0.0.1:{http}; }}
  server {{ listen 127.0.0.1:{tls13} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; }}
  server {{ listen 127.0.0.1:{tls12} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2; }}
}}
"""


class Nginx:
    def __init__(self, folder, authority, names):
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir(parents=True)
        self.cert, self.key = authority.leaf(*names)
        for _ in range(5):  # a port may be taken between the look and the bind
            self.http, self.tls13, self.tls12 = (free_port() for _ in range(3))
            if self._start():
                return
        raise AssertionError("nginx does not start: " + (self.folder / "error.log").read_text())

    def _start(self):
        conf = self.folder / "nginx.conf"
        import os
        conf.write_text(CONF.format(folder=self.folder, root=self.root, cert=self.cert, key=self.key, http=self.http,
                                    tls13=self.tls13, tls12=self.tls12, user="user root;" if os.getuid() == 0 else ""))
        self.process = subprocess.Popen([need("nginx"), "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", str(conf)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env())
        # who answers at a port may be somebody else: the file is written when all of its own are bound
        until(lambda: (self.folder / "nginx.pid").exists() or self.process.poll() is not None, 20, "nginx")
        return self.process.poll() is None

    def put(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def close(self):
        self.process.terminate()
        self.process.wait(scaled(10))
