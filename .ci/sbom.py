"""Checks what `.ci/sbom` has written: against the schema of CycloneDX, and that it names every crate of the binary."""

import json
import pathlib
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = pathlib.Path(__file__).resolve().parent.parent
SBOM = ROOT / "target" / "sbom" / "mutt-remediation.cdx.json"


def compiled():
    """Name and version of each crate that the binary is compiled from, as cargo resolves them for this machine."""
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    crates = {tuple(line.split()[:2]) for line in lines if line}
    return {(name, version.removeprefix("v")) for name, version in crates}


def mistakes(text):
    if wrong := JsonStrictValidator(SchemaVersion.V1_5).validate_str(text):
        yield str(wrong).splitlines()[0]
        return
    document = json.loads(text)
    listed = document["components"] + [document["metadata"]["component"]]
    for name, version in sorted(compiled() - {(component["name"], component["version"]) for component in listed}):
        yield f"{name} {version} is in the binary, but not named"
    for component in listed:
        if not component.get("licenses"):
            yield f"{component['name']} {component['version']} has no licence"
    # The image's is made by the same tool, of the same version.
    tool = f"cargo-cyclonedx@{document['metadata']['tools'][0]['version']}"
    if tool not in (ROOT / "Dockerfile").read_text(encoding="utf-8"):
        yield f"the Dockerfile does not install {tool}"
    if str(ROOT) in text:
        yield "names the folder that it was made in"


def main():
    text = SBOM.read_text(encoding="utf-8")
    problems = list(mistakes(text))
    for problem in problems:
        print(f"sbom: {problem}")
    if not problems:
        print(f"sbom: {len(json.loads(text)['components'])} components, CycloneDX 1.5")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
