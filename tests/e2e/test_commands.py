# SPDX-License-Identifier: MPL-2.0
"""Commands that print and end."""
import re
import subprocess

from harness.proxy import BINARY, MODULES, PREFIX, installed_schema
from harness.timing import scaled
from harness.tools import clean_env


def soth_mitm(*args, check=True):
    done = subprocess.run([str(BINARY), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(10), env=clean_env())
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_version():
    out = soth_mitm("--version")
    assert re.search(r"soth-mitm \d+\.\d+", out)
    for word in ("ABI", "wolfSSL", "nghttp2", "llhttp", "libevent", "ccelerated"):
        assert word in out, out
    assert re.search(r"ABI.* \d+\.\d+", out)


def test_help():
    out = soth_mitm("--help")
    for command in ("run", "check", "ca", "module", "config"):
        assert command in out


def test_every_command_that_a_message_names_exists():
    """What the program tells people to run can be run."""
    told = set(re.findall(rb"`(?:soth-mitm )?((?:ca|module|config|check|events|exec|run)(?: [a-z]+)?)(?: [^`]*)?`", BINARY.read_bytes()))
    help_text = soth_mitm("--help")
    assert told, "no message names a command"
    for command in sorted(command.decode() for command in told):
        assert re.search(rf"^  {command}\b", help_text, re.MULTILINE), f"`{command}` is told to people and is no command"


def test_config_doc_is_markdown_with_every_key():
    out = soth_mitm("config", "doc")
    for key in ("listen", "workers", "modules_dir", "upstream_ca_file", "authority_mismatch", "not_tls", "resolvers", "block_response",
                "allow_clients", "deny_upstreams", "max_concurrent_flows", "idle_timeout", "drain_timeout", "leaf_cache_capacity"):
        assert f"`{key}`" in out or f".{key}`" in out, key
    assert "|---" in out.replace(" ", "")


def test_module_list(proxy):
    p = proxy(start=False)
    out = soth_mitm("module", "list", "-c", p.conf)
    for name in ("policy_rules", "sink_file"):
        assert name in out


def test_module_check_and_doc():
    for name in ("policy_rules", "sink_file", "sink_console"):
        soth_mitm("module", "check", MODULES / f"{name}.so")
    doc = soth_mitm("module", "doc", MODULES / "policy_rules.so")
    for key in ("default", "ignore_hosts", "blocked_hosts", "rules"):
        assert f"`{key}`" in doc


def test_module_check_refuses_another_file(tmp_path):
    (tmp_path / "x.so").write_text("nothing")
    done = subprocess.run([str(BINARY), "module", "check", str(tmp_path / "x.so")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_env())
    assert done.returncode != 0 and b"x.so" in done.stderr + done.stdout


def test_installed_layout():
    assert installed_schema().get("$schema")
    for path in ("include/soth/sdk.h", "include/soth/events.def", "lib/pkgconfig/soth-mitm-sdk.pc", "etc/soth-mitm/soth-mitm.yaml"):
        assert (PREFIX / path).exists(), path
    assert list((PREFIX / "etc/soth-mitm/conf.d").glob("*.yaml"))
    assert {p.stem for p in MODULES.glob("*.so")} >= {"policy_rules", "sink_file", "sink_console"}


def test_installed_configuration_is_valid():
    assert "error" not in soth_mitm("check", "-c", PREFIX / "etc/soth-mitm/soth-mitm.yaml").lower()


def test_log_level(proxy):
    quiet, loud = proxy(start=False), proxy(start=False)
    sizes = []
    for p, level in ((quiet, "error"), (loud, "debug")):
        process = subprocess.Popen([*p.command("run"), "--log-level", level], stderr=subprocess.PIPE, env=clean_env(HOME=p.folder))
        lines = []
        for line in process.stderr:
            lines.append(line)
            if b'"ready"' in line:
                break
        process.terminate()
        lines += process.stderr.readlines()
        assert process.wait(scaled(20)) == 0
        process.stderr.close()
        sizes.append(len([line for line in lines if not line.startswith(b"SOTH_MITM_STATUS")]))
    assert sizes[0] <= sizes[1]
