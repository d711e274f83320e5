# SPDX-License-Identifier: MPL-2.0
"""Modules built for a test, as a third party builds them: the installed headers and a C compiler."""
import pathlib
import re
import signal
import subprocess

from .proxy import MODULES, PREFIX
from .timing import until
from .tools import need

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
COUNTER = re.compile(r"^(soth_\w+)(?:\{([^}]*)\})? (\d+)$", re.M)


def build_module(folder, source, name=None, flags=()):
    """Compiles tests/fixtures/SOURCE into folder/NAME.so and returns a modules_dir that has it besides the shipped ones."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name or pathlib.Path(source).stem}.so"
    done = subprocess.run([need("cc", "gcc"), "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                           "-fvisibility=hidden", f"-I{PREFIX}/include", *flags, str(FIXTURES / source), "-o", str(target), "-lpthread"],
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    target.chmod(0o700)
    return [str(MODULES), str(folder)]


def metrics(proxy):
    """The numbers that SIGUSR2 prints: {(name, labels): value}."""

    before = len(proxy.stderr())
    proxy.signal(signal.SIGUSR2)
    text = until(lambda: (lambda t: t if "# EOF\n" in t else None)(proxy.stderr()[before:]), 5, "metrics on stderr")
    return {(m[1], m[2] or ""): int(m[3]) for m in COUNTER.finditer(text)}


def module_metric(proxy, name, **labels):
    """The sum of a module's counter over what matches the labels."""
    want = [f'{k}="{v}"' for k, v in labels.items()]
    return sum(v for (n, have), v in metrics(proxy).items() if n == name and all(w in have for w in want))
