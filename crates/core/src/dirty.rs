//! What a copy-on-write array has that its file has not.
//!
//! A store to a private mapping copies the page, and the system knows which pages it has copied. Linux says so in its page
//! maps, in time that hardly depends on the size; where nobody says it the data is compared with the file. From pages
//! it is exact arithmetic to the elements of a view: the same straight lines that kernels walk along, cut where the pages are.

use std::fmt;
use std::ops::Range;

use crate::array::DynMmapArray;
use crate::error::{Error, Result};
use crate::kernel::runs::Lines;
use crate::layout::Layout;
use crate::mapping::private::join;
use crate::mode::Mode;
use crate::sys::PageMap;

/// How it is found out which pages of a copy-on-write array are private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// The system is asked for the private pages alone (`PAGEMAP_SCAN`, Linux 6.7 and later).
    PagemapScan,
    /// The state of every page is read (`/proc/self/pagemap`): about 1 ms for each GiB of the array.
    Pagemap,
    /// The system does not say: the data is compared with the file.
    Compare,
    /// The file is not mapped, and each store is noted.
    Marked,
}

impl Tracking {
    /// The one that this system has.
    #[must_use]
    pub fn here() -> Self {
        let Ok(map) = PageMap::open() else { return Self::Compare };
        let none = &mut |_| {};
        if map.scan(0..0, none).is_ok() {
            return Self::PagemapScan;
        }
        if map.read(0..0, none).is_ok() { Self::Pagemap } else { Self::Compare }
    }

