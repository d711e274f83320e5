# SPDX-License-Identifier: MPL-2.0
"""Modules of the tests' own, built as their authors would build them: against the installed SDK, found by pkg-config."""
import os
import pathlib

from .proxy import PREFIX
from .tools import clean_env, need, run

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
ENV = {"PKG_CONFIG_PATH": str(PREFIX / "lib" / "pkgconfig")}


def pkg_config(*args):
    return run([need("pkg-config"), *args, "soth-mitm-sdk"], env=clean_env(**ENV)).stdout.decode().split()


def _finish(path):
    path.chmod(0o755)
    return path


def c_module(source, folder, name, *flags):
    """FOLDER/NAME.so out of a C source below tests/fixtures."""
    path = pathlib.Path(folder) / f"{name}.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", *flags,
         *pkg_config("--cflags"), "-o", path, FIXTURES / source])
    return _finish(path)


def cxx_module(source, folder, name, *flags):
    path = pathlib.Path(folder) / f"{name}.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    source = FIXTURES / source
    run([need("c++", "g++", "clang++"), "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-shared", "-fPIC",
         "-fvisibility=hidden", f"-Wl,--version-script={source.parent / 'module.map'}", "-Wl,-z,defs", *flags, *pkg_config("--cflags"),
         "-o", path, source])
    return _finish(path)


def rust_module(source, folder, name):
    path = pathlib.Path(folder) / f"{name}.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    run([need("rustc"), "--edition", "2021", "--crate-type", "cdylib", "-O", "-o", path, FIXTURES / source], timeout=300)
    return _finish(path)
