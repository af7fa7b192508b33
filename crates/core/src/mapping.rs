//! A part of a file in memory, and its life.
//!
//! A [`Mapping`] is owned through an `Arc` by everything that may touch its bytes: the array, work under way, and
//! (in the Node.js binding) each buffer that JavaScript holds. The last owner unmaps. Nothing here, and nothing in
//! this crate's safe interface, makes a Rust reference to mapped bytes: another process may write a shared mapping at
//! any time, and the clean pages of a private one follow the file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use crate::advice::Advice;
use crate::error::{Error, Result};
use crate::guard::{self, Loss, NO_FILE, Region, Registration};
use crate::mode::Mode;
use crate::sys::{self, Zeros};

/// A mapped byte range of a file, unmapped when dropped.
///
/// # Safety
/// What every unsafe block about a mapping rests on:
/// 1. `as_ptr()..as_ptr() + len()` is mapped and may be read for as long as the `Mapping` lives. It may be written as well: a
///    private mapping is writable whatever the file's permissions, and one that the system would only map for reading
///    ([`Mode::ReadOnly`] where memory is promised strictly) is made so page by page by the guard.
/// 2. The range lay inside the file when it was mapped. A page that the file has lost since is replaced by zeros when it
///    is touched: see [`guard`]. Not protected: with the guard disabled such an access ends the process.
///    After [`Mapping::retire`] the range holds zero pages of its own, and the file is out of reach.
/// 3. The bytes may change at any time. They are read and written through raw pointers only, and every bit pattern
///    must be acceptable to the reader.
#[derive(Debug)]
pub struct Mapping {
    /// Dropped before the region: a guard must not outlive the addresses it looks after.
    backing: Mutex<Backing>,
    /// `None` for an empty range: there is nothing to map.
    region: Option<MmapRaw>,
    len: usize,
    /// Byte of the file where the range ends.
    end: u64,
    /// How many leases there are; `None` after the last one has ended.
    users: Mutex<Option<usize>>,
    /// Whether the file's lock is to be given back.
    locked: bool,
    mode: Mode,
    /// Whether somebody has been told of a loss.
    told: AtomicBool,
}

#[derive(Debug)]
struct Backing {
    /// `None` after `retire`.
    file: Option<Arc<File>>,
    /// `None` for an empty range, without the guard, and after `retire`.
    guarded: Option<Registration>,
    /// What was lost before `retire`.
    lost: Option<Loss>,
}

impl Mapping {
    /// Maps `len` bytes of `file`, which is `locked` or not, from byte `offset` on.
    ///
    /// The caller has checked that the file holds them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than this process can address, [`Error::Io`] when the system refuses.
    pub(crate) fn new(
        file: File,
        locked: bool,
        offset: u64,
        len: u64,
        mode: Mode,
        path: &Path,
    ) -> Result<Self> {
        let Some(size) = usize::try_from(len).ok().filter(|&len| isize::try_from(len).is_ok()) else {
            return Err(Error::too_large(format!(
                "the array has {len} bytes; this process can address {}. Use a 64-bit build",
                isize::MAX
            ))
            .at(path));
        };
        let end = offset.saturating_add(len);
        let mut backing = Backing { file: None, guarded: None, lost: None };
        let mut region = None;
        if size > 0 {
            let (pages, read_only) =
                map(&file, offset, size, mode).map_err(|error| Error::io("mmap", path, error))?;
            if guard::is_enabled() {
                let place = place(&pages, size, &file, offset, mode, read_only);
                let guarded =
                    Registration::new(place).map_err(|error| Error::io("sigaction", path, error))?;
                backing.guarded = Some(guarded);
            }
            region = Some(pages);
        }
        backing.file = Some(Arc::new(file));
        let backing = Mutex::new(backing);
        let users = Mutex::new(Some(0));
        let told = AtomicBool::new(false);
        Ok(Self { backing, region, len: size, end, users, locked, mode, told })
    }

