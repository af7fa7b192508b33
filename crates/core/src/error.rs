//! What can go wrong, as data.
//!
//! One variant for one code of the public contract, so that a caller in either language can act on it without
//! reading the text. The text still says what was found, what was expected and what to do next. Parsers see bytes
//! and never a path, so they leave `path` empty and the layer that opened the file fills it in with [`Error::at`]. Past 400 lines: each variant has its text
//! and its fields.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::guard::Loss;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that this crate refuses, with the facts behind the refusal.
///
/// Sizes are in bytes unless a field says elements.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call.
    #[error("{}: {}, {syscall} '{}'{}", crate::sys::error_name(source), crate::sys::error_text(source), path.display(), hint(syscall, source))]
    Io {
        /// The system call, by its libuv name (`open`, `mmap`, `ftruncate`, …).
        syscall: &'static str,
        /// The file it was made for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The first bytes are not those of the format, or of any.
    #[error(
        "{}the file starts with {found}; expected {expected}. Check that this is the file you meant",
        At(path)
    )]
    InvalidMagic {
        /// The file.
        path: PathBuf,
        /// The first bytes, at most eight, as quoted text with escapes.
        found: String,
        /// The first bytes of the formats asked for, likewise.
        expected: String,
    },

    /// The format is known, its version is not.
    #[error(
        "{}{format} version {version} is not supported; expected {supported}. \
         Save the file again with a current writer",
        At(path)
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The name of the format.
        format: &'static str,
        /// The version found, as `1` or `4.0`.
        version: String,
        /// The versions that are read, as text.
        supported: &'static str,
    },

    /// The header is malformed or contradicts itself.
    #[error("{}invalid {format} header: {reason}", At(path))]
    InvalidHeader {
        /// The file.
        path: PathBuf,
        /// The name of the format.
        format: &'static str,
        /// What was found and what was expected.
        reason: String,
    },

    /// The header promises more bytes than the file holds.
    #[error(
        "{}the file is too short: {what} needs {expected} bytes, the file has {actual}. \
         It was cut off or never written to its end",
        At(path)
    )]
    FileTooShort {
        /// The file.
        path: PathBuf,
        /// What needs the bytes: a header, or the array.
        what: &'static str,
        /// Bytes that the file must have.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },

    /// `strict`, and the file goes on after the array.
    #[error(
        "{}the file has {actual} bytes where the array ends at {expected}; \
         open it without `strict` to ignore what follows",
        At(path)
    )]
    TrailingData {
        /// The file.
        path: PathBuf,
        /// Bytes of a file that ends with its array.
        expected: u64,
        /// Bytes of this one.
        actual: u64,
    },

    /// The file holds elements of a type that this library does not map.
    #[error("{}dtype {dtype} is not supported: {reason}", At(path))]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The type as the file or the caller names it.
        dtype: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// The file holds another element type than the caller expected.
    #[error(
        "{}expected dtype {expected}, the file holds {actual}; open it without `dtype`, or as {actual}",
        At(path)
    )]
    DtypeMismatch {
        /// The file.
        path: PathBuf,
        /// The long name of the dtype asked for.
        expected: String,
        /// The long name of the dtype in the file.
        actual: String,
    },

    /// The file holds another shape than the caller expected.
    #[error(
        "{}expected shape {expected:?}, the file holds {actual:?}; open it without `shape` to take what is there",
        At(path)
    )]
    ShapeMismatch {
        /// The file.
        path: PathBuf,
        /// Elements along each axis, as asked for.
        expected: Vec<u64>,
        /// Elements along each axis, as found.
        actual: Vec<u64>,
    },

    /// The file holds several arrays, or none, and the name given is not that of one of them.
    #[error("{}{}", At(path), NameReason { name: name.as_deref(), names })]
    InvalidName {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: Option<String>,
        /// The names there are; an empty one for an array that has none.
        names: Vec<String>,
    },

    /// Something that needs contiguous or aligned native memory met memory that is not.
    #[error("{}not contiguous: {reason}", At(path))]
    NotContiguous {
        /// The file.
        path: PathBuf,
        /// What was found and what to do.
        reason: String,
    },

    /// A write to an array opened read-only.
    #[error(
        "{}the array is read-only: it was opened with mode 'r'. Open it with 'r+' or 'c' to write",
        At(path)
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },

    /// A use of an array after it was closed.
    #[error("{}the array is closed; open the file again", At(path))]
    Closed {
        /// The file.
        path: PathBuf,
    },

    /// Pages vanished under the mapping: some of its bytes are zeros that are not the file's.
    #[error("{}data of the array was lost: {}. Restore the file and open it again", At(path), Lost(*reason))]
    MappingLost {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Loss,
    },

    /// Somebody else holds the file's lock.
    #[error(
        "{}the file is locked: an array of it is open with a lock, in this process or another. \
         Close that array, then try again",
        At(path)
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },

    /// The path names another file than the one that was opened, or none, or somebody has written to it since.
    #[error(
        "{}the file at this path is no longer the one that was opened: it was replaced, renamed, removed or written to. \
         Open the path again for what is there now",
        At(path)
    )]
    Stale {
        /// The path.
        path: PathBuf,
    },

    /// Something that cannot be done while the array, or its file, is as it is.
    #[error("{}{reason}", At(path))]
    InvalidState {
        /// The file.
        path: PathBuf,
        /// What is in the way and what to do.
        reason: String,
    },

    /// The file was made longer or shorter by somebody else, or is another array now.
    #[error("{}the file is not as it was: {reason}", At(path))]
    Outdated {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and what to do.
        reason: String,
    },

    /// More than this process can address, or than a format can say.
    #[error("{}too large: {reason}", At(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large, the limit, and the way out.
        reason: String,
    },

    /// This runtime or system cannot do it.
    #[error("{}{reason}", At(path))]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What is missing and what to do.
        reason: String,
    },

    /// A layout that reaches outside its memory, or an argument outside what an operation takes.
    #[error("{reason}")]
    OutOfRange {
        /// What was found and what was expected.
        reason: String,
    },

    /// An argument that makes no sense, or none for this array.
    #[error("{reason}")]
    InvalidValue {
        /// What was found and what was expected.
        reason: String,
    },

    /// The caller stopped the work.
    #[error("The operation was aborted")]
    Aborted,
}

