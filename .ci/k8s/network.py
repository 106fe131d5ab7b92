"""What the network policies let in and out, to the last port; nothing where there are none."""

import ipaddress

DNS = "kube-system/k8s-app=kube-dns"
PROMETHEUS = "monitoring/app.kubernetes.io/name=prometheus"

INWARDS = {
    (PROMETHEUS, "TCP", "metrics"),
    # The kubelet has no label.
    ("everybody", "TCP", "health"),
    ("app.kubernetes.io/part-of=mutt", "TCP", "api"),
}
OUTWARDS = {
    (DNS, "UDP", 53),
    (DNS, "TCP", 53),
    ("app.kubernetes.io/name=redis", "TCP", 6379),
    ("app.kubernetes.io/name=redis", "TCP", 26379),
    ("192.0.2.1/32", "TCP", 443),
    (PROMETHEUS, "TCP", 9090),
    ("monitoring/app.kubernetes.io/name=opentelemetry-collector", "TCP", 4318),
}
RECEIVERS = {
    ("monitoring/app.kubernetes.io/name=alertmanager", "TCP", 9093),
    ("192.0.2.2/32", "TCP", 443),
    ("192.0.2.3/32", "TCP", 465),
    ("192.0.2.3/32", "TCP", 587),
}
# Kept free for documentation (RFC 5737): addresses that are not ours to know.
NOWHERE = ipaddress.ip_network("192.0.2.0/24")


def named(peer):
    """A peer in one line: `namespace/label=value`, or its addresses."""
    if block := peer.get("ipBlock"):
        return block["cidr"]
    parts = []
    for key in ("namespaceSelector", "podSelector"):
        if key in peer:
            labels = peer[key].get("matchLabels", {})
            shown = ",".join(f"{name}={value}" for name, value in labels.items()) or "everybody"
            parts.append(shown.removeprefix("kubernetes.io/metadata.name="))
    return "/".join(parts)


def allowed(policies, direction, side):
    for policy in policies:
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get(side) or [None]:
                for port in rule.get("ports") or [{}]:
                    yield (named(peer) if peer else "everybody", port.get("protocol"), port.get("port"))


def isolation(stack, _):
    """Without a policy for a direction, all of it is allowed."""
    if policies := stack.all("NetworkPolicy"):
        types = {kind for policy in policies for kind in policy["spec"]["policyTypes"]}
        if types != {"Ingress", "Egress"}:
            yield f"only {sorted(types)} is closed"
        for policy in policies:
            for kind in ("ingress", "egress"):
                if kind in policy["spec"] and kind.capitalize() not in policy["spec"]["policyTypes"]:
                    yield f"{policy['metadata']['name']} names {kind} rules without effect"


def inwards(stack, _):
    if policies := stack.all("NetworkPolicy"):
        yield from difference(set(allowed(policies, "ingress", "from")), INWARDS)


def outwards(stack, _):
    if policies := stack.all("NetworkPolicy"):
        told = any(policy["metadata"]["name"] == "mutt-remediation-to-receivers" for policy in policies)
        found = set(allowed(policies, "egress", "to"))
        yield from difference(found, OUTWARDS | (RECEIVERS if told else set()))
        for peer, _, _ in found:
            if peer[0].isdigit() and not ipaddress.ip_network(peer).subnet_of(NOWHERE):
                yield f"{peer} is somebody's address"


def settings_fit(stack, _):
    """The worker's own settings lead to where it may go."""
    policies = stack.all("NetworkPolicy")
    if not policies:
        return
    data = stack.one("ConfigMap")["data"]
    used = {data["REDIS_PORT"]} if data["REDIS_PORT"] else set()
    used |= {node.rpartition(":")[2] for node in data.get("REDIS_SENTINELS", "").split(",") if node}
    out = {str(port) for _, _, port in allowed(policies, "egress", "to")}
    if used - out:
        yield f"Redis is at {sorted(used - out)}, which is closed"
    ends = {port["name"] for port in stack.container["ports"]}
    if unknown := {port for _, _, port in allowed(policies, "ingress", "from")} - ends:
        yield f"the pod has no ports {sorted(map(str, unknown))}"


def difference(found, expected):
    for entry in sorted(found - expected, key=str):
        yield f"allows {entry}"
    for entry in sorted(expected - found, key=str):
        yield f"forbids {entry}"


RULES = {
    "network isolation": isolation,
    "network inwards": inwards,
    "network outwards": outwards,
    "network and settings": settings_fit,
}
