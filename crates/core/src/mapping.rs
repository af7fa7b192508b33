//! A part of a file in memory, and its life.
//!
//! A [`Mapping`] is owned through an `Arc` by everything that may touch its bytes: the array, work under way, and
//! (in the Node.js binding) each buffer that JavaScript holds. The last owner unmaps. Nothing here, and nothing in
//! this crate's safe interface, makes a Rust reference to mapped bytes: another process may write a shared mapping at
//! any time, and the clean pages of a private one follow the file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{Error, Result};
use crate::guard::{self, Loss, NO_FILE, Region, Registration};
use crate::mode::Mode;
use crate::sys;
#[cfg(unix)]
use crate::sys::Zeros;

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
    backing: Mutex<Backing>,
    /// Never changed; atomic only because a pointer alone may not be used by several threads.
    first: AtomicPtr<u8>,
    len: usize,
    /// Byte of the file where the range ends.
    end: u64,
    mode: Mode,
    /// Whether somebody has been told of a loss.
    told: AtomicBool,
}

/// Dropped in this order: a guard must not outlive the addresses that it looks after.
#[derive(Debug)]
struct Backing {
    /// `None` for an empty range, without the guard, and after `retire` where zero pages need no guard.
    guarded: Option<Registration>,
    /// `None` for an empty range: there is nothing to map; on Windows also after `retire`.
    region: Option<Arc<MmapRaw>>,
    /// The addresses of a view that was taken down.
    #[cfg(windows)]
    reserved: Option<sys::Reserved>,
    /// `None` after `retire`.
    file: Option<Arc<File>>,
    /// What was lost before `retire`.
    lost: Option<Loss>,
}

impl Mapping {
    /// Maps `len` bytes of `file` from byte `offset` on.
    ///
    /// The caller has checked that the file holds them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than this process can address, [`Error::Io`] when the system refuses.
    pub(crate) fn new(file: File, offset: u64, len: u64, mode: Mode, path: &Path) -> Result<Self> {
        let Some(size) = usize::try_from(len).ok().filter(|&len| isize::try_from(len).is_ok()) else {
            return Err(Error::too_large(format!(
                "the array has {len} bytes; this process can address {}. Use a 64-bit build",
                isize::MAX
            ))
            .at(path));
        };
        let end = offset.saturating_add(len);
        let mut backing = Backing {
            guarded: None,
            region: None,
            #[cfg(windows)]
            reserved: None,
            file: None,
            lost: None,
        };
        let mut first = std::ptr::without_provenance_mut(64);
        if size > 0 {
            let (pages, read_only) =
                map(&file, offset, size, mode).map_err(|error| Error::io("mmap", path, error))?;
            if guard::is_enabled() {
                let place = place(&pages, size, &file, offset, mode, read_only);
                let guarded =
                    Registration::new(place).map_err(|error| Error::io("sigaction", path, error))?;
                backing.guarded = Some(guarded);
            }
            first = pages.as_mut_ptr();
            backing.region = Some(Arc::new(pages));
        }
        backing.file = Some(Arc::new(file));
        let (backing, first) = (Mutex::new(backing), AtomicPtr::new(first));
        Ok(Self { backing, first, len: size, end, mode, told: AtomicBool::new(false) })
    }

