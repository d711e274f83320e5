# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 peers: an origin in Node (node/h2_origin.js), and a client whose every frame and window is the test's."""
import json
import pathlib
import subprocess
import threading

import h2.config
import h2.connection
import h2.events

from .timing import until
from .tools import clean_env, need

# Streams in flight go on after a GOAWAY (RFC 9113 6.8); the library takes it for the end.
_machine = h2.connection.H2ConnectionStateMachine
for _state in (h2.connection.ConnectionState.CLIENT_OPEN, h2.connection.ConnectionState.IDLE):
    _machine._transitions[(_state, h2.connection.ConnectionInputs.RECV_GOAWAY)] = (None, _state)

SCRIPT = pathlib.Path(__file__).parent.parent / "node" / "h2_origin.js"


class H2Origin:
    """tls: (certificate, key) files, else h2c. http1: it takes HTTP/1.1 on the same port, too. .requests, .ended: what it told."""

    def __init__(self, tls=None, http1=False, settings=None):
        options = {"http1": http1, "settings": settings or {}} | ({"cert": str(tls[0]), "key": str(tls[1])} if tls else {})
        self.process = subprocess.Popen([need("node"), str(SCRIPT), json.dumps(options)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=clean_env(), text=True)
        first = self.process.stdout.readline()
        assert first, self.process.stderr.read()
        self.port = json.loads(first)["port"]
        self.requests, self.ended = [], {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "closed" in said:
                self.ended[said["closed"]] = said["code"]
            else:
                self.requests.append(said)

    def asked(self, url):
        return [r for r in self.requests if r["url"] == url]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Stream:
    def __init__(self):
        self.interim, self.head, self.body, self.trailers, self.ended, self.reset = [], None, bytearray(), None, False, None

    @property
    def status(self):
        return int(dict(self.head)[":status"])

    @property
    def over(self):
        return self.ended or self.reset is not None

    def field(self, name):
        return dict(self.head).get(name)


class H2Client:
    """On a connected socket. auto: windows grow as data comes; else only by open_window."""

    def __init__(self, sock, authority, scheme="https", auto=True, settings=None):
        self.sock, self.authority, self.scheme, self.auto = sock, authority, scheme, auto
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
                                           normalize_outbound_headers=False)
        self.conn = h2.connection.H2Connection(config)
        self.streams, self.goaway, self.closed, self.pongs, self.settings = {}, None, False, 0, None
        self.conn.initiate_connection()
        if settings:
            self.conn.update_settings(settings)
        self.flush()

    def flush(self):
        data = self.conn.data_to_send()
        if data:
            self.sock.sendall(data)

    def raw(self, data):
        self.flush()
        self.sock.sendall(data)

    def ask(self, method, path, fields=(), body=None, end=True, authority=None, scheme=None):
        """Opens a stream and returns its id. body None: no body; end False: more follows."""
        stream = self.conn.get_next_available_stream_id()
        head = [(":method", method), (":scheme", scheme or self.scheme), (":authority", authority or self.authority), (":path", path), *fields]
        self.streams[stream] = Stream()
        self.conn.send_headers(stream, head, end_stream=body is None and end)
        if body:
            self.send(stream, body, end)
        elif body is not None and end:
            self.conn.end_stream(stream)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        """Waits for windows; a reset ends it early."""
        view = memoryview(data)
        while len(view) and not self.streams[stream].over:
            room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(view))
            if room == 0:
                self.flush()
                self.turn()
                continue
            self.conn.send_data(stream, bytes(view[:room]))
            view = view[room:]
            self.flush()
        if end and not self.streams[stream].over:
            self.conn.end_stream(stream)
        self.flush()

    def turn(self):
        """Reads once and notes what came. False at the connection's end."""
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.conn.receive_data(data):
            self._note(event)
        if not self.closed:
            self.flush()
        return True

    def _note(self, event):
        one = self.streams.get(getattr(event, "stream_id", None))
        kind = type(event).__name__
        if kind == "InformationalResponseReceived":
            one.interim.append(dict(event.headers))
        elif kind == "ResponseReceived":
            one.head = event.headers
        elif kind == "DataReceived":
            one.body += event.data
            if self.auto and event.flow_controlled_length:
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif kind == "TrailersReceived":
            one.trailers = dict(event.headers)
        elif kind == "StreamEnded":
            one.ended = True
        elif kind == "StreamReset":
            one.reset = int(event.error_code)
        elif kind == "ConnectionTerminated":
            self.goaway = (int(event.error_code), event.last_stream_id)
        elif kind == "PingAckReceived":
            self.pongs += 1
        elif kind == "RemoteSettingsChanged":
            self.settings = {int(k): v.new_value for k, v in event.changed_settings.items()}

    def until(self, fact):
        """Reads until fact() is true; AssertionError when the connection ends before."""
        while not fact():
            assert self.turn(), "the connection ended"

    def wait(self, *streams):
        """Until these are over; returns them."""
        self.until(lambda: all(self.streams[s].over for s in streams))
        found = [self.streams[s] for s in streams]
        return found[0] if len(found) == 1 else found

    def get(self, path, **kwargs):
        return self.wait(self.ask("GET", path, **kwargs))

    def open_window(self, stream, size):
        self.conn.increment_flow_control_window(size, stream)
        self.flush()

    def drain(self):
        """Reads to the connection's end."""
        while self.turn():
            pass

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def h2_client(proxy, host, port, tls=True, **kwargs):
    """Inside a CONNECT to host:port: over TLS with h2 by ALPN, or with prior knowledge."""
    if tls:
        wire = proxy.https(host, port, alpn=("h2",))
        assert wire.sock.selected_alpn_protocol() == "h2", wire.sock.selected_alpn_protocol()
    else:
        wire = proxy.client().connect(f"{host}:{port}")
    return H2Client(wire.sock, f"{host}:{port}", "https" if tls else "http", **kwargs)


def flow_of(proxy, client_port, seconds=10):
    """The events of the connection's flow and of each of its streams by id, once all are closed."""
    def ready():
        events = [e for e in proxy.events() if e["client_addr"].endswith(f":{client_port}")]
        flows = {}
        for event in events:
            flows.setdefault(event.flow, []).append(event)
        whole = any("parent_flow_id" not in f[0] for f in flows.values())
        return flows if whole and all(f[-1].kind == "stream_closed" for f in flows.values()) else None
    flows = until(ready, seconds, lambda: f"the end of all flows; have {[(e.flow, e.kind, e.attrs) for e in proxy.events()][-12:]}")
    parent = [f for f in flows.values() if "parent_flow_id" not in f[0]]
    assert len(parent) == 1
    streams = {int(e.at("http2_stream_id")): f for f in flows.values() for e in f if "parent_flow_id" in e and e.at("http2_stream_id")}
    return parent[0], streams
