"""The base images: those of the registries, and an imitation of each that cannot be had.

An imitation is as alike as the checks need: Debian's own packages, the toolchain of this machine, and the settings that the
real image has. What runs on it has run on the same libraries, but not on the same bytes.
"""

import pathlib
import shutil
import subprocess
import tempfile

from tools import HOME, Failed, docker, run, say, works

RELEASE = "bookworm"
# All that the three images are made of; each takes its part.
PACKAGES = ["ca-certificates", "gcc", "libc6-dev", "libssl3", "media-types", "netbase", "redis-server", "tzdata"]
DEBIAN = HOME / "debian"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Nobody reads these in a container.
BALLAST = ["./var/cache/apt", "./var/lib/apt/lists", "./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./dev", "./proc", "./sys"]
# What distroless has in its cc image, by its bill of materials of 2026.
DISTROLESS = ["base-files", "ca-certificates", "gcc-12-base", "libc6", "libgcc-s1", "libgomp1", "libssl3", "libstdc++6"]
DISTROLESS += ["media-types", "netbase", "tzdata"]
# The server is started as the official image does: not as root, on its own data, and for others than this host.
REDIS_ENTRYPOINT = """#!/bin/sh
set -e
if [ "$1" = redis-server ]; then
    shift
    chown -R redis:redis /data
    exec setpriv --reuid=redis --regid=redis --clear-groups redis-server --protected-mode no "$@"
fi
exec "$@"
"""


def debian():
    """A minimal Debian with the packages, made once."""
    if not (HOME / "debian-complete").exists():
        say(f"making a Debian {RELEASE} to imitate base images with, which takes minutes")
        shutil.rmtree(DEBIAN, ignore_errors=True)
        HOME.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, DEBIAN)
        (HOME / "debian-complete").touch()
    # Where the registries of packages are reached through somebody with a certificate of their own, so will they be from there.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", DEBIAN / "etc/ssl/certs/ca-certificates.crt")


def imported(name, folder, leave_out, *changes):
    options = [word for change in changes for word in ("--change", change)]
    packer = ["tar", "--create", f"--directory={folder}", "--numeric-owner", *(f"--exclude={path}" for path in leave_out), "."]
    with subprocess.Popen(packer, stdout=subprocess.PIPE) as packed:
        docker("import", *options, "-", name, stdin=packed.stdout)
    if packed.returncode:
        raise Failed(f"tar ended with {packed.returncode} while packing {name}")


def rust(name):
    """gcc, and the toolchain of this machine where the official image has its own."""
    debian()
    host = dict(line.split(": ", 1) for line in run("rustc", "-vV").splitlines() if ": " in line)
    wanted = name.split(":")[1].split("-")[0]
    if not host["release"].startswith(wanted + "."):
        say(f"NOTE: {name} asks for Rust {wanted}, and this machine has {host['release']}, which is taken instead")
    toolchain = f"usr/local/rustup/toolchains/{host['release']}-{host['host']}"
    shutil.rmtree(DEBIAN / "usr/local/rustup", ignore_errors=True)
    # Without documentation and linters.
    for part in ["bin/rustc", "bin/cargo", "lib"]:
        place = DEBIAN / toolchain / part
        place.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "--archive", pathlib.Path(run("rustc", "--print", "sysroot")) / part, place)
    programs = DEBIAN / "usr/local/cargo/bin"
    programs.mkdir(parents=True, exist_ok=True)
    for program in ["cargo", "rustc"]:
        (programs / program).unlink(missing_ok=True)
        (programs / program).symlink_to(f"/{toolchain}/bin/{program}")
    homes = ["ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo", f"ENV PATH=/usr/local/cargo/bin:{PATH[5:]}"]
    imported(name, DEBIAN, BALLAST, *homes)
    return f"Debian {RELEASE} by debootstrap and this machine's Rust {host['release']}"


