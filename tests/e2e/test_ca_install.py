# SPDX-License-Identifier: MPL-2.0
"""`soth-mitm ca install`, `uninstall` and `status`: the layouts of five distributions in scratch roots, this system's own tool in a mount
namespace, browsers' databases, the JDK's store."""
import os
import pathlib
import shutil
import subprocess

import pytest

from harness import chromium
from harness.ca import command, current
from harness.tools import clean_env, need, run

HERE = pathlib.Path(__file__).parent / "harness"
LAYOUTS = {
    # anchors, bundle, tool, how it is called, further files
    "debian": ("usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", "usr/sbin/update-ca-certificates", "", []),
    "alpine": ("usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", "usr/sbin/update-ca-certificates", "", ["etc/alpine-release"]),
    "fedora": ("etc/pki/ca-trust/source/anchors", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "usr/bin/update-ca-trust", " extract", []),
    "arch": ("etc/ca-certificates/trust-source/anchors", "etc/ca-certificates/extracted/tls-ca-bundle.pem", "usr/bin/update-ca-trust", "", []),
    "suse": ("etc/pki/trust/anchors", "var/lib/ca-certificates/ca-bundle.pem", "usr/sbin/update-ca-certificates", "", []),
}


@pytest.fixture
def made(proxy):
    p = proxy(start=False)
    command(p, "init")
    return p


def scratch(folder, layout, code=0):
    """A root directory with that layout and a tool of ours in the place of the distribution's."""
    anchors, bundle, tool, _, files = LAYOUTS[layout]
    root = folder / f"root-{layout}"
    for path in (*files, bundle, tool):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    if layout in ("fedora", "arch", "suse"):  # the others make it with the first certificate
        (root / anchors).mkdir(parents=True)
    else:
        (root / anchors).parent.mkdir(parents=True)
    for path in files:
        (root / path).write_text("3.20\n")
    shutil.copy(HERE / "trust_root.c", folder / "tool.c")
    run([need("cc"), "-static", "-o", root / tool, folder / "tool.c", f'-DANCHORS="/{anchors}"', f'-DBUNDLE="/{bundle}"', f"-DEXIT={code}"])
    return root


