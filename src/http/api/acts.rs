//! What can be done. Each act is one line in the log, whether it came to something or not: who, what,
//! where, and what became of it; never a key or a body.

use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::access::Caller;
use super::look::{InMessage, InQueue};
use super::problem::{Acts, Always, Bodies, Named, Problem};
use super::take::{Asked, Json, Lines};
use super::{Answer, ApiState, Reply};
use crate::operate::Error;
use crate::operate::wire::{
    ActOutcome, ActRequest, EditOutcome, EditRequest, ImportOutcome, Line, PauseRequest,
    PlanRequest, PlanView, QueueView, RunRequest, RunView, SettingRequest, SettingView, Who,
};

/// Tells the log what became of an act.
pub(in crate::http) fn told<T>(
    who: &Who,
    act: &str,
    on: &str,
    outcome: Result<T, Error>,
    summary: impl FnOnce(&T) -> String,
) -> Result<T, Problem> {
    let said = match &outcome {
        Ok(done) => summary(done),
        // The value may be a part of a message.
        Err(Error::Invalid { name, .. }) => format!("refused: {name} cannot be used"),
        Err(error) => format!("refused: {error}"),
    };
    let on: String = on.chars().take(80).collect();
    // As values and not as texts of their own, so that the log escapes what is in them.
    tracing::info!(
        who = who.name.as_str(),
        from = who.from.as_str(),
        act,
        on = on.as_str(),
        outcome = said.as_str(),
        "an operator acted"
    );
    outcome.map_err(Problem::from)
}

/// Act on some messages at once
#[utoipa::path(
    post, path = "/queues/{queue}/acts", tag = "messages", params(InQueue),
    request_body = ActRequest,
    responses(
        (status = 200, description = "What became of them.", body = ActOutcome),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn act(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InQueue { queue }): Path<InQueue>,
    _: Asked<()>,
    Json(request): Json<ActRequest>,
) -> Answer<ActOutcome> {
    let outcome = api.0.operator.act(&queue, &request, &caller.0).await;
    let name = request.action.as_str();
    let outcome = told(&caller.0, name, &queue, outcome, |done| {
        done.summary.clone()
    });
    Reply::ok(outcome.map_err(Problem::of_body)?)
}

/// Change a message and send it back to work; its old bytes are kept
#[utoipa::path(
    post, path = "/queues/{queue}/messages/{digest}/edit", tag = "messages", params(InMessage),
    request_body = EditRequest,
    responses(
        (status = 200, description = "What became of it.", body = EditOutcome),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn edit(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InMessage { queue, digest }): Path<InMessage>,
    _: Asked<()>,
    Json(request): Json<EditRequest>,
) -> Answer<EditOutcome> {
    let operator = &api.0.operator;
    let outcome = operator.edit(&queue, &digest, &request, &caller.0).await;
    let outcome = told(&caller.0, "edit", &queue, outcome, |done| {
        done.summary.clone()
    });
    Reply::ok(outcome.map_err(Problem::of_body)?)
}

/// Push messages to the young end of a queue, such as those of an export
///
/// At most 1,000 lines and 8 MiB. All are checked before any is pushed; an export's last line is passed over.
#[utoipa::path(
    post, path = "/queues/{queue}/import", tag = "messages", params(InQueue),
    request_body(content = Line, content_type = "application/x-ndjson", description = "A message a line."),
    responses(
        (status = 200, description = "All were pushed.", body = ImportOutcome),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn import(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InQueue { queue }): Path<InQueue>,
    _: Asked<()>,
    Lines(lines): Lines,
) -> Answer<ImportOutcome> {
    let outcome = api.0.operator.import(&queue, lines, &caller.0).await;
    let outcome = told(&caller.0, "import", &queue, outcome, |done| {
        format!("imported {}", done.imported)
    });
    Reply::ok(outcome.map_err(Problem::of_body)?)
}

/// Plan: count what an action would do, and get a token that starts a run of it
#[utoipa::path(
    post, path = "/queues/{queue}/plans", tag = "runs", params(InQueue),
    request_body = PlanRequest,
    responses(
        (status = 201, description = "The plan.", body = PlanView),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn plan(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InQueue { queue }): Path<InQueue>,
    _: Asked<()>,
    Json(request): Json<PlanRequest>,
) -> Answer<PlanView> {
    let outcome = api.0.operator.plan(&queue, &request, &caller.0).await;
    let name = format!("plan to {}", request.action.as_str());
    let outcome = told(&caller.0, &name, &queue, outcome, |plan| {
        format!("would move {} of {}", plan.would_move, plan.matched)
    });
    let plan = outcome.map_err(Problem::of_body)?;
    Ok(Reply(StatusCode::CREATED, plan))
}

