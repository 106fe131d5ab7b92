//! The files of the world: a checkout to type in, whose manifests can be edited, and the only
//! programs that are found there. Those of `bin` stand for real ones, and say how far each goes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::letters;

/// Programs that do what a reader's would.
const TOOLS: [&str; 29] = [
    "bash",
    "cat",
    "cp",
    "echo",
    "env",
    "false",
    "grep",
    "head",
    "install",
    "jq",
    "ls",
    "mkdir",
    "openssl",
    "sha256sum",
    "tar",
    "printf",
    "promtool",
    "rm",
    "sed",
    "sh",
    "sort",
    "split",
    "tail",
    "tee",
    "timeout",
    "touch",
    "true",
    "uniq",
    "wc",
];

/// A checkout whose manifests can be edited, a path with the programs, and what they look things up in.
pub(crate) fn lay(dir: &Path) {
    let repository = std::env::current_dir().expect("it is the repository");
    let below = dir.join("checkout");
    for folder in [
        "bin",
        "checkout/target/release",
        "checkout/target/ci/tools/bin",
        "checkout/.ci",
        "checkout/mutt",
        "etc/mutt",
        "etc/mutt-remediation",
        "etc/systemd/system",
        "usr/bin",
    ] {
        fs::create_dir_all(dir.join(folder)).expect("a directory");
    }
    for entry in fs::read_dir(&repository).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().expect("a name");
        if !["k8s", "target", ".ci", ".env", ".git"].contains(&name.to_str().expect("text")) {
            symlink(&path, below.join(name)).expect("a link");
        }
    }
    copied(&repository.join("k8s"), &below.join("k8s"));
    let bin = dir.join("bin");
    for entry in fs::read_dir("tests/it/documents/bin").expect("it can be read") {
        let path = repository.join(entry.expect("it can be read").path());
        symlink(&path, bin.join(path.file_name().expect("a name"))).expect("a link");
    }
    for script in ["api", "check", "servers", "setup"] {
        symlink(bin.join("ci"), below.join(".ci").join(script)).expect("a link");
    }
    symlink(
        bin.join("ci"),
        below.join("target/ci/tools/bin/cargo-mutants"),
    )
    .expect("a link");
    for tool in TOOLS {
        symlink(found(tool), bin.join(tool)).expect("a link");
    }
    symlink(
        bin.join("mutt-remediation"),
        below.join("target/release/mutt-remediation"),
    )
    .expect("a link");
    let secret = below.join("k8s/components/secret");
    fs::copy(secret.join("secret.env.example"), secret.join("secret.env")).expect("copied");
    fs::copy(secret.join("secret.env.example"), below.join("secret.env")).expect("copied");
    fs::write(
        below.join("mended.json"),
        letters::README.replace("down", "up"),
    )
    .expect("written");
    let page = fs::read_to_string("docs/prometheus/README.md").expect("it exists");
    let config = page
        .split("```yaml\n")
        .find(|block| block.starts_with("rule_files:"));
    let config = config.and_then(|block| block.split("```").next());
    fs::write(below.join("prometheus.yml"), config.expect("a block")).expect("written");
    for file in ["slo-recording", "slo-alerts", "worker-alerts"] {
        let file = format!("{file}.yml");
        fs::copy(
            repository.join("docs/prometheus").join(&file),
            below.join("mutt").join(&file),
        )
        .expect("copied");
    }
    certificates(&dir.join("etc/mutt"));
    fs::write(dir.join("manifests"), manifests(&below)).expect("written");
}

/// Where real programs are.
pub(crate) fn path() -> OsString {
    let kubectl = std::env::current_dir().expect("it is the repository");
    let outside = std::env::var_os("PATH").unwrap_or_default();
    // Used only where there is no other one.
    let all = std::env::split_paths(&outside).chain([kubectl.join("target/ci/kubectl/bin")]);
    std::env::join_paths(all).expect("a path")
}

pub(crate) fn copied(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status();
    assert!(status.expect("cp exists").success());
}

pub(crate) fn found(tool: &str) -> PathBuf {
    std::env::split_paths(&path())
        .map(|folder| folder.join(tool))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{tool} is installed by `.ci/setup test`"))
}

fn certificates(dir: &Path) {
    for name in ["redis-ca", "redis-client"] {
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-subj", "/CN=redis", "-keyout"])
            .arg(file("key"))
            .arg("-out")
            .arg(file("crt"))
            .output()
            .expect("openssl is installed by `.ci/setup test`");
        assert!(made.status.success(), "{made:?}");
    }
}

/// What kustomize makes of all components, as lines to be looked for: names, labels and ports.
fn manifests(checkout: &Path) -> String {
    let made = std::process::Command::new(found("kubectl"))
        .args(["kustomize", "k8s/overlays/full"])
        .current_dir(checkout)
        .output()
        .expect("kubectl is installed by `.ci/setup test`");
    assert!(made.status.success(), "{made:?}");
    let mut kind = "";
    let mut lines = String::new();
    let text = String::from_utf8(made.stdout).expect("text");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("kind: ") {
            kind = name;
        } else if let Some(name) = line.strip_prefix("  name: ") {
            lines += &format!("{kind} {name}\n");
        } else if let Some(port) = line
            .trim()
            .trim_start_matches("- ")
            .strip_prefix("containerPort: ")
        {
            lines += &format!("port {port}\n");
        } else if let Some((label, value)) = line
            .trim()
            .split_once(": ")
            .filter(|(label, _)| label.contains("kubernetes.io/"))
        {
            lines += &format!("label {label}={value}\n");
        }
    }
    lines
}
