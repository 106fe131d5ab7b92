"""Runs commands, waits for conditions and keeps count of the checks."""

import functools
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# What is kept from one run to the next.
HOME = ROOT / "target" / "ci" / "image"
# Beside a stack that somebody else runs by the same compose file, whose volumes are not this script's to remove.
PROJECT = f"mutt-image-{os.getpid()}"
# What every command gets; the engine adds where it listens.
environment = dict(os.environ) | {"DOCKER_BUILDKIT": "1", "COMPOSE_PROJECT_NAME": PROJECT}


class Failed(Exception):
    """Something is not as it should be, in one sentence."""


def run(*command, **options):
    """What the command printed, its errors among it; that it ends with another code than 0 is a failure."""
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "env": environment, "text": True}
    words = [str(word) for word in command]
    done = subprocess.run(words, **(usual | options))
    if done.returncode:
        said = done.stdout if isinstance(done.stdout, str) else ""
        raise Failed(f"'{' '.join(words)}' ended with {done.returncode}: {said.strip()[-3000:]}")
    return done.stdout.strip() if isinstance(done.stdout, str) else done.stdout


def works(*command):
    try:
        run(*command)
    except (Failed, FileNotFoundError):
        return False
    return True


def docker(*words, **options):
    return run("docker", *words, **options)


def of_project():
    """What the engine has of this run's stack, by the command that shows it."""
    for kind in ["ps --all", "volume ls", "network ls"]:
        yield kind, docker(*kind.split(), "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")


def all_of(steps):
    """Takes every step, whatever becomes of the others, and then tells of all that failed."""
    failures = []
    for step, *arguments in steps:
        try:
            step(*arguments)
        except (Failed, OSError) as failure:
            failures.append(str(failure))
    demand(not failures, "; ".join(failures))


def until(expected, seconds, look):
    """What `look` returned, as soon as that is anything; a failure if it is not within so many seconds."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {expected}")
        time.sleep(0.1)
    return found


def get(url, key=None):
    """Status and text of an answer; a status of 0 where there is none."""
    request = urllib.request.Request(url, headers={"X-API-KEY": key} if key else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def demand(condition, otherwise):
    if not condition:
        raise Failed(otherwise)


def equal(what, found, expected):
    demand(found == expected, f"{what} is {found!r} and not {expected!r}")


class Tally:
    """Carries out checks, each of which says with its first line what it makes sure of."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, check, *arguments):
        began = time.monotonic()
        said = (check.__doc__ or check.__name__).split("\n")[0]
        try:
            note = check(*arguments)
        except Failed as failure:
            self.failed += 1
            print(f"FAILED  {said}\n        {failure}", flush=True)
            return False
        self.passed += 1
        print(f"ok      {said}{f': {note}' if note else ''} ({time.monotonic() - began:.0f} s)", flush=True)
        return True


def say(text):
    print(f"image: {text}", flush=True)


@functools.cache
def manifest():
    import tomllib

    return tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
