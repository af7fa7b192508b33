//! Opening a file that may be anything: a directory, a FIFO, a device, a file somebody is still writing.
//!
//! Only regular files are mapped, and that is settled before anything can block or be disturbed: the type is looked
//! at first (opening a tape rewinds it), the file is opened without waiting (a FIFO), and the type is looked at
//! again on the descriptor, because the name may have moved in between.
//!
//! For the same reason a lock is handed out only while the file that was locked is still the one that the path names: a
//! lock on a file that was just replaced keeps nobody out.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::format::{self, Entry, Format, Request};
use crate::header::Header;
use crate::mode::Mode;
use crate::sys;

/// How many times a file that is replaced while it is being locked is opened again.
const ATTEMPTS: usize = 100;

/// An advisory lock of a whole file, held for as long as the array is open.
///
/// It is that of [`File::try_lock`]: it keeps out those who ask for a lock of the same file, in this process and others,
/// and nobody else. On Windows it is mandatory: an exclusive one refuses other reads and writes of the file as well,
/// a shared one other writes; what is mapped is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lock {
    /// Any number of holders, and no exclusive one beside them.
    Shared,
    /// One holder alone.
    Exclusive,
}

impl Lock {
    /// Reads `shared` or `exclusive`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "shared" => Ok(Self::Shared),
            "exclusive" => Ok(Self::Exclusive),
            _ => Err(Error::out_of_range(format!("lock is {text:?}; expected 'shared' or 'exclusive'"))),
        }
    }

    /// The name: `shared` or `exclusive`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        }
    }

    /// Takes the lock of an open file, or says at once that somebody else has it.
    pub(crate) fn take(self, file: &File) -> Result<(), TryLockError> {
        match self {
            Self::Shared => file.try_lock_shared(),
            Self::Exclusive => file.try_lock(),
        }
    }
}

/// What tells a file from every other, whatever its name: while it is open, no other file has the same.
///
/// Its text, which [`FromStr`] reads back, is three hexadecimal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device, or the serial number of the volume.
    pub(crate) device: u64,
    /// The inode, or the index of the file.
    pub(crate) file: u64,
    /// Nanoseconds from 1970 to the file's making, 0 where the system does not say or lets it change: a file made after
    /// this one was removed may have its inode.
    pub(crate) born: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.device, self.file, self.born)
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |part: &str| {
            // `from_str_radix` takes a sign as well.
            let digits = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(part, 16).ok().filter(|_| digits)
        };
        let parts: Option<Vec<u64>> = text.splitn(4, '-').map(number).collect();
        match parts.as_deref() {
            Some(&[device, file, born]) => Ok(Self { device, file, born }),
            _ => Err(Error::out_of_range(
                "the identity of a file is three hexadecimal numbers with '-' between",
            )),
        }
    }
}

/// Which file it is, and what changes when somebody writes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) identity: Identity,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// When it was written to last; `None` where the system does not say.
    modified: Option<SystemTime>,
}

impl Stamp {
    /// The stamp of an open file; `path` is for the error.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(|error| Error::io("fstat", path, error))?;
        let identity = identify(file, path)?;
        Ok(Self { identity, len: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// Whether `path` names the file of this identity; a path that names nothing does not.
///
/// # Errors
/// [`Error::Io`] when the system refuses to look.
pub(crate) fn names(path: &Path, identity: Identity) -> Result<bool> {
    Ok(len_of(path, identity)?.is_some())
}

/// The length of the file of this identity, if that is what `path` names.
///
/// # Errors
/// [`Error::Io`] when the system refuses to look.
pub(crate) fn len_of(path: &Path, identity: Identity) -> Result<Option<u64>> {
    let found = sys::identity_at(path).map_err(|error| Error::io("stat", path, error))?;
    Ok(found.filter(|&(found, _)| found == identity).map(|(_, len)| len))
}

/// Opens the regular file at `path`, locks it if asked to, and makes sure that it is the file `expected`, if there is one.
///
/// # Errors
/// Those of [`open`]; [`Error::Locked`] when somebody else holds a lock; [`Error::Stale`] for another file than the one
/// expected, or none, and for one that is replaced whenever it is to be locked.
pub(crate) fn open_as(
    path: &Path,
    mode: Mode,
    expected: Option<Identity>,
    lock: Option<Lock>,
) -> Result<(File, u64)> {
    let stale = || Error::Stale { path: path.to_path_buf() };
    for _ in 0..ATTEMPTS {
        // Before it is opened: what is there instead may be anything, and none of its own errors says more.
        if let Some(expected) = expected
            && !names(path, expected)?
        {
            return Err(stale());
        }
        let (file, mut len) = open(path, mode)?;
        let identity = identify(&file, path)?;
        if expected.is_some_and(|expected| expected != identity) {
            return Err(stale());
        }
        if let Some(lock) = lock {
            lock.take(&file).map_err(|error| match error {
                TryLockError::WouldBlock => Error::Locked { path: path.to_path_buf() },
                TryLockError::Error(error) => Error::io("flock", path, error),
            })?;
            if !names(path, identity)? {
                continue;
            }
            // Whoever held the lock before may have made it longer.
            len = file.metadata().map_err(|error| Error::io("fstat", path, error))?.len();
        }
        return Ok((file, len));
    }
    Err(stale())
}

/// The identity of an open file; `path` is for the error.
pub(crate) fn identify(file: &File, path: &Path) -> Result<Identity> {
    sys::identity(file).map_err(|error| Error::io("fstat", path, error))
}

/// Opens the file at `target`, which is to be replaced, for writing, and keeps out those who lock files until it is
/// closed; `path` is for the errors.
///
/// # Errors
/// [`Error::Locked`] when somebody holds a lock, [`Error::Io`] when the file cannot be opened for writing.
pub(crate) fn hold(target: &Path, path: &Path) -> Result<File> {
    for _ in 0..ATTEMPTS {
        let file = OpenOptions::new().write(true).open(target);
        let file = file.map_err(|error| Error::io("open", path, error))?;
        match Lock::Exclusive.take(&file) {
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: path.to_path_buf() }),
            Ok(()) if !names(target, identify(&file, path)?)? => {}
            // A file system without locks has nobody to keep out.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
    Err(Error::Stale { path: path.to_path_buf() })
}

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
