# SPDX-License-Identifier: MPL-2.0
"""ghz (grpc-go) in front of a server in Python, through a reverse listener with TLS and the grpc module: every call of every kind ends with OK, memory
does not grow with their number. A lane: rates are printed, never judged."""
import json
import os

import pytest

from harness.grpc_peers import GrpcServer
from harness.tools import lane_tool, run
from test_grpcurl import PROTO

if os.environ.get("SOTH_LANE") != "1":
    pytest.skip("scripts/lane ghz", allow_module_level=True)

CALLS = int(os.environ.get("SOTH_LANE_REQUESTS", "2000"))
ROOM = 48 << 20
KINDS = {"Unary": {"text": "hello"}, "Bidi": [{"text": "one"}, {"text": "two"}, {"text": "three"}]}


@pytest.fixture
def server(authority):
    one = GrpcServer(authority.leaf("origin.test"))
    yield one
    one.close()


def load(p, proto, method, data, calls, concurrency):
    """ghz's own report."""
    done = run([lane_tool("ghz"), "--proto", proto, "--call", f"test.Echo.{method}", "-d", json.dumps(data), "-n", calls, "-c", concurrency,
                "--connections", 4, "--cacert", p.ca_path, "--cname", "origin.test", "--authority", f"origin.test:{p.port}", "-O", "json",
                f"127.0.0.1:{p.port}"], 300)
    return json.loads(done.stdout)


@pytest.mark.parametrize("method", KINDS)
def test_ghz(proxy, server, tmp_path, method, record_property):
    proto = tmp_path / "echo.proto"
    proto.write_text(PROTO)
    p = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}], extra_modules=[{"module": "grpc"}],
              reverse_upstream={"host": "origin.test", "port": server.port, "tls": True})
    load(p, proto, method, KINDS[method], 200, 20)  # what a process needs once
    before = p.resident()
    report = load(p, proto, method, KINDS[method], CALLS, 20)
    assert report["statusCodeDistribution"] == {"OK": CALLS}, report["errorDistribution"]
    assert server.calls.count(method) == CALLS + 200
    if not p.is_sanitized():
        assert p.resident() < before + ROOM, f"{before >> 20} MB, then {p.resident() >> 20} MB"
    record_property("row", ("ghz", f"{method}: {CALLS} calls OK, {report['rps']:.0f} calls/s, slowest {report['slowest'] / 1e6:.0f} ms, "
                            f"resident {before >> 20} MB, then {p.resident() >> 20} MB"))
