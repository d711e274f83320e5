# SPDX-License-Identifier: MPL-2.0
"""The event log as a reader sees it: segments, lines, the index beside it. Judging it is invariants.py's work."""
import json
import os
import pathlib


class Event(dict):
    """One line. .kind, .flow, .attrs; event.at("status_code") is an attribute or None."""

    @property
    def kind(self):
        return self["kind"]

    @property
    def flow(self):
        return self["flow_id"]

    @property
    def attrs(self):
        return self.get("attributes", {})

    def at(self, name):
        return self.attrs.get(name)

    def has(self, wanted):
        """Every wanted key stands in the envelope or the attributes with that value (text compared)."""
        return all(str(self[k] if k in self else self.attrs.get(k)) == str(v) for k, v in wanted.items())


class EventLog:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.index = pathlib.Path(str(path) + ".index.tsv")
        self._cache = {}  # segment -> [bytes read, events]

    def segments(self):
        """Files in the order in which they were written: (segment_id, path)."""
        parts = sorted(self.path.parent.glob(self.path.name + ".part[0-9]*"))
        found = [(0, self.path)] if self.path.exists() else []
        return found + [(int(p.name.rsplit("part", 1)[1]), p) for p in parts]

    def _segment(self, path):
        with open(path, "rb") as file:
            key = (path, os.fstat(file.fileno()).st_ino)
            size, events = self._cache.get(key, (0, []))
            file.seek(size)
            fresh = file.read()
        whole = fresh[:fresh.rfind(b"\n") + 1]
        if whole:
            events = events + [Event(json.loads(line)) for line in whole.splitlines()]
            self._cache[key] = (size + len(whole), events)
        return events

    def is_indexed(self):
        """Whether the index has a row for each line: they are written behind the lines."""
        rows = self.index.read_bytes().count(b"\n") - 1 if self.index.exists() else 0
        return rows == sum(path.read_bytes().count(b"\n") for _, path in self.segments())

    def events(self):
        """Every complete line so far."""
        return [event for _, path in self.segments() for event in self._segment(path)]

    def find(self, kind=None, **wanted):
        return [e for e in self.events() if (kind is None or e.kind == kind) and e.has(wanted)]


def flows(events):
    """flow_id -> its events in order; the process itself (flow 0) left out."""
    found = {}
    for event in events:
        if event.flow != 0:
            found.setdefault(event.flow, []).append(event)
    return found
