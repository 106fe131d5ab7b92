"""The rules of docs/prometheus as objects of the Prometheus Operator, for k8s/components/operator.

    python3 .ci/k8s/prometheus_rule.py    writes k8s/components/operator/rules.yaml

A PrometheusRule holds below `spec` what Prometheus reads as a file, so that each line is taken as it is, comments included.
Nothing but the standard library: `make rules` runs this where no linter is installed.
"""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "docs" / "prometheus"
TARGET = ROOT / "k8s" / "components" / "operator" / "rules.yaml"


def sources():
    return sorted(SOURCE.glob("*.yml"))


def written():
    """What the target has to hold."""
    text = "# Written by `make rules` from docs/prometheus: change that, not this.\n"
    for source in sources():
        text += "---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
        text += f"metadata:\n  name: mutt-{source.stem}\nspec:\n"
        lines = source.read_text(encoding="utf-8").splitlines()
        text += "".join(f"  {line}".rstrip() + "\n" for line in lines)
    return text


if __name__ == "__main__":
    TARGET.write_text(written(), encoding="utf-8")
