//! Reductions against the plainest model there is: the values of each result in a list.
//!
//! Past 400 lines: every reduction has its model here, beside the layouts that all of them share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use half::{bf16, f16};
use mmap_ndarray_core::kernel::{
    self, Control, Options, RawView, Reduced, ReducedArray, Scalar, Wide, all, any, argmax, argmin,
    count_nonzero, max, mean, min, minmax, prod, std, sum, var,
};
use mmap_ndarray_core::{Bool, ByteOrder, DType, Element, ElementType, Layout, Result};
use proptest::arbitrary::any as anything;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::kernel::{Place, runner};
use crate::support::{MANY, outcome};

/// Runs `$body` with `$type` standing for the Rust type of a dtype.
macro_rules! typed {
    ($dtype:expr, $type:ident => $body:expr; $($name:ident $rust:ty),*) => {
        match $dtype {
            $(DType::$name => { type $type = $rust; $body })*
            other => panic!("{other}"),
        }
    };
    ($dtype:expr, $type:ident => $body:expr) => {
        typed!($dtype, $type => $body; Bool Bool, Int8 i8, Uint8 u8, Int16 i16, Uint16 u16, Int32 i32, Uint32 u32,
            Int64 i64, Uint64 u64, Float16 f16, Bfloat16 bf16, Float32 f32, Float64 f64)
    };
}

pub(crate) fn wide(dtype: DType, bytes: &[u8]) -> Wide {
    typed!(dtype, T => <T as Element>::from_bytes(bytes.try_into().unwrap()).widen())
}

pub(crate) fn narrow(dtype: DType, value: Wide) -> Vec<u8> {
    typed!(dtype, T => T::narrow(value).to_bytes().to_vec())
}

pub(crate) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::Float16 | DType::Bfloat16 | DType::Float32 | DType::Float64)
}

pub(crate) fn float(value: Wide) -> f64 {
    match value {
        Wide::Signed(value) => value as f64,
        Wide::Unsigned(value) => value as f64,
        Wide::Float(value) => value,
    }
}

pub(crate) fn integer(value: Wide) -> i128 {
    match value {
        Wide::Signed(value) => value.into(),
        Wide::Unsigned(value) => value.into(),
        Wide::Float(value) => panic!("{value}"),
    }
}

/// A view of random elements, and how to reduce it.
#[derive(Clone, Debug)]
struct Case {
    dtype: DType,
    byte_order: ByteOrder,
    place: Place,
    /// Bytes before the first element, for elements that are not aligned.
    before: usize,
    /// Elements, in the order of this machine.
    values: Vec<Wide>,
    axes: Option<Vec<i64>>,
    keepdims: bool,
    skip_nan: bool,
    threads: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let length = prop_oneof![10 => 0_u64..6, 2 => 30_u64..70, 1 => 1000_u64..1100];
    let one = (length, prop_oneof![-7_i64..8, Just(0)], anything::<(bool, bool)>());
    let how = (0..13_usize, anything::<(bool, bool, bool, bool)>(), 0..4_usize, 1..4_usize);
    (vec(one, 0..4), how, anything::<u64>(), 0..4_u8).prop_filter_map(
        "too large",
        |(axes, how, seed, kind)| {
            let (dtype, (swapped, keepdims, skip_nan, everything), before, threads) = how;
            let dtype = DType::ALL[dtype];
            let shape: Vec<u64> = axes.iter().map(|axis| axis.0).collect();
            // Mostly without gaps, in C order.
            let mut next = 1;
            let mut strides: Vec<i64> = vec![0; axes.len()];
            for (stride, &(n, random, (odd, _))) in strides.iter_mut().zip(&axes).rev() {
                *stride = if odd && n < 100 { random } else { next };
                next = stride.abs().max(1) * n.max(1).cast_signed();
            }
            let place = Place::new(&shape, &strides, 0);
            (place.len < 20_000 && shape.iter().product::<u64>() < 20_000).then_some(())?;
            let order = (0_i64..).zip(&axes).filter(|(_, axis)| axis.2.1);
            let ndim = axes.len() as i64;
            let reduced = order.map(|(i, axis)| if axis.2.0 { i } else { i - ndim }).collect();
            let mut state = seed;
            let values = (0..place.len).map(|_| random(dtype, kind, &mut state)).collect();
            let native = ByteOrder::NATIVE == ByteOrder::Little;
            let byte_order = if swapped == native { ByteOrder::Big } else { ByteOrder::Little };
            let axes = (!everything).then_some(reduced);
            Some(Case { dtype, byte_order, place, before, values, axes, keepdims, skip_nan, threads })
        },
    )
}