impl Error {
    /// The stable name of this kind of error: what `error.code` is in JavaScript.
    ///
    /// For [`Error::Io`] it is the name of the system's error number (`ENOENT`), or `UNKNOWN`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => crate::sys::error_name(source),
            Self::InvalidMagic { .. } => "ERR_INVALID_MAGIC",
            Self::UnsupportedVersion { .. } => "ERR_UNSUPPORTED_VERSION",
            Self::InvalidHeader { .. } => "ERR_INVALID_HEADER",
            Self::FileTooShort { .. } => "ERR_FILE_TOO_SHORT",
            Self::TrailingData { .. } => "ERR_TRAILING_DATA",
            Self::UnsupportedDtype { .. } => "ERR_UNSUPPORTED_DTYPE",
            Self::DtypeMismatch { .. } => "ERR_DTYPE_MISMATCH",
            Self::ShapeMismatch { .. } => "ERR_SHAPE_MISMATCH",
            Self::InvalidName { .. } | Self::InvalidValue { .. } => "ERR_INVALID_ARG_VALUE",
            Self::NotContiguous { .. } => "ERR_NOT_CONTIGUOUS",
            Self::ReadOnly { .. } => "ERR_READ_ONLY",
            Self::Closed { .. } => "ERR_CLOSED",
            Self::MappingLost { .. } => "ERR_MAPPING_LOST",
            Self::Locked { .. } => "ERR_LOCKED",
            Self::Stale { .. } | Self::Outdated { .. } => "ERR_STALE",
            Self::InvalidState { .. } => "ERR_INVALID_STATE",
            Self::TooLarge { .. } => "ERR_TOO_LARGE",
            Self::Unavailable { .. } => "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            Self::OutOfRange { .. } => "ERR_OUT_OF_RANGE",
            Self::Aborted => "ABORT_ERR",
        }
    }

    /// The libuv number of an [`Error::Io`]: negative, `-2` for `ENOENT` on Linux.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => Some(crate::sys::error_number(source)),
            _ => None,
        }
    }

    /// The same error, said of the file at `path`.
    #[must_use]
    pub fn at(mut self, file: &Path) -> Self {
        if let Some(path) = self.path_mut()
            && path.as_os_str().is_empty()
        {
            *path = file.to_path_buf();
        }
        self
    }

    /// The file that this error is about, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        let path = match self {
            Self::Io { path, .. }
            | Self::InvalidMagic { path, .. }
            | Self::UnsupportedVersion { path, .. }
            | Self::InvalidHeader { path, .. }
            | Self::FileTooShort { path, .. }
            | Self::TrailingData { path, .. }
            | Self::UnsupportedDtype { path, .. }
            | Self::DtypeMismatch { path, .. }
            | Self::ShapeMismatch { path, .. }
            | Self::InvalidName { path, .. }
            | Self::NotContiguous { path, .. }
            | Self::ReadOnly { path }
            | Self::Closed { path }
            | Self::MappingLost { path, .. }
            | Self::Locked { path }
            | Self::Stale { path }
            | Self::InvalidState { path, .. }
            | Self::Outdated { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Unavailable { path, .. } => path,
            Self::OutOfRange { .. } | Self::InvalidValue { .. } | Self::Aborted => return None,
        };
        (!path.as_os_str().is_empty()).then_some(path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Io { path, .. }
            | Self::InvalidMagic { path, .. }
            | Self::UnsupportedVersion { path, .. }
            | Self::InvalidHeader { path, .. }
            | Self::FileTooShort { path, .. }
            | Self::TrailingData { path, .. }
            | Self::UnsupportedDtype { path, .. }
            | Self::DtypeMismatch { path, .. }
            | Self::ShapeMismatch { path, .. }
            | Self::InvalidName { path, .. }
            | Self::NotContiguous { path, .. }
            | Self::ReadOnly { path }
            | Self::Closed { path }
            | Self::MappingLost { path, .. }
            | Self::Locked { path }
            | Self::Stale { path }
            | Self::InvalidState { path, .. }
            | Self::Outdated { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Unavailable { path, .. } => Some(path),
            Self::OutOfRange { .. } | Self::InvalidValue { .. } | Self::Aborted => None,
        }
    }

    pub(crate) fn io(syscall: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { syscall, path: path.to_path_buf(), source }
    }

    pub(crate) fn invalid_magic(found: String, expected: String) -> Self {
        Self::InvalidMagic { path: PathBuf::new(), found, expected }
    }

    pub(crate) fn unsupported_version(
        format: &'static str,
        version: String,
        supported: &'static str,
    ) -> Self {
        Self::UnsupportedVersion { path: PathBuf::new(), format, version, supported }
    }

    pub(crate) fn invalid_header(format: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidHeader { path: PathBuf::new(), format, reason: reason.into() }
    }

    pub(crate) fn too_short(what: &'static str, expected: u64, actual: u64) -> Self {
        Self::FileTooShort { path: PathBuf::new(), what, expected, actual }
    }

    pub(crate) fn trailing_data(expected: u64, actual: u64) -> Self {
        Self::TrailingData { path: PathBuf::new(), expected, actual }
    }

    pub(crate) fn unsupported_dtype(dtype: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::UnsupportedDtype { path: PathBuf::new(), dtype: dtype.into(), reason: reason.into() }
    }

    pub(crate) fn invalid_state(path: &Path, reason: impl Into<String>) -> Self {
        Self::InvalidState { path: path.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn too_large(reason: impl Into<String>) -> Self {
        Self::TooLarge { path: PathBuf::new(), reason: reason.into() }
    }

    pub(crate) fn outdated(path: &Path, reason: impl Into<String>) -> Self {
        Self::Outdated { path: path.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn out_of_range(reason: impl Into<String>) -> Self {
        Self::OutOfRange { reason: reason.into() }
    }

    pub(crate) fn invalid_value(reason: impl Into<String>) -> Self {
        Self::InvalidValue { reason: reason.into() }
    }
}

/// Writes `path: `, or nothing for an error that is not about a file yet.
struct At<'a>(&'a Path);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str().is_empty() { Ok(()) } else { write!(f, "{}: ", self.0.display()) }
    }
}

