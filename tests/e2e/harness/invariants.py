# SPDX-License-Identifier: MPL-2.0
"""What is true of every event log, whatever the traffic was: schema, order of keys, order of events, one close a flow, the
index. Each finding is a sentence; an empty list is a sound log."""
import json

import jsonschema

from .eventlog import flows

KEYS = ["schema", "sequence_id", "flow_id", "flow_sequence_id", "parent_flow_id", "kind", "protocol", "stream_key",
        "client_addr", "server_host", "server_port", "monotonic_ns", "unix_ms", "run_id", "attributes"]
ALWAYS = ["schema", "sequence_id", "flow_id", "flow_sequence_id", "kind"]
INDEX = "sequence_id flow_id flow_sequence_id kind protocol stream_key segment_id byte_offset line_bytes".split()
REASONS = set("""blocked connect_parse_failed tls_handshake_failed route_planner_failed upstream_connect_failed relay_eof
relay_error idle_watchdog_timeout stream_stage_timeout mitm_http_completed mitm_http_error websocket_completed
websocket_error budget_exceeded client_aborted shutdown_drain""".split())
PHASES = set("connect peek dial tls_client tls_origin request_head request_body response_head response_body idle tunnel ws sse".split())
TIMED = {"duration_ms", "started_at_unix_ms", "ended_at_unix_ms"}


def check_schema(events, schema):
    """Validates against the installed schema, every distinct line once (sequence numbers aside)."""
    validator = jsonschema.validators.validator_for(schema)(schema)
    found, seen = [], set()
    for event in events:
        shape = json.dumps({k: v for k, v in event.items() if k not in ("sequence_id", "flow_id", "flow_sequence_id", "stream_key",
                                                                        "parent_flow_id", "client_addr")}
                           | {"attributes": {k: v for k, v in event.attrs.items() if k not in ("offset", "bytes", "http2_stream_id")}})
        types = tuple(type(event.get(k)).__name__ for k in KEYS)
        if (shape, types) in seen:
            continue
        seen.add((shape, types))
        error = jsonschema.exceptions.best_match(validator.iter_errors(event))
        if error is not None:
            found.append(f"schema: {error.message[:300]} in {json.dumps(event)[:400]}")
    return found


def check_lines(events, timestamps=False):
    found = []
    last = 0
    for event in events:
        keys = list(event)
        if keys != [k for k in KEYS if k in event] and set(keys) <= set(KEYS):
            pos = keys.index("attributes") if "attributes" in keys else None
            if not timestamps or pos is None:
                found.append(f"keys out of order: {keys}")
        if set(keys) - set(KEYS):
            found.append(f"unknown keys {set(keys) - set(KEYS)}")
        for key in ALWAYS:
            if key not in event:
                found.append(f"{key} is missing: {dict(event)}")
        if event.get("schema") != "soth-mitm-event-log-v2":
            found.append(f"schema is {event.get('schema')}")
        if not timestamps and (set(keys) & {"monotonic_ns", "unix_ms", "run_id"} or set(event.attrs) & TIMED):
            found.append(f"a time without with_timestamps: {dict(event)}")
        names = list(event.attrs)
        if names != sorted(names):
            found.append(f"attributes not sorted: {names}")
        if not all(isinstance(v, str) and v != "" for v in event.attrs.values()):
            found.append(f"attribute that is no text or empty: {event.attrs}")
        if event["sequence_id"] == 1:
            last = 0  # another process goes on with the log
        if event["sequence_id"] <= last:
            found.append(f"sequence_id {event['sequence_id']} after {last}")
        last = event["sequence_id"]
    return found


def check_complete(events):
    """For a sink that gets all events and lost none: numbers have no gap, from 1."""
    numbers = [e["sequence_id"] for e in events]
    return [] if numbers == list(range(1, len(numbers) + 1)) else [f"sequence_id is not 1..{len(numbers)}: {numbers[:20]}"]


def _check_exchange(flow_id, number, events):
    found = []

    def first(kind, **wanted):
        return next((i for i, e in enumerate(events) if e.kind == kind and e.has(wanted)), None)

    order = [("request_headers", "request_body_chunk"), ("request_body_chunk", "request_trailers"),
             ("request_headers", "response_headers"), ("response_headers", "response_body_chunk"),
             ("response_body_chunk", "response_trailers")]
    for earlier, later in order:
        a, b = first(earlier), first(later)
        if b is not None and earlier.endswith("headers") and (a is None or a > b):
            found.append(f"flow {flow_id} exchange {number}: {later} without or before {earlier}")
        if a is not None and b is not None and later.endswith("trailers"):
            if max(i for i, e in enumerate(events) if e.kind == earlier) > b:
                found.append(f"flow {flow_id} exchange {number}: {earlier} after {later}")
    for side in ("request", "response"):
        heads = [e for e in events if e.kind == side + "_headers" and e.at("interim") != "true"]
        if len(heads) > 1:
            found.append(f"flow {flow_id} exchange {number}: {len(heads)} {side}_headers")
        at, over = 0, False
        for chunk in (e for e in events if e.kind == side + "_body_chunk"):
            if chunk.at("offset") is not None and int(chunk.at("offset")) != at:
                found.append(f"flow {flow_id} exchange {number}: {side} chunk at {chunk.at('offset')}, expected {at}")
                break
            if over or (chunk.at("bytes") == "0" and chunk.at("last") != "true"):
                found.append(f"flow {flow_id} exchange {number}: {side} chunk {'after the last one' if over else 'of nothing'}")
                break
            at += int(chunk.at("bytes"))
            over = chunk.at("last") == "true"
    return found


