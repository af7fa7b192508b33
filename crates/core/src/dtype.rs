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
    /// An IEEE 754 number of 16 bits.
    Float16,
    /// The upper 16 bits of a float32.
    Bfloat16,
    /// An IEEE 754 number of 32 bits.
    Float32,
    /// An IEEE 754 number of 64 bits.
    Float64,
}

impl DType {
    /// Every type there is.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::Int8,
        Self::Uint8,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
        Self::Uint32,
        Self::Int64,
        Self::Uint64,
        Self::Float16,
        Self::Bfloat16,
        Self::Float32,
        Self::Float64,
    ];

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
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn itemsize(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 | Self::Float16 | Self::Bfloat16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 => 8,
        }
    }

    /// numpy's letter for the kind of number.
    const fn kind(self) -> char {
        match self {
            Self::Bool => 'b',
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => 'i',
            Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 => 'u',
            Self::Float16 | Self::Bfloat16 | Self::Float32 | Self::Float64 => 'f',
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

/// The type of a file's elements: a dtype, its byte order, and whether two of them make a complex number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElementType {
    /// The type, or that of the parts of a complex number.
    pub dtype: DType,
    /// Which byte comes first.
    pub byte_order: ByteOrder,
    /// Whether each element is a real and an imaginary part.
    pub complex: bool,
}

impl From<DType> for ElementType {
    /// Elements of this machine.
    fn from(dtype: DType) -> Self {
        Self { dtype, byte_order: ByteOrder::NATIVE, complex: false }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ElementType {
    /// Reads a long name (`float32`, `complex64`), a numpy code or a short name (`f32`, `bf16`).
    ///
    /// `i8` and `u8` are numpy codes and have 64 bits. A name without a byte order means that of this machine, and so
    /// does every type of one byte.
    ///
    /// # Errors
    /// [`Error::UnsupportedDtype`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        let short = |dtype: &DType| match dtype {
            DType::Bfloat16 => text == "bf16" || text == "bfloat16",
            _ => dtype.itemsize() > 1 && text == format!("{}{}", dtype.kind(), dtype.itemsize() * 8),
        };
        Self::parse_numpy(text)
            .or_else(|error| DType::ALL.into_iter().find(short).map(Self::from).ok_or(error))
    }

    /// Reads what `numpy.dtype` reads: a long name, or a code such as `<f8`, `f8`, `=i4`, `|u1`, `>d`, `<c8`.
    ///
    /// Not read are names whose size depends on the machine that wrote them (`l`, `int`) and numpy's other aliases.
    ///
    /// # Errors
    /// [`Error::UnsupportedDtype`] for any other text.
    pub fn parse_numpy(text: &str) -> Result<Self> {
        let code = text.strip_prefix(['<', '>', '=', '|']).unwrap_or(text);
        // A long name has no byte order before it.
        let named =
            NAMES.iter().find(|&&(name, ..)| name == text).map(|&(_, dtype, complex)| (dtype, complex));
        let (dtype, complex) = named.or_else(|| from_code(code)).ok_or_else(|| unsupported(text, code))?;
        let byte_order = match text.chars().next() {
            _ if dtype.itemsize() == 1 => ByteOrder::NATIVE,
            Some('<') => ByteOrder::Little,
            Some('>') => ByteOrder::Big,
            _ => ByteOrder::NATIVE,
        };
        Ok(Self { dtype, byte_order, complex })
    }

    /// The same type in this machine's byte order.
    #[must_use]
    pub(crate) const fn native(self) -> Self {
        Self { byte_order: ByteOrder::NATIVE, ..self }
    }

    /// The long name: `float32`, `complex64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.complex, self.dtype) {
            (true, DType::Float32) => "complex64",
            (true, _) => "complex128",
            (false, dtype) => dtype.name(),
        }
    }

    /// Bytes of one element of the file: of both parts of a complex number.
    #[must_use]
    pub const fn size(self) -> usize {
        if self.complex { self.dtype.itemsize() * 2 } else { self.dtype.itemsize() }
    }

    /// The numpy code with its byte order: `<f4`, `>i8`, `|u1`, `<c8`; `None` for bfloat16, which numpy has not.
    #[must_use]
    pub fn npy_code(self) -> Option<String> {
        let order = match self.byte_order {
            _ if self.dtype.itemsize() == 1 => '|',
            ByteOrder::Little => '<',
            ByteOrder::Big => '>',
        };
        let kind = if self.complex { 'c' } else { self.dtype.kind() };
        (self.dtype != DType::Bfloat16).then(|| format!("{order}{kind}{}", self.size()))
    }
}

/// Long names that numpy knows.
const NAMES: [(&str, DType, bool); 14] = [
    ("bool", DType::Bool, false),
    ("int8", DType::Int8, false),
    ("uint8", DType::Uint8, false),
    ("int16", DType::Int16, false),
    ("uint16", DType::Uint16, false),
    ("int32", DType::Int32, false),
    ("uint32", DType::Uint32, false),
    ("int64", DType::Int64, false),
    ("uint64", DType::Uint64, false),
    ("float16", DType::Float16, false),
    ("float32", DType::Float32, false),
    ("float64", DType::Float64, false),
    ("complex64", DType::Float32, true),
    ("complex128", DType::Float64, true),
];

/// The type of a numpy code without its byte order: a kind and a number of bytes, or a C type's letter.
fn from_code(code: &str) -> Option<(DType, bool)> {
    let mut chars = code.chars();
    let (kind, size) = (chars.next()?, chars.as_str());
    let real = |dtype| Some((dtype, false));
    match (kind, size) {
        ('?', "") => real(DType::Bool),
        ('b', "") => real(DType::Int8),
        ('B', "") => real(DType::Uint8),
        ('h', "") => real(DType::Int16),
        ('H', "") => real(DType::Uint16),
        ('i', "") => real(DType::Int32),
        ('I', "") => real(DType::Uint32),
        ('q', "") => real(DType::Int64),
        ('Q', "") => real(DType::Uint64),
        ('e', "") => real(DType::Float16),
        ('f', "") => real(DType::Float32),
        ('d', "") => real(DType::Float64),
        ('F', "") | ('c', "8") => Some((DType::Float32, true)),
        ('D', "") | ('c', "16") => Some((DType::Float64, true)),
        _ => {
            let size: usize = size.parse().ok()?;
            let fits =
                |dtype: &DType| *dtype != DType::Bfloat16 && dtype.kind() == kind && dtype.itemsize() == size;
            DType::ALL.into_iter().find(fits).and_then(real)
        }
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
        "g" | "G" | "longdouble" | "clongdouble" => EXTENDED,
        "f" | "float" | "c" | "complex"
            if matches!(
                name,
                "f12" | "f16" | "float96" | "float128" | "c24" | "c32" | "complex192" | "complex256"
            ) =>
        {
            EXTENDED
        }
        _ => {
            "expected bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64, complex64 or \
             complex128, as such a name, as a numpy code ('<f4') or as a short name ('f32')"
        }
    };
    Error::unsupported_dtype(clip(text), reason)
}

const EXTENDED: &str = "extended precision differs from machine to machine and is not read. Save the array as float64 or complex128";