/// A value that the dtype has: of any size, or small, or with NaN and infinities among them.
pub(crate) fn random(dtype: DType, kind: u8, state: &mut u64) -> Wide {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let bits = *state >> 16;
    let small = i64::from(bits as i8);
    let value = match (is_float(dtype), kind) {
        (false, 0 | 1) => Wide::Unsigned(state.rotate_left(20)),
        (false, 2) => Wide::Signed(small % 3),
        (false, _) => Wide::Signed(small),
        (true, 1) if bits & 0xff00 == 0 => Wide::Float(f64::NAN),
        (true, 3) if bits & 0x0100 == 0 => Wide::Float(f64::NAN),
        (true, 3) if bits & 0xf000 == 0 => Wide::Float(f64::INFINITY.copysign(small as f64)),
        (true, 2) => Wide::Float((small % 3) as f64),
        (true, _) => Wide::Float(small as f64 / 8.0),
    };
    wide(dtype, &narrow(dtype, value))
}

impl Case {
    fn options(&self) -> Options<'_> {
        Options {
            axes: self.axes.as_deref(),
            keepdims: self.keepdims,
            skip_nan: self.skip_nan,
            threads: Some(self.threads),
            control: Control::default(),
        }
    }

    fn memory(&self) -> Vec<u8> {
        let mut memory = vec![0xEE; self.before];
        for &value in &self.values {
            let mut bytes = narrow(self.dtype, value);
            if !self.byte_order.is_native() {
                bytes.reverse();
            }
            memory.extend(bytes);
        }
        memory
    }

    /// The shape of the result, and the values that go into each of its elements, in C order.
    fn model(&self) -> (Vec<u64>, Vec<Vec<Wide>>) {
        let shape = &self.place.shape;
        let ndim = shape.len() as i64;
        let is_reduced = |axis: usize| {
            self.axes.as_ref().is_none_or(|axes| axes.iter().any(|&a| a.rem_euclid(ndim) == axis as i64))
        };
        let kept: Vec<usize> = (0..shape.len()).filter(|&axis| !is_reduced(axis)).collect();
        let mut results = vec![Vec::new(); kept.iter().map(|&axis| shape[axis] as usize).product()];
        for (i, index) in self.place.indices().into_iter().enumerate() {
            let (mut rest, mut at) = (i, vec![0; shape.len()]);
            for (at, &n) in at.iter_mut().zip(shape).rev() {
                *at = rest % n as usize;
                rest /= n as usize;
            }
            let result = kept.iter().fold(0, |result, &axis| result * shape[axis] as usize + at[axis]);
            results[result].push(self.values[index]);
        }
        let axes = shape.iter().enumerate();
        let shape = axes.filter_map(|(axis, &n)| match (is_reduced(axis), self.keepdims) {
            (true, keepdims) => keepdims.then_some(1),
            (false, _) => Some(n),
        });
        (shape.collect(), results)
    }

    /// Compares every value of a result with that of the model, which is an error where there is none.
    fn check(
        &self,
        name: &str,
        result: &Result<Reduced>,
        dtype: DType,
        model: impl Fn(&[Wide]) -> Option<Wide>,
        same: impl Fn(&[Wide], f64, f64) -> bool,
    ) -> TestCaseResult {
        let (shape, lists) = self.model();
        let expected: Option<Vec<Wide>> = lists.iter().map(|list| model(list)).collect();
        let (Some(expected), Ok(result)) = (&expected, result) else {
            prop_assert_eq!(expected.is_none(), result.is_err(), "{}: {:?}", name, result);
            return Ok(());
        };
        let found: Vec<Wide> = match result {
            Reduced::Scalar(scalar) => {
                prop_assert!(self.axes.is_none() && !self.keepdims, "{}", name);
                vec![match scalar {
                    Scalar::Float(value) => Wide::Float(*value),
                    Scalar::Integer(value) => Wide::Float(value.to_f64()),
                    Scalar::Bool(value) => Wide::Unsigned((*value).into()),
                }]
            }
            Reduced::Array(array) => {
                prop_assert_eq!(&array.shape, &shape, "{}", name);
                prop_assert_eq!(array.dtype, dtype, "{}", name);
                array.data.chunks(dtype.itemsize()).map(|bytes| wide(dtype, bytes)).collect()
            }
        };
        prop_assert_eq!(found.len(), expected.len(), "{}", name);
        for ((found, expected), list) in found.into_iter().zip(expected).zip(&lists) {
            let (found, expected) = (float(found), float(*expected));
            let right =
                found == expected || (found.is_nan() && expected.is_nan()) || same(list, found, expected);
            prop_assert!(right, "{}: {} is not {} for {:?}", name, found, expected, list);
        }
        Ok(())
    }
}

