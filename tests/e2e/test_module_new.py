# SPDX-License-Identifier: MPL-2.0
"""The way of a newcomer: an empty folder, the installed program, make. What `module new` writes builds, passes its own test, installs, and works
in the proxy after a file of three lines."""
import os
import re
import subprocess

import pytest

from harness.build import pkg_config
from harness.origin import reply
from harness.proxy import BINARY, MODULES, write_private
from harness.timing import scaled, until
from harness.tools import clean_env, need, run

SOURCES = {"Makefile", "README.md", ".gitignore"}


def newcomer_env():
    """Nothing of the project in it but the program on PATH."""
    env = clean_env(PATH=f"{BINARY.parent}:{os.environ['PATH']}")
    for name in ("PKG_CONFIG_PATH", "CFLAGS", "LDFLAGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        env.pop(name, None)
    return env


@pytest.fixture
def made(tmp_path):
    """made(kind, name) writes, builds, checks and installs a module; it is gone from the installation after the test."""
    names = []

    def make(kind, name):
        need("make"), need("cc", "gcc"), need("pkg-config")
        run(["soth-mitm", "module", "new", kind, name], cwd=tmp_path, env=newcomer_env())
        folder = tmp_path / name
        for target in ([], ["check"], ["install"]):
            done = subprocess.run(["make", *target], cwd=folder, env=newcomer_env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=scaled(120))
            assert done.returncode == 0, f"make {' '.join(target)}: {done.stdout.decode(errors='replace')[-4000:]}"
            assert b"warning:" not in done.stdout, done.stdout.decode(errors="replace")
            if target == ["check"]:
                assert b"100 rounds of create and destroy are fine" in done.stdout, done.stdout.decode(errors="replace")
        names.append(name)
        assert (MODULES / f"{name}.so").stat().st_mode & 0o777 == 0o755
        return folder

    yield make
    for name in names:
        (MODULES / f"{name}.so").unlink(missing_ok=True)


def with_document(proxy, text, **settings):
    """A proxy with one file more in conf.d, written as a user would."""
    p = proxy(start=False, **settings)
    write_private(p.folder / "conf.d" / "90-mine.yaml", text)
    return p.start()


def get(p, url, host, fields=()):
    with p.client() as client:
        return client.ask("GET", url, host, fields)


def test_a_sink(made, proxy, origin, tmp_path):
    folder = made("sink", "mine_sink")
    assert {f.name for f in folder.iterdir()} >= SOURCES | {"mine_sink.c", "test_mine_sink.c", "mine_sink.yaml"}
    out = tmp_path / "lines.txt"
    server = origin()
    p = with_document(proxy, f"module: mine_sink\nevents: [http]\nconfig: {{path: {out}}}\n")
    assert get(p, f"http://origin.test:{server.port}/hello", f"origin.test:{server.port}").status == 200
    p.wait_closed()
    lines = until(lambda: (lambda t: t if "stream_closed" in t else None)(out.read_text()), 10, out.read_text)
    assert lines == "request_headers origin.test GET\nresponse_headers origin.test \nstream_closed origin.test \n"
    listed = run([BINARY, "module", "list", "-c", p.conf]).stdout.decode()
    assert re.search(r"^mine_sink +mine_sink +sink +1\.0 .* on ", listed, re.M), listed


def test_a_policy(made, proxy, origin, resolver):
    made("policy", "mine_policy")
    server = origin()
    p = with_document(proxy, "module: mine_policy\nconfig: {hosts: [blocked.test], header: X-Blocked}\n")
    assert get(p, f"http://origin.test:{server.port}/hello", f"origin.test:{server.port}").status == 200
    assert get(p, f"http://blocked.test:{server.port}/hello", f"blocked.test:{server.port}").status == 403
    assert get(p, f"http://origin.test:{server.port}/hello", f"origin.test:{server.port}", [("x-blocked", "yes")]).status == 403
    assert len(server.requests) == 1 and not resolver.asked("blocked.test")
    p.decision(action="block", policy_module="mine_policy", rule_id="hosts")
    p.wait_event("request_decision", action="block", policy_module="mine_policy", rule_id="header")


def test_a_decoder(made, proxy, origin):
    made("decoder", "mine_decoder")

    def lines(wire, request):
        wire.send(reply(body=b"one\ntwo and more\n\nend", fields=[("Content-Type", "text/plain")]))
        return True

    server = origin(routes={"/lines": lines})
    p = with_document(proxy, "module: mine_decoder\nconfig: {content_type: text/plain}\n")
    answer = get(p, f"http://origin.test:{server.port}/lines", f"origin.test:{server.port}")
    assert answer.status == 200 and answer.body == b"one\ntwo and more\n\nend"
    events = p.closed_as("mitm_http_completed")
    assert [(e.at("sequence_no"), e.at("record_len")) for e in events if e.kind == "stream_record"] == [
        ("1", "3"), ("2", "12"), ("3", "0"), ("4", "3")]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.c").write_text("precious")
    done = run(["soth-mitm", "module", "new", "sink", "mine"], cwd=tmp_path, env=newcomer_env(), check=False)
    assert done.returncode == 22 and b"mine: is not empty" in done.stderr
    assert (tmp_path / "mine" / "mine.c").read_text() == "precious"
    run(["soth-mitm", "module", "new", "sink", "mine", "elsewhere"], cwd=tmp_path, env=newcomer_env())
    assert (tmp_path / "elsewhere" / "mine.c").exists()


@pytest.mark.parametrize("kind", ["sink", "decoder", "policy"])
def test_a_template_is_short_and_whole(tmp_path, kind):
    run(["soth-mitm", "module", "new", kind, "mine"], cwd=tmp_path, env=newcomer_env())
    for path in (tmp_path / "mine").iterdir():
        assert "@" not in path.read_text().replace("$@", ""), path
        assert path.stat().st_mode & 0o022 == 0, path
    assert 40 <= len((tmp_path / "mine" / "mine.c").read_text().splitlines()) <= 80
    pedantic = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    run([need("cc"), *pedantic, *pkg_config("--cflags"), tmp_path / "mine" / "mine.c"])


def test_umask_does_not_make_files_that_are_refused(tmp_path):
    script = "umask 000; soth-mitm module new sink mine && make -C mine && soth-mitm module check mine/mine.so --config mine/mine.yaml"
    done = run(["sh", "-c", script], cwd=tmp_path, env=newcomer_env())
    assert b"100 rounds" in done.stdout
