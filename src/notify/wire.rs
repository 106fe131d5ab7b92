//! What is sent over HTTP: signed JSON, Slack's JSON, alerts. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::event::{Event, Key, Note, State};
use super::outbox::Batch;
use super::text::{headline, page, plain, remark, said, time, when, without_what_is_over};

/// An alert that is not told again ends by itself after this time, in seconds: six tellings may fail.
pub const EXPIRES: i64 = 180;
/// Characters of one Slack message, at most; Slack cuts off above 40,000.
const SLACK: usize = 30_000;

/// Who tells, and how it is spelt.
#[derive(Clone, Debug)]
pub struct Teller {
    /// Our name.
    pub instance: String,
    /// What the console's pages are below, without a slash at its end.
    pub console: Option<String>,
    /// Nothing of it has happened.
    pub test: bool,
}

impl Teller {
    /// The page of the console that shows more.
    #[must_use]
    pub fn link(&self, note: &Note) -> Option<String> {
        let base = self.console.as_ref()?;
        Some(format!("{base}{}", page(note)))
    }

    /// What a message says in a line.
    #[must_use]
    pub fn headline(&self, batch: &Batch) -> String {
        let test = if self.test { "[test] " } else { "" };
        format!("{test}{}", headline(&self.shown(batch)))
    }

    /// What people are to read of a message; a test shows all.
    #[must_use]
    pub fn shown<'a>(&self, batch: &'a Batch) -> Vec<&'a Note> {
        if self.test {
            return batch.notes.iter().collect();
        }
        without_what_is_over(&batch.notes)
    }
}

/// What a note says, with its state in front.
#[must_use]
pub fn mark(note: &Note) -> &'static str {
    match note.state {
        State::Firing => match note.event.severity() {
            super::event::Severity::Critical => "CRITICAL",
            _ => "WARNING",
        },
        State::Resolved => "RESOLVED",
        State::Happened => "INFO",
    }
}

/// The body of a generic webhook.
#[must_use]
pub fn webhook(batch: &Batch, id: &str, teller: &Teller) -> Vec<u8> {
    let notice = |note: &Note| {
        let said = said(note);
        let facts: serde_json::Map<String, Value> = note
            .facts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), plain(text).into()))
            .collect();
        json!({
            "event": note.event.as_str(),
            "state": note.state.as_str(),
            "severity": note.event.severity().as_str(),
            "subject": plain(&note.subject),
            "since": time(note.since),
            "at": time(note.at),
            "title": said.title,
            "text": said.lines.join("\n"),
            "facts": facts,
            "url": teller.link(note),
        })
    };
    let notices: Vec<Value> = batch.notes.iter().map(notice).collect();
    let body = json!({
        "type": "mutt_remediation.notices",
        "id": id,
        "instance": plain(&teller.instance),
        "test": teller.test,
        "held_back": batch.held_back,
        "missed": batch.missed,
        "notices": notices,
    });
    body.to_string().into_bytes()
}

/// The headers of a generic webhook: identity, time and signature, as Standard Webhooks has them.
#[must_use]
pub fn signature(
    secret: &SecretString,
    id: &str,
    second: i64,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key(secret));
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{second}.").as_bytes());
    context.update(body);
    let signature = STANDARD.encode(context.sign());
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", second.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

/// The bytes of a secret: of `whsec_...` what its Base64 says, of any other its own.
fn key(secret: &SecretString) -> Vec<u8> {
    let text = secret.expose_secret();
    let encoded = text.strip_prefix("whsec_");
    let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    decoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Whether a secret can be used.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).is_ok_and(|key| key.len() >= 16),
        None => plain && (16..=512).contains(&text.len()),
    }
}

/// The body of a Slack webhook.
#[must_use]
pub fn slack(batch: &Batch, teller: &Teller) -> Vec<u8> {
    // Within these nothing is a link, a channel or a person for Slack.
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    // And what takes the same webhooks makes links and mentions of bare text, which a space that is
    // not seen takes apart.
    let foreign = |text: &str| {
        let text = escape(text).replace('@', "@\u{200b}");
        text.replace("://", ":\u{200b}//")
    };
    let mut text = String::new();
    if teller.test {
        text.push_str("This is a test; nothing of it has happened.\n");
    }
    for note in teller.shown(batch) {
        let said = said(note);
        let mut part = format!("*{}* {}\n", mark(note), foreign(&said.title));
        for line in &said.lines {
            part.push_str(&foreign(line));
            part.push('\n');
        }
        part.push_str(&format!("{}\n", when(note)));
        if let Some(link) = teller.link(note) {
            part.push_str(&format!("<{}|Open the console>\n", escape(&link)));
        }
        if text.len() + part.len() > SLACK {
            text.push_str("...\n");
            break;
        }
        text.push_str(&part);
    }
    if let Some(remark) = remark(batch) {
        text.push_str(&format!("{}\n", escape(&remark)));
    }
    text.push_str(&format!("from {}", foreign(&plain(&teller.instance))));
    let body = json!({ "text": text, "parse": "none", "link_names": false });
    body.to_string().into_bytes()
}