fn floats(list: &[Wide]) -> Vec<f64> {
    list.iter().map(|&value| float(value)).collect()
}

/// The mean and the squares of the distances from it.
fn moments(list: &[f64]) -> (f64, f64) {
    let mean = list.iter().sum::<f64>() / list.len() as f64;
    (mean, list.iter().map(|value| (value - mean).powi(2)).sum())
}

/// The values that count.
fn kept(case: &Case, list: &[Wide]) -> Vec<Wide> {
    list.iter().copied().filter(|&value| !(case.skip_nan && float(value).is_nan())).collect()
}

fn exactly(_: &[Wide], _: f64, _: f64) -> bool {
    false
}

/// Of the size of the elements, whatever cancels out.
fn nearly(list: &[Wide], found: f64, expected: f64) -> bool {
    let size = floats(list).into_iter().filter(|value| value.is_finite()).map(f64::abs).sum::<f64>();
    (found - expected).abs() <= 1e-13 * size
}

/// Tries `property` on random views.
fn on_views(count: u32, property: impl Fn(&Case, &RawView) -> TestCaseResult) {
    let result = runner(count).run(&cases(), |case| {
        let mut memory = case.memory();
        let view = case.place.view(&mut memory[case.before..], case.dtype, case.byte_order);
        property(&case, &view)
    });
    result.unwrap();
}

#[test]
fn sums_and_products_are_those_of_the_model() {
    on_views(3000, |case, view| {
        let (is_float, scalar) = (is_float(case.dtype), case.axes.is_none() && !case.keepdims);
        let relatively =
            |_: &[Wide], found: f64, expected: f64| (found - expected).abs() <= 1e-11 * expected.abs();
        let whole = match case.dtype {
            DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64 => DType::Uint64,
            _ if is_float => DType::Float64,
            _ => DType::Int64,
        };
        let fits = |value: i128| {
            let fits = scalar
                || if whole == DType::Uint64 {
                    u64::try_from(value).is_ok()
                } else {
                    i64::try_from(value).is_ok()
                };
            let wide = i64::try_from(value).map(Wide::Signed);
            let wide = wide.or_else(|_| u64::try_from(value).map(Wide::Unsigned));
            fits.then(|| wide.unwrap_or(Wide::Float(value as f64)))
        };
        let added = |list: &[Wide]| {
            let list = kept(case, list);
            if is_float {
                Some(Wide::Float(floats(&list).iter().sum()))
            } else {
                fits(list.into_iter().map(integer).sum())
            }
        };
        case.check("sum", &sum(view, &case.options()), whole, added, nearly)?;
        if is_float {
            let product = |list: &[Wide]| Some(Wide::Float(floats(&kept(case, list)).iter().product()));
            // Where the model's product leaves the range of doubles on its way, ours does not.
            let there = |list: &[Wide], found: f64, expected: f64| {
                relatively(list, found, expected) || !expected.is_normal()
            };
            case.check("prod", &prod(view, &case.options()), whole, product, there)?;
        } else {
            let product = |list: &[Wide]| {
                let mut factors = list.iter().map(|&value| integer(value));
                if factors.clone().any(|factor| factor == 0) {
                    return fits(0);
                }
                let product = factors.try_fold(1, i128::checked_mul);
                let rounded = || floats(list).iter().product::<f64>();
                product.map_or_else(|| scalar.then(|| Wide::Float(rounded())), fits)
            };
            case.check("prod", &prod(view, &case.options()), whole, product, relatively)?;
        }
        Ok(())
    });
}

