//! What a file says about its array, whatever its format.
//!
//! A [`Header`] is made of numbers from a file or from a caller, so its constructors prove all that is computed from
//! them later. Code that maps the data then has nothing left to check but the length of the file.
//!
//! Elements need not lie one after the other: a field of records, the samples of one audio channel and a matrix read
//! backwards are strided in the file. Such distances are whole numbers of elements where they can be. Where they are
//! not (a float64 in records of 9 bytes) everything is counted in a smaller [`unit`](Header::unit), so that index
//! arithmetic stays arithmetic.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::dtype::{ByteOrder, DType, ElementType};
use crate::error::{Error, Result};
use crate::format::{Format, Raw};
use crate::layout::{MAX_NDIM, Order, byte_count, contiguous_strides, element_count, reach};

/// The description of one array in a file.
///
/// Conditions that every `Header` meets:
/// 1. There are at most [`MAX_NDIM`] axes, a last one of complex parts not counted.
/// 2. [`byte_count`] of the shape is some number: elements, bytes and strides are exact.
/// 3. Every byte of every element lies in `data_offset..data_offset + data_len`, which ends at or before `file_len`.
/// 4. The byte after the array, [`Header::file_len`], is at most `i64::MAX`.
/// 5. `unit` divides the size of an element and every distance between elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    format: Format,
    element: ElementType,
    descr: String,
    shape: Vec<u64>,
    len: u64,
    data_offset: u64,
    data_len: u64,
    unit: u64,
    offset: u64,
    strides: Vec<i64>,
    file_len: u64,
}

impl Header {
    /// The header of an array that lies without gaps from byte `data_offset` of the file on.
    ///
    /// `descr` is the file's own code of the type, and `shape` counts its elements. Complex numbers become their
    /// parts: the header's shape has one more axis, of 2.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where a condition of [`Header`] does not hold.
    pub fn new(
        format: Format,
        element: ElementType,
        descr: String,
        shape: Vec<u64>,
        order: Order,
        data_offset: u64,
    ) -> Result<Self> {
        let invalid = |reason| Error::invalid_header(format.name(), reason);
        let (_, nbytes) = measure(element, &shape).map_err(invalid)?;
        let size = i64::try_from(element.size()).unwrap_or(i64::MAX);
        let steps = contiguous_strides(&shape, order)
            .and_then(|strides| strides.iter().map(|stride| stride.checked_mul(size)).collect::<Option<_>>())
            .ok_or_else(|| invalid(format!("the strides of shape {shape:?} overflow")))?;
        let file_len = data_offset
            .checked_add(nbytes)
            .ok_or_else(|| invalid(format!("{nbytes} bytes from byte {data_offset} on fit into no file")))?;
        Self::strided(format, element, descr, shape, data_offset, steps, file_len)
    }

    /// The header of an array whose first element is at byte `first` of the file, and whose neighbours along each axis
    /// are `steps` bytes apart, in a file of at least `file_len` bytes.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where a condition of [`Header`] does not hold.
    pub fn strided(
        format: Format,
        element: ElementType,
        descr: String,
        mut shape: Vec<u64>,
        first: u64,
        mut steps: Vec<i64>,
        file_len: u64,
    ) -> Result<Self> {
        let invalid = |reason| Error::invalid_header(format.name(), reason);
        let (len, _) = measure(element, &shape).map_err(invalid)?;
        if element.complex {
            shape.push(2);
            steps.push(i64::try_from(element.dtype.itemsize()).unwrap_or(i64::MAX));
        }
        if shape.len() != steps.len() {
            return Err(invalid(format!("shape {shape:?} has not one stride for each axis in {steps:?}")));
        }
        if i64::try_from(file_len).is_err() {
            return Err(invalid(format!("{file_len} bytes fit into no file")));
        }
        let itemsize = element.dtype.itemsize() as u64;
        let len = if element.complex { len.saturating_mul(2) } else { len };
        // Without elements nothing is reached, also where a field of no records would start past their end.
        let first = if len == 0 { first.min(file_len) } else { first };
        // The bytes reached, `end` being the one after the last.
        let (start, end) = if len == 0 {
            (first, first)
        } else {
            reach(first, &shape, &steps)
                .and_then(|(low, high)| Some((low, high.checked_sub(1)?.checked_add(itemsize)?)))
                .filter(|&(_, end)| end <= file_len)
                .ok_or_else(|| {
                    invalid(format!(
                        "elements of {itemsize} bytes, the first at byte {first}, of shape {shape:?} and {steps:?} bytes \
                         apart reach outside the {file_len} bytes there are"
                    ))
                })?
        };
        let unit = steps.iter().fold(itemsize, |unit, step| gcd(unit, step.unsigned_abs()));
        let units = |bytes: i64| i64::try_from(unit).ok().and_then(|unit| bytes.checked_div(unit));
        let strides = steps.into_iter().map(units).collect::<Option<_>>();
        let offset = first.checked_sub(start).and_then(|bytes| bytes.checked_div(unit));
        let (Some(strides), Some(offset)) = (strides, offset) else {
            return Err(invalid(format!("its distances are no multiples of {unit} bytes")));
        };
        let data_len = end.saturating_sub(start);
        Ok(Self {
            format,
            element,
            descr,
            shape,
            len,
            data_offset: start,
            data_len,
            unit,
            offset,
            strides,
            file_len,
        })
    }