def chrooted(p, *args, code=0):
    """As root of a user namespace where we are not root: chroot(2) is root's."""
    if os.geteuid() == 0:
        return command(p, *args, code=code).stdout.decode()
    env = clean_env(HOME=p.folder, XDG_DATA_HOME=p.folder / "data")
    done = subprocess.run([need("unshare"), "-r", *p.command("ca", *map(str, args))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


def mark(cert):
    return cert.fingerprint(cert.signature_hash_algorithm).hex()[:16]


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(made, tmp_path, layout):
    anchors, bundle, tool, option, _ = LAYOUTS[layout]
    root, ours = scratch(tmp_path, layout), current(made)
    name = f"soth-mitm-{mark(ours)}.crt"
    args = ("--root", root, "system")
    said = chrooted(made, "status", *args, code=25)
    assert said.startswith(f"NOT trusted  system ({layout})") and ours.subject.rfc4514_string().split("CN=")[1] in said
    before = tree(root)
    said = chrooted(made, "install", "--dry-run", *args)
    assert f"would write: {root}/{anchors}/{name}" in said and f"would run: chroot {root} /{tool}{option}\n" in said
    assert tree(root) == before, "a dry run changes nothing"

    said = chrooted(made, "install", *args)
    assert f"\nrun: chroot {root} /{tool}{option}\n" in said and said.startswith(f"write: {root}/{anchors}/{name}")
    assert (root / anchors / name).read_bytes() == made.ca_path.read_bytes()
    assert (root / anchors / name).stat().st_mode & 0o777 == 0o644 and (root / anchors).stat().st_mode & 0o055 == 0o055
    assert (root / "called").read_text() == f"/{tool}{option}\n"
    assert chrooted(made, "status", *args).startswith(f"trusted      system ({layout}) ({mark(ours)}, current)")

    assert chrooted(made, "install", *args) == f"system ({layout}): trusts it already\n"
    assert (root / "called").read_text().count("\n") == 1, "nothing to do, nothing run"

    assert f"would remove: {root}/{anchors}/{name}" in chrooted(made, "uninstall", "--dry-run", *args)
    said = chrooted(made, "uninstall", *args)
    assert f"remove: {root}/{anchors}/{name}\nrun: chroot" in said and not (root / anchors / name).exists()
    chrooted(made, "status", *args, code=25)
    assert chrooted(made, "uninstall", *args) == f"system ({layout}): nothing of ours is there\n"


def test_both_around_a_rotation(made, tmp_path):
    root, args = scratch(tmp_path, "debian"), None
    args = ("--root", root, "system")
    chrooted(made, "install", *args)
    command(made, "rotate")
    assert "NOT trusted" in chrooted(made, "status", *args, code=25), "the new one is not known yet"
    chrooted(made, "install", *args)
    said = chrooted(made, "status", *args)
    assert said.count("\n") == 2 and ", previous)" in said and "NOT" not in said
    assert len(list((root / LAYOUTS["debian"][0]).iterdir())) == 2
    chrooted(made, "uninstall", *args)
    assert not list((root / LAYOUTS["debian"][0]).iterdir()), "earlier ones, too"


def test_what_was_damaged_is_put_right(made, tmp_path):
    root = scratch(tmp_path, "debian")
    args = ("--root", root, "system")
    chrooted(made, "install", *args)
    file = next((root / LAYOUTS["debian"][0]).iterdir())
    file.write_bytes(file.read_bytes()[:100])
    assert "write: " in chrooted(made, "install", *args) and file.read_bytes() == made.ca_path.read_bytes()
    (root / LAYOUTS["debian"][1]).write_text("")  # somebody emptied the bundle
    assert "run: " in chrooted(made, "install", *args)
    chrooted(made, "status", *args)


def test_a_certificate_from_elsewhere(made, tmp_path):
    """On another machine there is no CA, only what was exported."""
    root = scratch(tmp_path, "fedora")
    command(made, "export", "--out", tmp_path / "ours.pem")
    made.ca_key.unlink(), made.ca_path.unlink()
    args = ("--root", root, "--cert", tmp_path / "ours.pem", "system")
    chrooted(made, "install", *args)
    assert "trusted      system (fedora)" in chrooted(made, "status", *args)


def test_uninstall_without_a_ca(made, tmp_path):
    """Of two authorities one goes by its certificate, what is left by its name, though no CA is here any more."""
    root = scratch(tmp_path, "debian")
    place = root / LAYOUTS["debian"][0]
    command(made, "export", "--out", tmp_path / "first.pem")
    chrooted(made, "install", "--root", root)
    command(made, "rotate", "--drop-old")
    chrooted(made, "install", "--root", root)
    (place / "soth-mitm-other.crt").write_text("of somebody else\n")
    (place / "soth-mitm-0123456789abcdef.pem").write_text("of somebody else\n")
    assert len(list(place.iterdir())) == 4
    chrooted(made, "uninstall", "--root", root, "--cert", tmp_path / "first.pem")
    assert {p.name for p in place.iterdir()} == {f"soth-mitm-{mark(current(made))}.crt", "soth-mitm-other.crt", "soth-mitm-0123456789abcdef.pem"}
    made.ca_key.unlink(), made.ca_path.unlink()
    chrooted(made, "uninstall", "--root", root)
    assert {p.name for p in place.iterdir()} == {"soth-mitm-other.crt", "soth-mitm-0123456789abcdef.pem"}


def test_a_tool_that_fails(made, tmp_path):
    root = scratch(tmp_path, "debian", code=3)
    env = ["--root", root, "system"]
    done = command(made, "install", *env, code=22) if os.geteuid() == 0 else None
    if done:
        assert b"update-ca-certificates failed (3)" in done.stderr


def test_an_unknown_layout(made, tmp_path):
    (tmp_path / "empty").mkdir()
    assert b"none of Debian, Fedora, Alpine, Arch" in command(made, "install", "--root", tmp_path / "empty", "system", code=25).stderr


@pytest.mark.parametrize("args", [["install", "somewhere"], ["install", "--root", "relative"], ["install", "--root", "/no/such/place"],
                                  ["status", "--dry-run"], ["rotate", "--prepare", "--drop-old"]])
def test_wrong_command_lines(made, args):
    command(made, *args, code=2)


def test_no_ca_yet(proxy):
    assert b"ca init" in command(proxy(start=False), "install", "system", code=22).stderr


def test_the_systems_own_tool(made, origin, tmp_path):
    """The real update-ca-certificates on this system, whose directories are laid over for this test alone; and then curl and Python trust the proxy
    without being told anything."""
    need("update-ca-certificates")
    server = origin(tls=True)
    made.start()
    script = tmp_path / "inside.sh"
    overlay = "mount -t tmpfs t {0}/{1} && mkdir {0}/{1}/up {0}/{1}/work && mount -t overlay o -o lowerdir={2},upperdir={0}/{1}/up,workdir={0}/{1}/work {2}"
    for name in ("ssl", "share"):
        (tmp_path / name).mkdir()
    ca = " ".join(made.command("ca"))[:-len(f" -c {made.conf}")]
    conf = f"-c {made.conf}"
    url = f"https://origin.test:{server.port}/hello"
    script.write_text("\n".join([
        "set -e", "mount --make-rprivate /", overlay.format(tmp_path, "ssl", "/etc/ssl") + " || exit 77",
        "mkdir -p /usr/local/share/ca-certificates", overlay.format(tmp_path, "share", "/usr/local/share") + " || exit 77",
        f"{ca} status system {conf} && exit 1",
        f"curl -sS -x {made.url} {url} && exit 1",
        f"{ca} install system {conf}", f"{ca} status system {conf}",
        f"curl -sS -x {made.url} {url}",
        f"HTTPS_PROXY={made.url} python3 -c 'import urllib.request; print(urllib.request.urlopen(\"{url}\").read().decode(), end=\"\")'",
        f"{ca} uninstall system {conf}", f"{ca} status system {conf} && exit 1", "exit 0"]))
    wrapper = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    done = subprocess.run([need("unshare"), *wrapper, "sh", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(HOME=made.folder))
    if done.returncode == 77:
        pytest.skip("no overlay file system can be mounted here")
    said = done.stdout.decode()
    assert done.returncode == 0, (said, done.stderr.decode())
    assert said.count("hello\n") == 2 and " added, 0 removed; done" in done.stderr.decode()
    made.wait_closed(3)


# ---- browsers


@pytest.fixture
def home(made):
    """With a profile of Firefox and a database of Chromium."""
    certutil = need("certutil")
    for database in (".pki/nssdb", ".mozilla/firefox/abc.default"):
        (made.folder / database).mkdir(parents=True)
        run([certutil, "-N", "--empty-password", "-d", f"sql:{made.folder / database}"])
    return made


def trusts(p, database):
    """What certutil itself says of our certificates in it."""
    listed = run([need("certutil"), "-L", "-d", f"sql:{p.folder / database}"]).stdout.decode()
    return [line for line in listed.splitlines() if line.startswith("soth-mitm") and line.split()[-1] == "C,,"]


def test_nss(home):
    both = (".pki/nssdb", ".mozilla/firefox/abc.default")
    assert command(home, "status", "nss", code=25).stdout.count(b"NOT trusted  nss sql:") == 2
    said = command(home, "install", "--dry-run", "nss").stdout.decode()
    assert said.count("would run: ") == 2 and " -A -d sql:" in said and not trusts(home, both[0])
    command(home, "install", "nss")
    assert [len(trusts(home, d)) for d in both] == [1, 1]
    assert command(home, "status", "nss").stdout.count(b"trusted      nss sql:") == 2
    assert command(home, "install", "nss").stdout.count(b"trusts it already") == 2
    run([need("certutil"), "-V", "-u", "L", "-d", f"sql:{home.folder / both[0]}", "-n", f"soth-mitm {mark(current(home))}"])
    command(home, "rotate")
    assert command(home, "status", "nss", code=25).stdout.count(b"NOT trusted") == 2
    command(home, "install", "nss")
    assert command(home, "status", "nss").stdout.count(b"\n") == 4
    command(home, "uninstall", "nss")
    assert [len(trusts(home, d)) for d in both] == [0, 0]
    assert command(home, "uninstall", "nss").stdout.count(b"nothing of ours is there") == 2
    command(home, "install", "nss")
    command(home, "rotate", "--drop-old")  # stolen: nothing here knows the old ones any more
    command(home, "uninstall", "nss")
    assert [len(trusts(home, d)) for d in both] == [0, 0]


def test_nss_that_is_not_there_yet(made):
    need("certutil")
    assert b"no browser of this user" in command(made, "status", "nss", code=25).stdout
    command(made, "install", "nss")
    assert len(trusts(made, ".pki/nssdb")) == 1


@pytest.mark.slow
def test_chromium_by_install(proxy, origin, tmp_path):
    """A browser that was told by `ca install nss`, and by nothing else."""
    server = origin(tls=True)
    p = proxy(policy=chromium.PAGE_ALONE)
    need("certutil")
    command(p, "install", "nss")
    done = chromium.load(p, f"https://origin.test:{server.port}/hello", tmp_path, home=p.folder)
    assert b"hello" in done.stdout, done.stdout[-800:] + done.stderr[-2000:]


# ---- Java


def test_java(made, tmp_path):
    """In a copy of the JDK's store: keytool finds the store beside itself."""
    jdk = pathlib.Path(need("keytool")).resolve().parent.parent
    copy = tmp_path / "jdk"
    run(["cp", "-rL" if (jdk / "lib" / "security").is_symlink() else "-r", jdk, copy], timeout=120)
    store = copy / "lib" / "security" / "cacerts"
    if store.is_symlink():
        original = store.resolve()
        store.unlink()
        shutil.copy(original, store)
    store.chmod(0o644)
    env = {"JAVA_HOME": copy}
    assert b"NOT trusted  java" in command(made, "status", "java", code=25, env=env).stdout
    assert b"would run: " in command(made, "install", "--dry-run", "java", env=env).stdout
    command(made, "install", "java", env=env)
    assert b"trusted      java" in command(made, "status", "java", env=env).stdout
    assert command(made, "install", "java", env=env).stdout == b"java: trusts it already\n"
    command(made, "uninstall", "java", env=env)
    command(made, "status", "java", code=25, env=env)
