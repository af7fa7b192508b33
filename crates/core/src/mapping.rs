//! A part of a file in memory, and its life.
//!
//! A [`Mapping`] is owned through an `Arc` by everything that may touch its bytes: the array, work under way, and
//! (in the Node.js binding) each buffer that JavaScript holds. The last owner unmaps. Nothing here, and nothing in
//! this crate's safe interface, makes a Rust reference to mapped bytes: another process may write a shared mapping at
//! any time, and the clean pages of a private one follow the file.
//!
//! Past 400 lines, because what changes the pages of a mapping (its end, its growth, the flush) is unsafe code that has to
//! stay in one place, with the facts that it rests on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

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
/// 2. The array's part of the range lay inside the file when it was mapped, or when the array grew. Behind it may follow
///    addresses kept for more of that, which the file does not have yet. A page that the file has not, or not any more, is
///    replaced by zeros when it is touched: see [`guard`]. Not protected: with the guard disabled such an access ends the process.
///    After [`Mapping::retire`] the range holds zero pages of its own, and the file is out of reach.
/// 3. The bytes may change at any time. They are read and written through raw pointers only, and every bit pattern
///    must be acceptable to the reader.
#[derive(Debug)]
pub struct Mapping {
    /// Dropped before the region: a guard must not outlive the addresses it looks after.
    backing: Mutex<Backing>,
    /// `None` for an empty range: there is nothing to map.
    region: Option<MmapRaw>,
    /// Bytes of the array, and those kept behind it.
    len: usize,
    /// Byte of the file where the range starts.
    offset: u64,
    /// Bytes of the array, as far as known here: the file is no shorter.
    live: AtomicUsize,
    /// Whether somebody is at work on the length of the file.
    growing: AtomicBool,
    /// How many leases there are; `None` after the last one has ended.
    users: Mutex<Option<usize>>,
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
    /// The file's lock, if it is to be given back.
    lock: Option<Arc<Held>>,
}

/// A lock that several mappings of one file hold together; the last to let go of it gives it back.
#[derive(Debug)]
struct Held(Arc<File>);

impl Mapping {
    /// Maps `len` bytes of `file`, which is `locked` or not, from byte `offset` on, and keeps addresses for `reserve` bytes
    /// behind them, or fewer where there are not so many.
    ///
    /// The caller has checked that the file holds the first `len`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than this process can address, [`Error::Io`] when the system refuses.
    pub(crate) fn new(
        file: File,
        locked: bool,
        offset: u64,
        len: u64,
        reserve: u64,
        mode: Mode,
        path: &Path,
    ) -> Result<Self> {
        let file = Arc::new(file);
        let lock = locked.then(|| Arc::new(Held(Arc::clone(&file))));
        Self::of(file, lock, offset, len, reserve, mode, path)
    }

    /// Maps the same file once more, for an array of `len` bytes and addresses for `reserve` behind it. A lock is held
    /// together.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`retire`](Self::retire), and those of [`new`](Self::new).
    pub(crate) fn again(&self, len: u64, reserve: u64, path: &Path) -> Result<Self> {
        let backing = self.backing();
        let closed = || Error::Closed { path: path.to_path_buf() };
        let (file, lock) = (backing.file.clone().ok_or_else(closed)?, backing.lock.clone());
        drop(backing);
        Self::of(file, lock, self.offset, len, reserve, self.mode, path)
    }

    fn of(
        file: Arc<File>,
        lock: Option<Arc<Held>>,
        offset: u64,
        len: u64,
        reserve: u64,
        mode: Mode,
        path: &Path,
    ) -> Result<Self> {
        let Some(live) = usize::try_from(len).ok().filter(|&len| isize::try_from(len).is_ok()) else {
            return Err(Error::too_large(format!(
                "the array has {len} bytes; this process can address {}. Use a 64-bit build",
                isize::MAX
            ))
            .at(path));
        };
        let mut backing = Backing { file: None, guarded: None, lost: None, lock };
        let mut region = None;
        let mut size = size_with_reserve(live, reserve);
        if size > 0 {
            let (pages, read_only) = loop {
                match map(&file, offset, size, mode) {
                    Err(error) if size > live && is_out_of_memory(&error) => {
                        size = live + (size - live) / 2;
                        if size - live < LEAST_RESERVE {
                            size = live;
                        }
                    }
                    done => break done.map_err(|error| Error::io("mmap", path, error))?,
                }
            };
            if guard::is_enabled() {
                let place = place(&pages, size, &file, offset, mode, read_only);
                let before = pages.as_ptr().addr() - place.start;
                let guarded =
                    Registration::new(place).map_err(|error| Error::io("sigaction", path, error))?;
                guarded.set_live(before + live);
                backing.guarded = Some(guarded);
            }
            region = Some(pages);
        }
        backing.file = Some(file);
        Ok(Self {
            backing: Mutex::new(backing),
            region,
            len: size,
            offset,
            live: AtomicUsize::new(live),
            growing: AtomicBool::new(false),
            users: Mutex::new(Some(0)),
            mode,
            told: AtomicBool::new(false),
        })
    }

