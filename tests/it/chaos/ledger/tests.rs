//! The count itself: what it calls wrong, and what it allows for.

use super::super::letters::{Form, Letter};
use super::{Found, Ledger, List};

fn end(letter: &Letter) -> (List, Vec<Vec<u8>>) {
    let mut forms = letter.forms.iter();
    let replayed = forms.find(|(_, form)| *form == Form::Replayed(1));
    let list = if replayed.is_some() {
        List::Target
    } else {
        List::Dead
    };
    let (bytes, _) = replayed.or(letter.forms.last()).expect("a form");
    (list, vec![dated(bytes)])
}

fn dated(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).replace("at\":T", "at\":1790000000");
    if text.contains("1790000000") {
        text.into_bytes()
    } else {
        bytes.to_vec()
    }
}

/// A count of 200 letters that is right.
fn right() -> (Vec<Letter>, Ledger, Found) {
    let mut rng = fastrand::Rng::with_seed(1);
    let letters: Vec<Letter> = (0..200).map(|id| Letter::draw(&mut rng, id)).collect();
    let mut ledger = Ledger::default();
    let found = Found {
        pushed: vec![ledger.attempt(&letters)],
        lists: letters.iter().map(end).collect(),
        dates: Some(1_790_000_000..=1_790_000_000),
        ..Found::default()
    };
    (letters, ledger, found)
}

#[test]
fn lost_doubled_altered_misplaced_and_misdated_are_told_apart() {
    let (letters, ledger, mut found) = right();
    let verdict = ledger.judge(&found);
    assert!(verdict.is_sound(), "{verdict}");
    let last = found.lists.pop().expect("some");
    assert_eq!(ledger.judge(&found).lost.len(), 1);
    found.lists.extend([last.clone(), last]);
    assert_eq!(ledger.judge(&found).doubled.len(), 1);
    found.lists.pop();
    found.lists[7].1[0].push(b' ');
    assert_eq!(ledger.judge(&found).altered.len(), 1);
    found.lists[7].1[0].pop();
    found.dates = Some(0..=1);
    assert!(!ledger.judge(&found).misdated.is_empty());
    for (list, _) in &mut found.lists {
        *list = if *list == List::Dead {
            List::Target
        } else {
            List::Dead
        };
    }
    assert_eq!(ledger.judge(&found).misplaced.len(), letters.len());
}

#[test]
fn what_an_operator_has_taken_may_be_there_twice_only_where_the_lists_are_apart() {
    let (letters, ledger, mut found) = right();
    let same = |one: &Letter| {
        letters
            .iter()
            .filter(|other| other.bytes == one.bytes)
            .count()
    };
    let alone = letters.iter().find(|letter| same(letter) == 1);
    let taken = (
        List::Taken,
        vec![alone.expect("not all are twins").bytes.clone()],
    );
    found.lists.push(taken);
    found.raided = true;
    assert_eq!(ledger.judge(&found).doubled.len(), 1);
    found.apart = true;
    assert!(ledger.judge(&found).is_sound());
    found.raided = false;
    assert_eq!(ledger.judge(&found).doubled.len(), 1);
}

#[test]
fn what_the_source_has_forgotten_counts_only_where_it_may_have_been_moved_before() {
    let (_, mut ledger, mut found) = right();
    let mut rng = fastrand::Rng::with_seed(2);
    let more: Vec<Letter> = (200..260).map(|id| Letter::draw(&mut rng, id)).collect();
    let alone = |letter: &&Letter| letter.forms.len() > 2 && letter.bytes.len() > 20;
    let letter = more.iter().find(alone).expect("one of these");
    let number = ledger.attempt(std::slice::from_ref(letter));
    assert!(ledger.judge(&found).is_sound(), "it was not pushed");
    found.lists.push(end(letter));
    assert_eq!(ledger.judge(&found).doubled.len(), 1);
    found.undone = true;
    assert_eq!(ledger.judge(&found).doubled.len(), 1);
    found.apart = true;
    assert!(ledger.judge(&found).is_sound());
    found.lists.push(end(letter));
    assert_eq!(ledger.judge(&found).doubled.len(), 1, "but once");
    found.lists.pop();
    ledger.refused(number);
    assert_eq!(ledger.judge(&found).doubled.len(), 1, "it was refused");
    found.pushed.push(number);
    found.lists.pop();
    assert_eq!(ledger.judge(&found).lost.len(), 1, "it was pushed");
}

