"""What an engine does to the machine around it, and how that is undone.

dockerd leaves rules of the firewall, a bridge, control groups, forwarding and a key behind when it ends.
Only what an engine makes is undone: a network that somebody joined meanwhile, or a rule that they added, is theirs.
"""

import json
import pathlib
import re
import shlex

from tools import Failed, run

CGROUPS = pathlib.Path("/sys/fs/cgroup")
BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
FORWARDING = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
# Written by dockerd and its containerd wherever their data are.
OWN_PLACES = [pathlib.Path(path) for path in ["/etc/docker", "/run/containerd", "/run/docker", "/var/lib/docker"]]
# What dockerd puts into a place that is not in its own two folders.
OWN_FILES = ["key.json"]
LINK = r"docker0|br-[0-9a-f]{12}|veth[0-9a-f]{7}"
INTERFACE = re.compile(LINK)
# Its chains, its interfaces, and a container that reaches its own published port.
RULE = re.compile(rf" DOCKER(\s|-|$)| ({LINK})(\s|$)| -s (?P<one>\S+/32) -d (?P=one) .*-j MASQUERADE")
# With it dockerd, which has just turned forwarding on, keeps the machine from being a router for everybody.
DROP = "iptables -t filter -P FORWARD DROP"

RULES, INTERFACES, GROUPS, PLACES, FORWARDS = (
    "the firewall's rules",
    "network interfaces",
    "control groups",
    "the engine's own places",
    "forwarding",
)


def rules():
    """Each as the command that makes it."""
    found = []
    for program in ["iptables", "ip6tables"]:
        for table in ["filter", "nat", "raw"]:
            try:
                lines = run(program, "-t", table, "-S").splitlines()
            except Failed:
                # A kernel without that table has no rules in it.
                continue
            found += [f"{program} -t {table} {line}" for line in lines if line.startswith("-")]
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


def mounts(folders):
    """Where something is mounted in one of the folders, the innermost first."""
    points = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if any(f"{point}/".startswith(f"{folder}/") for folder in folders)]


def picture():
    """All of it, as it is now."""
    return {
        RULES: rules(),
        INTERFACES: interfaces(),
        GROUPS: groups(),
        PLACES: places(),
        FORWARDS: [FORWARDING.read_text().strip()],
    }


def boot():
    """What outlives no restart of the machine, as none of the picture but its places does."""
    return BOOT.read_text().strip()


def of_an_engine(what, line, before):
    if what == RULES:
        return bool(RULE.search(line)) or (line == DROP and before[FORWARDS] == ["0"])
    if what == FORWARDS:
        return line == "1"
    return what != INTERFACES or bool(INTERFACE.fullmatch(line))


def added(before, now):
    """What has come since and is an engine's, by kind."""
    return {what: [line for line in lines if line not in before[what] and of_an_engine(what, line, before)] for what, lines in now.items()}


def undoing(before):
    """Steps that take away what an engine has added; what there was before, and what others have added, stays."""
    new = added(before, picture())
    # Chains can go when no rule is in them or leads to them.
    for rule in sorted(new[RULES], key=lambda rule: " -N " in rule):
        if rule == DROP:
            yield run, *shlex.split(DROP.replace("DROP", "ACCEPT"))
        else:
            yield run, *shlex.split(rule.replace(" -A ", " -D ", 1).replace(" -N ", " -X ", 1))
    for name in new[INTERFACES]:
        yield run, "ip", "link", "delete", name
    for group in new[GROUPS]:
        yield (pathlib.Path(group).rmdir,)
    for place in new[PLACES]:
        yield emptied, pathlib.Path(place)
    if new[FORWARDS]:
        yield FORWARDING.write_text, "0"


def emptied(place):
    """Without a file that is not known to be the engine's."""
    for path in sorted(place.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path.name in OWN_FILES or path.is_socket():
            path.unlink()
    place.rmdir()


def differences(before, folders):
    """What an engine has left, or taken away, and what still lives or is mounted below the folders."""
    now = picture()
    for what, lines in added(before, now).items():
        yield from (f"{what}: {line} is new" for line in lines)
    for what, lines in added(now, before).items():
        yield from (f"{what}: {line} is gone" for line in lines)
    for mount in mounts(folders):
        yield f"mounted: {mount}"
    for pid, command in processes(folders).items():
        yield f"running: {pid} {command}"
    for folder in folders:
        if folder.exists():
            yield f"there: {folder}"


def others(before):
    """What has changed besides, which may be an engine's in a way that is not known here."""
    now = picture()
    for what, lines in now.items():
        yield from (line for line in lines if line not in before[what] and not of_an_engine(what, line, before))