    /// The file; `None` after [`retire`](Self::retire).
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.backing().file.clone()
    }

    /// Whether the caller may work on the length of the file: nobody else who shares this mapping does, until `release`.
    pub(crate) fn claim(&self) -> bool {
        !self.growing.swap(true, Ordering::Acquire)
    }

    /// A copy of the `len` bytes of the file before the range, if they are all of those and in a page that is mapped.
    pub(crate) fn before(&self, len: usize) -> Option<Vec<u8>> {
        let first = self.region.as_ref()?.as_ptr();
        let in_page = first.addr() & (sys::page_size() - 1);
        if len == 0 || self.offset != len as u64 || in_page < len {
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
        self.live.store(live, Ordering::Release);
        if let (Some(region), Some(guarded)) = (&self.region, &self.backing().guarded) {
            guarded.set_live((region.as_ptr().addr() & (sys::page_size() - 1)) + live);
        }
    }

    /// Puts the file's pages back behind the array, where somebody has touched them before the file had them.
    ///
    /// # Errors
    /// What the system said; then a later call tries again.
    pub(crate) fn restore(&self) -> io::Result<()> {
        let backing = self.backing();
        let (Some(region), Some(file), Some(guarded)) = (&self.region, &backing.file, &backing.guarded)
        else {
            return Ok(());
        };
        if !guarded.take_strayed() {
            return Ok(());
        }
        let page = sys::page_size();
        let first = region.as_mut_ptr();
        let from = (first.addr() + self.live.load(Ordering::Acquire)).next_multiple_of(page);
        let end = (first.addr() + self.len).next_multiple_of(page);
        if from >= end {
            return Ok(());
        }
        // What is before the range in memory is so in the file, so this is a page of it.
        let offset = self.offset.saturating_add((from - first.addr()) as u64);
        let (shared, read_only) = (self.mode == Mode::ReadWrite, guarded.is_read_only());
        // SAFETY:
        // - whole pages of the mapping that `region` owns, behind the array.
        // - nobody has a reference to them (fact 3 of `Mapping`).
        let mapped =
            unsafe { sys::map_again(first.with_addr(from), end - from, file, offset, shared, read_only) };
        mapped.inspect_err(|_| guarded.stray())
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

    /// Length in bytes: of the array, and of what is kept behind it for growth.
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

    /// Brings stores to `len` bytes from byte `offset` on to the disk; nothing to do for a private mapping.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn flush(&self, offset: usize, len: usize) -> io::Result<()> {
        // Held for the call, so that a `retire` meanwhile does not close it.
        let file = self.backing().file.clone();
        let Some(file) = file.filter(|_| self.mode == Mode::ReadWrite) else {
            return Ok(());
        };
        if let Some(region) = self.region.as_ref().filter(|_| len > 0) {
            region.flush_range(offset, len)?;
        }
        // Without elements as well: there may have been some, and the header says that there are none.
        file.sync_data()?;
        // The system calls it a success, too, when the file has become shorter than what was stored.
        if file.metadata()?.len() < self.offset.saturating_add(self.live.load(Ordering::Acquire) as u64) {
            self.lose(Loss::Truncated);
        }
        Ok(())
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
        drop(file);
        // Closing the file would do it, but not while a flush holds it, or a duplicate of its handle (Windows).
        let held = backing.lock.take().and_then(Arc::into_inner);
        let unlocked = held.map_or(Ok(()), |Held(file)| file.unlock());
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
