//! What the spans of a drain say: how many, how large, how it ended. Never what a message says.

use super::plan::Plan;
use super::report::{Ended, Report};
use crate::dlq::{self, Committed};
use crate::trace::Span;

/// Of a pass.
pub(super) fn passed(span: &Span, source: &str, report: &Report) {
    if !span.is_on() {
        return;
    }
    span.say("source", source.to_owned());
    span.say("outcome", report.ended.outcome().unwrap_or("interrupted"));
    span.count("replayed", report.replayed);
    span.count("dead", report.dead);
    span.count("batches", report.batches);
    if let Some(depth) = report.depth {
        span.count("depth", depth);
    }
    match &report.ended {
        Ended::RedisError(reason) => span.fail(reason.as_str()),
        Ended::Held(why) => span.say("reason", why.as_str()),
        _ => {}
    }
}

/// Of a peek, which found so many messages in the source.
pub(super) fn peeked(span: &Span, plan: &Plan, depth: &Result<u64, dlq::Error>) {
    about(span, plan);
    match depth {
        Ok(depth) => span.count("depth", *depth),
        Err(error) => span.fail(error.link().reason.as_str()),
    }
}

/// Of the commit of a plan.
pub(super) fn committed(span: &Span, plan: &Plan, outcome: &Result<Committed, dlq::Error>) {
    about(span, plan);
    span.link(&plan.parents);
    match outcome {
        Ok(Committed::Moved { replayed, dead }) => {
            span.say("result", "moved");
            span.count("replayed", *replayed);
            span.count("dead", *dead);
        }
        Ok(Committed::Conflict) => span.say("result", "conflict"),
        Ok(Committed::Full) => span.say("result", "full"),
        Err(error) => {
            // Redis knows whether it was moved; the next peek shows it.
            span.say("result", "unknown");
            span.fail(error.link().reason.as_str());
        }
    }
}

fn about(span: &Span, plan: &Plan) {
    if span.is_on() {
        let sizes = plan.transfers.iter().map(|transfer| transfer.entry.0.len());
        span.say("db.system.name", "redis");
        span.count("messages", plan.transfers.len() as u64);
        span.count("bytes", sizes.sum::<usize>() as u64);
    }
}
