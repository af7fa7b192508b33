//! Files that are not mapped: their bytes pass through a temporary file that is.
//!
//! Some file systems map no files (FUSE with direct I/O, some network disks), and on others a lost page is not worth the
//! risk. The array then lies in an unnamed temporary file of the same length, all holes at first, which is mapped at
//! addresses of its own: every kernel works as always, and what was read takes disk space and no private memory, because the
//! system may write those pages out. Blocks of the file are brought by plain reads, when they are first asked for. So a
//! file that fails is an error of a call, and no signal.
//!
//! The way back is by marks. Nobody stores to these bytes but through calls of this crate, and each marks
//! the bytes that it has stored: only those are ever written, whatever somebody else has written beside them. They are marked
//! after the store: a write-back that comes between the two is followed by another one.
//!
//! A block is read by one thread while others wait for it, or read others. No lock is held meanwhile, so that nobody
//! waits for a slow disk who does not need it. Past 400 lines: blocks, marks and the one lock around both.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};

use super::{Mapping, map_shared};
use crate::error::{Error, Result};
use crate::fault;
use crate::guard::Loss;
use crate::kernel::Control;
use crate::mode::Mode;
use crate::sys;

/// Bytes that are read at a time, from a multiple of as many on: what a first look at one element costs.
const BLOCK: usize = 1 << 20;
/// What is marked at a time in mode `c`, where whole pages are private elsewhere, too.
const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];
/// More marks than these are written back before the next store, for they are in memory: some 3 MiB of it.
const MOST_MARKS: usize = 1 << 16;

/// What is known of the bytes of a file that is not mapped.
#[derive(Debug)]
pub(super) struct Copied {
    /// The file, for errors.
    path: PathBuf,
    state: Mutex<State>,
    /// Told when a block has come, or has not.
    changed: Condvar,
    /// Held by whoever writes back: older bytes must not come after newer ones.
    writes: Mutex<Writes>,
}

/// What was written to the file and is marked no more, and how much of that a sync has brought to the disk: counted in calls.
#[derive(Debug, Default, Clone, Copy)]
struct Writes {
    made: u64,
    synced: u64,
}

#[derive(Debug)]
struct State {
    /// The temporary file; `None` after `retire`.
    scratch: Option<Arc<File>>,
    /// The blocks up to the last that was asked for.
    blocks: Vec<Block>,
    /// What was stored: where each range starts, and where it ends.
    marks: BTreeMap<usize, usize>,
    /// How often the array became shorter: the temporary file may have bytes then where the file has zeros.
    cuts: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// How many of its bytes are there, from its start on.
    filled: usize,
    /// Whether somebody is reading it.
    coming: bool,
    /// Whether it is all zeros, for which the temporary file has no space yet.
    hollow: bool,
}

/// A temporary file of `len` bytes, mapped for loads and stores.
pub(super) fn scratch(len: usize) -> Result<(File, super::Pages)> {
    let folder = std::env::temp_dir();
    let failed = |syscall| move |error: io::Error| (syscall, error);
    let made = fault::point("mkstemp")
        .and_then(|()| tempfile::tempfile_in(&folder))
        .map_err(failed("mkstemp"))
        .and_then(|file| {
            sys::set_len(&file, len as u64).map_err(failed("ftruncate"))?;
            let pages = map_shared(&file, 0, len).map_err(failed("mmap"))?;
            Ok((file, pages))
        });
    made.map_err(|(syscall, error)| Error::io(syscall, &folder, error))
}

/// Whether the system says that files cannot be mapped where this one is.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(sys::error_name(error), "ENODEV" | "ENOTSUP")
}

/// Arrays that have something to write back at the end of the process.
static KEPT: Mutex<Vec<Weak<Mapping>>> = Mutex::new(Vec::new());

/// The last chance, after whatever the program does at its end itself: there is nobody left to give an error to.
extern "C" fn write_back_at_exit() {
    say(write_back());
}

/// Tells whoever runs the program of stores that did not get to the file, where no call is left to fail.
pub(super) fn say(written: Result<()>) {
    if let Err(error) = written {
        // Not `eprintln`, which panics where nobody reads it.
        let _ = writeln!(io::stderr(), "mmap-ndarray: what was stored is lost: {error}");
    }
}

/// Has [`write_back`] know of a mapping.
pub(crate) fn keep(mapping: &Arc<Mapping>) {
    static AT_EXIT: Once = Once::new();
    if mapping.is_copied() && mapping.mode == Mode::ReadWrite {
        AT_EXIT.call_once(|| sys::at_exit(write_back_at_exit));
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.strong_count() > 0);
        kept.push(Arc::downgrade(mapping));
    }
}

