# SPDX-License-Identifier: MPL-2.0
"""soth-mitm itself, in the configurations that have a row: interception with events to sink_file (the one that the goals
speak of), without events, with further modules, in reverse mode, with two workers, and as a tunnel."""

import json
import os
import re
import shutil
import subprocess

from programs import Program, Unavailable, write


class Soth(Program):
    name, way, ours = "soth", "connect", True
    events, workers, reverse, policy = True, 1, False, "default: intercept"
    decoders, http2 = (), "never"  # a reverse listener would ask its origin for HTTP/2

    def prepare(self):
        self.binary = os.path.join(self.bench.prefix, "bin", "soth-mitm")
        certs = self.bench.certs
        shutil.rmtree(f"{self.dir}/conf.d", ignore_errors=True)
        os.makedirs(f"{self.dir}/conf.d", mode=0o755)
        write(f"{self.dir}/conf.d/10-policy.yaml",
              f"module: policy_rules\nenabled: true\nconfig: {{{self.policy}}}\n")
        if self.events:
            write(f"{self.dir}/conf.d/50-sink.yaml",
                  f"module: sink_file\nenabled: true\nevents: [all]\nconfig: {{path: {self.dir}/events.jsonl}}\n")
        self.add_modules()
        listen = f"addr: 127.0.0.1, port: {self.port}"
        route = ""
        if self.reverse:
            listen += ", mode: reverse, tls: true"
            route = f"reverse_upstream: {{host: localhost, port: {self.origin.port}, tls: true}}\nupstream_http2: {self.http2}\n"
        write(f"{self.dir}/soth-mitm.yaml", f"listen: [{{{listen}}}]\nworkers: {self.workers}\n{route}"
              f"conf_d: conf.d\nca: {{cert_path: {certs.ca}, key_path: {certs.ca_key}}}\n"
              f"upstream_ca_file: {certs.ca}\n")

    def add_modules(self):
        for name in self.decoders:
            write(f"{self.dir}/conf.d/20-{name}.yaml", f"module: {name}\nenabled: true\n")

    def command(self):
        return [self.binary, "run", "-c", f"{self.dir}/soth-mitm.yaml"]

    def environment(self):
        return {**os.environ, "SOTH_MITM_AUTOMATION_STATUS_PATH": f"{self.dir}/status.jsonl"}

    def ready(self):
        """True once the running/ready status line has been written."""
        try:
            with open(f"{self.dir}/status.jsonl") as f:
                return any(json.loads(line).get("outcome") == "ready" for line in f)
        except (OSError, ValueError):
            return False

    def complaints(self):
        """Whether the sink kept up: a bench in which it lost events would flatter us."""
        log = f"{self.dir}/events.jsonl"
        if not os.path.exists(log):
            return []
        grep = subprocess.run(["grep", "-c", '"kind":"events_lost"', log], capture_output=True, text=True)
        count = int(grep.stdout or 0)
        return [f"{self.name}: {count} times the sink lost events"] if count else []

    def cleanup(self):
        for name in os.listdir(self.dir):
            if name.startswith("events.jsonl") or name == "status.jsonl":
                os.unlink(os.path.join(self.dir, name))


class NoEvents(Soth):
    name, events = "soth-noev", False


class Reverse(Soth):
    name, way, reverse = "soth-rev", "direct", True


class ReverseNoEvents(Reverse):
    name, events = "soth-rev-noev", False


class TwoWorkers(Soth):
    name, workers = "soth-w2", 2


class Tunnel(Soth):
    name, policy = "soth-tunnel", "default: intercept, ignore_hosts: [localhost]"


class ReverseH1(Reverse):
    """What HTTP/2 is compared with: the same requests in HTTP/1."""

    name, load = "soth-rev-h1", "load"


class ReverseH2(Reverse):
    """HTTP/2 on both sides."""

    name, http2 = "soth-h2", "mirror"


class ReverseH2NoEvents(ReverseH2):
    name, events = "soth-h2-noev", False


class ReverseGrpc(ReverseH2):
    name, decoders = "soth-h2-grpc", ("grpc",)


class ReverseH2Waiting(ReverseH2):
    """The same in front of an origin that does not answer."""

    name, waits = "soth-h2-waiting", True


class ReverseH2Bare(ReverseH2Waiting):
    name, events = "soth-h2-bare", False


class ReverseH2Shipped(ReverseH2Waiting):
    """With every module of the shipped conf.d that is on in it."""

    name, events = "soth-h2-shipped", False

    def add_modules(self):
        shipped = os.path.join(self.bench.prefix, "etc", "soth-mitm", "conf.d")
        if not os.path.isdir(shipped):
            raise Unavailable(f"no {shipped}")
        os.unlink(f"{self.dir}/conf.d/10-policy.yaml")
        for name in os.listdir(shipped):
            with open(os.path.join(shipped, name)) as f:
                text = re.sub(r"path: /\S*/events.jsonl", f"path: {self.dir}/events.jsonl", f.read())
            write(f"{self.dir}/conf.d/{name}", text)


class Stream(Soth):
    """Streams with every decoder that sees them."""

    name, streams, decoders = "soth-stream", True, ("content_decode", "sse", "ndjson", "ws", "antihijack")


class StreamBare(Stream):
    """The same without decoders."""

    name, decoders = "soth-bare", ()


class StreamNoEvents(Stream):
    """Every decoder, and nobody who listens: what reading alone costs."""

    name, events = "soth-stream-noev", False


class Modules(Soth):
    """Interception with the modules of --modules DIR (decoders, say) beside the usual ones."""

    name = "soth-modules"

    def add_modules(self):
        for name in os.listdir(self.bench.modules):
            if name.endswith(".yaml"):
                with open(os.path.join(self.bench.modules, name)) as f:
                    write(f"{self.dir}/conf.d/{name}", f.read())


ALL = [Soth, NoEvents, Reverse, ReverseNoEvents, TwoWorkers, Tunnel, ReverseH1, ReverseH2, ReverseH2NoEvents, ReverseH2Waiting, ReverseH2Bare, ReverseH2Shipped, ReverseGrpc, Stream, StreamBare, StreamNoEvents, Modules]
