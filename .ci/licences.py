"""Writes down what is compiled into the binary, under which licences and with their texts: target/licences/THIRD-PARTY.txt.

Whether these licences are allowed is cargo-deny's to say (.cargo/deny.toml).
Nothing but the standard library, and what cargo has fetched; fails on a crate that says nothing of its licence.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WRITTEN = ROOT / "target" / "licences" / "THIRD-PARTY.txt"
NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled():
    """The crates of the binary but itself, for every target that is released, with what cargo knows of each."""
    targets = json.loads(cargo("metadata", "--format-version", "1"))
    known = {(package["name"], package["version"]): package for package in targets["packages"]}
    names = set()
    for target in ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"):
        lines = cargo("tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", target).splitlines()
        names |= {tuple(line.split()[:2]) for line in lines if line}
    crates = [known[name, version.removeprefix("v")] for name, version in sorted(names)]
    return [crate for crate in crates if crate["name"] != "mutt-remediation"]


def texts(crate):
    """What the crate itself brings."""
    folder = pathlib.Path(crate["manifest_path"]).parent
    files = {file for file in folder.iterdir() if file.is_file() and NAMES.match(file.name)}
    if crate["license_file"]:
        files.add(folder / crate["license_file"])
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in sorted(files) if file.suffix != ".rs"]


def main():
    crates = compiled()
    silent = [crate["name"] for crate in crates if not (crate["license"] or crate["license_file"])]
    if silent:
        print(f"licences: {', '.join(silent)} say nothing of a licence")
        return 1
    users = {}
    without = []
    lines = ["mutt-remediation is under the MIT license, as the file LICENSE has it.", "It is compiled from these crates:", ""]
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        lines.append(f"{name}: {crate['license'] or 'see its text'}")
        for text in (found := texts(crate)):
            users.setdefault(text, []).append(name)
        if not found:
            without.append(name)
    if without:
        lines += ["", f"These bring no text with them, beyond naming their licence: {', '.join(without)}"]
    for text, names in users.items():
        lines += ["", "=" * 80, f"Of {', '.join(names)}:", "", text]
    WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    WRITTEN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"licences: {len(crates)} crates, {len(users)} texts, {len(without)} crates without one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