/// Writes what was stored to files that are not mapped, in mode `r+`, back to them: for the end of a process, which drops
/// nothing. It does not sync.
///
/// # Errors
/// [`Error::Io`], the first of them; what can be written is.
pub fn write_back() -> Result<()> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let each = kept.iter().filter_map(Weak::upgrade).map(|mapping| mapping.write_back());
    each.fold(Ok(()), Result::and)
}

impl Copied {
    pub(super) fn new(scratch: File, path: &Path) -> Self {
        let scratch = Some(Arc::new(scratch));
        let state = State { scratch, blocks: Vec::new(), marks: BTreeMap::new(), cuts: 0 };
        let (changed, writes) = (Condvar::new(), Mutex::default());
        Self { path: path.to_path_buf(), state: Mutex::new(state), changed, writes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing runs while the lock is held that could leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the disk space back, once the temporary file is mapped no more.
    pub(super) fn end(&self) {
        self.state().scratch = None;
    }

    /// The array has `new` bytes, and had `old`.
    pub(super) fn set_live(&self, old: usize, new: usize) {
        let mut state = self.state();
        if new < old {
            state.cuts += 1;
            for (index, block) in state.blocks.iter_mut().enumerate().skip(new / BLOCK) {
                block.filled = block.filled.min(new.saturating_sub(index * BLOCK));
                block.hollow &= block.filled > 0;
            }
            state.unmark(&(new..usize::MAX));
        }
    }

    fn closed(&self) -> Error {
        Error::Closed { path: self.path.clone() }
    }
}

/// Says of the temporary file that the system did not take bytes.
fn full(error: io::Error) -> Error {
    Error::io("write", &std::env::temp_dir(), error)
}

/// Where a block starts and ends.
fn blocks_of(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / BLOCK..range.end.div_ceil(BLOCK) }
}

impl Copied {
    fn writes(&self) -> MutexGuard<'_, Writes> {
        // Two numbers, each of which is right by itself.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something was written that is not known to be on the disk.
    pub(super) fn has_unsynced(&self) -> bool {
        let writes = self.writes();
        writes.made > writes.synced
    }
}

impl State {
    fn block(&mut self, index: usize) -> &mut Block {
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, Block::default());
        }
        &mut self.blocks[index]
    }

    /// The parts of `range` that are marked, ascending and apart.
    fn marked(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.marks.range(..range.end).rev().map(|(&start, &end)| start..end);
        let mut found: Vec<_> = before
            .take_while(|mark| mark.end > range.start)
            .map(|mark| mark.start.max(range.start)..mark.end.min(range.end))
            .collect();
        found.reverse();
        found
    }

    fn mark(&mut self, mut range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let Some((&start, &end)) = self.marks.range(..=range.start).next_back()
            && end >= range.start
        {
            if end >= range.end {
                return;
            }
            range.start = start;
        }
        while let Some((&start, &end)) = self.marks.range(range.clone()).next() {
            self.marks.remove(&start);
            range.end = range.end.max(end);
        }
        // One that begins where this one ends.
        if let Some(end) = self.marks.remove(&range.end) {
            range.end = end;
        }
        self.marks.insert(range.start, range.end);
    }

    fn mark_all(&mut self, ranges: Vec<Range<usize>>) {
        for range in ranges {
            self.mark(range);
        }
    }

    /// Takes the marks of `range` away, and gives them back.
    fn unmark(&mut self, range: &Range<usize>) -> Vec<Range<usize>> {
        let taken = self.marked(range);
        for part in &taken {
            let Some((&start, &end)) = self.marks.range(..=part.start).next_back() else { continue };
            self.marks.remove(&start);
            for rest in [start..part.start, part.end..end] {
                if !rest.is_empty() {
                    self.marks.insert(rest.start, rest.end);
                }
            }
        }
        taken
    }
}

