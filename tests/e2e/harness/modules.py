# SPDX-License-Identifier: MPL-2.0
"""Modules built for a test, as a third party builds them: the installed headers and a C compiler."""
import os
import pathlib
import re

from .proxy import MODULES, PREFIX
from .tools import need, run

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
LABELS = re.compile(r"^(\w+)(?:\{(.*)\})?$")


def build_module(folder, source, name=None, flags=()):
    """Compiles tests/fixtures/SOURCE into folder/NAME.so and returns a modules_dir that has it besides the shipped ones."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = name or pathlib.Path(source).stem
    fresh = folder / f".{name}.new"
    run([need("cc", "gcc", "clang"), "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden",
         f"-I{PREFIX}/include", f'-DNAME="{name}"', *flags, FIXTURES / source, "-o", fresh, "-lpthread"])
    fresh.chmod(0o700)
    os.rename(fresh, folder / f"{name}.so")  # a new file: the old one may be mapped by a running proxy
    return [str(MODULES), str(folder)]


def metrics(proxy):
    """The numbers that SIGUSR2 prints: {(name, labels): value}."""
    return {(m[1], m[2] or ""): value for m, value in ((LABELS.match(k), v) for k, v in proxy.metrics().items())}


def module_metric(proxy, name, **labels):
    """The sum of a module's counter over what matches the labels."""
    want = [f'{k}="{v}"' for k, v in labels.items()]
    return sum(v for (n, have), v in metrics(proxy).items() if n == name and all(w in have for w in want))
