//! The file formats: the first bytes of a file in, a [`Header`] out.
//!
//! A reader sees a bounded prefix and the length of the file, never a path or a mapping, so every hostile header is
//! a plain byte string in a test. Nothing here is indexed, added or multiplied unchecked, and no number from a file
//! is an allocation size before it is bounded.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod literal;
mod mmap;
mod npy;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::header::{Header, measure};
use crate::layout::Order;

/// How many bytes from the start of a file a header can take at most.
pub const PREFIX_LEN: usize = npy::MAX_HEADER_LEN;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The format of the seed: 64 bytes of header, C order, little-endian.
    Mmap,
    /// The format of `numpy.save`.
    Npy,
}

impl Format {
    /// Every format there is.
    pub const ALL: [Self; 2] = [Self::Mmap, Self::Npy];

    /// The name: `mmap` or `npy`, which is also the usual extension of such a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Npy => "npy",
        }
    }

    /// The bytes that such a file starts with.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Mmap => mmap::MAGIC,
            Self::Npy => npy::MAGIC,
        }
    }
}

/// The format of a file that starts with `prefix`; `None` for an unknown one.
#[must_use]
pub fn sniff(prefix: &[u8]) -> Option<Format> {
    Format::ALL.into_iter().find(|format| prefix.starts_with(format.magic()))
}

/// Reads the header of a file of `file_len` bytes.
///
/// `prefix` is the start of the file: all of it, or [`PREFIX_LEN`] bytes of a longer one. Without a `format` any will
/// do. With `strict` there may be no bytes after the array, and none but zeros in the padding of a header.
///
/// # Errors
/// - [`Error::FileTooShort`] when the file ends before its header or its array does,
/// - [`Error::InvalidMagic`] when it is no file of the format,
/// - [`Error::UnsupportedVersion`] and [`Error::UnsupportedDtype`] when it is, and holds what is not read,
/// - [`Error::InvalidHeader`] when the header is malformed or contradicts itself,
/// - [`Error::TrailingData`] with `strict`.
pub fn read_header(prefix: &[u8], file_len: u64, format: Option<Format>, strict: bool) -> Result<Header> {
    // A file that ends inside the magic is a short file, not one of another kind.
    let begins = |format: &Format| {
        let magic = format.magic();
        prefix.starts_with(magic) || magic.starts_with(prefix)
    };
    let accepted = format.as_ref().map_or(Format::ALL.as_slice(), std::slice::from_ref);
    let header = match accepted.iter().find(|format| begins(format)) {
        Some(Format::Mmap) => mmap::read(prefix, strict),
        Some(Format::Npy) => npy::read(prefix),
        None => Err(invalid_magic(prefix, accepted)),
    }?;
    header.check_file_len(file_len, strict)?;
    Ok(header)
}

/// Makes the header of a new file: all bytes before the first element.
///
/// `shape` counts elements. mmap files have C order, at most 6 axes and four dtypes. npy headers are those of
/// `numpy.save`, byte for byte.
///
/// # Errors
/// - [`Error::UnsupportedDtype`] for a dtype that the format does not have,
/// - [`Error::TooLarge`] for more axes than the format has, and for more than `i64::MAX` bytes of data,
/// - [`Error::OutOfRange`] for Fortran order in an mmap file.
pub fn write_header(format: Format, dtype: DType, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    measure(dtype, shape).map_err(Error::too_large)?;
    let order = order.canonical(shape);
    match format {
        Format::Mmap => mmap::write(dtype, shape, order),
        Format::Npy => npy::write(dtype, shape, order),
    }
}

fn invalid_magic(prefix: &[u8], accepted: &[Format]) -> Error {
    let quoted = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
    let expected: Vec<_> = accepted.iter().map(|format| quoted(format.magic())).collect();
    Error::invalid_magic(quoted(prefix.get(..8).unwrap_or(prefix)), expected.join(" or "))
}
