//! Service level objectives: what MUTT promises, and whether it keeps it.

pub mod evidence;
pub mod judge;
pub mod objective;
pub mod query;
pub mod window;
