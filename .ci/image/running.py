"""What docker-compose.yml comes to when it runs, by the lines of the README and beyond them."""

import json
import os
import pathlib
import re
import signal
import time

from tools import Failed, demand, docker, environment, equal, get, of_project, run, until

METRICS, HEALTH, API = 8086, 8087, 8400
KEY = "a-key-for-nothing-but-this-test"
# Docker stops waiting after `stop_grace_period`.
GRACE = 15
LETTERS = 20_000
# The last one is where this script takes letters to, as an alerter would.
QUEUES = ["mutt:dlq:alerter", "mutt:ingest_queue", "mutt:dlq:dead", "taken"]
# A drain that is long enough to be disturbed: about a thousand letters a second.
LONG_DRAIN = """
services:
  remediation:
    environment:
      REPLAY_PACE: fixed
      REMEDIATION_BATCH_SIZE: 50
      REMEDIATION_BATCHES_PER_CYCLE: 0
      REMEDIATION_BATCH_PAUSE_MS: 50
"""
FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('LPUSH', KEYS[1],
    '{"hostname":"sw1","timestamp":"2026-01-01T00:00:00Z","message":"link down","_retry_count":4,"id":' .. i .. '}')
end
return redis.call('LLEN', KEYS[1])
"""


TAKE = """
local taken = 0
while redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT') do taken = taken + 1 end
return taken
"""


class Stack:
    def __init__(self, checkout):
        self.checkout = pathlib.Path(checkout)
        self.settings = environment | {"REMEDIATION_API_KEY": KEY, "REMEDIATION_INTERVAL": "2"}
        self.files = []
        self.sent = 0

    def compose(self, *words, **options):
        return run("docker", "compose", *self.files, *words, cwd=self.checkout, env=self.settings, **options)

    def end(self):
        # In a session of its own: a second Ctrl-C is not for it.
        self.compose("down", "--volumes", "--timeout", "15", start_new_session=True)

    def shell(self, line):
        return run("bash", "-c", line, cwd=self.checkout, env=self.settings)

    def container(self, service):
        return json.loads(docker("inspect", self.compose("ps", "--all", "--quiet", service)))[0]

    def process(self, service="remediation"):
        pid = self.container(service)["State"]["Pid"]
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            command = b""
        demand(b"mutt-remediation" in command, f"process {pid} of {service} is not on this machine")
        return pid

    def health(self, service="remediation"):
        return self.container(service)["State"]["Health"]["Status"]

    def redis(self, *words):
        return self.compose("exec", "-T", "redis", "redis-cli", "--raw", *words)

    def depth(self, queue):
        return int(self.redis("LLEN", queue))

    def push(self, number):
        """Dead letters, each with a number of its own."""
        self.redis("EVAL", FILL, "1", QUEUES[0], self.sent + 1, self.sent + number)
        self.sent += number

    def take_all(self):
        """As an alerter would: what nobody takes holds up the adaptive pace."""
        self.redis("EVAL", TAKE, "2", "mutt:ingest_queue", "taken")
        return self.depth("taken")

    def metric(self, name):
        status, text = get(f"http://127.0.0.1:{METRICS}/metrics")
        found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return float(found[1]) if status == 200 and found else None

    def count(self):
        """Where each letter is; a failure if one is lost, or there twice."""
        where = {queue: [json.loads(line)["id"] for line in self.redis("LRANGE", queue, "0", "-1").splitlines()] for queue in QUEUES}
        numbers = [number for found in where.values() for number in found]
        demand(len(numbers) == len(set(numbers)), f"{len(numbers) - len(set(numbers))} letters are there twice")
        equal("the number of letters", len(numbers), self.sent)
        return {queue: len(found) for queue, found in where.items()}


def quick_start(stack):
    """The line below "With Docker" in the README that starts it, and those that follow in a block."""
    section = (stack.checkout / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("On Kubernetes")[0]
    [up] = re.findall(r"`(docker compose up[^`]*)`", section)
    [block] = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return up, re.sub(r"\\\n\s*", "", block).strip().splitlines()


def all_services_become_healthy(stack):
    """`docker compose up --build` of the README: Redis, Moogsoft's stand-in and the worker are healthy"""
    up, _ = quick_start(stack)
    began = time.monotonic()
    stack.shell(f"{up} --detach --wait --wait-timeout 120")
    for service in ["redis", "moogsoft", "remediation"]:
        equal(f"the health of {service}", stack.health(service), "healthy")
    return f"after {time.monotonic() - began:.0f} s"


