//! What can be looked at.

use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Acts, Always, Named, Problem};
use super::take::{Asked, Pairs, Taken};
use super::{Answer, ApiState, Reply};
use crate::operate::wire::{
    AuditPage, AuditRequest, Detail, FieldText, Filter, Original, Page, PageRequest, QueueDetail,
    QueueView, RunView, SettingView, Status,
};
use crate::slo::view::SloReport;

const LIMIT: (u64, u64) = (1, 500);
const SCAN: (u64, u64) = (1, 1_000_000);
/// Places and ages: whatever JavaScript can count to.
const ANY: (u64, u64) = (0, (1 << 53) - 1);

/// Which queue.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct InQueue {
    /// The source's name, or `dead` for the alerter's dead list, or `<source>.dead`.
    pub(super) queue: String,
}

/// Which message.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct InMessage {
    /// The source's name, or `dead` for the alerter's dead list, or `<source>.dead`.
    pub(super) queue: String,
    /// Its digest, or the beginning of it.
    #[param(pattern = "^[0-9a-fA-F]{8,40}$")]
    pub(super) digest: String,
}

/// Which bytes that an edit has replaced.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct InOriginal {
    /// The source's name, or `dead` for the alerter's dead list, or `<source>.dead`.
    pub(super) queue: String,
    /// The id that the edit has answered, which the audit has, too.
    pub(super) original: String,
}

/// How much to look at.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Scan {
    /// Messages to look at, at most; 20,000 if missing.
    #[param(minimum = 1, maximum = 1_000_000)]
    scan: Option<u64>,
}

impl Taken for Scan {
    fn take(pairs: &mut Pairs) -> Result<Self, Problem> {
        let scan = pairs.number("scan", SCAN)?;
        Ok(Self { scan })
    }
}

/// Where a message was seen.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct At {
    /// Where it was seen last, to find it sooner.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    at: Option<u64>,
}

impl Taken for At {
    fn take(pairs: &mut Pairs) -> Result<Self, Problem> {
        let at = pairs.number("at", ANY)?;
        Ok(Self { at })
    }
}

/// `name=value`.
#[derive(ToSchema)]
#[schema(pattern = "^[^=]+=", max_length = 1_000)]
#[expect(dead_code, reason = "it describes what is taken into a FieldText")]
struct FieldIs(String);

/// `name~text`.
#[derive(ToSchema)]
#[schema(pattern = "^[^~]+~", max_length = 1_000)]
#[expect(dead_code, reason = "it describes what is taken into a FieldText")]
struct FieldContains(String);

/// Which messages, as parameters; what is left out matches all.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is taken into a Filter")]
pub(super) struct FilterParams {
    /// Why it lies there, as `reason` of a message says.
    reason: Option<String>,
    /// It has been around for at least so many seconds.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    min_age: Option<u64>,
    /// It has been around for at most so many seconds.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    max_age: Option<u64>,
    /// Its `hostname`.
    #[param(min_length = 1, max_length = 1_000)]
    host: Option<String>,
    /// `name=value`, any number of times: members of its top level that have this value.
    #[param(inline, max_items = 20)]
    field: Option<Vec<FieldIs>>,
    /// `name~text`, any number of times: members of its top level whose text contains this.
    #[param(inline, max_items = 20)]
    contains: Option<Vec<FieldContains>>,
    /// Its bytes contain this text, to the letter.
    #[param(min_length = 1, max_length = 1_000)]
    text: Option<String>,
}

impl Taken for Filter {
    fn take(pairs: &mut Pairs) -> Result<Self, Problem> {
        Ok(Self {
            reason: pairs.one("reason")?,
            min_age: pairs.number("min_age", ANY)?,
            max_age: pairs.number("max_age", ANY)?,
            host: pairs.one("host")?,
            field: parted(pairs, "field", '=')?,
            contains: parted(pairs, "contains", '~')?,
            text: pairs.one("text")?,
        })
    }
}