/// The body of Alertmanager's API: of several notes about the same the last one counts.
#[must_use]
pub fn alerts(
    notes: &[Note],
    labels: &[(String, String)],
    teller: &Teller,
    second: i64,
) -> Vec<u8> {
    let mut last: Vec<(Key, &Note)> = vec![];
    // A test is to be seen: it ends by itself.
    let told = notes
        .iter()
        .filter(|note| !(teller.test && note.state == State::Resolved));
    for note in told {
        last.retain(|(key, _)| *key != note.key());
        last.push((note.key(), note));
    }
    let alerts = last
        .into_iter()
        .map(|(_, note)| alert(note, labels, teller, second));
    Value::Array(alerts.collect()).to_string().into_bytes()
}

fn alert(note: &Note, labels: &[(String, String)], teller: &Teller, second: i64) -> Value {
    let said = said(note);
    let mut all = serde_json::Map::new();
    let ours = [
        ("alertname", alert_name(note.event).to_owned()),
        ("event", note.event.as_str().to_owned()),
        ("severity", note.event.severity().as_str().to_owned()),
        ("subject", plain(&note.subject)),
    ];
    let theirs = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    let test = teller.test.then(|| ("test", "true".to_owned()));
    for (name, value) in ours.into_iter().chain(theirs).chain(test) {
        // An empty label is none.
        if !value.is_empty() {
            all.insert(name.to_owned(), value.into());
        }
    }
    let begins = if note.state == State::Happened {
        note.at
    } else {
        note.since
    };
    // The clock may have been set back since, and what ends before it begins is refused.
    let begins = begins.min(second);
    let ends = match note.state {
        State::Resolved => note.at.clamp(begins, second),
        State::Firing | State::Happened => second + EXPIRES,
    };
    json!({
        "labels": all,
        "annotations": {
            "summary": said.title,
            "description": said.lines.join("\n"),
            "instance": plain(&teller.instance),
        },
        "startsAt": time(begins),
        "endsAt": time(ends),
        "generatorURL": teller.link(note).unwrap_or_default(),
    })
}

