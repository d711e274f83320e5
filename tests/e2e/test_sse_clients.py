# SPDX-License-Identifier: MPL-2.0
"""Event streams of real servers to real clients: chat completions of Python and Node origins, EventSource in Chromium."""
import asyncio
import http.server
import json
import pathlib
import subprocess
import threading
import zlib

import httpx
import pytest

from harness import chromium
from harness.timing import scaled, until
from harness.tools import clean_env, need

DECODERS = [{"module": "content_decode"}, {"module": "sse"}]


def told(p, n, seconds=10):
    return until(lambda: (lambda e: e if len(e) >= n else None)(p.log.find("sse_event")), seconds, lambda: f"{n} events; have {len(p.log.find('sse_event'))}")


class Chat(http.server.BaseHTTPRequestHandler):
    """Chat completions with Python's own server; `steps` lets one chunk go."""
    protocol_version = "HTTP/1.1"
    steps, coding = None, None

    def do_POST(self):
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        if self.coding:
            self.send_header("Content-Encoding", self.coding)
        self.end_headers()
        coder = zlib.compressobj(6, zlib.DEFLATED, 31) if self.coding else None
        for number in range(3):
            assert self.steps.acquire(timeout=60)
            self.chunk(coder, b"data: " + json.dumps({"choices": [{"delta": {"content": f"w{number}"}}]}).encode() + b"\n\n")
        self.chunk(coder, b"data: [DONE]\n\n")
        if coder:
            self.raw(coder.flush())
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, coder, data):
        self.raw(coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH) if coder else data)

    def raw(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_chat_completions_of_a_python_origin_to_httpx(proxy, coding):
    steps = threading.Semaphore(0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Chat,), {"steps": steps, "coding": coding}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    p = proxy(extra_modules=DECODERS)
    seen = []
    try:
        with httpx.Client(proxy=p.url, timeout=30) as client, client.stream("POST", f"http://origin.test:{server.server_address[1]}/v1/chat/completions",
                                                                            json={"stream": True, "messages": []}) as answer:
            lines = answer.iter_lines()
            for number in range(3):
                steps.release()
                line = next(line for line in lines if line)
                seen.append(json.loads(line[len("data: "):])["choices"][0]["delta"]["content"])
                assert len(told(p, number + 1)) == number + 1 or number == 2
            assert [line for line in lines if line] == ["data: [DONE]"]
    finally:
        server.shutdown()
    assert seen == ["w0", "w1", "w2"]
    assert [e.at("data_len") for e in told(p, 4)][-1] == "6"


@pytest.mark.parametrize("version", ["h1", "h2c"])
@pytest.mark.parametrize("coding", ["identity", "gzip", "br"])
def test_chat_completions_of_a_node_origin_to_curl(proxy, coding, version):
    script = pathlib.Path(__file__).parent / "node" / "sse_origin.cjs"
    node = subprocess.Popen([need("node"), script, coding, version], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env())
    how = ["--proxytunnel", "--http2-prior-knowledge"] if version == "h2c" else []
    try:
        port = int(node.stdout.readline())
        p = proxy(extra_modules=DECODERS)
        curl = subprocess.Popen([need("curl"), "-sN", "--compressed", *how, "--proxy", p.url, "-d", "{}", f"http://origin.test:{port}/v1/chat/completions"],
                                stdout=subprocess.PIPE, env=clean_env())
        for number in range(1, 4):
            node.stdin.write(b"\n")
            node.stdin.flush()
            event = told(p, number)[-1]
            assert (event.at("data_line_count"), event["protocol"]) == ("1", "sse")
            assert (event.at("http2_stream_id") is None) == (version == "h1")
            line = curl.stdout.readline() if coding != "br" else None  # not every curl has br
            assert line is None or json.loads(line[len(b"data: "):])["choices"][0]["delta"]["content"] == f"word {number - 1} é"
            if line is not None:
                curl.stdout.readline()
        node.stdin.close()
        curl.communicate(timeout=scaled(20))
        assert told(p, 4)[-1].at("data_len") == "6"
        p.wait_closed()
        assert p.log.find("decoder_stage_failed") == []
        assert [e["protocol"] for e in p.log.find("stream_closed") if e.flow == event.flow] == ["sse"]
    finally:
        node.kill()
        node.wait()


PAGE = b"""<!doctype html><meta charset=utf-8><body><script>
const got = [];
const source = new EventSource('/events');
const note = (e) => { got.push([e.type, e.lastEventId, e.data]); document.body.dataset.got = JSON.stringify(got); };
source.onmessage = note;
source.addEventListener('token', note);
source.addEventListener('end', (e) => { note(e); source.close(); document.title = 'over'; });
</script></body>"""
STREAM = ("\ufeff: hello\r\n\r\nid: 1\r\ndata: one\r\n\r\nevent: token\ndata: two\ndata: lines\n\nid\rdata: three \u00e9\r\r"
          "data\n\ndata: \x00\n\nretry: 10\n\nid: 9\nevent: nothing\n\nevent: end\ndata: x\n\ndata: never\n\n").encode()


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_event_source_in_chromium(proxy, origin, tmp_path, coding):
    """What the browser dispatches is what is told, event by event."""
    from harness.origin import reply
    from harness.streams import coded
    fields = [("Content-Type", "text/event-stream")] + ([("Content-Encoding", coding)] if coding else [])
    server = origin(tls=True, routes={"/": lambda wire, request: wire.send(reply(body=PAGE, fields=[("Content-Type", "text/html")])),
                                      "/events": lambda wire, request: wire.send(reply(body=coded(coding, STREAM), fields=fields))})
    p = proxy(policy=chromium.PAGE_ALONE, extra_modules=DECODERS,
              sink_top={"payload": "full"})
    done = chromium.load(p, f"https://origin.test:{server.port}/", tmp_path, budget_ms=15000)
    dom = done.stdout.decode()
    assert "data-got=" in dom, dom[:1000] + done.stderr.decode()[-1500:]
    import html
    got = json.loads(html.unescape(dom.split('data-got="', 1)[1].split('"', 1)[0]))
    events = told(p, len(got))[:len(got)]
    ours = [[e.at("event") or "message", e.at("id") or "", e.at("data") or ""] for e in events]
    assert ours == got and got[-1][0] == "end" and len(got) == 6, (ours, got)


def test_many_streams_at_once(proxy, origin):
    """A hundred streams, five events each; every one is told, in its flow's order."""
    body = b"".join(b"id: %d\ndata: x\n\n" % n for n in range(5))
    from harness.origin import reply
    server = origin(routes={"/e": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Type", "text/event-stream")]))})
    p = proxy(extra_modules=DECODERS)

    async def one(client):
        answer = await client.get(f"http://origin.test:{server.port}/e")
        assert answer.content == body

    async def everybody():
        async with httpx.AsyncClient(proxy=p.url, timeout=30) as client:
            await asyncio.gather(*[one(client) for _ in range(100)])

    asyncio.run(everybody())
    events = told(p, 500, 20)
    by = {}
    for e in events:
        by.setdefault((e.flow, e.at("exchange_no")), []).append(e.at("sequence_no"))
    assert len(by) == 100 and all(v == ["1", "2", "3", "4", "5"] for v in by.values())
