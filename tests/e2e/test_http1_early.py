# SPDX-License-Identifier: MPL-2.0
"""An answer before the end of its request: it reaches the client however the origin goes on, and a request that the origin takes is
never cut."""
import threading
import time

import pytest

from harness.client import request
from harness.origin import reply
from harness.timing import until

HOST = "origin.test"
BODY = b"x" * 5_000_000
TLS = pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"


def open_client(p, server, tls):
    return p.https(HOST, server.port) if tls else p.client().connect(f"{HOST}:{server.port}")


@TLS
def test_refusal_reaches_a_client_that_sends_all_before_it_reads(proxy, origin, tls):
    """The origin reads a little, refuses and closes: what is left of the request resets its connection."""
    def refuse(wire):
        wire.head()
        wire.exactly(1000)
        wire.send(REFUSAL)

    server, p = origin(refuse, tls=tls), proxy()
    with open_client(p, server, tls) as client:
        client.send(request("POST", "/", HOST, body=BODY))
        answer = client.response()
    assert (answer.status, answer.body) == (413, b"much")
    assert answer.head.get("Connection").lower() == "close"
    p.closed_as("mitm_http_completed")


@TLS
def test_taken_early_the_rest_of_the_request_still_arrives(proxy, origin, tls):
    """200 at once, then the origin reads on; the connection serves another exchange."""
    got = []

    def take(wire):
        wire.head()
        wire.send(reply(body=b"ok"))
        got.append(len(wire.exactly(len(BODY))))
        wire.request()
        wire.send(reply(body=b"second"))

    server, p = origin(take, tls=tls), proxy()
    with open_client(p, server, tls) as client:
        client.send(request("POST", "/", HOST, body=b"")[:-2] + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:1000])
        answer = client.response()
        assert (answer.status, answer.body) == (200, b"ok") and answer.head.get("Connection") is None
        client.send(BODY[1000:])
        assert client.ask("GET", "/2", HOST).body == b"second"
    until(lambda: got == [len(BODY)], what="the whole request at the origin")
    assert server.connections == 1
    events = p.closed_as("mitm_http_completed")
    relayed = [int(e.at("bytes")) for e in events if e.kind == "request_body_chunk"]
    assert sum(relayed) == len(BODY)


def test_taken_early_with_connection_close_by_the_client(proxy, origin):
    got = []

    def take(wire):
        wire.head()
        wire.send(reply(body=b"ok"))
        got.append(len(wire.exactly(3000)))

    server, p = origin(take), proxy()
    with open_client(p, server, False) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n" + BODY[:1000])
        assert client.response().body == b"ok"
        client.send(BODY[:2000])
        assert client.ended()
    until(lambda: got == [3000], what="the whole request at the origin")
    p.closed_as("mitm_http_completed")


def test_an_origin_that_answers_first_and_reads_slowly_gets_the_whole_request(proxy, origin):
    """The client has its answer and the proxy all of the request long before the origin has: its last bytes wait for it. Which part of
    a request waits where depends on its size, hence several."""
    got = {}

    def take(wire):
        size = int(wire.head().get("Content-Length"))
        wire.send(reply(body=b"ok"))
        read = len(wire.buffer)
        while piece := wire.sock.recv(65536):
            read += len(piece)
            time.sleep(0.005)  # the origin's pace
        got[size] = read

    def upload(size):
        with open_client(p, server, False) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            client.send(bytes(size))
            assert client.response().body == b"ok"

    server, p = origin(take), proxy()
    sizes = [6_000_000 + 190_000 * n for n in range(8)]
    uploads = [threading.Thread(target=upload, args=(size,)) for size in sizes]
    for one in uploads:
        one.start()
    for one in uploads:
        one.join()
    until(lambda: len(got) == len(sizes), 30, "the end of the requests")
    assert got == {size: size for size in sizes}


def test_taken_early_and_the_origin_leaves(proxy, origin):
    """Nobody wants the rest any more: it is read and dropped, and the connection goes on."""
    first = threading.Event()

    def take(wire):
        if first.is_set():
            wire.request()
            wire.send(reply(body=b"second"))
        else:
            wire.head()
            wire.send(reply(body=b"ok"))
            first.set()

    server, p = origin(take), proxy()
    with open_client(p, server, False) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3000\r\n\r\n" + BODY[:1000])
        assert client.response().body == b"ok"
        client.send(BODY[:2000])
        assert client.ask("GET", "/2", HOST).body == b"second"
    assert server.connections == 2


def test_client_leaves_with_its_early_answer(proxy, origin):
    """curl and others stop sending when they have an answer: that is an end as any other."""
    server, p = origin(lambda wire: (wire.head(), wire.send(reply(body=b"ok")), wire.rest())), proxy()
    with open_client(p, server, False) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3000\r\n\r\n" + BODY[:1000])
        assert client.response().body == b"ok"
    p.closed_as("mitm_http_completed")


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_origin_that_ends_inside_an_upload(proxy, origin, end):
    def leave(wire):
        wire.head()
        wire.exactly(1000)
        if end == "reset":
            wire.reset()

    server, p = origin(leave), proxy()
    with open_client(p, server, False) as client:
        client.send(request("POST", "/", HOST, body=BODY))
        answer = client.response()
    assert (answer.status, answer.proxy_error) == (502, "connection_terminated")
    p.closed_as("mitm_http_error", "origin_eof")