    fn backing(&self) -> MutexGuard<'_, Backing> {
        // Each change to it is a single assignment, so no panic leaves it half made.
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first byte; dangling and aligned to 64 for an empty mapping.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.region.as_ref().map_or(std::ptr::without_provenance_mut(64), MmapRaw::as_mut_ptr)
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
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
        backing.guarded.as_ref().map_or(backing.lost, Registration::lost)
    }

    /// Notes a loss that was found without a fault.
    fn lose(&self, loss: Loss) {
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
    /// What the system said.
    pub(crate) fn flush(&self, ranges: impl Iterator<Item = Range<usize>>) -> io::Result<()> {
        // Held for the call, so that a `retire` meanwhile does not close it.
        let file = self.backing().file.clone();
        let (Some(region), Some(file), Mode::ReadWrite) = (&self.region, file, self.mode) else {
            return Ok(());
        };
        let before = self.before();
        for range in ranges {
            let (start, end) =
                (range.start.saturating_sub(before), range.end.saturating_sub(before).min(self.len));
            region.flush_range(start, end.saturating_sub(start))?;
        }
        // On Linux msync is an fdatasync of the range; one of the file would write what other views have stored.
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            file.sync_data()?;
        }
        // The system calls it a success, too, when the file has become shorter than what was stored.
        if file.metadata()?.len() < self.end {
            self.lose(Loss::Truncated);
        }
        Ok(())
    }

    /// Bytes of the first page that are before the range.
    fn before(&self) -> usize {
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
            let first = (self.end - self.len as u64).saturating_sub(self.before() as u64);
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

    /// Counts one more lease; false after the last one has ended.
    pub(crate) fn enter(&self) -> bool {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users = users.and_then(|users| users.checked_add(1));
        users.is_some()
    }

    /// Counts one lease less; the last one retires the mapping.
    ///
    /// # Errors
    /// Those of [`retire`](Self::retire).
    pub(crate) fn leave(&self) -> io::Result<()> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users = users.and_then(|users| users.checked_sub(1)).filter(|&users| users > 0);
        if users.is_some() {
            return Ok(());
        }
        match self.retire() {
            // No zero pages are to be had here (Windows): the file stays mapped until its holders are gone.
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
        let mut backing = self.backing();
        let Some(file) = backing.file.clone() else {
            return Ok(());
        };
        let replaced = self.replace_with_zeros(&mut backing);
        // Closing the file would do it, but not while a flush holds it, or a duplicate of its handle (Windows).
        let unlocked = if self.locked { file.unlock() } else { Ok(()) };
        replaced?;
        backing.file = None;
        unlocked
    }

    fn replace_with_zeros(&self, backing: &mut Backing) -> io::Result<()> {
        let Some(region) = &self.region else {
            return Ok(());
        };
        let start = region.as_mut_ptr();
        // Pages that were too many to be writable are so as zeros, too.
        let strict = backing.guarded.as_ref().is_some_and(Registration::is_read_only);
        let zeros = if strict { Zeros::ReadOnly } else { Zeros::Writable };
        // SAFETY:
        // - the range is the mapping that `region` owns, and stays owned by it: only its pages change.
        // - nobody has a reference to it (fact 3 of `Mapping`).
        let replaced = unsafe { sys::replace_with_zeros(start, self.len, zeros) };
        match (replaced, &backing.guarded) {
            (Ok(()), Some(guarded)) if strict => guarded.forget_file(),
            (Err(error), Some(guarded)) if is_out_of_memory(&error) => {
                guarded.forget_file()?;
                // SAFETY:
                // - as above.
                unsafe { sys::replace_with_zeros(start, self.len, Zeros::ReadOnly) }
            }
            (replaced, _) => {
                replaced?;
                backing.lost = backing.guarded.take().as_ref().and_then(Registration::lost);
                Ok(())
            }
        }
    }
}

/// What the guard must know of the pages that hold a mapped range.
fn place(pages: &MmapRaw, len: usize, file: &File, offset: u64, mode: Mode, read_only: bool) -> Region {
    let page = sys::page_size();
    let (first, start) = (pages.as_ptr().addr(), pages.as_ptr().addr() & !(page - 1));
    Region {
        start,
        len: (first + len).next_multiple_of(page) - start,
        file: sys::raw_file(file).unwrap_or(NO_FILE),
        // The file is mapped from a page of it on, so what is before the range in memory is so in the file.
        offset: offset.saturating_sub((first - start) as u64),
        shared: mode == Mode::ReadWrite,
        read_only,
    }
}

/// Maps a range, and says whether it may only be read until the guard makes pages of it private.
fn map(file: &File, offset: u64, len: usize, mode: Mode) -> io::Result<(MmapRaw, bool)> {
    let mut options = MmapOptions::new();
    options.offset(offset).len(len);
    if mode == Mode::ReadWrite {
        return Ok((options.map_raw(file)?, false));
    }
    // Pages that are never stored to need no swap; reserving it would refuse arrays larger than memory.
    options.no_reserve_swap();
    // SAFETY:
    // - memmap2 asks that the file is not changed while a slice of the mapping is in use: the mapping is turned
    //   into an MmapRaw at once, which hands out pointers only, and this crate makes no slice of it.
    // - the range was checked against the file's length by the caller (fact 2 of `Mapping`).
    match unsafe { options.map_copy(file) } {
        // Where memory is promised strictly, the system counts every page that might be stored to.
        Err(error) if mode == Mode::ReadOnly && guard::can_make_private() && is_out_of_memory(&error) => {
            Ok((map_read_only(&options, file)?, true))
        }
        pages => Ok((pages?.into(), false)),
    }
}

/// Maps a range such that the guard can make its pages private one by one.
#[cfg(not(windows))]
fn map_read_only(options: &MmapOptions, file: &File) -> io::Result<MmapRaw> {
    // SAFETY:
    // - as in `map`.
    Ok(unsafe { options.map_copy_read_only(file) }?.into())
}

/// Maps a range such that the guard can make its pages private one by one: a copy-on-write view would be charged for whole.
#[cfg(windows)]
fn map_read_only(options: &MmapOptions, file: &File) -> io::Result<MmapRaw> {
    options.map_raw_read_only(file)
}

fn is_out_of_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
}
