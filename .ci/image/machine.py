"""What an engine does to the machine around it, and how that is undone.

dockerd leaves rules of the firewall, a bridge, control groups, forwarding and a key behind when it ends; nothing but it would.
"""

import json
import pathlib
import shutil
import subprocess

from tools import run

CGROUPS = pathlib.Path("/sys/fs/cgroup")
FORWARDING = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
# Written by dockerd and its containerd wherever their data are.
OWN_PLACES = [pathlib.Path(path) for path in ["/etc/docker", "/run/containerd", "/run/docker", "/var/lib/docker"]]
TABLES = {"filter": ["INPUT", "FORWARD", "OUTPUT"], "nat": ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]}


def tables():
    """The rules of each table as iptables-restore takes them; a table that has none is as empty as a new one."""
    found = {}
    for table, chains in TABLES.items():
        saved = [line for line in run("iptables-save", "-t", table, stderr=subprocess.DEVNULL).splitlines() if line and line[0] in ":-"]
        # Without the counters, which traffic moves.
        found[table] = [line.split(" [")[0] for line in saved] or [f":{chain} ACCEPT" for chain in chains]
    return found


def interfaces():
    return sorted(link["ifname"] for link in json.loads(run("ip", "-json", "link")))


def groups():
    """The control groups of containers, the innermost first."""
    roots = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())]
    tops = [root / "docker" for root in roots if (root / "docker").is_dir()]
    below = [path for top in tops for path in [top, *top.rglob("*")] if path.is_dir()]
    return sorted({str(path) for path in below}, key=lambda path: -path.count("/"))


def places():
    return [str(path) for path in OWN_PLACES if path.exists()]


def processes(folders):
    """Those that name one of the folders when they are started, by their id."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(str(folder) in command for folder in folders):
            found[int(process.name)] = command
    return found


def picture():
    """All of it, as it is now."""
    return {
        "the firewall's rules": tables(),
        "network interfaces": interfaces(),
        "control groups": groups(),
        "the engine's own places": places(),
        "forwarding": FORWARDING.read_text().strip(),
    }


def restore(before):
    """Takes away what has come since; what there was before stays as it is."""
    rules = "".join(f"*{table}\n" + "\n".join(lines) + "\nCOMMIT\n" for table, lines in before["the firewall's rules"].items())
    if tables() != before["the firewall's rules"]:
        run("iptables-restore", input=rules, stdin=None)
    for name in interfaces():
        if name not in before["network interfaces"]:
            run("ip", "link", "delete", name)
    for group in groups():
        if group not in before["control groups"]:
            pathlib.Path(group).rmdir()
    for place in places():
        if place not in before["the engine's own places"]:
            shutil.rmtree(place)
    FORWARDING.write_text(before["forwarding"])


def differences(before, folders):
    """What is not as it was, and what still lives or is mounted below the folders."""
    now = picture()
    for what, was in before.items():
        if now[what] != was:
            yield f"{what}: {was} before, {now[what]} now"
    for mount in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if any(str(folder) in mount for folder in folders):
            yield f"mounted: {mount}"
    for pid, command in processes(folders).items():
        yield f"running: {pid} {command}"
    for folder in folders:
        if folder.exists():
            yield f"there: {folder}"