    /// Elements along each axis, complex ones whole: as a format says it.
    pub(crate) fn whole_shape(&self) -> &[u64] {
        let parts = usize::from(self.element.complex);
        self.shape.split_at_checked(self.shape.len().saturating_sub(parts)).map_or(&[], |(shape, _)| shape)
    }

    /// The same array with `n` elements along an axis of [`whole_shape`](Self::whole_shape); it has no gaps and lies in
    /// `order`.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where a condition of [`Header`] does not hold.
    pub(crate) fn resized(&self, axis: usize, n: u64, order: Order) -> Result<Self> {
        let mut shape = self.whole_shape().to_vec();
        if let Some(extent) = shape.get_mut(axis) {
            *extent = n;
        }
        Self::new(self.format, self.element, self.descr.clone(), shape, order, self.data_offset)
    }

    /// Whether `other` lies in the same place and differs at most in the length of one axis.
    pub(crate) fn differs_in_length(&self, other: &Self) -> bool {
        let place = |header: &Self| {
            (
                header.format,
                header.element,
                header.data_offset,
                header.unit,
                header.offset,
                header.shape.len(),
            )
        };
        let changed = self.shape.iter().zip(&other.shape).filter(|(one, other)| one != other).count();
        place(self) == place(other) && self.strides == other.strides && changed < 2
    }

    /// The same array in a file of `file_len` bytes, which may go on after it: other arrays are there as well.
    pub(crate) fn in_file_of(mut self, file_len: u64) -> Self {
        self.file_len = self.file_len.max(file_len.min(i64::MAX.cast_unsigned()));
        self
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

    /// The type of the elements, which for complex numbers is that of their parts.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.element.dtype
    }

    /// The type as the file has it: with its byte order, and whether it is complex.
    #[must_use]
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The byte order of the elements in the file.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.element.byte_order
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

    /// The lowest byte of the file that belongs to an element. It need not be a multiple of their size.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Bytes from there to the end of the highest element: what has to be mapped.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Bytes of the file up to the end of the array.
    pub(crate) fn end(&self) -> u64 {
        // Condition 3: no more than the file has.
        self.data_offset.saturating_add(self.data_len)
    }

    /// Bytes that [`offset`](Self::offset) and [`strides`](Self::strides) count: those of an element, or fewer.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// Units from `data_offset` to the element whose indices are all 0.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Units from one index of an axis to the next.
    #[must_use]
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// Whether different indices can be of the same byte, as with a stride of 0.
    #[must_use]
    pub fn overlaps(&self) -> bool {
        let axes = self.strides.iter().zip(&self.shape).filter(|&(_, &n)| n > 1);
        let mut axes: Vec<_> = axes.map(|(stride, &n)| (stride.unsigned_abs(), n)).collect();
        axes.sort_unstable();
        let mut reach = (self.element.dtype.itemsize() as u64).checked_div(self.unit).unwrap_or_default();
        !self.is_empty()
            && axes.into_iter().any(|(stride, n)| {
                let overlaps = stride < reach;
                reach = reach.max(stride.saturating_mul(n));
                overlaps
            })
    }

    /// The same elements as those of a raw file are described; `None` where neighbours are not whole elements apart.
    #[must_use]
    pub fn to_raw(&self) -> Option<Raw> {
        let parts = usize::from(self.element.complex);
        let ndim = self.shape.len().checked_sub(parts)?;
        let size = i64::try_from(self.element.size()).ok()?;
        let unit = i64::try_from(self.unit).ok()?;
        let stride = |&stride: &i64| {
            let bytes = stride.checked_mul(unit)?;
            (bytes.checked_rem(size)? == 0).then_some(bytes.checked_div(size)?)
        };
        Some(Raw {
            element: self.element,
            shape: Some(self.shape.get(..ndim)?.to_vec()),
            offset: self.offset.checked_mul(self.unit)?.checked_add(self.data_offset)?,
            strides: Some(self.strides.get(..ndim)?.iter().map(stride).collect::<Option<_>>()?),
            order: Order::C,
        })
    }

    /// Bytes of a file that ends with its array.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.file_len
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// How many elements and bytes an array has, or why there is no such array.
pub(crate) fn measure(element: ElementType, shape: &[u64]) -> Result<(u64, u64), String> {
    if shape.len() > MAX_NDIM {
        return Err(format!("the shape has {} axes; expected at most {MAX_NDIM}", shape.len()));
    }
    element_count(shape).zip(byte_count(shape, element.size())).ok_or_else(|| {
        format!("shape {shape:?} of {element} is more than {} bytes, axes of length 0 left out", i64::MAX)
    })
}