#[test]
fn moments_are_those_of_the_model() {
    on_views(3000, |case, view| {
        let is_float = is_float(case.dtype);
        let average = |list: &[Wide]| Some(Wide::Float(moments(&floats(&kept(case, list))).0));
        case.check("mean", &mean(view, &case.options()), DType::Float64, average, nearly)?;
        for ddof in [0.0, 1.0, 2.5] {
            let spread = |list: &[Wide]| {
                let list = floats(&kept(case, list));
                let less = list.len() as f64 - ddof;
                let nan = case.skip_nan && is_float && less <= 0.0;
                if nan { f64::NAN } else { moments(&list).1 / less.max(0.0) }
            };
            // A model of equal elements may be a little more than 0.
            let same = |list: &[Wide], found: f64, expected: f64| {
                let size = floats(list)
                    .into_iter()
                    .filter(|value| value.is_finite())
                    .fold(0.0, |a, b| b.abs().max(a));
                let off = (found - expected).abs();
                off <= 1e-12 * expected
                    || (found == 0.0 && expected <= 1e-28 * size * size)
                    || (found.is_nan() && expected.is_infinite())
            };
            let variance = |list: &[Wide]| Some(Wide::Float(spread(list)));
            case.check("var", &var(view, ddof, &case.options()), DType::Float64, variance, same)?;
            let deviation = |list: &[Wide]| Some(Wide::Float(spread(list).sqrt()));
            let same =
                |list: &[Wide], found: f64, expected: f64| same(list, found * found, expected * expected);
            case.check("std", &std(view, ddof, &case.options()), DType::Float64, deviation, same)?;
        }
        Ok(())
    });
}

#[test]
fn extremes_and_their_places_are_those_of_the_model() {
    on_views(3000, |case, view| {
        let is_float = is_float(case.dtype);
        for (greatest, extreme, place) in [(false, min as Call, argmin as Call), (true, max, argmax)] {
            let beats = |a: f64, b: f64| if greatest { a > b } else { a < b };
            // Doubles hold no 64 bits: those are compared as they are.
            let at = |list: &[Wide]| -> Option<usize> {
                let mut best: Option<usize> = None;
                for (i, &value) in list.iter().enumerate() {
                    let better = best.is_none_or(|best| {
                        let best = list[best];
                        if is_float {
                            let (value, best) = (float(value), float(best));
                            beats(value, best) || (value.is_nan() && !best.is_nan())
                        } else {
                            let (value, best) = (integer(value), integer(best));
                            if greatest { value > best } else { value < best }
                        }
                    });
                    if better && !(case.skip_nan && float(value).is_nan()) {
                        best = Some(i);
                    }
                }
                best
            };
            let value = |list: &[Wide]| match at(list) {
                Some(at) => Some(list[at]),
                None if list.is_empty() => None,
                None => Some(Wide::Float(f64::NAN)),
            };
            // Nothing is an error even where there is no result to be made of it.
            let nothing = case.place.shape.contains(&0) && case.model().1.is_empty();
            if !nothing {
                case.check("extreme", &extreme(view, &case.options()), case.dtype, value, exactly)?;
                let index = |list: &[Wide]| at(list).map(|at| Wide::Signed(at as i64));
                case.check("place", &place(view, &case.options()), DType::Int64, index, exactly)?;
                let both =
                    minmax(view, &case.options()).map(|(least, most)| if greatest { most } else { least });
                case.check("minmax", &both, case.dtype, value, exactly)?;
            }
        }
        Ok(())
    });
}

#[test]
fn truth_is_that_of_the_model() {
    on_views(3000, |case, view| {
        let is_true = |value: &&Wide| float(**value) != 0.0;
        let some =
            |list: &[Wide]| Some(Wide::Unsigned(kept(case, list).iter().any(|value| is_true(&value)).into()));
        case.check("any", &any(view, &case.options()), DType::Bool, some, exactly)?;
        let every = |list: &[Wide]| Some(Wide::Unsigned(list.iter().all(|value| is_true(&value)).into()));
        case.check("all", &all(view, &case.options()), DType::Bool, every, exactly)?;
        let count =
            |list: &[Wide]| Some(Wide::Signed(kept(case, list).iter().filter(is_true).count() as i64));
        case.check("count", &count_nonzero(view, &case.options()), DType::Int64, count, exactly)
    });
}

