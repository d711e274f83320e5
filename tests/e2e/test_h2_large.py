# SPDX-License-Identifier: MPL-2.0
"""A body up and the same one down at once, in the four pairings: what comes back is what was sent, and the proxy's memory does not move.
1 GiB with SOTH_E2E_LARGE=1, else 128 MiB."""
import hashlib
import os
import subprocess

import pytest

from harness.h2 import H2Origin
from harness.origin import pattern
from harness.timing import scaled
from harness.tools import clean_env, need

SIZE = 1 << 30 if os.environ.get("SOTH_E2E_LARGE") == "1" else 128 << 20
# client's version, origin's options, upstream_http2, with a reverse listener
PAIRINGS = {"h2-h2": ("--http2", {}, "mirror", False), "h2-h1": ("--http2", {"plain": True}, "mirror", True),
            "h1-h2": ("--http1.1", {}, "always", False), "h1-h1": ("--http1.1", {"http1": True}, "mirror", False)}
ROOM = 64 << 20  # two windows of a stream on either side, the log's queue, and what the allocator keeps


@pytest.fixture(scope="module")
def bulk(tmp_path_factory):
    path, digest = tmp_path_factory.mktemp("bulk") / "bulk", hashlib.sha256()
    with open(path, "wb") as file:
        for piece in pattern(SIZE):
            file.write(piece)
            digest.update(piece)
    yield path, digest.hexdigest()
    path.unlink()


def command(p, origin, version, reverse, bulk):
    port = p.port if reverse else origin.port
    way = ["--noproxy", "*", "--resolve", f"origin.test:{port}:127.0.0.1"] if reverse else ["--noproxy", "", "-x", p.url]
    return [need("curl"), "-sS", *way, "--cacert", str(p.ca_path), version, "-T", str(bulk), "-H", "Expect:", "--max-time", str(scaled(400)),
            f"https://origin.test:{port}/echo"]


def followed(p, args):
    """Runs it: (size and digest of what came, resident memory at each 1/16 of it)."""
    digest, size, seen, step = hashlib.sha256(), 0, [], SIZE // 16
    with subprocess.Popen(args, stdout=subprocess.PIPE, env=clean_env()) as client:
        while piece := client.stdout.read(1 << 20):
            digest.update(piece)
            if size // step != (size + len(piece)) // step:
                seen.append(p.resident())
            size += len(piece)
        assert client.wait(scaled(30)) == 0
    return size, digest.hexdigest(), seen


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRINGS)
def test_up_and_down_at_once(proxy, authority, bulk, name, record_property):
    version, options, upstream, reverse = PAIRINGS[name]
    origin = H2Origin(None if options.get("plain") else authority.leaf("origin.test"), http1=bool(options))
    try:
        extra = {"listen": [{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True}],
                 "reverse_upstream": {"host": "origin.test", "port": origin.port}} if reverse else {"upstream_http2": upstream}
        p = proxy(**extra)
        size, digest, seen = followed(p, command(p, origin, version, reverse, bulk[0]))
        sanitized = p.is_sanitized()
    finally:
        origin.close()
    assert (size, digest) == (SIZE, bulk[1])
    half = len(seen) // 2
    if not sanitized:
        assert max(seen) < seen[0] + ROOM, f"{[m >> 20 for m in seen]} MB"
        assert max(seen[half:]) < max(seen[:half]) + (16 << 20), f"{[m >> 20 for m in seen]} MB"
    record_property("row", ("bulk up and down at once", f"{name}: {SIZE >> 20} MiB each way, checksums equal, resident MB first "
                            f"{seen[0] >> 20}, most {max(seen) >> 20}, last {seen[-1] >> 20}"))
