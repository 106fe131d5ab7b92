//! What the API, the command line and the core say to each other: plain data, one name a thing.
//!
//! Times are Unix seconds, ages and durations seconds, sizes bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::drain::status::{DrainStatus, PassView};

/// What an operator may do with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Back to work: to the replay target of the queue's source.
    Replay,
    /// From a dead letter list to its dead list.
    Bury,
    /// From a dead list back to the dead letter list, with its counters reset, for the worker to
    /// bring back.
    Restore,
    /// Thrown away, for good.
    Purge,
    /// Only read.
    Export,
}

impl Action {
    /// Every action, for closed label sets and for help texts.
    pub const ALL: [Self; 5] = [
        Self::Replay,
        Self::Bury,
        Self::Restore,
        Self::Purge,
        Self::Export,
    ];

    /// The name used on the wire, in the audit and as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Bury => "bury",
            Self::Restore => "restore",
            Self::Purge => "purge",
            Self::Export => "export",
        }
    }
}

/// Who asks, and from where, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// A name, as good as the key allows: `operator`, or `name@host` on the command line.
    pub name: String,
    /// `api 192.0.2.7`, `console 192.0.2.7` or `cli`.
    pub from: String,
}

/// Which messages are meant; what is left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Why it lies there, as [`Message::reason`] says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It has been around for at least so long, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<u64>,
    /// It has been around for at most so long, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Its `hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 1_000)]
    pub host: Option<String>,
    /// Members of its top level that have this value; a text, or JSON as it is spelt there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub field: Vec<FieldText>,
    /// Members of its top level whose text contains this, whatever the case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub contains: Vec<FieldText>,
    /// Its bytes contain this text, to the letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 1_000)]
    pub text: Option<String>,
}

/// A member and a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldText {
    /// The member's name.
    #[schema(min_length = 1, max_length = 1_000)]
    pub name: String,
    /// The text.
    #[schema(max_length = 1_000)]
    pub value: String,
}

/// A list that an operator can look into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// What it is called here: the source's name, or `dead`.
    pub queue: String,
    /// The list in Redis.
    pub list: String,
    /// `source` or `dead`.
    pub role: String,
    /// The source whose rules hold for it.
    pub source: String,
    /// Where a replay goes.
    pub target: String,
    /// Messages in it.
    pub depth: u64,
    /// Since when its oldest message has been around, where that tells.
    pub oldest_since: Option<i64>,
    /// Whether its drain is paused by an operator.
    pub paused: Option<PauseView>,
    /// The run that is active on it.
    pub run: Option<String>,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// Why.
    pub reason: String,
    /// Who paused it.
    pub by: String,
    /// Since when.
    pub since: i64,
    /// When it ends by itself; never if it is missing.
    pub until: Option<i64>,
}

/// A request to pause a source's drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, at most 200 characters on one line.
    #[schema(min_length = 1, max_length = 200)]
    pub reason: String,
    /// For how many seconds, at most 30 days; until it is resumed if missing.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub seconds: Option<u64>,
}

/// How much of a queue is what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueDetail {
    /// The queue.
    #[serde(flatten)]
    pub queue: QueueView,
    /// Messages by [`Message::reason`].
    pub by_reason: BTreeMap<String, u64>,
    /// Messages by how long they have been around: `1m`, `10m`, `1h`, `6h`, `1d`, `7d`, `older`
    /// and `unknown`; each counts those that are no older than that and in none before.
    pub by_age: BTreeMap<String, u64>,
    /// Messages that were looked at.
    pub scanned: u64,
    /// Whether these were all of it.
    pub complete: bool,
}

/// A message in a list of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// What it is called by: the SHA-1 of its bytes, in 40 hexadecimal digits.
    pub digest: String,
    /// Its place, counted from the oldest, which is 0. It shifts when older ones go.
    pub at: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why it lies there: `failed`, `shed`, `retries_exhausted`, `malformed`, `incomplete`,
    /// `operator`.
    pub reason: String,
    /// How often it has failed, by the counters that decide; missing where it cannot be read.
    pub retries: Option<u64>,
    /// How often this worker has replayed it.
    pub replays: Option<u64>,
    /// Since when it has been around: its last replay, or else its timestamp.
    pub since: Option<i64>,
    /// Its `hostname`.
    pub host: Option<String>,
    /// Its `severity`.
    pub severity: Option<String>,
    /// The beginning of its `message`, or else of its bytes.
    pub summary: String,
    /// Its `_correlation_id`.
    pub correlation_id: Option<String>,
}

/// Which part of a queue to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Messages wanted, at most; 1 to 500, 50 if missing.
    pub limit: Option<u64>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// Begin with the youngest.
    pub newest_first: bool,
    /// Messages to look at, at most; 1 to 1,000,000, 20,000 if missing.
    pub scan: Option<u64>,
}

