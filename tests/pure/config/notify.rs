//! Who is told, and when.

use mutt_remediation::notify::event::Event;
use mutt_remediation::notify::receiver::{Kind, Receiver};

use super::*;

const SECRET: (&str, &str) = ("NOTIFY_HMAC_SECRET", "hush-hush-hush-hush");

#[test]
fn nobody_is_told_unless_somebody_is_named() {
    assert!(load(&[]).expect("valid").notify.is_none());
    assert!(is_warned(
        &[("NOTIFY_DEAD_LIST_SIZE", "5")],
        "NOTIFY_DEAD_LIST_SIZE has no effect without NOTIFY_URLS"
    ));
}

#[test]
fn receivers_are_separated_by_commas_and_blanks_and_shown_without_their_secrets() {
    let urls = "webhook+https://a.example/hush, slack+https://b.example/hush\n\
                alertmanager+http://c:9093 smtps://u:hush@d/?from=hush@x.example&to=y@x.example";
    let config = load(&[("NOTIFY_URLS", urls), SECRET]).expect("valid");
    let notify = config.notify.expect("somebody");
    let kinds: Vec<Kind> = notify.receivers.iter().map(Receiver::kind).collect();
    assert_eq!(kinds, Kind::ALL);
    assert_eq!(notify.rules.events, Event::ALL);
    let shown = config
        .effective
        .iter()
        .find(|one| one.name == "NOTIFY_URLS");
    assert_eq!(
        shown.expect("it is shown").shown,
        "webhook+https://a.example/... slack+https://b.example/... alertmanager+http://c:9093/ smtps://d:465/..."
    );
    let all = format!(
        "{:?} {:?} {:?}",
        config.effective, config.warnings, notify.receivers
    );
    assert!(!all.contains("hush"), "{all}");
}

#[test]
fn every_bad_address_is_named_with_what_was_expected() {
    let problems = problems(&[(
        "NOTIFY_URLS",
        "hush slack+https://ok.example/x https://hush.example webhook+https:///hush",
    )]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, start) in problems.iter().zip([
        "NOTIFY_URLS: address 1 (not shown) is not one of a receiver: expected webhook+https://",
        "NOTIFY_URLS: address 3 (https://..., not shown) is not one of a receiver: expected webhook",
        "NOTIFY_URLS: address 4 (webhook+https://..., not shown) is not one of a receiver: expected a host",
    ]) {
        assert!(problem.starts_with(start), "{problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
}

#[test]
fn a_webhook_needs_a_secret_and_nothing_else_does() {
    let webhook = ("NOTIFY_URLS", "webhook+https://a.example/");
    let problems = problems(&[webhook]);
    assert!(
        problems[0].starts_with("NOTIFY_HMAC_SECRET is not set"),
        "{problems:?}"
    );
    assert_eq!(problems.len(), 1);
    let short = problem_of(&[webhook, ("NOTIFY_HMAC_SECRET", "hush")]);
    assert!(short.starts_with("NOTIFY_HMAC_SECRET: the value (not shown) is not 16 to 512"));
    let slack = ("NOTIFY_URLS", "slack+https://a.example/");
    assert!(is_warned(
        &[slack, SECRET],
        "NOTIFY_HMAC_SECRET has no effect"
    ));
    assert!(load(&[slack]).expect("valid").warnings.len() < 2);
}

fn problem_of(pairs: &[(&str, &str)]) -> String {
    let mut found = problems(pairs);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_is_doubled_counts_once_and_what_can_be_read_on_the_way_is_warned_about() {
    let twice = "slack+https://a.example/x slack+https://a.example/x";
    let config = load(&[("NOTIFY_URLS", twice)]).expect("valid");
    assert_eq!(config.notify.expect("one").receivers.len(), 1);
    assert!(is_warned(
        &[("NOTIFY_URLS", twice)],
        "NOTIFY_URLS: address 2"
    ));
    let clear = "smtp://mail.example/?from=a@x.example&to=b@x.example&tls=none";
    assert!(is_warned(
        &[("NOTIFY_URLS", clear)],
        "NOTIFY_URLS: address 1 (smtp://mail.example:25/...) is spoken to without TLS"
    ));
    let login = "webhook+http://user:hush@hook.example/";
    assert!(is_warned(
        &[("NOTIFY_URLS", login), SECRET],
        "NOTIFY_URLS: address 1 (webhook+http://hook.example/) is spoken to without TLS"
    ));
    let many: Vec<String> = (0..17)
        .map(|i| format!("slack+https://a.example/{i}"))
        .collect();
    assert!(problem_of(&[("NOTIFY_URLS", &many.join(" "))]).contains("16 at most"));
}

#[test]
fn the_consoles_address_may_hold_no_secret() {
    let slack = ("NOTIFY_URLS", "slack+https://a.example/");
    let base = ("NOTIFY_CONSOLE_URL", "https://mutt.example:8400/console/");
    let config = load(&[slack, base]).expect("valid");
    let teller = config.notify.expect("somebody").teller;
    assert_eq!(teller.console.as_deref(), Some("https://mutt.example:8400"));
    let bad = problem_of(&[
        slack,
        ("NOTIFY_CONSOLE_URL", "https://u:hush@mutt.example/"),
    ]);
    assert!(
        bad.contains("(not shown)") && !bad.contains("hush"),
        "{bad}"
    );
}

#[test]
fn a_misspelt_name_is_warned_about() {
    assert!(is_warned(
        &[("NOTIFY_URL", "x")],
        "NOTIFY_URL is not known and has no effect: did you mean NOTIFY_URLS?"
    ));
}
