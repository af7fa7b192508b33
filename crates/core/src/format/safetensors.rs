//! The format of Hugging Face: named tensors, little-endian and in C order.
//!
//! The length of a text, the text, the data. The text is a JSON object of names and of what each tensor is. What the
//! library of the format refuses is refused: a text longer than 100 MB, tensors that leave gaps or overlap, a file that
//! does not end with the last of them. Stricter than the library: names and keys occur once, and files are judged as a
//! whole before any of their tensors is opened.
//!
//! The text is read as a stream, so a length that lies costs nothing; what is kept of it is bounded by its own length.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::HashSet;
use std::fmt;
use std::io::BufReader;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::source::{Source, failed};
use super::{Entry, Format, choose};
use crate::dtype::{ByteOrder, DType, ElementType};
use crate::error::{Error, Result, clip};
use crate::header::Header;
use crate::layout::{MAX_NDIM, Order, byte_count};

/// The library's `MAX_HEADER_SIZE`, in bytes.
const MAX_TEXT: u64 = 100_000_000;
/// Bytes before the text.
const PREFIX_LEN: u64 = 8;

/// The codes that are read.
const DTYPES: [(&str, DType, bool); 14] = [
    ("BOOL", DType::Bool, false),
    ("I8", DType::Int8, false),
    ("U8", DType::Uint8, false),
    ("I16", DType::Int16, false),
    ("U16", DType::Uint16, false),
    ("I32", DType::Int32, false),
    ("U32", DType::Uint32, false),
    ("I64", DType::Int64, false),
    ("U64", DType::Uint64, false),
    ("F16", DType::Float16, false),
    ("BF16", DType::Bfloat16, false),
    ("F32", DType::Float32, false),
    ("F64", DType::Float64, false),
    ("C64", DType::Float32, true),
];

/// The codes that are known and not read, with their bits.
const OTHERS: [(&str, usize); 8] = [
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
];

/// Whether a file that starts with `prefix` says that it is one of these.
pub(super) fn begins(prefix: &[u8]) -> bool {
    matches!(prefix.get(8..), Some([b'{', b'"' | b'}' | b' ', ..]))
}

/// Reads the header of the tensor called `name`, or of the only one.
pub(super) fn read(source: &Source, name: Option<&str>) -> Result<Header> {
    let (tensors, start) = tensors(source)?;
    let only = if let [only] = &*tensors { Some(only.name.clone()) } else { None };
    let name = name.or(only.as_deref());
    let Tensor { code, shape, start: from, .. } =
        choose(tensors, name, |tensor| &tensor.name, str::to_owned)?;
    let element = element_of(&code).ok_or_else(|| {
        Error::unsupported_dtype(
            clip(&code),
            "numbers of 8 bits and fewer with a fraction are not read. Convert the tensor to F16 or F32",
        )
    })?;
    let offset = start.checked_add(from).ok_or_else(|| invalid("its tensors fit into no file"))?;
    let header = Header::new(Format::Safetensors, element, code, shape, Order::C, offset)?;
    Ok(header.in_file_of(source.len()))
}

/// Lists the tensors.
pub(super) fn list(source: &Source) -> Result<Vec<Entry>> {
    let (tensors, start) = tensors(source)?;
    let entry = |tensor: Tensor| Entry {
        dtype: element_of(&tensor.code).map_or(tensor.code, |element| element.name().to_owned()),
        name: tensor.name,
        shape: tensor.shape,
        offset: start.saturating_add(tensor.start),
    };
    Ok(tensors.into_iter().map(entry).collect())
}

/// One tensor; positions are bytes of the data.
struct Tensor {
    name: String,
    code: String,
    shape: Vec<u64>,
    start: u64,
    end: u64,
}