#[test]
fn twins_must_not_make_up_for_one_another_where_something_is_allowed_for() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut letters = std::iter::repeat_with(|| Letter::draw(&mut rng, 0));
    let twin = letters.find(|letter| letter.bytes == b"{\"twin\":true}");
    let twin = twin.expect("endless");
    let mut ledger = Ledger::new(true);
    let [known, forgotten] = [(); 2].map(|()| ledger.attempt(std::slice::from_ref(&twin)));
    let mut found = Found {
        pushed: vec![known, forgotten],
        lists: vec![end(&twin), end(&twin)],
        apart: true,
        undone: true,
        ..Found::default()
    };
    assert!(ledger.judge(&found).is_sound(), "both are in the history");
    // One may be lost, and the forgotten one be there in its place.
    found.pushed.pop();
    assert_eq!(ledger.judge(&found).unsure.len(), 1);
    found.lists.pop();
    assert_eq!(ledger.judge(&found).unsure.len(), 1);
    found.undone = false;
    assert!(ledger.judge(&found).is_sound(), "nothing is allowed for");
    // The same with one that an operator has taken.
    found.pushed.push(forgotten);
    found.raided = true;
    found.lists.push((List::Taken, vec![twin.bytes.clone()]));
    assert_eq!(ledger.judge(&found).unsure.len(), 1);
}

#[test]
fn a_letter_that_is_drawn_alone_has_bytes_of_its_own() {
    let letters = |draw: fn(&mut fastrand::Rng, usize) -> Letter| {
        let mut rng = fastrand::Rng::with_seed(3);
        let letters = (0..2_000).map(|id| draw(&mut rng, id).bytes);
        letters.collect::<std::collections::HashSet<_>>().len()
    };
    assert_eq!(letters(Letter::draw_alone), 2_000);
    assert!(letters(Letter::draw) < 1_900, "the others have twins");
}

#[test]
fn a_message_that_is_handed_back_does_not_make_up_for_another_one() {
    let (letters, mut ledger, mut found) = right();
    let replayed = letters.iter().position(|letter| letter.forms.len() > 2);
    let replayed = replayed.expect("one is replayed");
    let message = found.lists[replayed].1[0].clone();
    let handed = ledger.hand_back(&message).expect("it was made");
    assert!(ledger.judge(&found).is_sound(), "it was not pushed");
    found.pushed.push(handed);
    assert_eq!(ledger.judge(&found).lost.len(), 1);
    // With the stamp of before it is the first one, doubled.
    found.lists.push((List::Target, vec![message]));
    let verdict = ledger.judge(&found);
    assert_eq!((verdict.lost.len(), verdict.doubled.len()), (1, 1));
    found.lists.pop();
    let mut forms = letters[replayed].forms.iter();
    let twice = forms.find(|(_, form)| *form == Form::Replayed(2));
    let (twice, _) = twice.expect("it may be replayed again");
    found.lists.push((List::Target, vec![dated(twice)]));
    assert!(ledger.judge(&found).is_sound());
}

#[test]
fn nothing_is_handed_back_twice_where_something_is_allowed_for() {
    for lenient in [false, true] {
        let letter = Letter::draw_alone(&mut fastrand::Rng::with_seed(4), 0);
        let mut ledger = Ledger::new(lenient);
        ledger.attempt(std::slice::from_ref(&letter));
        let (_, moved) = end(&letter);
        assert!(ledger.hand_back(&moved[0]).is_some());
        assert_eq!(ledger.hand_back(&moved[0]).is_some(), !lenient);
    }
}

#[test]
fn what_the_consumer_has_seen_it_has_unless_that_was_undone() {
    let (letters, mut ledger, mut found) = right();
    let replayed = letters.iter().position(|letter| letter.forms.len() > 2);
    let replayed = replayed.expect("one is replayed");
    let message = found.lists[replayed].1[0].clone();
    ledger.see(&message);
    assert_eq!(ledger.judge(&found).vanished.len(), 1);
    found.undone = true;
    let verdict = ledger.judge(&found);
    assert!(verdict.is_sound() && verdict.came_back == 1, "{verdict}");
    found.undone = false;
    found.lists[replayed].0 = List::Consumed;
    assert!(ledger.judge(&found).is_sound());
}
