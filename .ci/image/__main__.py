"""Builds the image from a clean checkout, runs docker-compose.yml, and tries what the documents say of both.

    .ci/setup image && python3 .ci/image

KEEP=1        the engine that it starts, and what was built in it, stay for the next run, which then takes seconds; a run without it ends them
REPRODUCE=1   builds a second time, from nothing, and compares the two programs
As root; an engine that answers is used, else one is started. docs/image.md says what is checked and what is imitated.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import bases
import built
import engine
import measure
import running
from tools import HOME, ROOT, Failed, Tally, all_of, docker, environment, manifest, run, say

KEEP = os.environ.get("KEEP")
REPRODUCE = os.environ.get("REPRODUCE")
# What the compose file calls its image.
DEV = "mutt-remediation:dev"
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def checkout(folder):
    """What somebody would get who cloned this, with the changes that are not committed yet to files that git knows."""
    run("git", "clone", "--quiet", "--shared", ROOT, folder)
    changes = run("git", "-C", ROOT, "diff", "HEAD", "--binary", text=False)
    if changes:
        say("NOTE: with the changes that are not committed yet, but without files that git does not know")
        subprocess.run(["git", "-C", folder, "apply", "--index", "-"], input=changes, check=True)
    # The tools that were compiled here before.
    (pathlib.Path(folder) / "target").mkdir()
    (pathlib.Path(folder) / "target/ci").symlink_to(ROOT / "target/ci")


class Work:
    """What is to be undone at the end, whatever happened."""

    def __init__(self, chosen):
        self.engine, self.stack, self.tags = chosen, None, []

    def claim(self, name):
        self.engine.claim(name)
        self.tags.append(name)

    def end(self):
        """what was begun is ended and removed, but what KEEP=1 keeps"""
        go_on_whatever_comes()
        stack = [(self.stack.end,)] if self.stack else []
        all_of([*stack, (self.engine.end, self.tags)])


def build(work, folder):
    """Under the name that `make image` gives it."""
    tag = f"mutt-remediation:{manifest()['package']['version']}"
    for name in [tag, DEV]:
        work.claim(name)
    say("building the image, which takes minutes the first time")
    log = run("make", "image", cwd=folder)
    (HOME / "build.log").write_text(log)
    sent = re.findall(r"transferring context: (\S+)", log)
    say(f"what is sent to the builder: {', '.join(sent)}")
    return tag


def reproduced(work, folder, tag):
    """built once more, from nothing, and in an engine of our own by the older builder: the same program to the last byte"""
    second = f"{tag}-again"
    work.claim(second)
    run("docker", "build", "--no-cache", "--tag", second, folder, env=environment | work.engine.second_builder)
    one, other = built.digest(tag), built.digest(second)
    docker("image", "rm", second)
    if one != other:
        raise Failed(f"sha256 {one} and {other}")
    return f"sha256 {one}"


def trial(work, tally, folder):
    sources = [pathlib.Path(folder) / name for name in ["Dockerfile", "docker-compose.yml"]]
    imitated = bases.provide(*sources, work.tags)
    tag = build(work, folder)
    image = built.Image(folder, tag, bases.final(sources[0]))
    for check in built.CHECKS:
        tally.check(check, image)
    say(f"the program has sha256 {built.digest(tag)}")
    say(measure.figures(tag))
    work.stack = running.Stack(folder)
    for check in running.CHECKS:
        if not tally.check(check, work.stack):
            print(work.stack.compose("logs", "--no-color", "--tail", "20", "remediation"), flush=True)
            # What does not start tells nothing more.
            if check is running.CHECKS[0]:
                break
    if REPRODUCE:
        tally.check(reproduced, work, folder, tag)
    for name, how in imitated.items():
        say(f"NOTE: {name} was imitated: {how}")


def go_on_whatever_comes():
    # A second Ctrl-C would leave half of it behind.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def interrupted(number, _frame):
    go_on_whatever_comes()
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    if os.geteuid():
        sys.exit("image: only root may look at what the kernel says of containers, and start an engine; run it as root")
    for number in ENDING:
        signal.signal(number, interrupted)
    HOME.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    try:
        work = Work(engine.choose(KEEP))
    except Failed as failure:
        sys.exit(f"image: {failure}")
    try:
        with tempfile.TemporaryDirectory(dir=HOME, prefix="checkout-") as folder:
            try:
                work.engine.start()
                checkout(folder)
                trial(work, tally, folder)
            except (Failed, subprocess.CalledProcessError) as failure:
                tally.failed += 1
                print(f"FAILED  {failure}", flush=True)
            except KeyboardInterrupt:
                tally.failed += 1
                print("FAILED  interrupted; what it began is ended and removed now", flush=True)
            finally:
                tally.check(work.end)
    finally:
        if work.engine.kept:
            say("kept the engine; `make test-image` without KEEP ends it")
        else:
            tally.check(work.engine.demand_nothing_left)
    print(f"image: {tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
