//! Two sources with one target and one dead list, all in other slots: a batch of each lies between
//! its steps, both under the same number.

use super::apart::{memory, parted};
use super::{daemon, each_once, empty, letters, planned, queue_of, trimming_of};
use crate::support::{Cluster, DEAD, Daemon, SOURCE, TARGET, until};

const OTHER: &str = "mutt:dlq:other";
const SOURCES: [&str; 2] = [SOURCE, OTHER];
const LETTERS: usize = 14;

/// Half of the letters in each source; both have this number for their next batch.
async fn fill(cluster: &Cluster, number: &str) {
    let letters = letters(LETTERS);
    for (source, letters) in SOURCES.into_iter().zip(letters.chunks(LETTERS / 2)) {
        let sequence = format!("{{{source}}}:mutt:remediation:sequence:{source}");
        let node = cluster.at(source).await;
        node.command::<()>(&["SET", &sequence, number]).await;
        cluster.push(source, letters).await;
    }
}

async fn depths(cluster: &Cluster) -> [usize; 4] {
    let mut depths = [0; 4];
    for (depth, list) in depths.iter_mut().zip([SOURCE, OTHER, TARGET, DEAD]) {
        *depth = cluster.len(list).await;
    }
    depths
}

/// A worker that drains both.
fn worker(cluster: &Cluster, batch: &str) -> Daemon {
    let both = [
        ("REMEDIATION_BATCH_SIZE", batch),
        ("REMEDIATION_SOURCES", "other"),
        ("SOURCE_OTHER_DLQ", OTHER),
        ("SOURCE_OTHER_TARGET", TARGET),
        ("SOURCE_OTHER_DEAD", DEAD),
        ("SOURCE_OTHER_POISON_FIELDS", "_moog_retry_count"),
        ("SOURCE_OTHER_BATCH_SIZE", batch),
        ("SOURCE_OTHER_BATCHES_PER_CYCLE", "0"),
    ];
    daemon(cluster, [SOURCE, TARGET, DEAD], &both)
}

/// What keeps both batches from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Parking,
    Trimming,
}

impl Before {
    async fn stop(self, cluster: &Cluster) {
        match self {
            Self::Parking => memory(cluster, DEAD, "1").await,
            Self::Trimming => {
                for source in SOURCES {
                    trimming_of(cluster, source, "-ltrim").await;
                }
            }
        }
    }

    async fn go_on(self, cluster: &Cluster) {
        match self {
            Self::Parking => memory(cluster, DEAD, "0").await,
            Self::Trimming => {
                for source in SOURCES {
                    trimming_of(cluster, source, "+ltrim").await;
                }
            }
        }
    }

    /// What lies where then: of the first source two letters of the first four are replayed and two
    /// parked, of the other one three and one.
    fn depths(self) -> [usize; 4] {
        match self {
            Self::Parking => [7, 7, 5, 0],
            Self::Trimming => [7, 7, 5, 3],
        }
    }
}

#[tokio::test]
async fn sources_that_share_a_target_arrive_once_though_their_worker_died_between_the_steps() {
    let cluster = parted().await;
    for (before, number) in [(Before::Parking, "1000"), (Before::Trimming, "2000")] {
        for list in [TARGET, DEAD] {
            cluster.at(list).await.command::<()>(&["DEL", list]).await;
        }
        fill(&cluster, number).await;
        before.stop(&cluster).await;
        let dying = worker(&cluster, "4");
        let depths = async || depths(&cluster).await;
        until("both are between the steps", || async {
            depths().await == before.depths()
        })
        .await;
        // Signal 9.
        drop(dying);
        assert_eq!(depths().await, before.depths(), "{before:?}");
        before.go_on(&cluster).await;

        let next = worker(&cluster, "3");
        for source in SOURCES {
            empty(&cluster, source).await;
        }
        each_once(&cluster, [SOURCE, TARGET, DEAD], LETTERS).await;
        assert_eq!(depths().await, [0, 0, 10, 4], "{before:?}");
        let finished = next.log().matches("a batch that had been begun").count();
        assert_eq!(finished, 2, "{before:?}: {}", next.log());
    }
}

#[tokio::test]
async fn a_worker_of_one_source_leaves_alone_what_was_begun_of_another_one() {
    let cluster = parted().await;
    for (sources, number) in [(SOURCES, "1000"), ([OTHER, SOURCE], "2000")] {
        for list in [TARGET, DEAD] {
            cluster.at(list).await.command::<()>(&["DEL", list]).await;
        }
        fill(&cluster, number).await;
        Before::Trimming.stop(&cluster).await;
        for source in sources {
            let mut dying = queue_of(&cluster, [source, TARGET, DEAD], None);
            let (finished, plan) = planned(&mut dying, 4).await;
            assert_eq!(finished, [], "{source}");
            let committed = dying.commit(&plan.transfers).await;
            committed.expect_err("it cannot trim");
        }
        Before::Trimming.go_on(&cluster).await;
        assert_eq!(depths(&cluster).await, Before::Trimming.depths());

        for source in sources {
            let other = sources.into_iter().find(|other| *other != source);
            let other = other.expect("two");
            let before = cluster.len(other).await;
            let mut next = queue_of(&cluster, [source, TARGET, DEAD], None);
            let (finished, plan) = planned(&mut next, 7).await;
            assert_eq!((finished.len(), plan.transfers.len()), (4, 3), "{source}");
            next.commit(&plan.transfers).await.expect("committed");
            assert_eq!(cluster.len(other).await, before, "{source}");
        }
        each_once(&cluster, [SOURCE, TARGET, DEAD], LETTERS).await;
        assert_eq!(depths(&cluster).await, [0, 0, 10, 4]);
    }
}
