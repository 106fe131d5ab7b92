"""One change for each thing that a rule forbids, to see that the rule notices it, and no other one does.

The pod security controls are told apart by their names, so that each is known to fail by itself.
"""

import copy

import pod_security
import schemas


def pod(change):
    return lambda stack: change(stack.pod["spec"])


def context(**values):
    return lambda stack: stack.container["securityContext"].update(values)


def shared(**values):
    return lambda stack: stack.pod["spec"]["securityContext"].update(values)


def without(field):
    return lambda stack: stack.pod["spec"]["securityContext"].pop(field)


def second(kind="initContainers", **values):
    """Another container, as hardened as the first but for this."""

    def change(stack):
        hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        hardened["readOnlyRootFilesystem"] = True
        other = {"name": "other", "securityContext": hardened | values, "resources": stack.container["resources"]}
        stack.pod["spec"].setdefault(kind, []).append(other)

    return change


def volume(kind):
    return pod(lambda spec: spec.setdefault("volumes", []).append({"name": "it", kind: {}}))


def named(stack, kind, name):
    (found,) = (found for found in stack.all(kind) if found["metadata"]["name"] == name)
    return found["spec"]


POD_SECURITY = {
    "HostProcess": [context(windowsOptions={"hostProcess": True}), shared(windowsOptions={"hostProcess": True})],
    "Host Namespaces": [
        pod(lambda spec: spec.update(hostNetwork=True)),
        pod(lambda spec: spec.update(hostPID=True)),
        pod(lambda spec: spec.update(hostIPC=True)),
    ],
    "Privileged Containers": [context(privileged=True), second(privileged=True), second("ephemeralContainers", privileged=True)],
    "Capabilities": [
        lambda stack: stack.container["securityContext"].pop("capabilities"),
        context(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
        context(capabilities={"drop": ["NET_RAW"]}),
        second(capabilities={}),
    ],
    "HostPath Volumes": [volume("hostPath")],
    "Host Ports": [lambda stack: stack.container["ports"][0].update(hostPort=8086)],
    "Host Probes / Lifecycle Hooks": [
        lambda stack: stack.container["livenessProbe"]["httpGet"].update(host="192.0.2.1"),
        lambda stack: stack.container.update(lifecycle={"preStop": {"httpGet": {"host": "192.0.2.1"}}}),
        lambda stack: stack.container.update(lifecycle={"postStart": {"tcpSocket": {"host": "192.0.2.1"}}}),
    ],
    "AppArmor": [
        context(appArmorProfile={"type": "Unconfined"}),
        shared(appArmorProfile={"type": "Unconfined"}),
        lambda stack: stack.pod["metadata"].update(
            annotations={"container.apparmor.security.beta.kubernetes.io/remediation": "unconfined"}
            | stack.pod["metadata"].get("annotations", {})
        ),
    ],
    "SELinux": [
        context(seLinuxOptions={"type": "spc_t"}),
        shared(seLinuxOptions={"user": "system_u"}),
        shared(seLinuxOptions={"role": "system_r"}),
    ],
    "/proc Mount Type": [context(procMount="Unmasked")],
    "Sysctls": [shared(sysctls=[{"name": "kernel.msgmax", "value": "1"}])],
    "Volume Types": [volume("nfs"), volume("gitRepo")],
    "Privilege Escalation": [
        context(allowPrivilegeEscalation=True),
        lambda stack: stack.container["securityContext"].pop("allowPrivilegeEscalation"),
        second(allowPrivilegeEscalation=None),
    ],
    "Running as Non-root": [without("runAsNonRoot"), shared(runAsNonRoot=False), context(runAsNonRoot=False)],
    "Running as Non-root user": [context(runAsUser=0), second(runAsUser=0)],
    "Seccomp": [
        without("seccompProfile"),
        shared(seccompProfile={"type": "Unconfined"}),
        context(seccompProfile={"type": "Unconfined"}),
    ],
}

OTHERS = {
    "labels": [
        lambda stack: stack.one("PodMonitor")["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
        lambda stack: stack.pod["metadata"]["labels"].pop("app.kubernetes.io/component"),
    ],
    "selectors": [
        lambda stack: stack.one("Service")["spec"]["selector"].update({"app.kubernetes.io/name": "other"}),
        lambda stack: stack.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clear(),
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation")["podSelector"].clear(),
        lambda stack: stack.one("PodMonitor")["spec"]["selector"]["matchLabels"].update(app="other"),
    ],
    "identity": [
        lambda stack: stack.one("ServiceAccount").pop("automountServiceAccountToken"),
        pod(lambda spec: spec.update(automountServiceAccountToken=True)),
        pod(lambda spec: spec.update(serviceAccountName="default")),
    ],
    "settings": [
        lambda stack: stack.container["envFrom"][0]["configMapRef"].update(name="mutt-remediation"),
        lambda stack: stack.container["envFrom"][1]["secretRef"].update(name="mutt-remediation"),
        lambda stack: stack.container["envFrom"][1]["secretRef"].pop("optional"),
        pod(lambda spec: spec.pop("enableServiceLinks")),
    ],
    "one worker": [
        lambda stack: stack.deployment["spec"].update(replicas=2),
        lambda stack: stack.deployment["spec"].update(strategy={"type": "RollingUpdate"}),
        lambda stack: stack.one("PodDisruptionBudget")["spec"].update(maxUnavailable=0),
    ],
    "time to end": [pod(lambda spec: spec.update(terminationGracePeriodSeconds=10))],
    "hardening": [
        context(readOnlyRootFilesystem=False),
        second(readOnlyRootFilesystem=None),
        lambda stack: stack.container["resources"]["limits"].pop("memory"),
        without("runAsUser"),
    ],
    "probes": [
        lambda stack: stack.container["livenessProbe"]["httpGet"].update(path="/ready"),
        lambda stack: stack.container["readinessProbe"]["httpGet"].update(port="metrics"),
    ],
    "ports": [
        lambda stack: stack.container["ports"][0].update(containerPort=9999),
        lambda stack: stack.one("Service")["spec"]["ports"][0].update(targetPort="health"),
        lambda stack: stack.one("ConfigMap")["data"].update(API_PORT_REMEDIATION="8401"),
    ],
    "scraping": [
        lambda stack: stack.pod["metadata"].update(annotations={"prometheus.io/scrape": "true"}),
        lambda stack: stack.one("PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="health"),
    ],
    "known variables": [
        lambda stack: stack.one("ConfigMap")["data"].update(REMEDIATION_BATCHSIZE="10"),
        lambda stack: stack.one("Secret")["data"].update(REDIS_PASS=""),
    ],
    "release": [lambda stack: stack.container.update(image="mutt-remediation:latest")],
    "network isolation": [
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation").update(policyTypes=["Egress"]),
    ],
    "network inwards": [
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation")["ingress"][0].pop("from"),
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation")["ingress"].pop(),
    ],
    "network outwards": [
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation-to-dns")["egress"][0].pop("to"),
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation-to-moogsoft")["egress"][0].pop("ports"),
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation-to-moogsoft")["egress"][0].update(
            to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]
        ),
        lambda stack: named(stack, "NetworkPolicy", "mutt-remediation-to-otlp")["egress"].clear(),
    ],
    "network and settings": [
        lambda stack: stack.one("ConfigMap")["data"].update(REDIS_PORT="6380"),
    ],
}

SCHEMAS = [
    ("Deployment", lambda found: found["spec"]["template"]["spec"].update(hostnetwork=True)),
    ("NetworkPolicy", lambda found: found["spec"].update(policyTypes="Egress")),
    ("PodMonitor", lambda found: found["spec"]["podMetricsEndpoints"][0].update(prot="metrics")),
    ("PodMonitor", lambda found: found["spec"]["podMetricsEndpoints"][0].update(interval="30 seconds")),
    ("PrometheusRule", lambda found: found["spec"]["groups"][0]["rules"][0].pop("expr")),
    ("PrometheusRule", lambda found: found["spec"]["groups"][0]["rules"][0].update(label={})),
]


def survived(stack, project, rules):
    """How many changes there are, and which of them nothing notices, or something else does."""
    problems, count = [], 0
    for name in set(rules) - set(OTHERS) - {"pod security"}:
        problems.append(f"nothing breaks the rule {name}")
    for name in set(pod_security.CONTROLS) - set(POD_SECURITY):
        problems.append(f"nothing breaks the control {name}")
    for name, changes in OTHERS.items():
        for number, change in enumerate(changes, 1):
            count += 1
            noticed = {rule for rule, judge in rules.items() if list(judge(stack.changed(change), project))}
            if noticed != {name}:
                problems.append(f"change {number} of {name} is noticed by {sorted(noticed)}")
    for name, changes in POD_SECURITY.items():
        for number, change in enumerate(changes, 1):
            count += 1
            broken = stack.changed(change)
            noticed = {control for control, judge in pod_security.CONTROLS.items() if list(judge(broken.pod))}
            if noticed != {name}:
                problems.append(f"change {number} of {name} is noticed by {sorted(noticed)}")
    for number, (kind, change) in enumerate(SCHEMAS, 1):
        count += 1
        found = copy.deepcopy(stack.all(kind)[0])
        change(found)
        if not list(schemas.mistakes(found)):
            problems.append(f"change {number} of the schemas is not noticed")
    return count, problems
