//! The sources: which there are, with which lists, and which cannot be.

use mutt_remediation::config::sources::SourceConfig;

use super::{is_warned, load, problems};

const OWN: [(&str, &str); 3] = [
    ("REMEDIATION_SOURCES", "own"),
    ("SOURCE_OWN_DLQ", "own:dlq"),
    ("SOURCE_OWN_TARGET", "own:work"),
];

/// The source `own` with these variables too.
fn own(more: &[(&str, &str)]) -> SourceConfig {
    let mut sources = load(&[&OWN, more].concat()).expect("valid").sources;
    assert_eq!(sources.len(), 2);
    sources.remove(1)
}

#[test]
fn without_more_only_the_alerters_dead_letters_are_drained() {
    let config = load(&[]).expect("valid");
    let [alerter] = &config.sources[..] else {
        panic!("{:?}", config.sources)
    };
    assert_eq!(alerter.name, "alerter");
    assert_eq!(alerter.lists.source, "mutt:dlq:alerter");
    assert_eq!(alerter.lists.target, "mutt:ingest_queue");
    assert_eq!(alerter.lists.dead, "mutt:dlq:dead");
    assert_eq!(
        alerter.fields.poison,
        ["_moog_retry_count", "_remediation_count"]
    );
    assert_eq!(alerter.fields.reset, ["_retry_count"]);
    assert_eq!(alerter.settings(&config.settings), config.settings);
    assert_eq!(
        (&config.alert_queue[..], &config.moog_dlq[..]),
        ("mutt:alert_queue", "mutt:dlq:moog")
    );
}

#[test]
fn required_fields_of_the_alerter_hold_for_no_other_source() {
    let pairs = [
        ("REPLAY_REQUIRED_FIELDS", "hostname, message"),
        ("REMEDIATION_MOOG_ENABLED", "true"),
    ];
    let sources = load(&pairs).expect("valid").sources;
    let required: Vec<_> = sources
        .iter()
        .map(|source| &source.required_fields)
        .collect();
    assert_eq!(*required[0], ["hostname", "message"]);
    assert!(required[1].is_empty());
}

#[test]
fn the_forwarders_dead_letters_go_to_the_alert_queue() {
    let pairs = [
        ("REMEDIATION_MOOG_ENABLED", "true"),
        ("ALERT_QUEUE_NAME", "alerts"),
        ("MOOG_DLQ_NAME", "moog"),
        ("DEAD_LETTER_QUEUE", "dead"),
    ];
    let moog = load(&pairs).expect("valid").sources.remove(1);
    assert_eq!(moog.name, "moog");
    let lists = [moog.lists.source, moog.lists.target, moog.lists.dead];
    assert_eq!(lists, ["moog", "alerts", "dead"]);
    assert_eq!(moog.fields.poison, ["_remediation_count"]);
    assert_eq!(moog.fields.reset, ["_moog_retry_count"]);
}

#[test]
fn a_source_of_ones_own_has_what_is_said_of_it_and_the_rest_from_all() {
    let plain = own(&[]);
    let lists = [&plain.lists.source, &plain.lists.target, &plain.lists.dead];
    assert_eq!(lists, ["own:dlq", "own:work", "mutt:dlq:dead"]);
    assert_eq!(plain.fields.poison, ["_remediation_count"]);
    assert!(plain.fields.reset.is_empty() && plain.required_fields.is_empty());

    let full = own(&[
        ("SOURCE_OWN_DEAD", " own:dead "),
        ("SOURCE_OWN_POISON_FIELDS", "tries, fails"),
        ("SOURCE_OWN_RESET_FIELDS", "z,a,z"),
        ("SOURCE_OWN_REQUIRED_FIELDS", "id"),
        ("SOURCE_OWN_BATCH_SIZE", "7"),
        ("SOURCE_OWN_BATCHES_PER_CYCLE", "8"),
        ("SOURCE_OWN_MAX_POISON_RETRIES", "9"),
    ]);
    assert_eq!(full.lists.dead, "own:dead");
    assert_eq!(full.fields.poison, ["tries", "fails", "_remediation_count"]);
    assert_eq!(full.fields.reset, ["a", "z"]);
    assert_eq!(full.required_fields, ["id"]);

    let of_all = load(&[]).expect("valid").settings;
    assert_eq!(plain.settings(&of_all), of_all);
    let settings = full.settings(&of_all);
    assert_eq!((settings.batch_size, settings.batches_per_cycle), (7, 8));
    assert_eq!(settings.max_poison_retries, 9);
    assert_eq!(settings.interval, of_all.interval);
}

