"""What the image is: its labels, its user, what lies in it, and that its program runs."""

import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

from tools import Failed, demand, docker, equal, manifest, run

BINARY = "usr/local/bin/mutt-remediation"
SBOM = "usr/share/doc/mutt-remediation/mutt-remediation.cdx.json"
LABEL = "org.opencontainers.image."


class Image:
    def __init__(self, checkout, tag, base):
        self.checkout, self.tag, self.base = checkout, tag, base

    def config(self):
        return json.loads(docker("image", "inspect", self.tag))[0]["Config"]

    def run(self, *arguments, options=()):
        return docker("run", "--rm", "--network=none", "--read-only", *options, self.tag, *arguments)


def files(tag):
    """Every file of an image but what a container gets when it is made, by its path."""
    container = docker("create", "--network=none", tag, "nothing")
    try:
        packed = docker("export", container, text=False, stderr=subprocess.DEVNULL)
    finally:
        docker("rm", container)
    made = {"dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv"}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {}
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if path and path not in made and not path.startswith(("dev/", "proc/", "sys/")):
                found[path] = (member, archive.extractfile(member).read() if path in (BINARY, SBOM) else None)
        return found


def labels_are_true(image):
    """labels: title, licence, the version of Cargo.toml, the commit; no time of its making"""
    labels = {name.removeprefix(LABEL): value for name, value in (image.config()["Labels"] or {}).items() if name.startswith(LABEL)}
    package = manifest()["package"]
    commit = run("git", "-C", image.checkout, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    expected = {"title": package["name"], "licenses": package["license"], "version": package["version"], "revision": commit}
    for name, value in expected.items():
        equal(f"the label {name}", labels.get(name), value)
    demand(labels.get("description"), "there is no description")
    demand("created" not in labels, "it says when it was made, so that no two builds are the same")
    equal("the label base.name", labels.get("base.name"), image.base)
    return f"{labels['version']}, {commit[:8]}{'-dirty' if commit.endswith('dirty') else ''}"


def runs_as_nobody_in_particular(image):
    """runs as 65532:65532, by number"""
    equal("the user", image.config()["User"], "65532:65532")


def has_nothing_to_spare(image):
    """on top of its base: the program and its bill of materials; no shell, nothing setuid, nothing that its user may change"""
    found = files(image.tag)
    added = sorted(path for path in found.keys() - files(image.base).keys() if not found[path][0].isdir())
    equal("what it adds", added, sorted([BINARY, SBOM]))
    for path, (member, _) in found.items():
        program = member.issym() or (member.isfile() and member.mode & 0o111)
        demand(not program or path.split("/")[-1] not in {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "curl", "perl"}, f"/{path} is in it")
        demand(not member.isfile() or not member.mode & 0o6000, f"/{path} is setuid or setgid")
        own = member.uid == 65532 or (member.mode & 0o002 and not member.issym() and not member.mode & 0o1000)
        demand(not own or path == "home/nonroot", f"its user may write to /{path}")


def program_runs(image):
    """the program says its version, and judges settings: those of k8s/base with 0, bad ones with 2"""
    version = manifest()["package"]["version"]
    demand(version in image.run("--version"), f"--version does not say {version}")
    image.run("--check-config", options=(f"--env-file={image.checkout}/k8s/base/settings.env",))
    try:
        image.run("--check-config", options=("--env=REMEDIATION_INTERVAL=soon",))
    except Failed as refused:
        demand("ended with 2" in str(refused) and "REMEDIATION_INTERVAL" in str(refused), f"a bad setting: {refused}")
    else:
        raise Failed("a bad setting is taken for good")


def says_what_it_is_made_of(image):
    """its bill of materials is what `make sbom` makes of the same commit"""
    _, found = files(image.tag)[SBOM]
    run(".ci/sbom", cwd=image.checkout)
    made = (pathlib.Path(image.checkout) / "target/sbom" / pathlib.Path(SBOM).name).read_bytes()
    demand(found == made, "they differ")
    return f"{len(json.loads(found)['components'])} components"


def digest(tag, path=BINARY):
    return hashlib.sha256(files(tag)[path][1]).hexdigest()


CHECKS = [labels_are_true, runs_as_nobody_in_particular, has_nothing_to_spare, program_runs, says_what_it_is_made_of]
