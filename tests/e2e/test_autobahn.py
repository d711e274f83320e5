# SPDX-License-Identifier: MPL-2.0
"""The Autobahn Testsuite through the proxy and without it: every case comes to the same. The lane `ws` runs all of them."""
import threading

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness.autobahn import Comparison, FuzzingServer, cases, fuzz_server
from harness.timing import scaled, until

# Every frame and message is an event, but only the console's: hundreds of thousands of lines would take longer to judge than to make.
WATCHING = {"extra_modules": [{"module": "ws"}, {"module": "sink_console", "events": ["stream"], "config": {"color": "never"}}],
            "sink_top": {"events": ["connect", "http", "decoder", "system", "ws_opened", "ws_closed"]}}


def echo(socket):
    try:
        for message in socket:
            socket.send(message)
    except ConnectionClosed:
        pass


@pytest.fixture
def echo_server():
    server = serve(echo, "127.0.0.1", 0, max_size=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.socket.getsockname()[1]
    server.shutdown()
    thread.join(10)


@pytest.mark.slow
def test_the_fuzzing_client(proxy, tmp_path, echo_server, record_property):
    p = proxy(**WATCHING, listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse"}],
              reverse_upstream={"host": "127.0.0.1", "port": echo_server, "tls": False})
    p.checks["complete"] = False
    both = Comparison(lambda wanted: fuzz_server(tmp_path, f"ws://127.0.0.1:{echo_server}", wanted),
                      lambda wanted: fuzz_server(tmp_path, f"ws://127.0.0.1:{p.port}", wanted), cases())
    record_property("row", ("Autobahn", f"fuzzing client, {both}"))
    assert both.first[0] and not both.apart(), both.complaint()
    until(lambda: len(p.log.find("ws_opened")) >= len(both.first[1]), 20, "all of them in the log")
    assert not p.log.find("module_fault")
    left = {e.at("failure_code") for e in p.log.find("decoder_stage_failed")}
    assert left <= {"message_too_big", "frame_flood"}, left


def walk(url, agent, proxy):
    """What a client of the fuzzing server does: every case, echoing."""
    def opened(path):
        return connect(url + path, proxy=proxy, open_timeout=scaled(20), close_timeout=scaled(20), max_size=None, ping_interval=None)

    with opened("/getCaseCount") as ws:
        count = int(ws.recv())
    for number in range(1, count + 1):
        try:
            with opened(f"/runCase?case={number}&agent={agent}") as ws:
                echo(ws)
        except (WebSocketException, OSError):
            pass
    with opened(f"/updateReports?agent={agent}") as ws:
        echo(ws)


@pytest.mark.slow
def test_the_fuzzing_server(proxy, tmp_path, record_property):
    p = proxy(**WATCHING)
    p.checks["complete"] = False

    def asked(proxy):
        def ask(wanted):
            server = FuzzingServer(tmp_path, wanted)
            try:
                walk(f"ws://127.0.0.1:{server.port}", "it", proxy)
                return server.outcomes("it")
            finally:
                server.close()
        return ask

    both = Comparison(asked(None), asked(p.url), cases())
    record_property("row", ("Autobahn", f"fuzzing server, {both}"))
    assert both.first[0] and not both.apart(), both.complaint()
    assert not p.log.find("module_fault")
