//! Addresses that are taken, and those that are not.

use secrecy::ExposeSecret as _;

use super::*;

fn smtp(text: &str) -> Smtp {
    match Receiver::parse(text).expect(text).target {
        Target::Email(smtp) => *smtp,
        _ => panic!("{text}"),
    }
}

#[test]
fn each_scheme_is_a_kind_and_secrets_are_not_shown() {
    for (text, kind, shown) in [
        (
            "webhook+https://u:hush@h.example:8443/hush?hush=hush",
            Kind::Webhook,
            "webhook+https://h.example:8443/...",
        ),
        ("webhook+http://h/", Kind::Webhook, "webhook+http://h/"),
        (
            "slack+https://hooks.slack.com/services/T/B/hush",
            Kind::Slack,
            "slack+https://hooks.slack.com/...",
        ),
        (
            "ALERTMANAGER+HTTP://am:9093?env=hush",
            Kind::Alertmanager,
            "alertmanager+http://am:9093/...",
        ),
        (
            "smtps://hush:hush@mail.example/?from=hush@x.example&to=hush@x.example",
            Kind::Email,
            "smtps://mail.example:465/...",
        ),
    ] {
        let receiver = Receiver::parse(text).expect(text);
        assert_eq!(receiver.kind(), kind, "{text}");
        assert_eq!(receiver.to_string(), shown);
        assert!(!format!("{receiver:?}").contains("hush"));
    }
}

#[test]
fn alertmanagers_path_is_its_apis_whatever_is_in_front_of_it() {
    for (text, path) in [
        ("alertmanager+http://a", "/api/v2/alerts"),
        ("alertmanager+http://a/am/", "/am/api/v2/alerts"),
        ("alertmanager+http://a/api/v2/alerts", "/api/v2/alerts"),
    ] {
        let Target::Alertmanager { url, labels } = Receiver::parse(text).expect(text).target else {
            panic!("{text}");
        };
        assert_eq!((url.path(), url.query()), (path, None));
        assert!(labels.is_empty());
    }
    let text = "alertmanager+http://a/?env=prod&team=ops%20eu";
    let Target::Alertmanager { labels, .. } = Receiver::parse(text).expect(text).target else {
        panic!("{text}");
    };
    let expected = [("env", "prod"), ("team", "ops eu")];
    assert_eq!(labels, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn mail_is_sent_over_tls_unless_it_stays_on_this_machine_or_is_told_not_to() {
    let rest = "from=a@x.example&to=b@x.example";
    for (start, tls, port) in [
        ("smtps://h/?", Tls::Implicit, 465),
        ("smtp://h/?", Tls::StartTls, 587),
        ("smtp://h:25?", Tls::StartTls, 25),
        ("smtp://localhost/?", Tls::None, 25),
        ("smtp://127.0.0.1:1025/?", Tls::None, 1025),
        ("smtp://[::1]/?", Tls::None, 25),
        ("smtp://localhost/?tls=starttls&", Tls::StartTls, 587),
        ("smtp://h/?tls=none&", Tls::None, 25),
        ("smtp://localhost.evil.example/?", Tls::StartTls, 587),
        ("smtp://127.0.0.1.evil.example/?", Tls::StartTls, 587),
    ] {
        let text = format!("{start}{rest}");
        let smtp = smtp(&text);
        assert_eq!((smtp.tls, smtp.port), (tls, port), "{text}");
        let clear = Receiver::parse(&text).expect("read").is_in_the_clear();
        assert_eq!(clear, start.contains("//h/?tls=none"), "{text}");
    }
    let full = smtp("smtps://u%40x:p%2Fw%3A@h/?from=a@x.example&to=b@x.example&to=c@x.example");
    let (user, password) = full.login.expect("a login");
    assert_eq!((user.as_str(), password.expose_secret()), ("u@x", "p/w:"));
    assert_eq!(full.to.len(), 2);
    assert_eq!(smtp(&format!("smtp://[::1]/?{rest}")).host, "::1");
}

#[test]
fn a_plus_in_a_mail_address_is_a_plus() {
    let smtp = smtp("smtps://h/?from=mutt+a@x.example&to=ops+mutt@x.example&to=b%2Bc%40x.example");
    assert_eq!(smtp.from, "mutt+a@x.example");
    assert_eq!(smtp.to, ["ops+mutt@x.example", "b+c@x.example"]);
}

#[test]
fn a_password_without_tls_can_be_read_on_the_way() {
    for (text, clear) in [
        ("webhook+http://u:p@h.example/", true),
        ("slack+http://u:p@h.example/x", true),
        ("alertmanager+http://u:p@h.example/", true),
        ("webhook+https://u:p@h.example/", false),
        ("webhook+http://h.example/", false),
        ("webhook+http://u:p@127.0.0.1/", false),
    ] {
        let receiver = Receiver::parse(text).expect(text);
        assert_eq!(receiver.is_in_the_clear(), clear, "{text}");
    }
}

#[test]
fn what_is_no_receiver_is_refused_without_being_repeated() {
    for text in [
        "",
        "hush",
        "https://hush.example/",
        "slcak+https://hush/",
        "webhook+ftp://hush/",
        "webhook+https://",
        "webhook+https:///hush",
        "webhook+https://h/#hush",
        "alertmanager+http://h/?event=hush",
        "alertmanager+http://h/?1=hush",
        "alertmanager+http://h/?a=hush&a=hush",
        "alertmanager+http://h/?a=",
        "smtp://h",
        "smtps://h/?from=a@x.example",
        "smtps://h/?to=a@x.example",
        "smtps://h/?from=hush&to=a@x.example",
        "smtps://h/?from=a@x.example&to=hush%0d%0aBcc:b@x.example",
        "smtps://h/?from=a@x.example&to=b@x.example&tls=none",
        "smtps://h/hush?from=a@x.example&to=b@x.example",
        "smtp://h/?from=a@x.example&to=b@x.example&tls=hush",
        "smtp://h/?from=a@x.example&to=b@x.example&hush=1",
        "smtp://hush@h/?from=a@x.example&to=b@x.example",
    ] {
        let expected = Receiver::parse(text).expect_err(text);
        assert!(expected.starts_with("expected "), "{expected}");
        assert!(!expected.contains("hush"), "{expected}");
    }
    assert_eq!(scheme("slcak+https://hush/"), Some("slcak+https"));
    for hidden in [
        "hush",
        "hu sh://x",
        "hush:hush@h",
        "ahushahushahushahushahush://x",
    ] {
        assert_eq!(scheme(hidden), None, "{hidden}");
    }
}
