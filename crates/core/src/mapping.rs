//! A part of a file in memory, and its life.
//!
//! A [`Mapping`] is owned through an `Arc` by everything that may touch its bytes: the array, work under way, and
//! (in the Node.js binding) each buffer that JavaScript holds. The last owner unmaps. Nothing here, and nothing in
//! this crate's safe interface, makes a Rust reference to mapped bytes: another process may write a shared mapping at
//! any time, and the clean pages of a private one follow the file. Past 400 lines: what a mapping is on each system, how
//! it grows and ends, and what may be done with its pages meanwhile belong together, for they hold one lock.

pub(crate) mod copied;
mod overhang;
mod place;
pub(crate) mod private;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

#[cfg(not(windows))]
use memmap2::{MmapOptions, MmapRaw as Pages};

use crate::advice::Advice;
use crate::advice::scattered::Steering;
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::guard::{self, Loss, NO_FILE, Region, Registration};
use crate::mode::Mode;
use crate::sys;
#[cfg(windows)]
use crate::sys::View as Pages;
#[cfg(unix)]
use crate::sys::Zeros;
use copied::Copied;
pub use copied::write_back;
use overhang::Overhang;
use place::Place;

/// A mapped byte range of a file, unmapped when dropped.
///
/// # Safety
/// What every unsafe block about a mapping rests on:
/// 1. `as_ptr()..as_ptr() + len()` is mapped and may be read for as long as the `Mapping` lives. It may be written as well: a
///    private mapping is writable whatever the file's permissions, and one that the system would only map for reading
///    ([`Mode::ReadOnly`] where memory is promised strictly) is made so page by page by the guard.
/// 2. The array's part of the range lay inside the file when it was mapped, or when the array grew. Behind it may follow
///    addresses kept for more of that, which the file does not have yet. A page that the file has not, or not any more, is
///    replaced by zeros when it is touched: see [`guard`]. Not protected: with the guard disabled such an access ends the process.
///    After [`Mapping::retire`] the range holds zero pages of its own (on Windows the guard brings them when they are
///    touched), and the file is out of reach.
/// 3. The bytes may change at any time. They are read and written through raw pointers only, and every bit pattern
///    must be acceptable to the reader.
#[derive(Debug)]
pub struct Mapping {
    /// `None` for an empty range: there is nothing to map. Dropped before the backing: a file that is mapped may not be
    /// made shorter.
    region: Option<Place>,
    backing: Mutex<Backing>,
    /// Bytes of the array, and those kept behind it.
    len: usize,
    /// Byte of the file where the range starts.
    offset: u64,
    /// Bytes of the array, as far as known here: the file is no shorter.
    live: AtomicUsize,
    /// Whether somebody is at work on the length of the file.
    growing: AtomicBool,
    /// Whether the file may have a length that is not on the disk yet.
    grown: AtomicBool,
    users: Mutex<Users>,
    mode: Mode,
    /// Whether somebody has been told of a loss.
    told: AtomicBool,
    /// Whether others than the holders of leases may store to it.
    shared: AtomicBool,
    /// What the system was told of its pages.
    pub(crate) steering: Steering,
    /// Whether the file may be mapped.
    map: bool,
    /// How its bytes come here and go back, where the file is not mapped.
    copied: Option<Copied>,
}

/// What part of a file is to be mapped, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Byte of the file where the array starts.
    pub(crate) offset: u64,
    /// Bytes of the array.
    pub(crate) len: u64,
    /// Bytes of addresses to keep behind it, or fewer where there are not so many.
    pub(crate) reserve: u64,
    pub(crate) mode: Mode,
    /// Whether the file may be mapped; otherwise it is [copied](copied).
    pub(crate) map: bool,
}

/// What was mapped.
struct Mapped {
    pages: Place,
    len: usize,
    /// Whether its pages may only be read until the guard makes them private.
    read_only: bool,
    /// The temporary file in the place of one that is not mapped.
    scratch: Option<File>,
}

static DISABLED: AtomicBool = AtomicBool::new(false);

/// Maps no file from now on: arrays are read and written as with [`OpenOptions::map`](crate::OpenOptions::map) `false`.
///
/// Mappings that exist already stay.
pub fn disable() {
    DISABLED.store(true, Ordering::Relaxed);
}