/// Some messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The queue.
    pub queue: String,
    /// Messages in it.
    pub depth: u64,
    /// Those that match.
    pub messages: Vec<Message>,
    /// Messages that were looked at for this page.
    pub scanned: u64,
    /// To go on with; missing at the end of the queue.
    pub next: Option<String>,
    /// Whether the place of the last page was found again; if not, some may be missing or shown
    /// twice, because others were at work on the queue.
    pub steady: bool,
}

/// All about one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub message: Message,
    /// The queue.
    pub queue: String,
    /// Identical copies that were seen while it was searched for, itself included.
    pub copies: u64,
    /// Messages that were looked at.
    pub scanned: u64,
    /// What the worker would do with it now: `replay` or `dead`.
    pub disposition: String,
    /// Its bytes as text; what is no UTF-8 is shown as U+FFFD.
    pub body: String,
    /// Its bytes in base64, where they are no UTF-8.
    pub base64: Option<String>,
    /// The text, indented, where it is JSON. Numbers keep their spelling.
    pub pretty: Option<String>,
    /// What the audit says of it, newest first.
    pub history: Vec<AuditEntry>,
}

/// A message that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its digest, or the first 8 digits of it or more.
    #[schema(pattern = "^[0-9a-fA-F]{8,40}$")]
    pub digest: String,
    /// Where it was seen last, to find it sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub at: Option<u64>,
}

/// A request to act on some messages at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// What to do.
    pub action: Action,
    /// With which messages, 1 to 100. One that is named twice means two identical copies.
    #[schema(min_items = 1, max_items = 100)]
    pub messages: Vec<Named>,
    /// Also where the alerter would discard it, or where it may be of another source.
    #[serde(default)]
    pub force: bool,
}

/// What became of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActOutcome {
    /// Messages that were meant.
    pub wanted: u64,
    /// Messages that were moved.
    pub moved: u64,
    /// Digests that were not found.
    pub missing: Vec<String>,
    /// Messages that were left where they are, by why.
    pub left: BTreeMap<String, u64>,
    /// Messages that were looked at in search of them.
    pub scanned: u64,
    /// Whether all of the queue was looked at for those that were not found.
    pub complete: bool,
    /// Messages in the queue before.
    pub depth_before: u64,
    /// Messages in the queue after.
    pub depth_after: u64,
    /// The same as a sentence, such as `moved 0 of 40`.
    pub summary: String,
}

/// A request to change a message, and to send it back to work or leave it in its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// The bytes that take the place of the old ones: a JSON object.
    pub body: String,
    /// Where it was seen last, to find it sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub at: Option<u64>,
}

/// What became of an edited message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditOutcome {
    /// Whether it was changed and replayed.
    pub moved: bool,
    /// The digest of the old bytes.
    pub digest: String,
    /// The digest of what arrived at the replay target.
    pub after: String,
    /// Under which id the old bytes are kept.
    pub original: String,
    /// The same as a sentence.
    pub summary: String,
}

/// Bytes that an edit has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Original {
    /// Its id.
    pub original: String,
    /// Their digest.
    pub digest: String,
    /// The bytes as text; what is no UTF-8 is shown as U+FFFD.
    pub body: String,
    /// In base64, where they are no UTF-8.
    pub base64: Option<String>,
}

/// A request to plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What to do.
    pub action: Action,
    /// With which messages.
    #[serde(default)]
    pub filter: Filter,
    /// With how many of them, at most, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub limit: Option<u64>,
    /// Also with those that the alerter would discard, or that may be of another source.
    #[serde(default)]
    pub force: bool,
}

/// A plan: what a run of it would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// What starts a run of it, once.
    pub token: String,
    /// When it expires.
    pub expires_at: i64,
    /// The queue.
    pub queue: String,
    /// What it does.
    pub action: Action,
    /// With which messages.
    pub filter: Filter,
    /// Messages in the queue.
    pub depth: u64,
    /// Messages that were looked at.
    pub scanned: u64,
    /// Whether these were all; if not, the counts are of these only, and a run looks no further.
    pub complete: bool,
    /// Messages that match.
    pub matched: u64,
    /// Messages that it would move.
    pub would_move: u64,
    /// Messages that match and would stay, by why.
    pub would_leave: BTreeMap<String, u64>,
    /// The oldest ones that it would move.
    pub sample: Vec<Message>,
    /// Where they would go; nowhere for a purge.
    pub to: Option<String>,
}

