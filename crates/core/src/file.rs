//! Opening a file that may be anything: a directory, a FIFO, a device, a file somebody is still writing.
//!
//! Only regular files are mapped, and that is settled before anything can block or be disturbed: the type is looked
//! at first (opening a tape rewinds it), the file is opened without waiting (a FIFO), and the type is looked at
//! again on the descriptor, because the name may have moved in between.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::{self, Format, PREFIX_LEN};
use crate::header::Header;
use crate::mode::Mode;
use crate::sys;

/// Opens the regular file at `path` as `mode` needs it; returns it with its length in bytes.
///
/// # Errors
/// [`Error::Io`]: what the system said; `EISDIR` for a directory, `ENODEV` for anything else that is no file.
pub(crate) fn open(path: &Path, mode: Mode) -> Result<(File, u64)> {
    let failed = |error| Error::io("open", path, error);
    check_regular(&std::fs::metadata(path).map_err(failed)?).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(mode == Mode::ReadWrite);
    let file = sys::never_wait(&mut options).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(|error| Error::io("fstat", path, error))?;
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

/// Reads the header at the start of an open file of `len` bytes: a bounded prefix, never the data.
///
/// # Errors
/// Those of [`format::read_header`], and [`Error::Io`].
pub(crate) fn read_header(
    mut file: &File,
    len: u64,
    path: &Path,
    format: Option<Format>,
    strict: bool,
) -> Result<Header> {
    let mut prefix = Vec::with_capacity(PREFIX_LEN);
    file.by_ref()
        .take(PREFIX_LEN as u64)
        .read_to_end(&mut prefix)
        .map_err(|error| Error::io("read", path, error))?;
    format::read_header(&prefix, len, format, strict).map_err(|error| error.at(path))
}
