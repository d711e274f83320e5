# SPDX-License-Identifier: MPL-2.0
"""Subscriptions: what nobody wants counts in its flow all the same, and changes nothing for the traffic."""


def exchange(p, server):
    with p.client().connect(f"origin.test:{server.port}") as client:
        assert client.ask("POST", "/echo", "origin.test", body=b"x" * 1000).status == 200
        assert client.ask("GET", "/chunked/50000", "origin.test").status == 200


def test_the_same_event_has_the_same_number_whoever_listens(proxy, origin):
    server, everything, ends = origin(), proxy(), proxy(sink_top={"events": ["stream_closed"]})
    ends.checks["complete"] = False
    for p in (everything, ends):
        exchange(p, server)
        p.wait_closed()
    chunks = len(everything.log.find("response_body_chunk"))
    assert [e.kind for e in ends.events()] == ["stream_closed"]
    close = ends.events()[0]
    assert close.attrs == everything.log.find("stream_closed")[0].attrs
    # the cutting of a body into chunks may differ between two runs
    assert abs(close["flow_sequence_id"] - everything.log.find("stream_closed")[0]["flow_sequence_id"]) <= chunks


def test_kinds_and_groups(proxy, origin):
    server, p = origin(), proxy(sink_top={"events": ["body", "request_headers"]})
    p.checks["complete"] = False
    exchange(p, server)
    p.stop()
    assert {e.kind for e in p.events()} == {"request_headers", "request_body_chunk", "response_body_chunk"}
    assert [e.at("exchange_no") for e in p.log.find("request_headers")] == ["1", "2"]