type Call = fn(&RawView, &Options) -> Result<Reduced>;

const CALLS: [(&str, Call); 13] = [
    ("sum", sum),
    ("prod", prod),
    ("mean", mean),
    ("var", |view, options| var(view, 0.0, options)),
    ("std", |view, options| std(view, 1.0, options)),
    ("min", min),
    ("max", max),
    ("minmax", |view, options| minmax(view, options).map(|both| both.1)),
    ("argmin", argmin),
    ("argmax", argmax),
    ("any", any),
    ("all", all),
    ("count_nonzero", count_nonzero),
];

/// A view of all of some elements, in C order.
pub(crate) fn view_of<T: Element>(elements: &mut [T], shape: &[u64]) -> RawView {
    let layout =
        Layout::contiguous(shape.to_vec(), mmap_ndarray_core::Order::C, elements.len() as u64).unwrap();
    let nbytes = size_of_val(elements);
    let element = ElementType::from(T::DTYPE);
    // SAFETY: all bytes of `elements`, which each test keeps.
    unsafe { RawView::new(elements.as_mut_ptr().cast(), nbytes, size_of::<T>(), element, &layout) }.unwrap()
}

fn scalar(result: Result<Reduced>) -> f64 {
    match result.unwrap() {
        Reduced::Scalar(Scalar::Float(value)) => value,
        Reduced::Scalar(Scalar::Integer(value)) => value.to_f64(),
        Reduced::Scalar(Scalar::Bool(value)) => value.into(),
        Reduced::Array(array) => panic!("{array:?}"),
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut state = 7;
    let mut floats: Vec<f32> =
        (0..3 << 18).map(|_| (float(random(DType::Int64, 0, &mut state)) / 1e15).powi(3) as f32).collect();
    let mut integers: Vec<i16> =
        (0..3 << 18).map(|_| float(random(DType::Int16, 0, &mut state)) as i16).collect();
    let shape = [1536, 512];
    for view in [view_of(&mut floats, &shape), view_of(&mut integers, &shape)] {
        for (name, call) in CALLS {
            for axes in [None, Some(&[0][..]), Some(&[1][..]), Some(&[0, 1][..])] {
                let run =
                    |threads| format!("{:?}", call(&view, &Options { axes, threads, ..Options::default() }));
                let one = run(Some(1));
                for threads in [Some(3), None] {
                    assert_eq!(run(threads), one, "{name} {axes:?} {threads:?}");
                }
            }
        }
    }
}

/// A sum of twice the precision.
fn exact_sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for &value in values {
        let next = sum + value;
        let part = next - sum;
        lost += (sum - (next - part)) + (value - part);
        sum = next;
    }
    sum + lost
}

/// As numpy adds.
fn pairwise_sum(values: &[f64]) -> f64 {
    if values.len() <= 128 {
        let mut lanes = [0.0; 8];
        for chunk in values.chunks(8) {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
        }
        let pairs: Vec<f64> = lanes.chunks(2).map(|pair| pair[0] + pair[1]).collect();
        return (pairs[0] + pairs[1]) + (pairs[2] + pairs[3]);
    }
    let (left, right) = values.split_at(values.len() / 2 / 8 * 8);
    pairwise_sum(left) + pairwise_sum(right)
}

