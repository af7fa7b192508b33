//! The Rust types behind the dtypes, and how a value of one becomes a value of another.

use half::{bf16, f16};

use crate::dtype::DType;

/// A truth value of a file: any byte, true unless it is zero.
///
/// Not `bool`: a file may hold any byte, and a Rust `bool` other than 0 or 1 is undefined behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bool(pub u8);

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> Self {
        value.0 != 0
    }
}

/// A number between two dtypes, wide enough to lose nothing of either.
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer or a truth value.
    Unsigned(u64),
    /// A float.
    Float(f64),
}

impl Wide {
    /// The low 64 bits, as a typed array stores a number: floats are truncated and wrap, NaN is 0.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "wrapping is what a typed array does"
    )]
    fn bits(self) -> u64 {
        /// 2^63 and 2^64.
        const HALF: f64 = 9_223_372_036_854_775_808.0;
        const WHOLE: f64 = 18_446_744_073_709_551_616.0;
        match self {
            Self::Signed(value) => value as u64,
            Self::Unsigned(value) => value,
            Self::Float(value) if value > -HALF && value < HALF => value as i64 as u64,
            Self::Float(value) if value.is_finite() => (value.trunc() % WHOLE) as i128 as u64,
            Self::Float(_) => 0,
        }
    }

    /// The nearest double.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "rounding to nearest is what is wanted")]
    pub(super) fn float(self) -> f64 {
        match self {
            Self::Signed(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// A float32 that rounds to the same shorter float as `value` does.
///
/// Rounding twice to the nearest is wrong where the first time makes a tie. So what float32 cannot hold goes to that one
/// of its two neighbours whose last bit is set, which is no tie of anything shorter. (`half` rounds twice, or cuts.)
#[expect(clippy::cast_possible_truncation, reason = "what is lost is put right below")]
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    let wide = f64::from(near);
    if value.is_nan() || wide.total_cmp(&value).is_eq() || near.to_bits() % 2 == 1 {
        return near;
    }
    // The magnitudes of floats are in the order of their bits.
    let bits = if wide.abs() > value.abs() { near.to_bits() - 1 } else { near.to_bits() + 1 };
    f32::from_bits(bits)
}

/// A type that files hold: every bit pattern of its size is a value.
///
/// Sealed: the list is that of [`DType`].
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The dtype that this type is.
    const DTYPE: DType;
    /// Its bytes.
    type Bytes: Copy + AsRef<[u8]> + AsMut<[u8]>;
    /// The value of these bytes, in the order of this machine.
    fn from_bytes(bytes: Self::Bytes) -> Self;
    /// The bytes of this value, in the order of this machine.
    fn to_bytes(self) -> Self::Bytes;
    /// The value, widened.
    fn widen(self) -> Wide;
    /// The value that storing `wide` gives: integers wrap, floats round, truth is "not zero".
    fn narrow(wide: Wide) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty, $dtype:ident, $size:literal, |$value:ident| $widen:expr, |$wide:ident| $narrow:expr;)*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            type Bytes = [u8; $size];
            #[inline]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                <$type>::from_ne_bytes(bytes)
            }
            #[inline]
            fn to_bytes(self) -> Self::Bytes {
                self.to_ne_bytes()
            }
            #[inline]
            fn widen(self) -> Wide {
                let $value = self;
                $widen
            }
            #[inline]
            #[expect(clippy::allow_attributes, reason = "not every row of the table truncates")]
            #[allow(clippy::cast_possible_truncation, reason = "wrapping and rounding are what is wanted")]
            fn narrow($wide: Wide) -> Self {
                $narrow
            }
        }
    )*};
}

elements! {
    Bool, Bool, 1, |value| Wide::Unsigned(u64::from(bool::from(value))), |wide| Self::from(wide.float() != 0.0);
    i8, Int8, 1, |value| Wide::Signed(i64::from(value)), |wide| wide.bits() as i8;
    u8, Uint8, 1, |value| Wide::Unsigned(u64::from(value)), |wide| wide.bits() as u8;
    i16, Int16, 2, |value| Wide::Signed(i64::from(value)), |wide| wide.bits() as i16;
    u16, Uint16, 2, |value| Wide::Unsigned(u64::from(value)), |wide| wide.bits() as u16;
    i32, Int32, 4, |value| Wide::Signed(i64::from(value)), |wide| wide.bits() as i32;
    u32, Uint32, 4, |value| Wide::Unsigned(u64::from(value)), |wide| wide.bits() as u32;
    i64, Int64, 8, |value| Wide::Signed(value), |wide| wide.bits().cast_signed();
    u64, Uint64, 8, |value| Wide::Unsigned(value), |wide| wide.bits();
    f16, Float16, 2, |value| Wide::Float(value.to_f64()), |wide| Self::from_f32(to_odd(wide.float()));
    bf16, Bfloat16, 2, |value| Wide::Float(value.to_f64()), |wide| Self::from_f32(to_odd(wide.float()));
    f32, Float32, 4, |value| Wide::Float(f64::from(value)), |wide| wide.float() as f32;
    f64, Float64, 8, |value| Wide::Float(value), |wide| wide.float();
}

impl Bool {
    fn from_ne_bytes([byte]: [u8; 1]) -> Self {
        Self(byte)
    }

    fn to_ne_bytes(self) -> [u8; 1] {
        [self.0]
    }
}

/// Runs `$body` with `$type` standing for the Rust type of a dtype.
macro_rules! with_type {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::Bool => {
                type $type = $crate::kernel::Bool;
                $body
            }
            $crate::dtype::DType::Int8 => {
                type $type = i8;
                $body
            }
            $crate::dtype::DType::Uint8 => {
                type $type = u8;
                $body
            }
            $crate::dtype::DType::Int16 => {
                type $type = i16;
                $body
            }
            $crate::dtype::DType::Uint16 => {
                type $type = u16;
                $body
            }
            $crate::dtype::DType::Int32 => {
                type $type = i32;
                $body
            }
            $crate::dtype::DType::Uint32 => {
                type $type = u32;
                $body
            }
            $crate::dtype::DType::Int64 => {
                type $type = i64;
                $body
            }
            $crate::dtype::DType::Uint64 => {
                type $type = u64;
                $body
            }
            $crate::dtype::DType::Float16 => {
                type $type = ::half::f16;
                $body
            }
            $crate::dtype::DType::Bfloat16 => {
                type $type = ::half::bf16;
                $body
            }
            $crate::dtype::DType::Float32 => {
                type $type = f32;
                $body
            }
            $crate::dtype::DType::Float64 => {
                type $type = f64;
                $body
            }
        }
    };
}
pub(crate) use with_type;
