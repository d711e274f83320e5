# SPDX-License-Identifier: MPL-2.0
"""An add-on for mitmproxy that tells soth-mitm (module tlsops_mitmproxy) of TLS handshakes, one JSON object a line over a Unix socket:

    mitmdump -s soth_tls_ops.py --set soth_tls_socket=/run/soth-mitm/tlsops.sock

It says numbers - alerts as they were on the wire, the result of OpenSSL's verification, whether the connection ended, whether it took too long -
and leaves what they mean to the other side. It changes nothing in mitmproxy: when nobody listens, lines are dropped and counted."""
import asyncio
import collections
import json
import logging
import socket

from OpenSSL import SSL
from mitmproxy import connection, ctx, tls, version

READ_ALERT, WRITE_ALERT = 0x4004, 0x4008  # SSL_CB_READ_ALERT, SSL_CB_WRITE_ALERT
WAITING_MOST = 1000  # lines
RETRY_AFTER = (0.1, 0.5, 2, 10)  # seconds
ERROR_MOST = 400

log = logging.getLogger("soth_tls_ops")


class Handshake:
    """One that is under way."""

    def __init__(self, data: tls.TlsData):
        self.ssl = data.ssl_conn
        self.alert_received = self.alert_sent = None
        self.deadline = None
        self.told = False


def verify_code(ssl_conn) -> int:
    """The result of the certificate's verification, X509_V_ERR_...; 0 when it is fine or cannot be asked."""
    try:
        return int(SSL._lib.SSL_get_verify_result(ssl_conn._ssl))
    except Exception:  # pyOpenSSL's inside may change
        return 0


def address_text(address) -> str | None:
    if not address:
        return None
    host, port = address[0], address[1]
    if host.startswith("::ffff:"):
        host = host[7:]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Hooks:
    """mitmproxy calls scripts before its own add-ons, one of which makes the connection's ssl_conn: this one is added behind them."""

    name = "soth_tls_ops_hooks"

    def __init__(self, ops: "TlsOps"):
        self.ops = ops

    def tls_start_client(self, data: tls.TlsData):
        self.ops.start(data)

    def tls_start_server(self, data: tls.TlsData):
        self.ops.start(data)

    def tls_established_client(self, data: tls.TlsData):
        self.ops.end(data, "established")

    def tls_established_server(self, data: tls.TlsData):
        self.ops.end(data, "established")

    def tls_failed_client(self, data: tls.TlsData):
        self.ops.end(data, "failed")

    def tls_failed_server(self, data: tls.TlsData):
        self.ops.end(data, "failed")

    def client_disconnected(self, client: connection.Client):
        self.ops.forget(client.id)

    def server_disconnected(self, data):
        self.ops.forget(data.server.id)


