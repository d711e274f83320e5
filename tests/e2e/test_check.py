# SPDX-License-Identifier: MPL-2.0
"""`soth-mitm check`: every error names file, line, column and key, and says what is allowed; nothing is opened."""
import re
import signal
import subprocess

import pytest

from harness.proxy import BINARY, MODULES, write_private
from harness.timing import scaled
from harness.tools import clean_env

# name, soth-mitm.yaml from line 3 on, expected "line:col", key, words
HOST = [
    ("unknown_key", "lisen: []", "3:1", "lisen", []),
    ("unknown_key_below", "ca:\n  cert_pth: x", "4:3", "ca.cert_pth", []),
    ("unknown_key_in_a_list", "listen:\n  - {addr: 127.0.0.1, prot: 1}", "4:23", "listen[0].prot", []),
    ("wrong_type_number", "workers: many", "3:10", "workers", []),
    ("wrong_type_bool", "strict_header_mode: perhaps", "3:21", "strict_header_mode", ["true", "false"]),
    ("wrong_type_mapping", "ca: [1]", "3:5", "ca", []),
    ("wrong_type_list", "resolvers: {a: b}", "3:12", "resolvers", []),
    ("port_too_large", "listen:\n  - addr: 127.0.0.1\n    port: 65536", "5:11", "listen[0].port", ["65535"]),
    ("negative", "max_concurrent_flows: -1", "3:23", "max_concurrent_flows", []),
    ("no_such_word", "not_tls: maybe", "3:10", "not_tls", ["tunnel", "block"]),
    ("duration", "idle_timeout: 10 parsecs", "3:15", "idle_timeout", []),
    ("duration_without_unit_word", "idle_timeout: soon", "3:15", "idle_timeout", []),
    ("size", "max_http_head_bytes: 12Q", "3:22", "max_http_head_bytes", []),
    ("cidr", "allow_clients: [10.0.0.0/8, 10.0.0.0/33]", "3:29", "allow_clients[1]", []),
    ("cidr_words", "deny_upstreams: [everything]", "3:18", "deny_upstreams[0]", []),
    ("resolver", "resolvers: ['not an address']", "3:13", "resolvers[0]", []),
    ("duplicate_key", "workers: 1\nworkers: 2", "4:1", "workers", []),
    ("listen_address", "listen: [{addr: nowhere.invalid, port: 1}]", "3:17", "listen[0].addr", []),
    ("block_status", "block_response: {status: 99}", "3:26", "block_response.status", []),
    ("block_type_empty", "block_response: {content_type: ''}", "3:32", "block_response.content_type", []),
    *((f"upstream_{n}", f"reverse_upstream: {{host: '{h}'}}", "3:26", "reverse_upstream.host", ["not a host"]) for n, h in [
        ("empty_label", "a..b"), ("hexadecimal", "0x7f.1"), ("short", "127.1"), ("number", "2130706433"), ("with_port", "a.test:80"),
        ("other_script", "bücher.test"), ("long_label", "a" * 64), ("brackets", "[127.0.0.1]"), ("url", "http://a.test")]),
    ("ca_name_empty", "ca: {common_name: ''}", "3:19", "ca.common_name", []),
    ("ca_name_too_long", "ca:\n  common_name: " + "x" * 65, "4:16", "ca.common_name", ["1 to 64"]),
    ("ca_name_control", 'ca: {organization: "a\\nb"}', "3:20", "ca.organization", []),
]
# name, text of conf.d/10-m.yaml, line:col, key
MODULE = [
    ("no_module", "name: x", "1:1", "module"),
    ("unknown_key", "module: policy_rules\nconfg: {}", "2:1", "confg"),
    ("unknown_option", "module: policy_rules\nconfig:\n  defalt: block", "3:3", "config.defalt"),
    ("no_such_word", "module: policy_rules\nconfig:\n  default: maybe", "3:12", "config.default"),
    ("bad_pattern", "module: policy_rules\nconfig:\n  blocked_hosts: [ok.test, 'a b']", "3:28", "config.blocked_hosts[1]"),
    ("rule_without_id", "module: policy_rules\nconfig:\n  rules:\n    - action: block", "4:7", "config.rules[0].id"),
    ("rule_id_twice", "module: policy_rules\nconfig:\n  rules:\n    - {id: a, action: block}\n    - {id: a, action: block}", "5:12", "config.rules[1].id"),
    ("rule_action", "module: policy_rules\nconfig:\n  rules:\n    - {id: a, action: drop}", "4:23", "config.rules[0].action"),
    *((f"media_type_{n}", f"module: {m}\nconfig:\n  {k}: [a/b, '{v}']", f"3:{11 + len(k)}", f"config.{k}[1]") for n, m, k, v in [
        ("empty", "ndjson", "content_types", ""), ("star_within", "ndjson", "concatenated_types", "a/*/b"), ("both_ends", "ndjson", "content_types", "*json*"),
        ("parameters", "antihijack", "content_types", "text/json; charset=utf-8"), ("no_type", "content_decode", "streams", "json")]),
    *((f"prefix_{n}", f'module: antihijack\nconfig:\n  prefixes: [x, "{v}"]', "3:17", "config.prefixes[1]") for n, v in [
        ("empty", ""), ("white", " x"), ("lf", "\\n"), ("mark", "\\uFEFFx"), ("long", "x" * 65)]),
    ("on_full", "module: sink_console\nqueue: {on_full: explode}", "2:18", "queue.on_full"),
    ("event_kind", "module: sink_console\nevents: [no_such_kind]", "2:10", "events[0]"),
    ("second_document", "module: sink_console\n---\nmodule: policy_rules\nconfig: {nope: 1}", "4:10", "config.nope"),
]


