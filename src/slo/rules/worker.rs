//! Alerts of the worker itself, from its metrics alone: each with its reason.

use super::recording::OFTEN;
use super::{Alert, Group, Rule, Window};

/// What is the same wherever it runs.
struct Worker {
    name: &'static str,
    why: &'static [&'static str],
    expr: &'static str,
    /// Minutes.
    wait: u64,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
    runbook: &'static str,
}

pub(super) fn groups(runbook_base: &str) -> Vec<Group> {
    let rule = |one: &Worker| {
        Rule::Alert(Alert {
            name: one.name,
            why: one.why.iter().map(|line| (*line).to_owned()).collect(),
            expr: one.expr.into(),
            wait: (one.wait > 0).then(|| Window::minutes(one.wait)),
            labels: vec![
                ("severity", one.severity.into()),
                ("component", "remediation".into()),
            ],
            summary: one.summary.into(),
            description: one.description.into(),
            runbook: format!("{runbook_base}{}", one.runbook),
        })
    };
    vec![Group {
        name: "mutt-remediation",
        interval: OFTEN,
        rules: ALERTS.iter().map(rule).collect(),
    }]
}

/// They assume the default list names and an interval of 300 s.
const ALERTS: [Worker; 19] = [
    Worker {
        name: "RemediationAbsent",
        why: &["Nobody is watching the dead letters, and none of the alerts below can fire."],
        expr: "absent(mutt_remediation_loops_total)",
        wait: 5,
        severity: "critical",
        summary: "Prometheus does not see the remediation worker",
        description: "It is not running, or is not scraped; dead letters stay where they are, and no other alert of it can fire.",
        runbook: "troubleshooting.md#the-worker-is-not-seen",
    },
    Worker {
        name: "RemediationStuck",
        why: &[
            "The process answers but its loop does not turn; /health says the same, and Kubernetes will restart it.",
        ],
        expr: "increase(mutt_remediation_loops_total[15m]) == 0",
        wait: 5,
        severity: "critical",
        summary: "The remediation worker makes no passes",
        description: "{{ $labels.instance }} has begun no pass for 15 minutes.",
        runbook: "troubleshooting.md#health-answers-503",
    },
    Worker {
        name: "RemediationRedisUnreachable",
        why: &[
            "The worker recovers by itself; what has to be looked at is Redis, its address or its password.",
        ],
        expr: "mutt_remediation_redis_up == 0",
        wait: 5,
        severity: "critical",
        summary: "The remediation worker cannot reach Redis",
        description: "{{ $labels.instance }} moves nothing until Redis answers it again.",
        runbook: "troubleshooting.md#ready-answers-503",
    },
    Worker {
        name: "RemediationPrometheusAway",
        why: &[
            "The worker asks Prometheus how MUTT's objectives stand, and gets no answer, so that they are unknown.",
            "One that is away altogether evaluates no alert: only somebody outside can miss it.",
            "Without PROMETHEUS_URL it is no number.",
        ],
        expr: "mutt_slo_prometheus_up == 0",
        wait: 10,
        severity: "warning",
        summary: "The remediation worker gets no answer from Prometheus",
        description: "{{ $labels.instance }} does not know how the objectives stand.",
        runbook: "troubleshooting.md#prometheus-is-away",
    },
    Worker {
        name: "RemediationFailing",
        why: &[
            "Reachable, but it refuses the work: permissions, a key of the wrong type, memory, a replica.",
            "Conflicts are left out because they settle themselves.",
        ],
        expr: r#"sum by (reason) (increase(mutt_remediation_replay_fail_total{reason!="conflict"}[15m])) > 0"#,
        wait: 15,
        severity: "warning",
        summary: "Redis refuses the remediation worker's work: {{ $labels.reason }}",
        description: "{{ $value | humanize }} steps failed within 15 minutes, for this reason.",
        runbook: "troubleshooting.md#redis_error-by-reason",
    },
    Worker {
        name: "RemediationMoogsoftUnhealthy",
        why: &["Moogsoft has been down for longer than a restart takes, so dead letters pile up."],
        expr: "mutt_remediation_moog_health == 0 and mutt_remediation_enabled == 1",
        wait: 15,
        severity: "warning",
        summary: "Moogsoft takes no events",
        description: "{{ $labels.instance }} leaves the dead letters alone until its probe of Moogsoft succeeds.",
        runbook: "troubleshooting.md#the-queue-does-not-drain",
    },
    Worker {
        name: "RemediationSystemic",
        why: &[
            "Too many messages have used up their retries; nothing moves until somebody decides, as the runbook says.",
        ],
        expr: r#"mutt_remediation_gate_shut{reason="systemic"} == 1"#,
        wait: 1,
        severity: "critical",
        summary: "Dead letters of {{ $labels.source }} wait for a decision",
        description: "Most of the oldest have used up their retries, so that none is parked and none replayed until somebody decides.",
        runbook: "troubleshooting.md#the-gate-is-shut-systemic",
    },
    Worker {
        name: "RemediationGateShut",
        why: &[
            "For most of half an hour nothing could be replayed; mutt_remediation_gate_shut has the reason.",
            "A share, because a gate that is shut for bounces opens for a trial at least once a minute.",
        ],
        expr: r#"avg_over_time(mutt_remediation_gate{state="shut"}[30m]) > 0.5 and on () mutt_remediation_enabled == 1"#,
        wait: 5,
        severity: "warning",
        summary: "The gate of {{ $labels.source }} is shut",
        description: "It was so for {{ $value | humanizePercentage }} of the last 30 minutes.",
        runbook: "troubleshooting.md#the-gate-is-shut",
    },
    Worker {
        name: "RemediationNotDraining",
        why: &[
            "Dead letters have lain there for an hour, and none was moved, whatever the gate says.",
            "An age that is not known is no age of nought, which only an empty queue has.",
        ],
        expr: "min_over_time(mutt_remediation_oldest_dead_letter_age_seconds[1h]) != 0\n  and on (source) sum by (source) (increase(mutt_remediation_messages_total[1h])) == 0\n  and on () mutt_remediation_enabled == 1",
        wait: 10,
        severity: "warning",
        summary: "The dead letters of {{ $labels.source }} do not drain",
        description: "There have been some for an hour, and not one was moved.",
        runbook: "troubleshooting.md#the-queue-does-not-drain",
    },
    Worker {
        name: "RemediationBounceRatio",
        why: &[
            "More comes back than the adaptive pace goes on with by default: the alerter fails, or there is much poison.",
        ],
        expr: "sum by (source) (increase(mutt_remediation_bounced_total[15m]))\n  > 0.1 * sum by (source) (increase(mutt_remediation_messages_total{disposition=\"replay\"}[15m]))",
        wait: 15,
        severity: "warning",
        summary: "Replays of {{ $labels.source }} come back",
        description: "{{ $value | humanize }} came back within 15 minutes, more than a tenth of those that were sent.",
        runbook: "troubleshooting.md#messages-bounce",
    },
    Worker {
        name: "RemediationBouncing",
        why: &[
            "Messages are moved, and the queue is no shorter: either they bounce or more arrive than are replayed.",
        ],
        expr: "increase(mutt_remediation_replay_success_total[1h]) > 0\n  and ignoring (dlq_name)\nmin_over_time(mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:alerter\"}[1h]) > 0\n  and ignoring (dlq_name)\ndelta(mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:alerter\"}[1h]) >= 0",
        wait: 30,
        severity: "warning",
        summary: "Dead letters are replayed, and do not get fewer",
        description: "{{ $value | humanize }} were replayed within an hour, and mutt:dlq:alerter is no shorter.",
        runbook: "troubleshooting.md#messages-bounce",
    },
    Worker {
        name: "RemediationPoisonRate",
        why: &[
            "So large a share of what is moved is parked that it is no longer the odd bad message; at least ten, so that two of three do not count.",
            "The systemic guard only stops at half, and knows messages that have used up their retries alone.",
        ],
        expr: "sum by (source) (increase(mutt_remediation_messages_total{disposition=\"dead\"}[1h]))\n  > 0.2 * sum by (source) (increase(mutt_remediation_messages_total[1h]))\n  and on (source) round(sum by (source) (increase(mutt_remediation_messages_total{disposition=\"dead\"}[1h]))) >= 10",
        wait: 5,
        severity: "warning",
        summary: "Much of {{ $labels.source }} is poison",
        description: "{{ $value | humanize }} messages were parked within an hour, more than a fifth of what was moved.",
        runbook: "troubleshooting.md#the-dead-list-grows",
    },
    Worker {
        name: "RemediationDeadLetters",
        why: &[
            "Each of these messages waits for a person; the label says what kind of look it needs.",
        ],
        expr: r#"sum by (reason) (increase(mutt_remediation_messages_total{disposition="dead"}[1h])) > 0"#,
        wait: 0,
        severity: "info",
        summary: "Messages were parked: {{ $labels.reason }}",
        description: "{{ $value | humanize }} within an hour; each waits in the dead list for a person.",
        runbook: "troubleshooting.md#the-dead-list-grows",
    },
    Worker {
        name: "RemediationSlow",
        why: &["It works, but at this pace the queue will be there tomorrow."],
        expr: "mutt_remediation_drain_estimate_seconds > 86400",
        wait: 30,
        severity: "info",
        summary: "{{ $labels.source }} drains too slowly",
        description: "At the present settings it takes {{ $value | humanizeDuration }}.",
        runbook: "troubleshooting.md#the-queue-drains-too-slowly",
    },
    Worker {
        name: "AlerterShedding",
        why: &[
            "The forwarder does not keep up, and load is shed: what is shed waits for it in the dead letters.",
        ],
        expr: "mutt_remediation_guard_level == 2",
        wait: 5,
        severity: "warning",
        summary: "The alert queue is full, and load is shed",
        description: "{{ $labels.instance }} sees it above its shed threshold.",
        runbook: "troubleshooting.md#the-alert-queue-is-full",
    },
    Worker {
        name: "RemediationGuardFailing",
        why: &["The guard is on and cannot work; its reason is a label."],
        expr: "sum by (reason) (increase(mutt_remediation_guard_fail_total[15m])) > 0",
        wait: 15,
        severity: "warning",
        summary: "The backpressure guard cannot work: {{ $labels.reason }}",
        description: "{{ $value | humanize }} looks or moves failed within 15 minutes; nothing is shed meanwhile.",
        runbook: "troubleshooting.md#the-guard-cannot-do-its-work",
    },
    Worker {
        name: "RemediationNotificationsFailing",
        why: &["Somebody who should be told of something was not; the log says why."],
        expr: r#"sum by (receiver) (increase(mutt_remediation_notifications_total{result!="sent"}[1h])) > 0"#,
        wait: 0,
        severity: "warning",
        summary: "Notifications by {{ $labels.receiver }} fail",
        description: "{{ $value | humanize }} events were not told within an hour.",
        runbook: "troubleshooting.md#a-receiver-was-not-told",
    },
    Worker {
        name: "AlerterOrphans",
        why: &[
            "An alerter died with work in its hands, and none has started since to take it over.",
        ],
        expr: "mutt_alerter_orphaned_messages > 0",
        wait: 15,
        severity: "warning",
        summary: "An alerter has left messages behind",
        description: "{{ $value }} messages lie in processing lists of alerters without a heartbeat.",
        runbook: "troubleshooting.md#alerters-have-left-messages-behind",
    },
    Worker {
        name: "RemediationPaused",
        why: &["Somebody paused it and went home."],
        expr: "mutt_remediation_enabled == 0",
        wait: 720,
        severity: "info",
        summary: "Remediation has been switched off for 12 hours",
        description: "{{ $labels.instance }} drains nothing until it is switched on.",
        runbook: "troubleshooting.md#pausing-and-resuming",
    },
];
