//! The format of the seed, scirs2-core's `MmapArray`, in both directions.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | `MMAP` |
//! | 4 | version, 1 |
//! | 5 | dtype: 1 float32, 2 float64, 3 int32, 4 int64 |
//! | 6..8 | number of axes, at most 6, u16 |
//! | 8..16 | number of elements, u64 |
//! | 16..64 | the shape, u64 for each axis, then zeros |
//! | 64.. | the elements in C order |
//!
//! All of it is little-endian. The seed writes elements in the byte order of its machine without saying so; as it runs
//! on little-endian machines in practice, that is what is read and written. It also believes every number in a header. Here the
//! number of elements must be the product of the shape.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Format;
use crate::dtype::{ByteOrder, DType, ElementType};
use crate::error::{Error, Result};
use crate::header::Header;
use crate::layout::{Order, element_count};

pub(super) const MAGIC: &[u8] = b"MMAP";
const VERSION: u8 = 1;
pub(super) const HEADER_LEN: usize = 64;
const MAX_AXES: usize = 6;

/// The id of each dtype, and the seed's name for it.
const DTYPES: [(u8, DType, &str); 4] = [
    (1, DType::Float32, "f32"),
    (2, DType::Float64, "f64"),
    (3, DType::Int32, "i32"),
    (4, DType::Int64, "i64"),
];

/// Reads the header at the start of `prefix`, which starts with the magic or ends within it.
pub(super) fn read(prefix: &[u8], strict: bool) -> Result<Header> {
    let invalid = |reason| Error::invalid_header(Format::Mmap.name(), reason);
    let (fixed, rest) = prefix
        .get(..HEADER_LEN)
        .and_then(<[u8]>::split_first_chunk::<16>)
        .ok_or_else(|| Error::too_short("an mmap header", HEADER_LEN as u64, prefix.len() as u64))?;
    let &[_, _, _, _, version, id, ndim_low, ndim_high, ref total @ ..] = fixed;
    let ndim = u16::from_le_bytes([ndim_low, ndim_high]);
    let total = u64::from_le_bytes(*total);
    let (slots, _) = rest.as_chunks::<8>();

    if version != VERSION {
        return Err(Error::unsupported_version(Format::Mmap.name(), version.to_string(), "1"));
    }
    let &(_, dtype, descr) = DTYPES.iter().find(|entry| entry.0 == id).ok_or_else(|| {
        Error::unsupported_dtype(
            format!("id {id}"),
            "an mmap file holds 1 (float32), 2 (float64), 3 (int32) or 4 (int64)",
        )
    })?;
    let (axes, padding) = slots.split_at_checked(usize::from(ndim)).ok_or_else(|| {
        invalid(format!("it says {ndim} axes; expected at most {MAX_AXES}, which is what it has room for"))
    })?;
    let shape = axes.iter().map(|axis| u64::from_le_bytes(*axis)).collect();
    let header = Header::new(
        Format::Mmap,
        ElementType { dtype, byte_order: ByteOrder::Little, complex: false },
        descr.to_owned(),
        shape,
        Order::C,
        HEADER_LEN as u64,
    )?;
    if total != header.len() {
        return Err(invalid(format!(
            "it says {total} elements, and a shape of {:?}; expected their product, {}",
            header.shape(),
            header.len()
        )));
    }
    if strict && padding.as_flattened().iter().any(|&byte| byte != 0) {
        return Err(invalid(
            "there are bytes other than zero after the shape; open it without `strict` to ignore them"
                .to_owned(),
        ));
    }
    Ok(header)
}

/// Makes the header of an array that the caller has measured.
pub(super) fn write(element: ElementType, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    // Whatever order is asked for, the elements are written as `read` will read them.
    let plain = DTYPES.iter().find(|entry| entry.1 == element.dtype && !element.complex);
    let &(id, ..) = plain.ok_or_else(|| {
        Error::unsupported_dtype(
            element.name(),
            "an mmap file holds float32, float64, int32 or int64. Write an npy file instead",
        )
    })?;
    let Some(ndim) = u16::try_from(shape.len()).ok().filter(|_| shape.len() <= MAX_AXES) else {
        return Err(Error::too_large(format!(
            "the shape has {} axes, an mmap file holds at most {MAX_AXES}. Write an npy file instead",
            shape.len()
        )));
    };
    if order != Order::C {
        return Err(Error::out_of_range(
            "order is F, an mmap file holds C order only. Write in C order, or an npy file instead",
        ));
    }
    let total = element_count(shape).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(MAGIC);
    bytes.extend([VERSION, id]);
    bytes.extend(ndim.to_le_bytes());
    bytes.extend(total.to_le_bytes());
    bytes.extend(shape.iter().flat_map(|axis| axis.to_le_bytes()));
    bytes.resize(HEADER_LEN, 0);
    Ok(bytes)
}