#[test]
fn a_full_alert_queue_counts_for_what_goes_there_unless_it_is_said() {
    assert!(load(&[]).expect("valid").sources[0].backpressure);
    assert!(!own(&[]).backpressure);
    assert!(own(&[("SOURCE_OWN_BACKPRESSURE", "on")]).backpressure);
    for target in ["mutt:ingest_queue", "mutt:alert_queue"] {
        let target = ("SOURCE_OWN_TARGET", target);
        assert!(own(&[target]).backpressure);
        assert!(!own(&[target, ("SOURCE_OWN_BACKPRESSURE", "no")]).backpressure);
    }
    let bad = [&OWN[..], &[("SOURCE_OWN_BACKPRESSURE", "perhaps")]].concat();
    assert_eq!(problems(&bad).len(), 1);
}

#[test]
fn our_own_count_is_among_the_poison_fields_once() {
    let fields = own(&[("SOURCE_OWN_POISON_FIELDS", "_remediation_count,tries")]).fields;
    assert_eq!(fields.poison, ["_remediation_count", "tries"]);
}

#[test]
fn the_stamp_cannot_be_reset() {
    for ours in ["_remediation_count", "_remediation_at"] {
        let names = format!("tries,{ours}");
        let pairs = [&OWN[..], &[("SOURCE_OWN_RESET_FIELDS", &names)]].concat();
        assert_eq!(
            problems(&pairs),
            [format!(
                "SOURCE_OWN_RESET_FIELDS: {ours:?} is not a field that can be reset: expected a count of somebody else's"
            )]
        );
    }
}

#[test]
fn the_name_of_a_source_is_short_plain_and_not_taken() {
    let longest = "a".repeat(40);
    for name in ["a", "9", "_", "a_9", &longest] {
        let upper = name.to_ascii_uppercase();
        let (dlq, target) = (
            format!("SOURCE_{upper}_DLQ"),
            format!("SOURCE_{upper}_TARGET"),
        );
        let pairs = [("REMEDIATION_SOURCES", name), (&dlq, "a"), (&target, "b")];
        assert_eq!(load(&pairs).expect("valid").sources[1].name, name);
    }
    let too_long = "a".repeat(41);
    for name in ["Own", "o-n", "é", "alerter", "moog", &too_long] {
        let told = problems(&[("REMEDIATION_SOURCES", name)]);
        assert_eq!(told.len(), 1, "{told:?}");
        let start = format!("REMEDIATION_SOURCES: {name:?} is not a name of lower case letters");
        assert!(told[0].starts_with(&start), "{told:?}");
    }
}

#[test]
fn a_list_that_is_missing_and_one_that_is_bad_are_each_told_once() {
    assert_eq!(
        problems(&OWN[..1]),
        [
            "SOURCE_OWN_DLQ is not set: expected a list for the source own",
            "SOURCE_OWN_TARGET is not set: expected a list for the source own",
        ]
    );
    assert_eq!(
        problems(&[OWN[0], ("SOURCE_OWN_DLQ", "a\u{7}"), OWN[2]]),
        ["SOURCE_OWN_DLQ: \"a\\u{7}\" is not printable text"]
    );
}

