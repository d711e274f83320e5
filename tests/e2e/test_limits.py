# SPDX-License-Identifier: MPL-2.0
"""Limits: concurrent flows, descriptors, many short connections; nothing is left behind."""
import asyncio
import resource
import socket

import pytest

from harness.client import request
from harness.timing import scaled, until


def test_max_concurrent_flows(proxy, origin):
    server, p = origin(), proxy(max_concurrent_flows=2)
    first, second = (p.client().connect(f"origin.test:{server.port}") for _ in range(2))
    with first, second:
        assert first.ask("GET", "/hello", "origin.test").status == 200
        with p.client() as third:
            third.send(b"CONNECT origin.test:443 HTTP/1.1\r\n\r\n")
            answer = third.response()
            assert answer.status == 503 and answer.proxy_error == "proxy_internal_response"
            assert int(answer.head.get("Retry-After")) >= 1
        p.wait_event("stream_closed", reason_code="budget_exceeded", reason_detail="max_concurrent_flows")
        assert second.ask("GET", "/hello", "origin.test").status == 200
    p.wait_closed(3)
    with p.client().connect(f"origin.test:{server.port}") as fourth:
        assert fourth.ask("GET", "/hello", "origin.test").status == 200


@pytest.mark.parametrize("how", ["connect", "absolute", "reverse", "reverse_tls"])
def test_a_flow_too_many_is_told(proxy, origin, how):
    """503 with Retry-After and budget_denied, whatever kind of connection it was."""
    server = origin()
    listener = {"addr": "127.0.0.1", "port": 0}
    if how.startswith("reverse"):
        listener |= {"mode": "reverse", "tls": how == "reverse_tls"}
    p = proxy(listen=[listener], reverse_upstream={"host": "origin.test", "port": server.port}, max_concurrent_flows=1,
              workers=1)  # who comes first is first
    with p.client(), p.client() as second:
        if how == "reverse_tls":
            second.start_tls(p.trust(), "public.test")
        if how == "connect":
            answer = second.ask_connect("origin.test:443")
        else:
            target = "/hello" if how != "absolute" else f"http://origin.test:{server.port}/hello"
            answer = second.ask("GET", target, "origin.test")
    assert (answer.status, answer.proxy_error) == (503, "proxy_internal_response") and answer.head.get("Retry-After")
    p.wait_event("stream_closed", reason_code="budget_exceeded", reason_detail="max_concurrent_flows")
    denied = p.log.find("budget_denied")
    assert [e.attrs for e in denied] == [{"limit": "max_concurrent_flows", "limit_value": "1", "what": "flow"}]
    assert server.connections == 0


def test_accept_survives_emfile(proxy, origin):
    """More connections than descriptors: they wait or are refused, the process goes on, and says so briefly."""
    server = origin()
    p = proxy(workers=1, launch={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))})
    host, port = p.address()
    crowd = []
    for _ in range(100):
        crowd.append(socket.create_connection((host, port), scaled(5)))
    until(lambda: p.fds() >= 40 or "descriptor" in p.stderr().lower() or "too many open" in p.stderr().lower(), 10, "the limit")
    assert p.process.poll() is None
    for sock in crowd:
        sock.close()

    def works():
        try:
            with p.client(seconds=3) as client:
                return client.ask_connect(f"origin.test:{server.port}").status == 200 and client.ask("GET", "/hello", "origin.test").status == 200
        except (OSError, EOFError, Exception):
            return False

    until(works, 15, "service after the crowd left")
    said = [line for line in p.stderr().splitlines() if "too many open" in line.lower() or "descriptor" in line.lower()]
    assert len(said) < 20, "said, but not for each connection"


def test_accepting_does_not_burn_cpu_without_descriptors(proxy):
    import os
    p = proxy(workers=1, launch={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))})
    crowd = [socket.create_connection(p.address(), scaled(5)) for _ in range(80)]

    def ticks():
        with open(f"/proc/{p.process.pid}/stat") as file:
            cells = file.read().rsplit(")", 1)[1].split()
        return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")

    import time
    before = ticks()
    time.sleep(1.0)  # a second of its time is what is measured
    assert ticks() - before < 0.5
    for sock in crowd:
        sock.close()


async def one_exchange(p, context, port, gate):
    async with gate:
        host, proxy_port = p.address()
        reader, writer = await asyncio.open_connection(host, proxy_port)
        writer.write(f"CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(context, server_hostname="origin.test")
        writer.write(request("GET", "/hello.txt", "origin.test", [("Connection", "close")]))
        answer = await reader.read(-1)
        writer.close()
        return answer.endswith(b"hello\n")


def test_500_parallel_short_connections_leave_no_descriptor(proxy, nginx):
    nginx.put("hello.txt", b"hello\n")
    p = proxy()
    with p.https("origin.test", nginx.tls13) as client:
        client.ask("GET", "/hello.txt", "origin.test")
    p.wait_closed()
    before = p.fds()

    async def crowd():
        gate = asyncio.Semaphore(500)
        context = p.trust()
        return await asyncio.wait_for(asyncio.gather(*(one_exchange(p, context, nginx.tls13, gate) for _ in range(500))), scaled(60))

    assert all(asyncio.run(crowd()))
    p.wait_closed(501, 20)
    until(lambda: p.fds() <= before, 10, lambda: f"{p.fds()} descriptors to become {before}")
    assert {e.at("reason_code") for e in p.log.find("stream_closed")} <= {"mitm_http_completed"}


@pytest.mark.parametrize("how", ["connect_and_leave", "connect_and_reset", "half_a_hello"])
def test_aborted_connections_leave_no_descriptor(proxy, origin, how):
    server, p = origin(tls=True), proxy()
    with p.https("origin.test", server.port) as client:
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    before = p.fds()
    for _ in range(40):
        client = p.client()
        if how != "connect_and_leave":
            client.connect(f"origin.test:{server.port}")
        if how == "half_a_hello":
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        client.reset() if how == "connect_and_reset" else client.close()
    p.wait_closed(41)
    until(lambda: p.fds() <= before, 10, lambda: f"{p.fds()} descriptors to become {before}")
