//! The program: one look at the command line, and the exit codes.
//!
//! 0 an orderly end; 1 something failed; 2 the command line or the environment is wrong; 130 ended
//! at once by a second signal.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use mutt_remediation::cli::{self, Outcome};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Unhealthy) => ExitCode::from(1),
        Ok(Outcome::Misconfigured) => ExitCode::from(2),
        Ok(Outcome::Killed) => ExitCode::from(130),
        Err(error) => {
            cli::report(&error);
            ExitCode::from(1)
        }
    }
}
