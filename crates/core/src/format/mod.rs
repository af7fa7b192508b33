//! The file formats: the bytes of a file in, a [`Header`] out.
//!
//! A reader sees bytes by position and the length of the file, never a path or a mapping, so every hostile file is a
//! plain byte string in a test. Nothing here is indexed, added or multiplied unchecked, and no number from a file is an
//! allocation size before it is bounded. What is read is the description of the arrays, never their data.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod literal;
mod mmap;
mod npy;
mod npz;
mod raw;
mod record;
mod safetensors;
mod source;

use std::io::{Read, Seek};
use std::path::PathBuf;

use self::source::Source;
use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::header::{Header, measure};
use crate::layout::Order;

/// Bytes from the start of a file that tell its format.
const SNIFF_LEN: usize = 16;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The format of the seed: 64 bytes of header, C order, little-endian.
    Mmap,
    /// The format of `numpy.save`.
    Npy,
    /// The format of Hugging Face: tensors by name. Read, not written.
    Safetensors,
    /// The format of `numpy.savez`: npy files in a zip file. Read, not written.
    Npz,
    /// Elements and nothing else: the caller says what they are. Never found from the content.
    Raw,
}

impl Format {
    /// Every format there is.
    pub const ALL: [Self; 5] = [Self::Mmap, Self::Npy, Self::Safetensors, Self::Npz, Self::Raw];

    /// The name: `mmap`, `npy`, `safetensors`, `npz` or `raw`, which is also a usual extension of such a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
            Self::Raw => "raw",
        }
    }

    /// Whether a file that starts with `prefix` says that it is of this format.
    fn begins(self, prefix: &[u8]) -> bool {
        match self {
            Self::Safetensors => safetensors::begins(prefix),
            _ => self.magics().iter().any(|magic| prefix.starts_with(magic)),
        }
    }

    /// The bytes that such a file can start with, where they are fixed.
    const fn magics(self) -> &'static [&'static [u8]] {
        match self {
            Self::Mmap => &[mmap::MAGIC],
            Self::Npy => &[npy::MAGIC],
            Self::Npz => &npz::MAGICS,
            Self::Safetensors | Self::Raw => &[],
        }
    }
}

/// Which array of a file is wanted, and how strictly the file is judged.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The format; found from the content where it is `None`.
    pub format: Option<Format>,
    /// Which array, where the file holds them by name: a tensor, a member, a field of records.
    pub name: Option<String>,
    /// Refuse bytes after the array, and padding in the header that is not zero.
    pub strict: bool,
    /// What a raw file holds. Goes with [`Format::Raw`] and with no other format.
    pub raw: Option<Raw>,
}

/// Where the elements of a raw file lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Their type.
    pub element: ElementType,
    /// Elements along each axis, complex ones whole; one axis to the end of the file without.
    pub shape: Option<Vec<u64>>,
    /// The byte of the file where the element at index 0 of every axis starts: any.
    pub offset: u64,
    /// Elements between neighbours along each axis, negative and zero ones too; without gaps where it is `None`.
    pub strides: Option<Vec<i64>>,
    /// Which axis varies fastest, where there are no strides.
    pub order: Order,
}

/// One array that a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What [`Request::name`] has to be; empty for the one array of a file that has no names.
    pub name: String,
    /// The long name of the dtype, or the file's own code of one that is not read.
    pub dtype: String,
    /// Elements along each axis, complex ones whole.
    pub shape: Vec<u64>,
    /// The byte of the file where the array starts.
    pub offset: u64,
}

/// The format of a file that starts with `prefix`, of which 16 bytes are enough; `None` for an unknown one.
#[must_use]
pub fn sniff(prefix: &[u8]) -> Option<Format> {
    Format::ALL.into_iter().find(|format| format.begins(prefix))
}

