//! What an array has to do with others: whose file it is, who may have it as well, and who uses it.

use std::sync::Arc;

use super::{DynMmapArray, OpenOptions};
use crate::error::{Error, Result};
use crate::file::{self, Lock};
use crate::format::Format;
use crate::handle::{self, Handle};
use crate::header::Header;
use crate::lease::Lease;
use crate::mapping::{Mapping, Refusal};
#[cfg(unix)]
use crate::mode::Mode;

/// Why an array that was stored to cannot be had twice.
#[cfg(unix)]
const PRIVATE: &str = "mode 'c' keeps what was stored in memory of one thread where the backing is 'wasm', and no other thread can have \
     that. Commit it and open the path there, or open the array in mode 'r+'";

impl DynMmapArray {
    /// The lock that is held on the file.
    #[must_use]
    pub fn lock(&self) -> Option<Lock> {
        self.lock
    }

    /// Whether [`file_path`](Self::file_path) names another file than the one that is mapped, or none.
    ///
    /// The array works on all the same: it keeps the file that was opened. A relative path is looked up from the
    /// current folder.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to look.
    pub fn is_stale(&self) -> Result<bool> {
        Ok(!file::names(&self.path, self.mapping.stamp().identity)?)
    }

    /// What everything that changes the file by its name, or its length, has to ask first.
    ///
    /// # Errors
    /// [`Error::Stale`] where [`is_stale`](Self::is_stale) is true, and its errors.
    pub fn check_identity(&self) -> Result<()> {
        if self.is_stale()? { Err(Error::Stale { path: self.path.clone() }) } else { Ok(()) }
    }

    /// The array that a handle was made from, whose mapping is there still.
    pub(crate) fn found(handle: &Handle, header: Header, whole: bool, mapping: Arc<Mapping>) -> Self {
        let Handle { path, options, id, .. } = handle;
        let OpenOptions { mode, lock, name, .. } = options.clone();
        let (path, growable, earlier) = (path.clone(), None, Vec::new());
        Self { header, mapping, mode, path, lock, name, id: *id, whole, capacity: 0, growable, earlier }
    }

    /// The same array over memory of somebody else's, as a runtime needs it that lets JavaScript see no other: the file is
    /// mapped there once more, with the lock that this array holds.
    ///
    /// `pages` is the start of a page, and the first byte of the mapping is to be as far
    /// [after it](Mapping::before) as it is now; `room` bytes are enough for the array, and what is left of them is kept for its
    /// growth. Such an array ends with a lease that is
    /// [ended](Lease::end) while the memory is there, and then leaves zero pages in it; with a lease that is dropped it leaves the
    /// memory alone.
    ///
    /// # Errors
    /// [`Error::InvalidState`] in mode `c` while others have the mapping, whose private pages it cannot have; [`Error::Closed`];
    /// [`Error::Io`]; [`Error::OutOfRange`] where no page starts at `pages`; [`Error::Unavailable`] on Windows.
    ///
    /// # Safety
    /// `room` bytes from `pages` on are the caller's, whole pages of them, and nobody has a reference to them. They stay there while the new array, its clones and work on them are used, and
    /// until its last lease has ended.
    pub unsafe fn over(&self, pages: *mut u8, room: usize) -> Result<Self> {
        let path = self.file_path();
        #[cfg(not(unix))]
        {
            let _ = (pages, room);
            let reason = "this system maps no file over memory that is there. Use another backing".to_owned();
            Err(Error::Unavailable { path: path.to_path_buf(), reason })
        }
        #[cfg(unix)]
        {
            if !pages.addr().is_multiple_of(crate::sys::page_size()) {
                return Err(Error::OutOfRange { reason: format!("no page starts at {:#x}", pages.addr()) });
            }
            if room < self.mapping.before() + self.mapping.live() {
                return Err(Error::OutOfRange { reason: format!("{room} bytes have no room for the array") });
            }
            if self.is_copied() {
                let reason = "the file is not mapped, so that it cannot be over memory that is there. Use backing 'window'";
                return Err(Error::Unavailable { path: path.to_path_buf(), reason: reason.to_owned() });
            }
            self.check_alone()?;
            // SAFETY:
            // - as promised to this function.
            let mapping = Arc::new(unsafe { self.mapping.again(Some((pages, room)), path) }?);
            handle::publish_again(self.id, &mapping);
            Ok(Self { mapping, ..self.clone() })
        }
    }

    /// The same array for somebody else: over the same mapping, unless that is lent memory.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease), and those of `over` where it is lent.
    pub(crate) fn for_another(self) -> Result<(Self, Lease)> {
        let lease = self.lease()?;
        #[cfg(unix)]
        if self.mapping.is_lent() {
            if self.mode() == Mode::CopyOnWrite {
                return Err(Error::invalid_state(self.file_path(), PRIVATE));
            }
            // SAFETY:
            // - at addresses of its own there is nothing to promise.
            let mapping = unsafe { self.mapping.again(None, self.file_path()) }?;
            let array = Self { mapping: Arc::new(mapping), ..self };
            let lease = array.lease()?;
            handle::publish_again(array.id, &array.mapping);
            return Ok((array, lease));
        }
        Ok((self, lease))
    }

    /// Makes sure that nobody else's private pages would be missed in another mapping of the file.
    #[cfg(unix)]
    fn check_alone(&self) -> Result<()> {
        if self.mode() != Mode::CopyOnWrite || self.mapping.is_alone() {
            return Ok(());
        }
        Err(Error::invalid_state(self.file_path(), PRIVATE))
    }

    /// A name for this array that is plain data, for [`attach`](crate::attach) in another thread or process.
    #[must_use]
    pub fn to_handle(&self) -> Handle {
        let header = &self.header;
        let raw = if header.format() == Format::Raw { header.to_raw() } else { None };
        // Of another file the header says it; a byte order is not expected.
        let dtype = if raw.is_some() { None } else { Some(header.element().native()) };
        let options = OpenOptions {
            format: Some(header.format()),
            dtype,
            name: self.name.clone(),
            raw,
            lock: self.lock,
            identity: Some(self.mapping.stamp().identity),
            ..OpenOptions::new(self.mode)
        };
        let handle =
            Handle { path: self.path.clone(), options, process: handle::this_process(), id: self.id };
        handle::publish(&handle, header, self.whole, &self.mapping);
        handle
    }

    /// Counts the caller among the users of the mapping: see [`Lease`].
    ///
    /// # Errors
    /// [`Error::Closed`] when there were users and the last has left, [`Error::InvalidState`] while a whole commit is under
    /// way.
    pub fn lease(&self) -> Result<Lease> {
        Lease::new(&self.mapping).map_err(|refusal| self.refused(refusal))
    }

    /// Says why somebody cannot use the mapping.
    pub(crate) fn refused(&self, refusal: Refusal) -> Error {
        let reason = match refusal {
            Refusal::Closed => return Error::Closed { path: self.path.clone() },
            Refusal::Committing => "a commit of this array is under way; await it, then try again",
            Refusal::Shared => {
                "others have this array, by attach or through a shared buffer, and would go on with the old file; \
                 commit without atomic, or when they have closed it"
            }
        };
        Error::invalid_state(&self.path, reason)
    }
}
