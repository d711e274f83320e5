# SPDX-License-Identifier: MPL-2.0
"""Prefixes before JSON: told, and with `rewrite` taken away from what clients get."""
import json

import pytest

from harness.origin import reply
from harness.streams import Paced, coded

DECODE = {"module": "content_decode"}


def answers(body, coding="", content_type="application/json"):
    fields = [("Content-Type", content_type)] + ([("Content-Encoding", coding)] if coding else [])
    return lambda wire, request: wire.send(reply(body=coded(coding, body), fields=fields))


def ask(p, server, path="/j"):
    with p.client().connect(f"origin.test:{server.port}") as client:
        answer = client.ask("GET", path, "origin.test")
    p.wait_closed()
    return answer


@pytest.mark.parametrize("coding", ["", "gzip", "br"])
@pytest.mark.parametrize("prefix", [")]}'\n", ")]}'", "while(1);", "for (;;);", "{}&&"])
def test_observers_are_told_and_the_wire_is_untouched(proxy, origin, coding, prefix):
    body = prefix.encode() + json.dumps({"rows": list(range(20000))}).encode()
    server, p = origin(routes={"/j": answers(body, coding)}), proxy(extra_modules=[DECODE, {"module": "antihijack"}])
    answer = ask(p, server)
    assert answer.body == coded(coding, body) and answer.head.get("Content-Length") == str(len(answer.body))
    event = p.wait_event("payload_sanitized")
    assert event.attrs == {"direction": "server_to_client", "exchange_no": "1", "sanitized": "true", "sanitized_prefix": prefix.strip(),
                           "sanitized_provenance": "view"}


@pytest.mark.parametrize("body,content_type,told", [
    (b'{"a": 1}', "application/json", "false"), (b")]}'\nalert(1)", "application/json", "false"), (b"while(1);run()", "text/javascript", None),
    (b")]}'\n{}", "text/html", None), (b"true", "application/problem+json", "false")])
def test_what_has_no_prefix(proxy, origin, body, content_type, told):
    server, p = origin(routes={"/j": answers(body, "", content_type)}), proxy(extra_modules=[{"module": "antihijack"}])
    assert ask(p, server).body == body
    events = p.log.find("payload_sanitized")
    assert [(e.at("sanitized"), e.at("sanitized_prefix")) for e in events] == ([(told, None)] if told else [])


@pytest.mark.parametrize("chunked", [False, True])
def test_clients_get_clean_json(proxy, origin, chunked):
    value = {"rows": ["x" * 100] * 1000}
    body = b"\xef\xbb\xbf)]}'\r\n" + json.dumps(value).encode()
    route = Paced([body[i:i + 1] for i in range(12)] + [body[12:]], content_type="application/json") if chunked else answers(body)
    if chunked:
        route.go(99)
    server, p = origin(routes={"/j": route}), proxy(extra_modules=[{"module": "antihijack", "config": {"rewrite": True}}])
    answer = ask(p, server)
    assert json.loads(answer.body) == value
    assert answer.head.get("Transfer-Encoding") == "chunked" and answer.head.get("Content-Length") is None
    event = p.wait_event("payload_sanitized")
    assert (event.at("sanitized"), event.at("sanitized_provenance")) == ("true", "wire")


def test_what_is_coded_stays_as_it_is_when_clients_are_rewritten_for(proxy, origin):
    """Two instances: one for clients, one for those who look on."""
    body = b")]}'\n[1]"
    server = origin(routes={"/j": answers(body, "gzip"), "/plain": answers(body)})
    p = proxy(extra_modules=[DECODE, {"module": "antihijack", "name": "clients", "config": {"rewrite": True}}, {"module": "antihijack", "name": "observers"}])
    assert ask(p, server).body == coded("gzip", body)
    assert [e.at("sanitized_provenance") for e in p.log.find("payload_sanitized")] == ["view"]
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("GET", "/plain", "origin.test").body == b"[1]"
    p.wait_closed(2)
    assert [(e.at("sanitized"), e.at("sanitized_provenance")) for e in p.log.find("payload_sanitized")][1:] == [("true", "wire"), ("false", None)]


def test_what_follows_is_not_decoded_for_nobody(proxy, origin):
    """Once the beginning is known, nobody looks at the rest of the view any more."""
    from harness.modules import metrics
    body = b")]}'\n" + json.dumps(["x" * 50] * 100000).encode()
    server, p = origin(routes={"/j": answers(body, "gzip")}), proxy(extra_modules=[DECODE, {"module": "antihijack"}])
    assert ask(p, server).body == coded("gzip", body)
    out = sum(v for (name, labels), v in metrics(p).items() if name == "soth_decoder_bytes_out_total" and "antihijack" in labels)
    assert 0 < out < 200000, "it has seen the beginning alone"
