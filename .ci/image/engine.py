"""The engine: the one that answers, or one of our own."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import machine
from tools import HOME, ROOT, Failed, all_of, demand, docker, environment, of_project, run, say, until, works

# The plugins that .ci/setup has fetched, where docker has none.
CONFIG = ROOT / "target" / "ci" / "docker" / "config"
# A socket's path has to be short, and two checkouts must not meet.
RUN = pathlib.Path("/run") / f"mutt-image-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
DATA = HOME / "engine"
STORAGE = ["overlay2", "fuse-overlayfs", "vfs"]


def prepare():
    """Where docker looks for its plugins, unless it has them."""
    if CONFIG.is_dir():
        environment["DOCKER_CONFIG"] = str(CONFIG)
    for plugin in ["buildx", "compose"]:
        if not works("docker", plugin, "version"):
            raise Failed(f"docker has no {plugin}; run: .ci/setup image")


def nameless():
    """Images of this project that have lost their name to a newer one."""
    title = "label=org.opencontainers.image.title=mutt-remediation"
    return set(docker("image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true", "--filter", title).split())


class Running:
    """An engine that others have started, and that goes on afterwards."""

    kept = False
    # The older builder would leave the images of its steps behind.
    second_builder = {"DOCKER_BUILDKIT": "1"}

    def start(self):
        self.nameless = nameless()
        say(f"taking the engine that answers, {docker('version', '--format', '{{.Server.Version}}')}")

    def claim(self, name):
        """A name that this run gives, and takes away again."""
        demand(not works("docker", "image", "inspect", name), f"the engine has an image {name} already; remove it first")

    def end(self, tags):
        named = [(docker, "image", "rm", tag) for tag in tags if works("docker", "image", "inspect", tag)]
        # Two services build the same image, and the second takes the name from the first.
        all_of([*named, *((docker, "image", "rm", image) for image in nameless() - self.nameless)])

    def demand_nothing_left(self):
        """nothing of this run's stack is left in the engine"""
        for kind, left in of_project():
            demand(not left, f"docker {kind} still has {left}")


class Own:
    """dockerd by hand, as root, with everything of its own in two folders."""

    folders = [RUN, DATA]
    # Whatever it leaves behind goes with the engine.
    second_builder = {"DOCKER_BUILDKIT": "0"}

    def __init__(self, keep):
        self.keep, self.answers, self.before = keep, False, None
        self.before_file = DATA / "before.json"

    @property
    def kept(self):
        return self.keep and self.answers

    def start(self):
        environment["DOCKER_HOST"] = f"unix://{RUN}/socket"
        # Of a run with KEEP=1, or one that was killed: the machine before that is what counts.
        self.before = self.noted()
        if self.before and works("docker", "version"):
            say("going on with the engine that was kept")
            self.answers = True
            # A run that was killed has left its stack, on the ports that are needed now.
            if left := docker("ps", "--all", "--quiet"):
                docker("rm", "--force", "--volumes", *left.split())
            return
        if not self.before:
            self.before = machine.picture()
            DATA.mkdir(parents=True, exist_ok=True)
            self.before_file.write_text(json.dumps({"boot": machine.boot(), "machine": self.before}))
        end_all()
        RUN.mkdir(exist_ok=True)
        for storage in STORAGE:
            if self.started(storage):
                say(f"started dockerd {docker('version', '--format', '{{.Server.Version}}')} with {storage}")
                self.answers = True
                return
        raise Failed(f"dockerd does not start: {(DATA / 'log').read_text()[-3000:]}")

    def noted(self):
        """The machine before the engine, if that was written down since the machine was started."""
        if self.before_file.exists():
            noted = json.loads(self.before_file.read_text())
            return noted["machine"] if noted.get("boot") == machine.boot() else None
        return None

    def claim(self, name):
        """Whatever is called so here is an earlier run's."""

    def started(self, storage):
        command = ["dockerd", "--host", environment["DOCKER_HOST"], "--data-root", DATA / "data", "--exec-root", RUN / "exec"]
        command += ["--pidfile", RUN / "pid", "--storage-driver", storage, "--log-level", "warn"]
        (RUN / "pid").unlink(missing_ok=True)
        with (DATA / "log").open("w") as log:
            # In a session of its own: a Ctrl-C is for this script, which then ends the engine in order.
            engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        # Reaped when it ends, or it would be in the way of the next one.
        until("dockerd answers or ends", 60, lambda: engine.poll() is not None or works("docker", "version"))
        return engine.poll() is None

    def end(self, _tags):
        if self.before and not self.kept:
            all_of(self.ending())

    def ending(self):
        """Steps, each of which is looked for when those before it are taken."""
        yield (end_all,)
        for mount in machine.mounts(self.folders):
            yield (run, "umount", mount)
        yield from machine.undoing(self.before)
        for folder in self.folders:
            if folder.exists():
                yield (remove, folder)

    def demand_nothing_left(self):
        """no engine has left anything: processes, mounts, network interfaces, rules of the firewall, control groups, files"""
        if not self.before:
            return
        for line in machine.others(self.before):
            say(f"NOTE: somebody else has added meanwhile: {line}")
        found = list(machine.differences(self.before, self.folders))
        demand(not found, "; ".join(found))


def remove(folder):
    demand(not machine.mounts([folder]), f"{folder} stays, because something is still mounted there")
    shutil.rmtree(folder)


def end_all():
    """Ends the engine, which takes its containers along; and what an engine that was killed has left."""
    noted = RUN / "pid"
    first = int(noted.read_text()) if noted.exists() else None
    # A number that was written down long ago may be another process's today.
    if first in machine.processes([RUN]):
        end(first, signal.SIGTERM)
    for pid in machine.processes([RUN]):
        end(pid, signal.SIGKILL)


def end(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    until(f"process {pid} ends", 60, lambda: gone(pid))


def gone(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return not pathlib.Path(f"/proc/{pid}").exists()


def choose(keep):
    """The one that answers, or else one of our own; nothing is started yet."""
    prepare()
    host = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    demand(host.startswith("unix://"), f"docker leads to {host}, and the tests look at processes and ports of this machine; use an engine on it")
    answers = works("docker", "info") and "Server Version" in docker("info")
    return Running() if answers else Own(keep)
