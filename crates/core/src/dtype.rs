//! The element types, and the names that files and callers give them.
//!
//! Every format and both languages agree on this one list. A type has a long name (`float32`), which is what is shown,
//! a numpy code (`<f4`), which is what npy files hold, and mostly a short name (`f32`). Codes and short names meet in
//! `i8` and `u8`, where numpy counts bytes and Rust counts bits: numpy was first.

use std::fmt;

use crate::error::{Error, Result, clip};

/// A type of array element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// A truth value in one byte: 0 is false, anything else is true.
    Bool,
    /// A signed integer of 8 bits.
    Int8,
    /// An unsigned integer of 8 bits.
    Uint8,
    /// A signed integer of 16 bits.
    Int16,
    /// An unsigned integer of 16 bits.
    Uint16,
    /// A signed integer of 32 bits.
    Int32,
    /// An unsigned integer of 32 bits.
    Uint32,
    /// A signed integer of 64 bits.
    Int64,
    /// An unsigned integer of 64 bits.
    Uint64,
    /// An IEEE 754 number of 32 bits.
    Float32,
    /// An IEEE 754 number of 64 bits.
    Float64,
}

impl DType {
    /// Every type there is.
    pub const ALL: [Self; 11] = [
        Self::Bool,
        Self::Int8,
        Self::Uint8,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
        Self::Uint32,
        Self::Int64,
        Self::Uint64,
        Self::Float32,
        Self::Float64,
    ];

    /// Reads a long name, a numpy code or a short name (`f32`).
    ///
    /// `i8` and `u8` are numpy codes and have 64 bits. A name without a byte order means that of this machine, and so
    /// does every type of one byte.
    ///
    /// # Errors
    /// [`Error::UnsupportedDtype`] for any other text.
    pub fn parse(text: &str) -> Result<(Self, ByteOrder)> {
        let short = |dtype: &Self| {
            dtype.itemsize() > 1 && text == format!("{}{}", dtype.kind(), dtype.itemsize() * 8)
        };
        Self::parse_numpy(text).or_else(|error| {
            Self::ALL.into_iter().find(short).map(|dtype| (dtype, ByteOrder::NATIVE)).ok_or(error)
        })
    }

    /// Reads what `numpy.dtype` reads: a long name, or a code such as `<f8`, `f8`, `=i4`, `|u1`, `>d`.
    ///
    /// Not read are names whose size depends on the machine that wrote them (`l`, `int`) and numpy's other aliases.
    ///
    /// # Errors
    /// [`Error::UnsupportedDtype`] for any other text.
    pub fn parse_numpy(text: &str) -> Result<(Self, ByteOrder)> {
        if let Some(dtype) = Self::ALL.into_iter().find(|dtype| dtype.name() == text) {
            return Ok((dtype, ByteOrder::NATIVE));
        }
        let code = text.strip_prefix(['<', '>', '=', '|']).unwrap_or(text);
        let dtype = Self::from_code(code).ok_or_else(|| unsupported(text, code))?;
        let byte_order = match text.chars().next() {
            _ if dtype.itemsize() == 1 => ByteOrder::NATIVE,
            Some('<') => ByteOrder::Little,
            Some('>') => ByteOrder::Big,
            _ => ByteOrder::NATIVE,
        };
        Ok((dtype, byte_order))
    }

    /// The type of a numpy code without its byte order: a kind and a number of bytes, or a C type's letter.
    fn from_code(code: &str) -> Option<Self> {
        let mut chars = code.chars();
        let (kind, size) = (chars.next()?, chars.as_str());
        if !size.is_empty() {
            let size: usize = size.parse().ok()?;
            return Self::ALL.into_iter().find(|dtype| dtype.kind() == kind && dtype.itemsize() == size);
        }
        Some(match kind {
            '?' => Self::Bool,
            'b' => Self::Int8,
            'B' => Self::Uint8,
            'h' => Self::Int16,
            'H' => Self::Uint16,
            'i' => Self::Int32,
            'I' => Self::Uint32,
            'q' => Self::Int64,
            'Q' => Self::Uint64,
            'f' => Self::Float32,
            'd' => Self::Float64,
            _ => return None,
        })
    }

    /// The long name: `float32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn itemsize(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 => 8,
        }
    }

    /// The numpy code with its byte order: `<f4`, `>i8`, `|u1`.
    #[must_use]
    pub fn npy_code(self, byte_order: ByteOrder) -> String {
        let order = match byte_order {
            _ if self.itemsize() == 1 => '|',
            ByteOrder::Little => '<',
            ByteOrder::Big => '>',
        };
        format!("{order}{}{}", self.kind(), self.itemsize())
    }

    /// numpy's letter for the kind of number.
    const fn kind(self) -> char {
        match self {
            Self::Bool => 'b',
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => 'i',
            Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 => 'u',
            Self::Float32 | Self::Float64 => 'f',
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which byte of an element comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The lowest.
    Little,
    /// The highest.
    Big,
}

impl ByteOrder {
    /// The order of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Whether elements can be used as they are.
    #[must_use]
    pub fn is_native(self) -> bool {
        self == Self::NATIVE
    }
}

/// Says why `text` names no type of ours; `code` is the same without a byte order.
fn unsupported(text: &str, code: &str) -> Error {
    let name = code.split('[').next().unwrap_or(code);
    let reason = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "O" | "object" => {
            "Python objects are stored as a pickle, which cannot be mapped. Save the array with a dtype of numbers"
        }
        "S" | "a" | "U" | "T" | "str" | "bytes" => {
            "text has no number type. Save what it stands for as numbers, or the text in another format"
        }
        "M" | "m" | "datetime" | "timedelta" => {
            "dates and durations are not read. Save `array.view('int64')`, the numbers behind them"
        }
        "V" | "void" => {
            "raw bytes and records are not read by this version. Save them as uint8, or each field by itself"
        }
        "e" | "g" | "c" | "F" | "D" | "G" | "half" | "bfloat" | "longdouble" | "complex" => OTHER_FLOATS,
        "f" | "float" if matches!(name, "f2" | "f12" | "f16" | "float16" | "float96" | "float128") => {
            OTHER_FLOATS
        }
        _ => {
            "expected bool, int8 to int64, uint8 to uint64, float32 or float64, \
             as such a name, as a numpy code ('<f4') or as a short name ('f32')"
        }
    };
    Error::unsupported_dtype(clip(text), reason)
}

const OTHER_FLOATS: &str =
    "half, extended and complex precision are not read by this version. Save the array as float32 or float64";