/// The tensors in the order of their data, proved to fill it, and the byte of the file where the data starts.
fn tensors(source: &Source) -> Result<(Vec<Tensor>, u64)> {
    let what = "a safetensors header";
    let prefix = source.bytes(0, 9)?;
    let Some((len, _)) = prefix.split_first_chunk() else {
        return Err(Error::too_short(what, PREFIX_LEN, source.len()));
    };
    let len = u64::from_le_bytes(*len);
    if len > MAX_TEXT {
        return Err(invalid(format!("its text has {len} bytes; expected at most {MAX_TEXT}")));
    }
    let start = len.saturating_add(PREFIX_LEN);
    if start > source.len() {
        return Err(Error::too_short(what, start, source.len()));
    }
    if prefix.get(8) != Some(&b'{') {
        return Err(invalid("its text does not start with '{'; expected a JSON object"));
    }
    let text = BufReader::new(source.part(PREFIX_LEN, len));
    let Tensors(mut tensors) = serde_json::from_reader(text).map_err(|error| {
        if error.is_io() {
            failed(error.into())
        } else {
            invalid(format!("its text is not as expected: {error}"))
        }
    })?;
    tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
    let mut end = 0;
    for tensor in &tensors {
        check(tensor, end)?;
        end = tensor.end;
    }
    let file_len = start.checked_add(end).ok_or_else(|| invalid("its tensors fit into no file"))?;
    if file_len > source.len() {
        return Err(Error::too_short("its tensors", file_len, source.len()));
    }
    if file_len < source.len() {
        return Err(invalid(format!(
            "its tensors end at byte {file_len}; expected the end of the file, which has {} bytes",
            source.len()
        )));
    }
    Ok((tensors, start))
}

/// Checks that a tensor begins at byte `expected` of the data, and ends where its shape says.
fn check(tensor: &Tensor, expected: u64) -> Result<()> {
    let Tensor { name, code, shape, start, end } = tensor;
    let name = clip(name);
    if *start != expected {
        return Err(invalid(format!(
            "tensor {name:?} starts at byte {start} of the data; expected {expected}, where the one before it ends"
        )));
    }
    let bits = DTYPES.iter().find(|entry| entry.0 == code).map(|entry| {
        let size = entry.1.itemsize().saturating_mul(8);
        if entry.2 { size.saturating_mul(2) } else { size }
    });
    let known = bits.or_else(|| OTHERS.iter().find(|entry| entry.0 == code).map(|entry| entry.1));
    let bits = known.ok_or_else(|| {
        Error::unsupported_dtype(
            clip(code),
            "no version of safetensors known here has it, so nor has its data a length",
        )
    })?;
    // Counted in bits, which is what the library does.
    let nbytes = byte_count(shape, bits).filter(|bits| bits.is_multiple_of(8)).map(|bits| bits >> 3);
    let found = end.checked_sub(*start);
    if nbytes.is_none() || nbytes != found {
        return Err(invalid(format!(
            "tensor {name:?} has bytes {start} to {end} of the data; expected as many as shape {shape:?} of {code} has"
        )));
    }
    Ok(())
}

fn element_of(code: &str) -> Option<ElementType> {
    let &(_, dtype, complex) = DTYPES.iter().find(|entry| entry.0 == code)?;
    Some(ElementType { dtype, byte_order: ByteOrder::Little, complex })
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid_header(Format::Safetensors.name(), reason)
}

/// The text, less what it says about itself.
struct Tensors(Vec<Tensor>);

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TensorsVisitor)
    }
}

struct TensorsVisitor;

impl<'de> Visitor<'de> for TensorsVisitor {
    type Value = Tensors;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensors, A::Error> {
        let (mut tensors, mut names) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the key {:?} occurs twice", clip(&name))));
            }
            if name == "__metadata__" {
                map.next_value::<Metadata>()?;
                continue;
            }
            let Info { dtype: code, shape: Shape(shape), data_offsets: (start, end) } = map.next_value()?;
            tensors.push(Tensor { name, code, shape, start, end });
        }
        Ok(Tensors(tensors))
    }
}

/// What the text says of one tensor.
#[derive(serde::Deserialize)]
struct Info {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// Elements along each axis: no more axes than arrays have.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "at most {MAX_NDIM} whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(length) = items.next_element()? {
            if shape.len() == MAX_NDIM {
                return Err(A::Error::custom(format!("more than {MAX_NDIM} axes")));
            }
            shape.push(length);
        }
        Ok(Shape(shape))
    }
}

/// Strings by name, checked and forgotten.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, _)) = map.next_entry::<String, String>()? {
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("the key {:?} occurs twice", clip(&twice))));
            }
        }
        Ok(Metadata)
    }
}
