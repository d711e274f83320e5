# SPDX-License-Identifier: MPL-2.0
"""Modules of the tests' own, compiled as their authors would: the installed headers and nothing else."""
import os
import pathlib
import subprocess

from .proxy import MODULES, PREFIX

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


def build_module(folder, source, name, *flags):
    """FOLDER/NAME.so from tests/fixtures/SOURCE."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.so"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                    f"-I{PREFIX / 'include'}", *flags, "-o", str(target), str(FIXTURES / source), "-lpthread"], check=True)
    target.chmod(0o755)
    return folder


def with_modules(folder):
    """modules_dir for a proxy that has these and the shipped ones."""
    return [str(folder), str(MODULES)]
