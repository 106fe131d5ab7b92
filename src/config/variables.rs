//! Every environment variable: its default and its meaning. The one list behind the parser,
//! `--help`, `--check-config`, `.env.template` and docs/configuration.md.

/// One environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The text that is used when it is unset or empty; empty for "not set".
    pub default: &'static str,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

/// A heading and its variables, in the order in which people read them.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// Its variables.
    pub variables: &'static [Variable],
}

const fn var(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// All variables.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Remediation",
        variables: &[
            var(
                "REMEDIATION_ENABLED",
                "true",
                "false: stay up, serve health and metrics, drain nothing",
            ),
            var(
                "REMEDIATION_INTERVAL",
                "300",
                "seconds from the start of one pass to the next",
            ),
            var(
                "REMEDIATION_WAKE_ON_ARRIVAL",
                "false",
                "true: what arrives while the worker is idle begins a pass at once, which replays nothing again",
            ),
            var(
                "REMEDIATION_BATCH_SIZE",
                "10",
                "messages in a batch, at most",
            ),
            var(
                "REMEDIATION_BATCHES_PER_CYCLE",
                "1",
                "batches in a pass, at most; 0 = batch after batch until the queue is empty",
            ),
            var(
                "REMEDIATION_BATCH_PAUSE_MS",
                "100",
                "milliseconds between two batches of a pass",
            ),
            var(
                "REMEDIATION_BATCH_MAX_BYTES",
                "8388608",
                "bytes in a batch, at most; a larger message travels alone",
            ),
            var(
                "REMEDIATION_STALL_MAX_MS",
                "1",
                "milliseconds that a batch may keep Redis from other clients, as its clock tells; batches are made smaller for it; 0 = no limit",
            ),
            var(
                "MAX_POISON_RETRIES",
                "3",
                "a message that failed this often goes to the dead list; 0 = every message does",
            ),
            var(
                "REPLAY_STAMP",
                "true",
                "false: move every message byte for byte, without counting replays",
            ),
            var(
                "REPLAY_REQUIRED_FIELDS",
                "",
                "fields, separated by commas, without which the alerter discards a message: such a message goes to the dead list",
            ),
        ],
    },
    Group {
        title: "Pace",
        variables: &[
            var(
                "REPLAY_PACE",
                "fixed",
                "fixed: batches as configured; adaptive: batch after batch, as many as the pipeline is seen to take",
            ),
            var(
                "REPLAY_CANARY_SIZE",
                "10",
                "messages in the first batch after a gate has opened, in the adaptive pace",
            ),
            var(
                "REPLAY_OBSERVE_SECONDS",
                "2",
                "seconds that replays may take to come back before they count as gone through, in the adaptive pace",
            ),
            var(
                "REPLAY_MAX_BOUNCE_RATIO",
                "0.1",
                "share of replays that may come back before the adaptive pace slows down, from 0 to 1",
            ),
            var(
                "REPLAY_TARGET_MAX_DEPTH",
                "",
                "depth above which a replay does not lift its target; 0 = no limit; without it none in the fixed pace and 1000 in the adaptive one",
            ),
            var(
                "REPLAY_MAX_PER_SECOND",
                "0",
                "replays a second, at most, over all batches of a source; 0 = no limit",
            ),
            var(
                "POISON_GUARD_ENABLED",
                "true",
                "false: park messages however many of a batch have used up their retries",
            ),
            var(
                "POISON_MAX_RATIO",
                "0.5",
                "share of at least 20 messages that may have used up their retries before none is parked, from 0 to 1",
            ),
        ],
    },
    Group {
        title: "Sources",
        variables: &[
            var(
                "REMEDIATION_MOOG_ENABLED",
                "false",
                "true: bring the forwarder's dead letters back to the alert queue too",
            ),
            var(
                "REMEDIATION_SOURCES",
                "",
                "names of further sources, separated by commas; each has variables SOURCE_<NAME>_DLQ and so on",
            ),
        ],
    },
    Group {
        title: "Queues",
        variables: &[
            var(
                "ALERTER_DLQ_NAME",
                "mutt:dlq:alerter",
                "list that is drained",
            ),
            var(
                "INGEST_QUEUE_NAME",
                "mutt:ingest_queue",
                "list that replays go to",
            ),
            var(
                "DEAD_LETTER_QUEUE",
                "mutt:dlq:dead",
                "list that poison goes to",
            ),
            var(
                "ALERT_QUEUE_NAME",
                "mutt:alert_queue",
                "list between alerter and forwarder; nothing is replayed while it is too deep",
            ),
            var(
                "MOOG_DLQ_NAME",
                "mutt:dlq:moog",
                "the forwarder's dead letter list; see REMEDIATION_MOOG_ENABLED",
            ),
        ],
    },
    Group {
        title: "Backpressure guard",
        variables: &[
            var(
                "BACKPRESSURE_GUARD_ENABLED",
                "false",
                "true: shed load for alerters that do not, by the thresholds in mutt:config:alerter_*",
            ),
            var(
                "ALERTER_PROCESSING_LIST_PREFIX",
                "mutt:processing:alerter",
                "the alerters' processing lists, without a colon and the alerter's name; only looked at",
            ),
            var(
                "ALERTER_HEARTBEAT_PREFIX",
                "mutt:heartbeat:alerter",
                "the alerters' heartbeats, likewise; only looked at",
            ),
        ],
    },
    Group {
        title: "Operator",
        variables: &[
            var(
                "REMEDIATION_AUDIT_LENGTH",
                "10000",
                "entries of the audit that are kept, about; 0 = keep no audit",
            ),
            var(
                "DEAD_LETTER_MAX",
                "0",
                "messages in a dead list, at most: the oldest above that are evicted; 0 = no limit",
            ),
            var(
                "DEAD_LETTER_MAX_AGE_DAYS",
                "0",
                "days that a message stays in a dead list before it is evicted; 0 = for ever",
            ),
            var(
                "DEAD_LETTER_ARCHIVE",
                "",
                "where evicted messages are put first: a directory, as an absolute path, or list:NAME; without it they are gone",
            ),
        ],
    },
    Group {
        title: "Moogsoft",
        variables: &[
            var(
                "MOOG_HEALTH_CHECK_ENABLED",
                "true",
                "false: never probe, count Moogsoft as healthy",
            ),
            var(
                "MOOG_WEBHOOK_URL",
                "",
                "http or https address to probe; without one Moogsoft counts as healthy",
            ),
            var(
                "MOOG_HEALTH_TIMEOUT",
                "5",
                "seconds to wait for the probe's answer",
            ),
            var(
                "MOOG_API_KEY",
                "",
                "secret, sent with the probe as X-API-Key",
            ),
        ],
    },
    Group {
        title: "Redis",
        variables: &[
            var("REDIS_HOST", "localhost", "host name or address"),
            var("REDIS_PORT", "6379", "TCP port"),
            var("REDIS_DB", "0", "database number"),
            var(
                "REDIS_URL",
                "",
                "redis://, rediss:// or unix:// address; wins over the three above",
            ),
            var(
                "REDIS_CLUSTER_NODES",
                "",
                "host:port of nodes of a Redis Cluster, separated by commas; they tell where the others are",
            ),
            var("REDIS_USERNAME", "", "ACL user"),
            var("REDIS_PASSWORD", "", "secret"),
            var(
                "REDIS_PASSWORD_NEXT",
                "",
                "secret, tried when the first is refused: rotation without downtime",
            ),
            var("REDIS_TLS_ENABLED", "false", "true: speak TLS"),
            var(
                "REDIS_CA_CERT_PATH",
                "",
                "PEM file of the certificate authority; without it the system's are trusted",
            ),
            var(
                "REDIS_TLS_CLIENT_CERT",
                "",
                "PEM file of our certificate, where Redis asks for one",
            ),
            var("REDIS_TLS_CLIENT_KEY", "", "PEM file of its key"),
            var(
                "REDIS_TIMEOUT",
                "5",
                "seconds to wait for an answer before the connection is given up",
            ),
            var(
                "REDIS_SENTINELS",
                "",
                "sentinels that name the primary, as host:port separated by commas; REDIS_HOST and REDIS_PORT then have no effect",
            ),
            var(
                "REDIS_SENTINEL_MASTER",
                "",
                "name of the primary among the sentinels; needed with REDIS_SENTINELS",
            ),
            var("REDIS_SENTINEL_USERNAME", "", "ACL user of the sentinels"),
            var(
                "REDIS_SENTINEL_PASSWORD",
                "",
                "secret of the sentinels, apart from REDIS_PASSWORD",
            ),
            var(
                "REDIS_WAIT_REPLICAS",
                "0",
                "replicas that must have a batch before the next one is moved; 0 = wait for none",
            ),
            var(
                "REDIS_WAIT_TIMEOUT_MS",
                "1000",
                "milliseconds to wait for them; less than REDIS_TIMEOUT",
            ),
            var(
                "DYNAMIC_CONFIG_ENABLED",
                "false",
                "true: the keys mutt:config:* override this environment while running",
            ),
        ],
    },
    Group {
        title: "API",
        variables: &[
            var(
                "API_PORT_REMEDIATION",
                "8400",
                "port of the operator's API; 0 = any free one, which is logged",
            ),
            var(
                "API_BIND_REMEDIATION",
                "",
                "IP address at which it listens, or none for no API; without it every address with a key, and 127.0.0.1 without any, where everybody on this machine is an operator",
            ),
            var(
                "REMEDIATION_API_KEY",
                "",
                "key for all of the API, of at least 16 characters (a secret)",
            ),
            var(
                "REMEDIATION_API_READ_KEY",
                "",
                "another key, with which the API can only be read (a secret)",
            ),
        ],
    },
    Group {
        title: "Notifications",
        variables: &[
            var(
                "NOTIFY_URLS",
                "",
                "who is told, separated by commas or blanks (secrets): webhook+https://..., slack+https://..., alertmanager+http://..., smtps://user:password@host/?from=..&to=..; nobody without it",
            ),
            var(
                "NOTIFY_HMAC_SECRET",
                "",
                "secret that generic webhooks are signed with; needed with webhook+",
            ),
            var(
                "NOTIFY_CONSOLE_URL",
                "",
                "address that people reach the console at, such as https://mutt.example:8400; without it messages have no links",
            ),
            var(
                "NOTIFY_EVENTS",
                "",
                "events that are told, separated by commas; without it all: redis_lost, systemic, gate_shut, poison_rate, dead_list_size, dead_list_age, drain_finished, run_finished",
            ),
            var(
                "NOTIFY_POISON_PER_MINUTE",
                "30",
                "messages of a source parked within a minute above which it is told; 0 = never",
            ),
            var(
                "NOTIFY_GATE_SHUT_SECONDS",
                "900",
                "seconds that a gate may be shut before it is told; 0 = never",
            ),
            var(
                "NOTIFY_DEAD_LIST_SIZE",
                "1000",
                "messages in a dead list above which it is told; 0 = never",
            ),
            var(
                "NOTIFY_DEAD_LIST_AGE_HOURS",
                "168",
                "hours that a message may lie in a dead list before it is told; 0 = never",
            ),
            var(
                "NOTIFY_REDIS_LOST_SECONDS",
                "30",
                "seconds that Redis may be away before it is told; 0 = never",
            ),
            var(
                "NOTIFY_CALM_SECONDS",
                "60",
                "seconds that what was told must be over before its end is told; what is over for less has not ended",
            ),
            var(
                "NOTIFY_GROUP_SECONDS",
                "5",
                "seconds that the first event of a message waits for others",
            ),
            var(
                "NOTIFY_MAX_PER_HOUR",
                "30",
                "messages to one receiver in an hour, at most; what comes on top waits, and is told together",
            ),
        ],
    },
    Group {
        title: "Service level objectives",
        variables: &[
            var(
                "PROMETHEUS_URL",
                "",
                "http or https address that /api/v1/query lies below; without it nothing is known of the objectives",
            ),
            var(
                "PROMETHEUS_TOKEN",
                "",
                "bearer token, where Prometheus asks for one (a secret)",
            ),
            var(
                "PROMETHEUS_USERNAME",
                "",
                "user, where Prometheus asks for one instead",
            ),
            var("PROMETHEUS_PASSWORD", "", "secret of that user"),
            var(
                "PROMETHEUS_CA_CERT_PATH",
                "",
                "PEM file of the authority that certifies Prometheus, besides those of the system",
            ),
            var(
                "PROMETHEUS_TIMEOUT",
                "5",
                "seconds to wait for an answer, before it is asked once more",
            ),
            var(
                "SLO_INTERVAL",
                "30",
                "seconds from one round of questions to the next",
            ),
            var(
                "SLO_STALE_SECONDS",
                "300",
                "seconds that the last answers count while Prometheus is away; afterwards nothing is known",
            ),
            var(
                "SLO_FILE",
                "",
                "OpenSLO file with objectives of one's own, besides the built-in ones",
            ),
            var(
                "SLO_INGEST_SUCCESS_TARGET",
                "",
                "target of ingestor_availability; without it 0.999",
            ),
            var(
                "SLO_FORWARD_SUCCESS_TARGET",
                "",
                "target of forwarder_availability; without it 0.995",
            ),
            var(
                "SLO_WINDOW_HOURS",
                "24",
                "hours that the built-in objectives hold over; SLO_<NAME>_WINDOW_HOURS for one of them",
            ),
            var(
                "SLO_BURN_RATE_WARNING",
                "6",
                "burn rate above which an objective is a warning; SLO_<NAME>_BURN_RATE_WARNING for one of them",
            ),
            var(
                "SLO_BURN_RATE_CRITICAL",
                "14.4",
                "burn rate above which it is critical; SLO_<NAME>_BURN_RATE_CRITICAL for one of them",
            ),
            var(
                "REPLAY_SLO_GATE",
                "false",
                "true: nothing is replayed while the budget of forwarder_availability burns critically",
            ),
        ],
    },
    Group {
        title: "Process",
        variables: &[
            var(
                "POD_NAME",
                "",
                "name of this instance in logs, traces and in CLIENT LIST; without it the host's name",
            ),
            var(
                "METRICS_PORT_REMEDIATION",
                "8086",
                "port of /metrics; 0 = any free one, which is logged",
            ),
            var(
                "HEALTH_PORT_REMEDIATION",
                "8087",
                "port of /health and /ready; 0 = any free one, which is logged",
            ),
            var(
                "LOG_LEVEL",
                "INFO",
                "DEBUG, INFO, WARNING, ERROR, CRITICAL or a filter like info,mutt_remediation=debug",
            ),
            var("LOG_JSON_ENABLED", "false", "true: one JSON object a line"),
            var(
                "SERVICE_VERSION",
                "",
                "version shown in JSON logs and traces; without it the program's own",
            ),
            var(
                "OTEL_SERVICE_NAME",
                "remediation",
                "service shown in JSON logs and traces",
            ),
        ],
    },
    Group {
        title: "Traces",
        variables: &[
            var(
                "OTEL_ENABLED",
                "false",
                "true: tell a collector of each pass, by OTLP over HTTP",
            ),
            var(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://localhost:4318",
                "http or https address that /v1/traces lies below",
            ),
            var(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "",
                "the whole address that traces are posted to; wins over the one above",
            ),
            var(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "",
                "headers sent to the collector, as name=value separated by commas (secrets)",
            ),
            var(
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "10000",
                "milliseconds to wait for the collector's answer; nothing else waits for it",
            ),
            var(
                "OTEL_RESOURCE_ATTRIBUTES",
                "",
                "what else is said of this process, as name=value separated by commas",
            ),
            var(
                "OTEL_TRACES_SAMPLER",
                "parentbased_always_on",
                "which traces are sent: always_on, always_off or traceidratio, each also with parentbased_ before it",
            ),
            var(
                "OTEL_TRACES_SAMPLER_ARG",
                "",
                "share of traces that traceidratio sends, from 0 to 1; without it all",
            ),
        ],
    },
];

/// All variables, without their headings.
pub fn all() -> impl Iterator<Item = &'static Variable> {
    GROUPS.iter().flat_map(|group| group.variables)
}
