# SPDX-License-Identifier: MPL-2.0
"""`ca env` is all that ten tools need: each runs with those variables and nothing else (an empty home, no configuration of the machine), through
the proxy, against an origin whose authority the proxy alone trusts. Where the packages are is said on their command lines; what to trust and which proxy
to use is not. What each one printed is shown (pytest -s), and so is that without the variables it is refused."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness.ca import command
from harness.registry import GREETING, Registry
from harness.timing import scaled, until
from harness.tools import clean_env, missing, need, node_with_proxies, run

from test_ca_env import JAVA, NODE, PYTHON


ROOTS = "/etc/ssl/certs/ca-certificates.crt"  # Debian's own
STATES = ["one CA", "rotated, the old one signs", "rotated, the new one signs"]


@pytest.fixture(scope="module")
def world(request, shared, authority, tmp_path_factory):
    """A proxy, a registry, and what `ca env` has printed for them; perhaps then the CA was rotated: both have the same name."""
    folder = tmp_path_factory.mktemp("tools")
    registry = Registry(folder / "git", tls=authority.server("origin.test"))
    p = shared()
    variables = json.loads(command(p, "env", "--shell", "json", "--proxy", p.url).stdout)
    if request.param != STATES[0]:
        command(p, "rotate")
    if request.param == STATES[2]:
        p.hangup()
    yield p, registry, variables
    registry.close()


# what verifies certificates differs: OpenSSL, GnuTLS, Go, Java, Node (with roots of its own); the others have one of these
everywhere = pytest.mark.parametrize("world", STATES, indirect=True, scope="module")
once = pytest.mark.parametrize("world", STATES[:1], indirect=True, scope="module")


@pytest.fixture
def tool(world, tmp_path, capsys):
    """tool(args..., wanted) runs one with the variables, and before that without those of trust, when it must fail. Shows what it printed."""
    p, registry, variables = world
    home = tmp_path / "home"
    home.mkdir()
    bare = {"PATH": os.environ["PATH"] + ":/usr/local/go/bin:/usr/sbin", "HOME": str(home), "LANG": "C.UTF-8"}
    proxies = {k: v for k, v in variables.items() if k.lower().endswith("_proxy")}

    def told():
        return len([e for e in p.events() if e.kind == "request_headers"])

    def start(args, env, cwd):
        return subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(240), env=bare | env, cwd=cwd)

    def one(*args, wanted, where=None, cwd=None, after=None):
        extra = {k: str(v) for k, v in (where or {}).items()}
        cwd = cwd or tmp_path
        java = {"JAVA_TOOL_OPTIONS": re.sub(r"\S*javax.net.ssl\S*", "", variables["JAVA_TOOL_OPTIONS"])}
        refused = start(args, proxies | java | extra, cwd)
        if not after:
            assert wanted.encode() not in refused.stdout, "it must not work without being told whom to trust"
        else:
            assert refused.returncode != 0, "it must not work without being told whom to trust"
        before = len(registry.requests)
        done = start(args, variables | extra, cwd)
        said = done.stdout.decode(errors="replace")
        assert done.returncode == 0, (said, done.stderr.decode(errors="replace"))
        if after:
            said += run([str(a) for a in after], env=clean_env(**bare), cwd=cwd, timeout=240).stdout.decode()
        with capsys.disabled():
            print(f"\n  $ {os.path.basename(str(args[0]))} {' '.join(map(str, args[1:]))[:100]}\n    " + said.strip().replace("\n", "\n    ")[-400:])
        assert wanted in said
        assert len(registry.requests) > before
        until(lambda: told() == len(registry.requests), 10, "the proxy's word of each request")
        return done
    return one


@everywhere
def test_curl(tool, world):
    tool(need("curl"), "-sS", world[1].url + "/hello", wanted="hello")


@everywhere
def test_wget(tool, world):
    tool(need("wget"), "-q", "-O", "-", world[1].url + "/hello", wanted="hello")


@once
def test_git(tool, world, tmp_path):
    tool(need("git"), "clone", "-q", world[1].url + "/greeting.git", tmp_path / "clone", wanted=GREETING.format("git"),
         after=["cat", tmp_path / "clone" / "README"])


@once
def test_pip(tool, world, tmp_path):
    tool(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--retries", "0", "--index-url", world[1].url + "/simple",
         "--target", tmp_path / "lib", "greeting", where={"PIP_CONFIG_FILE": os.devnull}, wanted=GREETING.format("pip"),
         after=[sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'lib')!r}); import greeting; print(greeting.TEXT)"])


@once
@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_python(tool, world, library):
    tool(sys.executable, "-c", PYTHON[library], world[1].url + "/hello", wanted="hello")


@once
@pytest.mark.parametrize("configured", [False, True], ids=["plain", "with a cafile of the machine's"])
def test_npm(tool, world, tmp_path, configured):
    npmrc = tmp_path / "npmrc"
    npmrc.write_text(f"cafile={ROOTS}\n" if configured else "")
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1.0.0"}')
    tool(need("npm"), "install", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0", "--registry", world[1].url + "/npm/", "greeting",
         where={"npm_config_globalconfig": npmrc}, wanted=GREETING.format("npm"), after=[need("node"), "-e", "console.log(require('greeting'))"])


@once
def test_cargo(tool, world, tmp_path):
    cargo = need("cargo")
    version = run([cargo, "--version"], env=os.environ).stdout.decode()
    if tuple(map(int, re.search(r"(\d+)\.(\d+)", version).groups())) < (1, 70):
        pytest.skip(f"{version.strip()} knows no sparse registries; 1.70 does")
    real = os.path.expanduser("~/.rustup")
    where = {"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", real)} if os.path.isdir(real) or "RUSTUP_HOME" in os.environ else {}
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "x"\nversion = "1.0.0"\nedition = "2021"\n\n[dependencies]\n'
                                         'greeting = {version = "1.0.0", registry = "here"}\n')
    (tmp_path / "src" / "main.rs").write_text('fn main() { println!("{}", greeting::TEXT); }\n')
    where["CARGO_REGISTRIES_HERE_INDEX"] = f"sparse+{world[1].url}/cargo/"
    where["CARGO_NET_RETRY"] = "0"
    tool(cargo, "build", "-q", where=where, wanted=GREETING.format("cargo"), after=[tmp_path / "target" / "debug" / "x"])


@everywhere
def test_go(tool, world, tmp_path):
    go = need("go")
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.19\n\nrequire example.test/greeting v1.0.0\n")
    where = {"GOPROXY": world[1].url + "/go", "GOSUMDB": "off", "GOFLAGS": "-mod=mod -modcacherw", "GOTOOLCHAIN": "local", "GOPATH": tmp_path / "gopath"}
    tool(go, "mod", "download", "-json", "example.test/greeting", where=where, wanted='"Sum": "h1:')


@everywhere
def test_java(tool, world, tmp_path):
    java = need("java")
    (tmp_path / "Get.java").write_text(JAVA)
    if shutil.which("javac") is None:
        missing("the Java here has no compiler (a JDK is needed)")
    done = tool(java, tmp_path / "Get.java", world[1].url + "/hello", wanted="hello\nhello")
    assert b"Picked up JAVA_TOOL_OPTIONS" in done.stderr


@everywhere
def test_node(tool, world):
    """fetch, by NODE_USE_ENV_PROXY."""
    tool(node_with_proxies(), "-e", NODE, world[1].url + "/hello", wanted="hello")