/// Reads what a file of `file_len` bytes says of the array that `request` is for.
///
/// Read are headers, at most 100 MB of safetensors' and about 40 KB of others, and the directory of a zip file.
///
/// # Errors
/// - [`Error::FileTooShort`] when the file ends before its header or its array does,
/// - [`Error::InvalidMagic`] when it is no file of the format,
/// - [`Error::UnsupportedVersion`] and [`Error::UnsupportedDtype`] when it is, and holds what is not read,
/// - [`Error::InvalidHeader`] when the header is malformed or contradicts itself,
/// - [`Error::InvalidName`] when the file has names, and `request` has none of them,
/// - [`Error::OutOfRange`] for a raw array that starts before the file, and for one whose format says otherwise,
/// - [`Error::TrailingData`] with `strict`,
/// - [`Error::Io`] when the file cannot be read; its path is empty.
pub fn read(source: &mut (impl Read + Seek), file_len: u64, request: &Request) -> Result<Header> {
    let name = request.name.as_deref();
    let source = &Source::new(source, file_len);
    let header = match (request.format, &request.raw) {
        (None | Some(Format::Raw), Some(raw)) => {
            raw::read(raw, file_len).and_then(|header| unnamed(header, name))
        }
        (Some(format), Some(_)) => Err(Error::out_of_range(format!(
            "offset, strides and order are for format 'raw', and the format is '{}'",
            format.name()
        ))),
        (Some(Format::Raw), None) => {
            Err(Error::out_of_range("a raw file does not say what it holds; give its dtype"))
        }
        (format, None) => match recognise(source, format)? {
            Format::Npy => npy::read(&npy_header(source)?, 0)?.header(Format::Npy, name, str::to_owned),
            Format::Safetensors => safetensors::read(source, name),
            Format::Npz => npz::read(source, name, request.strict),
            Format::Mmap | Format::Raw => mmap::read(&source.bytes(0, mmap::HEADER_LEN)?, request.strict)
                .and_then(|header| unnamed(header, name)),
        },
    }?;
    header.check_file_len(file_len, request.strict)?;
    Ok(header)
}

/// Lists the arrays of a file of `file_len` bytes.
///
/// Their descriptions are read; whether the file is long enough for each is not looked at. A file of one array without a
/// name has one entry, whose name is empty.
///
/// # Errors
/// Those of [`read`]; [`Error::OutOfRange`] for [`Format::Raw`].
pub fn list(source: &mut (impl Read + Seek), file_len: u64, format: Option<Format>) -> Result<Vec<Entry>> {
    if format == Some(Format::Raw) {
        return Err(Error::out_of_range(
            "a raw file does not say what it holds, so there is nothing to list",
        ));
    }
    let source = &Source::new(source, file_len);
    match recognise(source, format)? {
        Format::Npy => Ok(npy::read(&npy_header(source)?, 0)?.entries()),
        Format::Safetensors => safetensors::list(source),
        Format::Npz => npz::list(source),
        Format::Mmap | Format::Raw => {
            let header = mmap::read(&source.bytes(0, mmap::HEADER_LEN)?, false)?;
            Ok(vec![Entry {
                name: String::new(),
                dtype: header.dtype().name().to_owned(),
                shape: header.shape().to_vec(),
                offset: header.data_offset(),
            }])
        }
    }
}

/// The bytes of the header of an npy file, and none of its data but a few.
fn npy_header(source: &Source) -> Result<Vec<u8>> {
    source.bytes(0, npy::header_len(&source.bytes(0, 12)?))
}

/// The format to read a file as: the one asked for, or the one that its first bytes tell.
fn recognise(source: &Source, format: Option<Format>) -> Result<Format> {
    let prefix = source.bytes(0, SNIFF_LEN)?;
    let found = sniff(&prefix);
    // A file that ends inside a magic is a short file, not one of another kind.
    let cut = |format: &Format| format.magics().iter().any(|magic| magic.starts_with(&prefix));
    let accepted = match format {
        // These have no fixed first bytes, and are judged by what follows.
        Some(asked @ (Format::Safetensors | Format::Npz)) if found.is_none_or(|found| found == asked) => {
            Some(asked)
        }
        Some(asked) => Some(asked).filter(|asked| found == Some(*asked) || cut(asked)),
        None => found.or_else(|| Format::ALL.into_iter().find(cut)),
    };
    accepted.ok_or_else(|| invalid_magic(&prefix, format))
}

