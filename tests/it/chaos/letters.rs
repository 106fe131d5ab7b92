//! Dead letters of every kind, and what may become of each. Written by hand: nothing here asks the
//! code under test, so that a stamp at the wrong place is found as well as a lost message.

use fastrand::Rng;

use super::operators::{OPERATORS, RUNS};

/// After so many replays a message is parked; the daemon's default.
const REPLAYS: u64 = 3;

/// So many it may have where operators replay it as well.
const MOST: u64 = REPLAYS + RUNS * OPERATORS as u64;

/// What stands for the ten digits of a date, once [`super::ledger`] has read them.
const DATE: &str = "T";

/// What a message has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it was dead-lettered. One that is malformed keeps this form for ever.
    Original { malformed: bool },
    /// Replayed so often.
    Replayed(u64),
    /// Given up after so many replays.
    Parked(u64),
}

impl Form {
    /// Replays that the stamp tells of.
    pub fn replays(self) -> u64 {
        match self {
            Self::Original { .. } => 0,
            Self::Replayed(replays) | Self::Parked(replays) => replays,
        }
    }
}

/// A message, and all bytes that it may ever have, with its dates replaced.
#[derive(Clone, Debug)]
pub struct Letter {
    pub bytes: Vec<u8>,
    pub forms: Vec<(Vec<u8>, Form)>,
}

impl Letter {
    /// Draws a letter. Most have a number of their own; some are twins, byte for byte.
    pub fn draw(rng: &mut Rng, id: usize) -> Self {
        let text = "x".repeat(rng.usize(0..600));
        match rng.u32(0..26) {
            0..=6 => Self::sound(|_, tail| format!(r#"{{"id":{id},"message":"{text}"{tail}}}"#)),
            7..=9 => Self::sound(|retries, tail| {
                format!(r#"{{"id":{id},"_retry_count":{retries},"message":"{text}"{tail}}}"#)
            }),
            10 => Self::sound(|_, tail| {
                let odd = r#""f":1.10,"e":1E5,"big":123456789012345678901234567890,"minus":-0.0"#;
                format!("  {{ \"id\" : {id}, {odd} {tail}}}\n")
            }),
            11 => Self::sound(|_, tail| {
                let odd = r#""s":"é\u00e9\"}\\{\/","n":{"_remediation_count":9,"_retry_count":5},"a":1,"a":2"#;
                format!(r#"{{{odd},"id":{id}{tail}}}"#)
            }),
            12 => Self::sound(|retries, tail| {
                format!(
                    r#"{{"_retry_count":{retries},"id":{id},"_retry\u005fcount":{retries}{tail}}}"#
                )
            }),
            13 => Self::sound(|_, tail| format!("{{{}}}", tail.trim_start_matches(','))),
            14 => Self::sound(|_, tail| format!(r#"{{"twin":true{tail}}}"#)),
            15 => Self::poison(|tail| format!(r#"{{"id":{id},"_moog_retry_count":3{tail}}}"#)),
            16 => Self::poison(|tail| {
                let huge = "18446744073709551616";
                format!(r#"{{"_moog_retry_count":{huge},"message":"{text}","id":{id}{tail}}}"#)
            }),
            17 => {
                Self::poison(|tail| format!(r#"{{"poison":"twin","_moog_retry_count":9{tail}}}"#))
            }
            18 => Self::malformed(format!("no json {id}")),
            19 => Self::malformed([b"\xff\x00\r\n", id.to_string().as_bytes()].concat()),
            20 => Self::malformed(format!(r#"{{"id":{id},"_moog_retry_count":"2"}}"#)),
            21 => Self::malformed(format!("[{id}]")),
            22 => Self::malformed(format!(r#"{{"id":{id},"n":NaN}}"#)),
            23 => Self::malformed(format!(r#"{{"id":{id}}} and more"#)),
            24 => Self::malformed(""),
            _ => Self::malformed("null"),
        }
    }

    /// Draws a letter with a number of its own, so that no other one has its bytes.
    pub fn draw_alone(rng: &mut Rng, id: usize) -> Self {
        loop {
            // A twin is the same whatever its number.
            let other = Self::draw(&mut rng.clone(), usize::MAX);
            let letter = Self::draw(rng, id);
            if letter.bytes != other.bytes {
                return letter;
            }
        }
    }

    /// A letter that is too large to travel twice, which the daemon checks by its digest.
    pub fn giant(id: usize) -> Self {
        let text = "x".repeat(1_100_000);
        Self::sound(|_, tail| format!(r#"{{"id":{id},"message":"{text}"{tail}}}"#))
    }

    /// `text` writes the message from the alerter's count and the stamp behind the last member.
    fn sound(text: impl Fn(u64, &str) -> String) -> Self {
        Self::of(text, REPLAYS)
    }

    /// The drain parks it at once; an operator may replay it.
    fn poison(text: impl Fn(&str) -> String) -> Self {
        Self::of(|_, tail| text(tail), 0)
    }

    /// A letter that the drain parks after so many replays.
    fn of(text: impl Fn(u64, &str) -> String, allowed: u64) -> Self {
        let bytes = text(4, "").into_bytes();
        let mut forms = vec![(bytes.clone(), Form::Original { malformed: false })];
        for replays in 0..=MOST {
            let mut stamp = String::new();
            let mut retries = 4;
            if replays > 0 {
                stamp = format!(r#","_remediation_count":{replays},"_remediation_at":{DATE}"#);
                retries = 0;
                forms.push((text(0, &stamp).into_bytes(), Form::Replayed(replays)));
            }
            let exhausted = (replays >= allowed).then_some("retries_exhausted");
            for reason in exhausted.into_iter().chain(["operator"]) {
                let tail = format!("{stamp}{}", parked(reason));
                let parked = Form::Parked(replays);
                forms.push((text(retries, &tail).into_bytes(), parked));
            }
        }
        Self { bytes, forms }
    }

    fn malformed(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let forms = vec![(bytes.clone(), Form::Original { malformed: true })];
        Self { bytes, forms }
    }
}

fn parked(reason: &str) -> String {
    format!(r#","_remediation_reason":"{reason}","_remediation_dead_at":{DATE}"#)
}
