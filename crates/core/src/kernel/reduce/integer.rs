//! Integers of any size, as far as exact sums and products need them.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{Element, Wide};

/// An exact integer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Integer {
    negative: bool,
    /// The magnitude, the lowest word first, without leading zeros.
    words: Vec<u64>,
}

impl From<i128> for Integer {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    fn from(value: i128) -> Self {
        let magnitude = value.unsigned_abs();
        let mut integer =
            Self { negative: value < 0, words: vec![magnitude as u64, (magnitude >> 64) as u64] };
        integer.trim();
        integer
    }
}

impl Integer {
    /// `high` times 2^64 and `low`.
    #[expect(clippy::cast_possible_truncation, reason = "words")]
    pub(super) fn from_parts(high: i128, low: u128) -> Self {
        // The lowest word is that of `low`; all above it is added up, and has one sign.
        let above = high + (low >> 64).cast_signed();
        let (negative, low) = (above < 0, low as u64);
        let (magnitude, low) = if negative {
            // -(2^64 a + b) is 2^64 (-a - 1) + (2^64 - b), or 2^64 (-a) where b is 0.
            (above.unsigned_abs() - u128::from(low != 0), low.wrapping_neg())
        } else {
            (above.unsigned_abs(), low)
        };
        let mut integer = Self { negative, words: vec![low, magnitude as u64, (magnitude >> 64) as u64] };
        integer.trim();
        integer
    }

    /// Whether it is less than zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The magnitude, the lowest word first; no word at all for zero.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The nearest double, ties to even; infinite where there is none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rounding once is what is wanted")]
    pub fn to_f64(&self) -> f64 {
        let magnitude = match *self.words.as_slice() {
            [] => 0.0,
            [low] => low as f64,
            [.., below, top] => {
                // The upper 64 bits, the last of which also says whether anything follows.
                let shift = top.leading_zeros();
                let upper = (u128::from(top) << 64 | u128::from(below)) << shift;
                let rest =
                    upper.trailing_zeros() < 64 || self.words.iter().rev().skip(2).any(|&word| word != 0);
                let upper = (upper >> 64) as u64 | u64::from(rest);
                let exponent = self.words.len() * 64 - 64 - shift as usize;
                let scale = if exponent > 1023 { f64::INFINITY } else { two_to(exponent) };
                upper as f64 * scale
            }
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// The same as an element of 64 bits.
    pub(super) fn to_element<T: Element>(&self) -> Result<T> {
        let magnitude = match *self.words.as_slice() {
            [] => Some(0),
            [low] => Some(low),
            _ => None,
        };
        let wide = magnitude.and_then(|magnitude| match T::DTYPE {
            DType::Uint64 => (!self.negative).then_some(Wide::Unsigned(magnitude)),
            _ if self.negative => 0_i64.checked_sub_unsigned(magnitude).map(Wide::Signed),
            _ => i64::try_from(magnitude).ok().map(Wide::Signed),
        });
        wide.map(T::narrow).ok_or_else(|| {
            Error::out_of_range(format!(
                "the exact result, about {:e}, does not fit into {}; reduce fewer elements at once, or copy the \
                 view to float64",
                self.to_f64(),
                T::DTYPE
            ))
        })
    }

    /// The product.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a product of words")]
    pub(super) fn times(&self, other: &Self) -> Self {
        let mut words = vec![0; self.words.len() + other.words.len()];
        for (i, &a) in self.words.iter().enumerate() {
            let mut carry = 0;
            for (word, b) in words[i..].iter_mut().zip(other.words.iter().copied().chain(std::iter::once(0)))
            {
                let sum = u128::from(a) * u128::from(b) + u128::from(*word) + carry;
                *word = sum as u64;
                carry = sum >> 64;
            }
        }
        let mut product = Self { negative: self.negative ^ other.negative, words };
        product.trim();
        product
    }

    /// The same, negative where a product with `other` would be.
    pub(super) fn with_sign_of(&self, other: &Self) -> Self {
        Self { negative: self.negative ^ other.negative, words: self.words.clone() }
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        self.negative &= !self.words.is_empty();
    }
}

/// 2 to the power of 0 to 1023.
fn two_to(exponent: usize) -> f64 {
    f64::from_bits((exponent as u64 + 1023) << 52)
}