def the_readme_is_right(stack):
    """the README's lines: a dead letter comes back, is counted on 8086, and 8087 says ready"""
    _, [push, take, count, ready] = quick_start(stack)
    equal("the answer to the first line", stack.shell(push), "1")
    until("the letter is in the ingest queue", 20, lambda: stack.depth("mutt:ingest_queue") == 1)
    letter = json.loads(stack.shell(take))
    equal("the letter's retry count", letter["_retry_count"], 0)
    equal("the letter's stamp", letter["_remediation_count"], 1)
    demand("mutt_remediation_replay_success_total 1" in stack.shell(count), "it is not counted")
    demand("200 OK" in stack.shell(ready), "it is not ready")


def the_operators_key_counts(stack):
    """the API on 8400 answers with the key, refuses without, and `exec` reaches the operator's commands"""
    url = f"http://127.0.0.1:{API}/api/v1/status"
    equal("the answer with the key", get(url, KEY)[0], 200)
    equal("the answer without a key", get(url)[0], 401)
    equal("the answer with another key", get(url, "another")[0], 401)
    demand("mutt:dlq:alerter" in stack.compose("exec", "-T", "remediation", "mutt-remediation", "status"), "status names no queue")


def only_this_machine_is_answered(stack):
    """three ports are published, on 127.0.0.1 alone"""
    ports = {port: bound for port, bound in stack.container("remediation")["NetworkSettings"]["Ports"].items() if bound}
    expected = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in (METRICS, HEALTH, API)}
    equal("what is published", ports, expected)
    for service in ["redis", "moogsoft"]:
        demand(not any(stack.container(service)["NetworkSettings"]["Ports"].values()), f"{service} is published")
    listening = set()
    for line in [line for file in ["tcp", "tcp6"] for line in pathlib.Path(f"/proc/net/{file}").read_text().splitlines()[1:]]:
        address, port = line.split()[1].split(":")
        if line.split()[3] == "0A" and int(port, 16) in (METRICS, HEALTH, API):
            listening.add((address, int(port, 16)))
    equal("what listens", listening, {("0100007F", port) for port in (METRICS, HEALTH, API)})