class TlsOps:
    def __init__(self):
        self.handshakes: dict[str, Handshake] = {}  # by the connection's id
        self.lines: collections.deque[bytes] = collections.deque(maxlen=WAITING_MOST)
        self.dropped = 0
        self.more = self.task = self.hooks = None

    def load(self, loader):
        loader.add_option("soth_tls_socket", str, "", "Unix socket of soth-mitm's module tlsops_mitmproxy; empty: nobody is told")
        loader.add_option("soth_tls_timeout", int, 10, "seconds after which a handshake is told of as timed out; 0: never")

    def running(self):
        self.more = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self.deliver())
        self.hooks = Hooks(self)
        ctx.master.addons.add(self.hooks)

    def done(self):
        if self.task:
            self.task.cancel()
            ctx.master.addons.remove(self.hooks)
        self.deliver_rest()

    # ---- handshakes

    def start(self, data: tls.TlsData):
        if data.is_dtls or data.ssl_conn is None:
            return
        handshake = self.handshakes[data.conn.id] = Handshake(data)
        data.ssl_conn.get_context().set_info_callback(self.observe)
        seconds = ctx.options.soth_tls_timeout
        if seconds > 0:
            handshake.deadline = asyncio.get_running_loop().call_later(seconds, self.late, data)
        self.tell(self.describe(data, "started"))

    def observe(self, ssl_conn, where: int, value: int):
        """OpenSSL's own word about each alert: the level in the high byte, the description in the low one."""
        if where not in (READ_ALERT, WRITE_ALERT):
            return
        for handshake in self.handshakes.values():
            if handshake.ssl is ssl_conn:
                if where == READ_ALERT:
                    handshake.alert_received = value & 0xff
                elif handshake.alert_sent is None:
                    handshake.alert_sent = value & 0xff
                return

    def late(self, data: tls.TlsData):
        handshake = self.handshakes.get(data.conn.id)
        if handshake and not handshake.told:
            handshake.told = True
            self.tell(self.describe(data, "failed") | {"timeout": True, "error": "the handshake took longer than soth_tls_timeout"})

    def end(self, data: tls.TlsData, event: str):
        handshake = self.forget(data.conn.id)
        if data.is_dtls or (handshake and handshake.told):
            return
        line = self.describe(data, event)
        if event == "failed":
            line["error"] = str(data.conn.error or "")[:ERROR_MOST]
            line["closed"] = not data.conn.state & connection.ConnectionState.CAN_READ
            if handshake:
                line["alert_received"], line["alert_sent"] = handshake.alert_received, handshake.alert_sent
                if isinstance(data.conn, connection.Server):
                    line["verify_code"] = verify_code(handshake.ssl)
        self.tell(line)

    def forget(self, conn_id: str) -> Handshake | None:
        handshake = self.handshakes.pop(conn_id, None)
        if handshake and handshake.deadline:
            handshake.deadline.cancel()
        return handshake

    def describe(self, data: tls.TlsData, event: str) -> dict:
        client, server = data.context.client, data.context.server
        address = server.address or ("", 0)
        return {
            "v": 1, "event": event, "provider": "mitmproxy", "provider_identity": f"mitmproxy {version.VERSION}",
            "peer": "downstream" if isinstance(data.conn, connection.Client) else "upstream",
            "host": (data.conn.sni if isinstance(data.conn, connection.Client) else server.sni) or address[0] or None,
            "port": address[1] or None, "client": address_text(client.peername),
        }

    # ---- lines

    def tell(self, line: dict):
        if not ctx.options.soth_tls_socket:
            return
        if len(self.lines) == WAITING_MOST:
            self.dropped += 1
            if self.dropped == 1:
                log.warning("soth-mitm does not take what it is told at %s: lines are dropped", ctx.options.soth_tls_socket)
        self.lines.append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        if self.more:
            self.more.set()

    async def deliver(self):
        failures = 0
        while True:
            await self.more.wait()
            try:
                _, writer = await asyncio.open_unix_connection(ctx.options.soth_tls_socket)
                try:
                    await self.send(writer)
                finally:
                    writer.close()
            except OSError:
                await asyncio.sleep(RETRY_AFTER[min(failures, len(RETRY_AFTER) - 1)])
                failures += 1
            else:
                failures = 0

    async def send(self, writer: asyncio.StreamWriter):
        while True:
            while self.lines:
                writer.write(self.lines[0])
                await writer.drain()  # raises when the other side has gone: the line stays
                self.lines.popleft()
            if self.dropped:
                log.warning("soth-mitm takes what it is told again, %d lines were dropped", self.dropped)
                self.dropped = 0
            self.more.clear()
            await self.more.wait()

    def deliver_rest(self):
        """mitmproxy ends: what is still here, in one short try."""
        if not self.lines or not ctx.options.soth_tls_socket:
            return
        try:
            with socket.socket(socket.AF_UNIX) as last:
                last.settimeout(1)
                last.connect(ctx.options.soth_tls_socket)
                last.sendall(b"".join(self.lines))
        except OSError:
            pass


addons = [TlsOps()]