    /// The name: `pagemap-scan`, `pagemap`, `compare` or `marked`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PagemapScan => "pagemap-scan",
            Self::Pagemap => "pagemap",
            Self::Compare => "compare",
            Self::Marked => "marked",
        }
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DynMmapArray {
    /// Whether an element of `layout` is in a private page: one that was stored to, be it the same value. `None` where only
    /// reading the data could tell. In mode `r+` nothing is private.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array.
    pub fn dirty(&self, layout: &Layout) -> Result<Option<bool>> {
        let elements = Elements::new(self, layout)?;
        let (tracking, parts) = self.private_parts(&elements);
        if tracking == Tracking::Compare && !parts.is_empty() {
            return Ok(None);
        }
        let mut dirty = false;
        let stopped = elements.pieces(&parts, &mut |_| {
            dirty = true;
            Err(Error::Aborted)
        });
        if dirty { Ok(Some(true)) } else { stopped.map(|()| Some(false)) }
    }

    /// The elements of `layout` that are in private pages, as ranges of positions in the mapping, ascending and apart.
    ///
    /// Whole pages, so elements that were not stored to are among them. Where only reading can tell, the pages that differ
    /// from the file. A position counts [`Header::unit`](crate::Header::unit) bytes, as layouts do.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array; those of [`diff`](Self::diff).
    pub fn dirty_ranges(&self, layout: &Layout) -> Result<Vec<Range<u64>>> {
        let elements = Elements::new(self, layout)?;
        let parts = self.stored_parts(&elements)?;
        let mut ranges = Vec::new();
        let position = |byte: usize| (byte / elements.unit) as u64;
        elements.pieces(&parts, &mut |piece| {
            if piece.step == elements.unit {
                // Neighbours: one range, however many.
                join(&mut ranges, position(piece.start)..position(piece.start) + piece.count as u64);
            } else {
                piece.positions(elements.unit, |_| true, &mut ranges);
            }
            Ok(())
        })?;
        Ok(in_order(ranges))
    }

    /// The elements of `layout` whose bytes differ from the file's, as ranges of positions in the mapping, ascending and apart.
    ///
    /// Private pages are compared with the file as it is now, which others may have written to.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array, [`Error::MappingLost`], [`Error::Io`].
    pub fn diff(&self, layout: &Layout) -> Result<Vec<Range<u64>>> {
        let elements = Elements::new(self, layout)?;
        let (_, parts) = self.private_parts(&elements);
        let mut ranges = Vec::new();
        let (mapping, path) = (self.mapping(), self.file_path());
        let Some(file) = mapping.file() else { return Ok(ranges) };
        elements.pieces(&parts, &mut |piece| {
            mapping.beside(&file, path, piece.bytes(), &mut |start, ours, theirs| {
                mapping.each_page(start, ours, theirs, |page, same| {
                    if !same {
                        // One across two pages is found in both.
                        let differs = |element: Range<usize>| {
                            let part = common(&element, &page, start);
                            ours.get(part.clone()) != theirs.get(part)
                        };
                        piece.within(page.clone()).positions(elements.unit, differs, &mut ranges);
                    }
                });
                Ok(())
            })
        })?;
        Ok(in_order(ranges))
    }

    /// Gives the elements of `layout` the values that they have in the file, which everybody who has the mapping sees at once.
    ///
    /// Nothing to do in mode `r+`. While a page has other elements that were stored to, it stays private.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in mode `r`, [`Error::InvalidState`] while a commit is under way, [`Error::OutOfRange`] if the
    /// layout reaches outside the array, [`Error::MappingLost`], [`Error::Io`].
    pub fn discard(&self, layout: &Layout) -> Result<()> {
        let (mapping, path) = (self.mapping(), self.file_path());
        if self.mode() == Mode::ReadOnly {
            return Err(Error::ReadOnly { path: path.to_path_buf() });
        }
        if mapping.is_committing() {
            return Err(self.refused(crate::mapping::Refusal::Committing));
        }
        let elements = Elements::new(self, layout)?;
        let (_, parts) = self.private_parts(&elements);
        let Some(file) = mapping.file() else { return Ok(()) };
        if elements.bytes == (0..mapping.live()) && elements.is_line() && !mapping.is_copied() {
            for part in parts {
                mapping.drop_pages(&file, part).map_err(|error| Error::io("madvise", path, error))?;
            }
            if cfg!(not(windows)) {
                return mapping.check(path);
            }
        }
        let (_, parts) = self.private_parts(&elements);
        elements.pieces(&parts, &mut |piece| {
            mapping.beside(&file, path, piece.bytes(), &mut |start, ours, theirs| {
                mapping.each_page(start, ours, theirs, |page, same| {
                    // A store makes a page private, so equal elements are left alone.
                    for element in piece.within(page.clone()).elements().filter(|_| !same) {
                        let part = common(&element, &page, start);
                        let at = start + part.start;
                        match (ours.get(part.clone()), theirs.get(part)) {
                            (Some(ours), Some(theirs)) if ours != theirs => mapping.store(at, theirs),
                            _ => {}
                        }
                    }
                });
                Ok(())
            })
        })?;
        if mapping.is_alone() { mapping.settle(path, &parts) } else { Ok(()) }
    }

    /// The bytes of `elements` that may be private, and how that was found out.
    pub(crate) fn private_parts(&self, elements: &Elements) -> (Tracking, Vec<Range<usize>>) {
        if self.mode() == Mode::ReadWrite || self.mapping().file().is_none() {
            return (Tracking::here(), Vec::new());
        }
        self.mapping().private_parts(elements.bytes.clone())
    }

    /// The bytes of `elements` that are in private pages; where only reading can tell, in pages that differ from the file.
    pub(crate) fn stored_parts(&self, elements: &Elements) -> Result<Vec<Range<usize>>> {
        let (tracking, parts) = self.private_parts(elements);
        if tracking != Tracking::Compare {
            return Ok(parts);
        }
        self.mapping().different_pages(self.file_path(), parts)
    }
}

/// The part of an element that is in a page, in bytes from `start` on.
fn common(element: &Range<usize>, page: &Range<usize>, start: usize) -> Range<usize> {
    element.start.max(page.start) - start..element.end.min(page.end) - start
}

/// Sorts ranges and joins those that touch.
fn in_order(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined = Vec::new();
    for range in ranges {
        join(&mut joined, range);
    }
    joined
}

/// Where the elements of a view lie, in bytes from the start of the mapping.
pub(crate) struct Elements {
    /// `None` without elements.
    lines: Option<Lines<1>>,
    first: usize,
    itemsize: usize,
    unit: usize,
    /// From the lowest byte to the end of the highest element.
    pub(crate) bytes: Range<usize>,
}

/// Elements at equal distances, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    start: usize,
    count: usize,
    step: usize,
    itemsize: usize,
}

