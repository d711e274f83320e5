# SPDX-License-Identifier: MPL-2.0
"""Modules that tests bring along, compiled as their authors would: the public headers, a compiler, nothing else."""
import os
import pathlib

from .tools import need, run

ROOT = pathlib.Path(__file__).resolve().parents[3]


def build_module(folder, name, source="tests/fixtures/life.c", *flags):
    """Compiles folder/NAME.so from a fixture; returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{name}.so"
    fresh = folder / f".{name}.new"
    run([need("cc", "gcc", "clang"), "-std=gnu11", "-Wall", "-Wextra", "-g", "-O1", "-shared", "-fPIC", f"-I{ROOT / 'sdk'}",
         f'-DNAME="{name}"', *flags, "-o", fresh, ROOT / source, "-lpthread"])
    fresh.chmod(0o700)
    os.rename(fresh, out)  # a new file: the old one may be mapped by a running proxy
    return out
