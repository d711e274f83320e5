# SPDX-License-Identifier: MPL-2.0
"""HTTP/2 clients and origins as they are: Go, Node, nghttpd, grpc-python over TLS and in plain text."""
import json
import pathlib
import socket
import subprocess
from concurrent import futures

import pytest

from harness.h2 import H2Origin, h2_client
from harness.ports import free_port
from harness.timing import until
from harness.tools import clean_env, go_program, missing, need, run

HERE = pathlib.Path(__file__).parent
NAMES = ("origin.test", "*.origin.test")


@pytest.fixture
def origin_h2(authority):
    one = H2Origin(authority.leaf(*NAMES))
    yield one
    one.close()


@pytest.fixture(scope="session")
def go_client(tmp_path_factory):
    return go_program(HERE / "go", tmp_path_factory.mktemp("go") / "client")


def test_go(proxy, origin_h2, go_client):
    p, base = proxy(), f"https://origin.test:{origin_h2.port}"
    done = run([go_client, p.url, p.ca_path, base + "/hello", base + "/stream/250000", base + "/bytes/3000000", base + "/nothing"])
    assert done.stdout.decode().splitlines() == ["200 HTTP/2.0 15", "200 HTTP/2.0 250000", "200 HTTP/2.0 3000000", "404 HTTP/2.0 8"]


def test_node(proxy, origin_h2):
    p = proxy()
    host, port = p.address()
    done = run([need("node"), HERE / "node" / "h2_client.js", host, port, "origin.test", origin_h2.port, 30],
               env=clean_env(NODE_EXTRA_CA_CERTS=p.ca_path))
    assert json.loads(done.stdout) == {"bytes": 3000000, "trailers": "done", "pushed": 0}


@pytest.mark.parametrize("size", [10, 300_000, 900_000])
def test_curl_takes_the_answer_to_an_upload(proxy, origin_h2, tmp_path, size):
    """Answered by us before its body has come: curl 7.88 gives up on a stream that is reset behind its response."""
    (tmp_path / "body").write_bytes(b"x" * size)
    p = proxy(policy={"rules": [{"id": "no-post", "action": "block", "method": "POST"}]})
    words = [need("curl"), "-sS", "--http2", "-x", p.url, "--cacert", p.ca_path, "--data-binary", f"@{tmp_path / 'body'}",
             "-w", " %{http_code} %{http_version}", f"https://origin.test:{origin_h2.port}/upload"]
    assert run(words).stdout == b"blocked by policy\n 403 2"
    assert origin_h2.requests == []


def test_nghttpd(proxy, authority, tmp_path):
    cert, key = authority.leaf(*NAMES)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_bytes(b"f" * 700000)
    port = free_port()
    server = subprocess.Popen([need("nghttpd"), "-d", tmp_path / "root", "--push=/file=/file", "--trailer", "x-t: 1", str(port), key, cert],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def listens():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False
        until(listens, 10, "nghttpd")
        p = proxy()
        with h2_client(p, "origin.test", port) as client:
            answers = client.wait(*[client.ask("GET", "/file") for _ in range(20)])
            assert all(a.status == 200 and len(a.body) == 700000 and a.trailers == {"x-t": "1"} for a in answers)
    finally:
        server.kill()
        server.wait()


# ---- gRPC: any bytes are a message

@pytest.fixture(scope="module")
def grpc():
    try:
        import grpc
        return grpc
    except ImportError:
        missing("grpcio is not installed (tests/e2e/requirements.txt)")


@pytest.fixture(params=["tls", "plain"])
def grpc_call(request, proxy, authority, grpc):
    """(proxy, channel) to a server with the methods Unary, Many, Talk and Fail of service t.T."""
    def talk(requests, context):
        for one in requests:
            yield b"re:" + one
        context.set_trailing_metadata((("x-count", "7"),))

    def fail(one, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    handlers = {"Unary": grpc.unary_unary_rpc_method_handler(lambda one, context: one[::-1]),
                "Many": grpc.unary_stream_rpc_method_handler(lambda one, context: (b"%d" % i * 1000 for i in range(int(one)))),
                "Talk": grpc.stream_stream_rpc_method_handler(talk),
                "Fail": grpc.unary_unary_rpc_method_handler(fail)}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    p = proxy()
    options = [("grpc.http_proxy", p.url), ("grpc.enable_http_proxy", 1), ("grpc.max_receive_message_length", -1)]
    if request.param == "tls":
        cert, key = authority.leaf(*NAMES)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
        channel = grpc.secure_channel(f"origin.test:{port}", grpc.ssl_channel_credentials(p.ca_path.read_bytes()), options)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
        channel = grpc.insecure_channel(f"origin.test:{port}", options)
    server.start()
    yield p, channel
    channel.close()
    server.stop(None).wait()


def test_grpc_python(grpc_call, grpc):
    p, channel = grpc_call
    unary = channel.unary_unary("/t.T/Unary")
    assert unary(b"abc", timeout=20) == b"cba"
    assert unary(b"ab" * 1500000, timeout=20) == b"ba" * 1500000
    assert [len(m) for m in channel.unary_stream("/t.T/Many")(b"5", timeout=20)] == [1000] * 5
    call = channel.stream_stream("/t.T/Talk")(iter([b"one", b"two", b"three"]), timeout=20)
    assert list(call) == [b"re:one", b"re:two", b"re:three"]
    assert ("x-count", "7") in [(k, v) for k, v in call.trailing_metadata()]
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/t.T/Fail")(b"", timeout=20)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND and error.value.details() == "no such thing"
    names = until(lambda: p.log.find("response_trailers"), 10, "trailers")[0].at("names")
    assert "grpc-status" in names


def test_grpc_messages_are_not_held_back(grpc_call, grpc):
    """The answer to one message comes before the next one is sent."""
    import queue
    p, channel = grpc_call
    out = queue.Queue()
    call = channel.stream_stream("/t.T/Talk")(iter(out.get, None), timeout=30)
    for text in (b"one", b"two", b"three"):
        out.put(text)
        assert next(call) == b"re:" + text
    out.put(None)
    assert list(call) == []


def test_a_grpc_deadline(grpc_call, grpc):
    p, channel = grpc_call
    import queue
    with pytest.raises(grpc.RpcError) as error:
        list(channel.stream_stream("/t.T/Talk")(iter(queue.Queue().get, None), timeout=0.4))
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.unary_unary("/t.T/Unary")(b"abc", timeout=20) == b"cba"
