//! The ways, each as plainly as it can be written: no piece that is only for safety in the margin
//! (rights, types, the audit), but whatever makes sure that the right messages move.

use mutt_remediation::dlq::Entry;
use mutt_remediation::drain::classify::Rules;
use mutt_remediation::drain::plan::plan;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, ProtocolVersion, Value};

use super::{SOURCE, TARGET};

const NOW: i64 = 1_790_000_000;

/// How a batch moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Pipelined `LMOVE`: nothing is read, stamped or checked.
    Lmove,
    /// `WATCH`, read, `MULTI`, push the new bytes, trim, `EXEC`: as the worker does it.
    Watched,
    /// The same in RESP3.
    WatchedResp3,
    /// The same, the next batch being read with the commit of this one.
    WatchedAhead,
    /// A script compares each old message and pushes the new one.
    Content,
    /// A script compares the digest of each, and pushes the new one.
    Digest,
    /// A script compares the digest of each, and makes the new one itself.
    DigestSplice,
    /// The same, the next batch being read with the commit of this one.
    DigestSpliceAhead,
    /// Under `WATCH`: a script makes the new ones, and compares nothing.
    WatchedSplice,
}

/// What a script pushes, and the trim.
const PUSH: &str = r"
for first = 1, count, 1000 do
  redis.call('LPUSH', KEYS[2], unpack(new, first, math.min(first + 999, count)))
end
redis.call('LTRIM', KEYS[1], 0, -(count + 1))
return count";

/// Compares what `OLD` makes of each old message with an argument; the new ones follow these.
const COMPARED: &str = r"#!lua
local count = #ARGV / 2
local tail = redis.call('LRANGE', KEYS[1], -count, -1)
local new = {}
for i = 1, count do
  local entry = tail[count + 1 - i]
  if OLD ~= ARGV[i] then return -1 end
  new[i] = ARGV[count + i]
end";

