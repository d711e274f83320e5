# SPDX-License-Identifier: MPL-2.0
"""One HTTPS origin that is a package index of pip, a registry of npm and of cargo, a module proxy of go and a repository of git, each with one
package of one file, made here. Every answer is a file; what was asked for is in `requests`."""
import base64
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile

from .origin import HttpOrigin, reply
from .tools import clean_env, need

GREETING = "hello from {}"


def _tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def _zip(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


class Registry(HttpOrigin):
    def __init__(self, folder, **kwargs):
        super().__init__({}, **kwargs)
        self.url = f"https://origin.test:{self.port}"
        for files in (self._pip(), self._npm(), self._cargo(), self._go(), self._git(folder)):
            for path, (body, kind) in files.items():
                self.routes[path] = self._file(body, kind)

    @staticmethod
    def _file(body, kind):
        def answer(wire, request):
            fields = [("Content-Type", kind)] + ([("Content-Length", str(len(body)))] if request.head.method == "HEAD" else [])
            wire.send(reply(body=b"" if request.head.method == "HEAD" else body, fields=fields, length=request.head.method != "HEAD"))
        return answer

    def _pip(self):
        record = "greeting/__init__.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n"
        wheel = _zip({
            "greeting/__init__.py": f"TEXT = {GREETING.format('pip')!r}\n",
            "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
            "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "greeting-1.0.dist-info/RECORD": record})
        name = "greeting-1.0-py3-none-any.whl"
        page = f'<!DOCTYPE html><a href="/pip/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>'
        return {"/simple/greeting/": (page.encode(), "text/html"), f"/pip/{name}": (wheel, "application/octet-stream")}

    def _npm(self):
        package = {"name": "greeting", "version": "1.0.0", "main": "index.js"}
        tarball = _tar({"package/package.json": json.dumps(package), "package/index.js": f"module.exports = {GREETING.format('npm')!r};\n"})
        digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        dist = {"tarball": f"{self.url}/npm/greeting/-/greeting-1.0.0.tgz", "integrity": f"sha512-{digest}"}
        about = {"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": package | {"dist": dist}}}
        return {"/npm/greeting": (json.dumps(about).encode(), "application/json"),
                "/npm/greeting/-/greeting-1.0.0.tgz": (tarball, "application/octet-stream")}

    def _cargo(self):
        crate = _tar({
            "greeting-1.0.0/Cargo.toml": '[package]\nname = "greeting"\nversion = "1.0.0"\nedition = "2021"\n',
            "greeting-1.0.0/src/lib.rs": f'pub const TEXT: &str = "{GREETING.format("cargo")}";\n'})
        entry = {"name": "greeting", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(crate).hexdigest(), "features": {}, "yanked": False}
        return {"/cargo/config.json": (json.dumps({"dl": f"{self.url}/cargo/crates"}).encode(), "application/json"),
                "/cargo/gr/ee/greeting": (json.dumps(entry).encode() + b"\n", "text/plain"),
                "/cargo/crates/greeting/1.0.0/download": (crate, "application/octet-stream")}

    @staticmethod
    def _go():
        module, version = "example.test/greeting", "v1.0.0"
        mod = f"module {module}\n\ngo 1.19\n"
        root = f"{module}@{version}"
        archive = _zip({f"{root}/go.mod": mod, f"{root}/greeting.go": f'package greeting\n\nconst Text = "{GREETING.format("go")}"\n'})
        base = f"/go/{module}/@v/{version}"
        return {f"{base}.info": (json.dumps({"Version": version}).encode(), "application/json"),
                f"{base}.mod": (mod.encode(), "text/plain"), f"{base}.zip": (archive, "application/zip")}

    @staticmethod
    def _git(folder):
        """A bare repository as files: git's oldest protocol."""
        work, bare = folder / "work", folder / "greeting.git"
        env = clean_env(HOME=folder, GIT_CONFIG_NOSYSTEM=1, GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t.test", GIT_COMMITTER_NAME="t",
                        GIT_COMMITTER_EMAIL="t@t.test")

        def git(*args):
            subprocess.run([need("git"), *map(str, args)], check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        work.mkdir(parents=True)
        git("init", "-b", "main", work)
        (work / "README").write_text(GREETING.format("git") + "\n")
        git("-C", work, "add", "README")
        git("-C", work, "commit", "-m", "one")
        git("clone", "--bare", work, bare)
        git("-C", bare, "update-server-info")
        return {f"/greeting.git/{path.relative_to(bare)}": (path.read_bytes(), "text/plain") for path in bare.rglob("*") if path.is_file()}