/// What alerts are called.
fn alert_name(event: Event) -> &'static str {
    match event {
        Event::RedisLost => "MuttRemediationRedisLost",
        Event::Systemic => "MuttRemediationSystemic",
        Event::GateShut => "MuttRemediationGateShut",
        Event::PoisonRate => "MuttRemediationPoisonRate",
        Event::DeadListSize => "MuttRemediationDeadListSize",
        Event::DeadListAge => "MuttRemediationDeadListAge",
        Event::DrainFinished => "MuttRemediationDrainFinished",
        Event::RunFinished => "MuttRemediationRunFinished",
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::samples;
    use super::*;

    fn teller() -> Teller {
        Teller {
            instance: "remediation-0".into(),
            console: Some("https://mutt.example:8400".into()),
            test: false,
        }
    }

    fn batch() -> Batch {
        Batch {
            number: 1,
            notes: samples(1_790_000_000),
            held_back: 0,
            missed: 0,
        }
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of https://github.com/standard-webhooks/standard-webhooks.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let headers = signature(&secret, id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(
            headers[2].1,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(headers[1].1, "1614265330");
    }

    #[test]
    fn secrets_are_long_enough() {
        assert!(is_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert!(is_secret("0123456789abcdef"));
        for bad in [
            "",
            "0123456789abcde",
            "whsec_MfKQ",
            "whsec_!",
            "0123456789 abcdef",
        ] {
            assert!(!is_secret(bad), "{bad}");
        }
    }

    #[test]
    fn a_notice_links_to_the_console_only_where_there_is_one() {
        let body: Value =
            serde_json::from_slice(&webhook(&batch(), "id", &teller())).expect("JSON");
        let url = body["notices"][0]["url"].as_str();
        assert_eq!(url, Some("https://mutt.example:8400/console/"));
        let mut mute = teller();
        mute.console = None;
        let body: Value = serde_json::from_slice(&webhook(&batch(), "id", &mute)).expect("JSON");
        assert!(body["notices"][0]["url"].is_null());
        let slack = slack(&batch(), &mute);
        assert!(!String::from_utf8(slack).expect("text").contains('<'));
        let alerts = alerts(&batch().notes, &[], &mute, 0);
        assert!(!String::from_utf8(alerts).expect("text").contains("console"));
    }

    #[test]
    fn nobody_is_called_in_slack_by_what_others_wrote() {
        let mut batch = batch();
        batch.notes = batch.notes.split_off(13);
        batch.notes[0]
            .facts
            .insert("by", "<!channel> & <@U1>".into());
        let text = String::from_utf8(slack(&batch, &teller())).expect("text");
        assert!(
            text.contains("&lt;!channel&gt; &amp; &lt;@\u{200b}U1&gt;"),
            "{text}"
        );
        batch.notes = vec![batch.notes[0].clone(); 50];
        batch.notes.iter_mut().for_each(|note| {
            note.facts.insert("summary", "<".repeat(300));
        });
        assert!(slack(&batch, &teller()).len() < SLACK + 1_000);
    }

    #[test]
    fn what_others_wrote_is_neither_a_link_nor_a_mention_where_bare_text_is() {
        let mut batch = batch();
        batch.notes = batch.notes.split_off(13);
        let by = "@channel see https://evil.example/x";
        batch.notes[0].facts.insert("by", by.into());
        let body: Value = serde_json::from_slice(&slack(&batch, &teller())).expect("JSON");
        let text = body["text"].as_str().expect("text");
        assert!(
            !text.contains("@channel") && !text.contains("https://evil"),
            "{text}"
        );
        assert!(text.contains("<https://mutt.example:8400/console/runs/"));
        assert_eq!(
            (&body["parse"], &body["link_names"]),
            (&"none".into(), &false.into())
        );
    }

    #[test]
    fn slack_is_told_when_and_of_what_is_over_the_end_alone() {
        let mut batch = batch();
        batch.notes.truncate(2);
        let read = |batch: &Batch, teller: &Teller| {
            let body: Value = serde_json::from_slice(&slack(batch, teller)).expect("JSON");
            body["text"].as_str().expect("text").to_owned()
        };
        let told = read(&batch, &teller());
        let when = format!(
            "At {}, since {}\n",
            time(1_790_000_000),
            time(1_790_000_000 - 960)
        );
        assert!(
            told.starts_with("*RESOLVED*") && told.contains(&when),
            "{told}"
        );
        assert!(!told.contains("CRITICAL"), "{told}");
        let mut test = teller();
        test.test = true;
        assert!(read(&batch, &test).contains("CRITICAL"), "a test shows all");
        let webhook: Value =
            serde_json::from_slice(&webhook(&batch, "id", &teller())).expect("JSON");
        assert_eq!(webhook["notices"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn no_alert_ends_before_it_begins_when_the_clock_was_set_back() {
        for second in [1_790_000_000 - 100_000, 1_790_000_000 - 400, 1_790_000_000] {
            let mut notes = samples(1_790_000_000);
            notes.retain(|note| note.state != State::Resolved && note.event != Event::GateShut);
            let over = Note {
                state: State::Resolved,
                event: Event::GateShut,
                at: second,
                ..notes[0].clone()
            };
            notes.push(over);
            let body = alerts(&notes, &[], &teller(), second);
            let body: Vec<Value> = serde_json::from_slice(&body).expect("JSON");
            for alert in body {
                let moment = |name: &str| -> jiff::Timestamp {
                    alert[name].as_str().expect("text").parse().expect("a time")
                };
                let (begins, ends) = (moment("startsAt"), moment("endsAt"));
                assert!(begins <= ends && begins.as_second() <= second, "{alert}");
                let over = alert["labels"]["alertname"] == "MuttRemediationGateShut";
                assert!(!over || ends.as_second() <= second, "{alert}");
            }
        }
    }

    #[test]
    fn of_what_began_and_ended_an_alert_tells_the_end() {
        let notes = samples(1_790_000_000);
        let labels = [("env".to_owned(), "prod".to_owned())];
        let body = alerts(&notes, &labels, &teller(), 1_790_000_000);
        let body: Vec<Value> = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body.len(), Event::ALL.len(), "one for each event");
        for alert in &body {
            assert_eq!(alert["labels"]["env"], "prod");
            let name = alert["labels"]["alertname"].as_str().expect("a name");
            let ends = alert["endsAt"].as_str().expect("a time");
            let lasts = name.contains("Finished");
            assert_eq!(ends == time(1_790_000_000 + EXPIRES), lasts, "{alert}");
        }
        let mut test = teller();
        test.test = true;
        let shown = alerts(&notes, &[], &test, 1_790_000_000);
        let shown: Vec<Value> = serde_json::from_slice(&shown).expect("JSON");
        assert_eq!(shown.len(), Event::ALL.len());
        assert!(
            shown
                .iter()
                .all(|alert| alert["endsAt"] == time(1_790_000_180))
        );
        let firing = alerts(&notes[..1], &[], &teller(), 1_790_000_000);
        let firing: Vec<Value> = serde_json::from_slice(&firing).expect("JSON");
        assert_eq!(firing[0]["endsAt"], time(1_790_000_180));
        assert_eq!(firing[0]["startsAt"], time(1_790_000_000 - 960));
        assert!(firing[0]["labels"].get("subject").is_none(), "it is empty");
    }
}