// The changes of a message: the offsets of the first byte that goes and the first that stays, and
// what comes in between, as in commit.lua; ARGV[1] says how many messages there are, and whether
// their digests are among the arguments.
const SPLICE: &str = r"#!lua
local count, checked, at = tonumber(ARGV[1]), ARGV[2] == '1', 3
local tail = redis.call('LRANGE', KEYS[1], -count, -1)
local new = {}
for i = 1, count do
  local entry = tail[count + 1 - i]
  if checked then
    if redis.sha1hex(entry) ~= ARGV[at] then return -1 end
    at = at + 1
  end
  local pieces, from = {}, 0
  local edits = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, edits do
    pieces[#pieces + 1] = entry:sub(from + 1, tonumber(ARGV[at]))
    pieces[#pieces + 1] = ARGV[at + 2]
    from = tonumber(ARGV[at + 1])
    at = at + 3
  end
  pieces[#pieces + 1] = entry:sub(from + 1)
  new[i] = table.concat(pieces)
end";

impl Way {
    pub(super) const ALL: [Self; 9] = [
        Self::Lmove,
        Self::Watched,
        Self::WatchedResp3,
        Self::WatchedAhead,
        Self::Content,
        Self::Digest,
        Self::DigestSplice,
        Self::DigestSpliceAhead,
        Self::WatchedSplice,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lmove => "pipelined LMOVE, no stamp, no check",
            Self::Watched => "WATCH, native pushes",
            Self::WatchedResp3 => "  in RESP3",
            Self::WatchedAhead | Self::DigestSpliceAhead => "  the next read with the commit",
            Self::Content => "script, content compared",
            Self::Digest => "script, digests compared",
            Self::DigestSplice => "script, digests compared, spliced there",
            Self::WatchedSplice => "WATCH, spliced in a script",
        }
    }

    pub(super) fn protocol(self) -> ProtocolVersion {
        if self == Self::WatchedResp3 {
            ProtocolVersion::RESP3
        } else {
            ProtocolVersion::RESP2
        }
    }

    fn watches(self) -> bool {
        matches!(
            self,
            Self::Watched | Self::WatchedResp3 | Self::WatchedAhead | Self::WatchedSplice
        )
    }

    fn reads_ahead(self) -> bool {
        matches!(self, Self::WatchedAhead | Self::DigestSpliceAhead)
    }

    /// Moves all that there is.
    pub(super) async fn drain(
        self,
        redis: &mut MultiplexedConnection,
        batch: usize,
    ) -> anyhow::Result<()> {
        if self == Self::Lmove {
            return lmove(redis, batch).await;
        }
        let mut ahead: Option<Vec<Entry>> = None;
        loop {
            let entries = match ahead.take() {
                Some(entries) => entries,
                None => entries(ask(redis, self.read(batch)).await?.pop())?,
            };
            if entries.is_empty() {
                return Ok(());
            }
            if self.watches() {
                // Its answer is known before the commit is sent.
                let () = redis::cmd("MULTI").query_async(redis).await?;
            }
            let count = entries.len();
            let mut commands = self.commit(entries);
            if self.reads_ahead() {
                commands.extend(self.read(batch));
            }
            let mut answers = ask(redis, commands).await?;
            if self.reads_ahead() {
                ahead = Some(self::entries(answers.pop())?);
                if self.watches() {
                    answers.pop();
                }
            }
            let moved = answers.pop();
            let all = match &moved {
                // A transaction that was not refused.
                Some(Value::Array(_)) => true,
                Some(Value::Int(moved)) => usize::try_from(*moved) == Ok(count),
                _ => false,
            };
            anyhow::ensure!(all, "not moved: {moved:?}");
        }
    }

    fn read(self, batch: usize) -> Vec<Cmd> {
        let mut commands = vec![];
        if self.watches() {
            let mut watch = redis::cmd("WATCH");
            watch.arg(SOURCE);
            commands.push(watch);
        }
        let mut range = redis::cmd("LRANGE");
        range.arg(SOURCE).arg(format!("-{batch}")).arg(-1);
        commands.push(range);
        commands
    }

    fn commit(self, entries: Vec<Entry>) -> Vec<Cmd> {
        let count = entries.len();
        let planned = plan(entries, &Rules::alerter(), NOW).transfers;
        if matches!(
            self,
            Self::Watched | Self::WatchedResp3 | Self::WatchedAhead
        ) {
            let mut push = redis::cmd("LPUSH");
            push.arg(TARGET).arg(&planned);
            let mut trim = redis::cmd("LTRIM");
            trim.arg(SOURCE).arg(0).arg(format!("-{}", count + 1));
            return vec![push, trim, redis::cmd("EXEC")];
        }
        let script = match self {
            Self::Content => COMPARED.replace("OLD", "entry"),
            Self::Digest => COMPARED.replace("OLD", "redis.sha1hex(entry)"),
            _ => SPLICE.to_owned(),
        };
        let mut command = redis::cmd("EVAL");
        command.arg(script + PUSH).arg(2).arg(&[SOURCE, TARGET]);
        let digest = |entry: &Entry| sha1_smol::Sha1::from(&entry.0).hexdigest();
        match self {
            Self::Content => {
                for transfer in &planned {
                    command.arg(&transfer.entry.0);
                }
                command.arg(&planned);
            }
            Self::Digest => {
                for transfer in &planned {
                    command.arg(digest(&transfer.entry));
                }
                command.arg(&planned);
            }
            _ => {
                let checked = self != Self::WatchedSplice;
                command.arg(count).arg(u8::from(checked));
                for transfer in &planned {
                    if checked {
                        command.arg(digest(&transfer.entry));
                    }
                    command.arg(transfer.edits.len());
                    for edit in &transfer.edits {
                        command.arg(edit.range.start).arg(edit.range.end);
                        command.arg(&edit.text);
                    }
                }
            }
        }
        if self.watches() {
            vec![command, redis::cmd("EXEC")]
        } else {
            vec![command]
        }
    }
}

/// Sends all at once.
async fn ask(redis: &mut MultiplexedConnection, commands: Vec<Cmd>) -> anyhow::Result<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    Ok(pipeline.query_async(redis).await?)
}

/// Oldest first.
fn entries(answer: Option<Value>) -> anyhow::Result<Vec<Entry>> {
    let Some(Value::Array(answer)) = answer else {
        anyhow::bail!("not read: {answer:?}");
    };
    let entry = |value| match value {
        Value::BulkString(bytes) => Ok(Entry(bytes)),
        other => Err(anyhow::anyhow!("not an entry: {other:?}")),
    };
    answer.into_iter().rev().map(entry).collect()
}

async fn lmove(redis: &mut MultiplexedConnection, batch: usize) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::new();
    for _ in 0..batch {
        pipeline
            .cmd("LMOVE")
            .arg(&[SOURCE, TARGET, "RIGHT", "LEFT"]);
    }
    loop {
        let moved: Vec<Option<Vec<u8>>> = pipeline.query_async(redis).await?;
        if moved.iter().any(Option::is_none) {
            return Ok(());
        }
    }
}
