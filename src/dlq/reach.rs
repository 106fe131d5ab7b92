//! How much of a list's end to ask for at once. Pure.
//!
//! Redis bounds what it returns of a list by count, not by bytes, and a script that adds up the
//! sizes costs it ten times the reading. So the end is read in pieces, each as large as the
//! entries before it allow. Entries that suddenly become larger are read in vain once, at most
//! 32 of them.

/// Entries in a piece, at most. More are hardly faster: the reading of a piece hides behind the
/// planning of the one before it.
const MAX_PIECE: u64 = 32;

/// What recent pieces tell about the next one.
#[derive(Debug, Default)]
pub struct Reach {
    /// Entries that were no larger than expected, since one was.
    confirmed: u64,
    /// Bytes of the largest entry; halved with every piece, so that one giant is forgotten soon.
    largest: u64,
}

impl Reach {
    /// Number of entries to ask for: at most `entries`, and as many as probably fit into `bytes`,
    /// but one at least.
    #[must_use]
    pub fn ask(&self, entries: u64, bytes: u64) -> u64 {
        let fitting = bytes / self.largest.max(1);
        self.confirmed
            .min(MAX_PIECE)
            .min(fitting)
            .max(1)
            .min(entries)
    }

    /// Takes note of the sizes of a piece, in bytes.
    pub fn saw(&mut self, sizes: impl Iterator<Item = u64>) {
        let expected = self.largest.saturating_mul(2);
        self.largest /= 2;
        for size in sizes {
            self.confirmed = if size > expected {
                1
            } else {
                self.confirmed + 1
            };
            self.largest = self.largest.max(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCH: u64 = 8 * 1024 * 1024;

    /// Reads a list of these sizes in batches, and returns the sizes that each request brought.
    fn read(sizes: &[u64]) -> Vec<Vec<u64>> {
        let mut reach = Reach::default();
        let (mut requests, mut at) = (vec![], 0);
        while at < sizes.len() {
            let mut left = BATCH;
            let mut first = true;
            loop {
                let ask = reach.ask((sizes.len() - at) as u64, left);
                if ask == 0 {
                    break;
                }
                let piece = &sizes[at..at + usize::try_from(ask).expect("small")];
                reach.saw(piece.iter().copied());
                requests.push(piece.to_vec());
                let mut full = false;
                for size in piece {
                    full = !first && *size > left;
                    if full {
                        break;
                    }
                    left = left.saturating_sub(*size);
                    first = false;
                    at += 1;
                }
                if full || left == 0 {
                    break;
                }
            }
        }
        requests
    }

    #[test]
    fn entries_of_a_kind_are_soon_read_many_at_a_time() {
        let requests = read(&[900; 500]);
        let counts: Vec<usize> = requests.iter().map(Vec::len).collect();
        assert_eq!(counts[..7], [1, 1, 2, 4, 8, 16, 32]);
        assert!(counts.len() < 25, "{counts:?}");
    }

    #[test]
    fn giants_of_a_kind_come_no_faster_than_they_fit() {
        let mib = 1024 * 1024;
        for request in read(&[5 * mib; 100]) {
            assert_eq!(request.len(), 1);
        }
        for request in read(&[mib; 100]) {
            assert!(request.len() <= 8, "{request:?}");
        }
    }

    #[test]
    fn a_giant_is_forgotten() {
        let mut sizes = vec![900; 400];
        sizes[60] = 50 * 1024 * 1024;
        let requests = read(&sizes);
        let longest = requests.iter().rev().take(4).map(Vec::len).max();
        assert_eq!(longest, Some(32));
    }

    proptest! {
        #[test]
        fn all_is_read_and_no_more_than_a_piece_of_the_largest(
            sizes in prop::collection::vec(0_u64..20_000_000, 1..300)
        ) {
            let largest = sizes.iter().max().copied().unwrap_or_default();
            for request in read(&sizes) {
                prop_assert!(request.len() as u64 <= MAX_PIECE);
                prop_assert!(request.iter().sum::<u64>() <= largest * MAX_PIECE);
            }
        }
    }
}
