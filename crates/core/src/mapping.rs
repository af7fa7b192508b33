//! A part of a file in memory, and its life.
//!
//! A [`Mapping`] is owned through an `Arc` by everything that may touch its bytes: the array, work under way, and
//! (in the Node.js binding) each buffer that JavaScript holds. The last owner unmaps. Nothing here, and nothing in
//! this crate's safe interface, makes a Rust reference to mapped bytes: another process may write a shared mapping at
//! any time, and the clean pages of a private one follow the file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{Error, Result};
use crate::mode::Mode;
use crate::sys;

/// A mapped byte range of a file, unmapped when dropped.
///
/// # Safety
/// What every unsafe block about a mapping rests on:
/// 1. `as_ptr()..as_ptr() + len()` is mapped readable and writable for as long as the `Mapping` lives. A private
///    mapping is writable whatever the file's permissions.
/// 2. The range lay inside the file when it was mapped. If the file is made shorter afterwards, touching the pages
///    behind its new end raises SIGBUS; nothing here protects against that.
///    After [`Mapping::retire`] the range holds zero pages of its own, and the file is out of reach.
/// 3. The bytes may change at any time. They are read and written through raw pointers only, and every bit pattern
///    must be acceptable to the reader.
#[derive(Debug)]
pub struct Mapping {
    /// `None` for an empty range: there is nothing to map.
    region: Option<MmapRaw>,
    len: usize,
    /// `None` after `retire`.
    file: Mutex<Option<Arc<File>>>,
    /// How many leases there are; `None` after the last one has ended.
    users: Mutex<Option<usize>>,
    /// Whether the file's lock is to be given back.
    locked: bool,
    mode: Mode,
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
        let Some(len) = usize::try_from(len).ok().filter(|&len| isize::try_from(len).is_ok()) else {
            return Err(Error::too_large(format!(
                "the array has {len} bytes; this process can address {}. Use a 64-bit build",
                isize::MAX
            ))
            .at(path));
        };
        let region = (len > 0)
            .then(|| map(&file, offset, len, mode))
            .transpose()
            .map_err(|error| Error::io("mmap", path, error))?;
        let users = Mutex::new(Some(0));
        Ok(Self { users, region, len, file: Mutex::new(Some(Arc::new(file))), locked, mode })
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

    /// Brings stores to `len` bytes from byte `offset` on to the disk; nothing to do for a private mapping.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn flush(&self, offset: usize, len: usize) -> io::Result<()> {
        // Held for the call, so that a `retire` meanwhile does not close it.
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (&self.region, file) {
            (Some(region), Some(file)) if self.mode == Mode::ReadWrite && len > 0 => {
                region.flush_range(offset, len)?;
                file.sync_data()
            }
            _ => Ok(()),
        }
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
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = file.as_deref() else {
            return Ok(());
        };
        let replaced = self.region.as_ref().map_or(Ok(()), |region| {
            // SAFETY:
            // - the range is the mapping that `region` owns, and stays owned by it: only its pages change.
            // - nobody has a reference to it (fact 3 of `Mapping`).
            unsafe { sys::replace_with_zeros(region.as_mut_ptr(), self.len) }
        });
        // Closing the file would do it, but not while a flush holds it, or a duplicate of its handle (Windows).
        let unlocked = if self.locked { open.unlock() } else { Ok(()) };
        replaced?;
        *file = None;
        unlocked
    }
}

fn map(file: &File, offset: u64, len: usize, mode: Mode) -> io::Result<MmapRaw> {
    let mut options = MmapOptions::new();
    options.offset(offset).len(len);
    match mode {
        Mode::ReadWrite => options.map_raw(file),
        Mode::ReadOnly | Mode::CopyOnWrite => {
            // Pages that are never stored to need no swap; reserving it would refuse arrays larger than memory.
            options.no_reserve_swap();
            // SAFETY:
            // - memmap2 asks that the file is not changed while a slice of the mapping is in use: the mapping is
            //   turned into an MmapRaw at once, which hands out pointers only, and this crate makes no slice of it.
            // - the range was checked against the file's length by the caller (fact 2 of `Mapping`).
            // - not protected: a later truncation by somebody else raises SIGBUS on access.
            let map = unsafe { options.map_copy(file) }?;
            Ok(map.into())
        }
    }
}