/// Who has the mapping, and for what.
#[derive(Debug)]
struct Users {
    /// How many leases there are; `None` after the last one has ended.
    leases: Option<usize>,
    /// How much work is under way that the file's pages have to stay for.
    pins: usize,
    commit: Option<Committing>,
    /// Whether the last lease was dropped, and not ended: then lent pages may be gone, or somebody else's.
    dropped: bool,
}

/// A commit that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committing {
    /// To the file that is mapped, while others may use the mapping.
    InPlace,
    /// To a new file, which is to be mapped in its place: nobody else may come in.
    Whole,
}

/// Why somebody cannot be a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The last lease has ended.
    Closed,
    /// A commit is under way.
    Committing,
    /// There is more than one lease, or there may be users without.
    Shared,
}

#[derive(Debug)]
struct Backing {
    /// `None` after `retire`.
    file: Option<Arc<File>>,
    /// `None` for an empty range, without the guard, and after `retire` where zero pages need no guard.
    guarded: Option<Registration>,
    /// What was lost before `retire`.
    lost: Option<Loss>,
    stamp: Stamp,
    /// Held while the file's lock is: the last holder, among mappings of one open file, is to give it back.
    lock: Option<Arc<()>>,
    /// What is to be cut off the file by the last of its mappings; `None` after `retire`, and where nothing changes its length.
    overhang: Option<Arc<Overhang>>,
    /// A sync of the open file that has failed, of whichever mapping: the system says it once.
    unsynced: Arc<OnceLock<Loss>>,
}

impl Mapping {
    /// Maps what is `wanted` of `file`, which is `locked` or not. Where its file system maps none it is read and written.
    ///
    /// The caller has checked that the file holds the array.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than this process can address, [`Error::Io`] when the system refuses.
    pub(crate) fn new(file: File, locked: bool, wanted: Wanted, path: &Path) -> Result<Self> {
        let stamp = Stamp::of(&file, path)?;
        let lock = locked.then(Arc::default);
        let file = Arc::new(file);
        // Only such a mapping changes the length of its file; others may get another file.
        let overhang = (wanted.mode == Mode::ReadWrite).then(|| Overhang::new(&file));
        let unsynced = Arc::default();
        let backing =
            Backing { file: Some(file), guarded: None, lost: None, stamp, lock, overhang, unsynced };
        Self::own(backing, wanted, path)
    }

    /// Another mapping of the same open file, with the lock that it holds, for an array of `len` bytes and addresses for
    /// `reserve` behind it.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`retire`](Self::retire), and those of [`new`](Self::new).
    pub(crate) fn extended(&self, len: u64, reserve: u64, path: &Path) -> Result<Self> {
        let (offset, mode, map) = (self.offset, self.mode, self.map);
        Self::own(self.once_more(path)?, Wanted { offset, len, reserve, mode, map }, path)
    }

    /// What another mapping of the same open file begins with.
    fn once_more(&self, path: &Path) -> Result<Backing> {
        let backing = self.backing();
        match backing.file.clone() {
            Some(file) => {
                let (stamp, lock, overhang) = (backing.stamp, backing.lock.clone(), backing.overhang.clone());
                let unsynced = Arc::clone(&backing.unsynced);
                Ok(Backing { file: Some(file), guarded: None, lost: None, stamp, lock, overhang, unsynced })
            }
            None => Err(Error::Closed { path: path.to_path_buf() }),
        }
    }

    /// Maps at addresses of its own.
    fn own(backing: Backing, wanted: Wanted, path: &Path) -> Result<Self> {
        let Wanted { offset, len, reserve, mode, map: may_map } = wanted;
        let Some(live) = usize::try_from(len).ok().filter(|&len| isize::try_from(len).is_ok()) else {
            return Err(Error::too_large(format!(
                "the array has {len} bytes; this process can address {}. Use a 64-bit build",
                isize::MAX
            ))
            .at(path));
        };
        let all = size_with_reserve(live, reserve);
        Self::with(backing, wanted, (live, all), path, |file| {
            let mut len = all;
            while may_map && !DISABLED.load(Ordering::Relaxed) {
                match map(file, offset, len, mode) {
                    Err(error) if len > live && is_out_of_memory(&error) => {
                        len = live + (len - live) / 2;
                        if len - live < LEAST_RESERVE {
                            len = live;
                        }
                    }
                    Err(error) if copied::is_refusal(&error) => break,
                    Err(error) => return Err(Error::io("mmap", path, error)),
                    Ok((pages, read_only)) => {
                        return Ok(Mapped { pages: Place::Own(pages), len, read_only, scratch: None });
                    }
                }
            }
            // A temporary file has its own limit: what was only to be kept ahead is no reason to fail.
            let (len, (scratch, pages)) = match copied::scratch(len) {
                Err(_) if len > live && live > 0 => (live, copied::scratch(live)?),
                made => (len, made?),
            };
            Ok(Mapped { pages: Place::Own(pages), len, read_only: false, scratch: Some(scratch) })
        })
    }

