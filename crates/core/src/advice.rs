//! Which pages a view touches, and what the system is told and asked about them.
//!
//! Memory comes and goes in pages, and a view knows elements. A column of a wide matrix touches one page of each row, and
//! to read in, drop or sync all that lies between would be the whole file. So a view becomes its pages, in
//! ascending ranges that do not touch: axes whose neighbours leave no whole page out are one range from the start,
//! and so there is never more work than the mapping has pages, however many elements lie in each.
//!
//! Reductions give no advice of their own. Of 512 MiB on a disk, none in memory, a sum took 0.25 s, with `Sequential` as
//! well; with `Random` it took 9 s. For rows here and there it is the other way round: see [`scattered`].

pub(crate) mod scattered;

use std::ops::Range;

use crate::array::DynMmapArray;
use crate::error::{Error, Result};
use crate::kernel::Control;
use crate::layout::Layout;
use crate::mode::Mode;
use crate::sys;

/// What a program is about to do with a part of an array. It never changes an element, and is a hint: a system may do
/// nothing about it.
///
/// | advice | Linux | macOS, BSD | Windows |
/// |---|---|---|---|
/// | `Normal`, `Sequential`, `Random` | how far ahead of a page fault the file is read | the same | nothing |
/// | `WillNeed` | starts reading the pages in | the same | the same |
/// | `DontNeed` | takes the pages out of memory, private ones to the swap, if any | in `r+` only: they go first when memory is short | nothing |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing special: takes the next two back.
    Normal,
    /// From the lowest address to the highest: read far ahead.
    Sequential,
    /// Here and there: read nothing but what is touched.
    Random,
    /// Soon.
    WillNeed,
    /// Not soon.
    DontNeed,
}

impl Advice {
    /// Reads an advice from its name.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "normal" => Ok(Self::Normal),
            "sequential" => Ok(Self::Sequential),
            "random" => Ok(Self::Random),
            "willneed" => Ok(Self::WillNeed),
            "dontneed" => Ok(Self::DontNeed),
            _ => Err(Error::invalid_value(format!(
                "advice is {text:?}; expected 'normal', 'sequential', 'random', 'willneed' or 'dontneed'"
            ))),
        }
    }
}

/// The most ranges for what costs something for each of them: a region of its own in the system's table, a sync of the disk.
const FEW: usize = 64;

/// Bytes that are read in at once: few enough to be stopped soon, on slow disks too.
const BLOCK: usize = 1 << 20;

impl DynMmapArray {
    /// Tells the system what is to come for the pages that `layout` touches.
    ///
    /// `Normal`, `Sequential` and `Random` include gaps where the view has more than 64 ranges of pages. `DontNeed` never
    /// loses a store: pages that a private mapping has of its own stay, in memory or in the swap.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the data; [`Error::Io`] with what the system said. What it cannot do is no error.
    pub fn advise(&self, layout: &Layout, advice: Advice) -> Result<()> {
        let pages = self.pages(layout)?;
        let pages = match advice {
            Advice::WillNeed | Advice::DontNeed => pages,
            Advice::Normal | Advice::Sequential | Advice::Random => pages.at_most(FEW),
        };
        for range in pages {
            self.mapping().steering.say(&range, advice);
            self.mapping()
                .advise(range, advice)
                .map_err(|error| Error::io("madvise", self.file_path(), error))?;
        }
        Ok(())
    }

    /// Reads in the pages that `layout` touches, and returns when they are there; `control` counts their bytes.
    ///
    /// More than fits into memory is no error: the pages that were read first have gone again by then.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the data; [`Error::Aborted`]; [`Error::MappingLost`] if pages have vanished.
    pub fn prefetch(&self, layout: &Layout, control: Control) -> Result<()> {
        let mut blocks = self.pages(layout)?.flat_map(|range| {
            let end = range.end;
            range.step_by(BLOCK).map(move |start| start..end.min(start.saturating_add(BLOCK)))
        });
        let (mapping, mut group) = (self.mapping(), Vec::new());
        loop {
            let mut bytes = 0;
            while bytes < BLOCK
                && let Some(block) = blocks.next()
            {
                bytes += block.len();
                group.push(block);
            }
            if group.is_empty() {
                return self.check_loss();
            }
            if group.len() > 1 {
                // A disk is quicker when it knows of all of them. One long block is read faster as its pages are touched
                // (0.4 s for 512 MiB against 1.1 s), with large pages and the next ones on their way. Only a hint.
                for block in &group {
                    let _ = mapping.advise(block.clone(), Advice::WillNeed);
                }
            }
            for block in group.drain(..) {
                if control.is_cancelled() {
                    return Err(Error::Aborted);
                }
                control.add(block.len());
                if mapping.is_copied() {
                    let before = mapping.before();
                    let part = block.start.saturating_sub(before)..(block.end - before).min(mapping.live());
                    mapping.bring(&part, control)?;
                }
                mapping.populate(block);
            }
        }
    }

