//! Products.
//!
//! A product of floats is kept as a number from 1 to 2 and an exponent, so that it neither overflows nor underflows on
//! the way: the result is infinite or zero only where the product is, in whatever order elements come. (numpy's depends
//! on the order.) A product of integers is exact as far as a double reaches; what is larger can still become zero.

use super::drive::Place;
use super::fold::Fold;
use super::integer::Integer;
use super::load::{Load, Run, Work};
use super::{Options, Reduced, Scalar, plain, reduce};
use crate::error::Result;
use crate::kernel::{Element, RawView, Wide, with_type};

/// Elements of a block of floats: few enough for products of numbers from 1 to 2 not to overflow.
const BLOCK: usize = 512;

/// More than any double holds: products of integers are followed up to here.
const MAX_WORDS: usize = 17;

/// A type that can be multiplied.
pub(super) trait Factor: Work {
    type Product: Multiply;
    fn times(product: &mut Self::Product, value: Self);
    /// Multiplies a run, in which NaN counts as nothing where `SKIP` says so.
    fn times_run<const SKIP: bool>(product: &mut Self::Product, run: Run<Self>);
}

/// A product of any length.
pub(super) trait Multiply: Clone + Send {
    fn one() -> Self;
    fn times_product(&mut self, other: &Self);
    fn scalar(&self) -> Scalar;
    fn element<O: Element>(&self) -> Result<O>;
}

/// `value * 2^exponent`, where the value is 0, infinite, NaN, or from 1 to 2 without its sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatProduct {
    value: f64,
    exponent: i64,
}

const EXPONENT: u64 = 0x7ff << 52;
const ONE: u64 = 1023 << 52;

impl FloatProduct {
    /// Multiplies by any number.
    #[inline(always)]
    fn times(&mut self, factor: f64) {
        // Numbers below the normal ones are moved up first.
        let tiny = factor.abs() < f64::MIN_POSITIVE;
        let factor = if tiny { factor * TWO_TO_64 } else { factor };
        self.exponent -= if tiny { 64 } else { 0 };
        self.times_normal(factor);
    }

    /// Multiplies by a number that is not tiny, with room for products of more than one mantissa.
    #[inline(always)]
    fn times_normal(&mut self, factor: f64) {
        let (own, others) = (split(self.value), split(factor));
        let (value, more) = split(own.0 * others.0);
        self.value = value;
        self.exponent += own.1 + others.1 + more;
    }
}

const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// A number as one from 1 to 2, and an exponent; what is neither normal nor zero as itself.
#[inline(always)]
fn split(value: f64) -> (f64, i64) {
    let bits = value.to_bits();
    let exponent = (bits & EXPONENT) >> 52;
    if exponent == 0 || exponent == 0x7ff {
        return (value, 0);
    }
    (f64::from_bits(bits & !EXPONENT | ONE), exponent.cast_signed() - 1023)
}

impl Multiply for FloatProduct {
    fn one() -> Self {
        Self { value: 1.0, exponent: 0 }
    }
    #[inline(always)]
    fn times_product(&mut self, other: &Self) {
        self.times_normal(other.value);
        self.exponent += other.exponent;
    }
    fn scalar(&self) -> Scalar {
        Scalar::Float(self.to_f64())
    }
    fn element<O: Element>(&self) -> Result<O> {
        Ok(O::narrow(Wide::Float(self.to_f64())))
    }
}

impl FloatProduct {
    fn to_f64(self) -> f64 {
        // In two steps, the first of which is exact, so that the result is rounded once.
        let exponent = self.exponent.clamp(-2100, 2100);
        let first = exponent.clamp(-1000, 1000);
        let rest = (exponent - first).clamp(-1000, 1000);
        let last = exponent - first - rest;
        let two_to = |exponent: i64| f64::from_bits((exponent + 1023).cast_unsigned() << 52);
        plain(self.value * two_to(first) * two_to(rest) * two_to(last))
    }
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl Factor for $type {
            type Product = FloatProduct;
            #[inline(always)]
            fn times(product: &mut FloatProduct, value: Self) {
                product.times(f64::from(value));
            }
            #[inline(always)]
            fn times_run<const SKIP: bool>(product: &mut FloatProduct, run: Run<Self>) {
                let value = |value: Self| if SKIP && value.is_nan() { 1.0 } else { f64::from(value) };
                for block in run.parts(BLOCK) {
                    let (mut values, mut exponents, mut special) = ([1.0; 8], [0_u64; 8], [false; 8]);
                    let mut times = |lane: usize, value: f64| {
                        let bits = value.to_bits();
                        let exponent = (bits & EXPONENT) >> 52;
                        special[lane] |= exponent == 0 || exponent == 0x7ff;
                        exponents[lane] += exponent;
                        values[lane] *= f64::from_bits(bits & !EXPONENT | ONE);
                    };
                    for lanes in block.lanes::<8>() {
                        for (lane, one) in lanes.into_iter().enumerate() {
                            times(lane, value(one));
                        }
                    }
                    for (lane, one) in block.rest::<8>().iter().enumerate() {
                        times(lane & 7, value(one));
                    }
                    if special.contains(&true) {
                        block.iter().for_each(|one| product.times(value(one)));
                        continue;
                    }
                    let exponent = exponents.iter().sum::<u64>().cast_signed();
                    product.times_normal(values.iter().product());
                    product.exponent += exponent - 1023 * block.len().cast_signed() as i64;
                }
            }
        }
    )*};
}
floats!(f32, f64);

