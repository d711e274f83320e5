# SPDX-License-Identifier: MPL-2.0
"""Fixtures: an authority for origins, a counting resolver, factories of origins and proxies that are stopped and judged at the
end of the test."""
import os
import shutil

import pytest

from harness.dns import Resolver
from harness.modules import build_module
from harness.nginx import Nginx
from harness.origin import HttpOrigin, Origin
from harness.pki import Authority
from harness.proxy import BINARY, PREFIX, Proxy
from harness.timing import span
from harness.websocket import WebSocketServer

NAMES = ("origin.test", "*.origin.test", "other.test", "localhost", "127.0.0.1", "::1")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


def pytest_collection_modifyitems(items):
    """Long tests first: two workers then end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), "origin-ca")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger-ca")


@pytest.fixture
def resolver():
    server = Resolver()
    yield server
    server.close()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory, authority):
    server = Nginx(tmp_path_factory.mktemp("nginx"), authority, NAMES)
    yield server
    server.close()


def _origins(authority):
    started = []

    def start(handler=None, tls=False, routes=None, **kwargs):
        context = authority.server(*NAMES) if tls is True else (tls or None)
        server = Origin(handler, tls=context, **kwargs) if handler else HttpOrigin(routes, tls=context, **kwargs)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def origin(authority):
    """origin(handler, tls=True) starts a raw origin; without a handler an HttpOrigin. tls may be an SSLContext."""
    yield from _origins(authority)


@pytest.fixture(scope="module")
def shared_origin(authority):
    """The same for a whole module."""
    yield from _origins(authority)


class Proxies:
    """Makes proxies; finish() stops them all and returns what was wrong."""

    def __init__(self, folder, authority, resolver):
        self.folder, self.made = folder, []
        self.defaults = {"upstream_ca_file": str(authority.path), "resolvers": [resolver.address], "drain_timeout": span(5)}

    def __call__(self, start=True, folder=None, launch=None, **kwargs):
        if not BINARY.exists():
            pytest.fail(f"{BINARY} does not exist; SOTH_MITM_PREFIX={PREFIX}", pytrace=False)
        one = Proxy(folder or self.folder / f"proxy{len(self.made)}", **(self.defaults | kwargs))
        self.made.append(one)
        return one.start(**(launch or {})) if start else one.write()

    def finish(self):
        problems = []
        for one in self.made:
            try:
                one.stop()
            except AssertionError as problem:
                problems.append(str(problem))
            finally:
                one.kill()
        return problems


@pytest.fixture
def proxy(tmp_path, authority, resolver, request):
    """proxy(policy=..., settings...) starts a proxy; start=False only writes its configuration."""
    proxies = Proxies(tmp_path, authority, resolver)
    yield proxies
    failed = getattr(request.node, "report_call", None) is not None and request.node.report_call.failed
    problems = proxies.finish()
    if problems or failed:
        _keep(request.node, tmp_path)
    if problems and not failed:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, authority):
    """The same for a whole module; shared.resolver is its resolver. Judged after the module's last test."""
    resolver = Resolver()
    proxies = Proxies(tmp_path_factory.mktemp("shared"), authority, resolver)
    proxies.resolver = resolver
    yield proxies
    problems = proxies.finish()
    resolver.close()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def serving(authority):
    """serving(handler, tls=True) starts a WebSocket server."""
    started = []

    def start(handler, tls=True, **kwargs):
        started.append(WebSocketServer(handler, authority.server("origin.test") if tls else None, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def watching(proxy):
    """watching(config={}, modules=[]) starts a proxy with the module ws, and more behind it."""
    def start(config=None, modules=(), **kwargs):
        return proxy(extra_modules=[{"module": "ws", "config": config or {}}, *modules], **kwargs)
    return start


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """A modules_dir with one that judges frames."""
    return build_module(tmp_path_factory.mktemp("modules"), "frames.c")


def _keep(node, folder):
    """On failure the configuration, log and stderr stay where SOTH_E2E_ARTIFACTS says."""
    place = os.environ.get("SOTH_E2E_ARTIFACTS")
    if place:
        name = node.nodeid.replace("/", "_").replace("::", "-").replace("[", "-").replace("]", "")[:120]
        shutil.copytree(folder, os.path.join(place, name), dirs_exist_ok=True, ignore_dangling_symlinks=True,
                        ignore=lambda d, names: [n for n in names if n.endswith(".sock")])


def pytest_terminal_summary(terminalreporter):
    """Rows that tests recorded with record_property("row", (table, text)), for people, with the score. SOTH_E2E_TABLES: a file for them, too."""
    tables = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "row" and report.when == "call":
                    tables.setdefault(value[0], []).append((value[1], outcome == "passed"))
    text = []
    for title, rows in sorted(tables.items()):
        good = sum(passed for _, passed in rows)
        text += [f"== {title}", *(row for row, _ in sorted(rows)),
                 f"{title}: {good} of {len(rows)} as expected ({100 * good // len(rows)} %)", ""]
    for line in text:
        terminalreporter.line(line)
    if text and os.environ.get("SOTH_E2E_TABLES"):
        with open(os.environ["SOTH_E2E_TABLES"], "w", encoding="utf-8") as out:
            out.write("\n".join(text))
