//! Where the pages of a mapping are: at addresses of its own, or at addresses that are lent.
//!
//! A runtime that keeps JavaScript inside of a cage (Electron) lets it see no memory but its own. There the file is mapped over
//! pages of that memory. Who lends them gives them back to the system whenever it likes: a mapping never unmaps
//! them, and touches them only while its user says that they are there.

use std::io;

use super::Pages;
#[cfg(unix)]
pub(super) use lent::Lent;

/// The pages of a mapping.
#[derive(Debug)]
pub(super) enum Place {
    /// Unmapped when dropped.
    Own(Pages),
    /// Left as they are when dropped.
    #[cfg(unix)]
    Lent(Lent),
}

impl Place {
    /// Address of the first byte of the mapped range.
    pub(super) fn as_mut_ptr(&self) -> *mut u8 {
        match self {
            Self::Own(pages) => pages.as_mut_ptr(),
            #[cfg(unix)]
            Self::Lent(lent) => lent.as_mut_ptr(),
        }
    }

    /// Brings stores to bytes of the range to the file.
    pub(super) fn flush_range(&self, start: usize, len: usize) -> io::Result<()> {
        match self {
            Self::Own(pages) => pages.flush_range(start, len),
            #[cfg(unix)]
            Self::Lent(lent) => lent.flush_range(start, len),
        }
    }
}

#[cfg(unix)]
mod lent {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::Place;
    use crate::error::{Error, Result};
    use crate::mapping::{Mapped, Mapping, Wanted, is_out_of_memory};
    use crate::mode::Mode;
    use crate::sys::{self, Zeros};

    /// Pages that are lent, by the address of the first byte of the mapped range.
    #[derive(Debug)]
    pub(in crate::mapping) struct Lent(AtomicPtr<u8>);

    impl Lent {
        pub(super) fn as_mut_ptr(&self) -> *mut u8 {
            self.0.load(Ordering::Relaxed)
        }

        pub(super) fn flush_range(&self, start: usize, len: usize) -> io::Result<()> {
            // SAFETY:
            // - bytes of the mapping, which its user says is there for the length of the call.
            unsafe { sys::flush(self.as_mut_ptr().wrapping_add(start), len) }
        }
    }

    impl Mapping {
        /// Another mapping of the same open file, with the lock that it holds: over `pages`, or at addresses of
        /// its own.
        ///
        /// # Errors
        /// [`Closed`](crate::Error::Closed) after the last lease has ended, [`Io`](crate::Error::Io) when the system refuses.
        ///
        /// # Safety
        /// `pages` is the start of a page. `room` bytes from there on, enough for the array, are the caller's,
        /// nobody has a reference to them, and they stay there until the last lease has ended and work under way has, too. A lease
        /// that is dropped, and not ended, promises nothing: the pages may be gone.
        pub(crate) unsafe fn again(&self, pages: Option<(*mut u8, usize)>, path: &Path) -> Result<Self> {
            let (offset, mode) = (self.offset(), self.mode);
            let backing = self.once_more(path)?;
            let room = pages.map_or(usize::MAX, |(_, room)| room.saturating_sub(self.before()));
            let len = self.len().min(room);
            let start = pages.map(|(pages, _)| pages.wrapping_add(self.before()));
            let wanted = Wanted { offset, len: len as u64, reserve: 0, mode, map: self.map };
            Self::with(backing, wanted, (self.live(), len), path, |file| {
                let mapped = match start {
                    // SAFETY:
                    // - as promised to this function.
                    Some(start) => unsafe { map_over(start, file, offset, len, mode) },
                    None => crate::mapping::map(file, offset, len, mode)
                        .map(|(pages, read_only)| (Place::Own(pages), read_only)),
                };
                let (pages, read_only) = mapped.map_err(|error| Error::io("mmap", path, error))?;
                Ok(Mapped { pages, len, read_only, scratch: None })
            })
        }

        /// Whether its pages are lent.
        pub(crate) fn is_lent(&self) -> bool {
            matches!(self.region, Some(Place::Lent(_)))
        }

        /// Puts zero pages in the place of lent ones, which are there.
        pub(in crate::mapping) fn blank_lent(&self, lent: &Lent) -> io::Result<()> {
            let start = lent.as_mut_ptr();
            // SAFETY:
            // - the pages are there: the lease was ended by a user who says so, or work under way keeps them.
            // - nobody has a reference to them (fact 3 of `Mapping`).
            match unsafe { sys::replace_with_zeros(start, self.len(), Zeros::Writable) } {
                // SAFETY:
                // - as above. Who still loads may do so, and nobody stores: JavaScript cannot reach them any more.
                Err(error) if is_out_of_memory(&error) => unsafe {
                    sys::replace_with_zeros(start, self.len(), Zeros::ReadOnly)
                },
                replaced => replaced,
            }
        }
    }

    /// Maps a range over the pages that hold `start`, and says whether it may only be read until the guard makes pages of it
    /// private.
    ///
    /// # Safety
    /// The pages that hold `len` bytes from `start` on are the caller's, and nobody has a reference to them.
    unsafe fn map_over(
        start: *mut u8,
        file: &File,
        offset: u64,
        len: usize,
        mode: Mode,
    ) -> io::Result<(Place, bool)> {
        let over = |access| {
            // SAFETY:
            // - as promised to this function.
            unsafe { sys::map_over(start, len, file, offset, access) }
        };
        let access = if mode == Mode::ReadWrite { sys::Access::Write } else { sys::Access::Copy };
        let read_only = match over(access) {
            // As for pages of our own: see `map`.
            Err(error)
                if mode == Mode::ReadOnly && crate::guard::can_make_private() && is_out_of_memory(&error) =>
            {
                over(sys::Access::Read).or(Err(error)).map(|()| true)
            }
            done => done.map(|()| false),
        }?;
        Ok((Place::Lent(Lent(AtomicPtr::new(start))), read_only))
    }
}