#[test]
fn sums_are_as_exact_as_numpys() {
    let n = 1 << 20;
    let number = |i: usize| i as f64;
    let series: [(&str, Vec<f64>); 6] = [
        ("tenths", vec![0.1; n]),
        ("harmonic", (1..n).map(|i| 1.0 / number(i)).collect()),
        ("harmonic, the small ones first", (1..n).rev().map(|i| 1.0 / number(i)).collect()),
        ("one large among small", (0..n).map(|i| if i == n / 3 { 1e16 } else { 1.0 }).collect()),
        ("alternating", (0..n).map(|i| (number(i) + 0.1) * if i % 2 == 0 { 1e6 } else { -1e6 }).collect()),
        (
            "random",
            (0..n as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 * 1e-9).collect(),
        ),
    ];
    let (mut ours, mut numpys) = (0.0, 0.0);
    for (name, mut values) in series {
        let (exact, size) = (exact_sum(&values), values.iter().map(|value| value.abs()).sum::<f64>());
        let pairwise = (pairwise_sum(&values) - exact).abs() / size;
        let n = values.len() as u64;
        let error = (scalar(sum(&view_of(&mut values, &[n]), &Options::default())) - exact).abs() / size;
        assert!(error <= 10.0 * f64::EPSILON, "{name}: {error:e}");
        // The same numbers in a column of a matrix.
        let mut matrix: Vec<f64> = values.iter().flat_map(|&value| [value, 1.0]).collect();
        let columns =
            sum(&view_of(&mut matrix, &[n, 2]), &Options { axes: Some(&[0]), ..Options::default() });
        let Reduced::Array(ReducedArray { data, .. }) = columns.unwrap() else { panic!("{name}") };
        let column = f64::from_ne_bytes(data[..8].try_into().unwrap());
        assert!((column - exact).abs() / size <= 10.0 * f64::EPSILON, "{name}, axis 0");
        println!("{name}: {error:e}, numpy's {pairwise:e}");
        ours += error;
        numpys += pairwise;
    }
    assert!(ours <= numpys, "{ours:e} is more than {numpys:e}");
}

#[test]
fn variances_are_stable() {
    let n = 1 << 18;
    for (name, mut values, exact) in [
        ("far from zero", (0..n).map(|i| 1e9 + (i % 2) as f64).collect::<Vec<f64>>(), 0.25),
        ("equal", vec![0.1; n], 0.0),
        ("rising", (0..n).map(|i| i as f64).collect(), ((n as f64).powi(2) - 1.0) / 12.0),
        ("first one far off", (0..n).map(|i| if i == 0 { 1e8 } else { (i % 2) as f64 }).collect(), {
            let (n, far) = (n as f64, 1e8);
            let (sum, squares) = (far + n / 2.0, far * far + n / 2.0);
            squares / n - (sum / n).powi(2)
        }),
    ] {
        let n = values.len() as u64;
        let found = scalar(var(&view_of(&mut values, &[n]), 0.0, &Options::default()));
        assert!((found - exact).abs() <= 1e-12 * exact, "{name}: {found} is not {exact}");
        let half = Options { axes: Some(&[0]), ..Options::default() };
        let Reduced::Array(array) = var(&view_of(&mut values, &[n, 1]), 0.0, &half).unwrap() else {
            panic!()
        };
        let found = f64::from_ne_bytes(array.data.try_into().unwrap());
        assert!((found - exact).abs() <= 1e-12 * exact, "{name}, axis 0: {found} is not {exact}");
    }
}

#[test]
fn products_neither_overflow_nor_underflow_on_the_way() {
    let far: Vec<f64> = (0..4000).map(|i| if i < 2000 { 1e300 } else { 1e-300 }).collect();
    let mut tiny = far.clone();
    tiny.reverse();
    for mut values in [far, tiny] {
        let product = scalar(prod(&view_of(&mut values, &[4000]), &Options::default()));
        assert!((product - 1.0).abs() < 1e-9, "{product}");
    }
    let product = |mut values: Vec<f64>| {
        let n = values.len() as u64;
        scalar(prod(&view_of(&mut values, &[n]), &Options::default()))
    };
    assert_eq!(product(vec![5e-324, 1.0]), 5e-324);
    assert_eq!(product(vec![-2.0; 1024]), f64::INFINITY);
    assert_eq!(product(vec![0.5; 1074]), 5e-324);
    assert_eq!(product(vec![0.5; 1100]), 0.0);
    assert!(product(vec![0.0, f64::INFINITY]).is_nan());
    assert!(product(vec![1.0, f64::NAN]).is_nan());
}

