# SPDX-License-Identifier: MPL-2.0
"""A page with many resources in a real browser."""
import base64

import pytest

from harness import chromium
from harness.origin import pattern
from harness.timing import until

COUNT = 40
PAGE = """<!doctype html><meta charset=utf-8><title>waiting</title><body><script>
let loaded = 0;
function count() { if (++loaded === %d) document.title = 'all ' + loaded; document.body.dataset.loaded = loaded; }
</script>%s</body>"""


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
    p = proxy(policy=chromium.PAGE_ALONE)
    done = chromium.load(p, f"https://origin.test:{nginx.tls13}/page/index.html", tmp_path, budget_ms=20000)
    dom = done.stdout.decode()
    assert f'data-loaded="{COUNT}"' in dom, dom[:1500] + done.stderr.decode()[-2000:]

    def asked():
        return {e.at("target") for e in p.log.find("request_headers", authority=f"origin.test:{nginx.tls13}")}

    until(lambda: len([t for t in asked() if t.startswith("/page/")]) == COUNT + 1, 10, asked)
    until(lambda: len(p.log.find("response_headers")) > COUNT, 10, "the answers in the log")
    hellos = p.log.find("tls_handshake_succeeded", peer="downstream")
    assert hellos, "with its own ClientHello, X25519MLKEM768 included"
    assert {e["server_host"] for e in p.log.find("response_headers")} == {"origin.test"}
