"""The pod security standard "restricted", control by control.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
The names are those of its tables; it has all that "baseline" has, and where both have a control the stricter one counts.
What this project asks on top of it stands in `rules`.

Each control is given the pod as it stands in a template (metadata and spec) and yields what is wrong with it.
"""

SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = {"RuntimeDefault", "Localhost"}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}


def containers(pod):
    """Of every kind, for a container that starts first or is added later can do what the others can."""
    spec = pod["spec"]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind, [])


def contexts(pod):
    """The security contexts with the name of whose each is: the pod's, which counts where a container has nothing of its own, first."""
    yield "pod", pod["spec"].get("securityContext") or {}
    for container in containers(pod):
        yield container["name"], container.get("securityContext") or {}


def lacking(pod, field, good):
    """Who has no value that is good, neither of its own nor from the pod."""
    (_, shared), *own = contexts(pod)
    for name, context in own:
        if not good(context.get(field, shared.get(field))):
            yield name
    if field in shared and not good(shared[field]):
        yield "pod"


def host_process(pod):
    for name, context in contexts(pod):
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield f"{name} is a process of the host"


def host_namespaces(pod):
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod["spec"].get(key):
            yield f"{key} is set"


def privileged_containers(pod):
    for name, context in contexts(pod):
        if context.get("privileged"):
            yield f"{name} is privileged"


def capabilities(pod):
    for container in containers(pod):
        found = (container.get("securityContext") or {}).get("capabilities") or {}
        if "ALL" not in found.get("drop", []):
            yield f"{container['name']} does not drop all"
        if extra := set(found.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{container['name']} adds {sorted(extra)}"


def host_path_volumes(pod):
    for volume in pod["spec"].get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a path of the host"


def host_ports(pod):
    for container in containers(pod):
        for port in container.get("ports", []):
            if port.get("hostPort"):
                yield f"{container['name']} takes port {port['hostPort']} of the host"


def host_probes(pod):
    for container in containers(pod):
        hooks = container.get("lifecycle") or {}
        asked = [container.get(probe) for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        asked += [hooks.get(hook) for hook in ("postStart", "preStop")]
        for action in filter(None, asked):
            for how in ("httpGet", "tcpSocket"):
                if host := (action.get(how) or {}).get("host"):
                    yield f"{container['name']} has {host} asked"


def apparmor(pod):
    for name, context in contexts(pod):
        found = (context.get("appArmorProfile") or {}).get("type")
        if found and found not in APPARMOR:
            yield f"{name} is {found}"
    for key, value in (pod["metadata"].get("annotations") or {}).items():
        fits = value in ("", "runtime/default") or value.startswith("localhost/")
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not fits:
            yield f"{key} is {value}"


def selinux(pod):
    for name, context in contexts(pod):
        options = context.get("seLinuxOptions") or {}
        if options.get("type", "") not in SELINUX_TYPES or options.get("user") or options.get("role"):
            yield f"{name} has {options}"


def proc_mount_type(pod):
    for name, context in contexts(pod):
        if context.get("procMount", "Default") != "Default":
            yield f"{name} sees {context['procMount']}"


def sysctls(pod):
    for setting in (pod["spec"].get("securityContext") or {}).get("sysctls", []):
        if setting["name"] not in SYSCTLS:
            yield f"{setting['name']} is set"


def volume_types(pod):
    for volume in pod["spec"].get("volumes", []):
        # A path of the host has a control of its own.
        if other := set(volume) - {"name", "hostPath"} - VOLUMES:
            yield f"volume {volume['name']} is {sorted(other)}"


def privilege_escalation(pod):
    for container in containers(pod):
        if (container.get("securityContext") or {}).get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain privileges"


def running_as_non_root(pod):
    for name in lacking(pod, "runAsNonRoot", lambda value: value is True):
        yield f"{name} may run as root"


def running_as_non_root_user(pod):
    for name, context in contexts(pod):
        if context.get("runAsUser") == 0:
            yield f"{name} is user 0"


def seccomp(pod):
    for name in lacking(pod, "seccompProfile", lambda value: (value or {}).get("type") in SECCOMP):
        yield f"{name} has no profile"


CONTROLS = {
    "HostProcess": host_process,
    "Host Namespaces": host_namespaces,
    "Privileged Containers": privileged_containers,
    "Capabilities": capabilities,
    "HostPath Volumes": host_path_volumes,
    "Host Ports": host_ports,
    "Host Probes / Lifecycle Hooks": host_probes,
    "AppArmor": apparmor,
    "SELinux": selinux,
    "/proc Mount Type": proc_mount_type,
    "Sysctls": sysctls,
    "Volume Types": volume_types,
    "Privilege Escalation": privilege_escalation,
    "Running as Non-root": running_as_non_root,
    "Running as Non-root user": running_as_non_root_user,
    "Seccomp": seccomp,
}
