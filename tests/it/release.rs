//! What `.ci/release` refuses, in a repository of a few files that is made for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A cargo that builds nothing, and says where and how.
const NOTHING: &str = r#"#!/bin/sh
echo "in $CARGO_TARGET_DIR with ${RUSTFLAGS-no flags}, ${RUSTC-no other} compiler, ${RUSTC_WRAPPER-no wrapper}"
echo "for ${CARGO_BUILD_TARGET-this machine}, lto ${CARGO_PROFILE_RELEASE_LTO-as it is}"
exit 9
"#;
const GOOD_CHANGELOG: &str = "# Changelog\n\n## [1.2.3] - 2026-11-26\n";

struct Repository(TempDir);

impl Repository {
    /// One that could be released, but that its build fails.
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().expect("a directory"));
        repository.write(
            "Cargo.toml",
            "[package]\nname = \"x\"\nversion = \"1.2.3\"\n",
        );
        repository.write("CHANGELOG.md", GOOD_CHANGELOG);
        repository.write("Dockerfile", "FROM rust:1.95-bookworm AS builder\n");
        repository.write(".gitignore", "target\n");
        repository.compiler("1.95.0");
        repository.program("bin/cargo", NOTHING);
        repository.program(".ci/check", "#!/bin/sh\n");
        let script = repository.path().join(".ci/release");
        fs::copy(".ci/release", script).expect("copied");
        repository.git(&["init", "--quiet"]);
        repository.commit();
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, script).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// A compiler that says that it is this one.
    fn compiler(&self, version: &str) {
        let script = format!("#!/bin/sh\necho 'rustc {version} (0 0)'\n");
        self.program("bin/rustc", &script);
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(self.path())
            .output();
        let output = output.expect("git is installed");
        assert!(output.status.success(), "{output:?}");
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a change"]);
    }

    /// The exit code, and all that was said.
    fn release(&self) -> (i32, String) {
        self.release_with(&[])
    }

    fn release_with(&self, variables: &[(&str, &str)]) -> (i32, String) {
        let path = std::env::var_os("PATH").expect("a path");
        let path = std::env::join_paths(
            [self.path().join("bin")]
                .into_iter()
                .chain(std::env::split_paths(&path)),
        );
        let output = Command::new(".ci/release")
            .env("PATH", path.expect("a path"))
            .envs(variables.iter().copied())
            .current_dir(self.path())
            .output()
            .expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (output.status.code().expect("a code"), said)
    }
}

#[test]
fn a_release_begins_only_where_nothing_is_to_be_said_against_it() {
    let repository = Repository::new();
    assert_eq!(repository.release().0, 9, "{:?}", repository.release());

    repository.write("new", "");
    let (code, said) = repository.release();
    assert!(code == 1 && said.contains("not committed"), "{said}");
    repository.commit();

    for version in ["1.94.1", "1.950.0"] {
        repository.compiler(version);
        repository.commit();
        let (code, said) = repository.release();
        let named = said.contains("built with Rust 1.95, as the Dockerfile says");
        assert!(code == 1 && named && said.contains(version), "{said}");
    }
    repository.compiler("1.95.0");

    for text in [
        "## [Unreleased]\n",
        "## [1.2.3]\n",
        "## [1x2.3] - 2026-11-26\n",
    ] {
        repository.write("CHANGELOG.md", text);
        repository.commit();
        let (code, said) = repository.release();
        assert!(code == 1 && said.contains("no section"), "{text}: {said}");
    }
    repository.write("CHANGELOG.md", GOOD_CHANGELOG);
    repository.commit();

    repository.git(&["tag", "v1.2.3"]);
    let (code, said) = repository.release();
    assert!(code == 1 && said.contains("a tag v1.2.3 already"), "{said}");
}

#[test]
fn all_that_is_said_against_a_release_is_said_at_once() {
    let repository = Repository::new();
    repository.git(&["tag", "v1.2.3"]);
    repository.write("CHANGELOG.md", "## [Unreleased]\n");
    repository.compiler("1.80.0");
    let (code, said) = repository.release();
    assert_eq!((code, said.lines().count()), (1, 4), "{said}");
    assert!(
        said.lines().all(|line| line.starts_with("release: ")),
        "{said}"
    );
}

#[test]
fn a_release_is_built_in_its_own_folder_by_its_own_compiler_whatever_the_caller_has_set() {
    let repository = Repository::new();
    let (code, said) = repository.release_with(&[
        ("CARGO_TARGET_DIR", "/nowhere"),
        ("RUSTFLAGS", "-Copt-level=0"),
        ("RUSTC", "/nowhere/rustc"),
        ("RUSTC_WRAPPER", "/nowhere/wrapper"),
        ("CARGO_BUILD_TARGET", "wasm32-wasip1"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ]);
    let target = repository.path().join("target");
    for expected in [
        &format!(
            "in {} with no flags, no other compiler, no wrapper",
            target.display()
        ),
        "for this machine, lto as it is",
    ] {
        assert!(code == 9 && said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn an_older_binary_is_not_packed_when_the_build_made_none() {
    let repository = Repository::new();
    repository.program("bin/cargo", "#!/bin/sh\n");
    repository.commit();
    repository.program("target/release/mutt-remediation", "of last week");
    let (code, said) = repository.release();
    assert!(code == 1 && said.contains("has made no"), "{said}");
}

#[test]
fn a_binary_that_names_folders_of_the_machine_is_not_packed() {
    let repository = Repository::new();
    for (name, built) in [
        ("home", "$HOME/x"),
        ("cargo's", "$CARGO_HOME/registry"),
        ("its own", "$PWD/src"),
    ] {
        let build = "mkdir -p target/release; echo";
        let script = format!("#!/bin/sh\n{build} {built} >target/release/mutt-remediation\n");
        repository.program("bin/cargo", &script);
        repository.commit();
        let home = [("HOME", "/home/somebody"), ("CARGO_HOME", "/opt/cargo")];
        let (code, said) = repository.release_with(&home);
        let told = said.contains("the binary names /");
        assert!(code == 1 && told, "{name}: {said}");
    }
}

#[test]
fn nothing_is_built_where_the_advisories_cannot_be_looked_at() {
    let repository = Repository::new();
    fs::copy(".ci/check", repository.path().join(".ci/check")).expect("copied");
    repository.program(".ci/setup", "#!/bin/sh\n");
    repository.commit();
    let (code, said) = repository.release_with(&[("RUSTSEC_DB", "/nowhere")]);
    let why = said.contains("NOT CHECKED") && said.contains("how to get the database");
    assert!(code == 1 && why && !said.contains("== build"), "{said}");
}