def it_is_confined(stack):
    """the kernel agrees: no capabilities, no new privileges, seccomp, user 65532, root read-only, 256 MiB"""
    for service, megabytes in [("remediation", 256), ("moogsoft", 64)]:
        pid = stack.process(service)
        status = dict(re.findall(r"^(\w+):\s*(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        capabilities = {name: int(value, 16) for name, value in status.items() if name.startswith("Cap")}
        equal(f"what {service} may do", capabilities, dict.fromkeys(capabilities, 0))
        demand("CapEff" in capabilities, f"the kernel does not say what {service} may do")
        equal(f"NoNewPrivs of {service}", status["NoNewPrivs"], "1")
        equal(f"Seccomp of {service}", status["Seccomp"], "2")
        for name in ["Uid", "Gid"]:
            equal(f"{name} of {service}", set(status[name].split()), {"65532"})
        root = [line.split() for line in pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines() if line.split()[1] == "/"]
        demand("ro" in root[-1][3].split(","), f"the root of {service} can be written to")
        equal(f"the memory of {service}", memory_limit(pid), megabytes << 20)


def memory_limit(pid):
    """In bytes, as the kernel has it."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for file in [f"memory{path}/memory.limit_in_bytes"] if controllers == "memory" else [f"{path[1:]}/memory.max"] if not controllers else []:
            limit = pathlib.Path("/sys/fs/cgroup") / file
            if limit.exists():
                return int(limit.read_text())
    raise Failed(f"process {pid} has no limit")


def an_outage_of_moogsoft_stops_it(stack):
    """Moogsoft stopped: within a minute nothing moves any more"""
    stack.compose("stop", "moogsoft")
    until("the probe fails", 90, lambda: stack.metric("mutt_remediation_moog_health") == 0)
    stack.push(3)
    loops = stack.metric("mutt_remediation_loops_total")
    until("three more passes", 30, lambda: stack.metric("mutt_remediation_loops_total") >= loops + 3)
    equal("the number of dead letters", stack.depth(QUEUES[0]), 3)


def redis_comes_back_with_its_letters(stack):
    """Redis stopped: healthy, not ready; started: ready, and every letter is there (the volume)"""
    stack.compose("stop", "redis")
    until("/ready is 503", 30, lambda: get(f"http://127.0.0.1:{HEALTH}/ready")[0] == 503)
    equal("/health", get(f"http://127.0.0.1:{HEALTH}/health")[0], 200)
    stack.compose("up", "--detach", "--no-recreate", "--wait", "redis")
    until("/ready is 200", 30, lambda: get(f"http://127.0.0.1:{HEALTH}/ready")[0] == 200)
    stack.count()


def the_end_of_an_outage_starts_it(stack):
    """Moogsoft started: the letters move"""
    stack.compose("up", "--detach", "--no-recreate", "--wait", "moogsoft")
    until("the letters are replayed and taken", 60, lambda: stack.take_all() == stack.sent)
    stack.count()


def a_standstill_is_seen(stack):
    """the process stopped in its tracks: unhealthy; let go on: healthy, without a restart"""
    pid = stack.process()
    os.kill(pid, signal.SIGSTOP)
    try:
        until("it is unhealthy", 90, lambda: stack.health() == "unhealthy")
    finally:
        os.kill(pid, signal.SIGCONT)
    until("it is healthy again", 60, lambda: stack.health() == "healthy")
    equal("the process", stack.process(), pid)


def nothing_was_written(stack):
    """nothing was written into the containers (docker diff)"""
    for service in ["remediation", "moogsoft"]:
        equal(f"what {service} wrote", docker("diff", stack.container(service)["Id"]), "")


def a_long_drain_begins(stack):
    """in batches of 50 without an end, 20,000 letters begin to move"""
    stack.compose("stop", "remediation")
    stack.push(LETTERS)
    override = stack.checkout / "target" / "long-drain.yml"
    override.parent.mkdir(exist_ok=True)
    override.write_text(LONG_DRAIN, encoding="utf-8")
    stack.files = ["--file", "docker-compose.yml", "--file", override]
    stack.compose("up", "--detach", "--no-deps", "remediation")


def a_killed_process_comes_back(stack):
    """SIGKILL in the middle of it: the restart policy brings it back, and it goes on"""
    until("it is in the middle", 60, lambda: (stack.metric("mutt_remediation_replay_success_total") or 0) > 1000)
    restarts = stack.container("remediation")["RestartCount"]
    os.kill(stack.process(), signal.SIGKILL)
    until("it is back", 30, lambda: stack.container("remediation")["RestartCount"] == restarts + 1)
    until("it goes on", 30, lambda: (stack.metric("mutt_remediation_replay_success_total") or 0) > 1000)
    demand(stack.depth(QUEUES[0]) > 0, "all letters were moved before it could be killed")


def it_ends_in_order(stack):
    """SIGTERM in the middle of it: code 0 within the grace period; every letter is there, and once"""
    began = time.monotonic()
    stack.compose("stop", "remediation")
    took = time.monotonic() - began
    state = stack.container("remediation")["State"]
    equal("the exit code", state["ExitCode"], 0)
    demand(took < GRACE, f"it took {took:.1f} s")
    where = stack.count()
    demand(where[QUEUES[0]] > 0, "all letters were moved before it was stopped")
    stack.compose("up", "--detach", "--no-deps", "remediation")
    until("it finishes what it had begun", 120, lambda: stack.take_all() == stack.sent)
    stack.count()
    return f"it took {took:.1f} s, with {where[QUEUES[0]]} of {stack.sent} letters to go"


def it_goes_without_a_trace(stack):
    """`docker compose down --volumes` leaves no container, volume or network"""
    stack.compose("down", "--volumes")
    for kind, left in of_project():
        equal(f"what docker {kind} shows", left, "")


CHECKS = [
    all_services_become_healthy,
    the_readme_is_right,
    the_operators_key_counts,
    only_this_machine_is_answered,
    it_is_confined,
    an_outage_of_moogsoft_stops_it,
    redis_comes_back_with_its_letters,
    the_end_of_an_outage_starts_it,
    a_standstill_is_seen,
    nothing_was_written,
    a_long_drain_begins,
    a_killed_process_comes_back,
    it_ends_in_order,
    it_goes_without_a_trace,
]