/// Names and values; the first sign between them parts them.
fn parted(pairs: &mut Pairs, name: &'static str, sign: char) -> Result<Vec<FieldText>, Problem> {
    let each = pairs.many(name).into_iter().map(|text| {
        let parts = text.split_once(sign).filter(|(name, _)| !name.is_empty());
        match parts {
            Some((name, value)) => Ok(FieldText {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            None => Err(Problem::bad(name, &text, &format!("name{sign}text"))),
        }
    });
    each.collect()
}

/// Which page of a queue.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is taken into a PageRequest")]
pub(super) struct PageParams {
    /// Messages wanted, at most; 50 if missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Where the last page ended: its `next`.
    #[param(pattern = "^[on][0-9]{1,9}-[0-9a-f]{40}$")]
    cursor: Option<String>,
    /// Begin with the youngest.
    newest_first: Option<bool>,
    /// Messages to look at, at most; 20,000 if missing.
    #[param(minimum = 1, maximum = 1_000_000)]
    scan: Option<u64>,
}

/// A page of what matches.
pub(super) struct PageOf(PageRequest, Filter);

impl Taken for PageOf {
    fn take(pairs: &mut Pairs) -> Result<Self, Problem> {
        let page = PageRequest {
            limit: pairs.number("limit", LIMIT)?,
            cursor: pairs.one("cursor")?,
            newest_first: pairs.flag("newest_first")?,
            scan: pairs.number("scan", SCAN)?,
        };
        Ok(Self(page, Filter::take(pairs)?))
    }
}

/// Which part of the audit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is taken into an AuditRequest")]
pub(super) struct AuditParams {
    /// Entries wanted, at most; 50 if missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// The id before which to go on: the last page's `next`.
    #[param(pattern = "^[1-9][0-9]{0,14}-[0-9]{1,9}$")]
    before: Option<String>,
    /// What it tells of.
    #[param(pattern = "^(commit|parked|act|gate|refused)$")]
    kind: Option<String>,
    /// Whose acts.
    who: Option<String>,
    /// What concerns the message of this digest, or of one that begins like this.
    #[param(pattern = "^[0-9a-fA-F]{1,40}$")]
    digest: Option<String>,
    /// What concerns the message of this correlation id.
    correlation_id: Option<String>,
}

impl Taken for AuditRequest {
    fn take(pairs: &mut Pairs) -> Result<Self, Problem> {
        Ok(Self {
            limit: pairs.number("limit", LIMIT)?,
            before: before(pairs)?,
            kind: pairs.one("kind")?,
            who: pairs.one("who")?,
            digest: pairs.one("digest")?,
            correlation_id: pairs.one("correlation_id")?,
        })
    }
}

/// Redis takes no id before the first one.
fn before(pairs: &mut Pairs) -> Result<Option<String>, Problem> {
    let before = pairs.one("before")?;
    match before.as_ref().filter(|id| id.starts_with('0')) {
        None => Ok(before),
        Some(id) => Err(Problem::bad("before", id, "the next of the page before")),
    }
}

/// How things stand: Redis, the drains of this process, the queues
#[utoipa::path(
    get, path = "/status", tag = "status",
    responses((status = 200, description = "How things stand.", body = Status), Always),
)]
pub(super) async fn status(State(api): State<ApiState>, _: Asked<()>) -> Answer<Status> {
    Reply::ok(api.0.operator.status().await)
}

/// The queues
#[utoipa::path(
    get, path = "/queues", tag = "queues",
    responses((status = 200, description = "All queues.", body = Vec<QueueView>), Always),
)]
pub(super) async fn queues(State(api): State<ApiState>, _: Asked<()>) -> Answer<Vec<QueueView>> {
    Reply::ok(api.0.operator.queues().await?)
}