    /// How much of the pages that `layout` touches is in memory, from 0 to 1; 1 for a view without elements.
    ///
    /// On Linux and macOS in memory means in the page cache, whoever has read them, or private. Linux tells only those who
    /// own the file or may write it, and says 1 to others. On Windows it means in the working set of this process.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the data; [`Error::Io`] with what the system said.
    pub fn residency(&self, layout: &Layout) -> Result<f64> {
        let (mut resident, mut all) = (0, 0);
        for range in self.pages(layout)? {
            all += range.len() / sys::page_size();
            resident += self
                .mapping()
                .resident(range)
                .map_err(|error| Error::io("mincore", self.file_path(), error))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share of more than 2^53 pages may be rounded")]
        Ok(if all == 0 { 1.0 } else { resident as f64 / all as f64 })
    }

    /// Bytes of the pages that `layout` touches.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the data.
    pub fn page_bytes(&self, layout: &Layout) -> Result<u64> {
        Ok(self.pages(layout)?.map(|range| range.len() as u64).sum())
    }

    /// Brings what was stored to the pages that `layout` touches to the disk; nothing to do in the private modes.
    ///
    /// Each range of pages waits for the disk, so gaps are included where the view has more than 64.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the data, [`Error::Io`] with what the system said; [`Error::MappingLost`] if pages
    /// have vanished, in every mode, when what is left has been brought to the disk.
    pub fn flush_part(&self, layout: &Layout) -> Result<()> {
        let pages = self.pages(layout)?;
        if self.mode() == Mode::ReadWrite {
            self.flush_ranges(pages.at_most(FEW))?;
        }
        self.check_loss()
    }

    fn pages(&self, layout: &Layout) -> Result<Pages> {
        let unit = usize::try_from(self.header().unit()).unwrap_or(usize::MAX);
        let bytes = (self.mapping().as_ptr().addr(), self.mapping().live());
        Pages::new(bytes, sys::page_size(), layout, (unit, self.dtype().itemsize())).ok_or_else(|| {
            Error::out_of_range(format!(
                "the layout {layout:?} of {unit} bytes each leaves the {} bytes of the array",
                self.mapping().live()
            ))
        })
    }
}

/// The pages that a view touches: ranges of bytes from the start of the mapping's first page on, in ascending order, each
/// of whole pages and apart from the next.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// Byte where the first block starts.
    first: usize,
    /// Bytes of a block, all of whose pages are touched.
    span: usize,
    /// How many blocks there are along each axis, and bytes from one to the next; the outermost axis last.
    axes: Vec<(usize, usize)>,
    /// The blocks that are left.
    blocks: Range<usize>,
    page: usize,
    /// Bytes of the longest gap that is part of a range.
    gap: usize,
    /// Bytes of all the pages of the mapping.
    end: usize,
}

impl Pages {
    /// The pages in a mapping, given by its address and length, that elements of some bytes, `unit` bytes apart by the layout,
    /// lie in; `None` for a layout that leaves the mapping.
    pub(crate) fn new(
        (address, len): (usize, usize),
        page: usize,
        layout: &Layout,
        (unit, itemsize): (usize, usize),
    ) -> Option<Self> {
        let before = address % page;
        let end = before.checked_add(len)?.checked_next_multiple_of(page)?;
        let Some((low, high)) = layout.extent() else {
            // Nothing is touched.
            return Some(Self { first: 0, span: 0, axes: Vec::new(), blocks: 0..0, page, gap: 0, end });
        };
        let byte = |at: u64| usize::try_from(at).ok()?.checked_mul(unit);
        byte(high.checked_sub(1)?)?.checked_add(itemsize).filter(|&end| end <= len)?;
        let first = before + byte(low)?;

        let of_axis =
            |(&n, &stride): (&u64, &i64)| Some((usize::try_from(n).ok()?, byte(stride.unsigned_abs())?));
        // Repeated elements lie where the first of them does, and may be more than this machine can count.
        let moving =
            layout.shape().iter().zip(layout.strides()).filter(|&(&n, &stride)| n > 1 && stride != 0);
        let mut axes: Vec<(usize, usize)> = moving.map(of_axis).collect::<Option<_>>()?;
        axes.sort_by_key(|&(_, stride)| stride);
        // From here on every sum is at most the bytes of the mapping, where all the elements lie.
        let (mut span, mut extent) = (itemsize, itemsize);
        let mut outer = Vec::new();
        for (n, stride) in axes {
            if stride < extent {
                // Axes that lie in one another: what they leave out between them is not looked for.
                outer.clear();
                span = extent;
            }
            let reach = (n - 1) * stride;
            // A gap of less than a page has no whole page in it.
            if outer.is_empty() && stride - stride.min(span) < page {
                span += reach;
            } else {
                outer.push((n, stride));
            }
            extent += reach;
        }
        // Blocks do not overlap, so there are no more of them than bytes.
        let blocks = 0..outer.iter().map(|&(n, _)| n).product();
        Some(Self { first, span, axes: outer, blocks, page, gap: 0, end })
    }

