//! Brings the dead letters of a MUTT pipeline back to work, without losing or doubling one.
//!
//! | module | what it is |
//! |---|---|
//! | [`app`] | puts everything together |
//! | [`config`], [`settings`] | what the environment says, and what Redis may change while running |
//! | [`drain`] | the pass: gate, peek, classify, plan, commit, report |
//! | [`dlq`] | the words for that, the envelope, and the queues on Redis |
//! | [`health`] | the gate before Moogsoft |
//! | [`operate`], [`audit`] | the operator's side, and what is written down of each act |
//! | [`retain`] | bounds of the dead lists |
//! | [`notify`] | tells people what they should know |
//! | [`slo`] | what MUTT promises, and whether it keeps it |
//! | [`guard`] | sheds load for alerters that do not |
//! | [`survey`], [`http`], [`metrics`], [`history`], [`trace`] | what the outside can see |
//! | `clean`, `spell` | texts that others wrote, and times and counts, for people |
//! | [`link`], [`background`], [`open_files`], [`shutdown`], [`telemetry`] | the ground to stand on |
//! | [`cli`], [`demo`] | the command line, and a pipeline to watch it work |
//!
//! docs/ARCHITECTURE.md tells how they fit, and which invariants hold.

pub mod app;
pub mod audit;
pub mod background;
mod clean;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dlq;
pub mod drain;
pub mod guard;
pub mod health;
pub mod history;
pub mod http;
pub mod link;
pub mod metrics;
pub mod notify;
pub mod open_files;
pub mod operate;
pub mod retain;
pub mod settings;
pub mod shutdown;
pub mod slo;
mod spell;
pub mod survey;
pub mod telemetry;
pub mod trace;
