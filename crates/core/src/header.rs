//! What a file says about its array, whatever its format.
//!
//! A [`Header`] is made of numbers from a file, so its constructor proves all that is computed from them later. Code
//! that maps the data then has nothing left to check but the length of the file.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::dtype::{ByteOrder, DType};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::layout::{MAX_NDIM, Order, byte_count, contiguous_strides, element_count};

/// The description of one array in a file.
///
/// Conditions that every `Header` meets:
/// 1. There are at most [`MAX_NDIM`] axes.
/// 2. [`byte_count`] of the shape is some number: elements, bytes and strides are exact.
/// 3. The byte after the array, [`Header::file_len`], is at most `i64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    format: Format,
    dtype: DType,
    byte_order: ByteOrder,
    descr: String,
    shape: Vec<u64>,
    order: Order,
    data_offset: u64,
    len: u64,
    nbytes: u64,
    strides: Vec<i64>,
    file_len: u64,
}

impl Header {
    /// The header of an array whose elements start at byte `data_offset` of the file.
    ///
    /// `descr` is the file's own code of the dtype; `shape` counts elements.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where a condition of [`Header`] does not hold.
    pub fn new(
        format: Format,
        dtype: DType,
        byte_order: ByteOrder,
        descr: String,
        shape: Vec<u64>,
        order: Order,
        data_offset: u64,
    ) -> Result<Self> {
        let invalid = |reason| Error::invalid_header(format.name(), reason);
        let (len, nbytes) = measure(dtype, &shape).map_err(invalid)?;
        let strides = contiguous_strides(&shape, order)
            .ok_or_else(|| invalid(format!("the strides of shape {shape:?} overflow")))?;
        let file_len = data_offset
            .checked_add(nbytes)
            .filter(|&len| i64::try_from(len).is_ok())
            .ok_or_else(|| invalid(format!("{nbytes} bytes from byte {data_offset} on fit into no file")))?;
        Ok(Self {
            format,
            dtype,
            byte_order,
            descr,
            shape,
            order,
            data_offset,
            len,
            nbytes,
            strides,
            file_len,
        })
    }

    /// Checks that a file of `file_len` bytes holds the array, and with `strict` that it ends there.
    ///
    /// # Errors
    /// [`Error::FileTooShort`], and [`Error::TrailingData`] with `strict`.
    pub fn check_file_len(&self, file_len: u64, strict: bool) -> Result<()> {
        if file_len < self.file_len {
            return Err(Error::too_short("the array", self.file_len, file_len));
        }
        if strict && file_len > self.file_len {
            return Err(Error::trailing_data(self.file_len, file_len));
        }
        Ok(())
    }

    /// The format of the file.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The byte order of the elements in the file.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// The file's own code of the dtype: `<f4` in npy, `f32` in mmap.
    #[must_use]
    pub fn descr(&self) -> &str {
        &self.descr
    }

    /// Elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The order of the elements in the file.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Elements from one index of an axis to the next.
    #[must_use]
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// The byte of the file where the elements start. It need not be a multiple of their size.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// How many elements the array has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the array has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all elements.
    #[must_use]
    pub fn nbytes(&self) -> u64 {
        self.nbytes
    }

    /// Bytes of a file that ends with its array.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.file_len
    }
}

/// How many elements and bytes an array has, or why there is no such array.
pub(crate) fn measure(dtype: DType, shape: &[u64]) -> Result<(u64, u64), String> {
    if shape.len() > MAX_NDIM {
        return Err(format!("the shape has {} axes; expected at most {MAX_NDIM}", shape.len()));
    }
    element_count(shape).zip(byte_count(shape, dtype.itemsize())).ok_or_else(|| {
        format!("shape {shape:?} of {dtype} is more than {} bytes, axes of length 0 left out", i64::MAX)
    })
}