    /// The same pages in no more than `most` ranges, with the shortest gaps between them added.
    fn at_most(mut self, most: usize) -> Self {
        while self.clone().nth(most).is_some() {
            self.gap = (self.gap * 2).max(self.page);
        }
        self
    }

    fn block(&self, block: usize) -> Range<usize> {
        let (mut start, mut rest) = (self.first, block);
        for &(n, stride) in &self.axes {
            start += rest % n * stride;
            rest /= n;
        }
        let end = (start + self.span).next_multiple_of(self.page).min(self.end);
        start - start % self.page..end
    }
}

impl Iterator for Pages {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let first = self.blocks.next()?;
        let mut range = self.block(first);
        while !self.blocks.is_empty() {
            let next = self.block(self.blocks.start);
            if next.start - next.start.min(range.end) > self.gap {
                break;
            }
            range.end = range.end.max(next.end);
            self.blocks.start += 1;
        }
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;
    use crate::layout::Layout;

    /// Shape, strides, offset; the ranges, in pages of 100 bytes.
    type Case = (&'static [u64], &'static [i64], u64, &'static [[usize; 2]]);

    /// Elements of 4 bytes, 4 bytes apart, in a mapping of 2,990 bytes from byte 10 of a page on.
    fn pages(shape: &[u64], strides: &[i64], offset: u64) -> Pages {
        let layout = Layout::new(offset, shape.to_vec(), strides.to_vec(), 747).unwrap();
        Pages::new((710, 2990), 100, &layout, (4, 4)).unwrap()
    }

    fn numbers(pages: Pages) -> Vec<[usize; 2]> {
        pages.map(|range| [range.start / 100, range.end / 100]).collect()
    }

    #[test]
    fn a_view_is_the_pages_of_its_elements() {
        let cases: &[Case] = &[
            (&[], &[], 0, &[[0, 1]]),
            (&[0], &[1], 5, &[]),
            (&[747], &[1], 0, &[[0, 30]]),
            (&[747], &[-1], 746, &[[0, 30]]),
            // An element on the border of two pages, and one right before it.
            (&[1], &[1000], 22, &[[0, 2]]),
            (&[1], &[1000], 21, &[[0, 1]]),
            // Gaps of less than a page, of a page and a bit, of many.
            (&[6], &[25], 0, &[[0, 6]]),
            (&[5], &[30], 0, &[[0, 5]]),
            (&[5], &[26], 0, &[[0, 5]]),
            (&[5], &[50], 0, &[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
            (&[5], &[-50], 200, &[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
            (&[3], &[250], 3, &[[0, 1], [10, 11], [20, 21]]),
            // Blocks that are lines, rows of blocks, axes in any order; axes of one element and repeated ones.
            (&[3, 20], &[200, 1], 0, &[[0, 1], [8, 9], [16, 17]]),
            (&[20, 3], &[1, 200], 0, &[[0, 1], [8, 9], [16, 17]]),
            (&[2, 3], &[300, 50], 0, &[[0, 1], [2, 3], [4, 5], [12, 13], [14, 15], [16, 17]]),
            (&[3, 2], &[-50, 300], 100, &[[0, 1], [2, 3], [4, 5], [12, 13], [14, 15], [16, 17]]),
            (&[1 << 40, 1, 2], &[0, 7, 100], 0, &[[0, 1], [4, 5]]),
            // Axes in one another: all from the first to the last.
            (&[3, 3], &[60, 50], 0, &[[0, 9]]),
            (&[2; 9], &[75; 9], 0, &[[0, 28]]),
        ];
        for &(shape, strides, offset, expected) in cases {
            assert_eq!(numbers(pages(shape, strides, offset)), expected, "{shape:?} {strides:?} {offset}");
        }
    }

    #[test]
    fn a_layout_of_another_array_is_refused() {
        let layout = Layout::new(0, vec![748], vec![1], 748).unwrap();
        assert!(Pages::new((710, 2990), 100, &layout, (4, 4)).is_none());
        let layout = Layout::new(0, vec![2], vec![i64::MAX], 1 << 63).unwrap();
        assert!(Pages::new((710, 2990), 100, &layout, (4, 4)).is_none());
    }

    #[test]
    fn few_ranges_include_the_shortest_gaps() {
        let all = || pages(&[2, 3], &[300, 50], 0);
        assert_eq!(numbers(all().at_most(6)).len(), 6);
        assert_eq!(numbers(all().at_most(5)), [[0, 5], [12, 17]]);
        assert_eq!(numbers(all().at_most(2)), [[0, 5], [12, 17]]);
        assert_eq!(numbers(all().at_most(1)), [[0, 17]]);
        assert_eq!(numbers(pages(&[10], &[1], 300).at_most(1)), [[12, 13]]);
    }
}
