# SPDX-License-Identifier: MPL-2.0
"""Bodies in files when the going is rough: a hundred clients at once, messages that break off, a full disk, a folder that goes, files of others."""
import concurrent.futures
import hashlib
import os
import shutil
import ssl
import subprocess
import threading

import httpx
import pytest

from harness.h2 import H2Origin, h2_client
from harness.origin import pattern
from harness.timing import scaled, until
from harness.tools import need
from test_bodies import capturing, content, files, finished
from test_curl import curl


def disk(folder):
    return sum((folder / f).stat().st_blocks * 512 for f in os.listdir(folder))


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_hundred_at_once(proxy, authority, origin, tmp_path, version):
    """Whole files with the right bytes, none mixed, none left over."""
    server = H2Origin(authority.leaf("origin.test"), http1=True)
    try:
        p, folder = capturing(proxy, tmp_path)
        sizes = [20000 + 997 * n for n in range(100)]
        out = tmp_path / "out"
        out.mkdir()
        curl(p, version, "--parallel", "--parallel-max", 100, "--parallel-immediate",
             *[arg for n, size in enumerate(sizes) for arg in (f"https://origin.test:{server.port}/{'stream' if n % 2 else 'bytes'}/{size}", "-o", out / str(n))])
        found = finished(folder, 100)
        assert all(f.endswith(".body") for f in found)
        assert sorted(hashlib.sha256((folder / f).read_bytes()).digest() for f in found) == \
            sorted(hashlib.sha256((out / f).read_bytes()).digest() for f in os.listdir(out))
    finally:
        server.close()


