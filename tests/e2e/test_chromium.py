# SPDX-License-Identifier: MPL-2.0
"""A page with many resources in a real browser. Chromium calls home whatever the flags: the policy blocks every other host."""
import base64
import subprocess

import pytest
from harness.origin import pattern
from harness.timing import scaled
from harness.tools import clean_env, need, run

COUNT = 40
PAGE = """<!doctype html><meta charset=utf-8><title>waiting</title><body><script>
let loaded = 0;
function count() { if (++loaded === %d) document.title = 'all ' + loaded; document.body.dataset.loaded = loaded; }
</script>%s</body>"""


def trust(home, ca_path):
    """Chromium asks the NSS database of its user."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = need("certutil")
    run([certutil, "-d", f"sql:{database}", "-N", "--empty-password"])
    run([certutil, "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "soth-mitm", "-i", ca_path])


def build_page(nginx):
    tags = []
    for number in range(COUNT):
        if number % 2:
            nginx.put(f"page/{number}.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!--%d--></svg>' % number)
            tags.append(f'<img src="{number}.svg" onload="count()">')
        else:
            nginx.put(f"page/{number}.js", b"count();//" + base64.b64encode(b"".join(pattern(20000 + number))))
            tags.append(f'<script src="{number}.js"></script>')
    nginx.put("page/index.html", (PAGE % (COUNT, "".join(tags))).encode())


@pytest.mark.slow
def test_page_with_many_resources(proxy, nginx, tmp_path):
    build_page(nginx)
    p = proxy(policy={"default": "block", "rules": [{"id": "page", "action": "intercept", "host": "origin.test"}]})
    trust(tmp_path, p.ca_path)
    args = [need("chromium", "chromium-browser"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path}/profile", f"--proxy-server={p.url}", "--proxy-bypass-list=<-loopback>",
            "--disable-background-networking", "--disable-component-update",
            "--no-first-run", "--disable-sync", "--virtual-time-budget=20000", "--dump-dom",
            f"https://origin.test:{nginx.tls13}/page/index.html"]
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(90),
                          env=clean_env(HOME=tmp_path, XDG_CONFIG_HOME=tmp_path, XDG_CACHE_HOME=tmp_path))
    dom = done.stdout.decode()
    assert f'data-loaded="{COUNT}"' in dom, dom[:1500] + done.stderr.decode()[-2000:]
    asked = {e.at("target") for e in p.log.find("request_headers", authority=f"origin.test:{nginx.tls13}")}
    assert len([t for t in asked if t.startswith("/page/")]) == COUNT + 1
    hellos = p.log.find("tls_handshake_succeeded", peer="downstream")
    assert hellos, "with its own ClientHello, X25519MLKEM768 included"
    assert {e["server_host"] for e in p.log.find("response_headers")} == {"origin.test"}
