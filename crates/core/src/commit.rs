//! What a copy-on-write array has changed, brought to its file.
//!
//! A commit begins on the thread that stores to the array. [`BegunCommit::write`] writes and syncs, and may run on any thread
//! while elements go on being stored to. The last step, [`Commit::finish`], belongs on the first thread again: it lets go of private pages, and only of those
//! whose bytes are the file's at that moment. So a store made meanwhile is never lost; its page just stays private.
//!
//! In place, the pages are written over the file's, and whoever looks meanwhile, or after a crash, finds some elements new
//! and some old. As a whole, a copy of the file is changed and renamed over it: old or new, nothing between.

use std::fs::TryLockError;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;

use crate::array::DynMmapArray;
use crate::dirty::Elements;
use crate::draft::{Draft, follow_links};
use crate::error::{Error, Result};
use crate::fault;
use crate::file::{self, Lock, Stamp};
use crate::format::{Format, Request};
use crate::kernel::Control;
use crate::layout::Layout;
use crate::lease::Pin;
use crate::mapping::Committing;
use crate::mapping::private::BLOCK;
use crate::mode::Mode;
use crate::sys;

/// How to commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// The whole change or none of it, whatever happens: a changed copy of the file takes its place.
    pub atomic: bool,
    /// Commit though somebody has written to the file since it was opened, or another one that holds an array just like
    /// this is at the path.
    pub force: bool,
}

/// A commit that others are kept from, from [`DynMmapArray::begin_commit`] on. Dropped, it has done nothing.
#[derive(Debug)]
#[must_use = "nothing is committed before `write`"]
pub struct BegunCommit {
    array: DynMmapArray,
    options: CommitOptions,
    pin: Pin,
}

/// A commit that is on the disk, and is to be finished where the array's elements are stored to.
///
/// Dropped without that, all pages stay private, and after a whole commit the array keeps the old file.
#[derive(Debug)]
#[must_use = "pages are let go of by `finish`"]
pub struct Commit {
    array: DynMmapArray,
    done: Done,
    /// Keeps others out until it is finished.
    _pin: Pin,
}

#[derive(Debug)]
enum Done {
    /// These bytes were written to the file, their pages included.
    InPlace(Vec<Range<usize>>),
    /// The file that took the place, and what came of syncing its name.
    Whole(File, Result<()>),
}

/// The file to be written, open for writing, with those kept out who take locks.
struct Target {
    file: File,
    stamp: Stamp,
}

impl DynMmapArray {
    /// Brings what was stored to the elements of `layout` to the file and to the disk: [`begin_commit`](Self::begin_commit),
    /// [`BegunCommit::write`] and [`Commit::finish`] in one.
    ///
    /// # Errors
    /// Those of the three.
    pub fn commit(&self, layout: &Layout, options: CommitOptions) -> Result<()> {
        self.begin_commit(options)?.write(layout)?.finish()
    }

    /// Makes sure that the array can be committed now, and keeps others from it: the start of a commit that goes on elsewhere.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in mode `r`; [`Error::InvalidState`] in mode `r+`, beside another commit, and with `atomic` while
    /// others have the mapping; [`Error::Closed`]; [`Error::MappingLost`]; [`Error::Unavailable`] for `atomic` on Windows.
    pub fn begin_commit(&self, options: CommitOptions) -> Result<BegunCommit> {
        let path = self.file_path();
        match self.mode() {
            Mode::CopyOnWrite => {}
            Mode::ReadOnly => return Err(Error::ReadOnly { path: path.to_path_buf() }),
            Mode::ReadWrite => {
                let reason = "in mode 'r+' every store reaches the file at once: there is nothing to commit. Use flush \
                              to bring it to the disk";
                return Err(Error::invalid_state(path, reason));
            }
        }
        if options.atomic && cfg!(windows) {
            return Err(Error::Unavailable {
                path: path.to_path_buf(),
                reason: "Windows replaces no file that is mapped; commit without atomic".to_owned(),
            });
        }
        let kind = if options.atomic { Committing::Whole } else { Committing::InPlace };
        let pin = Pin::new(self.mapping(), Some(kind)).map_err(|refusal| self.refused(refusal))?;
        self.check_loss()?;
        Ok(BegunCommit { array: self.clone(), options, pin })
    }

