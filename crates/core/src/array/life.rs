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
        handle::publish(&handle, header, self.whole, Arc::downgrade(&self.mapping));
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
