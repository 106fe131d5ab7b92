//! The checks of `make fuzz` on its corpus and on what a small mutator makes of it, without a
//! fuzzer.

use std::fs;
use std::path::Path;

use fastrand::Rng;

#[path = "../fuzz/src/lib.rs"]
mod oracle;

/// Inputs for a check that is quick, about a second's worth; `FUZZ_FACTOR` multiplies them, and may
/// be a fraction.
const CASES: f64 = 20_000.0;

#[test]
fn an_envelope_is_what_a_second_opinion_says_and_only_its_stamp_changes() {
    hold("envelope", CASES, oracle::envelope::check);
}

#[test]
fn a_configuration_is_sound_or_refused_by_name_and_shows_no_secret() {
    hold("config", CASES / 20.0, oracle::config::check);
}

#[test]
fn settings_in_redis_are_taken_as_the_model_takes_them() {
    hold("settings", CASES, oracle::settings::check);
}

#[test]
fn slots_are_those_of_the_specification() {
    hold("slot", CASES, oracle::slot::check);
}

/// Checks the corpus, then inputs made from it: a fixed series, so that what was once found is
/// found again, and one that is new each time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of inputs"
)]
fn hold(target: &str, cases: f64, check: fn(&[u8])) {
    let corpus = inputs(&Path::new("tests/fuzz/corpus").join(target));
    let words = words(&Path::new("tests/fuzz").join(format!("{target}.dict")));
    let factor = std::env::var("FUZZ_FACTOR").map_or(1.0, |text| text.parse().expect("a number"));
    let cases = (cases * factor) as u64;
    for input in &corpus {
        checked(input, check);
    }
    for mut rng in [Rng::with_seed(1), Rng::new()] {
        for _ in 0..cases / 2 {
            checked(&mutated(&corpus, &words, &mut rng), check);
        }
    }
}

fn checked(input: &[u8], check: fn(&[u8])) {
    let shown = Shown(input);
    check(input);
    drop(shown);
}

/// Shows the input if the check panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn inputs(dir: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(dir).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let inputs: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("an input"))
        .collect();
    assert!(!inputs.is_empty(), "{} is empty", dir.display());
    inputs
}

/// The words of a libFuzzer dictionary, one in quotation marks on each line.
fn words(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).expect("a dictionary");
    let lines = text.lines().filter(|line| line.starts_with('"'));
    lines
        .map(|line| {
            let inner = line
                .strip_prefix('"')
                .and_then(|line| line.strip_suffix('"'));
            unescaped(inner.expect("quotation marks at both ends"))
        })
        .collect()
}

/// A word without its escapes, which are a backslash and the character itself, or `x` and two digits.
fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        match (*first, others) {
            (b'\\', [b'x', digits @ ..]) => {
                let digits = std::str::from_utf8(&digits[..2]).expect("ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = &others[3..];
            }
            (b'\\', [escaped, others @ ..]) => {
                bytes.push(*escaped);
                rest = others;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// An input of the corpus with one to six changes.
fn mutated(corpus: &[Vec<u8>], words: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(1..=6) {
        let from = rng.usize(..=input.len());
        let to = rng.usize(from..=input.len().min(from + 8));
        let new: Vec<u8> = match rng.u8(..8) {
            0 => vec![],
            1 => vec![rng.u8(..)],
            2 => vec![rng.u8(b' '..=b'~')],
            3 => input[from..to].repeat(2),
            4 => {
                let other = &corpus[rng.usize(..corpus.len())];
                let start = rng.usize(..=other.len());
                other[start..rng.usize(start..=other.len())].to_vec()
            }
            _ => words[rng.usize(..words.len())].clone(),
        };
        // As often put between as put in the place of something.
        let to = if rng.bool() { from } else { to };
        input.splice(from..to, new);
        input.truncate(2 * 1024);
    }
    input
}
