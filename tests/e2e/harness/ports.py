# SPDX-License-Identifier: MPL-2.0
"""Ports for programs that cannot be told to take any: below those that the system gives to whoever asks for any or connects, so that
nobody gets one between the look and the bind, or after it was given back."""
import random
import socket

LOWEST = 10000


def _first_given():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        return int(file.read().split()[0])


def free_port():
    """One of loopback on which nothing listens, nor will by chance."""
    draw, end = random.SystemRandom(), _first_given()
    for _ in range(100):
        port = draw.randrange(LOWEST, end) if end > LOWEST + 1000 else 0
        try:
            with socket.create_server(("127.0.0.1", port)) as one:
                return one.getsockname()[1]
        except OSError:
            continue
    raise AssertionError("a hundred ports of loopback were taken")
