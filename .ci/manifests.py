"""Checks the manifests in k8s/ against Kubernetes' own schemas, and what schemas cannot know.

The second part: the restricted pod security standard, names and labels that have to agree between the manifests,
and ports and variables that have to agree with .env.template, the Dockerfile and docker-compose.yml.
Needs kubernetes-validate and PyYAML.
"""

import pathlib
import re
import sys
import tomllib

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"
# Three years of Kubernetes, up to the newest that there is a schema for.
VERSIONS = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
STANDARD_LABELS = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component", "part-of")}

problems = []


def expect(holds, problem):
    if not holds:
        problems.append(problem)


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def schemas(name, manifest):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            problems.append(f"{name}: not valid in Kubernetes {version}: {where}: {error.message}")
            return
        except kubernetes_validate.SchemaNotFoundError as error:
            problems.append(f"{name}: {error.message}")
            return


def pod_security(pod):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, restricted; and a read-only file system."""
    context = pod["securityContext"]
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        expect(not pod.get(key), f"pod: {key} is set")
    expect(context.get("runAsNonRoot") is True, "pod: runAsNonRoot is not true")
    expect(context.get("runAsUser", 0) > 0, "pod: runAsUser is missing or root")
    expect(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", "pod: seccomp is not RuntimeDefault")
    expect(pod.get("automountServiceAccountToken") is False, "pod: a service account token is mounted")
    for volume in pod.get("volumes", []):
        expect("hostPath" not in volume, f"pod: volume {volume['name']} is a hostPath")
    for container in pod.get("initContainers", []) + pod["containers"]:
        name, context = container["name"], container["securityContext"]
        expect(context.get("allowPrivilegeEscalation") is False, f"{name}: privileges can be escalated")
        expect(context.get("readOnlyRootFilesystem") is True, f"{name}: the root file system is writable")
        expect(not context.get("privileged"), f"{name}: is privileged")
        expect(context.get("capabilities") == {"drop": ["ALL"]}, f"{name}: keeps or adds capabilities")
        expect(context.get("runAsNonRoot", True) and context.get("runAsUser", 1), f"{name}: runs as root after all")
        for kind in ("requests", "limits"):
            expect({"cpu", "memory"} <= set(container["resources"].get(kind, {})), f"{name}: {kind} are incomplete")


def names_and_labels(manifests):
    deployment, service, budget = (manifests[kind] for kind in ("Deployment", "Service", "PodDisruptionBudget"))
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    for kind, manifest in manifests.items():
        found = set(manifest["metadata"].get("labels", {}))
        expect(STANDARD_LABELS <= found, f"{kind}: lacks the labels {sorted(STANDARD_LABELS - found)}")
    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "Service": service["spec"]["selector"],
        "PodDisruptionBudget": budget["spec"]["selector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        expect(selector and selector.items() <= labels.items(), f"{kind}: its selector does not match the pod's labels")
    expect(
        pod["spec"]["serviceAccountName"] == manifests["ServiceAccount"]["metadata"]["name"],
        "Deployment: names another ServiceAccount",
    )
    expect(manifests["ServiceAccount"].get("automountServiceAccountToken") is False, "ServiceAccount: gives out a token")
    sources = pod["spec"]["containers"][0]["envFrom"]
    expect(sources[0]["configMapRef"]["name"] == manifests["ConfigMap"]["metadata"]["name"], "Deployment: names another ConfigMap")
    expect(sources[1]["secretRef"]["name"] == manifests["Secret"]["metadata"]["name"], "Deployment: names another Secret")
    expect(
        deployment["spec"]["replicas"] == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"},
        "Deployment: is not one replica that is recreated",
    )


def ports(manifests, variables):
    """Every place that names the three ports against the defaults in .env.template."""
    settings = {
        "metrics": "METRICS_PORT_REMEDIATION",
        "health": "HEALTH_PORT_REMEDIATION",
        "api": "API_PORT_REMEDIATION",
    }
    expected = {name: variables[setting] for name, setting in settings.items()}
    pod = manifests["Deployment"]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    config = manifests["ConfigMap"]["data"]
    published = yaml.safe_load(text("docker-compose.yml"))["services"]["remediation"]["ports"]
    places = {
        "ConfigMap": {name: config[setting] for name, setting in settings.items()},
        "Deployment": {port["name"]: str(port["containerPort"]) for port in container["ports"]},
        "Service": {port["name"]: str(port["port"]) for port in manifests["Service"]["spec"]["ports"]},
        "Dockerfile": dict(zip(expected, re.search(r"^EXPOSE (.*)$", text("Dockerfile"), re.MULTILINE)[1].split())),
        "docker-compose.yml": dict(zip(expected, (port.rpartition(":")[2] for port in published))),
    }
    for place, found in places.items():
        expect(found == expected, f"{place}: ports are {found}, in .env.template {expected}")
    for port in published:
        expect(port.startswith("127.0.0.1:"), f"docker-compose.yml: {port} is published beyond this machine")
    for port in manifests["Service"]["spec"]["ports"]:
        expect(port["targetPort"] == port["name"], f"Service: port {port['name']} leads to {port['targetPort']}")
    scraped = pod["metadata"]["annotations"].get("prometheus.io/port")
    expect(scraped == expected["metrics"], f"Deployment: Prometheus is told to scrape port {scraped}")
    for probe, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        found = container[probe]["httpGet"]
        expect(found == {"path": path, "port": "health"}, f"Deployment: {probe} asks {found}")


def variable_names(manifests, variables):
    """A name that the worker does not know would be ignored in silence."""
    compose = yaml.safe_load(text("docker-compose.yml"))["services"]["remediation"]["environment"]
    named = {
        "ConfigMap": manifests["ConfigMap"]["data"],
        "Secret": manifests["Secret"]["stringData"],
        "Deployment": [entry["name"] for entry in manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]],
        "docker-compose.yml": compose,
    }
    for place, names in named.items():
        for name in names:
            expect(name in variables, f"{place}: {name} is not in .env.template")


def release(kustomization):
    with (ROOT / "Cargo.toml").open("rb") as manifest:
        version = tomllib.load(manifest)["package"]["version"]
    labelled = kustomization["labels"][0]["pairs"]["app.kubernetes.io/version"]
    for found in (kustomization["images"][0]["newTag"], labelled):
        expect(found == version, f"kustomization.yaml: names version {found}, Cargo.toml {version}")


def main():
    kustomization = yaml.safe_load((K8S / "kustomization.yaml").read_text(encoding="utf-8"))
    resources = kustomization["resources"]
    manifests = {}
    for file in sorted(K8S.glob("*.yaml")):
        if file.name == "kustomization.yaml":
            continue
        manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
        manifests[manifest["kind"]] = manifest
        schemas(file.name, manifest)
        example = ".example." in file.name
        expect(example or file.name in resources, f"kustomization.yaml: forgets {file.name}")
        expect(not example or file.name not in resources, f"kustomization.yaml: applies {file.name}")
    for name in resources:
        expect((K8S / name).is_file(), f"kustomization.yaml: {name} does not exist")

    # The rules take the shape of a manifest for granted.
    if not problems:
        # A setting may be commented out in the template.
        variables = dict(re.findall(r"^#?\s?([A-Z][A-Z0-9_]+)=(.*?)\s*$", text(".env.template"), re.MULTILINE))
        pod_security(manifests["Deployment"]["spec"]["template"]["spec"])
        names_and_labels(manifests)
        ports(manifests, variables)
        variable_names(manifests, variables)
        release(kustomization)

    for problem in problems:
        print(f"manifests: {problem}")
    if not problems:
        print(f"manifests: {len(manifests)} files, Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}, {len(variables)} variables")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