/// Says what happened to the file.
struct Lost(Loss);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Loss::Truncated => {
                "the file was made shorter while it was mapped, and what is missing reads as zeros"
            }
            Loss::NoSpace => "the disk or a quota was full, and stores to the file are not in it",
            Loss::Io => {
                "the storage failed: pages of the file read as zeros, or stores to them are not in it"
            }
        })
    }
}

/// Says which names there are, the likely ones first.
struct NameReason<'a> {
    name: Option<&'a str>,
    names: &'a [String],
}

/// How many names a message lists.
const MAX_NAMES: usize = 20;

impl fmt::Display for NameReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.names) {
            (Some(name), [only]) if only.is_empty() => {
                return write!(
                    f,
                    "the file holds one array, without a name, and none called {:?}. Open it without `name`",
                    clip(name)
                );
            }
            (_, []) => return f.write_str("the file holds no arrays. Check that this is the file you meant"),
            (Some(name), _) => write!(f, "the file holds no array called {:?}", clip(name))?,
            (None, _) => f.write_str("the file holds arrays by name, and no name was given")?,
        }
        let asked = self.name.unwrap_or_default().to_lowercase();
        let near = |name: &&String| {
            let name = name.to_lowercase();
            !asked.is_empty() && (name.contains(&asked) || (!name.is_empty() && asked.contains(&name)))
        };
        let (likely, others): (Vec<_>, Vec<_>) = self.names.iter().partition(near);
        for (i, name) in likely.into_iter().chain(others).take(MAX_NAMES).enumerate() {
            let before = if i == 0 { ". Open it with `name` one of " } else { ", " };
            write!(f, "{before}{:?}", clip(name))?;
        }
        match self.names.len().saturating_sub(MAX_NAMES) {
            0 => Ok(()),
            more => write!(f, ", and {more} more, which `list` names"),
        }
    }
}

/// What to do about a refusal of the system that does not say it itself.
fn hint(syscall: &str, error: &io::Error) -> &'static str {
    match (syscall, crate::sys::error_name(error)) {
        ("mmap", "ENODEV") => {
            ". Its file system maps no files: set TMPDIR (TEMP on Windows) to a folder of another one"
        }
        ("mkstemp", _) => {
            ". A file that is not mapped passes through a temporary one: set TMPDIR (TEMP on Windows) to a folder that can be written"
        }
        _ => "",
    }
}

/// The start of a text from a file, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}
