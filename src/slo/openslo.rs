//! Placeholder until the reader of OpenSLO files is merged.
use super::objective::Objective;
/// See the branch.
///
/// # Errors
/// Always.
pub fn read(_: &str, _: &[&str]) -> Result<Vec<Objective>, Vec<String>> {
    Err(vec!["not yet".into()])
}
