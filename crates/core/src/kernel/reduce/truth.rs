//! What is not zero: any, all, and how many. NaN is not zero.

use super::drive::Place;
use super::fold::Fold;
use super::load::{Load, Run, Work};
use super::{Options, Reduced, Scalar, reduce};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kernel::{Bool, RawView, with_type};

/// A type whose elements are zero or not.
pub(super) trait Truth: Work {
    /// How many elements of a run are not zero, without NaN where `SKIP` says so.
    fn count_run<const SKIP: bool>(run: Run<Self>) -> u64;
}

/// Small elements have counters as small, for as many as those can count; the compiler does larger ones better itself.
macro_rules! truth {
    ($($type:ty, $zero:literal, $counter:ty, $part:literal;)*) => {$(
        impl Truth for $type {
            #[inline(always)]
            fn count_run<const SKIP: bool>(run: Run<Self>) -> u64 {
                let counts = |value: Self| value != $zero && !(SKIP && value.is_nan());
                if size_of::<Self>() > 2 {
                    return u64::from(run.iter().map(|value| u32::from(counts(value))).sum::<u32>());
                }
                let mut count = 0;
                for part in run.parts($part * 64) {
                    let mut lanes = [0 as $counter; 64];
                    for values in part.lanes::<64>() {
                        for (lane, value) in lanes.iter_mut().zip(values) {
                            *lane += <$counter>::from(counts(value));
                        }
                    }
                    count += lanes.into_iter().map(u64::from).sum::<u64>();
                    count += part.rest::<64>().iter().map(|value| u64::from(counts(value))).sum::<u64>();
                }
                count
            }
        }
    )*};
}
truth! {
    i8, 0, u8, 255;
    u8, 0, u8, 255;
    i16, 0, u16, 1024;
    u16, 0, u16, 1024;
    i32, 0, u32, 1024;
    u32, 0, u32, 1024;
    i64, 0, u32, 1024;
    u64, 0, u32, 1024;
    f32, 0.0, u32, 1024;
    f64, 0.0, u32, 1024;
}

/// What can be known before the end.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    Any,
    All,
    HowMany,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    zero: u64,
    other: u64,
}

#[derive(Clone, Copy)]
struct Counting<const SKIP: bool>(Ask);

impl<W: Truth, const SKIP: bool> Fold<W> for Counting<SKIP> {
    type Acc = Count;

    fn start(self) -> Count {
        Count::default()
    }

    #[inline(always)]
    fn run(self, acc: &mut Count, run: Run<W>, _: Place) {
        let other = W::count_run::<SKIP>(run);
        acc.zero += run.len() as u64 - other;
        acc.other += other;
    }

    #[inline(always)]
    fn push(self, acc: &mut Count, value: W, _: isize) {
        let other = value != W::default() && !(SKIP && value.is_nan());
        acc.zero += u64::from(!other);
        acc.other += u64::from(other);
    }

    #[inline(always)]
    fn merge(self, acc: &mut Count, later: &Count) {
        acc.zero += later.zero;
        acc.other += later.other;
    }

    fn is_settled(self, acc: &Count) -> bool {
        match self.0 {
            Ask::Any => acc.other > 0,
            Ask::All => acc.zero > 0,
            Ask::HowMany => false,
        }
    }
}

fn truth(view: &RawView, options: &Options, ask: Ask) -> Result<Reduced> {
    let truth = move |acc: &Count| if ask == Ask::Any { acc.other > 0 } else { acc.zero == 0 };
    let scalar = move |acc: &Count| {
        Ok(if ask == Ask::HowMany {
            Scalar::Integer(i128::from(acc.other).into())
        } else {
            Scalar::Bool(truth(acc))
        })
    };
    // NaN is true, so leaving it out changes nothing of `all`.
    let skip = options.skip_nan && ask != Ask::All;
    with_type!(view.dtype, T => {
        let how_many = |acc: &Count| Ok(acc.other.cast_signed());
        let is_so = |acc: &Count| Ok(Bool::from(truth(acc)));
        match (skip && <T as Load>::Work::FLOAT, ask) {
            (true, Ask::HowMany) => reduce::<T, _, i64>(view, options, Counting::<true>(ask), scalar, how_many),
            (true, _) => reduce::<T, _, Bool>(view, options, Counting::<true>(ask), scalar, is_so),
            (false, Ask::HowMany) => reduce::<T, _, i64>(view, options, Counting::<false>(ask), scalar, how_many),
            (false, _) => reduce::<T, _, Bool>(view, options, Counting::<false>(ask), scalar, is_so),
        }
    })
}

/// Whether any element is not zero, as a bool. NaN is not zero, unless it is left out. Of nothing it is false.
///
/// # Errors
/// [`Error::OutOfRange`] for an axis that the view has not; [`Error::InvalidValue`] for an axis given twice;
/// [`Error::TooLarge`] where the result does not fit into memory; [`Error::Aborted`].
pub fn any(view: &RawView, options: &Options) -> Result<Reduced> {
    truth(view, options, Ask::Any)
}

/// Whether no element is zero, as a bool. Of nothing it is true.
///
/// # Errors
/// Those of [`any`].
pub fn all(view: &RawView, options: &Options) -> Result<Reduced> {
    truth(view, options, Ask::All)
}

/// How many elements are not zero, as an int64. NaN is not zero, unless it is left out.
///
/// # Errors
/// Those of [`any`].
pub fn count_nonzero(view: &RawView, options: &Options) -> Result<Reduced> {
    truth(view, options, Ask::HowMany)
}