    /// Maps an array of `live` bytes as `map` does, where there is anything to map: `all` bytes, or fewer.
    fn with(
        mut backing: Backing,
        wanted: Wanted,
        (live, all): (usize, usize),
        path: &Path,
        map: impl FnOnce(&File) -> Result<Mapped>,
    ) -> Result<Self> {
        let Wanted { offset, mode, map: may_map, .. } = wanted;
        let (mut region, mut len, mut copied) = (None, 0, None);
        if let Some(file) = backing.file.as_ref().filter(|_| all > 0) {
            let Mapped { pages, len: mapped, read_only, scratch } = map(file)?;
            if guard::is_enabled() {
                let guarded = match &scratch {
                    Some(scratch) => guarded(&pages, mapped, scratch, 0, Mode::ReadWrite, false),
                    None => guarded(&pages, mapped, file, offset, mode, read_only),
                };
                let before = pages.as_mut_ptr().addr() - guarded.start;
                let guarded =
                    Registration::new(guarded).map_err(|error| Error::io("sigaction", path, error))?;
                guarded.set_live(before + live);
                backing.guarded = Some(guarded);
            }
            (region, len) = (Some(pages), mapped);
            copied = scratch.map(|scratch| Copied::new(scratch, path));
        }
        Ok(Self {
            backing: Mutex::new(backing),
            region,
            len,
            offset,
            live: AtomicUsize::new(live),
            growing: AtomicBool::new(false),
            grown: AtomicBool::new(false),
            users: Mutex::new(Users { leases: Some(0), pins: 0, commit: None, dropped: false }),
            mode,
            told: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            steering: Steering::default(),
            map: may_map,
            copied,
        })
    }

    /// Whether the caller may work on the length of the file: nobody else who shares this mapping does, until `release`.
    pub(crate) fn claim(&self) -> bool {
        !self.growing.swap(true, Ordering::Acquire)
    }

    /// A copy of the `len` bytes of the file before the range, if they are all of those and in a page that is mapped.
    pub(crate) fn header_before(&self, len: usize) -> Option<Vec<u8>> {
        let first = self.region.as_ref()?.as_mut_ptr();
        if len == 0 || self.offset != len as u64 || self.before() < len {
            return None;
        }
        let mut copy = Vec::with_capacity(len);
        // SAFETY:
        // - what is mapped are whole pages, and `len` bytes of the first one lie before the range.
        let start = unsafe { first.sub(len) };
        // SAFETY:
        // - they are mapped and readable (fact 1 of `Mapping`, which holds for whole pages); a lost page is the guard's.
        // - `copy` is new memory with room for them, so the two do not overlap.
        // - not protected: with another writer at work the bytes may be a mixture of old and new.
        unsafe { std::ptr::copy_nonoverlapping(start, copy.as_mut_ptr(), len) };
        // SAFETY:
        // - the copy above has written `len` bytes, and every byte is a value.
        unsafe { copy.set_len(len) };
        Some(copy)
    }

    /// Ends what `claim` has begun.
    pub(crate) fn release(&self) {
        self.growing.store(false, Ordering::Release);
    }

    /// The array has `len` bytes now, and the file at least as many.
    pub(crate) fn set_live(&self, len: u64) {
        // No more than is mapped: there is another mapping for the rest.
        let live = usize::try_from(len).unwrap_or(usize::MAX).min(self.len);
        let before = self.live.swap(live, Ordering::AcqRel);
        if let Some(copied) = &self.copied {
            copied.set_live(before, live);
        }
        self.grown.store(true, Ordering::Release);
        if let (Some(region), Some(guarded)) = (&self.region, &self.backing().guarded) {
            guarded.set_live((region.as_mut_ptr().addr() & (sys::page_size() - 1)) + live);
        }
    }

