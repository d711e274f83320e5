# SPDX-License-Identifier: MPL-2.0
"""A client that asks on and never reads: what the proxy answers by itself has no origin whose reading could be stopped."""
from harness.client import request

ENOUGH = 32 << 20  # more than all socket buffers on the way


def test_a_client_that_does_not_read_its_refusals_is_not_read_either(proxy):
    p = proxy(policy={"blocked_hosts": ["blocked.test"]}, block_response={"body": "x" * 32000})
    one = request("GET", "http://blocked.test/", "blocked.test", [("X-Pad", "y" * 16000)])
    with p.client() as client:
        client.sock.settimeout(2)
        sent = 0
        try:
            while sent < ENOUGH:
                sent += client.sock.send(one * 4)
        except TimeoutError:
            pass
        assert sent < ENOUGH, "everything was read, the answers wait in memory"
        client.sock.settimeout(15)
        for _ in range(sent // len(one)):  # and none is lost
            assert client.response().status == 403