impl Mapping {
    /// Whether the file is not mapped: its bytes are copied to where they are used, and back.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.copied.is_some()
    }

    /// Brings the bytes of `range` from the file, where they are not here yet. Nothing to do for a file that is mapped.
    ///
    /// What the file does not have, or not any more, is zeros, and lost.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system said of the file, or of the temporary one (`ENOSPC`); [`Error::Closed`];
    /// [`Error::Aborted`].
    pub(crate) fn bring(&self, range: &Range<usize>, control: Control) -> Result<()> {
        let Some(copied) = &self.copied else { return Ok(()) };
        for index in blocks_of(range) {
            if control.is_cancelled() {
                return Err(Error::Aborted);
            }
            self.bring_block(copied, index)?;
        }
        Ok(())
    }

    fn bring_block(&self, copied: &Copied, index: usize) -> Result<()> {
        let wanted = || self.live().saturating_sub(index * BLOCK).min(BLOCK);
        let mut state = copied.state();
        loop {
            let (block, end) = (*state.block(index), wanted());
            if block.filled >= end {
                return Ok(());
            }
            if block.coming {
                state = copied.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.block(index).coming = true;
            let (scratch, cuts) = (state.scratch.clone(), state.cuts);
            drop(state);
            let part = index * BLOCK + block.filled..index * BLOCK + end;
            let filled = match scratch {
                Some(scratch) => self.copy_in(copied, &scratch, part, block.filled == 0 && cuts == 0),
                None => Err(copied.closed()),
            };
            state = copied.state();
            // What was read while the array became shorter may be what it had before: it is read once more.
            let is_of_now = state.cuts == cuts;
            let block = state.block(index);
            block.coming = false;
            if let (Ok(zeros), true) = (&filled, is_of_now) {
                block.hollow |= zeros;
                block.filled = end;
            }
            copied.changed.notify_all();
            filled?;
        }
    }

    /// Copies a part of the file to the temporary one, and says whether that was left out: zeros are there as they are.
    fn copy_in(&self, copied: &Copied, scratch: &File, part: Range<usize>, is_new: bool) -> Result<bool> {
        let file = self.file().ok_or_else(|| copied.closed())?;
        let mut bytes = vec![0; part.len()];
        let read = fault::point("read")
            .and_then(|()| sys::read_up_to(&file, &mut bytes, self.offset + part.start as u64))
            .map_err(|error| Error::io("read", &copied.path, error))?;
        if read < bytes.len() {
            self.lose(Loss::Truncated);
        }
        if is_new && bytes.chunks(PAGE).all(|part| ZEROS.starts_with(part)) {
            return Ok(true);
        }
        // What was left out before has its space from here on, too, or it would be forgotten which part that is.
        self.reserve(&(part.start / BLOCK * BLOCK..part.start))?;
        sys::write_all_at(scratch, &bytes, part.start as u64).map_err(full)?;
        Ok(false)
    }

    /// Gives bytes that are here the disk space that stores to them need: a full disk is an error now, and no fault later.
    fn reserve(&self, range: &Range<usize>) -> Result<()> {
        let Some(copied) = &self.copied else { return Ok(()) };
        for index in blocks_of(range) {
            let mut state = copied.state();
            let scratch = state.scratch.clone().ok_or_else(|| copied.closed())?;
            let block = state.block(index);
            if block.hollow {
                // With the lock held: nobody stores before this is done.
                sys::write_all_at(&scratch, &vec![0; block.filled], (index * BLOCK) as u64).map_err(full)?;
                block.hollow = false;
            }
        }
        Ok(())
    }

    /// Gets bytes of `range` ready to be stored to.
    ///
    /// # Errors
    /// Those of [`bring`](Self::bring).
    pub(crate) fn prepare(&self, range: &Range<usize>) -> Result<()> {
        self.bring(range, Control::default())?;
        self.reserve(range)
    }

    /// Keeps the marks few.
    ///
    /// # Errors
    /// Those of [`write_back`](Self::write_back).
    pub(crate) fn relieve(&self) -> Result<()> {
        match &self.copied {
            Some(copied) if copied.state().marks.len() > MOST_MARKS => self.write_back(),
            _ => Ok(()),
        }
    }

    /// Notes that bytes were stored to.
    pub(crate) fn mark(&self, range: Range<usize>) {
        let Some(copied) = &self.copied else { return };
        let Range { start, end } = range;
        let range = match self.mode {
            Mode::ReadOnly => return,
            Mode::ReadWrite => start..end,
            Mode::CopyOnWrite => start / PAGE * PAGE..end.next_multiple_of(PAGE).min(self.live()),
        };
        copied.state().mark(range);
    }

    /// Forgets that bytes were stored to, which the file has as they are.
    pub(super) fn unmark(&self, range: &Range<usize>) {
        if let Some(copied) = &self.copied {
            copied.state().unmark(range);
        }
    }

    /// The parts of `range` that were stored to; `None` for a file that is mapped.
    pub(super) fn marked(&self, range: &Range<usize>) -> Option<Vec<Range<usize>>> {
        self.copied.as_ref().map(|copied| copied.state().marked(range))
    }

    /// Writes what was stored, in mode `r+`, to the file; it does not sync.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system said: all of it is still to be written, and a later call does. [`Error::MappingLost`]
    /// where the temporary file has lost what was stored.
    pub fn write_back(&self) -> Result<()> {
        let (Some(copied), Some(file)) = (&self.copied, self.file()) else { return Ok(()) };
        let mut writes = copied.writes();
        let written = self.write_marked(copied, &file, &(0..self.len))?;
        writes.made += u64::from(!written.is_empty());
        Ok(())
    }

    /// Goes on where `before` ends, another mapping of the file or this one: what was written there, and `more` beside it, was not
    /// brought to the disk by a sync of this one.
    pub(crate) fn follow_writes(&self, before: &Self, more: bool) {
        if let (Some(copied), Some(before)) = (&self.copied, &before.copied) {
            let Writes { made, synced } = *before.writes();
            let mut writes = copied.writes();
            *writes = Writes { made: writes.made.max(made + u64::from(more)), synced };
        }
    }

    /// Writes the parts of `within` that were stored to, and gives them back.
    fn write_marked(&self, copied: &Copied, file: &File, within: &Range<usize>) -> Result<Vec<Range<usize>>> {
        if self.mode != Mode::ReadWrite {
            return Ok(Vec::new());
        }
        let marks = copied.state().unmark(within);
        if marks.is_empty() {
            return Ok(marks);
        }
        let written = self.file_end(file, copied).and_then(|end| {
            marks.iter().try_for_each(|mark| self.write_out(copied, file, mark.clone(), end))
        });
        match written {
            Ok(()) => Ok(marks),
            Err(error) => {
                copied.state().mark_all(marks);
                Err(error)
            }
        }
    }

    /// Where the file ends, in bytes of the range.
    fn file_end(&self, file: &File, copied: &Copied) -> Result<usize> {
        let len = sys::file_metadata(file).map_err(|error| Error::io("fstat", &copied.path, error))?.len();
        Ok(usize::try_from(len.saturating_sub(self.offset)).unwrap_or(usize::MAX))
    }

    /// Writes a range to the file, which ends at `end` and is made no longer.
    fn write_out(&self, copied: &Copied, file: &File, range: Range<usize>, end: usize) -> Result<()> {
        if range.end > end {
            self.lose(Loss::Truncated);
        }
        let stop = range.end.min(end);
        let mut bytes = vec![0; range.len().min(BLOCK)];
        let mut at = range.start;
        while at < stop {
            let Some(part) = bytes.get_mut(..(stop - at).min(BLOCK)) else { break };
            self.load(at, part);
            // Zeros in the place of a page of the temporary file that is gone must not get there.
            if matches!(self.lost(), Some(Loss::Io | Loss::NoSpace)) {
                return self.check(&copied.path);
            }
            sys::write_all_at(file, part, self.offset + at as u64)
                .map_err(|error| Error::io("write", &copied.path, error))?;
            at += part.len();
        }
        Ok(())
    }

    /// As `flush`, for a file that is not mapped: writes back, and syncs.
    ///
    /// # Errors
    /// Those of [`write_back`](Self::write_back), and of the sync: what this call has written is still to be written then. What an
    /// earlier one has is lost.
    pub(crate) fn flush_copied(&self, ranges: impl Iterator<Item = Range<usize>>) -> Result<()> {
        let (Some(copied), Some(file)) = (&self.copied, self.file()) else { return Ok(()) };
        let mut writes = copied.writes();
        let unsynced = writes.made > writes.synced;
        let mut marks = Vec::new();
        let written = ranges.into_iter().try_for_each(|range| {
            marks.extend(self.write_marked(copied, &file, &range)?);
            Ok(())
        });
        let ours = u64::from(!marks.is_empty());
        writes.made += ours;
        let made = writes.made;
        // A sync takes its time; others may write meanwhile.
        drop(writes);
        let synced = written.and_then(|()| {
            sys::sync_data(&file).map_err(|error| {
                if unsynced || copied.writes().made > made {
                    self.lose_unsynced(&error);
                }
                Error::io("fdatasync", &copied.path, error)
            })
        });
        if let Err(error) = synced {
            // A system that forgets what it could not sync gets it once more.
            copied.state().mark_all(marks);
            let mut writes = copied.writes();
            writes.made -= ours;
            writes.synced = writes.synced.min(writes.made);
            return Err(error);
        }
        let mut writes = copied.writes();
        writes.synced = writes.synced.max(made);
        drop(writes);
        if self.file_end(&file, copied)? < self.live() {
            self.lose(Loss::Truncated);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_ranges_that_ascend_and_are_apart() {
        let mut state = State { scratch: None, blocks: Vec::new(), marks: BTreeMap::new(), cuts: 0 };
        let mut model = vec![false; 200];
        // Any order of overlapping, touching and separate ranges: a walk with a fixed step through all pairs.
        for step in 0..4000_usize {
            let (start, len) = (step * 7919 % 190, step * 104_729 % 11);
            let range = start..(start + len).min(200);
            let marks = step % 3 != 0;
            if marks {
                state.mark(range.clone());
            } else {
                let taken = state.unmark(&range);
                let expected = range.clone().filter(|&at| model[at]).count();
                assert_eq!(taken.iter().map(Range::len).sum::<usize>(), expected, "{range:?}");
            }
            model[range].fill(marks);
            let found = state.marked(&(0..200));
            assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start || !marks), "{found:?}");
            let mut seen = vec![false; 200];
            for range in found {
                seen[range].fill(true);
            }
            assert_eq!(seen, model, "step {step}");
        }
    }
}
