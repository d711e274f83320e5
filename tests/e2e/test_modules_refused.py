# SPDX-License-Identifier: MPL-2.0
"""Modules that do not fit: `run` ends with 24 and a sentence of what is wrong and what to do, `check` with 20, `module check` with 24,
and `module list` shows the same sentence beside what is fine."""
import os
import subprocess

import pytest

from harness.build import c_module, pkg_config
from harness.exits import ends
from harness.proxy import BINARY, MODULES, write_private
from harness.timing import scaled
from harness.tools import clean_env

MINOR = int(pkg_config("--variable=abi_minor")[0])
MAJOR = int(pkg_config("--variable=abi_major")[0])

# name, flags for tests/fixtures/module.c, words of the sentence
BUILT = [
    ("wrong_magic", ["-DMAGIC=0x12345678u"], ["wrong magic number"]),
    ("other_major", [f"-DMAJOR={MAJOR + 1}"], [f"built for ABI {MAJOR + 1}.{MINOR}, this host has {MAJOR}.{MINOR}", "rebuild the module"]),
    ("newer_minor", [f"-DMINOR={MINOR + 1}"], [f"built for ABI {MAJOR}.{MINOR + 1}, this host has {MAJOR}.{MINOR}",
                                             f"upgrade soth-mitm or rebuild with -DSOTH_ABI_TARGET={MINOR}"]),
    ("short_struct", ["-DSIZE=24"], ["has 24 bytes, at least", "rebuild it with the SDK's macros"]),
    ("long_struct", ["-DSIZE=65536"], ["says that it has 65536 bytes"]),
    ("missing_operation", ["-DNO_OPERATIONS"], ["is a sink without a write operation"]),
    ("bad_options", ["-DBAD_OPTION"], ["option far lies outside the module's struct"]),
    ("unresolved", ["-DUNRESOLVED"], ["undefined symbol: nobody_has_this", "link the library that has it"]),
    ("no_symbol", ["-DNO_SYMBOL"], ["has no symbol soth_mitm_module", "not exported"]),
    ("other_kind", ["-DKIND=77"], ["module kind 77 is unknown to this host"]),
    ("alias", ["-UNAME", '-DNAME="original"'], ["calls itself original, its file must be original.so"]),
]


def command(*args):
    done = subprocess.run([str(BINARY), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(60), env=clean_env())
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refused(proxy, folder, name, words):
    """All commands that may meet the module agree on it."""
    document = {"module": name, "config": {"journal": "journal"}}
    p = proxy(start=False, modules_dir=[str(MODULES), str(folder)], extra_modules=[document])
    ends(p, 24, "module_load_failed", f"{name}.so", *words)
    code, out, err = command("check", "-c", p.conf)
    assert code == 20 and all(word in err for word in words), err
    code, out, err = command("module", "check", folder / f"{name}.so")
    assert code == 24 and all(word in err for word in words), err
    assert len(err.splitlines()) == 1 and not out, (out, err)
    code, out, err = command("module", "list", "-c", p.conf)
    row = [line.split(None, 7) for line in out.splitlines() if line.startswith(name)][0]
    assert code == 24 and row[6] == "refused" and all(word in row[7] for word in words), out
    fine = [line.split(None, 7) for line in out.splitlines() if line.startswith("sink_file")][0]
    assert fine[6] == "on"


@pytest.mark.parametrize("name,flags,words", BUILT, ids=[b[0] for b in BUILT])
def test_a_module_that_does_not_fit(proxy, tmp_path, name, flags, words):
    folder = tmp_path / "modules"
    c_module("module.c", folder, name, f'-DNAME="{name}"', *flags)
    refused(proxy, folder, name, words)


def test_a_file_that_is_no_shared_object(proxy, tmp_path):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "text.so").write_text("module: text\n" * 100)
    (folder / "text.so").chmod(0o755)
    refused(proxy, folder, "text", ["is not an ELF shared object"])


