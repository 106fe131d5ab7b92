//! That a mistake in a document is found.

use super::{commands, failures};

/// Each is wrong in one place.
const WRONG: [&str; 50] = [
    "`mutt-remediation ls alerter --raeson failed`",
    "`mutt-remediation lst alerter`",
    "`mutt-remediation show alerter ffffffffffff`",
    "```sh\nmutt-remediation ls alerter   # exit code 4: there is none\n```",
    "`redis-cli LLLEN mutt:dlq:alerter`",
    "`redis-cli LLEN mutt:config:alerter_queue_warn_threshold`",
    "`make buildx`",
    "`make demo KEP=1`",
    "`make test-image REPRODUC=1`",
    "`SOAK_SECOND=120 make soak`",
    "`.ci/setup tests`",
    "`cargo mutants --nonsense`",
    "`cargo fuzz frob`",
    "`cargo test --lock --test it`",
    "`cargo bench --locked --bench drian`",
    "`cargo bench --locked --bench drain -- --letters 5`",
    "`cargo test --locked --test it nothing::`",
    "`kubectl logs deployment/mutt-remedy`",
    "`kubectl logs deployment/mutt-remediation --tial=5`",
    "`kubectl get pods -l app.kubernetes.io/name=mutt-worker`",
    "`kubectl port-forward deployment/mutt-remediation 8088`",
    "`kubectl set env deployment/mutt-remediation REMEDIATION_BATCHSIZE=5`",
    "`kubectl exec deployment/mutt-remediation --itt -- true`",
    "`kubectl exec deployment/mutt-remediation -c nothing -- true`",
    "`kubectl get secret nothing`",
    "`kubectl delete configmap nothing`",
    "`kubectl scale deployment mutt-remedy --replicas=0`",
    "`kubectl config set-context --current --namespace=default`",
    "```sh\nkubectl port-forward deployment/mutt-remediation 8088 &\nkill %1\n```",
    "```sh\nkubectl port-forward deployment/mutt-remediation 8086 &\ntrue\n```",
    "`kubectl rollout restart -n default deployment/mutt-remediation`",
    "`docker compose stop moog`",
    "`docker compose up --build --detached`",
    "`docker compose up --build nothing`",
    "`docker compose down --volumes --time-out 3`",
    "`docker inspect --format '{{.Nonsense}}' mutt-remediation:0.1.0`",
    "`docker run --rm -p frob prom/nothing`",
    "`curl -s localhost:8086/metric`",
    "`systemctl restart mutt-remedation`",
    "`systemctl restart mutt-remediation --noww`",
    "`systemd-analyze security nothing.service`",
    "`journalctl -u mutt-remediation --sincerely today`",
    "`apt install ./target/debian/mutt-remediation_0.1.0.deb --frob`",
    "`promtool check config prometheus.yaml`",
    "1. So:\n\n   ```sh\n   frobnicate\n   ```",
    "```sh\nREMEDIATION_INTERVALL=5\n```",
    "```console\n$ redis-cli TYPE mutt:dlq:alerter\nstring\n```",
    "```console\n$ REMEDIATION_INTERVAL=0 mutt-remediation --check-config\n...\n$ echo $?\n1\n```",
    "```promql\nsum(rate(up[5m])\n```",
    "```sh\nprintf x | grep y | cat\n```",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_is_told_by_its_place() {
    let mut all = Vec::new();
    for (at, text) in WRONG.iter().enumerate() {
        let found = commands::of(&format!("{at}.md"), text);
        assert_eq!(found.len(), 1, "{text}");
        all.extend(found);
    }
    let found = failures(&all).await;
    for (at, text) in WRONG.iter().enumerate() {
        let place = format!("{at}.md:");
        assert!(found.iter().any(|one| one.starts_with(&place)), "{text}");
    }
}

#[test]
fn every_program_that_stands_for_another_says_how_far_it_goes() {
    let page = std::fs::read_to_string("docs/TESTING.md").expect("it exists");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for entry in std::fs::read_dir("tests/it/documents/bin").expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = format!("`{}`", path.file_name().expect("a name").display());
        assert!(
            rows.iter().any(|row| row.contains(&name)),
            "{name} has no row"
        );
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let says = text.lines().nth(1);
        assert!(says.is_some_and(|line| line.starts_with("# ")), "{name}");
    }
}

#[test]
fn commands_are_found_wherever_they_stand() {
    let text = "Type `make x`, not `make` or `make_x`.\n\n\
                | `a \\| b` | `redis-cli INFO \\| grep x` |\n\
                1. So:\n   ```sh\n   name=value\n   ```\n\
                2. So:\n   ```sh\n   echo $name\n   ```\n\
                ```text\nmake y\n```\n`CHAOS=1 make z`";
    let found = commands::of("a.md", text);
    let found: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|one| (one.place.as_str(), one.before.as_str(), one.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("a.md:1", "", "make x"),
            ("a.md:3", "", "redis-cli INFO | grep x"),
            ("a.md:10", "name=value\n", "echo $name\n"),
            ("a.md:15", "name=value\n", "CHAOS=1 make z"),
        ]
    );
    // That many there were when this was written.
    let documents = commands::documents();
    let all = documents
        .iter()
        .flat_map(|(file, text)| commands::of(file, text));
    let count = all.count();
    assert!(count > 200, "{count}");
    let remarks = "# Try it:\n#\n#   make x\n#   make y\n#\n# or `make z`\nkey: value\n";
    let found = commands::of("a.yml", remarks);
    let found: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(found, ["make x\nmake y\n", "make z"]);
}
