# SPDX-License-Identifier: MPL-2.0
"""h2spec, all of its cases, against a reverse listener with TLS: in front of an HTTP/1.1 origin, and through the relay to an HTTP/2 origin. What
may fail is listed in h2spec-exceptions.txt with its reason; a case that is listed and passes fails the test, too."""
import pathlib
import re
import xml.etree.ElementTree as xml

import pytest

from harness.h2 import H2Origin
from harness.tools import lane_tool, run

HERE = pathlib.Path(__file__).parent


def exceptions(kind):
    lines = (line.split("\t") for line in (HERE / "h2spec-exceptions.txt").read_text().splitlines() if line and not line.startswith("#"))
    return {case: reason for origin, case, reason in lines if origin in (kind, "both")}


def results(report):
    """{"http2/5.1: closed: Sends a DATA frame": None or what went wrong}"""
    found = {}
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", report.read_text(errors="replace")) # it writes pings' bytes as they are
    for suite in xml.fromstring(text).iter("testsuite"):
        for case in suite.iter("testcase"):
            failure = case.find("failure") if case.find("failure") is not None else case.find("error")
            name = f"{case.get('package')}: {case.get('classname')}"
            found[name] = None if failure is None else (failure.text or "failed").strip()
    return found


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_h2spec(proxy, authority, tmp_path, kind):
    program = lane_tool("h2spec")
    chain, key = authority.leaf("localhost", "127.0.0.1")
    origin = H2Origin(authority.leaf("origin.test") if kind == "h2" else None, http1=kind == "h1")
    try:
        p = proxy(listen=[{"addr": "127.0.0.1", "port": 0, "mode": "reverse", "tls": True, "cert_path": str(chain), "key_path": str(key)}],
                  reverse_upstream={"host": "origin.test", "port": origin.port, "tls": kind == "h2"}, authority_mismatch="allow", idle_timeout="20s")
        report = tmp_path / "report.xml"
        run([program, "-h", "127.0.0.1", "-p", p.port, "-t", "-k", "-o", "3", "-P", "/hello", "-j", report], 300, check=False)
        got, allowed = results(report), exceptions(kind)
    finally:
        origin.close()
    failed = {name: why for name, why in got.items() if why is not None}
    assert len(got) >= 145, f"only {len(got)} cases ran"
    assert len(allowed) <= 3
    assert set(failed) == set(allowed), "\n".join(f"{n}: {w}" for n, w in failed.items() if n not in allowed) + "".join(
        f"\n{n} is listed and passes" for n in allowed if n not in failed)
