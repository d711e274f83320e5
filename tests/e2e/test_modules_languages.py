# SPDX-License-Identifier: MPL-2.0
"""Sinks in C++ and in Rust load, pass `module check` and get their events."""
import pytest

from harness.build import cxx_module, rust_module
from harness.proxy import BINARY, MODULES, write_private
from harness.timing import until
from harness.tools import clean_env, run


def build(language, folder):
    if language == "cxx":
        return cxx_module("cxx/sink.cc", folder, "cxx_tally")
    return rust_module("rust/sink.rs", folder, "rust_tally")


@pytest.mark.parametrize("language", ["cxx", "rust"])
def test_a_sink_in_another_language(proxy, origin, tmp_path, language):
    built = build(language, tmp_path / "modules")
    out = tmp_path / "lines"
    document = {"module": built.stem, "events": ["request_headers", "response_headers"], "config": {"path": str(out)}}
    write_private(tmp_path / "one.yaml", f"module: {built.stem}\nconfig: {{path: {tmp_path / 'checked'}}}\n")
    said = run([BINARY, "module", "check", built, "--config", tmp_path / "one.yaml"], env=clean_env()).stdout.decode()
    assert "100 rounds of create and destroy are fine" in said

    server = origin()
    p = proxy(modules_dir=[str(MODULES), str(built.parent)], extra_modules=[document])
    for n in range(3):
        with p.client() as client:
            assert client.ask("GET", f"http://origin.test:{server.port}/hello", f"origin.test:{server.port}").status == 200
        p.wait_closed(n + 1)  # flows of two workers have no order among each other
    lines = until(lambda: (lambda t: t if len(t) >= 6 else None)(out.read_text().splitlines() if out.exists() else []), 10, lambda: "six lines")
    assert [line.split()[:2] for line in lines] == [["request_headers", "origin.test"], ["response_headers", "origin.test"]] * 3