def distroless(name):
    """Packages unpacked side by side, a user, and no shell."""
    debian()
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        root = pathlib.Path(folder)
        # As one of Debian's own: /bin, /lib and the like lead to /usr.
        run("cp", "--archive", *(DEBIAN / name for name in ["bin", "lib", "lib64", "sbin"]), root)
        for place in ["bin", "lib", "lib64", "sbin"]:
            (root / "usr" / place).mkdir(parents=True)
        for package in DISTROLESS:
            [file] = (DEBIAN / "var/cache/apt/archives").glob(f"{package}_*.deb")
            # Their scripts are not run, and what merely documents them is left out.
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as packed:
                run("tar", "--extract", f"--directory={root}", "--keep-directory-symlink", "--exclude=./usr/share/doc", stdin=packed.stdout)
            status = root / "var/lib/dpkg/status.d" / package
            status.parent.mkdir(parents=True, exist_ok=True)
            status.write_text(run("dpkg-deb", "--field", file) + "\n", encoding="utf-8")
        for made in ["etc/ssl/certs/ca-certificates.crt", "etc/nsswitch.conf"]:
            (root / made).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DEBIAN / made, root / made)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
        (root / "etc/group").write_text("root:x:0:\nnonroot:x:65532:\n")
        (root / "home/nonroot").mkdir(parents=True)
        shutil.chown(root / "home/nonroot", 65532, 65532)
        certificates = "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
        imported(name, root, [], f"ENV {PATH}", certificates, "USER 65532", "WORKDIR /home/nonroot")
    return f"{len(DISTROLESS)} packages of Debian {RELEASE}, unpacked"


def redis(name):
    """Debian's server, started as the official image starts its own."""
    debian()
    entrypoint = DEBIAN / "usr/local/bin/docker-entrypoint.sh"
    entrypoint.write_text(REDIS_ENTRYPOINT, encoding="utf-8")
    entrypoint.chmod(0o755)
    changes = [f"ENV {PATH}", 'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["redis-server"]', "WORKDIR /data", "VOLUME /data", "EXPOSE 6379"]
    imported(name, DEBIAN, [*BALLAST, "./usr/local/rustup", "./usr/local/cargo", "./usr/lib/gcc"], *changes)
    return f"Debian {RELEASE} by debootstrap and its redis-server"


IMITATIONS = {"rust": rust, "gcr.io/distroless/cc-debian12": distroless, "redis": redis}


def named(dockerfile, compose):
    """The images that the two files begin with."""
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    stages = [line.split()[3] for line in lines if line.startswith("FROM ") and " AS " in line]
    images = [line.split()[1] for line in lines if line.startswith("FROM ")]
    images += [line.split("image:")[1].strip() for line in compose.read_text(encoding="utf-8").splitlines() if " image: " in line]
    own = "mutt-remediation:"
    return sorted({image for image in images if image not in stages and not image.startswith(own)})


def final(dockerfile):
    """What the image itself is built on."""
    return [line.split()[1] for line in dockerfile.read_text(encoding="utf-8").splitlines() if line.startswith("FROM ")][-1]


def provide(dockerfile, compose, came):
    """Has every base image in the engine, notes which of them came that way, and returns how those are made that are imitations."""
    imitated = {}
    for name in named(dockerfile, compose):
        if works("docker", "image", "inspect", name):
            say(f"{name} is there already")
            if imitation(name):
                imitated[name] = "imitated by an earlier run"
            continue
        came.append(name)
        if works("docker", "pull", "--quiet", name):
            say(f"{name} pulled")
            continue
        imitate = IMITATIONS.get(name.rsplit(":", 1)[0])
        if not imitate:
            raise Failed(f"{name} cannot be pulled, and nothing imitates it")
        imitated[name] = imitate(name)
        say(f"{name} cannot be pulled and is IMITATED: {imitated[name]}")
    return imitated


def imitation(name):
    """What is imported, and not pulled, has no digest of a registry."""
    return docker("image", "inspect", "--format", "{{len .RepoDigests}}", name) == "0"
