# SPDX-License-Identifier: MPL-2.0
"""Bodies in files of their own: complete and cut ones, decoded ones, samples, the budget; memory stays flat whatever passes."""
import gzip
import hashlib
import json
import os
import subprocess

import pytest

from harness.h2 import H2Origin, h2_client
from harness.origin import pattern, pattern_sha256, reply
from harness.streams import coded
from harness.timing import scaled, until
from harness.tools import need
from harness.wire import Cut
from test_curl import curl


def capturing(proxy, tmp_path, payload="full", **config):
    """A proxy whose log is a sink with bodies, and that folder."""
    folder = tmp_path / "bodies"
    settings = {"bodies_dir": str(folder), "bodies_max_bytes": "4G"} | config
    p = proxy(sink=settings, sink_top={"payload": payload, "queue": {"on_full": "pause_flow", "max_bytes": "16M"}})
    return p, folder


def files(folder, *endings):
    return sorted(f for f in os.listdir(folder) if f.rsplit(".", 1)[-1] in endings)


def finished(folder, count, seconds=10):
    """The finished bodies, each held against its digest."""
    def whole():  # a body has its name a moment before its digest is there
        bodies, digests = files(folder, "body", "sample", "cut"), files(folder, "sha256")
        return len(bodies) == count == len(digests) and not files(folder, "part") and all((folder / d).stat().st_size for d in digests) and bodies

    found = until(whole, seconds, lambda: f"{count} bodies; there are {os.listdir(folder)}")
    done = subprocess.run([need("sha256sum"), "--quiet", "-c", *files(folder, "sha256")], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return found


def content(folder, side, number=0):
    return (folder / [f for f in files(folder, "body", "sample", "cut") if f"-{side}." in f][number]).read_bytes()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_each_message_has_a_file(proxy, origin, tmp_path, tls, chunked):
    server = origin(tls=tls)
    p, folder = capturing(proxy, tmp_path)
    upload, path = b"".join(pattern(300000)), "/chunked/100000" if chunked else "/bytes/100000"
    with p.https("origin.test", server.port) if tls else p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(2):
            answer = client.ask("POST", "/echo", "origin.test", body=upload)
            assert json.loads(answer.body)["sha256"] == hashlib.sha256(upload).hexdigest()
            client.ask("GET", path, "origin.test")
    p.wait_closed()
    found = finished(folder, 6)
    assert all(f.endswith(".body") for f in found)
    assert [f.split("-")[2:] for f in found] == [["1", "request.body"], ["1", "response.body"], ["2", "response.body"], ["3", "request.body"],
                                                 ["3", "response.body"], ["4", "response.body"]]
    assert content(folder, "request", 1) == upload and content(folder, "response", 1) == b"".join(pattern(100000))
    assert all((folder / f).stat().st_mode & 0o77 == 0 for f in os.listdir(folder))
    chunks = p.log.find("request_body_chunk")
    assert sum(int(e.at("bytes")) for e in chunks) == 2 * len(upload)
    assert not any("payload" in name for e in chunks for name in e.attrs), "what has a file is not in the log"
    p.wait_metric('soth_sink_file_bodies_total{instance="sink_file"}', 6)


@pytest.mark.parametrize("bodies", ["raw", "decoded"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, br", "unknown"])
def test_with_or_without_the_coding(proxy, origin, tmp_path, bodies, coding):
    plain = b"".join(b"line %d of something\n" % n for n in range(20000))
    body = plain if coding == "unknown" else coded(coding, plain)
    server = origin(routes={"/c": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Encoding", coding)]))})
    p, folder = capturing(proxy, tmp_path, bodies=bodies)
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("PUT", "/c", "origin.test", [("Content-Encoding", coding)], body).body == body
    p.wait_closed()
    finished(folder, 2)
    expected = plain if bodies == "decoded" else body
    assert content(folder, "request") == expected and content(folder, "response") == expected


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, br", ""])
def test_what_is_decoded_is_redacted(proxy, origin, tmp_path, coding):
    """Until it is decoded nobody can see what is to be hidden; in the file it is, and the lengths are true."""
    plain = b"".join(b'{"user": %d, "password": "hush hush %d", "deep": {"token": ["hush", {"a": "hush"}]}}\n' % (n, n) for n in range(500))
    body = coded(coding, plain)
    fields = [("Content-Encoding", coding)] if coding else []
    server = origin(routes={"/c": lambda wire, request: wire.send(reply(body=body, fields=fields))})
    folder = tmp_path / "bodies"
    p = proxy(sink={"bodies_dir": str(folder), "bodies": "decoded"}, sink_top={"payload": "full"}, redact_keys=["Password", "token"])
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("PUT", "/c", "origin.test", fields, body).body == body
    p.wait_closed()
    finished(folder, 2)
    for side in ("request", "response"):
        got = content(folder, side)
        assert b"hush" not in got and len(got) == len(plain)
        assert b'{"user": 7, "password": "***********", "deep": {"token": [*********************]}}\n' in got


def test_what_is_cut_says_so(proxy, origin, tmp_path):
    def half(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
        return False

    server = origin(routes={"/half": half})
    p, folder = capturing(proxy, tmp_path)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /half HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        with pytest.raises(Cut):
            client.response("GET")
    p.wait_closed()
    assert finished(folder, 1)[0].endswith(".cut") and content(folder, "response") == b"x" * 400


def test_a_broken_coding_is_cut(proxy, origin, tmp_path):
    body = gzip.compress(b"a" * 10000 + bytes(range(256)) * 100)[:-20]
    server = origin(routes={"/c": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Encoding", "gzip")]))})
    p, folder = capturing(proxy, tmp_path, bodies="decoded")
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/c", "origin.test").body == body
    p.wait_closed()
    assert finished(folder, 1)[0].endswith(".cut") and content(folder, "response").startswith(b"a" * 10000)


@pytest.mark.parametrize("body, ending", [(gzip.compress(b"", mtime=0), "body"), (gzip.compress(b"something", mtime=0)[:10], "cut")], ids=["whole", "cut"])
def test_a_coding_that_yields_nothing(proxy, origin, tmp_path, body, ending):
    """There is a file, and its digest is that of nothing."""
    server = origin(routes={"/c": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Encoding", "gzip")]))})
    p, folder = capturing(proxy, tmp_path, bodies="decoded")
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/c", "origin.test").body == body
    p.wait_closed()
    assert finished(folder, 1)[0].endswith(ending) and content(folder, "response") == b""
    p.wait_metric('soth_sink_file_bodies_total{instance="sink_file"}', 1)
    assert not p.metrics().get('soth_sink_file_write_errors_total{instance="sink_file"}')


def test_a_connection_that_is_kept_holds_nothing_back(proxy, origin, tmp_path):
    """A body whose length is known is finished with its last byte; a chunked one is whole, however its connection ends later."""
    server = origin()
    p, folder = capturing(proxy, tmp_path)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("POST", "/echo", "origin.test", body=b"x" * 100)
        until(lambda: files(folder, "body") and len(files(folder, "body")) == 2, 10, lambda: str(os.listdir(folder)))
        client.ask("GET", "/chunked/1000", "origin.test")
        client.reset()
    p.wait_closed()
    assert p.log.find("stream_closed")[0].at("reason_detail") == "idle"
    assert all(f.endswith(".body") for f in finished(folder, 3))


@pytest.mark.parametrize("bodies", ["raw", "decoded"])
def test_the_end_of_a_message_is_enough(proxy, origin, tmp_path, bodies):
    """Nobody announced the length, and the connection is kept: with the end of the message its body is finished, by what it may hear."""
    body = gzip.compress(b"some text " * 5000, mtime=0)
    coding = [("Content-Encoding", "gzip")]

    def answer(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n%x\r\n%s\r\n" % (len(body), body))
        wire.send(b"0\r\nX-Sum: 1\r\n\r\n")

    server = origin(routes={"/c": answer})
    p, folder = capturing(proxy, tmp_path, bodies=bodies)
    with p.client().connect(f"origin.test:{server.port}") as client:
        for number in (1, 2):
            client.send(b"POST /c HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n")
            client.send(b"%x\r\n%s\r\n" % (len(body), body))
            client.send(b"0\r\n\r\n")
            assert client.response("POST").body == body
            found = finished(folder, 2 * number)
            assert all(f.endswith(".body") for f in found)
        plain = body if bodies == "raw" else gzip.decompress(body)
        assert all((folder / f).read_bytes() == plain for f in found)


def test_the_end_of_a_stream_is_enough(proxy, authority, tmp_path):
    """The same of HTTP/2, whose connection goes on; no length is announced."""
    server = H2Origin(authority.leaf("origin.test"))
    try:
        p, folder = capturing(proxy, tmp_path)
        with h2_client(p, "origin.test", server.port) as client:
            client.until(lambda: client.settings is not None)
            asked = [client.ask("POST", "/upload", (), b"x" * 30000), client.ask("GET", "/stream/50000"), client.ask("GET", "/trailers")]
            client.wait(*asked)
            finished(folder, 4)
            client.ask("POST", "/hold", (), b"y" * 30000)  # its answer never comes, its body has
            found = finished(folder, 5)
            assert all(f.endswith(".body") for f in found)
            assert {(folder / f).read_bytes() for f in found if "-request." in f} == {b"x" * 30000, b"y" * 30000}
    finally:
        server.close()


def test_a_sample(proxy, origin, tmp_path):
    server = origin()
    p, folder = capturing(proxy, tmp_path, payload="sample:1k")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/bytes/50000", "origin.test")
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    found = finished(folder, 2)
    assert [f.rsplit(".", 1)[1] for f in found] == ["sample", "body"]
    assert content(folder, "response") == b"".join(pattern(50000))[:1024]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, br"])
def test_a_sample_of_what_is_decoded(proxy, origin, tmp_path, coding):
    """N counts what is in the file: it has that much of the decoded body, as far as it comes out of the first N bytes that were relayed."""
    plain = b"".join(b"line %d of something, %d\n" % (n, n * n * 7919 % 100003) for n in range(20000))
    body, small = coded(coding, plain), coded(coding, b"small")
    server = origin(tls=True, routes={"/large": lambda wire, request: wire.send(reply(body=body, fields=[("Content-Encoding", coding)])),
                                      "/small": lambda wire, request: wire.send(reply(body=small, fields=[("Content-Encoding", coding)]))})
    folder = tmp_path / "bodies"
    p = proxy(sink={"bodies_dir": str(folder), "bodies": "decoded"}, sink_top={"payload": "sample:8k"}, extra_modules=[{"module": "content_decode"}])
    for path, sent in (("large", body), ("small", small)):
        assert curl(p, f"https://origin.test:{server.port}/{path}").stdout == sent
    p.wait_closed(2)
    found = finished(folder, 2)
    assert sorted(f.rsplit(".", 1)[1] for f in found) == ["body", "sample"]
    sample, whole = (next((folder / f).read_bytes() for f in found if f.endswith(ending)) for ending in (".sample", ".body"))
    assert whole == b"small"
    assert sample == plain[:8192] or (coding == "zstd" and sample == b""), "a block of zstd may be longer than that"
    p.wait_metric('soth_sink_file_bodies_total{instance="sink_file"}', 2)
    assert p.metrics()['soth_sink_file_bodies_cut_total{instance="sink_file"}'] == 0


def test_a_sample_of_what_breaks_off(proxy, origin, tmp_path):
    """Behind its end nobody looks: it is a sample all the same. In front of it, it is cut."""
    def broken(sent):
        def answer(wire, request):
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * sent)
            return False
        return answer

    server = origin(routes={"/behind": broken(50000), "/before": broken(500)})
    p, folder = capturing(proxy, tmp_path, payload="sample:1k")
    for path in ("behind", "before"):
        assert curl(p, f"http://origin.test:{server.port}/{path}", check=False).returncode == 18, "it was told that something is missing"
    p.wait_closed(2)
    found = finished(folder, 2)
    assert {f.rsplit(".", 1)[1]: (folder / f).read_bytes() for f in found} == {"sample": b"x" * 1024, "cut": b"x" * 500}


def test_nothing_without_payload(proxy, origin, tmp_path):
    server = origin()
    p, folder = capturing(proxy, tmp_path, payload="none")
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    assert os.listdir(folder) == []


def test_the_budget_takes_the_oldest(proxy, origin, tmp_path):
    server = origin()
    p, folder = capturing(proxy, tmp_path, bodies_max_bytes="1M")
    with p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(30):
            client.ask("GET", "/bytes/100000", "origin.test")
        client.ask("GET", "/bytes/2000000", "origin.test")  # larger than all that may be kept
        client.ask("GET", "/bytes/70000", "origin.test")
    p.wait_closed()
    p.wait_metric('soth_sink_file_bodies_total{instance="sink_file"}', 32)  # counted when it is complete, and there is room for it
    left = files(folder, "body", "cut")
    assert sum((folder / f).stat().st_size for f in os.listdir(folder)) <= 1 << 20
    assert left[-1].endswith("-32-response.body") and content(folder, "response", -1) == b"".join(pattern(70000))
    metrics = p.metrics()
    assert metrics['soth_sink_file_bodies_cut_total{instance="sink_file"}'] == 1
    assert metrics['soth_sink_file_bodies_evicted_total{instance="sink_file"}'] >= 30


def test_the_budget_holds_for_hours(proxy, origin, tmp_path):
    """Hundreds of bodies of real clients, on connections of their own, more than ever fit: the newest are there and whole, nothing stays open."""
    server = origin(tls=True)
    p, folder = capturing(proxy, tmp_path, bodies_max_bytes="1M")
    url, folder_of = f"https://origin.test:{server.port}/bytes", f"/proc/{p.process.pid}/fd"
    curl(p, f"{url}/1000")
    p.wait_closed()
    before = len(os.listdir(folder_of))
    for round_ in range(10):
        curl(p, "--parallel", "--parallel-max", 4, *[arg for n in range(40) for arg in (f"{url}/{20000 + 40 * round_ + n}", "-o", "/dev/null")])
    flows = len(p.wait_closed(11))
    metrics = until(lambda: (lambda m: m if m['soth_sink_file_bodies_total{instance="sink_file"}'] == 401 else None)(p.metrics()), 10, "401 bodies")
    left = files(folder, "body", "cut", "sample", "part")
    assert flows >= 11 and metrics['soth_sink_file_bodies_evicted_total{instance="sink_file"}'] == 401 - len(left)
    assert sum((folder / f).stat().st_blocks * 512 for f in os.listdir(folder)) <= 1 << 20
    finished(folder, len(left))
    assert min((folder / f).stat().st_size for f in left) > 20000 + 320, "only the newest"
    assert 30 <= len(left) <= 42, "of 6 blocks each, with the digest"
    until(lambda: len(os.listdir(folder_of)) <= before, 10, lambda: f"{len(os.listdir(folder_of))} descriptors, {before} before")


def test_what_an_earlier_run_left(proxy, origin, tmp_path):
    folder = tmp_path / "bodies"
    folder.mkdir()
    (folder / "deadbeef-1-1-response.part").write_bytes(b"half")
    (folder / "deadbeef-2-1-response.body").write_bytes(b"whole")
    (folder / "somebody-elses").write_bytes(b"x")
    server = origin()
    p, _ = capturing(proxy, tmp_path)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    until(lambda: len(files(folder, "body")) == 2, 10, lambda: str(os.listdir(folder)))
    assert (folder / "deadbeef-1-1-response.cut").read_bytes() == b"half" and (folder / "somebody-elses").exists()


def test_a_reload_in_the_middle(proxy, origin, tmp_path):
    """What spans it is cut by the old instance, and not begun by the new one."""
    from harness.streams import Paced
    route = Paced([b"data: a\n\n", b"data: b\n\n"])
    server = origin(routes={"/e": route})
    p, folder = capturing(proxy, tmp_path)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        route.go()
        until(lambda: files(folder, "part"), 10, "the beginning")
        p.modules[1]["config"]["flush_every"] = 2
        p.reload()
        route.go(9)
        client.response("GET")
        client.ask("GET", "/hello", "origin.test")
    p.wait_closed()
    found = finished(folder, 2)
    assert [f.rsplit(".", 1)[1] for f in found] == ["cut", "body"]


def test_a_folder_that_cannot_be_written(proxy, tmp_path):
    (tmp_path / "file").write_text("")
    p = proxy(start=False, sink={"bodies_dir": str(tmp_path / "file" / "x")}, exit=21)
    p.launch()
    assert p.wait_exit() == 21
    assert "bodies_dir" in p.stderr()
    p.process = None


@pytest.mark.slow
def test_a_large_upload_with_memory_flat(proxy, origin, tmp_path):
    """1 GiB with SOTH_E2E_LARGE, else 256 MiB: the file's digest is the upload's, memory does not move."""
    size = 1 << 30 if os.environ.get("SOTH_E2E_LARGE") else 1 << 28

    def counting(wire):
        head = wire.head()
        digest, left = hashlib.sha256(), int(head.get("Content-Length"))
        while left > 0:
            piece = wire.exactly(min(left, 1 << 20))
            digest.update(piece)
            left -= len(piece)
        wire.send(reply(body=digest.hexdigest().encode()))

    server = origin(counting)
    p, folder = capturing(proxy, tmp_path)
    peak = []
    with p.client(seconds=scaled(240)).connect(f"origin.test:{server.port}") as client:
        client.send(f"POST /up HTTP/1.1\r\nHost: origin.test\r\nContent-Length: {size}\r\n\r\n".encode())
        for number, piece in enumerate(pattern(size)):
            client.send(piece)
            if number % 16 == 15:
                peak.append(p.resident())
        assert client.response("POST").body.decode() == pattern_sha256(size)
    p.wait_closed(seconds=60)
    name = finished(folder, 2, 60)[0]
    assert name.endswith("-request.body")
    assert (folder / name).stat().st_size == size
    assert (folder / name.replace(".body", ".sha256")).read_text().split() == [pattern_sha256(size), name]
    if not p.is_sanitized():
        assert max(peak) < peak[0] + (48 << 20), f"{[m >> 20 for m in peak]} MB"  # the queue may hold 16M
        assert max(peak[len(peak) // 2:]) < max(peak[:len(peak) // 2]) + (8 << 20), f"{[m >> 20 for m in peak]} MB"
