//! The bounds of the dead lists.

use super::super::sources::SourceConfig;
use super::super::value::{ArchivePlace, Field, Whole};
use super::Reader;
use crate::link::LinkConfig;
use crate::link::cluster::slot;
use crate::retain::RetainConfig;
use crate::retain::archive::Archive;
use crate::retain::due::Limits;

impl Reader {
    /// The bounds, and the archive, which must be a list of its own.
    pub(in super::super) fn retain(
        &mut self,
        (count, days): (Field<Whole<0, 1_000_000_000>>, Field<Whole<0, 36_500>>),
        archive: Option<Field<ArchivePlace>>,
        redis: &LinkConfig,
        sources: &[SourceConfig],
    ) -> RetainConfig {
        let limits = Limits {
            count: self.take("DEAD_LETTER_MAX", count).0,
            age: self.take("DEAD_LETTER_MAX_AGE_DAYS", days).0 * 86_400,
        };
        let archive = self.optional("DEAD_LETTER_ARCHIVE", archive);
        let archive = archive.map(|archive| archive.0);
        if let Some(Archive::List(list)) = &archive {
            self.archive_apart(list, redis, sources);
        }
        let bounded = limits != Limits::default();
        if bounded && archive.is_none() {
            self.warnings.push(
                "DEAD_LETTER_MAX or DEAD_LETTER_MAX_AGE_DAYS is set without DEAD_LETTER_ARCHIVE: what is evicted from a dead list is gone for good".into(),
            );
        }
        if !bounded && archive.is_some() {
            self.warnings.push(
                "DEAD_LETTER_ARCHIVE has no effect without DEAD_LETTER_MAX or DEAD_LETTER_MAX_AGE_DAYS".into(),
            );
        }
        RetainConfig { limits, archive }
    }

    fn archive_apart(&mut self, list: &str, redis: &LinkConfig, sources: &[SourceConfig]) {
        for source in sources {
            let lists = &source.lists;
            if [&lists.source, &lists.target, &lists.dead].contains(&&list.to_owned()) {
                self.problems.push(format!(
                    "DEAD_LETTER_ARCHIVE: {list:?} is a list of the source {}, expected one of its own",
                    source.name
                ));
                return;
            }
            let dead = &lists.dead;
            if !redis.cluster.is_empty() && slot(list) != slot(dead) {
                self.problems.push(format!(
                    "DEAD_LETTER_ARCHIVE: {list:?} (slot {}) and {dead:?} (slot {}) are in different slots of the cluster, expected one: give them a common hash tag, or name a directory",
                    slot(list), slot(dead)
                ));
                return;
            }
        }
    }
}
