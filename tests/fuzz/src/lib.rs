//! What must hold for any input at all. A check panics if it does not.
//!
//! The fuzz targets next door call these, and so do the integration tests, with inputs that they
//! mutate themselves.

pub mod config;
pub mod envelope;
pub mod settings;
pub mod slot;
