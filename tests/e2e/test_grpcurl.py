# SPDX-License-Identifier: MPL-2.0
"""gRPC through CONNECT with grpc-go: grpcurl in front of a server in Python. HTTPS_PROXY is honoured by Go for any name but localhost."""
import json

import pytest

from harness.grpc_peers import GrpcServer
from harness.tools import clean_env, lane_tool, run

PROTO = """syntax = "proto3";
package test;
message Text { string text = 1; }
service Echo {
  rpc Unary(Text) returns (Text);
  rpc Bidi(stream Text) returns (stream Text);
  rpc Fail(Text) returns (Text);
  rpc Slow(Text) returns (Text);
}
"""


@pytest.fixture(scope="module")
def server(authority):
    one = GrpcServer(authority.leaf("origin.test"))
    yield one
    one.close()


@pytest.fixture
def call(proxy, server, tmp_path):
    (tmp_path / "echo.proto").write_text(PROTO)
    tool = lane_tool("grpcurl")

    def start(method, data, *args, check=True, **settings):
        p = proxy(extra_modules=[{"module": "grpc"}], **settings)
        done = run([tool, "-cacert", p.ca_path, "-import-path", tmp_path, "-proto", "echo.proto", "-d", data, *args,
                    f"origin.test:{server.port}", f"test.Echo/{method}"], 60, check, env=clean_env(HTTPS_PROXY=p.url))
        return p, done
    return start


def answers(done):
    text, found = done.stdout.decode(), []
    while text.strip():
        one, at = json.JSONDecoder().raw_decode(text.lstrip())
        found.append(one["text"])
        text = text.lstrip()[at:]
    return found


def test_unary(call):
    p, done = call("Unary", '{"text": "hello"}')
    assert answers(done) == ["hello"]
    assert p.wait_event("grpc_response_trailers", grpc_method="Unary").at("grpc_status") == "0"
    assert [e.at("message_len") for e in p.log.find("grpc_message")] == ["7", "7"]


def test_both_directions(call):
    p, done = call("Bidi", '{"text": "one"}{"text": "two"}{"text": "three"}')
    assert answers(done) == ["ONE", "TWO", "THREE"]
    p.wait_event("grpc_response_trailers", grpc_method="Bidi")
    assert len(p.log.find("grpc_message", direction="client_to_server")) == len(p.log.find("grpc_message", direction="server_to_client")) == 3


def test_status_and_deadline(call):
    _, done = call("Fail", '{"text": "x"}', check=False)
    assert done.returncode == 64 + 5 and b"NotFound" in done.stderr and b"50%" in done.stderr
    _, done = call("Slow", '{"text": "x"}', "-max-time", "1", check=False)
    assert done.returncode == 64 + 4 and b"DeadlineExceeded" in done.stderr


def test_a_blocked_method(call, server):
    server.calls.clear()
    _, done = call("Unary", '{"text": "x"}', check=False,
                   policy={"rules": [{"id": "no", "action": "block", "grpc_service": "test.Echo", "grpc_method": "Unary"}]})
    assert done.returncode == 64 + 7 and b"PermissionDenied" in done.stderr and b"blocked by policy" in done.stderr
    assert server.calls == []
