//! Private mappings: which pages are this process's own, and how they go back to being the file's.
//!
//! Bytes leave and enter the mapping through blocks of plain memory only, which is where they are compared and written
//! from. Places are bytes from the start of the mapped range.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Mapping;
use crate::dirty::Tracking;
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::guard::Loss;
use crate::kernel::Control;
use crate::sys::{self, PageMap};

/// Bytes that are compared at a time; a multiple of every page.
pub(crate) const BLOCK: usize = 1 << 20;

/// What is done with a block: where it starts, its bytes in the mapping, and those of a file.
type Visit<'a> = dyn FnMut(usize, &[u8], &[u8]) -> Result<()> + 'a;

impl Mapping {
    /// Which file is mapped, and how it was left by whoever wrote it last through this mapping.
    pub(crate) fn stamp(&self) -> Stamp {
        self.backing().stamp
    }

    /// The file has been written to by us.
    pub(crate) fn set_stamp(&self, stamp: Stamp) {
        self.backing().stamp = stamp;
    }

    /// Byte of the file that the first one of the mapping is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Byte of the file where the array ends.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.live() as u64)
    }

    /// The file, unless nobody uses it any more.
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.backing().file.clone()
    }

    /// The parts of `range` that lie in private pages, ascending and apart, and how that was found out.
    ///
    /// Where the system does not say, all of `range` may be.
    pub(crate) fn private_parts(&self, range: Range<usize>) -> (Tracking, Vec<Range<usize>>) {
        if let Some(parts) = self.marked(&range) {
            return (Tracking::Marked, parts);
        }
        if range.is_empty() {
            return (Tracking::here(), Vec::new());
        }
        let (base, page) = (self.as_ptr().addr(), sys::page_size());
        let pages = (base + range.start) & !(page - 1)..(base + range.end).next_multiple_of(page);
        let ask = |scan: bool, map: &PageMap| {
            let mut parts = Vec::new();
            let mut found = |pages: Range<usize>| {
                let start = pages.start.saturating_sub(base).max(range.start);
                let end = pages.end.saturating_sub(base).min(range.end);
                if start < end {
                    join(&mut parts, start..end);
                }
            };
            let pages = pages.clone();
            if scan { map.scan(pages, &mut found) } else { map.read(pages, &mut found) }.map(|()| parts)
        };
        if let Ok(map) = PageMap::open() {
            for (tracking, scan) in [(Tracking::PagemapScan, true), (Tracking::Pagemap, false)] {
                if let Ok(parts) = ask(scan, &map) {
                    return (tracking, parts);
                }
            }
        }
        (Tracking::Compare, vec![range])
    }

    /// Copies bytes from `start` on out of the mapping.
    ///
    /// # Panics
    /// Never: a range outside the mapping leaves `block` as it is.
    pub(crate) fn load(&self, start: usize, block: &mut [u8]) {
        if start.checked_add(block.len()).is_none_or(|end| end > self.len) {
            debug_assert!(false, "{} bytes at {start} of {}", block.len(), self.len);
            return;
        }
        let from = self.as_ptr().wrapping_add(start);
        // SAFETY:
        // - the bytes are inside the mapping, checked above, and may be read (fact 1 of `Mapping`); a page that the
        //   file has lost is replaced (fact 2).
        // - `block` is memory of its own, so the two do not overlap, and any bytes are a value of it.
        // - not protected: with another writer at work an element may be a mixture of old and new (fact 3).
        unsafe { std::ptr::copy_nonoverlapping(from, block.as_mut_ptr(), block.len()) };
    }

    /// Copies bytes into the mapping, from `start` on.
    pub(crate) fn store(&self, start: usize, bytes: &[u8]) {
        if start.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            debug_assert!(false, "{} bytes at {start} of {}", bytes.len(), self.len);
            return;
        }
        let to = self.as_ptr().wrapping_add(start);
        // SAFETY:
        // - the bytes are inside the mapping, checked above, and may be written (fact 1 of `Mapping`).
        // - `bytes` is memory of its own, so the two do not overlap.
        // - not protected: another writer at the same element.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Calls `visit` with blocks of `range`, which end at boundaries of pages, and what `file` has there.
    ///
    /// # Errors
    /// [`Error::MappingLost`] where the file is too short, [`Error::Io`], and those of `visit`.
    pub(crate) fn beside(
        &self,
        file: &File,
        path: &Path,
        range: Range<usize>,
        visit: &mut Visit,
    ) -> Result<()> {
        let size = range.len().min(BLOCK);
        let (mut ours, mut theirs) = (vec![0; size], vec![0; size]);
        let mut start = range.start;
        while start < range.end {
            // Up to the next boundary of a block, counted in addresses.
            let len = (BLOCK - (self.as_ptr().addr() + start) % BLOCK).min(range.end - start);
            let (Some(ours), Some(theirs)) = (ours.get_mut(..len), theirs.get_mut(..len)) else { break };
            self.bring(&(start..start + len), Control::default())?;
            self.read_file(file, path, start, theirs)?;
            self.load(start, ours);
            visit(start, ours, theirs)?;
            start += len;
        }
        self.check(path)
    }

    /// Reads what `file` has for bytes from `start` on.
    ///
    /// # Errors
    /// [`Error::MappingLost`] where the file is too short, [`Error::Io`].
    pub(crate) fn read_file(&self, file: &File, path: &Path, start: usize, bytes: &mut [u8]) -> Result<()> {
        match sys::read_exact_at(file, bytes, self.offset() + start as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.lose(Loss::Truncated);
                self.check(path)
            }
            done => done.map_err(|error| Error::io("read", path, error)),
        }
    }

    /// The bytes of `parts` whose pages differ from the file that is mapped.
    ///
    /// # Errors
    /// Those of [`beside`](Self::beside).
    pub(crate) fn different_pages(&self, path: &Path, parts: Vec<Range<usize>>) -> Result<Vec<Range<usize>>> {
        let mut different = Vec::new();
        let Some(file) = self.file() else { return Ok(different) };
        for part in parts {
            self.beside(&file, path, self.pages_of(&part), &mut |start, ours, theirs| {
                self.each_page(start, ours, theirs, |page, same| {
                    if !same {
                        join(&mut different, page);
                    }
                });
                Ok(())
            })?;
        }
        Ok(different)
    }

    /// Calls `visit` with the bytes of a block that are in each page, and whether they are the same in both.
    pub(crate) fn each_page(
        &self,
        start: usize,
        ours: &[u8],
        theirs: &[u8],
        mut visit: impl FnMut(Range<usize>, bool),
    ) {
        let mut at = 0;
        while at < ours.len() {
            let end = (self.page_around(start + at).end - start).min(ours.len());
            visit(start + at..start + end, ours.get(at..end) == theirs.get(at..end));
            at = end;
        }
    }

    /// Takes away the private copies of the pages of `parts` whose bytes are those of the file that is mapped.
    ///
    /// For whoever has the mapping alone: what somebody else stores meanwhile may be lost. Where the system cannot take
    /// pages away they stay.
    ///
    /// # Errors
    /// Those of [`beside`](Self::beside); [`Error::Io`].
    pub(crate) fn settle(&self, path: &Path, parts: &[Range<usize>]) -> Result<()> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        for part in parts {
            let mut equal = Vec::new();
            self.beside(&file, path, self.pages_of(part), &mut |start, ours, theirs| {
                self.each_page(start, ours, theirs, |page, same| {
                    if same {
                        join(&mut equal, page);
                    }
                });
                Ok(())
            })?;
            for pages in equal {
                self.drop_pages(&file, pages).map_err(|error| Error::io("madvise", path, error))?;
            }
        }
        Ok(())
    }

    /// The bytes of the array that share a page with one of them: behind them the file has nothing to compare with.
    fn page_around(&self, at: usize) -> Range<usize> {
        let (base, page) = (self.as_ptr().addr(), sys::page_size());
        let start = (base + at) & !(page - 1);
        start.saturating_sub(base)..(start + page - base).min(self.live())
    }

    /// The bytes of the array that share a page with one of a part that is not empty.
    fn pages_of(&self, part: &Range<usize>) -> Range<usize> {
        self.page_around(part.start).start..self.page_around(part.end - 1).end
    }

    /// Takes away the private copies of whole pages of this mapping of `file`; where the system cannot, they stay.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn drop_pages(&self, file: &File, pages: Range<usize>) -> io::Result<()> {
        if self.is_copied() {
            self.unmark(&pages);
            return Ok(());
        }
        let page = sys::page_size();
        let start = self.as_ptr().wrapping_add(pages.start);
        // Only the mapping's first page can begin before its first byte, and that one is whole, too.
        let before = start.addr() % page;
        let first = start.wrapping_sub(before);
        let len = (before + pages.len()).next_multiple_of(page);
        // SAFETY:
        // - whole pages of this mapping, which is private: callers are in mode `c`.
        // - nobody has a reference to them (fact 3 of `Mapping`).
        let dropped = unsafe { sys::drop_private(first, len) };
        if !dropped.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
            return dropped;
        }
        // SAFETY:
        // - as above, and the same part of the same file is mapped there again.
        match unsafe { sys::remap(start, pages.len(), file, self.offset() + pages.start as u64) } {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    }

    /// Puts `file`, which holds the same array, in the place of the one that is mapped. Pages that differ from it stay as
    /// they are, private.
    ///
    /// For whoever has the mapping alone: what somebody else stores meanwhile may be lost.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there is no memory for the pages that differ, [`Error::Io`] when the system refuses: the
    /// mapping is as it was.
    pub(crate) fn go_on_with(&self, file: File, path: &Path) -> Result<()> {
        let stamp = Stamp::of(&file, path)?;
        let (_, parts) = self.private_parts(0..self.live());
        if self.is_copied() {
            let mut backing = self.backing();
            if backing.file.is_some() {
                backing.stamp = stamp;
                backing.file = Some(Arc::new(file));
            }
            drop(backing);
            return self.settle(path, &parts);
        }
        let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
        for part in parts {
            self.beside(&file, path, part, &mut |start, ours, theirs| {
                let mut room = Ok(());
                self.each_page(start, ours, theirs, |page, same| {
                    let mut copy = Vec::new();
                    if !same && room.is_ok() {
                        room = copy.try_reserve_exact(page.len());
                        if room.is_ok() {
                            let bytes = ours.get(page.start - start..page.end - start);
                            copy.extend_from_slice(bytes.unwrap_or_default());
                            kept.push((page.start, copy));
                        }
                    }
                });
                room.map_err(|_| {
                    Error::too_large("no memory for the pages that were stored to during the commit").at(path)
                })
            })?;
        }
        let mut backing = self.backing();
        if backing.file.is_none() {
            return Ok(());
        }
        if let Some(region) = &self.region {
            // SAFETY:
            // - the range is the mapping that `region` owns, and stays owned by it: only its pages change.
            // - nobody has a reference to it (fact 3 of `Mapping`); the file holds the range: `beside` or the copy that it
            //   is has shown it.
            unsafe { sys::remap(region.as_mut_ptr(), self.len, &file, self.offset()) }
                .map_err(|error| Error::io("mmap", path, error))?;
        }
        if let Some(guarded) = &backing.guarded {
            guarded.set_file(sys::raw_file(&file).unwrap_or(crate::guard::NO_FILE));
        }
        backing.stamp = stamp;
        backing.file = Some(Arc::new(file));
        drop(backing);
        for (start, page) in kept {
            self.store(start, &page);
        }
        Ok(())
    }
}

/// Adds a range, or makes the last one longer where that goes on with it.
pub(crate) fn join<T: Ord + Copy>(ranges: &mut Vec<Range<T>>, next: Range<T>) {
    match ranges.last_mut() {
        Some(last) if (last.start..=last.end).contains(&next.start) => last.end = last.end.max(next.end),
        _ => ranges.push(next),
    }
}
