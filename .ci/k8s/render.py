"""What kustomize makes of k8s/: as it stands, of each overlay, and of every choice of components.

Needs kubectl, which .ci/requirements.txt brings, and no cluster.
"""

import itertools
import pathlib
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
K8S = ROOT / "k8s"
COMPONENTS = ("secret", "operator", "sentinel", "network-policy", "receivers")


class NotRendered(Exception):
    """What kustomize says of it."""


def rendered(folder):
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    # A field that is deprecated is a warning, and will be an error.
    if run.returncode or run.stderr:
        raise NotRendered(run.stderr.strip())
    return list(yaml.safe_load_all(run.stdout))


class Workshop:
    """A copy of k8s/ that has a Secret, and in which things can be changed."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.k8s = pathlib.Path(self.folder.name) / "k8s"
        shutil.copytree(K8S, self.k8s)
        secret = self.k8s / "components" / "secret"
        shutil.copy(secret / "secret.env.example", secret / "secret.env")
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def choice(self, components):
        """The base with these components, as a kustomization of one's own would have it."""
        folder = self.k8s / "choice"
        folder.mkdir(exist_ok=True)
        lines = ["resources:", "  - ../base"]
        lines += ["components:"] * bool(components) + [f"  - ../components/{name}" for name in components]
        (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return rendered(folder)


def choices():
    """Every one that makes sense: what lets out to receivers is nothing without what keeps in."""
    for count in range(len(COMPONENTS) + 1):
        for components in itertools.combinations(COMPONENTS, count):
            if "receivers" not in components or "network-policy" in components:
                yield components


def shipped():
    """The folders that can be applied as they are."""
    yield K8S
    yield from sorted(folder for folder in (K8S / "overlays").iterdir() if folder.is_dir())
