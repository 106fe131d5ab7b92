//! What lies beside the queues: pauses, dynamic settings, the audit.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::plans::json;
use super::queues::{Queue, Role};
use super::runs::bounds;
use super::search::WHOLE;
use super::store::DEED;
use super::wire::{
    AuditPage, AuditRequest, PauseRequest, PauseView, QueueView, SettingRequest, SettingView, Who,
};
use super::{Error, Operator, now};
use crate::audit::read::{self, Stream};
use crate::audit::{self, Kind, entry};
use crate::link::{self, Links};
use crate::settings::{self, Overlay};

/// The longest pause that ends by itself, and the longest life of a setting, in seconds.
const LONGEST: u64 = 30 * 86_400;

/// What is kept of a pause; the drain needs no more than that there is one.
#[derive(Debug, Serialize, Deserialize)]
struct Pause {
    reason: String,
    by: String,
    since: i64,
    until: Option<i64>,
}

impl Operator {
    /// Pauses a source's drain.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn pause(
        &self,
        queue: &str,
        request: &PauseRequest,
        who: &Who,
    ) -> Result<QueueView, Error> {
        let queue = self.source(queue)?;
        bounds("seconds", request.seconds, LONGEST)?;
        let reason = request.reason.trim();
        let plain = reason.chars().all(|character| !character.is_control());
        if reason.is_empty() || reason.chars().count() > 200 || !plain {
            let expected = "1 to 200 characters on one line";
            return Err(Error::invalid("reason", reason, expected));
        }
        let since = now();
        let until = request.seconds.map(|time| since + time.cast_signed());
        let pause = json(&Pause {
            reason: reason.into(),
            by: who.name.clone(),
            since,
            until,
        })?;
        let seconds = request.seconds.map(|time| time.to_string());
        let mut arguments = vec![pause.as_str()];
        if let Some(seconds) = &seconds {
            arguments.extend(["EX", seconds]);
        }
        let until = until.map_or_else(|| "resumed".to_owned(), |until| until.to_string());
        let fields = [
            ("act", "pause"),
            ("queue", queue.name.as_str()),
            ("who", &who.name),
            ("from", &who.from),
            ("reason", reason),
            ("until", &until),
            ("instance", &self.audit.instance),
        ];
        let set = (queue.keys.pause.as_str(), "SET", &arguments[..]);
        self.deed(&DEED, queue, set, &entry(Kind::Act, fields))
            .await?;
        self.view(queue).await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`Error`] says which; what is not paused cannot be resumed.
    pub async fn resume(&self, queue: &str, who: &Who) -> Result<QueueView, Error> {
        let queue = self.source(queue)?;
        if self.paused(queue).await?.is_none() {
            return Err(Error::Conflict(format!("{} is not paused", queue.name)));
        }
        let fields = [
            ("act", "resume"),
            ("queue", queue.name.as_str()),
            ("who", &who.name),
            ("from", &who.from),
            ("instance", &self.audit.instance),
        ];
        let none: [&str; 0] = [];
        let delete = (queue.keys.pause.as_str(), "DEL", &none[..]);
        self.deed(&DEED, queue, delete, &entry(Kind::Act, fields))
            .await?;
        self.view(queue).await
    }

    fn source(&self, name: &str) -> Result<&Queue, Error> {
        let queue = self.named(name)?;
        if queue.role == Role::Source {
            return Ok(queue);
        }
        Err(Error::NotHere(format!(
            "{name} is not drained, so it cannot be paused"
        )))
    }

    pub(super) async fn paused(&self, queue: &Queue) -> Result<Option<PauseView>, Error> {
        let key = &queue.keys.pause;
        let text: Option<String> = self.store.read(key, redis::cmd("GET").arg(key)).await?;
        Ok(text.map(|text| match serde_json::from_str::<Pause>(&text) {
            Ok(pause) => PauseView {
                reason: pause.reason,
                by: pause.by,
                since: pause.since,
                until: pause.until,
            },
            // Somebody has set it by hand, and it counts all the same.
            Err(_) => PauseView {
                reason: text.chars().take(200).collect(),
                by: String::new(),
                since: 0,
                until: None,
            },
        }))
    }

    /// Has what Redis holds of the settings count, as it does for a daemon that has just started; for
    /// who lives no longer than a command.
    ///
    /// # Errors
    /// When they cannot be read; those of the environment count on.
    pub async fn catch_up(&mut self) -> Result<(), link::Error> {
        let mut links = Links::new(self.store.config().clone());
        let found = settings::watch::read(&mut links, &self.base).await?;
        let (settings, _) = Overlay::new((*self.base).clone()).take(&found);
        (_, self.settings) = watch::channel(settings);
        Ok(())
    }

    /// All dynamic settings.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn settings(&self) -> Result<Vec<SettingView>, Error> {
        let mut views = vec![];
        for key in settings::keys(&self.base) {
            views.push(self.setting(&key).await?);
        }
        Ok(views)
    }

    async fn setting(&self, key: &str) -> Result<SettingView, Error> {
        let full = settings::full_key(key);
        let value: Option<Vec<u8>> = self.store.read(&full, redis::cmd("GET").arg(&full)).await?;
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let valid = value
            .as_deref()
            .is_none_or(|text| settings::check(key, text, &self.base).is_ok());
        let default = settings::shown(key, &self.base);
        let left: i64 = self.store.read(&full, redis::cmd("TTL").arg(&full)).await?;
        // Who has set it a moment ago need not wait to see it.
        let in_force = match value.as_deref().filter(|_| valid) {
            Some(text) => text.trim().to_owned(),
            None if valid => default.clone(),
            None => settings::shown(key, &self.settings.borrow()),
        };
        Ok(SettingView {
            key: key.to_owned(),
            value,
            default,
            in_force,
            seconds_left: u64::try_from(left).ok(),
            expected: settings::expected(key, &self.base),
            valid,
        })
    }

    /// Sets a dynamic setting.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn set(
        &self,
        key: &str,
        request: &SettingRequest,
        who: &Who,
    ) -> Result<SettingView, Error> {
        self.known(key)?;
        bounds("seconds", request.seconds, LONGEST)?;
        let value = request.value.trim();
        settings::check(key, value, &self.base)
            .map_err(|expected| Error::invalid("value", value, expected))?;
        let seconds = request.seconds.map(|time| time.to_string());
        let mut arguments = vec![value];
        if let Some(seconds) = &seconds {
            arguments.extend(["EX", seconds]);
        }
        self.change(key, ("SET", &arguments), value, who).await
    }

    /// Has a dynamic setting fall back.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn unset(&self, key: &str, who: &Who) -> Result<SettingView, Error> {
        self.known(key)?;
        self.change(key, ("DEL", &[]), "(unset)", who).await
    }

    fn known(&self, key: &str) -> Result<(), Error> {
        if settings::keys(&self.base).any(|known| known == key) {
            return Ok(());
        }
        Err(Error::not_found("setting", key))
    }

    async fn change(
        &self,
        key: &str,
        deed: (&str, &[&str]),
        value: &str,
        who: &Who,
    ) -> Result<SettingView, Error> {
        let before = self.setting(key).await?;
        let fields = [
            ("act", "setting"),
            ("key", key),
            ("value", value),
            ("before", before.value.as_deref().unwrap_or("(unset)")),
            ("who", &who.name),
            ("from", &who.from),
            ("instance", &self.audit.instance),
        ];
        let full = settings::full_key(key);
        let first = self.queues.first().ok_or_else(|| {
            Error::NotHere("there is no queue beside which this could be written down".into())
        })?;
        let (command, arguments) = deed;
        let deed = (full.as_str(), command, arguments);
        self.deed(&DEED, first, deed, &entry(Kind::Act, fields))
            .await?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(settings::watch::CHANNEL).arg(key);
        // Who does not hear of it looks every few seconds.
        let told = self.store.write::<i64>(&full, &publish).await;
        if let Err(error) = told {
            tracing::debug!(%error, "a changed setting was not published");
        }
        self.setting(key).await
    }

    /// What was done.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn audit(&self, request: &AuditRequest) -> Result<AuditPage, Error> {
        bounds("limit", request.limit, 500)?;
        if let Some(kind) = &request.kind
            && !Kind::ALL.iter().any(|known| known.as_str() == kind)
        {
            let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            return Err(Error::invalid("kind", kind, all.join(", ")));
        }
        if let Some(before) = &request.before
            && !read::is_id(before)
        {
            return Err(Error::invalid(
                "before",
                before,
                "the next of the page before",
            ));
        }
        let mut request = request.clone();
        if let Some(digest) = &mut request.digest {
            let digits = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !digits || !(1..=WHOLE).contains(&digest.len()) {
                let expected = "1 to 40 hexadecimal digits of a message's SHA-1";
                return Err(Error::invalid("digest", digest, expected));
            }
            digest.make_ascii_lowercase();
        }
        let mut streams: Vec<&String> = self
            .queues
            .iter()
            .filter_map(|queue| queue.keys.audit.as_ref())
            .collect();
        streams.sort_unstable();
        streams.dedup();
        self.read_streams(&streams, &request, false).await
    }

    /// What was done with a queue's messages; where `either` is set a digest or a correlation id is
    /// enough.
    pub(super) async fn audit_of(
        &self,
        queue: &Queue,
        request: &AuditRequest,
        either: bool,
    ) -> Result<AuditPage, Error> {
        let streams: Vec<&String> = queue.keys.audit.iter().collect();
        self.read_streams(&streams, request, either).await
    }

    async fn read_streams(
        &self,
        streams: &[&String],
        request: &AuditRequest,
        either: bool,
    ) -> Result<AuditPage, Error> {
        let mut reading = vec![];
        for stream in streams {
            reading.push(Stream::new(stream, request.before.as_deref()));
        }
        let filter = read::Filter::new(request, either);
        let limit = usize::try_from(request.limit.unwrap_or(50)).unwrap_or(50);
        let mut page = AuditPage {
            entries: vec![],
            scanned: 0,
            next: None,
        };
        loop {
            for stream in &mut reading {
                if let Some(range) = stream.wants_more() {
                    let found = self.store.read(stream.key(), &range).await?;
                    stream.take(found);
                }
            }
            // The newest of all streams comes next.
            let Some(entry) = read::newest(&mut reading) else {
                return Ok(page);
            };
            page.scanned += 1;
            let id = entry.id.clone();
            if filter.matches(&entry) {
                page.entries.push(entry);
            }
            if page.entries.len() == limit || page.scanned >= audit::read::MOST {
                page.next = Some(id);
                return Ok(page);
            }
        }
    }

    /// Reads a piece of the audit, and adds what it says that a run has moved; true at its beginning.
    pub(super) async fn count_on(&self, counting: &mut Counting, run: &str) -> Result<bool, Error> {
        let Some(stream) = counting.reading.first_mut() else {
            return Ok(true);
        };
        if let Some(range) = stream.wants_more() {
            let found = self.store.read(stream.key(), &range).await?;
            stream.take(found);
        }
        while let Some(entry) = read::newest(&mut counting.reading) {
            let field = |name: &str| entry.fields.get(name).map(String::as_str);
            if field("run") != Some(run) {
                continue;
            }
            match field("act") {
                Some("run_started") => return Ok(true),
                Some("run") => {
                    let counts = ["replayed", "dead", "restored", "purged"];
                    let counts = counts
                        .iter()
                        .filter_map(|name| field(name)?.parse::<u64>().ok());
                    counting.moved += counts.sum::<u64>();
                }
                _ => {}
            }
        }
        Ok(counting.reading[0].has_ended())
    }
}

/// Counts what the audit says that a run has moved, piece by piece.
pub(super) struct Counting {
    reading: Vec<Stream>,
    /// Messages.
    pub(super) moved: u64,
}

impl Counting {
    /// From the newest entry on; of nothing where no audit is kept.
    pub(super) fn of(queue: &Queue) -> Self {
        let streams = queue.keys.audit.iter();
        Self {
            reading: streams.map(|stream| Stream::new(stream, None)).collect(),
            moved: 0,
        }
    }
}
