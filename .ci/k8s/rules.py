"""What schemas cannot know: names, labels, ports and variables that have to agree, and this project's own demands.

Each rule is given what was rendered and what the rest of the project says, and yields what is wrong.
"""

import copy
import re
import tomllib

import pod_security
import yaml
from render import ROOT

LABELS = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component", "part-of")}
PORTS = {"metrics": "METRICS_PORT_REMEDIATION", "health": "HEALTH_PORT_REMEDIATION", "api": "API_PORT_REMEDIATION"}


class Project:
    """What the manifests have to agree with."""

    def __init__(self):
        def text(name):
            return (ROOT / name).read_text(encoding="utf-8")

        # A setting may be commented out in the template.
        self.variables = dict(re.findall(r"^#?\s?([A-Z][A-Z0-9_]+)=(.*?)\s*$", text(".env.template"), re.MULTILINE))
        self.version = tomllib.loads(text("Cargo.toml"))["package"]["version"]
        self.exposed = re.search(r"^EXPOSE (.*)$", text("Dockerfile"), re.MULTILINE)[1].split()
        self.compose = yaml.safe_load(text("docker-compose.yml"))["services"]["remediation"]


class Stack:
    """The objects of one rendering."""

    def __init__(self, objects):
        self.objects = objects

    def all(self, kind):
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind):
        (found,) = self.all(kind)
        return found

    @property
    def deployment(self):
        return self.one("Deployment")

    @property
    def pod(self):
        return self.deployment["spec"]["template"]

    @property
    def container(self):
        (container,) = self.pod["spec"]["containers"]
        return container

    def changed(self, change):
        """Another stack, in which this was done to the objects."""
        other = Stack(copy.deepcopy(self.objects))
        change(other)
        return other


def labels(stack, _):
    for found in stack.objects:
        if lacking := LABELS - set(found["metadata"].get("labels", {})):
            yield f"{found['kind']} {found['metadata']['name']} lacks {sorted(lacking)}"
    if lacking := LABELS - set(stack.pod["metadata"]["labels"]):
        yield f"the pod lacks {sorted(lacking)}"


def selectors(stack, _):
    found = [
        ("Deployment", stack.deployment["spec"]["selector"]["matchLabels"]),
        ("Service", stack.one("Service")["spec"]["selector"]),
        ("PodDisruptionBudget", stack.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]),
    ]
    for kind in ("PodMonitor", "NetworkPolicy"):
        for other in stack.all(kind):
            selector = other["spec"]["selector" if kind == "PodMonitor" else "podSelector"]
            found.append((f"{kind} {other['metadata']['name']}", selector.get("matchLabels", {})))
    for name, selector in found:
        if not selector or not selector.items() <= stack.pod["metadata"]["labels"].items():
            yield f"{name} does not select the pod, or not it alone: {selector}"


def identity(stack, _):
    account = stack.one("ServiceAccount")
    if stack.pod["spec"]["serviceAccountName"] != account["metadata"]["name"]:
        yield "the pod has another ServiceAccount"
    if account.get("automountServiceAccountToken") is not False:
        yield "the ServiceAccount gives out a token"
    if stack.pod["spec"].get("automountServiceAccountToken") is not False:
        yield "the pod takes a token"


def settings(stack, _):
    """The pod has the ConfigMap and the Secret that were made, under the names that change with what is in them."""
    from_map, from_secret = stack.container["envFrom"]
    maps = [found["metadata"]["name"] for found in stack.all("ConfigMap")]
    secrets = [found["metadata"]["name"] for found in stack.all("Secret")]
    if maps != [from_map["configMapRef"]["name"]] or not re.search(r"-[0-9a-z]{10}$", maps[0]):
        yield f"the pod has settings of {from_map['configMapRef']['name']}, made was {maps}"
    if from_secret["secretRef"]["name"] not in (secrets or ["mutt-remediation"]):
        yield f"the pod has the Secret {from_secret['secretRef']['name']}, made was {secrets}"
    if any(not re.search(r"-[0-9a-z]{10}$", name) for name in secrets):
        yield f"a new password would not roll the pod: {secrets}"
    if from_secret["secretRef"].get("optional") is not True:
        yield "the pod does not start without a Secret"
    if stack.pod["spec"].get("enableServiceLinks") is not False:
        yield "a Service named redis would set REDIS_PORT"