/// Start a run of a plan
#[utoipa::path(
    post, path = "/runs", tag = "runs", request_body = RunRequest,
    responses(
        (status = 202, description = "It has begun.", body = RunView),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn start(
    State(api): State<ApiState>,
    caller: Caller,
    _: Asked<()>,
    Json(request): Json<RunRequest>,
) -> Answer<RunView> {
    let outcome = match api.0.operator.start(&request, &caller.0).await {
        // Until it expires the token is as good as a key.
        Err(Error::NotFound { what, .. }) => Err(Error::not_found(what, "(not shown)")),
        outcome => outcome,
    };
    let queue = api
        .0
        .operator
        .planned_on(&request.token)
        .unwrap_or_default();
    let outcome = told(&caller.0, "start", queue, outcome, |run| {
        format!("run {} to {}", run.run, run.action.as_str())
    });
    let run = outcome.map_err(Problem::of_body)?;
    Ok(Reply(StatusCode::ACCEPTED, run))
}

/// Cancel a run; what it has moved stays moved
#[utoipa::path(
    post, path = "/runs/{run}/cancel", tag = "runs",
    params(("run" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The run.", body = RunView), Always, Named, Acts),
)]
pub(super) async fn cancel(
    State(api): State<ApiState>,
    caller: Caller,
    Path(run): Path<String>,
    _: Asked<()>,
) -> Answer<RunView> {
    let outcome = api.0.operator.cancel(&run, &caller.0).await;
    Reply::ok(told(&caller.0, "cancel", &run, outcome, |run| {
        run.summary.clone()
    })?)
}

/// Pause the drain of a source
#[utoipa::path(
    put, path = "/queues/{queue}/pause", tag = "queues", params(InQueue),
    request_body = PauseRequest,
    responses(
        (status = 200, description = "The queue.", body = QueueView),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn pause(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InQueue { queue }): Path<InQueue>,
    _: Asked<()>,
    Json(request): Json<PauseRequest>,
) -> Answer<QueueView> {
    let outcome = api.0.operator.pause(&queue, &request, &caller.0).await;
    let outcome = told(&caller.0, "pause", &queue, outcome, |_| "paused".into());
    Reply::ok(outcome.map_err(Problem::of_body)?)
}

/// Resume the drain of a source
#[utoipa::path(
    delete, path = "/queues/{queue}/pause", tag = "queues", params(InQueue),
    responses((status = 200, description = "The queue.", body = QueueView), Always, Named, Acts),
)]
pub(super) async fn resume(
    State(api): State<ApiState>,
    caller: Caller,
    Path(InQueue { queue }): Path<InQueue>,
    _: Asked<()>,
) -> Answer<QueueView> {
    let outcome = api.0.operator.resume(&queue, &caller.0).await;
    Reply::ok(told(&caller.0, "resume", &queue, outcome, |_| {
        "resumed".into()
    })?)
}

/// Change a setting
#[utoipa::path(
    put, path = "/settings/{key}", tag = "settings",
    params(("key" = String, Path, description = "The key, without `mutt:config:`.")),
    request_body = SettingRequest,
    responses(
        (status = 200, description = "The setting.", body = SettingView),
        Always, Named, Acts, Bodies,
    ),
)]
pub(super) async fn set(
    State(api): State<ApiState>,
    caller: Caller,
    Path(key): Path<String>,
    _: Asked<()>,
    Json(request): Json<SettingRequest>,
) -> Answer<SettingView> {
    let outcome = api.0.operator.set(&key, &request, &caller.0).await;
    let outcome = told(&caller.0, "set", &key, outcome, |_| "set".into());
    Reply::ok(outcome.map_err(Problem::of_body)?)
}

/// Let a setting fall back to what the environment says
#[utoipa::path(
    delete, path = "/settings/{key}", tag = "settings",
    params(("key" = String, Path, description = "The key, without `mutt:config:`.")),
    responses((status = 200, description = "The setting.", body = SettingView), Always, Named, Acts),
)]
pub(super) async fn unset(
    State(api): State<ApiState>,
    caller: Caller,
    Path(key): Path<String>,
    _: Asked<()>,
) -> Answer<SettingView> {
    let outcome = api.0.operator.unset(&key, &caller.0).await;
    Reply::ok(told(&caller.0, "unset", &key, outcome, |_| "unset".into())?)
}