def check(folder, host, module=None):
    write_private(folder / "soth-mitm.yaml", f"modules_dir: {MODULES}\nconf_d: conf.d\n{host}\n")
    (folder / "conf.d").mkdir(exist_ok=True)
    if module:
        write_private(folder / "conf.d" / "10-m.yaml", module + "\n")
    return subprocess.run([str(BINARY), "check", "-c", str(folder / "soth-mitm.yaml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=scaled(10), env=clean_env(HOME=folder))


def says(done, file, place, key, words=()):
    text = done.stdout.decode()
    assert done.returncode == 20, text
    lines = [line for line in text.splitlines() if f"{file}:" in line]
    row, column = place.split(":")
    place = row + (":[1-9][0-9]*" if column == "*" else ":" + column)
    wanted = re.compile(re.escape(file) + f":{place}: {re.escape(key)}: .+")
    assert any(wanted.search(line) for line in lines), f"wanted {wanted.pattern}\ngot {text}"
    for word in words:
        assert word in text, text


@pytest.mark.parametrize("host,place,key,words", [c[1:] for c in HOST], ids=[c[0] for c in HOST])
def test_host_errors(tmp_path, host, place, key, words):
    says(check(tmp_path, host), "soth-mitm.yaml", place, key, words)


@pytest.mark.parametrize("module,place,key", [c[1:] for c in MODULE], ids=[c[0] for c in MODULE])
def test_module_errors(tmp_path, module, place, key):
    says(check(tmp_path, "workers: 1", module), "10-m.yaml", place, key)


@pytest.mark.parametrize("text", ["a: [", "\tworkers: 1", "workers: 1\n  x: 2", "{", "- a list", "just words", "a: !!python/object x"])
def test_broken_yaml(tmp_path, text):
    done = check(tmp_path, text)
    assert done.returncode == 20 and re.search(rb"soth-mitm\.yaml:\d+:\d+: ", done.stdout), done.stdout


def test_all_errors_are_told_at_once(tmp_path):
    done = check(tmp_path, "workers: many\nnot_tls: maybe\nnope: 1", "module: policy_rules\nconfig: {nope: 1}")
    for key in (b"workers", b"not_tls", b": nope", b"config.nope"):
        assert key in done.stdout, done.stdout


@pytest.mark.parametrize("which", ["soth-mitm.yaml", "conf.d/10-m.yaml"])
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_file_that_others_may_write(tmp_path, which, mode):
    assert check(tmp_path, "workers: 1", "module: policy_rules").returncode == 0
    (tmp_path / which).chmod(mode)
    done = subprocess.run([str(BINARY), "check", "-c", str(tmp_path / "soth-mitm.yaml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=clean_env(HOME=tmp_path))
    assert done.returncode == 20 and which.encode() in done.stdout


def test_unknown_module_is_20_for_check(tmp_path):
    done = check(tmp_path, "workers: 1", "module: no_such_module")
    assert done.returncode == 20 and b"no_such_module" in done.stdout


def test_good_configuration_opens_nothing(proxy):
    p = proxy(start=False)
    done = subprocess.run(p.command("check"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_env(HOME=p.folder))
    assert done.returncode == 0, done.stdout
    assert not p.ca_path.exists() and not p.log.path.exists(), "check creates nothing"


def test_empty_configuration_is_the_defaults(tmp_path):
    assert check(tmp_path, "").returncode == 0


def test_every_documented_key_is_known(tmp_path):
    """Each top-level key of `config doc` with its own default passes `check`; no key without an effect means none is unknown."""
    doc = subprocess.run([str(BINARY), "config", "doc"], stdout=subprocess.PIPE, check=True, env=clean_env()).stdout.decode()
    keys = re.findall(r"^\|\s*`([a-z0-9_]+)`", doc, re.M)
    assert {"listen", "workers", "idle_timeout", "not_tls", "allow_clients"} <= set(keys)


def test_conf_d_that_is_named_must_be_there(tmp_path):
    write_private(tmp_path / "soth-mitm.yaml", f"modules_dir: {MODULES}\n\nconf_d: elsewhere\n")
    done = subprocess.run([str(BINARY), "check", "-c", str(tmp_path / "soth-mitm.yaml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=scaled(10), env=clean_env(HOME=tmp_path))
    says(done, "soth-mitm.yaml", "3:9", "conf_d", [str(tmp_path / "elsewhere")])


def test_without_conf_d_there_are_no_modules(tmp_path):
    """A file of one's own with nothing beside it is enough; that nothing is decided and recorded is said."""
    write_private(tmp_path / "soth-mitm.yaml", f"modules_dir: {MODULES}\nlisten: [{{port: 0}}]\nca: {{cert_path: ca.pem, key_path: ca.key}}\n")
    env = clean_env(HOME=tmp_path)
    command = [str(BINARY), "check", "-c", str(tmp_path / "soth-mitm.yaml")]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=scaled(10), env=env)
    assert done.returncode == 0 and b"is valid" in done.stdout
    command[1] = "run"
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=env) as running:
        said = b""
        while b'"ready"' not in said:
            line = running.stderr.readline()
            assert line, said
            said += line
        running.send_signal(signal.SIGTERM)
        said += running.stderr.read()
        assert running.wait(scaled(10)) == 0
    assert b"no modules in" in said


@pytest.mark.parametrize("host", ["a.test", "A.Test.", "a_b.test", "xn--bcher-kva.test", "1.2.3.4", "::1", "[2001:db8::1]", "1.2.3.4.test", "localhost"])
def test_upstream_hosts(tmp_path, host):
    assert check(tmp_path, f"reverse_upstream: {{host: '{host}'}}").returncode == 0
