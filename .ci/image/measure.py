"""How big the image is, and how long it takes to its first sign of life."""

import gzip
import statistics
import subprocess
import time

from tools import docker, environment, get, until

STARTS = 10


def sizes(tag):
    """In bytes: unpacked, and as a registry would hold it."""
    unpacked = int(docker("image", "inspect", "--format", "{{.Size}}", tag))
    with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE, env=environment) as saved:
        compressed = len(gzip.compress(saved.stdout.read(), 6))
    return unpacked, compressed


def start(tag):
    """Seconds from `docker start` to the first 200 of /health; no Redis is needed for that."""
    container = docker("create", "--read-only", "--publish=127.0.0.1::8087", tag)
    try:
        began = time.monotonic()
        docker("start", container)
        port = docker("port", container, "8087").rsplit(":", 1)[1]
        until("/health answers", 30, lambda: soon(f"http://127.0.0.1:{port}/health"))
        return time.monotonic() - began
    finally:
        docker("rm", "--force", container)


def soon(url):
    """A closer look than `until` takes by itself."""
    for _ in range(50):
        if get(url)[0] == 200:
            return True
        time.sleep(0.002)
    return False


def figures(tag):
    unpacked, compressed = sizes(tag)
    times = sorted(start(tag) for _ in range(STARTS))
    return (
        f"{unpacked / 1e6:.1f} MB unpacked, {compressed / 1e6:.1f} MB compressed; from docker start to the first 200 of /health "
        f"{statistics.median(times):.2f} s (median of {STARTS}, {times[0]:.2f} to {times[-1]:.2f})"
    )
