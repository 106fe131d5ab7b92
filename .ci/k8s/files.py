"""What is checked of the files in k8s/ themselves, before and beside what kustomize makes of them."""

import re

import prometheus_rule
import yaml
from render import K8S, ROOT

# Kustomize takes a name without `=` from its own environment, and quotes and blanks as part of the value.
SETTING = re.compile(r"(#.*|[A-Z][A-Z0-9_]*=(|[^\s\"'].*[^\s\"']|[^\s\"']))?")


def mistakes():
    for file in sorted([*K8S.rglob("*.env"), *K8S.rglob("*.env.example")]):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not SETTING.fullmatch(line):
                yield f"{file.relative_to(ROOT)}:{number}: is no NAME=value as it is"
    used = set()
    for file in sorted(K8S.rglob("kustomization.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for name in content.get("resources", []):
            used.add((file.parent / name).resolve())
    for file in sorted(K8S.rglob("*.yaml")):
        if file.name != "kustomization.yaml" and file.resolve() not in used:
            yield f"{file.relative_to(ROOT)}: no kustomization names it"
    if not prometheus_rule.sources():
        yield f"{prometheus_rule.SOURCE.relative_to(ROOT)}: has no rules"
    elif prometheus_rule.TARGET.read_text(encoding="utf-8") != prometheus_rule.written():
        yield f"{prometheus_rule.TARGET.relative_to(ROOT)}: is not what `make rules` writes"


def rolling(workshop):
    """Whatever the pod reads rolls it when it changes, and nothing else does."""
    files = {
        "secret": workshop.k8s / "components" / "secret" / "secret.env",
        "settings": workshop.k8s / "base" / "settings.env",
        "sentinel": workshop.k8s / "components" / "sentinel" / "sentinel.env",
    }
    choice = ("secret", "sentinel")
    before = pod(workshop.choice(choice))
    if pod(workshop.choice(choice)) != before:
        yield "the pod is another one although nothing has changed"
    for name, file in files.items():
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "LOG_LEVEL=DEBUG\n" if name != "settings" else text.replace("=INFO", "=DEBUG"), encoding="utf-8")
        if pod(workshop.choice(choice)) == before:
            yield f"a change of {name} does not roll the pod"
        file.write_text(text, encoding="utf-8")


def pod(objects):
    (found,) = (found["spec"]["template"] for found in objects if found["kind"] == "Deployment")
    return found
