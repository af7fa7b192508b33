//! Opening a file that may be anything: a directory, a FIFO, a device, a file somebody is still writing.
//!
//! Only regular files are mapped, and that is settled before anything can block or be disturbed: the type is looked
//! at first (opening a tape rewinds it), the file is opened without waiting (a FIFO), and the type is looked at
//! again on the descriptor, because the name may have moved in between.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::{self, Entry, Format, Request};
use crate::header::Header;
use crate::mode::Mode;
use crate::sys;

/// Opens the regular file at `path` as `mode` needs it; returns it with its length in bytes.
///
/// # Errors
/// [`Error::Io`]: what the system said; `EISDIR` for a directory, `ENODEV` for anything else that is no file.
pub(crate) fn open(path: &Path, mode: Mode) -> Result<(File, u64)> {
    let failed = |error| Error::io("open", path, error);
    check_regular(&sys::metadata(path).map_err(failed)?).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(mode == Mode::ReadWrite);
    let file = sys::never_wait(&mut options).open(path).map_err(failed)?;
    let metadata = sys::file_metadata(&file).map_err(|error| Error::io("fstat", path, error))?;
    check_regular(&metadata).map_err(failed)?;
    Ok((file, metadata.len()))
}

/// `EISDIR` for a directory, `ENODEV` for anything else that is no file.
pub(crate) fn check_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads what an open file of `len` bytes says of an array: descriptions, never the data.
///
/// # Errors
/// Those of [`format::read`].
pub(crate) fn read_header(mut file: &File, len: u64, path: &Path, request: &Request) -> Result<Header> {
    format::read(&mut file, len, request).map_err(|error| error.at(path))
}

/// Lists the arrays of the file at `path`, without mapping it: see [`format::list`].
///
/// # Errors
/// Those of [`format::list`], and [`Error::Io`] when the system refuses.
pub fn list(path: impl AsRef<Path>, format: Option<Format>) -> Result<Vec<Entry>> {
    let path = path.as_ref();
    let (mut file, len) = open(path, Mode::ReadOnly)?;
    format::list(&mut file, len, format).map_err(|error| error.at(path))
}
