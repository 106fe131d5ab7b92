"""The engine: the one that answers, or one of our own."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import machine
from tools import HOME, ROOT, Failed, docker, environment, run, say, until, works

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


class Running:
    """An engine that others have started, and that goes on afterwards."""

    folders: list = []

    def stop(self):
        pass

    def demand_nothing_left(self):
        """nothing of this project is left in the engine"""
        label = "label=com.docker.compose.project"
        for kind in [["ps", "--all"], ["volume", "ls"], ["network", "ls"]]:
            left = docker(*kind, "--quiet", "--filter", f"{label}={environment['COMPOSE_PROJECT_NAME']}")
            if left:
                raise Failed(f"docker {' '.join(kind)} still has {left}")


class Own:
    """dockerd by hand, as root, with everything of its own in two folders."""

    folders = [RUN, DATA]

    def __init__(self):
        self.before_file = DATA / "before.json"

    def start(self):
        if os.geteuid() != 0:
            raise Failed("no engine answers, and only root can start one")
        environment["DOCKER_HOST"] = f"unix://{RUN}/socket"
        if self.before_file.exists():
            # Of a run with KEEP=1, or one that was killed: the machine before that is what counts.
            self.before = json.loads(self.before_file.read_text())
            if works("docker", "version"):
                say("going on with the engine that was kept")
                return
        else:
            self.before = machine.picture()
            DATA.mkdir(parents=True, exist_ok=True)
            self.before_file.write_text(json.dumps(self.before))
        end_all()
        RUN.mkdir(exist_ok=True)
        for storage in STORAGE:
            if self.started(storage):
                say(f"started dockerd {docker('version', '--format', '{{.Server.Version}}')} with {storage}")
                return
        log = (DATA / "log").read_text()
        self.stop()
        raise Failed(f"dockerd does not start: {log[-3000:]}")

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

    def stop(self):
        end_all()
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            mount = line.split()[1]
            if mount.startswith((str(RUN), str(DATA))):
                run("umount", mount)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        machine.restore(self.before)

    def demand_nothing_left(self):
        """the machine is as it was: processes, mounts, network interfaces, rules of the firewall, control groups, files"""
        found = list(machine.differences(self.before, self.folders))
        if found:
            raise Failed("; ".join(found))


def end_all():
    """Ends the engine, which takes its containers along; and what an engine that was killed has left."""
    try:
        end(int((RUN / "pid").read_text()), signal.SIGTERM)
    except FileNotFoundError:
        pass
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


def choose():
    prepare()
    if works("docker", "info") and "Server Version" in docker("info"):
        say(f"taking the engine that answers, {docker('version', '--format', '{{.Server.Version}}')}")
        return Running()
    engine = Own()
    engine.start()
    return engine