    fn backing(&self) -> MutexGuard<'_, Backing> {
        // Each change to it is a single assignment, so no panic leaves it half made.
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first byte; dangling and aligned to 64 for an empty mapping.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.first.load(Ordering::Relaxed)
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
        // Held for the call, so that a `retire` meanwhile does not close them.
        let (region, file) = {
            let backing = self.backing();
            (backing.region.clone(), backing.file.clone())
        };
        match (region, file) {
            (Some(region), Some(file)) if self.mode == Mode::ReadWrite && len > 0 => {
                match region.flush_range(offset, len) {
                    // A view that was taken down meanwhile has left its stores to the file, which is synced below.
                    Err(_) if cfg!(windows) && self.backing().file.is_none() => {}
                    done => done?,
                }
                file.sync_data()?;
                // The system calls it a success, too, when the file has become shorter than what was stored.
                if file.metadata()?.len() < self.end
                    && let Some(guarded) = &self.backing().guarded
                {
                    guarded.lose(Loss::Truncated);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Lets go of the file while the addresses stay taken: zero pages take the place of the file's.
    ///
    /// For an owner who is done with the file while somebody may still hold a pointer. What was stored to a shared
    /// mapping is in the file; later stores go nowhere.
    ///
    /// # Errors
    /// What the system said; then the file's pages are still there.
    pub fn retire(&self) -> io::Result<()> {
        let mut backing = self.backing();
        if backing.file.is_some() && !self.is_empty() {
            self.blank(&mut backing)?;
        }
        backing.file = None;
        Ok(())
    }

    #[cfg(unix)]
    fn blank(&self, backing: &mut Backing) -> io::Result<()> {
        let start = self.as_ptr();
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
    fn blank(&self, backing: &mut Backing) -> io::Result<()> {
        let Some(guarded) = &backing.guarded else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (start, len) = view(self.as_ptr(), self.len);
        if guarded.forget_file()? {
            // SAFETY:
            // - the view is the one that `region` owns, from its first address on; only the one who has taken the file
            //   from the guard gets here.
            // - nobody has a reference to it (fact 3 of `Mapping`), and the guard deals with who touches it.
            if let Err(error) = unsafe { sys::reserve_view(start, len) } {
                // The addresses are somebody else's now, and must neither be guarded nor unmapped.
                backing.lost = backing.guarded.take().as_ref().and_then(Registration::lost);
                std::mem::forget(backing.region.take());
                backing.file = None;
                return Err(error);
            }
        }
        self.keep_reserved(backing);
        // What it unmaps is no view any more, which is an error that it ignores; it closes its handle of the file.
        backing.region = None;
        Ok(())
    }

    /// Owns the addresses of a view that was taken down, here or by the guard.
    #[cfg(windows)]
    fn keep_reserved(&self, backing: &mut Backing) {
        let (start, _) = view(self.as_ptr(), self.len);
        // SAFETY:
        // - the region is blank, so its addresses were reserved; the process has ended where that failed in the guard.
        // - this is called once for each mapping: by `retire`, which is done then, or when it is dropped.
        backing.reserved.get_or_insert_with(|| unsafe { sys::Reserved::new(start) });
    }
}

#[cfg(windows)]
impl Drop for Mapping {
    fn drop(&mut self) {
        let mut backing = self.backing();
        if backing.guarded.as_ref().is_some_and(Registration::is_blank) {
            self.keep_reserved(&mut backing);
        }
    }
}

/// The first address of the pages that hold a mapped range, and their length in bytes.
fn view(first: *mut u8, len: usize) -> (*mut u8, usize) {
    let unit = sys::granularity();
    let start = first.map_addr(|address| address & !(unit - 1));
    (start, (first.addr() + len).next_multiple_of(sys::page_size()) - start.addr())
}

/// What the guard must know of the pages that hold a mapped range.
fn place(pages: &MmapRaw, len: usize, file: &File, offset: u64, mode: Mode, read_only: bool) -> Region {
    let first = pages.as_mut_ptr();
    let (start, view_len) = view(first, len);
    Region {
        start: start.expose_provenance(),
        len: view_len,
        file: sys::raw_file(file).unwrap_or(NO_FILE),
        // The file is mapped from a multiple of the granularity on, so what is before the range in memory is so in the file.
        offset: offset.saturating_sub((first.addr() - start.addr()) as u64),
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

/// By its name, because the standard library does not know the commit limit of Windows as a lack of memory.
fn is_out_of_memory(error: &io::Error) -> bool {
    sys::error_name(error) == "ENOMEM"
}