/// A queue, and how much of it is what
#[utoipa::path(
    get, path = "/queues/{queue}", tag = "queues", params(InQueue, Scan),
    responses((status = 200, description = "The queue.", body = QueueDetail), Always, Named),
)]
pub(super) async fn queue(
    State(api): State<ApiState>,
    Path(InQueue { queue }): Path<InQueue>,
    Asked(Scan { scan }): Asked<Scan>,
) -> Answer<QueueDetail> {
    Reply::ok(api.0.operator.queue(&queue, scan).await?)
}

/// Messages of a queue, page by page
#[utoipa::path(
    get, path = "/queues/{queue}/messages", tag = "messages",
    params(InQueue, PageParams, FilterParams),
    responses((status = 200, description = "A page.", body = Page), Always, Named),
)]
pub(super) async fn messages(
    State(api): State<ApiState>,
    Path(InQueue { queue }): Path<InQueue>,
    Asked(PageOf(page, filter)): Asked<PageOf>,
) -> Answer<Page> {
    Reply::ok(api.0.operator.messages(&queue, &filter, &page).await?)
}

/// A message, whole, with its history
#[utoipa::path(
    get, path = "/queues/{queue}/messages/{digest}", tag = "messages", params(InMessage, At),
    responses((status = 200, description = "The message.", body = Detail), Always, Named, Acts),
)]
pub(super) async fn message(
    State(api): State<ApiState>,
    Path(InMessage { queue, digest }): Path<InMessage>,
    Asked(At { at }): Asked<At>,
) -> Answer<Detail> {
    Reply::ok(api.0.operator.message(&queue, &digest, at).await?)
}

/// The bytes that an edit has replaced
#[utoipa::path(
    get, path = "/queues/{queue}/originals/{original}", tag = "messages", params(InOriginal),
    responses((status = 200, description = "The bytes.", body = Original), Always, Named),
)]
pub(super) async fn original(
    State(api): State<ApiState>,
    Path(InOriginal { queue, original }): Path<InOriginal>,
    _: Asked<()>,
) -> Answer<Original> {
    Reply::ok(api.0.operator.original(&queue, &original).await?)
}

/// The last runs of all queues, newest first
#[utoipa::path(
    get, path = "/runs", tag = "runs",
    responses((status = 200, description = "The runs.", body = Vec<RunView>), Always),
)]
pub(super) async fn runs(State(api): State<ApiState>, _: Asked<()>) -> Answer<Vec<RunView>> {
    Reply::ok(api.0.operator.runs().await?)
}

/// How a run stands
#[utoipa::path(
    get, path = "/runs/{run}", tag = "runs", params(("run" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The run.", body = RunView), Always, Named),
)]
pub(super) async fn run(
    State(api): State<ApiState>,
    Path(run): Path<String>,
    _: Asked<()>,
) -> Answer<RunView> {
    Reply::ok(api.0.operator.run(&run).await?)
}

/// The settings that can change while running
#[utoipa::path(
    get, path = "/settings", tag = "settings",
    responses((status = 200, description = "All of them.", body = Vec<SettingView>), Always),
)]
pub(super) async fn settings(
    State(api): State<ApiState>,
    _: Asked<()>,
) -> Answer<Vec<SettingView>> {
    Reply::ok(api.0.operator.settings().await?)
}

/// What was done, and by whom, newest first
#[utoipa::path(
    get, path = "/audit", tag = "audit", params(AuditParams),
    responses((status = 200, description = "A page.", body = AuditPage), Always),
)]
pub(super) async fn audit(
    State(api): State<ApiState>,
    Asked(request): Asked<AuditRequest>,
) -> Answer<AuditPage> {
    Reply::ok(api.0.operator.audit(&request).await?)
}

/// How the service level objectives stand
///
/// It is answered at once from what is known: while Prometheus is away the last answers count, marked
/// as stale, and later nothing does.
#[utoipa::path(
    get, path = "/slo", tag = "status",
    responses((status = 200, description = "All objectives.", body = SloReport), Always),
)]
pub(super) async fn slo(State(api): State<ApiState>, _: Asked<()>) -> Answer<SloReport> {
    Reply::ok(SloReport::of(&api.slos()))
}
