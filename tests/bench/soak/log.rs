//! Rotation of the log, in both ways that a daemon meets which writes to standard output.
//!
//! `Copied` is a file that the daemon appends to, as systemd's `append:` or a shell's `>>` gives it
//! one, and that logrotate copies and truncates. `Piped` is a pipe with a reader that writes files
//! and renames them, as a container runtime does.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::worker::Worker;
use super::{Clock, What};

/// For so long the reader of the pipe is busy with its files.
const BUSY: Duration = Duration::from_millis(500);

pub struct Copied {
    path: PathBuf,
}

impl Copied {
    pub fn create(dir: &Path) -> Self {
        let path = dir.join("copied.log");
        File::create(&path).expect("a file");
        Self { path }
    }

    /// What a daemon gets as its standard output.
    pub fn end(&self) -> Stdio {
        let opened = OpenOptions::new().append(true).open(&self.path);
        opened.expect("it is there").into()
    }

    fn rotate(&self) {
        let kept = self.path.with_extension("log.1");
        fs::copy(&self.path, &kept).expect("copied");
        let opened = OpenOptions::new().write(true).open(&self.path);
        opened.expect("it is there").set_len(0).expect("truncated");
        // A daemon that remembered its place would leave a hole before what it writes next.
        let text = fs::read(&kept).expect("it is there");
        assert!(!text.contains(&0), "the log has a hole");
    }
}

pub struct Piped {
    turn: Arc<AtomicBool>,
    _reader: JoinSet<()>,
}

impl Piped {
    pub fn of(worker: &mut Worker, dir: &Path) -> Self {
        let pipe = ChildStdout::from_std(worker.pipe()).expect("a pipe");
        let turn = Arc::new(AtomicBool::new(false));
        let mut reader = JoinSet::new();
        reader.spawn(read(pipe, dir.join("piped.log"), turn.clone()));
        Self {
            turn,
            _reader: reader,
        }
    }
}

async fn read(mut pipe: ChildStdout, path: PathBuf, turn: Arc<AtomicBool>) {
    let mut file = File::create(&path).expect("a file");
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut bytes).await {
        std::io::Write::write_all(&mut file, &bytes[..count]).expect("written");
        if turn.swap(false, Ordering::Relaxed) {
            fs::rename(&path, path.with_extension("log.1")).expect("renamed");
            sleep(BUSY).await;
            file = File::create(&path).expect("a file");
        }
    }
}

/// Rotates both every few seconds.
pub async fn rotate(copied: &Copied, piped: &Piped, clock: Clock) {
    while !clock.over() {
        sleep(Duration::from_secs(7)).await;
        copied.rotate();
        piped.turn.store(true, Ordering::Relaxed);
        clock.mark(What::Rotation);
    }
}
