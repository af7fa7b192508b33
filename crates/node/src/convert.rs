//! Numbers and options of JavaScript as those of the core, and back.
//!
//! A JavaScript number is exact as an integer up to 2^53 - 1. Everything else (fractions, NaN, negative numbers where
//! none belong) is refused here, whatever TypeScript has let through.

use std::path::Path;

use mmap_ndarray_core::{CreateOptions, DType, Error, Format, Layout, Mode, OpenOptions, Order, Result};
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
        let stride = |&value: &f64| {
            // An integer of magnitude up to 2^53 - 1.
            let magnitude = count(value.abs(), "a stride")?.cast_signed();
            Ok(if value < 0.0 { -magnitude } else { magnitude })
        };
        let strides = self.stride.iter().map(stride).collect::<Result<Vec<i64>>>()?;
        Layout::new(count(self.offset, "offset")?, counts(&self.shape, "an axis of shape")?, strides, len)
    }
}

/// How to open a file.
#[napi(object)]
pub struct NativeOpenOptions {
    /// r, r+ or c.
    pub mode: String,
    /// mmap or npy; found from the content without.
    pub format: Option<String>,
    /// Long name of the dtype expected.
    pub dtype: Option<String>,
    /// Shape expected, in elements.
    pub shape: Option<Vec<f64>>,
    /// Refuse trailing bytes and padding that is not zero.
    pub strict: bool,
}

impl NativeOpenOptions {
    pub(crate) fn check(&self) -> Result<OpenOptions> {
        let mut options = OpenOptions::new(Mode::parse(&self.mode)?);
        options.format = self.format.as_deref().map(format_named).transpose()?;
        options.dtype = self.dtype.as_deref().map(dtype_named).transpose()?;
        options.shape = self.shape.as_deref().map(|shape| counts(shape, "an axis of shape")).transpose()?;
        options.strict = self.strict;
        Ok(options)
    }
}

/// What a new file is to hold.
#[napi(object)]
pub struct NativeCreateOptions {
    /// mmap or npy; from the file name's extension without.
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
}

impl NativeCreateOptions {
    pub(crate) fn check(&self, path: &Path) -> Result<(DType, Vec<u64>, CreateOptions)> {
        let mut options = match &self.format {
            Some(format) => CreateOptions::new(format_named(format)?),
            None => CreateOptions::for_path(path)?,
        };
        options.order = if self.order == "F" { Order::Fortran } else { Order::C };
        options.overwrite = self.overwrite;
        options.reserve = self.reserve;
        Ok((dtype_named(&self.dtype)?, counts(&self.shape, "an axis of shape")?, options))
    }
}

pub(crate) fn dtype_named(name: &str) -> Result<DType> {
    DType::parse(name).map(|(dtype, _)| dtype)
}

fn format_named(name: &str) -> Result<Format> {
    [Format::Mmap, Format::Npy]
        .into_iter()
        .find(|format| format.name() == name)
        .ok_or_else(|| Error::OutOfRange { reason: format!("format is {name:?}; expected 'mmap' or 'npy'") })
}
