# SPDX-License-Identifier: MPL-2.0
"""How a run starts and ends: exit codes, status lines, what a wrong start says."""
import json
import shutil
import signal
import socket
import subprocess

import pytest

from harness.exits import ends
from harness.ports import free_port
from harness.proxy import BINARY, STATUS_KEYS
from harness.timing import scaled
from harness.tools import clean_env

OTHERS = shutil.ignore_patterns("mine_*")  # test_module_new installs these, and takes them away again


@pytest.mark.parametrize("args", [["--no-such-option"], ["no-such-command"], ["run", "-c"], ["ca", "no-such"], ["check", "x", "y"]])
def test_2_wrong_command_line(args):
    done = subprocess.run([str(BINARY), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(10), env=clean_env())
    assert done.returncode == 2 and done.stderr


def test_0_and_the_status_lines(proxy, tmp_path):
    path = tmp_path / "status.jsonl"
    p = proxy(launch={"env": {"SOTH_MITM_AUTOMATION_STATUS_PATH": path}})
    p.stop()
    said = p.statuses()
    assert [list(s) for s in said] == [STATUS_KEYS] * len(said)
    assert all(s["schema"] == "soth-mitm-automation-status-v1" for s in said)
    stages = [(s["stage"], s["outcome"]) for s in said]
    assert stages[0] == ("startup", "in_progress") and ("running", "ready") in stages and stages[-1] == ("exit", "ok")
    assert said[-1]["exit_code"] == 0 and said[-1]["exit_class"] == "ok"
    times = [s["unix_ms"] for s in said]
    assert times == sorted(times) and times[0] > 1_600_000_000_000
    assert [json.loads(line) for line in path.read_text().splitlines()] == said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_0_by_either_signal(proxy, number):
    p = proxy()
    p.signal(number)
    assert p.wait_exit() == 0


def test_run_is_the_default_command(proxy):
    p = proxy(start=False)
    process = subprocess.Popen([str(BINARY), "-c", str(p.conf)], stderr=subprocess.PIPE, env=clean_env(HOME=p.folder))
    try:
        for line in process.stderr:
            if b'"ready"' in line:
                break
        process.terminate()
        assert process.wait(scaled(20)) == 0
    finally:
        process.kill()
        process.stderr.close()
    p.checks = None


def test_20_invalid_configuration(proxy):
    stderr = ends(proxy(start=False, no_such_key=1), 20, "config_invalid", "no_such_key")
    assert "soth-mitm.yaml:" in stderr


def test_20_no_configuration(proxy):
    p = proxy(start=False)
    p.conf.unlink()
    ends(p, 20, "config_invalid", "soth-mitm.yaml")


def test_20_module_configuration(proxy):
    ends(proxy(start=False, policy={"no_such_option": 1}), 20, "config_invalid", "no_such_option", "policy_rules.yaml:")


def test_21_log_cannot_be_written(proxy, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    ends(proxy(start=False, sink={"path": str(tmp_path / "file" / "events.jsonl")}), 21, "event_sink_init_failed", "events.jsonl")


def test_21_log_is_a_directory(proxy, tmp_path):
    (tmp_path / "dir").mkdir()
    ends(proxy(start=False, sink={"path": str(tmp_path / "dir")}), 21, "event_sink_init_failed", str(tmp_path / "dir"))


def test_22_address_in_use(proxy):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        ends(proxy(start=False, listen=[{"addr": "127.0.0.1", "port": port}]), 22, "host_init_failed", f"127.0.0.1:{port}")


def test_22_second_proxy_on_the_same_port(proxy):
    """SO_REUSEPORT among workers must not let a second process share the port silently."""
    first = proxy()
    second = proxy(start=False, listen=[{"addr": "127.0.0.1", "port": first.port}])
    ends(second, 22, "host_init_failed", str(first.port))


@pytest.mark.parametrize("addresses,said", [
    (["127.0.0.1", "[::]"], "another entry of listen: has this port"), (["192.0.2.1"], "does not have that address"),
    (["unix:/nonexistent/s"], "the directory must exist"), (["unix:/dev/null"], "no socket"),
])
def test_22_says_what_to_do(proxy, addresses, said):
    port = free_port()
    ends(proxy(start=False, listen=[{"addr": a, "port": port} for a in addresses]), 22, "host_init_failed", said)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_22_ca_key_that_others_can_read(proxy, mode):
    p = proxy()
    p.stop()
    p.ca_key.chmod(mode)
    p.log.path.unlink()
    ends(p, 22, "host_init_failed", "ca.key")
    p.checks = None


def test_22_ca_key_of_another_certificate(proxy, tmp_path):
    p, other = proxy(), proxy()
    p.stop(), other.stop()
    shutil.copy(other.ca_key, p.ca_key)
    ends(p, 22, "host_init_failed", "ca")


def test_22_broken_ca_certificate(proxy):
    p = proxy()
    p.stop()
    p.ca_path.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    ends(p, 22, "host_init_failed", "ca.pem")


def test_24_unknown_module(proxy):
    p = proxy(start=False, extra_modules=[{"module": "no_such_module"}])
    ends(p, 24, "module_load_failed", "no_such_module")


def test_24_a_file_that_is_no_module(proxy, tmp_path):
    p = proxy(start=False, extra_modules=[{"module": "broken"}])
    folder = tmp_path / "modules"
    shutil.copytree(p.settings["modules_dir"], folder, ignore=OTHERS)
    (folder / "broken.so").write_text("no shared object")
    p.settings["modules_dir"] = str(folder)
    p.write()
    ends(p, 24, "module_load_failed", "broken")


def test_24_a_library_without_the_symbol(proxy, tmp_path):
    p = proxy(start=False, extra_modules=[{"module": "plain"}])
    folder = tmp_path / "modules"
    shutil.copytree(p.settings["modules_dir"], folder, ignore=OTHERS)
    (tmp_path / "plain.c").write_text("int x;\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "plain.so", tmp_path / "plain.c"], check=True)
    p.settings["modules_dir"] = [str(folder)]
    p.write()
    ends(p, 24, "module_load_failed", "soth_mitm_module")