macro_rules! integers {
    ($($type:ty, $wide:ty;)*) => {$(
        impl Factor for $type {
            type Product = Product;
            fn times(product: &mut Product, value: Self) {
                product.times(i128::from(value));
            }
            fn times_run<const SKIP: bool>(product: &mut Product, run: Run<Self>) {
                let mut part: $wide = 1;
                for value in run.iter() {
                    part = part.checked_mul(<$wide>::from(value)).unwrap_or_else(|| {
                        product.times(i128::from(part));
                        <$wide>::from(value)
                    });
                }
                product.times(i128::from(part));
            }
        }
    )*};
}
integers! {
    i8, i64;
    u8, i64;
    i16, i64;
    u16, i64;
    i32, i64;
    u32, i64;
    i64, i128;
    u64, i128;
}

/// A product on its way: exact up to what a double holds, and then only known to be larger, or zero.
#[derive(Clone, Debug)]
pub(super) struct Product {
    value: Integer,
    too_large: bool,
}

impl Multiply for Product {
    fn one() -> Self {
        Self { value: Integer::from(1), too_large: false }
    }
    fn times_product(&mut self, other: &Self) {
        if other.too_large && !self.value.words().is_empty() {
            *self = Self { value: other.value.with_sign_of(&self.value), too_large: true };
        } else {
            self.times_integer(&other.value);
        }
    }
    fn scalar(&self) -> Scalar {
        if self.too_large {
            Scalar::Float(if self.value.is_negative() { f64::NEG_INFINITY } else { f64::INFINITY })
        } else {
            Scalar::Integer(self.value.clone())
        }
    }
    fn element<O: Element>(&self) -> Result<O> {
        // Too large a value is still there, as it was when it became that.
        self.value.to_element()
    }
}

impl Product {
    fn times(&mut self, factor: i128) {
        if factor != 1 && !self.value.words().is_empty() {
            self.times_integer(&factor.into());
        }
    }

    fn times_integer(&mut self, factor: &Integer) {
        if factor.words().is_empty() || self.value.words().is_empty() {
            *self = Self { value: Integer::default(), too_large: false };
        } else if self.too_large {
            self.value = self.value.with_sign_of(factor);
        } else {
            self.value = self.value.times(factor);
            self.too_large = self.value.words().len() > MAX_WORDS;
        }
    }
}

#[derive(Clone, Copy)]
struct Multiplied<const SKIP: bool>;

impl<W: Factor, const SKIP: bool> Fold<W> for Multiplied<SKIP> {
    type Acc = W::Product;

    fn start(self) -> W::Product {
        W::Product::one()
    }

    #[inline(always)]
    fn run(self, acc: &mut W::Product, run: Run<W>, _: Place) {
        W::times_run::<SKIP>(acc, run);
    }

    #[inline(always)]
    fn push(self, acc: &mut W::Product, value: W, _: isize) {
        if !(SKIP && value.is_nan()) {
            W::times(acc, value);
        }
    }

    fn merge(self, acc: &mut W::Product, later: &W::Product) {
        acc.times_product(later);
    }
}

type ProductOf<T> = <<T as Load>::Work as Factor>::Product;

/// The product.
///
/// Floats are multiplied as float64, into a float64. Integers are multiplied exactly: to an [`Integer`], or with axes to
/// int64, or uint64 for unsigned ones; one that no double holds is [`Scalar::Float`] infinity. The product of nothing
/// is 1.
///
/// # Errors
/// Those of [`sum`](super::sum::sum).
pub fn prod(view: &RawView, options: &Options) -> Result<Reduced> {
    with_type!(view.dtype, T => {
        let (scalar, element) = (|acc: &ProductOf<T>| Ok(acc.scalar()), ProductOf::<T>::element);
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, <T as Load>::Sum>(view, options, Multiplied::<true>, scalar, element)
        } else {
            reduce::<T, _, <T as Load>::Sum>(view, options, Multiplied::<false>, scalar, element)
        }
    })
}
