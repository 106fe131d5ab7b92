//! Where evicted messages are put: files of lines, one a day, or another list.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::operate::{Error, line};

/// Where evicted messages are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// Files in this directory, one a list and day, as `export` writes them.
    Directory(PathBuf),
    /// Another list, which nobody bounds.
    List(String),
}

/// What the audit says of it.
#[must_use]
pub fn shown(archive: Option<&Archive>) -> String {
    match archive {
        None => "none".to_owned(),
        Some(Archive::Directory(directory)) => directory.display().to_string(),
        Some(Archive::List(list)) => format!("list:{list}"),
    }
}

/// Appends messages to the file of a list and of today, and has them on the disk.
pub(super) async fn write(
    directory: PathBuf,
    list: &str,
    entries: &[Vec<u8>],
) -> Result<(), Error> {
    let mut text = String::new();
    for entry in entries {
        let line = serde_json::to_string(&line(entry));
        text.push_str(&line.map_err(|error| Error::NotHere(error.to_string()))?);
        text.push('\n');
    }
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let file = directory.join(format!("{}-{}.ndjson", plain(list), today.date()));
    let shown = file.display().to_string();
    let written = tokio::task::spawn_blocking(move || append(&directory, &file, text.as_bytes()));
    let written = match written.await {
        Ok(written) => written,
        Err(error) => Err(io::Error::other(error)),
    };
    written.map_err(|error| Error::NotHere(format!("{shown} cannot be written: {error}")))
}

fn append(directory: &Path, file: &Path, text: &[u8]) -> io::Result<()> {
    let is_new = !file.exists();
    let mut options = OpenOptions::new();
    let mut open = options.read(true).append(true).create(true).open(file)?;
    // Where a line broke off, as on a full disk, the next one must not become a part of it.
    if open.metadata()?.len() > 0 {
        let mut last = [0];
        open.seek(SeekFrom::End(-1))?;
        open.read_exact(&mut last)?;
        if last != *b"\n" {
            open.write_all(b"\n")?;
        }
    }
    open.write_all(text)?;
    open.sync_data()?;
    if is_new {
        // Or a crash of the machine could lose the name.
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// A list's name as a part of a file's.
fn plain(list: &str) -> String {
    let sound = |character: char| {
        if character.is_ascii_alphanumeric() || "-_.".contains(character) {
            character
        } else {
            '_'
        }
    };
    list.chars().map(sound).collect()
}