/// The header of a file without names, if none is asked for; an empty one, as `list` has it, is none.
fn unnamed(header: Header, name: Option<&str>) -> Result<Header> {
    match name {
        None | Some("") => Ok(header),
        name => Err(invalid_name(name, vec![String::new()])),
    }
}

/// The first of `items` whose name is `name`; `called` is what the caller knows a name by, for the message.
fn choose<T>(
    items: Vec<T>,
    name: Option<&str>,
    name_of: impl Fn(&T) -> &str,
    called: impl Fn(&str) -> String,
) -> Result<T> {
    let found = name.and_then(|name| items.iter().position(|item| name_of(item) == name));
    let names = || items.iter().map(|item| called(name_of(item))).collect();
    let refused = || invalid_name(name.map(&called).as_deref(), names());
    let index = found.ok_or_else(refused)?;
    items.into_iter().nth(index).ok_or_else(|| invalid_name(name, Vec::new()))
}

fn invalid_name(name: Option<&str>, names: Vec<String>) -> Error {
    Error::InvalidName { path: PathBuf::new(), name: name.map(str::to_owned), names }
}

/// Makes the header of a new file: all bytes before the first element.
///
/// `shape` counts elements. mmap files have C order, at most 6 axes and four dtypes. npy headers are those of
/// `numpy.save`, byte for byte. Raw files have none: no bytes.
///
/// # Errors
/// - [`Error::UnsupportedDtype`] for a dtype that the format does not have,
/// - [`Error::TooLarge`] for more axes than the format has, and for a file of more than `i64::MAX` bytes,
/// - [`Error::OutOfRange`] for Fortran order in an mmap file, and for a format that is not written.
pub fn write_header(format: Format, element: ElementType, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    let (_, nbytes) = measure(element, shape).map_err(Error::too_large)?;
    let order = order.canonical(shape);
    let bytes = match format {
        Format::Mmap => mmap::write(element, shape, order),
        Format::Npy => npy::write(element, shape, order),
        Format::Raw => Ok(Vec::new()),
        Format::Safetensors | Format::Npz => Err(Error::out_of_range(format!(
            "format '{}' is read and not written. Write an npy file instead",
            format.name()
        ))),
    }?;
    if nbytes.checked_add(bytes.len() as u64).is_none_or(|len| i64::try_from(len).is_err()) {
        return Err(Error::too_large(format!(
            "{nbytes} bytes after a header of {} fit into no file",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// The order of the array that `bytes`, a whole header without fields, is of; `None` where the format does not say.
pub(crate) fn order_of(format: Format, bytes: &[u8]) -> Result<Option<Order>> {
    match format {
        Format::Npy => Ok(Some(npy::read(bytes, 0)?.order())),
        Format::Mmap => Ok(Some(Order::C)),
        Format::Raw | Format::Safetensors | Format::Npz => Ok(None),
    }
}

/// Makes a header in the place of `old`, which is a whole one, and of its length: that of the same file with `header`'s
/// shape.
///
/// # Errors
/// [`Error::TooLarge`] where it has no room for that shape.
pub(crate) fn rewrite_header(old: &[u8], header: &Header, order: Order) -> Result<Vec<u8>> {
    match header.format() {
        Format::Npy => npy::rewrite(old, header.descr(), header.whole_shape(), order),
        Format::Mmap => mmap::write(header.element(), header.whole_shape(), Order::C),
        Format::Raw | Format::Safetensors | Format::Npz => Ok(Vec::new()),
    }
}

fn invalid_magic(prefix: &[u8], format: Option<Format>) -> Error {
    let quoted = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
    let accepted = format.as_ref().map_or(Format::ALL.as_slice(), std::slice::from_ref);
    let expected = accepted.iter().filter_map(|format| match format {
        Format::Safetensors => Some("a length and \"{\"".to_owned()),
        other => other.magics().first().map(|magic| quoted(magic)),
    });
    Error::invalid_magic(quoted(prefix.get(..8).unwrap_or(prefix)), expected.collect::<Vec<_>>().join(" or "))
}
