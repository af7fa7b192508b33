//! Rows here and there, of which the system should read no more than is touched.
//!
//! Behind each page fault it reads on: a thousand rows of 3 KiB out of 3 GiB, none of it in memory, took 3.0 s and read 2.8 GB
//! from the disk. With `Random` they took 0.3 s and read 7 MB. So `take` says that for the time of a call, and takes it
//! back, where no program has said anything else of the same pages.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Advice;
use crate::array::DynMmapArray;
use crate::layout::Layout;
use crate::mapping::Mapping;

/// Bytes that a system reads on from a page fault, about. Rows further apart than that are read for nothing.
const READ_ON: usize = 128 << 10;

/// Whether rows of some bytes at these places, in bytes, should be read without what lies between them: they are many, short,
/// and most of them far from the one before.
pub(crate) fn is_scattered(row: usize, mut places: impl ExactSizeIterator<Item = isize>) -> bool {
    const MANY: usize = 16;
    let count = places.len();
    if count < MANY || row > READ_ON / 2 {
        return false;
    }
    let mut before = places.next().unwrap_or_default();
    let far = places.filter(|&place| place.abs_diff(std::mem::replace(&mut before, place)) > READ_ON);
    far.count() > count / 2
}

/// Who has said what about the pages of a mapping, in bytes from the start of the first one.
#[derive(Debug, Default)]
pub(crate) struct Steering(Mutex<Steered>);

#[derive(Debug, Default)]
struct Steered {
    /// All that a program has said something else than `Normal` of, and what lies between.
    said: Range<usize>,
    /// How many gather rows.
    gathering: usize,
    /// The pages of all of them.
    gathered: Range<usize>,
}

impl Steering {
    fn lock(&self) -> MutexGuard<'_, Steered> {
        // Numbers that are changed one by one, and are hints.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program has given advice.
    pub(super) fn say(&self, pages: &Range<usize>, advice: Advice) {
        let said = &mut self.lock().said;
        match advice {
            Advice::Sequential | Advice::Random => *said = both(said, pages),
            Advice::Normal if pages.start <= said.start && said.end <= pages.end => *said = 0..0,
            Advice::Normal | Advice::WillNeed | Advice::DontNeed => {}
        }
    }
}

/// From the first to the last of two ranges.
fn both(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    if a.is_empty() { b.clone() } else { a.start.min(b.start)..a.end.max(b.end) }
}

/// Tells the system to read no more than is touched, until it is dropped.
pub(crate) struct Gathering<'a>(&'a Mapping);

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let mut steered = self.0.steering.lock();
        steered.gathering -= 1;
        if steered.gathering == 0 {
            // What a program has said meanwhile stays.
            let Range { start, end } = std::mem::take(&mut steered.gathered);
            let said = if steered.said.is_empty() { end..end } else { steered.said.clone() };
            for part in [start..end.min(said.start), start.max(said.end)..end] {
                if !part.is_empty() {
                    // Only a hint.
                    let _ = self.0.advise(part, Advice::Normal);
                }
            }
        }
    }
}

impl DynMmapArray {
    /// Tells the system that rows here and there of `layout` are to come, unless a program has given it advice.
    pub(crate) fn gathering(&self, layout: &Layout) -> Option<Gathering<'_>> {
        let pages = self.pages(layout).ok()?.at_most(1).next()?;
        let mapping = self.mapping();
        let mut steered = mapping.steering.lock();
        if pages.start < steered.said.end && steered.said.start < pages.end {
            return None;
        }
        mapping.advise(pages.clone(), Advice::Random).ok()?;
        steered.gathering += 1;
        steered.gathered = both(&steered.gathered, &pages);
        drop(steered);
        Some(Gathering(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::{Advice, Steering, is_scattered};

    type Places<'a> = &'a dyn Fn(isize) -> isize;

    #[test]
    fn rows_are_scattered_that_are_many_and_short_and_far_apart() {
        let far: Places = &|i| (i * 7919 % 1000) * 1_000_000;
        let near: Places = &|i| i * 4096;
        let cases: &[(&str, isize, usize, Places, bool)] = &[
            ("here and there", 1000, 4096, far, true),
            ("backwards, too", 1000, 4096, &|i| -i * 1_000_000, true),
            ("few", 15, 4096, far, false),
            ("none", 0, 4096, far, false),
            ("long", 1000, 1 << 20, far, false),
            ("one behind the other", 1000, 4096, near, false),
            ("one over and over", 1000, 4096, &|_| 5, false),
            ("a third far", 999, 4096, &|i| near(i) + i / 3 * 1_000_000, false),
            ("two thirds far", 999, 4096, &|i| near(i) + (i - i / 3) * 1_000_000, true),
        ];
        for &(name, count, row, place, expected) in cases {
            let places: Vec<isize> = (0..count).map(place).collect();
            assert_eq!(is_scattered(row, places.into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn what_a_program_has_said_is_kept_until_it_takes_it_back() {
        let steering = Steering::default();
        let said = || steering.lock().said.clone();
        for (pages, advice, expected) in [
            (100..200, Advice::Sequential, 100..200),
            (400..500, Advice::Random, 100..500),
            (0..1000, Advice::WillNeed, 100..500),
            (0..1000, Advice::DontNeed, 100..500),
            (100..400, Advice::Normal, 100..500),
            (0..500, Advice::Normal, 0..0),
            (0..500, Advice::Normal, 0..0),
        ] {
            steering.say(&pages, advice);
            assert_eq!(said(), expected, "{advice:?} of {pages:?}");
        }
    }
}