/// A request to run a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The plan's token.
    pub token: String,
    /// What the plan is believed to do, as its `action` says: one that does anything else is not
    /// run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// How many messages it is believed to move, as its `would_move` says: one of any other number
    /// is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_move: Option<u64>,
    /// Messages a second, at most; as fast as it goes if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub rate: Option<u64>,
    /// It stops after so many seconds; at the end of the plan if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub seconds: Option<u64>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Somebody is at it, or will be in a moment.
    Running,
    /// All that it was to look at was looked at.
    Done,
    /// An operator ended it.
    Cancelled,
    /// Its time was up.
    TimedOut,
    /// It could not go on; the summary says why.
    Failed,
}

impl RunState {
    /// Every state, for those who describe them.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Done,
        Self::Cancelled,
        Self::TimedOut,
        Self::Failed,
    ];

    /// The name used on the wire and in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id.
    pub run: String,
    /// The queue.
    pub queue: String,
    /// What it does.
    pub action: Action,
    /// With which messages.
    pub filter: Filter,
    /// How it stands.
    pub state: RunState,
    /// Messages that the plan would have moved.
    pub wanted: u64,
    /// Messages that it has moved.
    pub moved: u64,
    /// Messages that matched and were left where they are, by why.
    pub left: BTreeMap<String, u64>,
    /// Messages that it has looked at.
    pub scanned: u64,
    /// Messages that it is to look at.
    pub to_scan: u64,
    /// Batches that met somebody else at work and were done again.
    pub conflicts: u64,
    /// Messages a second, at most.
    pub rate: Option<u64>,
    /// Who started it.
    pub by: String,
    /// Which instance works at it, or did last.
    pub instance: String,
    /// When it was started.
    pub started_at: i64,
    /// When it was last heard of.
    pub updated_at: i64,
    /// When it ends for its time being up.
    pub until: Option<i64>,
    /// Messages in the queue when it was started.
    pub depth_before: u64,
    /// Messages in the queue when it ended.
    pub depth_after: Option<u64>,
    /// Why it stands still, if it does: it is tried again, until it is cancelled or its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The same as a sentence, such as `moved 0 of 40`.
    pub summary: String,
}

/// What became of messages that were imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportOutcome {
    /// Messages that were pushed to the young end of the queue.
    pub imported: u64,
    /// Messages in the queue after.
    pub depth_after: u64,
}

/// One line of an export: a message, as text or in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The SHA-1 of its bytes; checked on import where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its bytes, where they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its bytes in base64, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// A dynamic setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// The key, without `mutt:config:`.
    pub key: String,
    /// The text in Redis, if there is one.
    pub value: Option<String>,
    /// The text that counts without it.
    pub default: String,
    /// The text that counts now, as far as this process knows; with a refused one in Redis the last
    /// good one.
    #[serde(default)]
    pub in_force: String,
    /// Seconds until the text in Redis ends by itself; never if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// What a value must be.
    pub expected: String,
    /// Whether the text in Redis is one that is taken.
    pub valid: bool,
}

/// A request to change a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingRequest {
    /// The new text.
    pub value: String,
    /// It falls back after so many seconds; never if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub seconds: Option<u64>,
}

/// Which part of the audit to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRequest {
    /// Entries wanted, at most; 1 to 500, 50 if missing.
    pub limit: Option<u64>,
    /// The id before which to go on; the newest if missing.
    pub before: Option<String>,
    /// `commit`, `parked`, `act`, `gate` or `refused`.
    pub kind: Option<String>,
    /// Whose acts.
    pub who: Option<String>,
    /// What concerns the message of this digest, or of one that begins like this.
    pub digest: Option<String>,
    /// What concerns the message of this correlation id.
    pub correlation_id: Option<String>,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id in the stream.
    pub id: String,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// `commit`, `parked`, `act`, `gate` or `refused`.
    pub kind: String,
    /// All else that it says, `messages` and `digests` left out.
    pub fields: BTreeMap<String, String>,
    /// How the digests of messages begin that were thrown away by a run or evicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// The messages that it tells of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<AuditMessage>,
}

/// What an entry of the audit tells of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditMessage {
    /// `replay`, `dead`, `restore` or `purge`.
    pub disposition: String,
    /// Why it is dead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often it had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// The digest that it had.
    pub digest: String,
    /// The digest of what arrived, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Its `_correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Some entries of the audit, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Entries that were looked at.
    pub scanned: u64,
    /// To go on with; missing at the end.
    pub next: Option<String>,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Who answers.
    pub instance: String,
    /// The program's version.
    pub version: String,
    /// When this was said.
    pub now: i64,
    /// Whether Redis answers, or why not.
    pub redis: String,
    /// The drains of this process; none on the command line without a daemon.
    pub drains: Vec<DrainStatus>,
    /// The queues.
    pub queues: Vec<QueueView>,
}
