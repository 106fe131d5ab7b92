"""Checks of the project as a whole, with nothing but the standard library (python 3.11).

    python .ci/project.py links       relative links and #anchors in the documents
    python .ci/project.py unused      dependencies that no source file names
    python .ci/project.py toolchain   the compiler, where it is named, and the oldest that dependencies ask for
"""

import functools
import json
import pathlib
import re
import subprocess
import sys
from collections import defaultdict

ROOT = pathlib.Path(__file__).resolve().parent.parent


def report(subject, problems, checked):
    """Prints the problems, or what was found in order; returns the exit code."""
    for problem in problems:
        print(f"{subject}: {problem}")
    if not problems:
        print(f"{subject}: {checked}")
    return 1 if problems else 0


# Links

FENCE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1[`~]*\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
# From the bracket that ends the text on, so that an image inside a link is found as well.
LINK = re.compile(r"\]\(\s*<?([^()<>\s]+)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


@functools.cache
def anchors(document):
    """The fragments that GitHub and GitLab give to a document's headings."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    found = set(ANCHOR.findall(text))
    seen = defaultdict(int)
    for heading in HEADING.findall(text):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(document, target):
    """Why the link leads nowhere, or None; links to other sites are not followed."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    path, _, fragment = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if path.startswith("/") or not file.is_relative_to(ROOT):
        return "leaves the repository"
    if not file.exists():
        return "does not exist"
    if fragment and file.suffix == ".md" and fragment not in anchors(file):
        return "has no such heading"
    return None


def links():
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
    problems, count = [], 0
    for document in documents:
        if not document.exists():
            problems.append(f"{document.relative_to(ROOT)} does not exist")
            continue
        text = CODE.sub("", FENCE.sub("", document.read_text(encoding="utf-8")))
        for target in LINK.findall(text) + DEFINITION.findall(text):
            count += 1
            if why := broken(document, target):
                problems.append(f"{document.relative_to(ROOT)}: {target} {why}")
    return report("links", problems, f"{count} in {len(documents)} documents")


# Unused dependencies

def source(*folders):
    """The Rust code below the folders, without its comments."""
    files = (file for folder in folders for file in sorted((ROOT / folder).glob("**/*.rs")))
    return "\n".join(re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE) for file in files)


def unused():
    """What cargo-machete does, dev-dependencies included; it shares that tool's list of exceptions in Cargo.toml."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    package = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)["packages"][0]
    ignored = set(((package["metadata"] or {}).get("cargo-machete") or {}).get("ignored", []))
    code = {None: source("src"), "build": source("src"), "dev": source("src", "tests")}
    problems = []
    for dependency in package["dependencies"]:
        name = dependency["rename"] or dependency["name"]
        crate = name.replace("-", "_")
        used = re.search(rf"(?<![\w:]){crate}\s*::|\buse\s+(?:::)?{crate}\b|\bextern\s+crate\s+{crate}\b", code[dependency["kind"]])
        if not used and name not in ignored:
            problems.append(f"{name} is in Cargo.toml, but no source file names it")
        elif used and name in ignored:
            problems.append(f"{name} is ignored in Cargo.toml, but it is used")
    names = {dependency["rename"] or dependency["name"] for dependency in package["dependencies"]}
    problems += [f"{name} is ignored in Cargo.toml, but it is no dependency" for name in sorted(ignored - names)]
    return report("unused", problems, f"none of {len(names)} dependencies")


# The compiler

def release(text):
    """1.95 and 1.95.0 are the same."""
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


def toolchain():
    """
    Releases are built with what the Dockerfile names. What Cargo.toml states as the oldest compiler is what the README
    says, is no newer than that, and is enough for every dependency.
    """
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    stated = next(package["rust_version"] for package in packages if package["name"] == "mutt-remediation")
    problems = []
    images = set(re.findall(r"^FROM rust:(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    pinned = [image.partition("-")[0] for image in images]
    if len(images) != 1 or not re.fullmatch(r"\d+\.\d+(\.\d+)?", pinned[0]):
        problems.append(f"the Dockerfile builds with {', '.join(sorted(images)) or 'no Rust'}, not with one release")
    elif release(stated) > release(pinned[0]):
        problems.append(f"Cargo.toml asks for Rust {stated}, the Dockerfile builds with {pinned[0]}")
    if f"Rust {stated} or later" not in (ROOT / "README.md").read_text(encoding="utf-8"):
        problems.append(f"README.md does not say 'Rust {stated} or later'")
    for package in packages:
        needed = package["rust_version"]
        if needed and release(needed) > release(stated):
            problems.append(f"{package['name']} {package['version']} needs Rust {needed}, Cargo.toml states {stated}")
    return report("toolchain", problems, f"Rust {stated} or later, releases with {', '.join(pinned)}, {len(packages)} packages agree")


if __name__ == "__main__":
    checks = {"links": links, "unused": unused, "toolchain": toolchain}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    sys.exit(checks[sys.argv[1]]())
