//! Whether the end of a list may be read without measuring each entry first. Pure.
//!
//! A script that adds up sizes before it hands entries over costs Redis ten times the reading:
//! each entry becomes a string that Lua hashes. `LRANGE` costs next to nothing and is bounded by
//! count alone. So entries are measured until many in a row were small, and from then on only
//! every sixteenth of those that come next is looked at before they are read.

/// Up to this size an entry is small, in bytes.
const SMALL: u64 = 16 * 1024;

/// So many small entries in a row allow reading on by count.
const ENOUGH: u64 = 1_000;

/// Entries that are read by count at once, at most.
const PIECE: u64 = 128;

/// Bytes that are read by count at once, if the entries are as large as the largest ones of late.
const BYTES: u64 = 1024 * 1024;

/// One of so many is looked at beforehand.
const STRIDE: u64 = 16;

/// What recent entries tell about the next ones.
#[derive(Debug, Default)]
pub struct Calm {
    /// Small entries in a row.
    small: u64,
    /// Entries behind the known ones of which one in [`STRIDE`] was seen to be small.
    sampled: u64,
    /// The largest of the last piece and of the samples behind it.
    largest: u64,
}

impl Calm {
    /// How many entries may be read by count; 0 = they must be measured. `bytes` is what may be read
    /// of them, which a piece of the least size may exceed.
    #[must_use]
    pub fn piece(&self, entries: u64, bytes: u64) -> u64 {
        if self.small < ENOUGH {
            return 0;
        }
        let fit = (BYTES.min(bytes) / self.largest.max(1)).max(STRIDE);
        self.sampled.min(PIECE).min(fit).min(entries)
    }

    /// Positions behind a piece of so many entries that are to be looked at, the piece's first entry
    /// being 1, so that a piece of `next` entries could follow. None while entries are measured:
    /// there may be giants.
    pub fn samples(&self, piece: u64, next: u64) -> impl Iterator<Item = u64> + use<> {
        let count = if self.small < ENOUGH {
            0
        } else {
            next.min(PIECE).div_ceil(STRIDE)
        };
        (1..=count).map(move |nth| piece + nth * STRIDE)
    }

    /// Takes note of a piece's sizes in bytes, and of those of the samples behind it. A sample that
    /// is missing lies behind the list's end.
    pub fn saw(&mut self, piece: &[u64], samples: &[Option<u64>]) {
        let small = |size: &u64| *size <= SMALL;
        let sizes = piece.iter().chain(samples.iter().flatten());
        self.largest = sizes.copied().max().unwrap_or_default();
        if piece.iter().all(small) {
            self.small += piece.len() as u64;
        } else {
            self.small = 0;
        }
        if samples.iter().flatten().all(small) {
            self.sampled = samples.len() as u64 * STRIDE;
        } else {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: usize = 8;
    const GIANT: u64 = 5 * 1024 * 1024;

    fn calm() -> Calm {
        let mut calm = Calm::default();
        calm.saw(&[900; 1_000], &[Some(900); SAMPLES]);
        calm
    }

    #[test]
    fn a_thousand_small_entries_in_a_row_are_measured_first() {
        let mut calm = Calm::default();
        assert_eq!(calm.piece(500, u64::MAX), 0);
        calm.saw(&[900; 999], &[]);
        assert_eq!(calm.piece(500, u64::MAX), 0);
        calm.saw(&[900], &[Some(900); SAMPLES]);
        assert_eq!(
            (calm.piece(500, u64::MAX), calm.piece(10, u64::MAX)),
            (PIECE, 10)
        );
    }

    #[test]
    fn an_entry_of_16_kib_is_small_and_a_larger_one_is_not() {
        let piece = |size| {
            let mut calm = Calm::default();
            calm.saw(&[size; 1_000], &[Some(size); SAMPLES]);
            calm.piece(500, u64::MAX)
        };
        assert_eq!((piece(16_384), piece(16_385)), (64, 0));
    }

    #[test]
    fn nothing_is_read_by_count_that_was_not_sampled() {
        let mut calm = calm();
        calm.saw(&[900; 64], &[]);
        assert_eq!(calm.piece(500, u64::MAX), 0);
    }

    #[test]
    fn a_giant_seen_from_afar_or_near_has_all_measured_again() {
        for (piece, sample) in [(900, GIANT), (GIANT, 900)] {
            let mut calm = calm();
            calm.saw(&[900, piece], &[Some(900), Some(sample), None, None]);
            assert_eq!(calm.piece(500, u64::MAX), 0);
            calm.saw(&[900; 999], &[Some(900); SAMPLES]);
            assert_eq!(calm.piece(500, u64::MAX), 0);
        }
    }

    #[test]
    fn samples_lie_behind_the_piece_and_leave_no_gap_of_sixteen() {
        let samples: Vec<u64> = calm().samples(32, 50).collect();
        assert_eq!(samples, [48, 64, 80, 96]);
        assert_eq!(calm().samples(32, 10_000).count(), SAMPLES);
        assert_eq!(calm().samples(10, 10).collect::<Vec<_>>(), [26]);
        assert_eq!(Calm::default().samples(32, 50).count(), 0);
    }

    #[test]
    fn no_more_than_a_mebibyte_is_read_by_count_if_the_entries_stay_as_large() {
        let mut calm = calm();
        calm.saw(&[900, 8_193], &[Some(900); SAMPLES]);
        assert_eq!(calm.piece(500, u64::MAX), 127);
        calm.saw(&[900; 2], &[Some(16_384); SAMPLES]);
        assert_eq!(calm.piece(500, u64::MAX), 64);
        assert_eq!(calm.piece(500, 500_000), 30, "no more than may be read");
        assert_eq!(calm.piece(500, 1), STRIDE, "but in steps that get on");
    }
}
