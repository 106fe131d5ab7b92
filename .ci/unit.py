"""Checks the systemd unit with systemd's own tools, which need no systemd to be running.

`verify` for what is misspelt; `security` for what the sandbox leaves open, which has to be what is listed here and nothing else.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIT = ROOT / "docs" / "systemd" / "mutt-remediation.service"
PROGRAM = "ExecStart=/usr/bin/mutt-remediation\n"
# In tenths, as `systemd-analyze security` counts: 100 is everything, and a unit without any sandbox has 96.
MOST_EXPOSURE = 11
# What it needs, or what only the machine's administrator can know; by the names that `security` gives them.
OPEN = {
    "PrivateNetwork": "it is a network service",
    "RestrictAddressFamilies_AF_INET_INET6": "likewise",
    "RestrictAddressFamilies_AF_UNIX": "a Redis at a socket, and some ways to resolve names",
    "IPAddressDeny": "where Redis and Moogsoft are is not known here; README.md has the lines",
    "ProcSubset": "without /proc/stat the metrics do not know when the process began",
    "RootDirectoryOrRootImage": "the system's certificates and name resolution are read",
    "DeviceAllow": "what ProtectClock sets itself",
}


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def mistakes():
    text = UNIT.read_text(encoding="utf-8")
    if PROGRAM not in text:
        yield f"does not have {PROGRAM.strip()}"
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / UNIT.name
        # The worker need not be installed where this runs.
        copy.write_text(text.replace(PROGRAM, "ExecStart=/usr/bin/env\n"), encoding="utf-8")
        verified = analyze("verify", "--man=no", "--recursive-errors=no", str(copy))
        if verified.returncode:
            yield verified.stderr.strip().replace(f"{folder}/", "")

    threshold = f"--threshold={MOST_EXPOSURE}"
    judged = analyze("security", "--offline=true", "--json=short", threshold, str(UNIT))
    try:
        found = {entry["json_field"] for entry in json.loads(judged.stdout) if entry["set"] is False}
    except ValueError:
        yield judged.stderr.strip()
        return
    for name in sorted(found - set(OPEN)):
        yield f"leaves open: {name}"
    for name in sorted(set(OPEN) - found):
        yield f"no longer leaves open: {name}"
    if judged.returncode:
        yield f"its exposure is above {MOST_EXPOSURE / 10}"


def main():
    problems = list(mistakes())
    for problem in problems:
        print(f"unit: {problem}")
    if not problems:
        print(f"unit: exposure {MOST_EXPOSURE / 10} of 10 at most, {len(OPEN)} things left open")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