#[test]
fn integers_are_exact() {
    let whole = Options::default();
    let axes = Options { axes: Some(&[0]), ..Options::default() };
    let words = |result: Result<Reduced>| match result.unwrap() {
        Reduced::Scalar(Scalar::Integer(value)) => (value.is_negative(), value.words().to_vec()),
        other => panic!("{other:?}"),
    };
    let mut large = [i64::MIN; 3];
    let view = view_of(&mut large, &[3]);
    assert_eq!(words(sum(&view, &whole)), (true, vec![1 << 63, 1]));
    assert_eq!(outcome(&sum(&view, &axes)), "ERR_OUT_OF_RANGE");
    assert_eq!(words(prod(&view, &whole)), (true, vec![0, 0, 1 << 61]));
    assert_eq!(outcome(&prod(&view, &axes)), "ERR_OUT_OF_RANGE");
    let mut edge = [i64::MIN, 0];
    assert!(sum(&view_of(&mut edge, &[2]), &axes).is_ok());
    let mut unsigned = [u64::MAX, 1];
    let view = view_of(&mut unsigned, &[2]);
    assert_eq!(words(sum(&view, &whole)), (false, vec![0, 1]));
    assert_eq!(outcome(&sum(&view, &axes)), "ERR_OUT_OF_RANGE");
    assert_eq!(
        words(prod(&view, &axes).map(|_| Reduced::Scalar(Scalar::Integer(1.into())))),
        (false, vec![1])
    );
    // Rounded once: 2^53 + 1 goes down, 2^53 + 1 + 2^-11 of the last place goes up.
    let mut rounding = [1_i64 << 62, 1 << 62, 1 << 62, 1 << 62, 1 << 11];
    let view = view_of(&mut rounding, &[5]);
    assert_eq!(scalar(sum(&view, &whole)), 2_f64.powi(64));
    let mut rounding = [1_i64 << 62, 1 << 62, 1 << 62, 1 << 62, (1 << 11) + 1];
    assert_eq!(scalar(sum(&view_of(&mut rounding, &[5]), &whole)), 2_f64.powi(64) + 4096.0);
    // Larger than any double, and then zero.
    let mut factors = [i32::MIN; 40];
    assert_eq!(scalar(prod(&view_of(&mut factors, &[40]), &whole)), f64::INFINITY);
    assert_eq!(scalar(prod(&view_of(&mut factors[1..], &[39]), &whole)), f64::NEG_INFINITY);
    assert_eq!(scalar(prod(&view_of(&mut factors[..33], &[33]), &whole)), -(2_f64.powi(1023)));
    factors[39] = 0;
    assert_eq!(scalar(prod(&view_of(&mut factors, &[40]), &whole)), 0.0);
    assert!(prod(&view_of(&mut factors, &[40]), &axes).is_ok());
}

#[test]
fn nothing_is_numpys_nothing() {
    let mut none: [f32; 0] = [];
    let all_of = |name: &str, shape: &[u64], axes: Option<&[i64]>, none: &mut [f32]| {
        let call = CALLS.iter().find(|call| call.0 == name).unwrap().1;
        match call(&view_of(none, shape), &Options { axes, ..Options::default() }) {
            Ok(Reduced::Scalar(Scalar::Float(value))) => format!("{value}"),
            Ok(Reduced::Scalar(Scalar::Integer(value))) => format!("{}", value.to_f64()),
            Ok(Reduced::Scalar(Scalar::Bool(value))) => format!("{value}"),
            Ok(Reduced::Array(array)) => format!("{:?}", array.shape),
            Err(error) => error.code().to_owned(),
        }
    };
    let refused = "ERR_INVALID_ARG_VALUE";
    for (name, everything) in [
        ("sum", "0"),
        ("prod", "1"),
        ("mean", "NaN"),
        ("var", "NaN"),
        ("std", "NaN"),
        ("min", refused),
        ("max", refused),
        ("minmax", refused),
        ("argmin", refused),
        ("argmax", refused),
        ("any", "false"),
        ("all", "true"),
        ("count_nonzero", "0"),
    ] {
        assert_eq!(all_of(name, &[0], None, &mut none), everything, "{name}");
        assert_eq!(all_of(name, &[0, 3], None, &mut none), everything, "{name}");
        assert_eq!(all_of(name, &[0, 3], Some(&[1]), &mut none), "[0]", "{name}");
        let of_three = if everything == refused { refused } else { "[3]" };
        assert_eq!(all_of(name, &[0, 3], Some(&[0]), &mut none), of_three, "{name}");
    }
}

