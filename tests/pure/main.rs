//! What needs neither a server nor the binary: rules and configuration through the library's door.
//!
//! A target of its own, so that one of these tests is built and run in seconds.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read their own variables and compare counts"
)]
#![expect(unreachable_pub, reason = "everything here is for this one binary")]

mod config;
mod fuzz;
mod openslo;
mod pace;
mod pipeline;
mod plots;
mod slo;
