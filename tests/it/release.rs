//! What `.ci/release` refuses, in a repository of a few files that is made for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

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
        repository.compiler("1.95.0");
        fs::create_dir(repository.path().join(".ci")).expect("made");
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

    /// A compiler that says that it is this one, and a cargo that builds nothing.
    fn compiler(&self, version: &str) {
        let bin = self.path().join("bin");
        fs::create_dir_all(&bin).expect("made");
        for (name, script) in [
            (
                "rustc",
                format!("#!/bin/sh\necho 'rustc {version} (0 0)'\n"),
            ),
            ("cargo", "#!/bin/sh\necho built nothing; exit 9\n".into()),
        ] {
            fs::write(bin.join(name), script).expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("set");
        }
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
        let path = std::env::var_os("PATH").expect("a path");
        let path = std::env::join_paths(
            [self.path().join("bin")]
                .into_iter()
                .chain(std::env::split_paths(&path)),
        );
        let output = Command::new(".ci/release")
            .env("PATH", path.expect("a path"))
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
