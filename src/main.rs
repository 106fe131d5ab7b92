//! The program: one look at the command line, and the exit codes.
//!
//! 0 an orderly end; 1 something failed, or nothing was moved; 2 the command line or the environment is
//! wrong; 3 partly done; 4 not found; 130 ended by a signal.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use mutt_remediation::cli::{self, Outcome};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let outcome = cli::run().unwrap_or_else(|error| {
        cli::report(&error);
        Outcome::of(&error)
    });
    ExitCode::from(outcome.code())
}