    /// Puts the file's pages back behind the array, where somebody has touched them before the file had them.
    ///
    /// # Errors
    /// What the system said; then a later call tries again.
    #[cfg(unix)]
    pub(crate) fn restore(&self) -> io::Result<()> {
        let backing = self.backing();
        let (Some(region), Some(file), Some(guarded)) = (&self.region, &backing.file, &backing.guarded)
        else {
            return Ok(());
        };
        if self.is_copied() || !guarded.take_strayed() {
            return Ok(());
        }
        let page = sys::page_size();
        let first = region.as_mut_ptr();
        let from = (first.addr() + self.live()).next_multiple_of(page);
        let end = (first.addr() + self.len).next_multiple_of(page);
        if from >= end {
            return Ok(());
        }
        // What is before the range in memory is so in the file, so this is a page of it.
        let offset = self.offset.saturating_add((from - first.addr()) as u64);
        let access = match self.mode {
            Mode::ReadWrite => sys::Access::Write,
            _ if guarded.is_read_only() => sys::Access::Read,
            _ => sys::Access::Copy,
        };
        let mapped = crate::fault::point("mmap").and_then(|()| {
            // SAFETY:
            // - whole pages of the mapping that `region` owns, behind the array.
            // - nobody has a reference to them (fact 3 of `Mapping`).
            unsafe { sys::map_over(first.with_addr(from), end - from, file, offset, access) }
        });
        mapped.inspect_err(|_| guarded.stray())
    }