    /// Opens the file at the path for writing.
    fn target(&self, force: bool) -> Result<Target> {
        let (path, mapping) = (self.file_path(), self.mapping());
        let expected = mapping.stamp();
        let stale = || Error::Stale { path: path.to_path_buf() };
        let failed = |syscall| move |error| Error::io(syscall, path, error);
        fault::point("stat").map_err(failed("stat"))?;
        let same = file::names(path, expected.identity)?;
        if !same && !force {
            return Err(stale());
        }
        fault::point("open").map_err(failed("open"))?;
        let file = match std::fs::metadata(path).and_then(|metadata| {
            file::check_regular(&metadata)?;
            sys::never_wait(OpenOptions::new().read(true).write(true)).open(path)
        }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(stale()),
            file => file.map_err(failed("open"))?,
        };
        if self.lock().is_none() {
            fault::point("flock").map_err(failed("flock"))?;
            // A file system without locks has nobody to keep out.
            if let Err(TryLockError::WouldBlock) = Lock::Exclusive.take(&file) {
                return Err(Error::Locked { path: path.to_path_buf() });
            }
        }
        fault::point("fstat").map_err(failed("fstat"))?;
        let stamp = Stamp::of(&file, path)?;
        // While it was being locked another may have come to its name.
        if !file::names(path, stamp.identity)? {
            return Err(stale());
        }
        if stamp.identity == expected.identity {
            if stamp.len < mapping.end() {
                mapping.lose(crate::guard::Loss::Truncated);
                self.check_loss()?;
            }
            if stamp != expected && !force {
                return Err(stale());
            }
        } else if !force || !self.is_described_by(&file, stamp.len) {
            return Err(stale());
        }
        Ok(Target { file, stamp })
    }

    /// Whether another file holds an array just like this one, in the same place.
    fn is_described_by(&self, file: &File, len: u64) -> bool {
        let header = self.header();
        let raw = if header.format() == Format::Raw { header.to_raw() } else { None };
        let request = Request {
            format: Some(header.format()),
            name: self.name().map(str::to_owned),
            raw,
            strict: false,
        };
        file::read_header(file, len, self.file_path(), &request).is_ok_and(|found| found == *header)
    }

    /// Writes the elements that have bytes in `parts` over those of the file.
    fn write_in_place(&self, target: &Target, elements: &Elements, parts: &[Range<usize>]) -> Result<()> {
        let (path, mapping) = (self.file_path(), self.mapping());
        let Target { file, stamp } = target;
        let metadata = file.metadata().map_err(|error| Error::io("fstat", path, error))?;
        let reserved = if sys::is_sparse(&metadata) {
            // Before anything is written, so that a full disk changes nothing.
            elements.pieces(parts, &mut |piece| {
                let Range { start, end } = piece.bytes();
                let part = mapping.offset() + start as u64..mapping.offset() + end as u64;
                sys::reserve_part(file, part).map_err(|error| Error::io("fallocate", path, error))
            })
        } else {
            Ok(())
        };
        let written = reserved
            .and_then(|()| self.write_elements(file, elements, parts))
            .and_then(|()| sys::sync_data(file).map_err(|error| Error::io("fdatasync", path, error)));
        // It was us, also where it ended early: the next commit is not to take it for somebody else.
        let now = Stamp::of(file, path);
        written.and(now.map(|now| {
            if stamp.identity == now.identity && stamp.identity == mapping.stamp().identity {
                mapping.set_stamp(now);
            }
        }))
    }

    /// Writes the elements that have bytes in `parts` to their places in `file`.
    fn write_elements(&self, file: &File, elements: &Elements, parts: &[Range<usize>]) -> Result<()> {
        let (path, mapping) = (self.file_path(), self.mapping());
        let mut block = vec![0; elements.bytes.len().min(BLOCK)];
        elements.pieces(parts, &mut |piece| {
            for run in piece.runs() {
                for start in run.clone().step_by(BLOCK) {
                    let len = (run.end - start).min(BLOCK);
                    let Some(bytes) = block.get_mut(..len) else { break };
                    mapping.bring(&(start..start + len), Control::default())?;
                    mapping.load(start, bytes);
                    // Zeros in the place of a page that is gone must not get there.
                    self.check_loss()?;
                    sys::write_all_at(file, bytes, mapping.offset() + start as u64)
                        .map_err(|error| Error::io("write", path, error))?;
                }
            }
            Ok(())
        })
    }

