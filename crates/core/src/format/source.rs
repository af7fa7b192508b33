//! The bytes of a file, for readers that need more than its start: any part, by position.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::cell::{OnceCell, RefCell};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};

/// What a file is read through.
pub(super) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// The first bytes of a file, which are read at once: most headers end within them, and are read in many small steps.
const START: u64 = 4096;

/// A file of `len` bytes, which may turn out to be shorter when it is read.
pub(super) struct Source<'a> {
    inner: RefCell<&'a mut dyn ReadSeek>,
    start: OnceCell<Vec<u8>>,
    len: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(inner: &'a mut dyn ReadSeek, len: u64) -> Self {
        Self { inner: RefCell::new(inner), start: OnceCell::new(), len }
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from byte `offset` on, or as many as there are: the caller has bounded them.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.part(offset, len as u64).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// A reader of at most `len` bytes from byte `offset` on.
    pub(super) fn part(&self, offset: u64, len: u64) -> impl Read + use<'_, 'a> {
        let end = offset.saturating_add(len).min(self.len);
        Part { source: self, at: offset, end }
    }
}

impl Source<'_> {
    /// The first bytes, as many as there are of [`START`].
    fn start(&self) -> io::Result<&[u8]> {
        if let Some(start) = self.start.get() {
            return Ok(start);
        }
        let len = self.len.min(START);
        let mut start = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        let mut inner = self.inner.borrow_mut();
        inner.seek(SeekFrom::Start(0))?;
        (&mut **inner).take(len).read_to_end(&mut start)?;
        Ok(self.start.get_or_init(|| start))
    }
}

impl rawzip::ReaderAt for Source<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len {
            return Ok(0);
        }
        if offset < START {
            // A reader that wants more gets less, and asks again.
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let start = self.start()?.get(from..).unwrap_or_default();
            let count = start.len().min(buffer.len());
            let (to, from) = (buffer.get_mut(..count), start.get(..count));
            if let (Some(to), Some(from)) = (to, from) {
                to.copy_from_slice(from);
            }
            return Ok(count);
        }
        let mut inner = self.inner.borrow_mut();
        inner.seek(SeekFrom::Start(offset))?;
        loop {
            match inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

struct Part<'a, 'b> {
    source: &'a Source<'b>,
    at: u64,
    end: u64,
}

impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let read =
            rawzip::ReaderAt::read_at(self.source, buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

/// The error of a file that cannot be read.
pub(super) fn failed(error: io::Error) -> Error {
    Error::io("read", Path::new(""), error)
}
