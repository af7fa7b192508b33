//! Numbers and options of JavaScript as those of the core, and back.
//!
//! A JavaScript number is exact as an integer up to 2^53 - 1. Everything else (fractions, NaN, negative numbers where
//! none belong) is refused here, whatever TypeScript has let through.

use std::path::{Path, PathBuf};

use mmap_ndarray_core::{
    CreateOptions, ElementType, Entry, Error, Format, Handle, Layout, Lock, Mode, OpenOptions, Order, Raw,
    Result,
};
use napi_derive::napi;

const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// A number that counts something.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be an integer between 0 and 2^53 - 1"
)]
pub(crate) fn count(value: f64, what: &str) -> Result<u64> {
    if (0.0..=MAX_SAFE).contains(&value) && value.fract() == 0.0 {
        return Ok(value as u64);
    }
    Err(Error::OutOfRange { reason: format!("{what} is {value}; expected an integer from 0 to 2^53 - 1") })
}

/// A count that addresses memory.
pub(crate) fn size(value: f64, what: &str) -> Result<usize> {
    usize::try_from(count(value, what)?).map_err(|_| Error::OutOfRange {
        reason: format!("{what} is {value}; this process cannot address it"),
    })
}

fn counts(values: &[f64], what: &str) -> Result<Vec<u64>> {
    values.iter().map(|&value| count(value, what)).collect()
}

fn distances(values: &[f64]) -> Result<Vec<i64>> {
    let distance = |&value: &f64| {
        // An integer of magnitude up to 2^53 - 1.
        let magnitude = count(value.abs(), "a stride")?.cast_signed();
        Ok(if value < 0.0 { -magnitude } else { magnitude })
    };
    values.iter().map(distance).collect()
}

/// A count of the core as a number.
#[expect(clippy::cast_precision_loss, reason = "checked to be at most 2^53 - 1")]
pub(crate) fn number(value: u64, what: &str) -> Result<f64> {
    if value as f64 <= MAX_SAFE {
        return Ok(value as f64);
    }
    Err(Error::TooLarge {
        path: std::path::PathBuf::new(),
        reason: format!("{what} is {value}; JavaScript numbers are exact up to 2^53 - 1 only"),
    })
}

/// A distance of the core as a number.
pub(crate) fn distance(value: i64) -> Result<f64> {
    let magnitude = number(value.unsigned_abs(), "a stride")?;
    Ok(if value < 0 { -magnitude } else { magnitude })
}

/// Where the elements of a view lie; counts and distances in elements.
#[napi(object)]
pub struct NativeLayout {
    /// Index of the first element.
    pub offset: f64,
    /// Elements along each axis.
    pub shape: Vec<f64>,
    /// Elements between neighbours along each axis.
    pub stride: Vec<f64>,
}

impl NativeLayout {
    /// The layout, proved to lie inside `len` elements.
    pub(crate) fn check(&self, len: u64) -> Result<Layout> {
        let (shape, strides) = (counts(&self.shape, "an axis of shape")?, distances(&self.stride)?);
        Layout::new(count(self.offset, "offset")?, shape, strides, len)
    }
}

/// How to open a file.
#[napi(object)]
pub struct NativeOpenOptions {
    /// r, r+ or c.
    pub mode: String,
    /// mmap, npy, safetensors, npz or raw; found from the content without.
    pub format: Option<String>,
    /// Long name of the dtype expected; of a raw file's elements.
    pub dtype: Option<String>,
    /// Shape expected, in elements; of a raw file, complex elements whole.
    pub shape: Option<Vec<f64>>,
    /// Refuse trailing bytes and padding that is not zero.
    pub strict: bool,
    /// Which array, where the file holds them by name.
    pub name: Option<String>,
    /// Raw only: the byte where the first element starts.
    pub offset: Option<f64>,
    /// Raw only: elements between neighbours along each axis.
    pub strides: Option<Vec<f64>>,
    /// Raw only: C or F.
    pub order: Option<String>,
    /// shared or exclusive: the lock to hold while the array is open.
    pub lock: Option<String>,
    /// Bytes of address space to keep ahead for growth.
    pub capacity: Option<f64>,
    /// Whether the file may be mapped; true without.
    pub mmap: Option<bool>,
}

impl NativeOpenOptions {
    pub(crate) fn check(&self) -> Result<OpenOptions> {
        let mut options = OpenOptions::new(Mode::parse(&self.mode)?);
        let element = self.dtype.as_deref().map(ElementType::parse).transpose()?;
        let shape = self.shape.as_deref().map(|shape| counts(shape, "an axis of shape")).transpose()?;
        options.format = self.format.as_deref().map(format_named).transpose()?;
        options.strict = self.strict;
        options.name.clone_from(&self.name);
        options.lock = self.lock.as_deref().map(Lock::parse).transpose()?;
        options.map = self.mmap.unwrap_or(true);
        options.capacity = count(self.capacity.unwrap_or(0.0), "capacity")?;
        if options.format == Some(Format::Raw) {
            let element = element.ok_or_else(|| Error::OutOfRange {
                reason: "a raw file does not say what it holds; give its dtype".to_owned(),
            })?;
            let offset = count(self.offset.unwrap_or(0.0), "offset")?;
            let strides = self.strides.as_deref().map(distances).transpose()?;
            let order = self.order.as_deref().map_or(Ok(Order::C), order_named)?;
            options.raw = Some(Raw { element, shape, offset, strides, order });
            return Ok(options);
        }
        if self.offset.is_some() || self.strides.is_some() || self.order.is_some() {
            return Err(Error::OutOfRange {
                reason: "offset, strides and order say where a raw file's elements lie; give format 'raw' with them"
                    .to_owned(),
            });
        }
        options.dtype = element;
        options.shape = shape;
        Ok(options)
    }
}