#[test]
fn sources_that_cannot_work_are_refused_with_every_reason() {
    let told = problems(&[
        ("REMEDIATION_SOURCES", "Up,alerter,own,twin"),
        ("REMEDIATION_MOOG_ENABLED", "perhaps"),
        ("SOURCE_OWN_TARGET", "own:work"),
        ("SOURCE_OWN_BATCH_SIZE", "0"),
        ("SOURCE_OWN_RESET_FIELDS", "_remediation_count"),
        ("SOURCE_TWIN_DLQ", "mutt:dlq:alerter"),
        ("SOURCE_TWIN_TARGET", "mutt:dlq:dead"),
        ("REPLAY_PACE", "brisk"),
        ("REPLAY_MAX_BOUNCE_RATIO", "1.5"),
        ("POISON_MAX_RATIO", "NaN"),
    ]);
    let expected = [
        "REMEDIATION_SOURCES: \"Up\" is not a name",
        "REMEDIATION_SOURCES: \"alerter\" is not a name",
        "REMEDIATION_MOOG_ENABLED: \"perhaps\" is not true or false",
        "SOURCE_OWN_DLQ is not set: expected a list for the source own",
        "SOURCE_OWN_BATCH_SIZE: \"0\" is not a whole number from 1 to 10000",
        "SOURCE_OWN_RESET_FIELDS: \"_remediation_count\" is not a field that can be reset",
        "ALERTER_DLQ_NAME and SOURCE_TWIN_DLQ are both \"mutt:dlq:alerter\"",
        "SOURCE_TWIN_TARGET and SOURCE_TWIN_DEAD are both \"mutt:dlq:dead\"",
        "REPLAY_PACE: \"brisk\" is not fixed or adaptive",
        "REPLAY_MAX_BOUNCE_RATIO: \"1.5\" is not a ratio from 0 to 1",
        "POISON_MAX_RATIO: \"NaN\" is not a ratio from 0 to 1",
    ];
    for problem in expected {
        let found = told.iter().any(|told| told.starts_with(problem));
        assert!(found, "{problem} is not in\n{told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn lists_that_must_differ_are_named_by_their_variables() {
    let moog = ("REMEDIATION_MOOG_ENABLED", "true");
    for (pairs, one, other) in [
        (
            &[("SOURCE_OWN_TARGET", "own:dlq")][..],
            "SOURCE_OWN_DLQ",
            "SOURCE_OWN_TARGET",
        ),
        (
            &[("SOURCE_OWN_DEAD", "own:dlq")],
            "SOURCE_OWN_DLQ",
            "SOURCE_OWN_DEAD",
        ),
        (
            &[("SOURCE_OWN_DEAD", "own:work")],
            "SOURCE_OWN_TARGET",
            "SOURCE_OWN_DEAD",
        ),
        (
            &[("SOURCE_OWN_DLQ", "mutt:dlq:alerter")],
            "ALERTER_DLQ_NAME",
            "SOURCE_OWN_DLQ",
        ),
        (
            &[("SOURCE_OWN_DLQ", "mutt:ingest_queue")],
            "SOURCE_OWN_DLQ",
            "INGEST_QUEUE_NAME",
        ),
        (
            &[("SOURCE_OWN_TARGET", "mutt:dlq:alerter")],
            "ALERTER_DLQ_NAME",
            "SOURCE_OWN_TARGET",
        ),
        (
            &[moog, ("MOOG_DLQ_NAME", "own:dlq")],
            "MOOG_DLQ_NAME",
            "SOURCE_OWN_DLQ",
        ),
        (
            &[moog, ("ALERT_QUEUE_NAME", "own:dlq")],
            "SOURCE_OWN_DLQ",
            "ALERT_QUEUE_NAME",
        ),
        (
            &[moog, ("ALERT_QUEUE_NAME", "mutt:dlq:dead")],
            "ALERT_QUEUE_NAME",
            "DEAD_LETTER_QUEUE",
        ),
    ] {
        let told = problems(&[&OWN, pairs].concat());
        let start = format!("{one} and {other} are both ");
        assert!(told.iter().any(|one| one.starts_with(&start)), "{told:?}");
        let end = ": expected two different lists";
        assert!(told.iter().all(|one| one.ends_with(end)), "{told:?}");
    }
    // What one source brings back may be what another one's consumer works on.
    let shared = own(&[("SOURCE_OWN_TARGET", "mutt:ingest_queue")]);
    assert_eq!(shared.lists.target, "mutt:ingest_queue");
}

#[test]
fn a_misspelt_variable_of_a_source_is_warned_about_and_a_strangers_is_not() {
    let pairs = [
        &OWN[..],
        &[("SOURCE_OWN_BATCHSIZE", "5"), ("SOURCE_CODE_REVISION", "7")],
    ]
    .concat();
    let config = load(&pairs).expect("valid");
    let warnings: Vec<_> = config
        .warnings
        .iter()
        .filter(|w| w.starts_with("SOURCE_"))
        .collect();
    assert_eq!(
        warnings,
        [
            "SOURCE_OWN_BATCHSIZE is not known and has no effect: did you mean SOURCE_OWN_BATCH_SIZE?"
        ]
    );
    let mut shown: Vec<_> = config
        .effective
        .iter()
        .filter(|e| e.name.starts_with("SOURCE_"))
        .collect();
    shown.sort_by_key(|effective| &effective.name);
    let shown: Vec<_> = shown
        .iter()
        .map(|e| (&e.name[..], &e.shown[..], e.from_environment))
        .collect();
    assert_eq!(
        shown,
        [
            ("SOURCE_OWN_DLQ", "own:dlq", true),
            ("SOURCE_OWN_TARGET", "own:work", true)
        ]
    );
    assert!(
        !is_warned(&[("SOURCE_OWN_BATCHSIZE", "5")], "SOURCE_OWN"),
        "no source is called own"
    );
}

#[test]
fn a_variable_of_a_source_that_is_not_named_is_warned_about_where_it_is_spelt_as_ours() {
    for (variable, source) in [
        ("SOURCE_LOST_DLQ", "lost"),
        ("SOURCE_OLD_2_TARGET", "old_2"),
    ] {
        let warning =
            format!("{variable} has no effect: REMEDIATION_SOURCES does not name {source}");
        assert!(is_warned(&[(variable, "x")], &warning), "{variable}");
    }
    for variable in [
        "SOURCE__DLQ",
        "SOURCE_lost_DLQ",
        "SOURCE_LOST-1_DLQ",
        "SOURCE_URL",
    ] {
        assert!(!is_warned(&[(variable, "x")], variable), "{variable}");
    }
}