    /// No mapping goes on past the end of its file here.
    #[cfg(windows)]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signature on every system")]
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(())
    }

    fn backing(&self) -> MutexGuard<'_, Backing> {
        // Each change to it is a single assignment, so no panic leaves it half made.
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first byte; dangling and aligned to 64 for an empty mapping.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.region.as_ref().map_or(std::ptr::without_provenance_mut(64), Place::as_mut_ptr)
    }

    /// Length in bytes: of the array, and of what is kept behind it for growth.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Length of the array in bytes.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Whether the range has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was lost of the file, if anything was: from then on some of the bytes are zeros that are not the file's.
    #[must_use]
    pub fn lost(&self) -> Option<Loss> {
        let backing = self.backing();
        let lost = backing.guarded.as_ref().map_or(backing.lost, Registration::lost);
        lost.or(backing.unsynced.get().copied())
    }

    /// Notes a loss that was found without a fault.
    pub(crate) fn lose(&self, loss: Loss) {
        let mut backing = self.backing();
        match &backing.guarded {
            Some(guarded) => guarded.lose(loss),
            None => backing.lost = backing.lost.or(Some(loss)),
        }
    }

    /// Fails if something was lost. Whoever asks is told, and [`report`](Self::report) is then silent.
    ///
    /// # Errors
    /// [`Error::MappingLost`].
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let Some(reason) = self.lost() else {
            return Ok(());
        };
        self.told.store(true, Ordering::Relaxed);
        Err(Error::MappingLost { path: path.to_path_buf(), reason })
    }

    /// As `check`, but once: for whoever lets go of the array, if nobody has been told before.
    ///
    /// # Errors
    /// [`Error::MappingLost`].
    pub(crate) fn report(&self, path: &Path) -> Result<()> {
        if self.told.load(Ordering::Relaxed) { Ok(()) } else { self.check(path) }
    }

    /// Brings stores to ranges of whole pages to the disk, in bytes from the start of the first page on; nothing to do for a
    /// private mapping.
    ///
    /// # Errors
    /// What the system said; on Linux what was stored is then [lost](Self::lost).
    pub(crate) fn flush(&self, ranges: impl Iterator<Item = Range<usize>>) -> io::Result<()> {
        let Some(file) = self.sync_pages(ranges).inspect_err(|error| self.lose_unsynced(error))? else {
            return Ok(());
        };
        // The system calls it a success, too, when the file has become shorter than what was stored.
        if file.metadata()?.len() < self.end() {
            self.lose(Loss::Truncated);
        }
        Ok(())
    }

    /// Notes that a sync of the file has failed, which may have been of more than the caller has written.
    pub(crate) fn sync_failed(&self, error: &io::Error) {
        if self.copied.as_ref().is_none_or(Copied::has_unsynced) {
            self.lose_unsynced(error);
        }
    }

    /// Notes that a sync has failed. Linux forgets what it could not write: the next sync would find nothing to do, and succeed.
    fn lose_unsynced(&self, error: &io::Error) {
        let is_of_the_call = matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory);
        if cfg!(any(target_os = "linux", target_os = "android")) && !is_of_the_call {
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            // One that failed before is as good.
            let _ = self.backing().unsynced.set(if is_full { Loss::NoSpace } else { Loss::Io });
            // By the error itself.
            self.told.store(true, Ordering::Relaxed);
        }
    }

    /// The file, where there is one that is stored to.
    fn sync_pages(&self, ranges: impl Iterator<Item = Range<usize>>) -> io::Result<Option<Arc<File>>> {
        // Held for the call, so that a `retire` meanwhile does not close it.
        let file = self.backing().file.clone();
        let Some(file) = file.filter(|_| self.mode == Mode::ReadWrite) else {
            return Ok(None);
        };
        let (before, live) = (self.before(), self.live());
        for range in ranges {
            let Some(region) = &self.region else { break };
            let (start, end) =
                (range.start.saturating_sub(before), range.end.saturating_sub(before).min(live));
            match region.flush_range(start, end.saturating_sub(start)) {
                // A view that was taken down meanwhile has left its stores to the file, which is synced below.
                Err(_) if cfg!(windows) && self.backing().file.is_none() => {}
                done => done?,
            }
        }
        // On Linux msync is an fdatasync of the range; one of the file would write what other views have stored. A new
        // length is in the header, and in no range.
        let grown = self.grown.swap(false, Ordering::AcqRel);
        if grown || !cfg!(any(target_os = "linux", target_os = "android")) {
            sys::sync_data(&file).inspect_err(|_| self.grown.store(grown, Ordering::Release))?;
        }
        Ok(Some(file))
    }

    /// Bytes of the first page that are before the range.
    #[must_use]
    pub fn before(&self) -> usize {
        self.as_ptr().addr() % sys::page_size()
    }

    /// The address of a byte that is counted from the start of the first page on.
    fn page_at(&self, byte: usize) -> *mut u8 {
        self.as_ptr().wrapping_sub(self.before()).wrapping_add(byte)
    }

    /// Tells the system what is to come for some pages, in bytes from the start of the first page on: whole pages of the
    /// mapping. What was stored to them stays.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn advise(&self, pages: Range<usize>, advice: Advice) -> io::Result<()> {
        let file = self.backing().file.clone();
        // Zero pages in the file's place are private, whatever was mapped.
        let shared = self.mode == Mode::ReadWrite && file.is_some();
        // SAFETY:
        // - pages of this mapping, which is there for as long as `self`.
        // - shared ones are the file's; of what has taken the place of lost ones nothing is worth keeping.
        unsafe { sys::advise(self.page_at(pages.start), pages.len(), advice, shared) }?;
        if let (Some(file), Advice::DontNeed) = (file, advice) {
            let first = self.offset.saturating_sub(self.before() as u64);
            sys::forget(&file, first + pages.start as u64, pages.len());
        }
        Ok(())
    }

    /// Reads pages in, and waits for them; pages as in [`advise`](Self::advise).
    pub(crate) fn populate(&self, pages: Range<usize>) {
        let (start, page) = (self.page_at(pages.start), sys::page_size());
        // SAFETY:
        // - pages of this mapping, which is there for as long as `self`.
        if unsafe { sys::populate(start, pages.len()) } {
            return;
        }
        // Page by page: it is as well if the system knows what comes.
        let _ = self.advise(pages.clone(), Advice::WillNeed);
        for at in (0..pages.len()).step_by(page) {
            // SAFETY:
            // - a byte of a page of this mapping, which may be read (fact 1 of `Mapping`); one that the file has lost is
            //   replaced (fact 2).
            unsafe { start.wrapping_add(at).read_volatile() };
        }
    }

    /// How many pages are in memory; pages as in [`advise`](Self::advise).
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn resident(&self, pages: Range<usize>) -> io::Result<usize> {
        // SAFETY:
        // - pages of this mapping, which is there for as long as `self`.
        unsafe { sys::resident(self.page_at(pages.start), pages.len()) }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // Each change to it is whole before anything else is called.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more lease.
    ///
    /// # Errors
    /// [`Refusal::Closed`] after the last one has ended, [`Refusal::Committing`] while a new file is taking this one's
    /// place.
    pub(crate) fn enter(&self) -> Result<(), Refusal> {
        let mut users = self.users();
        if users.commit == Some(Committing::Whole) {
            return Err(Refusal::Committing);
        }
        users.leases = users.leases.and_then(|leases| leases.checked_add(1));
        users.leases.map(drop).ok_or(Refusal::Closed)
    }

    /// Counts one lease less; the last one retires the mapping, now or when no work is under way any more. `dropped` leases
    /// do not say that lent pages are still there.
    ///
    /// # Errors
    /// Those of [`retire`](Self::retire).
    pub(crate) fn leave(&self, dropped: bool) -> io::Result<()> {
        let mut users = self.users();
        users.leases = users.leases.and_then(|leases| leases.checked_sub(1)).filter(|&leases| leases > 0);
        users.dropped |= dropped && users.leases.is_none();
        self.retire_without(&users)
    }

    /// Keeps the file's pages until [`unpin`](Self::unpin), whoever leaves meanwhile; `commit` says that it is for one.
    ///
    /// # Errors
    /// [`Refusal`]: one commit at a time, and a whole one only for whoever has the mapping alone.
    pub(crate) fn pin(&self, commit: Option<Committing>) -> Result<(), Refusal> {
        let mut users = self.users();
        let leases = users.leases.ok_or(Refusal::Closed)?;
        if commit.is_some() && users.commit.is_some() {
            return Err(Refusal::Committing);
        }
        if commit == Some(Committing::Whole) && (leases > 1 || self.shared.load(Ordering::Relaxed)) {
            return Err(Refusal::Shared);
        }
        users.commit = users.commit.or(commit);
        users.pins += 1;
        Ok(())
    }

    /// Ends what [`pin`](Self::pin) began.
    ///
    /// # Errors
    /// Those of [`retire`](Self::retire).
    pub(crate) fn unpin(&self, commit: bool) -> io::Result<()> {
        let mut users = self.users();
        users.pins = users.pins.saturating_sub(1);
        users.commit = users.commit.filter(|_| !commit);
        self.retire_without(&users)
    }

    /// Whether a commit is under way.
    pub(crate) fn is_committing(&self) -> bool {
        self.users().commit.is_some()
    }

    /// Says that others than the holders of leases may store to the mapping from now on, at any time: pages with their
    /// stores must not be dropped.
    pub fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// Whether nobody but the caller can store to the mapping.
    pub(crate) fn is_alone(&self) -> bool {
        self.users().leases.is_none_or(|leases| leases <= 1) && !self.shared.load(Ordering::Relaxed)
    }

    fn retire_without(&self, users: &Users) -> io::Result<()> {
        if users.leases.is_some() || users.pins > 0 {
            return Ok(());
        }
        match self.let_go(!users.dropped) {
            // No zero pages are to be had here (Windows, without the guard): the file stays mapped until its holders are gone.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    }

    /// Lets go of the file and its lock while the addresses stay taken: zero pages take the place of the file's.
    ///
    /// For an owner who is done with the file while somebody may still hold a pointer. What was stored to a shared
    /// mapping is in the file; later stores go nowhere.
    ///
    /// # Errors
    /// What the system said; then the file's pages are still there. The lock is given back all the same.
    pub fn retire(&self) -> io::Result<()> {
        self.let_go(true)
    }

    /// As `retire`; lent pages are left alone unless they are known to be `there`.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "no pages are lent here"))]
    fn let_go(&self, there: bool) -> io::Result<()> {
        let written = self.write_back().map_err(|error| match error {
            Error::Io { source, .. } => source,
            error => io::Error::other(error),
        });
        let mut backing = self.backing();
        let Some(file) = backing.file.clone() else {
            return Ok(());
        };
        let replaced = match &self.region {
            Some(Place::Own(pages)) => self.blank(pages, &mut backing),
            #[cfg(unix)]
            Some(Place::Lent(lent)) => {
                let replaced = if there { self.blank_lent(lent) } else { Ok(()) };
                backing.lost = backing.guarded.take().as_ref().and_then(Registration::lost);
                replaced
            }
            None => Ok(()),
        };
        let overhang = backing.overhang.take_if(|_| replaced.is_ok()).and_then(Arc::into_inner);
        let cut = overhang.map_or(Ok(()), |overhang| overhang.cut());
        // Closing the file would do it, but not while a flush holds it, or a duplicate of its handle (Windows).
        let last = backing.lock.take().and_then(Arc::into_inner);
        let unlocked = last.map_or(Ok(()), |()| sys::release(&file));
        replaced?;
        backing.file = None;
        if let Some(copied) = &self.copied {
            copied.end();
        }
        written.and(cut).and(unlocked)
    }

    #[cfg(unix)]
    fn blank(&self, region: &Pages, backing: &mut Backing) -> io::Result<()> {
        let start = region.as_mut_ptr();
        // Pages that were too many to be writable are so as zeros, too.
        let strict = backing.guarded.as_ref().is_some_and(Registration::is_read_only);
        let zeros = if strict { Zeros::ReadOnly } else { Zeros::Writable };
        // SAFETY:
        // - the range is the mapping that `region` owns, and stays owned by it: only its pages change.
        // - nobody has a reference to it (fact 3 of `Mapping`).
        let replaced = unsafe { sys::replace_with_zeros(start, self.len, zeros) };
        match (replaced, &backing.guarded) {
            (Ok(()), Some(guarded)) if strict => {
                guarded.forget_file()?;
            }
            (Err(error), Some(guarded)) if is_out_of_memory(&error) => {
                guarded.forget_file()?;
                // SAFETY:
                // - as above.
                unsafe { sys::replace_with_zeros(start, self.len, Zeros::ReadOnly) }?;
            }
            (replaced, _) => {
                replaced?;
                backing.lost = backing.guarded.take().as_ref().and_then(Registration::lost);
            }
        }
        Ok(())
    }

    /// Takes the view down and keeps its addresses; the guard makes zero pages of them where they are touched.
    #[cfg(windows)]
    fn blank(&self, region: &Pages, backing: &mut Backing) -> io::Result<()> {
        let Some(guarded) = &backing.guarded else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (start, len) = pages_of(region.as_mut_ptr(), self.len);
        // Otherwise the guard has done it.
        if guarded.forget_file()? {
            // SAFETY:
            // - the view is the one that `region` owns, from its first address on; only the one who has taken the file
            //   from the guard gets here.
            // - nobody has a reference to it (fact 3 of `Mapping`), and the guard deals with who touches it.
            if let Err(error) = unsafe { sys::reserve_view(start, len) } {
                region.give_up();
                backing.lost = backing.guarded.take().as_ref().and_then(Registration::lost);
                (backing.file, backing.overhang) = (None, None);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // For whoever took no lease.
        copied::say(self.write_back());
        // A guard must not outlive the addresses it looks after.
        self.backing.get_mut().unwrap_or_else(PoisonError::into_inner).guarded = None;
    }
}

/// The first address of the pages that hold a mapped range, and their length in bytes.
fn pages_of(first: *mut u8, len: usize) -> (*mut u8, usize) {
    let unit = sys::granularity();
    let start = first.map_addr(|address| address & !(unit - 1));
    (start, (first.addr() + len).next_multiple_of(sys::page_size()) - start.addr())
}

/// Reserves smaller than this are not worth another try.
const LEAST_RESERVE: usize = 1 << 20;

/// Bytes to map for an array of `live`, where `reserve` more are wanted.
fn size_with_reserve(live: usize, reserve: u64) -> usize {
    let reserve = usize::try_from(reserve).unwrap_or(usize::MAX).min(isize::MAX.cast_unsigned());
    // A range that ends where addresses end is refused by the system, not by arithmetic.
    let most = isize::MAX.cast_unsigned() & !(sys::page_size() - 1);
    if sys::MAPS_PAST_END { live.saturating_add(reserve).min(most.max(live)) } else { live }
}

/// What the guard must know of the pages that hold a mapped range.
fn guarded(pages: &Place, len: usize, file: &File, offset: u64, mode: Mode, read_only: bool) -> Region {
    let first = pages.as_mut_ptr();
    let (start, pages_len) = pages_of(first, len);
    Region {
        start: start.expose_provenance(),
        len: pages_len,
        file: sys::raw_file(file).unwrap_or(NO_FILE),
        // The file is mapped from a multiple of the granularity on, so what is before the range in memory is so in the file.
        offset: offset.saturating_sub((first.addr() - start.addr()) as u64),
        shared: mode == Mode::ReadWrite,
        read_only,
    }
}

/// Maps a range, and says whether it may only be read until the guard makes pages of it private.
fn map(file: &File, offset: u64, len: usize, mode: Mode) -> io::Result<(Pages, bool)> {
    if mode == Mode::ReadWrite {
        return Ok((map_shared(file, offset, len)?, false));
    }
    match map_private(file, offset, len) {
        // Where memory is promised strictly, the system counts every page that might be stored to.
        Err(error) if mode == Mode::ReadOnly && guard::can_make_private() && is_out_of_memory(&error) => {
            map_read_only(file, offset, len).map(|pages| (pages, true)).or(Err(error))
        }
        pages => Ok((pages?, false)),
    }
}

#[cfg(not(windows))]
fn map_shared(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    MmapOptions::new().offset(offset).len(len).map_raw(file)
}

#[cfg(not(windows))]
fn map_private(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    let mut options = MmapOptions::new();
    // Pages that are never stored to need no swap; reserving it would refuse arrays larger than memory.
    options.offset(offset).len(len).no_reserve_swap();
    // SAFETY:
    // - memmap2 asks that the file is not changed while a slice of the mapping is in use: the mapping is turned
    //   into an MmapRaw at once, which hands out pointers only, and this crate makes no slice of it.
    // - the range was checked against the file's length by the caller (fact 2 of `Mapping`).
    Ok(unsafe { options.map_copy(file) }?.into())
}

/// Maps a range such that the guard can make its pages private one by one.
#[cfg(not(windows))]
fn map_read_only(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    let mut options = MmapOptions::new();
    options.offset(offset).len(len).no_reserve_swap();
    // SAFETY:
    // - as in `map_private`.
    Ok(unsafe { options.map_copy_read_only(file) }?.into())
}

#[cfg(windows)]
fn map_shared(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    Pages::new(file, offset, len, sys::Access::Write)
}

#[cfg(windows)]
fn map_private(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    Pages::new(file, offset, len, sys::Access::Copy)
}

/// Maps a range such that the guard can make its pages private one by one.
#[cfg(windows)]
fn map_read_only(file: &File, offset: u64, len: usize) -> io::Result<Pages> {
    let pages = Pages::new(file, offset, len, sys::Access::Read)?;
    // Tried now: where it is refused, opening fails and not a store that comes later.
    // SAFETY:
    // - the first page of the view, which nobody has seen yet.
    unsafe { sys::make_private(pages.as_mut_ptr()) }?;
    Ok(pages)
}

/// By its name, because the standard library does not know the commit limit of Windows as a lack of memory.
fn is_out_of_memory(error: &io::Error) -> bool {
    sys::error_name(error) == "ENOMEM"
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;

    /// The commit limit cannot be reached in a test, so its parts are tried: the error is known, and what is mapped then
    /// works.
    #[test]
    fn pages_that_may_only_be_read_become_private() {
        // ERROR_COMMITMENT_LIMIT.
        assert!(is_out_of_memory(&io::Error::from_raw_os_error(1455)));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes = vec![1; 1 << 17];
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        // Not where a view can start.
        let Ok(pages) = map_read_only(&file, 5000, 100_000) else {
            return println!("skipped: pages of a view cannot be made private here (Wine)");
        };
        let pages = Place::Own(pages);
        let guarded = Registration::new(guarded(&pages, 100_000, &file, 5000, Mode::ReadOnly, true)).unwrap();
        for at in [0, 1, 50_000, 99_999] {
            let byte = pages.as_mut_ptr().wrapping_add(at);
            // SAFETY:
            // - inside the mapping, which the guard makes writable.
            unsafe { byte.write_volatile(9) };
            // SAFETY:
            // - as above.
            assert_eq!(unsafe { byte.read_volatile() }, 9);
        }
        let untouched = pages.as_mut_ptr().wrapping_add(2);
        // SAFETY:
        // - as above.
        assert_eq!(unsafe { untouched.read_volatile() }, 1);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(guarded.lost(), None);
    }
}