/// What names an open array to another thread or process.
#[napi(object)]
pub struct NativeHandle {
    /// The file.
    pub path: String,
    /// How to open it again.
    pub options: NativeOpenOptions,
    /// The file's identity, as text.
    pub identity: String,
    /// The process that made the handle, as 32 hexadecimal digits.
    pub process: String,
    /// The array among those of that process.
    pub id: f64,
}

impl NativeHandle {
    pub(crate) fn check(&self) -> Result<Handle> {
        let mut options = self.options.check()?;
        options.identity = Some(self.identity.parse()?);
        let process = u128::from_str_radix(&self.process, 16).map_err(|_| Error::OutOfRange {
            reason: format!("process is {:?}; expected 32 hexadecimal digits", self.process),
        })?;
        Ok(Handle { path: PathBuf::from(&self.path), options, process, id: count(self.id, "id")? })
    }
}

impl TryFrom<Handle> for NativeHandle {
    type Error = Error;

    fn try_from(handle: Handle) -> Result<Self> {
        let Handle { path, options, process, id } = handle;
        let raw = options.raw.as_ref();
        let axes = |shape: &[u64]| shape.iter().map(|&n| number(n, "an axis")).collect();
        let strides = |strides: &[i64]| strides.iter().map(|&stride| distance(stride)).collect();
        let element = raw.map(|raw| raw.element);
        let code = element.map(|element| element.npy_code().unwrap_or_else(|| element.name().to_owned()));
        Ok(Self {
            path: path.to_string_lossy().into_owned(),
            options: NativeOpenOptions {
                mode: options.mode.name().to_owned(),
                format: options.format.map(|format| format.name().to_owned()),
                dtype: code.or_else(|| options.dtype.map(|element| element.name().to_owned())),
                shape: raw.and_then(|raw| raw.shape.as_deref()).map(axes).transpose()?,
                strict: options.strict,
                name: options.name,
                offset: raw.map(|raw| number(raw.offset, "the offset")).transpose()?,
                strides: raw.and_then(|raw| raw.strides.as_deref()).map(strides).transpose()?,
                order: None,
                lock: options.lock.map(|lock| lock.name().to_owned()),
                capacity: None,
                mmap: None,
            },
            identity: options.identity.map(|identity| identity.to_string()).unwrap_or_default(),
            process: format!("{process:032x}"),
            id: number(id, "the id")?,
        })
    }
}

/// One array that a file holds.
#[napi(object)]
pub struct NativeEntry {
    /// What to open it by; empty for the one array of a file without names.
    pub name: String,
    /// Long name of the dtype, or the file's own code of one that is not read.
    pub dtype: String,
    /// Elements along each axis, complex ones whole.
    pub shape: Vec<f64>,
    /// The byte of the file where it starts.
    pub offset: f64,
}

impl TryFrom<Entry> for NativeEntry {
    type Error = Error;

    fn try_from(entry: Entry) -> Result<Self> {
        let axis = |&n: &u64| number(n, "an axis");
        Ok(Self {
            shape: entry.shape.iter().map(axis).collect::<Result<_>>()?,
            offset: number(entry.offset, "the offset")?,
            name: entry.name,
            dtype: entry.dtype,
        })
    }
}

/// What a new file is to hold.
#[napi(object)]
pub struct NativeCreateOptions {
    /// mmap, npy or raw; from the file name's extension without.
    pub format: Option<String>,
    /// Long name of the dtype.
    pub dtype: String,
    /// Elements along each axis.
    pub shape: Vec<f64>,
    /// C or F.
    pub order: String,
    /// Replace a file that is there.
    pub overwrite: bool,
    /// Reserve the disk space first.
    pub reserve: bool,
    /// Bytes of address space to keep ahead for growth.
    pub capacity: f64,
}

impl NativeCreateOptions {
    pub(crate) fn check(&self, path: &Path) -> Result<(ElementType, Vec<u64>, CreateOptions)> {
        let mut options = match &self.format {
            Some(format) => CreateOptions::new(format_named(format)?),
            None => CreateOptions::for_path(path)?,
        };
        options.order = order_named(&self.order)?;
        options.overwrite = self.overwrite;
        options.reserve = self.reserve;
        options.capacity = count(self.capacity, "capacity")?;
        Ok((ElementType::parse(&self.dtype)?, counts(&self.shape, "an axis of shape")?, options))
    }
}

pub(crate) fn order_named(name: &str) -> Result<Order> {
    match name {
        "C" => Ok(Order::C),
        "F" => Ok(Order::Fortran),
        _ => Err(Error::OutOfRange { reason: format!("order is {name:?}; expected 'C' or 'F'") }),
    }
}

pub(crate) fn format_named(name: &str) -> Result<Format> {
    Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
        let names = Format::ALL.map(|format| format!("'{}'", format.name())).join(", ");
        Error::OutOfRange { reason: format!("format is {name:?}; expected one of {names}") }
    })
}