def one_worker(stack, _):
    spec = stack.deployment["spec"]
    if spec["replicas"] != 1 or spec["strategy"] != {"type": "Recreate"}:
        yield "it is not one replica that is recreated"
    if stack.one("PodDisruptionBudget")["spec"].get("maxUnavailable") != 1:
        yield "a node could not be drained"


def time_to_end(stack, _):
    """The worker takes 10 s at most (docs/ARCHITECTURE.md)."""
    if stack.pod["spec"]["terminationGracePeriodSeconds"] <= 10:
        yield "the pod is killed before the worker has ended"


def hardening(stack, _):
    """What the restricted profile does not ask for."""
    for container in pod_security.containers(stack.pod):
        if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
            yield f"the root file system of {container['name']} is writable"
        for kind in ("requests", "limits"):
            if lacking := {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {})):
                yield f"{kind} of {container['name']} lack {sorted(lacking)}"
    if not stack.pod["spec"]["securityContext"].get("runAsUser"):
        yield "no user is named, and the image's is not looked at"


def probes(stack, _):
    """Only /health may restart the pod: a restart does not bring Redis back."""
    for probe, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        found = stack.container[probe]["httpGet"]
        if found != {"path": path, "port": "health"}:
            yield f"{probe} asks {found}"


def ports(stack, project):
    expected = {name: project.variables[setting] for name, setting in PORTS.items()}
    published = project.compose["ports"]
    service = stack.one("Service")["spec"]["ports"]
    data = stack.one("ConfigMap")["data"]
    places = {
        "ConfigMap": {name: data[setting] for name, setting in PORTS.items()},
        "Deployment": {port["name"]: str(port["containerPort"]) for port in stack.container["ports"]},
        "Service": {port["name"]: str(port["port"]) for port in service},
        "Dockerfile": dict(zip(expected, project.exposed)),
        "docker-compose.yml": dict(zip(expected, (port.rpartition(":")[2] for port in published))),
    }
    for place, found in places.items():
        if found != expected:
            yield f"{place}: {found}, in .env.template {expected}"
    for port in published:
        if not port.startswith("127.0.0.1:"):
            yield f"docker-compose.yml: {port} is published beyond this machine"
    for port in service:
        if port["targetPort"] != port["name"]:
            yield f"Service: {port['name']} leads to {port['targetPort']}"


def scraping(stack, project):
    """Once: by the annotations, or by the operator."""
    annotations = stack.pod["metadata"].get("annotations") or {}
    scraped = {key: value for key, value in annotations.items() if key.startswith("prometheus.io/")}
    monitors = stack.all("PodMonitor")
    expected = {} if monitors else {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": project.variables[PORTS["metrics"]],
        "prometheus.io/path": "/metrics",
    }
    if scraped != expected:
        yield f"the pod is annotated with {scraped}"
    for monitor in monitors:
        found = [(end.get("port"), end.get("path")) for end in monitor["spec"]["podMetricsEndpoints"]]
        if found != [("metrics", "/metrics")]:
            yield f"the PodMonitor asks {found}"


def known_variables(stack, project):
    """A name that the worker does not know would be ignored in silence."""
    named = {
        "Deployment": [entry["name"] for entry in stack.container.get("env", [])],
        "docker-compose.yml": project.compose["environment"],
    }
    for kind in ("ConfigMap", "Secret"):
        for found in stack.all(kind):
            named[kind] = found["data"]
    for place, names in named.items():
        for name in names:
            if name not in project.variables:
                yield f"{place}: {name} is not in .env.template"


def release(stack, project):
    found = {
        "image": stack.container["image"].rpartition(":")[2],
        "label of the Deployment": stack.deployment["metadata"]["labels"].get("app.kubernetes.io/version"),
        "label of the pod": stack.pod["metadata"]["labels"].get("app.kubernetes.io/version"),
    }
    for place, version in found.items():
        if version != project.version:
            yield f"{place}: {version}, in Cargo.toml {project.version}"


def restricted(stack, _):
    for name, control in pod_security.CONTROLS.items():
        for problem in control(stack.pod):
            yield f"{name}: {problem}"


RULES = {
    "labels": labels,
    "selectors": selectors,
    "identity": identity,
    "settings": settings,
    "one worker": one_worker,
    "time to end": time_to_end,
    "pod security": restricted,
    "hardening": hardening,
    "probes": probes,
    "ports": ports,
    "scraping": scraping,
    "known variables": known_variables,
    "release": release,
}