def test_a_file_that_was_cut(proxy, tmp_path):
    folder = tmp_path / "modules"
    built = c_module("module.c", folder, "cut", '-DNAME="cut"')
    built.write_bytes(built.read_bytes()[:4000])
    refused(proxy, folder, "cut", ["is damaged", "build it again"])


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_file_that_others_may_write(proxy, tmp_path, mode):
    folder = tmp_path / "modules"
    c_module("module.c", folder, "shared", '-DNAME="shared"').chmod(mode)
    refused(proxy, folder, "shared", ["group or others may write it", "chmod go-w"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user(proxy, tmp_path):
    folder = tmp_path / "modules"
    os.chown(c_module("module.c", folder, "given", '-DNAME="given"'), 12345, -1)
    refused(proxy, folder, "given", ["belongs to another user", "chown"])


# name of the macro of tests/fixtures/misbehaved.c, words
BROKEN = [
    ("WRITES_BEHIND", ["create wrote behind its block", "self_size"]),
    ("WRITES_FAR_BEHIND", ["create touched byte", "self_size"]),
    ("WRITES_IN_FRONT", ["create wrote in front of its block"]),
    ("WRITES_IN_CHECK", ["check wrote behind its block"]),
    ("LEAVES_MEMORY", ["each create and destroy loses"]),
    ("LEAVES_DESCRIPTORS", ["80 descriptors open"]),
    ("LEAVES_THREADS", ["80 threads running"]),
    ("USES_SELF_LATER", ["used self after destroy"]),
    ("CRASHES", ["create crashed in round 1"]),
    ("EXPORTS", ["exports another_name beside soth_mitm_module"]),
]


@pytest.mark.parametrize("macro,words", BROKEN, ids=[b[0].lower() for b in BROKEN])
def test_module_check_finds_a_broken_promise(tmp_path, macro, words):
    built = c_module("misbehaved.c", tmp_path, "bad", f"-D{macro}", "-pthread")
    code, out, err = command("module", "check", built)
    assert code == 24 and not out and "bad.so: " in err, (code, out, err)
    for word in words:
        assert word in err, err


def test_module_check_accepts_a_good_one_and_its_configuration(tmp_path):
    built = c_module("misbehaved.c", tmp_path, "bad", "-pthread")
    code, out, err = command("module", "check", built)
    assert code == 0 and "100 rounds of create and destroy are fine" in out and not err
    write_private(tmp_path / "good.yaml", "module: bad\nconfig: {path: x, strict: true}\n")
    assert command("module", "check", built, "--config", tmp_path / "good.yaml")[0] == 0
    write_private(tmp_path / "wrong.yaml", "module: bad\nconfig: {strict: true}\n")
    code, out, err = command("module", "check", built, "--config", tmp_path / "wrong.yaml")
    assert code == 20 and "wrong.yaml:2:" in err and "config.path: is needed when strict" in err


@pytest.mark.parametrize("words", [["check"], ["check", "a.so", "b.so"], ["doc"], ["list", "x"], ["new"], ["new", "sink"], ["new", "source", "x"],
                                   ["new", "sink", "9x"], ["new", "sink", "int"], ["new", "sink", "../x"], ["nonsense"]])
def test_2_wrong_command_line(words):
    code, out, err = command("module", *words)
    assert code == 2 and err and not out


def test_module_list_shows_what_is_off_wrong_and_unused(proxy, tmp_path):
    folder = tmp_path / "modules"
    c_module("misbehaved.c", folder, "bad", "-pthread")
    c_module("module.c", folder, "idle", '-DNAME="idle"')
    p = proxy(start=False, modules_dir=[str(MODULES), str(folder)],
              extra_modules=[{"module": "bad", "name": "resting", "enabled": False}, {"module": "sink_console", "order": 3}])
    write_private(p.folder / "conf.d" / "90-wrong.yaml", "module: bad\nname: mistaken\nconfig: {strict: true}\n")
    code, out, err = command("module", "list", "-c", p.conf)
    rows = {line.split()[0]: line.split(None, 7) for line in out.splitlines()[1:] if not line.startswith("-")}
    unused = {line.split()[1]: line.split(None, 7) for line in out.splitlines()[1:] if line.startswith("-")}
    assert code == 20
    assert rows["policy_rules"][2:7] == ["policy", rows["policy_rules"][3], f"{MAJOR}.{MINOR}", "50", "on"]
    assert rows["resting"][6:] == ["off", "enabled: false"]
    assert rows["mistaken"][6] == "wrong" and "90-wrong.yaml:3:" in rows["mistaken"][7]
    assert unused["idle"][2:7] == ["sink", "-", f"{MAJOR}.{MINOR}", "-", "unused"]
    names = list(rows)
    assert names.index("policy_rules") < names.index("sink_console") < names.index("sink_file")


def test_module_doc_has_the_nested_tables(tmp_path):
    code, out, err = command("module", "doc", MODULES / "policy_rules.so")
    assert code == 0 and out.startswith("# policy_rules\n")
    for row in ("| `default` | word | `intercept` | intercept, tunnel, block |", "| `rules[].id` | text | required |", "| `rules[].host` |"):
        assert row in out, out