    /// Puts a changed copy of the file in its place.
    fn replace(
        &self,
        target: Target,
        elements: &Elements,
        parts: &[Range<usize>],
        force: bool,
    ) -> Result<(File, Result<()>)> {
        let path = self.file_path();
        let failed = |syscall| move |error| Error::io(syscall, path, error);
        let Target { file, stamp } = target;
        let name = follow_links(path).map_err(failed("open"))?;
        fault::point("fstat").map_err(failed("fstat"))?;
        let metadata = file.metadata().map_err(failed("fstat"))?;
        let draft = Draft::begin(name, path, Some(&metadata))?;
        copy_contents(&file, draft.file(), metadata.len()).map_err(failed("copy"))?;
        self.write_elements(draft.file(), elements, parts)?;
        draft.sync()?;
        fault::point("stat").map_err(failed("stat"))?;
        let unchanged = force || Stamp::of(&file, path)? == stamp;
        if !unchanged || !file::names(path, stamp.identity)? {
            return Err(Error::Stale { path: path.to_path_buf() });
        }
        draft.replace(self.lock())
    }
}

impl BegunCommit {
    /// Writes what was stored to the elements of `layout`, in whole pages, to the file at the path, and syncs it; on any thread.
    ///
    /// After an error all pages are private as before, and the commit can be tried again. The file is as it was, except
    /// after one of `write` or `fdatasync` in place: then some elements may be new.
    ///
    /// # Errors
    /// [`Error::Stale`] where the path names another file or none, or somebody has written to the file, unless `force`;
    /// [`Error::Locked`] where somebody else has it locked; [`Error::MappingLost`]; [`Error::Io`], `ENOSPC` before anything
    /// is written; [`Error::OutOfRange`] if the layout reaches outside the array.
    pub fn write(self, layout: &Layout) -> Result<Commit> {
        let Self { array, options, pin } = self;
        let elements = Elements::new(&array, layout)?;
        let target = array.target(options.force)?;
        let parts = array.stored_parts(&elements)?;
        let done = if parts.is_empty() {
            Done::InPlace(parts)
        } else if options.atomic {
            let (file, synced) = array.replace(target, &elements, &parts, options.force)?;
            Done::Whole(file, synced)
        } else {
            array.write_in_place(&target, &elements, &parts)?;
            Done::InPlace(parts)
        };
        Ok(Commit { array, done, _pin: pin })
    }
}

impl Commit {
    /// Lets go of the private pages that hold what the file holds; after a whole commit the array goes on with the new file.
    ///
    /// For the thread that stores to the array: what another one stores at the same time may be lost. While others have
    /// the mapping, by a [`Lease`](crate::Lease) or [shared](crate::Mapping::share), no page is let go of.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::MappingLost`] where pages cannot be compared: they stay private; the commit is on the disk.
    /// After a whole one: [`Error::InvalidState`] where others have the mapping now, [`Error::TooLarge`] and [`Error::Io`]
    /// where the new file cannot be mapped, and the array stays with the old one; [`Error::Io`] with `fsync` where the
    /// new file is not known to outlast a power loss.
    pub fn finish(self) -> Result<()> {
        let Self { array, done, _pin } = self;
        let (mapping, path) = (array.mapping(), array.file_path());
        match done {
            Done::InPlace(parts) if mapping.is_alone() => mapping.settle(path, &parts),
            Done::InPlace(_) => Ok(()),
            Done::Whole(file, synced) => {
                if !mapping.is_alone() {
                    let reason = "the file has the changes, but the array's buffer was handed to somebody else \
                                  during the commit, and stays with the old file. Open the file again";
                    return Err(Error::invalid_state(path, reason));
                }
                mapping.go_on_with(file, path)?;
                synced
            }
        }
    }
}

/// Gives an empty file the contents of another of `len` bytes; holes stay holes.
fn copy_contents(from: &File, to: &File, len: u64) -> io::Result<()> {
    if sys::clone_contents(from, to)? {
        return Ok(());
    }
    sys::set_len(to, len)?;
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while let Some(data) = if at < len { sys::next_data(from, at, len)? } else { None } {
        at = data.start;
        while at < data.end {
            let size = usize::try_from(data.end - at).unwrap_or(BLOCK).min(BLOCK);
            let Some(bytes) = block.get_mut(..size) else { break };
            fault::point("read")?;
            sys::read_exact_at(from, bytes, at)?;
            sys::write_all_at(to, bytes, at)?;
            at += size as u64;
        }
    }
    Ok(())
}