impl Elements {
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array.
    pub(crate) fn new(array: &DynMmapArray, layout: &Layout) -> Result<Self> {
        let (itemsize, len) = (array.dtype().itemsize(), array.mapping().live());
        let outside =
            || Error::out_of_range(format!("the layout {layout:?} leaves the {len} bytes of the array"));
        let unit = usize::try_from(array.header().unit()).map_err(|_| outside())?;
        let Some((low, high)) = layout.extent() else {
            return Ok(Self { lines: None, first: 0, itemsize, unit, bytes: 0..0 });
        };
        let byte = |position: u64| usize::try_from(position).ok()?.checked_mul(unit);
        let bytes = |units: i64| isize::try_from(units).ok()?.checked_mul(isize::try_from(unit).ok()?);
        let shape: Option<Vec<_>> = layout.shape().iter().map(|&n| usize::try_from(n).ok()).collect();
        // An axis of one element is never walked along, so its stride may be anything.
        let strides = layout.strides().iter().zip(layout.shape());
        let strides: Option<Vec<_>> =
            strides.map(|(&stride, &n)| if n == 1 { Some(0) } else { bytes(stride) }).collect();
        let end = byte(high - 1).and_then(|last| last.checked_add(itemsize)).filter(|&end| end <= len);
        let (Some(first), Some(low), Some(end), Some(shape), Some(strides)) =
            (byte(layout.offset()), byte(low), end, shape, strides)
        else {
            return Err(outside());
        };
        let lines = Some(Lines::new(&shape, [&strides]));
        Ok(Self { lines, first, itemsize, unit, bytes: low..end })
    }

    /// Whether every byte from the lowest to the highest is an element's.
    fn is_line(&self) -> bool {
        self.lines.as_ref().is_none_or(|lines| {
            let (n, [step]) = lines.inner();
            lines.lines() == 1 && (n == 1 || step.unsigned_abs() == self.itemsize)
        })
    }

    /// Calls `visit` with the elements that have bytes in `parts`, which ascend and are apart: once each, except where
    /// several indices are of one element.
    ///
    /// # Errors
    /// Those of `visit`, which ends it.
    pub(crate) fn pieces(
        &self,
        parts: &[Range<usize>],
        visit: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        let (Some(lines), false) = (&self.lines, parts.is_empty()) else {
            return Ok(());
        };
        let mut done = Ok(());
        lines.visit(0..lines.len(), &mut |[offset], n, [stride]| {
            let last = if n > 1 { stride * (n - 1).cast_signed() } else { 0 };
            let start = self.first.wrapping_add_signed(offset.wrapping_add(last.min(0)));
            // All indices of a line without a distance are of one element.
            let (count, step) = if last == 0 { (1, self.itemsize) } else { (n, stride.unsigned_abs()) };
            let line = Piece { start, count, step, itemsize: self.itemsize };
            let mut from = start;
            let first = parts.partition_point(|part| part.end <= start);
            for part in parts.get(first..).unwrap_or_default() {
                if part.start >= line.bytes().end {
                    break;
                }
                // An element across two parts belongs to the first.
                let piece = line.within(part.clone()).after(from);
                if piece.count > 0 {
                    from = piece.start + (piece.count - 1) * piece.step + 1;
                    done = visit(piece);
                }
                if done.is_err() {
                    return false;
                }
            }
            true
        });
        done
    }
}

impl Piece {
    /// From the first byte to the end of the last element.
    pub(crate) fn bytes(&self) -> Range<usize> {
        self.start..self.start + (self.count.max(1) - 1) * self.step + self.itemsize
    }

    /// The elements that have bytes in `part`.
    fn within(&self, part: Range<usize>) -> Self {
        let low = (part.start + 1).saturating_sub(self.start + self.itemsize).div_ceil(self.step);
        let high = part.end.saturating_sub(self.start).div_ceil(self.step).min(self.count);
        Self { start: self.start + low * self.step, count: high.saturating_sub(low), ..*self }
    }

    /// The elements that start at or after byte `from`.
    fn after(&self, from: usize) -> Self {
        let skip = from.saturating_sub(self.start).div_ceil(self.step).min(self.count);
        Self { start: self.start + skip * self.step, count: self.count - skip, ..*self }
    }

    /// The bytes of each element.
    fn elements(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count).map(move |n| self.start + n * self.step).map(move |at| at..at + self.itemsize)
    }

    /// The bytes of the elements, without those between them.
    pub(crate) fn runs(self) -> impl Iterator<Item = Range<usize>> {
        let whole = self.step == self.itemsize;
        let joined = Self { count: usize::from(self.count > 0), itemsize: self.bytes().len(), ..self };
        let piece = if whole { joined } else { self };
        piece.elements()
    }

    /// Adds the positions of elements for which `wanted` holds.
    fn positions(self, unit: usize, wanted: impl Fn(Range<usize>) -> bool, ranges: &mut Vec<Range<u64>>) {
        for element in self.elements() {
            if wanted(element.clone()) {
                let position = (element.start / unit) as u64;
                join(ranges, position..position + 1);
            }
        }
    }
}