#[test]
fn wrong_axes_are_refused() {
    let mut elements = [1_u8; 6];
    let view = view_of(&mut elements, &[2, 3]);
    for (axes, code) in [
        (&[2][..], "ERR_OUT_OF_RANGE"),
        (&[-3], "ERR_OUT_OF_RANGE"),
        (&[i64::MIN], "ERR_OUT_OF_RANGE"),
        (&[i64::MAX], "ERR_OUT_OF_RANGE"),
        (&[0, 0], "ERR_INVALID_ARG_VALUE"),
        (&[1, -1], "ERR_INVALID_ARG_VALUE"),
        (&[], "opens"),
        (&[-1, 0], "opens"),
    ] {
        for (name, call) in CALLS {
            let result = call(&view, &Options { axes: Some(axes), ..Options::default() });
            assert_eq!(outcome(&result), code, "{name} {axes:?}");
        }
    }
}

#[test]
fn most_axes_there_can_be() {
    let mut elements = [1_i32, 2];
    let mut shape = vec![1; 64];
    shape[40] = 2;
    let axes: Vec<i64> = (0..64).collect();
    for axes in [None, Some(&axes[..])] {
        let sum =
            sum(&view_of(&mut elements, &shape), &Options { axes, keepdims: true, ..Options::default() });
        let Reduced::Array(array) = sum.unwrap() else { panic!() };
        assert_eq!((array.shape, array.data), (vec![1; 64], 3_i64.to_ne_bytes().to_vec()));
    }
}

#[test]
fn any_byte_but_zero_is_true() {
    let mut elements = [Bool(0), Bool(2), Bool(255)];
    let view = view_of(&mut elements, &[3]);
    let options = Options::default();
    assert_eq!(scalar(sum(&view, &options)), 2.0);
    assert_eq!(scalar(mean(&view, &options)), 2.0 / 3.0);
    assert_eq!(max(&view, &options).unwrap(), Reduced::Scalar(Scalar::Bool(true)));
    assert_eq!(min(&view, &options).unwrap(), Reduced::Scalar(Scalar::Bool(false)));
    assert_eq!(scalar(argmax(&view, &options)), 1.0);
}

/// More elements than anybody waits for: all are the same one.
fn endless(element: &mut f64) -> RawView {
    let layout = Layout::new(0, vec![MANY], vec![0], 1).unwrap();
    // SAFETY: the bytes of `element`, which each test keeps.
    unsafe { RawView::new(std::ptr::from_mut(element).cast(), 8, 8, DType::Float64.into(), &layout) }.unwrap()
}

#[test]
fn cancelling_stops_the_work() {
    for (name, call) in CALLS {
        for threads in [1, 3] {
            let mut element = 1.0;
            // `any` would know at once.
            element -= f64::from(u8::from(name == "any"));
            let view = endless(&mut element);
            let (cancel, done) = (AtomicBool::new(false), AtomicU64::new(0));
            let control = Control { cancel: Some(&cancel), done: Some(&done) };
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while done.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                    cancel.store(true, Ordering::Relaxed);
                });
                call(&view, &Options { threads: Some(threads), control, ..Options::default() })
            });
            assert_eq!(outcome(&result), "ABORT_ERR", "{name}");
        }
    }
}

#[test]
fn what_is_settled_ends_early() {
    let mut element = 1.0;
    let view = endless(&mut element);
    let options = Options::default();
    assert_eq!(any(&view, &options).unwrap(), Reduced::Scalar(Scalar::Bool(true)));
    element = 0.0;
    assert_eq!(all(&endless(&mut element), &options).unwrap(), Reduced::Scalar(Scalar::Bool(false)));
}

#[test]
fn progress_counts_every_element() {
    let mut elements = vec![1_u8; 3 << 20];
    let view = view_of(&mut elements, &[3072, 1024]);
    for axes in [None, Some(&[0][..]), Some(&[1][..])] {
        let done = AtomicU64::new(0);
        let control = Control { cancel: None, done: Some(&done) };
        kernel::sum(&view, &Options { axes, control, ..Options::default() }).unwrap();
        assert_eq!(done.into_inner(), 3 << 20, "{axes:?}");
    }
}