@pytest.mark.parametrize("http2", [False, True])
def test_uploads_of_python_clients(proxy, authority, tmp_path, http2):
    server = H2Origin(authority.leaf("origin.test"), http1=True)
    p, folder = capturing(proxy, tmp_path)
    trust = ssl.create_default_context(cafile=str(p.ca_path))

    def upload(n):
        body = b"%d " % n * (1000 + 100 * n)
        with httpx.Client(http2=http2, verify=trust, proxy=f"http://{p.addresses[0]}", timeout=scaled(60), trust_env=False) as client:
            pieces = iter([body[at:at + 3000] for at in range(0, len(body), 3000)])
            answer = client.post(f"https://origin.test:{server.port}/upload", content=body if n % 2 else pieces)
            assert answer.json()["size"] == len(body)
        return hashlib.sha256(body).hexdigest()

    try:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            sent = sorted(pool.map(upload, range(100)))
        found = [f for f in finished(folder, 200, 20) if "-request." in f]
        assert sorted(hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in found) == sent
        assert not files(folder, "cut")
    finally:
        server.close()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_clients_that_leave_in_the_middle(proxy, authority, tmp_path, version):
    server = H2Origin(authority.leaf("origin.test"), http1=True)
    try:
        p, folder = capturing(proxy, tmp_path)
        for route in ("bytes", "stream"):
            done = curl(p, version, "--max-time", scaled(2), "--limit-rate", "200k", f"https://origin.test:{server.port}/{route}/50000000", "-o", "/dev/null", check=False)
            assert done.returncode == 28
        found = finished(folder, 2)
        assert all(f.endswith(".cut") for f in found)
        block = (b"the quick brown fox jumps over the lazy dog; " * 2000)[:1 << 16]
        for f in found:
            got = (folder / f).read_bytes()
            assert got and got == (block * (len(got) // len(block) + 1))[:len(got)], "a beginning, without a hole"
    finally:
        server.close()


def test_a_reset_stream_is_cut(proxy, authority, tmp_path):
    server = H2Origin(authority.leaf("origin.test"))
    try:
        p, folder = capturing(proxy, tmp_path)
        with h2_client(p, "origin.test", server.port) as client:
            client.until(lambda: client.settings is not None)
            client.wait(client.ask("GET", "/reset/8"), client.ask("GET", "/stream/1000"))
            assert sorted(f.rsplit(".", 1)[1] for f in finished(folder, 2)) == ["body", "cut"]
    finally:
        server.close()


def test_the_budget_holds_meanwhile_too(proxy, origin, tmp_path):
    """Also of bodies that are on their way, each of which takes whole blocks: more than fit are cut, what the folder takes never is more."""
    go_on = threading.Event()

    def slow(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        assert go_on.wait(60)
        wire.send(b"2\r\nhi\r\n0\r\n\r\n")

    server = origin(routes={"/e": slow})
    p, folder = capturing(proxy, tmp_path, bodies_max_bytes="128k")
    clients = [p.client().connect(f"origin.test:{server.port}") for _ in range(60)]
    for client in clients:
        client.send(b"GET /e HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    until(lambda: len(p.log.find("response_body_chunk")) >= 60, 10, "the beginnings")
    assert len(files(folder, "part")) == 16 and disk(folder) <= 128 << 10, "a block each, and one for the digest"
    go_on.set()
    for client in clients:
        assert client.response("GET").body == b"hihi"
        client.close()
    p.wait_closed(60)
    assert len(finished(folder, 16)) == 16 and disk(folder) <= 128 << 10
    p.wait_metric('soth_sink_file_bodies_total{instance="sink_file"}', 16)
    count = {name: p.metrics()[f'soth_sink_file_{name}_total{{instance="sink_file"}}'] for name in ("bodies", "bodies_cut", "bodies_left_out")}
    assert count == {"bodies": 16, "bodies_cut": 0, "bodies_left_out": 44}


def test_files_of_others_stay_as_they_are(proxy, origin, tmp_path):
    """A folder that is used for something else, too: only what has the name of a body is one."""
    folder = tmp_path / "bodies"
    folder.mkdir()
    others = ["movie.part", "notes.body", "x.cut", "deadbeef-1-1-response.body.sample", "1-2-response.body", "deadbeef-x-1-response.part",
              "deadbeef-1-1-reply.part", "download-1-2-response.part"]
    for name in others:
        (folder / name).write_bytes(b"x" * 5000)
    server = origin()
    p, _ = capturing(proxy, tmp_path, bodies_max_bytes="64k")
    with p.client().connect(f"origin.test:{server.port}") as client:
        for _ in range(20):
            client.ask("GET", "/bytes/20000", "origin.test")
    p.wait_closed()
    until(lambda: any("-20-" in f and f.endswith(".body") for f in os.listdir(folder)), 10, lambda: str(os.listdir(folder)))
    assert all((folder / name).read_bytes() == b"x" * 5000 for name in others)


def test_a_folder_that_goes_comes_again(proxy, origin, tmp_path):
    server = origin()
    p, folder = capturing(proxy, tmp_path)
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/bytes/1000", "origin.test")
        finished(folder, 1)
        shutil.rmtree(folder)
        client.ask("GET", "/bytes/2000", "origin.test")
        until(folder.exists, 10, "the folder")
        assert [content(folder, "response") for f in finished(folder, 1)] == [b"".join(pattern(2000))]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["with space", "tab\there", "new\nline", "100%s%n", "quo'te\"d", "\u00fcml\u00e4ut", "-dash", "back\\slash", "n" * 255])
def test_odd_folders(proxy, origin, tmp_path, name):
    server = origin()
    folder = tmp_path / name
    p = proxy(sink={"bodies_dir": str(folder)}, sink_top={"payload": "full"})
    with p.client().connect(f"origin.test:{server.port}") as client:
        client.ask("GET", "/bytes/1000", "origin.test")
    p.wait_closed()
    assert len(finished(folder, 1)) == 1


def judged(p):
    """Bodies of which it is settled what became of them."""
    metrics = p.metrics()
    return sum(metrics[f'soth_sink_file_{name}_total{{instance="sink_file"}}'] for name in ("bodies", "bodies_left_out"))


def test_a_full_disk(proxy, origin, tmp_path):
    """Bodies on a disk of 1 MB: what has no room is cut and said, once in a while; what fits again is whole; the log and the traffic go on."""
    if subprocess.run([need("unshare"), "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mounts here")
    folder, server = tmp_path / "bodies", origin()
    folder.mkdir()
    p = proxy(start=False, sink={"bodies_dir": str(folder), "bodies_max_bytes": "1G"}, sink_top={"payload": "full"})
    p.start(wrapper=[need("unshare"), "-Urm", "sh", "-c", 'mount -t tmpfs -o size=1M tmpfs "$0" && exec "$@"', str(folder)])
    inside = f"/proc/{p.process.pid}/root{folder}"
    with p.client().connect(f"origin.test:{server.port}") as client:
        for episode in (1, 2):
            for _ in range(3):
                assert len(client.ask("GET", "/bytes/600000", "origin.test").body) == 600000
            assert len(client.ask("GET", "/chunked/600000", "origin.test").body) == 600000
            until(lambda: judged(p) == 5 * episode - 1, 10, lambda: f"{judged(p)}; {os.listdir(inside)}")
            assert not [f for f in os.listdir(inside) if f.endswith(".part")]
            assert p.stderr().count("cannot write a body to") == 1
            assert any(f.endswith(".body") for f in os.listdir(inside)) and any(f.endswith(".cut") for f in os.listdir(inside))
            done = subprocess.run([need("sha256sum"), "--quiet", "-c", *[f for f in os.listdir(inside) if f.endswith(".sha256")]], cwd=inside, capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            for f in os.listdir(inside):
                os.unlink(f"{inside}/{f}")
            assert client.ask("GET", "/bytes/1000", "origin.test").status == 200
            until(lambda: [f for f in os.listdir(inside) if f.endswith(".sha256")], 10, "room again")
    p.wait_closed()
