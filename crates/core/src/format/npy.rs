//! The format of `numpy.save`, versions 1.0, 2.0 and 3.0.
//!
//! The magic, a version, the length of a text, the text, the elements. The text is a Python dict with the keys
//! `descr`, `fortran_order` and `shape`. What numpy 2 reads with pickle off is read, what it refuses is refused, save
//! what [`super::literal`] and [`DType::parse_numpy`] leave out; its limit of 10000 characters holds here too, and is
//! checked before anything is allocated.
//!
//! What is written is what numpy writes, spaces included: room for the growing axis to become longer in place, then up
//! to 64 that bring the elements to a multiple of 64 bytes. A text of numbers alone is never too long for version 1.0.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Format;
use super::literal::{self, Value};
use crate::dtype::{ByteOrder, DType};
use crate::error::{Error, Result};
use crate::header::Header;
use crate::layout::Order;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// numpy's `max_header_size`, in characters.
const MAX_TEXT: usize = 10_000;
/// Bytes of the longest header: one of version 3.0, whose characters have up to 4 bytes.
pub(super) const MAX_HEADER_LEN: usize = 12 + 4 * MAX_TEXT;

/// Digits that the growing axis may come to have without a longer header.
const GROWTH_DIGITS: usize = 21;
const ALIGN: usize = 64;

/// Reads the header at the start of `prefix`, which starts with the magic or ends within it.
pub(super) fn read(prefix: &[u8]) -> Result<Header> {
    let too_short = |expected| Error::too_short("an npy header", expected, prefix.len() as u64);
    let (&[.., major, minor], rest) = prefix.split_first_chunk::<8>().ok_or_else(|| too_short(10))?;
    let (text_len, rest) = match (major, minor) {
        (1, 0) => rest.split_first_chunk().map(|(len, rest)| (u32::from(u16::from_le_bytes(*len)), rest)),
        (2 | 3, 0) => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len), rest)),
        _ => {
            let version = format!("{major}.{minor}");
            return Err(Error::unsupported_version(Format::Npy.name(), version, "1.0, 2.0 or 3.0"));
        }
    }
    .ok_or_else(|| too_short(if major == 1 { 10 } else { 12 }))?;

    let text_start = prefix.len().saturating_sub(rest.len()) as u64;
    let text_end = text_start.saturating_add(u64::from(text_len));
    let too_long = || {
        invalid(format!("its text has {text_len} bytes; expected at most {MAX_TEXT} characters, as in numpy"))
    };
    let text_len = usize::try_from(text_len).map_err(|_| too_long())?;
    if text_len > if major == 3 { MAX_TEXT.saturating_mul(4) } else { MAX_TEXT } {
        return Err(too_long());
    }
    let bytes = rest.get(..text_len).ok_or_else(|| too_short(text_end))?;
    let text = match major {
        3 => str::from_utf8(bytes).map_err(|_| invalid("its text is not UTF-8".to_owned()))?.to_owned(),
        _ => bytes.iter().map(|&latin1| char::from(latin1)).collect(),
    };
    if text.chars().nth(MAX_TEXT).is_some() {
        return Err(too_long());
    }
    let value = literal::parse(&text, major < 3).map_err(invalid)?;
    header_of(value, text_end)
}

/// Checks that `value` is a dict of the three keys, and what they hold.
fn header_of(value: Value, data_offset: u64) -> Result<Header> {
    let Value::Dict(entries) = value else {
        return Err(invalid(format!("its text is {}; expected a dict", value.kind())));
    };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    for (key, value) in entries {
        match key.as_str() {
            "descr" => descr = Some(value),
            "fortran_order" => fortran = Some(value),
            "shape" => shape = Some(value),
            _ => {
                return Err(invalid(format!("unknown key {key:?}; expected descr, fortran_order and shape")));
            }
        }
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
        return Err(invalid("a key is missing; expected descr, fortran_order and shape".to_owned()));
    };

    let Value::Tuple(axes) = shape else {
        return Err(invalid(format!("shape is {}; expected a tuple", shape.kind())));
    };
    let shape = axes.into_iter().map(|axis| match axis {
        Value::Int(n) => {
            u64::try_from(n).map_err(|_| invalid(format!("an axis has length {n}; expected 0 or more")))
        }
        other => {
            Err(invalid(format!("an axis has for its length {}; expected a whole number", other.kind())))
        }
    });
    let shape = shape.collect::<Result<Vec<_>>>()?;
    let order = match fortran {
        Value::Bool(true) => Order::Fortran,
        Value::Bool(false) => Order::C,
        other => {
            return Err(invalid(format!("fortran_order is {}; expected True or False", other.kind())));
        }
    };
    let descr = match descr {
        Value::Str(descr) => descr,
        Value::List | Value::Tuple(_) => {
            return Err(Error::unsupported_dtype(
                "record",
                "records and arrays of arrays are not read by this version. Save each field as an array of its own",
            ));
        }
        other => {
            return Err(invalid(format!("descr is {}; expected text such as '<f4'", other.kind())));
        }
    };
    let (dtype, byte_order) = DType::parse_numpy(&descr)?;
    Header::new(Format::Npy, dtype, byte_order, descr, shape, order, data_offset)
}

/// Makes the header of an array that the caller has measured; `order` is canonical.
pub(super) fn write(dtype: DType, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    let fortran = order == Order::Fortran;
    let axes: Vec<_> = shape.iter().map(u64::to_string).collect();
    let comma = if axes.len() == 1 { "," } else { "" };
    let growing = if fortran { axes.last() } else { axes.first() };
    let growth = growing.map_or(0, |digits| GROWTH_DIGITS.saturating_sub(digits.len()));
    let text = format!(
        "{{'descr': '{}', 'fortran_order': {}, 'shape': ({}{comma}), }}{:growth$}",
        dtype.npy_code(ByteOrder::NATIVE),
        if fortran { "True" } else { "False" },
        axes.join(", "),
        "",
    );
    // 10 bytes before the text and one line feed after it; an exact fit gets 64 more, as in numpy.
    let used = text.len().saturating_add(11);
    let text = format!("{text}{:padding$}\n", "", padding = ALIGN.saturating_sub(used % ALIGN));
    let text_len = u16::try_from(text.len()).map_err(|_| {
        Error::too_large(format!("a header of {} bytes fits no npy file of version 1.0", text.len()))
    })?;
    Ok([MAGIC, &[1, 0], &text_len.to_le_bytes(), text.as_bytes()].concat())
}

fn invalid(reason: String) -> Error {
    Error::invalid_header(Format::Npy.name(), reason)
}
