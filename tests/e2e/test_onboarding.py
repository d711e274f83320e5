# SPDX-License-Identifier: MPL-2.0
"""http://soth.mitm/ through the proxy, with real clients: the page and what it links to."""
import datetime
import html.parser

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from harness.ca import command, current
from harness.tools import need, run

CERTIFICATE = "application/x-x509-ca-cert"


class Links(html.parser.HTMLParser):
    """Well-formedness and links of a page."""
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.text = [], [], set(), ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def get(p, path, *args):
    """With curl: (status, content type, body)."""
    done = run([need("curl"), "-sS", "-x", p.url, *args, "-w", "\n%{http_code} %{content_type}", f"http://soth.mitm{path}"])
    body, _, tail = done.stdout.rpartition(b"\n")
    status, _, kind = tail.decode().partition(" ")
    return int(status), kind, body


def test_the_page_and_its_links(proxy, resolver):
    p = proxy(start=False)
    p.settings["ca"]["common_name"] = "<b>bold & \"quoted\"</b>"
    p.start()
    cert = current(p)
    status, kind, body = get(p, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    page = Links(body.decode())
    digest = cert.fingerprint(cert.signature_hash_algorithm).hex(":").upper()
    assert digest in page.text and "<b>bold & \"quoted\"</b>" in page.text, "a name is text"
    assert "script" not in page.tags and page.links and all(link.startswith("/") for link in page.links)
    for link in page.links:
        assert get(p, link)[0] == 200, link
        answer = get(p, link, "-I")
        assert answer[0] == 200 and b"BEGIN" not in answer[2], "HEAD has no body"
    assert x509.load_pem_x509_certificates(get(p, "/cert.pem")[2]) == [cert] and get(p, "/cert.pem")[1] == CERTIFICATE
    for path in ("/cert.der", "/cert.crt"):
        status, kind, body = get(p, path)
        assert kind == CERTIFICATE and x509.load_der_x509_certificate(body) == cert
    key, first, others = pkcs12.load_key_and_certificates(get(p, "/cert.p12")[2], b"")
    assert key is None and [first, *others] in ([None, cert], [cert])
    assert get(p, "/ca-key.pem")[0] == get(p, "/../ca.key")[0] == get(p, "/cert.pem/")[0] == 404
    assert get(p, "/", "-d", "x=1")[0] == 405
    p.stop()
    assert not resolver.queries, "the name is never looked up"
    assert {e.at("reason") for e in p.log.find("connect_decision")} == {"onboarding"}
    assert {e.at("status_code") for e in p.log.find("response_headers")} == {"200", "404", "405"}
    assert "PRIVATE" not in p.log.path.read_text()


def test_over_tls(proxy):
    p = proxy()
    with p.https("soth.mitm", 443) as client:
        assert client.ask("GET", "/cert.pem", "soth.mitm").body == p.ca_path.read_bytes()
        assert client.ask("HEAD", "/cert.der", "soth.mitm").status == 200
    events = p.closed_as("mitm_http_completed")
    assert [e.kind for e in events] == ["connect_received", "connect_decision", "tls_handshake_started", "tls_handshake_succeeded",
                                        "request_headers", "response_headers", "request_headers", "response_headers", "stream_closed"]
    curl = [need("curl"), "-sS", "-x", p.url, "--cacert", p.ca_path]  # of HTTP/2 where there is that
    assert run([*curl, "https://soth.mitm/cert.pem"]).stdout == p.ca_path.read_bytes()
    assert run([*curl, "https://soth.mitm/"]).stdout.endswith(b"</html>\n")
    assert b" 404" in run([*curl, "-I", "https://soth.mitm/none"]).stdout
    p.wait_closed(4)


def test_from_nothing_to_trust(proxy, origin, tmp_path):
    """What a new client does: fetch, compare, trust, go."""
    server, p = origin(tls=True), proxy()
    run([need("curl"), "-sS", "-x", p.url, "-o", tmp_path / "ca.pem", "http://soth.mitm/cert.pem"])
    shown = command(p, "show").stdout.decode()
    assert current(p).fingerprint(current(p).signature_hash_algorithm).hex(":").upper() in shown
    url = f"https://origin.test:{server.port}/hello"
    assert run([need("curl"), "-sS", "-x", p.url, "--cacert", tmp_path / "ca.pem", url]).stdout == b"hello\n"
    assert run([need("wget"), "-q", "-O", "-", "-e", f"https_proxy={p.url}", "--ca-certificate", tmp_path / "ca.pem", url]).stdout == b"hello\n"


def test_both_around_a_rotation(proxy):
    p = proxy()
    old = current(p)
    command(p, "rotate", "--prepare")
    p.hangup()
    assert len(x509.load_pem_x509_certificates(get(p, "/cert.pem")[2])) == 2 and b"successor" in get(p, "/")[2]
    command(p, "rotate")
    p.hangup()
    new = current(p)
    assert x509.load_pem_x509_certificates(get(p, "/cert.pem")[2]) == [new, old]
    assert x509.load_der_x509_certificate(get(p, "/cert.der")[2]) == new


@pytest.mark.parametrize("policy", [{"blocked_hosts": ["soth.mitm"]}, {"default": "block"},
                                    {"rules": [{"id": "no", "action": "block", "host": "soth.mitm", "path": "/cert*"}]}])
def test_a_block_blocks_it(proxy, policy):
    p = proxy(policy=policy)
    assert get(p, "/cert.pem")[0] == 403


@pytest.mark.parametrize("policy", [{"default": "tunnel"}, {"ignore_hosts": ["soth.mitm"]}])
def test_there_is_no_tunnel_to_it(proxy, policy):
    p = proxy(policy=policy)
    assert get(p, "/cert.pem")[0] == 200
    assert run([need("curl"), "-sS", "-x", p.url, "--cacert", p.ca_path, "https://soth.mitm/"]).stdout.startswith(b"<!DOCTYPE html>")


def test_not_for_everybody(proxy):
    assert get(proxy(allow_clients=["192.0.2.0/24"]), "/")[0] == 403


def test_asked_directly_it_is_no_page(proxy):
    """As with mitmproxy's mitm.it: only what comes through the proxy is answered."""
    p = proxy()
    done = run([need("curl"), "-sS", "-w", "%{http_code}", "-H", "Host: soth.mitm", p.url])
    assert done.stdout.endswith(b"400") and b"CERTIFICATE" not in done.stdout


def test_by_name_to_an_upstream_of_that_name_is_not_reached(proxy, origin, resolver):
    server = origin()
    p = proxy()
    assert run([need("curl"), "-sS", "-x", p.url, f"http://soth.mitm:{server.port}/hello", "-o", "/dev/null", "-w", "%{http_code}"]).stdout == b"404"
    assert server.connections == 0


def test_the_list_that_a_leaf_names(proxy, tmp_path):
    """As a client does that insists on one: the address is in the certificate, what is there is good, and still is when another CA has taken over."""
    p = proxy()
    old = p.ca_path.read_bytes()
    (tmp_path / "old.pem").write_bytes(old)
    with p.https("soth.mitm", 443) as client:
        leaf = x509.load_der_x509_certificate(client.sock.getpeercert(True))
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    url = points[0].full_name[0].value
    assert url.startswith("http://soth.mitm/crl/") and len(points) == 1
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))

    def verified():
        status, kind, body = get(p, url.removeprefix("http://soth.mitm"))
        assert (status, kind) == (200, "application/pkix-crl")
        crl = x509.load_der_x509_crl(body)
        assert crl.next_update_utc - crl.last_update_utc > datetime.timedelta(days=30) and len(list(crl)) == 0
        (tmp_path / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        run([need("openssl"), "verify", "-x509_strict", "-crl_check", "-CAfile", tmp_path / "old.pem", "-CRLfile", tmp_path / "crl.pem", tmp_path / "leaf.pem"])
        return body

    assert verified() == get(p, "/ca.crl")[2], "it is not signed for each who asks"
    exported = x509.load_der_x509_crl(command(p, "export", "--format", "crl").stdout)
    assert exported.is_signature_valid(current(p).public_key())
    command(p, "rotate")
    p.hangup()
    before = verified()
    now = get(p, "/ca.crl")[2]
    assert now != before and x509.load_der_x509_crl(now).is_signature_valid(current(p).public_key())
    assert get(p, "/crl/00.crl")[0] == get(p, "/crl/.crl")[0] == get(p, "/crl/x")[0] == 404