def check_flow(flow_id, events, closed=True):
    found = []
    numbers = [e["flow_sequence_id"] for e in events]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"flow {flow_id}: flow_sequence_id is {numbers[:20]}, not 1..{len(numbers)}")
    kinds = [e.kind for e in events]
    if closed and kinds.count("stream_closed") != 1:
        found.append(f"flow {flow_id}: {kinds.count('stream_closed')} stream_closed: {kinds}")
    if "stream_closed" in kinds[:-1]:
        found.append(f"flow {flow_id}: stream_closed is not last: {kinds}")
    rank = {"connect_received": 0, "connect_decision": 1, "tls_handshake_started": 2, "request_headers": 3}
    firsts = [(kinds.index(k), r) for k, r in rank.items() if k in kinds]
    if sorted(firsts) != sorted(firsts, key=lambda f: f[1]):
        found.append(f"flow {flow_id}: events in a wrong order: {kinds}")
    for kind in ("tls_handshake_succeeded", "tls_handshake_failed"):
        for at, event in enumerate(events):
            peer = event.at("peer")
            if event.kind == kind and not any(e.kind == "tls_handshake_started" and e.at("peer") == peer for e in events[:at]):
                found.append(f"flow {flow_id}: {kind} {peer} without tls_handshake_started")
    received, decided = kinds.count("connect_received"), kinds.count("connect_decision")
    if decided > received:
        found.append(f"flow {flow_id}: {decided} decisions for {received} connect_received")
    exchanges = {}
    for event in events:
        exchanges.setdefault(event.at("exchange_no"), []).append(event)
    for number, members in exchanges.items():
        if number is not None:
            found += _check_exchange(flow_id, number, members)
    for event in events:
        if event.kind == "stream_closed":
            found += _check_close(flow_id, event)
    return found


def _check_close(flow_id, event):
    reason, detail = event.at("reason_code"), event.at("reason_detail")
    found = [] if reason in REASONS else [f"flow {flow_id}: reason_code {reason}"]
    if reason in ("client_aborted", "idle_watchdog_timeout") and detail not in PHASES:
        found.append(f"flow {flow_id}: {reason} with detail {detail}, which is no phase")
    for name in ("bytes_from_client", "bytes_from_server"):
        if event.at(name) is None:
            found.append(f"flow {flow_id}: stream_closed without {name}")
    return found


def check_index(log):
    found = []
    rows = log.index.read_bytes().decode().splitlines()
    if not rows or rows[0].split("\t") != INDEX:
        return [f"index header is {rows[:1]}"]
    segments = {number: path.read_bytes() for number, path in log.segments()}
    counted = 0
    for row in rows[1:]:
        cells = dict(zip(INDEX, row.split("\t")))
        if int(cells["segment_id"]) not in segments:
            found.append(f"the index has a row of segment {cells['segment_id']}, which is not there")
            continue
        counted += 1
        data, at = segments[int(cells["segment_id"])], int(cells["byte_offset"])
        try:
            event = json.loads(data[at:at + int(cells["line_bytes"])])
        except ValueError:
            found.append(f"index row does not point at a line: {row}")
            continue
        if at and data[at - 1:at] != b"\n":
            found.append(f"index row does not point at a line's start: {row}")
        for key in INDEX[:6]:
            if str(event.get(key, "")) not in (cells[key], cells[key].strip("-")):
                found.append(f"index says {key}={cells[key]}, the line {event.get(key)}")
    lines = sum(data.count(b"\n") for data in segments.values())
    if counted != lines:
        found.append(f"{counted} index rows for {lines} lines")
    return found


def check_log(log, schema, complete=True, closed=True, timestamps=False, index=True):
    """All of it; returns the findings."""
    events = log.events()
    found = check_lines(events, timestamps)
    if schema is not None:
        found += check_schema(events, schema)
    if complete:
        found += check_complete(events)
        for flow_id, members in flows(events).items():
            found += check_flow(flow_id, members, closed)
    if index and events:
        found += check_index(log)
    return found
