//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many open files as the system lets this process have, and returns how many. The lower
/// limit that a process starts with is for programs that use `select`, which this one does not.
pub fn allow_most() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let now = match setrlimit(Resource::Nofile, most) {
        Ok(()) => most.current,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            before.current
        }
    };
    // Without a limit.
    now.unwrap_or(u64::MAX)
}
