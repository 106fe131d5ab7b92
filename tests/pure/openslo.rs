//! Files of one's own in the OpenSLO format: the example, and what nobody would write.

use mutt_remediation::slo::objective::{Indicator, Lull, Op, Part, Series};
use mutt_remediation::slo::openslo::{MAX_BYTES, read};
use mutt_remediation::slo::window::Window;
use proptest::prelude::*;

const EXAMPLE: &str = "docs/slo/example.yaml";

fn example() -> String {
    std::fs::read_to_string(EXAMPLE).expect("it exists")
}

#[test]
fn the_example_is_read_as_it_is_described() {
    let objectives = read(&example(), &[]).expect("it is right");
    let names: Vec<_> = objectives.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "checkout_availability",
            "checkout_latency_1",
            "checkout_latency_2",
            "outbox_drained",
            "nightly_import"
        ]
    );
    let [availability, latency, slower, outbox, import] = objectives.as_slice() else {
        panic!("five");
    };
    let selector = |text: &str| Series::Selector(text.into());
    assert_eq!(availability.component, "checkout");
    assert_eq!(
        availability.description,
        "Requests that the checkout answers"
    );
    assert_eq!(availability.period, Window::hours(720));
    assert_eq!(availability.min_events, 50);
    assert_eq!(
        availability.indicator,
        Indicator::Ratio {
            part: Part::Bad(selector(
                r#"http_requests_total{job="checkout",code=~"5.."}"#
            )),
            total: selector(r#"http_requests_total{job="checkout"}"#),
        }
    );
    assert_eq!(
        latency.description,
        "Requests that the checkout answers within half a second: most"
    );
    let targets = [availability, latency, slower].map(|one| one.target.to_string());
    assert_eq!(targets, ["0.999", "0.95", "0.99"]);
    assert_eq!(latency.indicator, slower.indicator);
    assert_eq!(
        outbox.indicator,
        Indicator::Moments {
            query: "sum(outbox_messages_waiting)".into(),
            op: Op::Lte,
            bound: 1_000.0,
            every: Window::minutes(1),
        }
    );
    assert_eq!((import.lull, outbox.lull), (Lull::Any, Lull::Minutes));
    assert_eq!(import.min_events, 3, "a quarter of an hour has no more");
}

#[test]
fn names_that_are_taken_are_refused() {
    let problems = read(&example(), &["outbox_drained"]).expect_err("taken");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].ends_with("outbox_drained is the name of another objective"),
        "{problems:?}"
    );
}

/// What hostile files are made of.
const PIECES: &[&str] = &[
    "apiVersion: openslo/v1\n",
    "kind: SLO\n",
    "kind: SLI\n",
    "metadata: {name: a}\n",
    "spec:\n",
    "  ",
    "objectives:\n",
    "- ",
    "target: 0.9\n",
    "indicator:\n",
    "ratioMetric:\n",
    "counter: true\n",
    "good:\n",
    "metricSource: {spec: {query: a}}\n",
    "query: ",
    "sum(a[{{.window}}])",
    "{{",
    "}}",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!t ",
    "'",
    "\"",
    "\\",
    "|\n",
    "# ",
    ",",
    ": ",
    "\n",
    "---\n",
    "...\n",
    "? ",
    "é",
    "\u{feff}",
    "\0",
    "~",
    "99999999999999999999",
    "1d",
];

/// The lines of the example with some left out, doubled or replaced by another.
fn shuffled() -> impl Strategy<Value = String> {
    let lines: Vec<String> = example().lines().map(str::to_owned).collect();
    let count = lines.len();
    let edits = prop::collection::vec((0..count, 0..count, 0..3_u8), 1..6);
    edits.prop_map(move |edits| {
        let mut lines = lines.clone();
        for (at, other, what) in edits {
            let other = lines[other].clone();
            match what {
                0 => lines[at].clear(),
                1 => lines[at] = other,
                _ => lines[at].push_str(other.trim()),
            }
        }
        lines.join("\n")
    })
}

/// Whatever comes of it: objectives that are sound, or a reason.
fn holds(text: &str) {
    match read(text, &["taken"]) {
        Err(problems) => assert!(!problems.is_empty()),
        Ok(objectives) => {
            assert!((1..=100).contains(&objectives.len()));
            let mut names: Vec<_> = objectives.iter().map(|one| one.name.clone()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), objectives.len());
            for one in objectives {
                assert!(one.target > 0.0 && one.target < 1.0);
                assert!(one.period >= Window::hours(1));
                assert!(one.period.as_secs().is_multiple_of(3_600));
                assert!(one.min_events > 0);
                assert_ne!(one.name, "taken");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        holds(&text);
    }

    #[test]
    fn any_pile_of_pieces_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        holds(&pieces.concat());
    }

    #[test]
    fn an_example_that_somebody_has_spoilt_is_read_or_refused(text in shuffled()) {
        holds(&text);
    }

    #[test]
    fn a_pile_of_one_piece_is_refused_without_a_crash(piece in prop::sample::select(PIECES), prefix in ".{0,3}") {
        holds(&format!("{prefix}{}", piece.repeat(20_000 / piece.len())));
    }
}

/// So many keys that nobody knows.
fn keys(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|n| format!("k{n}: 1")).collect();
    lines.join("\n")
}

fn refused(text: &str) -> String {
    let problems = read(text, &[]).expect_err("refused");
    problems.join("\n")
}

#[test]
fn aliases_that_multiply_cost_nothing() {
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..60 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let problems = refused(&bomb);
    assert!(
        problems.contains("document 1: a59: not known"),
        "{problems}"
    );
}

#[test]
fn depth_is_bounded_also_through_aliases() {
    let limit = "nested deeper than 64 levels";
    let mut stairs = String::from("a0: &a0 []\n");
    for n in 1..10_000 {
        stairs.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    let problems = refused(&stairs);
    assert_eq!(problems, format!("line 64: {limit}"));
    for piece in ["[", "{a: ", "- ", "? "] {
        let problems = refused(&piece.repeat(100_000));
        assert!(problems.contains("line 1: "), "{problems}");
    }
    assert_eq!(
        refused("a: &a [*a]"),
        "line 1: an alias inside what it stands for"
    );
}

#[test]
fn what_is_too_much_is_refused() {
    let long = " ".repeat(MAX_BYTES + 1);
    assert_eq!(refused(&long), "1048577 bytes, expected 1048576 at most");
    assert_eq!(
        refused(&"- a\n".repeat(200_000)),
        "line 100001: more than 100000 values"
    );
    assert_eq!(
        refused(&keys(2_000)),
        "line 1001: more than 1000 keys in one map"
    );
    let problems = refused(&keys(900));
    assert_eq!(problems.lines().count(), 101, "{problems}");
    assert!(problems.ends_with("\nand perhaps more"), "{problems}");
}
