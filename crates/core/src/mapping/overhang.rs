//! What stays behind an array because a system makes no file shorter that is mapped (Windows).
//!
//! The header says where the array ends, so nobody takes it for rows. It is cut off when the last mapping of the open file is gone,
//! unless somebody else has changed the length meanwhile, or has the file mapped as well. A raw file is as long as its array:
//! there it is only what an append that has failed could not take back.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Mapping;
use crate::format::Format;
use crate::grow::{read_text, says};
use crate::header::Header;
use crate::sys;

/// Shared by the mappings of one open file; the last of them cuts off what is owed.
#[derive(Debug)]
pub(super) struct Overhang {
    file: Arc<File>,
    owed: Mutex<Option<Owed>>,
}

#[derive(Debug)]
struct Owed {
    /// The array that the file is to end with.
    header: Header,
    /// Bytes of a raw file: where it has others by now, they are somebody else's rows.
    len: u64,
}

impl Overhang {
    pub(super) fn new(file: &Arc<File>) -> Arc<Self> {
        Arc::new(Self { file: Arc::clone(file), owed: Mutex::new(None) })
    }

    fn owed(&self) -> MutexGuard<'_, Option<Owed>> {
        // Each change to it is a single assignment.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts off what is owed, once. Where others have the file mapped it stays.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn cut(&self) -> io::Result<()> {
        let Some(Owed { header, len }) = self.owed().take() else { return Ok(()) };
        let (end, now) = (header.end(), self.file.metadata()?.len());
        let is_ours = if header.format() == Format::Raw {
            now == len
        } else {
            now > end
                && read_text(&self.file, &header).is_ok_and(|text| says(&text, &header).unwrap_or(false))
        };
        match if is_ours { sys::cut(&self.file, end) } else { Ok(()) } {
            Err(error) if sys::is_mapped(&error) => Ok(()),
            done => done,
        }
    }
}

impl Drop for Overhang {
    /// For whoever took no lease.
    fn drop(&mut self) {
        // Nobody is left to tell; what stays is no part of the array.
        drop(self.cut());
    }
}

impl Mapping {
    /// The file, of `len` bytes, is to end with the array of `header` once it is not mapped any more.
    pub(crate) fn owe(&self, header: &Header, len: u64) {
        if let Some(overhang) = &self.backing().overhang {
            *overhang.owed() = Some(Owed { header: header.clone(), len });
        }
    }

    /// Whether the `len` bytes of a raw file are what was [owed](Self::owe), so that no row is behind the array of `header`.
    pub(crate) fn owes(&self, header: &Header, len: u64) -> bool {
        let backing = self.backing();
        let owed = backing.overhang.as_ref().map(|overhang| overhang.owed());
        owed.is_some_and(|owed| owed.as_ref().is_some_and(|owed| owed.header == *header && owed.len == len))
    }

    /// The array of the file is that of `header` now: what is owed changes with it. A raw file has the length that was taken.
    pub(crate) fn follow(&self, header: &Header) {
        if let Some(overhang) = &self.backing().overhang {
            let mut owed = overhang.owed();
            *owed = owed
                .take()
                .filter(|_| header.format() != Format::Raw)
                .map(|owed| Owed { header: header.clone(), ..owed });
        }
    }
}
