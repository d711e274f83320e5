# SPDX-License-Identifier: MPL-2.0
"""gRPC without protobuf: messages are bytes. A server in this process with every kind of call, and channels through the proxy."""
import threading
import time
from concurrent import futures

import grpc

SERVICE = "test.Echo"


def _unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return bytes(request)


def _fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 50%")


def _slow(request, context):
    for _ in range(200):
        if not context.is_active():
            return b""
        time.sleep(0.05)
    return b"late"


def _server_stream(request, context):
    count, _, size = request.partition(b" ")
    for i in range(int(count)):
        yield bytes([i % 256]) * int(size or 1)


def _client_stream(requests, context):
    count = size = 0
    for one in requests:
        count, size = count + 1, size + len(one)
    return f"{count} {size}".encode()


def _bidi(requests, context):
    for one in requests:
        yield one.upper()


class GrpcServer:
    """tls: (chain, key) files, None: plaintext. .calls: the methods that arrived, .cancelled: those whose client gave up."""

    def __init__(self, tls=None, compression=grpc.Compression.NoCompression):
        self.calls, self.cancelled = [], threading.Event()
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        handlers = {
            "Unary": unary(self._seen("Unary", _unary)), "Fail": unary(self._seen("Fail", _fail)), "Slow": unary(self._seen("Slow", self._slow)),
            "Server": stream(self._seen("Server", _server_stream)),
            "Client": grpc.stream_unary_rpc_method_handler(self._seen("Client", _client_stream)),
            "Bidi": grpc.stream_stream_rpc_method_handler(self._seen("Bidi", _bidi)),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(16), compression=compression, options=OPTIONS)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if tls:
            pair = (tls[1].read_bytes(), tls[0].read_bytes())
            self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _seen(self, name, function):
        def call(request, context):
            self.calls.append(name)
            return function(request, context)
        return call

    def _slow(self, request, context):
        context.add_callback(lambda: self.cancelled.set())
        return _slow(request, context)

    def close(self):
        self.server.stop(0).wait()


OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20), ("grpc.so_reuseport", 0)]


class Channel:
    """Calls by their method's name, through the proxy's CONNECT."""

    def __init__(self, proxy, port, host="origin.test", secure=True, compression=None):
        options = [*OPTIONS, ("grpc.http_proxy", proxy.url), ("grpc.enable_http_proxy", 1), ("grpc.use_local_subchannel_pool", 1)]
        target = f"{host}:{port}"
        if secure:
            roots = proxy.ca_path.read_bytes()
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options, compression)
        else:
            self.channel = grpc.insecure_channel(target, options, compression)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def unary(self, request, method="Unary", **kwargs):
        return self.channel.unary_unary(f"/{SERVICE}/{method}").with_call(request, **({"timeout": 20} | kwargs))

    def start(self, request, method="Slow", **kwargs):
        return self.channel.unary_unary(f"/{SERVICE}/{method}").future(request, **kwargs)

    def server(self, request):
        return self.channel.unary_stream(f"/{SERVICE}/Server")(request, timeout=60)

    def client(self, requests):
        return self.channel.stream_unary(f"/{SERVICE}/Client").with_call(requests, timeout=60)

    def bidi(self, requests):
        return self.channel.stream_stream(f"/{SERVICE}/Bidi")(requests, timeout=60)
