//! Operations with a second operand against the plainest model there is: loops over lists of values.
//!
//! Past 400 lines: one model for each operation, over the same layouts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_ndarray_core::kernel::{
    Control, Histogram, Metric, Options, RawView, Reduced, Scalar, Tolerance, TopK, Wide, all_close, dot,
    equals, histogram, take, topk,
};
use mmap_ndarray_core::{Bool, ByteOrder, DType, Element, Layout, Result};
use proptest::arbitrary::any;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::kernel::{Place, runner};
use crate::reduce::{float, integer, is_float, narrow, random, view_of, wide};
use crate::support::{MANY, outcome};

/// A view of random elements somewhere in memory.
#[derive(Clone, Debug)]
struct Side {
    dtype: DType,
    byte_order: ByteOrder,
    place: Place,
    /// Elements, in the order of this machine.
    values: Vec<Wide>,
}

impl Side {
    fn view(&self, memory: &mut Vec<u8>) -> RawView {
        *memory = self.values.iter().flat_map(|&value| self.stored(value)).collect();
        self.place.view(memory, self.dtype, self.byte_order)
    }

    fn stored(&self, value: Wide) -> Vec<u8> {
        let mut bytes = narrow(self.dtype, value);
        if self.byte_order != ByteOrder::NATIVE {
            bytes.reverse();
        }
        bytes
    }

    /// The elements that the view reaches, in C order.
    fn elements(&self) -> Vec<Wide> {
        let element = |&i: &usize| wide(self.dtype, &narrow(self.dtype, self.values[i]));
        self.place.indices().iter().map(element).collect()
    }

    fn bytes(&self, elements: &[Wide]) -> Vec<u8> {
        elements.iter().flat_map(|&value| narrow(self.dtype, value)).collect()
    }
}

fn side(shape: Vec<u64>, dtype: DType, kind: u8) -> impl Strategy<Value = Side> {
    let axes = shape.len();
    (vec((any::<bool>(), -5_i64..6), axes), any::<(bool, u64)>(), 0_u64..5).prop_map(
        move |(odd, (little, seed), start)| {
            let (mut strides, mut next) = (vec![0; axes], 1);
            for ((stride, &n), (odd, random)) in strides.iter_mut().zip(&shape).zip(odd).rev() {
                *stride = if odd && n < 50 { random } else { next };
                next = stride.abs().max(1) * n.max(1).cast_signed();
            }
            let place = Place::new(&shape, &strides, start);
            let mut state = seed;
            let values = (0..place.len).map(|_| random(dtype, kind, &mut state)).collect();
            let byte_order = if little { ByteOrder::Little } else { ByteOrder::Big };
            Side { dtype, byte_order, place, values }
        },
    )
}

fn shapes(axes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u64>> {
    let length = prop_oneof![10 => 0_u64..6, 2 => 30_u64..70, 1 => 1000_u64..1100];
    vec(length, axes).prop_filter("too large", |shape| shape.iter().product::<u64>() < 20_000)
}

fn dtypes() -> impl Strategy<Value = DType> {
    (0..DType::ALL.len()).prop_map(|i| DType::ALL[i])
}

fn floats() -> impl Strategy<Value = DType> {
    dtypes().prop_filter("no float", |&dtype| is_float(dtype))
}

fn options(threads: usize) -> Options<'static> {
    Options { threads: Some(threads), ..Options::default() }
}

fn same(a: Wide, b: Wide) -> bool {
    match (a, b) {
        (Wide::Float(a), Wide::Float(b)) => a == b,
        (Wide::Float(a), b) | (b, Wide::Float(a)) => a.fract() == 0.0 && a as i128 == integer(b),
        (a, b) => integer(a) == integer(b),
    }
}

#[test]
fn take_gives_the_elements_at_indices() {
    let cases = (shapes(1..4), dtypes(), 0..3_u8).prop_flat_map(|(shape, dtype, kind)| {
        let axis = (0..shape.len(), any::<bool>());
        (side(shape, dtype, kind), axis, vec(any::<i32>(), 0..9), 1..4_usize)
    });
    runner(1000)
        .run(&cases, |(side, (axis, back), indices, threads)| {
            let shape = &side.place.shape;
            let n = shape[axis].cast_signed();
            // From -n to n - 1.
            let mut indices: Vec<i64> = if n == 0 {
                Vec::new()
            } else {
                indices.iter().map(|&i| i64::from(i).rem_euclid(2 * n) - n).collect()
            };
            let (inner, elements) = (shape[axis + 1..].iter().product::<u64>() as usize, side.elements());
            let outer = shape[..axis].iter().product::<u64>() as usize;
            let mut expected = Vec::new();
            for before in 0..outer {
                for &index in &indices {
                    let row =
                        before * n.unsigned_abs() as usize + index.rem_euclid(n).unsigned_abs() as usize;
                    expected.extend_from_slice(&elements[row * inner..][..inner]);
                }
            }
            let mut memory = Vec::new();
            let view = side.view(&mut memory);
            let count = indices.len() as u64;
            let given = view_of(&mut indices, &[count]);
            let axis = axis as i64 - if back { shape.len() as i64 } else { 0 };
            let found = take(&view, &given, axis, &options(threads)).unwrap();
            prop_assert_eq!(found.dtype, side.dtype);
            let mut wanted = shape.clone();
            wanted[axis.rem_euclid(shape.len() as i64) as usize] = count;
            prop_assert_eq!(found.shape, wanted);
            prop_assert_eq!(found.data, side.bytes(&expected));
            Ok(())
        })
        .unwrap();
}

#[test]
fn take_names_the_index_that_is_outside() {
    let mut elements = [1_i32, 2, 3];
    let view = view_of(&mut elements, &[3]);
    let mut floats = [0.0, 1.5];
    for (name, indices, text) in [
        (
            "past the end",
            view_of(&mut [0_i8, 3], &[2]),
            "indices[1] is 3; expected an integer from -3 to 3 - 1",
        ),
        ("before the start", view_of(&mut [-4_i64], &[1]), "indices[0] is -4"),
        ("beyond all", view_of(&mut [1, 2, u64::MAX], &[3]), "indices[2] is 18446744073709551615"),
        ("a fraction", view_of(&mut floats, &[2]), "indices[1] is 1.5"),
    ] {
        let error = take(&view, &indices, 0, &Options::default()).unwrap_err();
        assert_eq!(error.code(), "ERR_OUT_OF_RANGE", "{name}");
        assert!(error.to_string().contains(text), "{name}: {error}");
    }
    let indices = view_of(&mut [0_u8], &[1]);
    for axis in [1, -2, i64::MIN, i64::MAX] {
        assert_eq!(outcome(&take(&view, &indices, axis, &Options::default())), "ERR_OUT_OF_RANGE", "{axis}");
    }
}

#[test]
fn dot_is_the_sum_of_products() {
    let cases = (shapes(1..4), dtypes(), 0..4_u8).prop_flat_map(|(shape, dtype, kind)| {
        let last = shape[shape.len() - 1];
        (side(shape, dtype, kind), side(vec![last], dtype, kind), 1..4_usize)
    });
    runner(1500)
        .run(&cases, |(side, other, threads)| {
            let last = other.place.shape[0] as usize;
            let (elements, vector) = (side.elements(), other.elements());
            let (mut memory, mut more) = (Vec::new(), Vec::new());
            let found = dot(&side.view(&mut memory), &other.view(&mut more), &options(threads));
            let rows = side.place.shape[..side.place.shape.len() - 1].iter().product::<u64>() as usize;
            let row = |i: usize| elements[i * last..][..last].iter().zip(&vector);
            if is_float(side.dtype) {
                let (_, got) = values(found.unwrap());
                prop_assert_eq!(got.len(), rows);
                for (i, got) in got.into_iter().enumerate() {
                    let terms = row(i).map(|(&a, &b)| float(a) * float(b));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                    let near = got == sum
                        || (got - sum).abs() <= size * last as f64 * f64::EPSILON
                        // Which of two infinities are met first may matter to a sum that overflows.
                        || (got.is_nan() && (sum.is_nan() || size.is_infinite()));
                    prop_assert!(near, "{} and {}", got, sum);
                }
                return Ok(());
            }
            // 128 bits do for the vectors here: 2000 products of less than 2^116.
            let exact = |i: usize| row(i).map(|(&a, &b)| parts(integer(a), integer(b))).fold((0, 0), add);
            let sums: Vec<(i128, i128)> = (0..rows).map(exact).collect();
            if side.place.shape.len() == 1 {
                let (high, low) = sums[0];
                let Reduced::Scalar(Scalar::Integer(got)) = found.unwrap() else { panic!("no integer") };
                let words = got.words();
                // What it is modulo 2^64, and nearly.
                let magnitude = words.first().copied().unwrap_or_default();
                let low_word = if got.is_negative() { magnitude.wrapping_neg() } else { magnitude };
                prop_assert_eq!(u128::from(low_word), low.cast_unsigned() & u128::from(u64::MAX));
                let whole = high.checked_mul(1 << 64).and_then(|high| high.checked_add(low));
                let about = whole.map_or(high as f64 * 2_f64.powi(64) + low as f64, |whole| whole as f64);
                prop_assert!(
                    (got.to_f64() - about).abs() <= about.abs() * 1e-15,
                    "{} {}",
                    got.to_f64(),
                    about
                );
                return Ok(());
            }
            let unsigned = matches!(side.dtype, DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64);
            let limits = if unsigned { (0, 1_i128 << 64) } else { (-1 << 63, 1 << 63) };
            let fits = |&(high, low): &(i128, i128)| {
                let whole = high.checked_mul(1 << 64).and_then(|high| high.checked_add(low));
                whole.filter(|&whole| whole >= limits.0 && whole < limits.1)
            };
            let wanted: Option<Vec<i128>> = sums.iter().map(fits).collect();
            match wanted {
                None => prop_assert_eq!(outcome(&found), "ERR_OUT_OF_RANGE"),
                Some(wanted) => {
                    let Reduced::Array(array) = found.unwrap() else { panic!("no array") };
                    prop_assert_eq!(array.dtype, if unsigned { DType::Uint64 } else { DType::Int64 });
                    let got = array.data.chunks(8).map(|bytes| integer(wide(array.dtype, bytes)));
                    prop_assert_eq!(got.collect::<Vec<_>>(), wanted);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// A product in two parts, of which the second is of 64 bits.
fn parts(a: i128, b: i128) -> (i128, i128) {
    let product = a.checked_mul(b);
    // Of two unsigned ones it may have 128 bits.
    product.map_or_else(
        || {
            let product = a.unsigned_abs() * b.unsigned_abs();
            ((product >> 64) as i128, i128::from(product as u64))
        },
        |product| (product >> 64, product & i128::from(u64::MAX)),
    )
}

fn add(a: (i128, i128), b: (i128, i128)) -> (i128, i128) {
    (a.0 + b.0, a.1 + b.1)
}

/// The shape and the elements of a result of floats.
fn values(reduced: Reduced) -> (Vec<u64>, Vec<f64>) {
    match reduced {
        Reduced::Scalar(Scalar::Float(value)) => (Vec::new(), vec![value]),
        Reduced::Array(array) => {
            let elements = array.data.chunks(8).map(|bytes| float(wide(array.dtype, bytes))).collect();
            (array.shape, elements)
        }
        other @ Reduced::Scalar(_) => panic!("{other:?}"),
    }
}

#[test]
fn topk_gives_the_best_rows_in_order() {
    let cases = (shapes(2..3), floats(), 0..4_u8, 0..3_u8).prop_flat_map(|(shape, dtype, kind, metric)| {
        let (rows, last) = (shape[0].max(1), shape[1]);
        let shape = vec![rows, last];
        (side(shape, dtype, kind), side(vec![last], dtype, kind), 1..=rows as usize, Just(metric), 1..4_usize)
    });
    runner(1000)
        .run(&cases, |(side, query, k, metric, threads)| {
            let metric = [Metric::Dot, Metric::Cosine, Metric::L2][metric as usize];
            let (mut memory, mut more) = (Vec::new(), Vec::new());
            let (view, query) = (side.view(&mut memory), query.view(&mut more));
            let TopK { indices, scores } = topk(&view, &query, k, metric, &options(threads)).unwrap();
            prop_assert_eq!(indices.len(), k);
            // Those of all rows, in another way: `k` of them are the first of these.
            let all = topk(&view, &query, side.place.shape[0] as usize, metric, &options(1)).unwrap();
            prop_assert_eq!(&indices[..], &all.indices[..k]);
            prop_assert_eq!(bits(&scores), bits(&all.scores[..k]));
            let mut rows = all.indices.clone();
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..all.indices.len()));
            for (pair, rows) in all.scores.windows(2).zip(all.indices.windows(2)) {
                let better = if metric == Metric::L2 { pair[0] < pair[1] } else { pair[0] > pair[1] };
                let tie = pair[0] == pair[1] || (pair[0].is_nan() && pair[1].is_nan());
                let last = !pair[0].is_nan() && pair[1].is_nan();
                prop_assert!(better || last || (tie && rows[0] < rows[1]), "{:?} {:?}", pair, rows);
            }
            if metric == Metric::Dot {
                let (_, dots) = values(dot(&view, &query, &options(1)).unwrap());
                let of_rows: Vec<f64> = all.indices.iter().map(|&row| dots[row]).collect();
                prop_assert_eq!(bits(&of_rows), bits(&all.scores));
            }
            Ok(())
        })
        .unwrap();
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| (value + 0.0).to_bits()).collect()
}

#[test]
fn histogram_counts_what_is_between_its_edges() {
    let bounds = prop_oneof![Just(None), (-20_i32..20, 0_i32..40).prop_map(Some)];
    let cases = (shapes(0..4), dtypes(), 0..3_u8).prop_flat_map(move |(shape, dtype, kind)| {
        (side(shape, dtype, kind), 1..40_usize, bounds.clone(), 1..4_usize)
    });
    runner(1000)
        .run(&cases, |(side, bins, range, threads)| {
            let range =
                range.map(|(low, width)| (f64::from(low) / 3.0, f64::from(low) / 3.0 + f64::from(width)));
            let mut memory = Vec::new();
            let found = histogram(&side.view(&mut memory), bins, range, &options(threads));
            let elements: Vec<f64> = side.elements().into_iter().map(float).collect();
            let finite = elements.iter().all(|value| value.is_finite());
            let Ok(Histogram { counts, edges }) = found else {
                // Nothing but elements that have no range, or none with so many floats in it.
                let (least, greatest) =
                    elements.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
                let narrow =
                    greatest - least <= least.abs().max(greatest.abs()) * bins as f64 / 2_f64.powi(20);
                prop_assert!(
                    range.is_none() && (!finite || narrow || !(greatest - least).is_finite()),
                    "{:?}",
                    found
                );
                return Ok(());
            };
            prop_assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!((edges.len(), counts.len()), (bins + 1, bins));
            for (i, &count) in counts.iter().enumerate() {
                let inside =
                    |&&x: &&f64| x >= edges[i] && (x < edges[i + 1] || (i + 1 == bins && x <= edges[i + 1]));
                prop_assert_eq!(count, elements.iter().filter(inside).count() as u64, "bin {}", i);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn equals_and_all_close_find_any_difference() {
    let cases = (shapes(0..4), dtypes(), dtypes(), 0..4_u8, any::<bool>()).prop_flat_map(
        |(shape, dtype, other, kind, alike)| {
            let other = if alike { dtype } else { other };
            let sides = (side(shape.clone(), dtype, kind), side(shape, other, kind));
            (sides, any::<prop::sample::Index>(), 0..3_u8, any::<bool>(), 1..4_usize)
        },
    );
    runner(1500)
        .run(&cases, |((side, mut other), place, change, equal_nan, threads)| {
            // The same elements, but for one of them, where the layout of the other lets each have its own.
            let indices = other.place.indices();
            for (&i, value) in indices.iter().zip(side.elements()) {
                other.values[i] = value;
            }
            if change == 1 && !indices.is_empty() {
                other.values[*place.get(&indices)] = Wide::Signed(3);
            }
            let (a, b) = (side.elements(), other.elements());
            let nan = |a: f64, b: f64| equal_nan && a.is_nan() && b.is_nan();
            let wanted = a.iter().zip(&b).all(|(&a, &b)| same(a, b) || nan(float(a), float(b)));
            let (mut memory, mut more) = (Vec::new(), Vec::new());
            let (view, given) = (side.view(&mut memory), other.view(&mut more));
            prop_assert_eq!(equals(&view, &given, equal_nan, &options(threads)).unwrap(), wanted);
            let (relative, absolute) = [(1e-5, 1e-8), (0.0, 1.5), (0.25, 0.0)][change as usize];
            let close = |(&a, &b): (&Wide, &Wide)| {
                let (a, b) = (float(a), float(b));
                a == b || nan(a, b) || (b.is_finite() && (a - b).abs() <= absolute + relative * b.abs())
            };
            let wanted = a.iter().zip(&b).all(close);
            let tolerance = Tolerance { relative, absolute, equal_nan };
            prop_assert_eq!(all_close(&view, &given, tolerance, &options(threads)).unwrap(), wanted);
            Ok(())
        })
        .unwrap();
}

#[test]
fn large_integers_equal_no_float_beside_them() {
    let at = 1_i64 << 53;
    for (integers, floats, wanted) in [
        ([at, at + 2], [at as f64, (at + 2) as f64], true),
        ([at, at + 1], [at as f64, (at + 1) as f64], false),
        ([i64::MAX, 0], [i64::MAX as f64, 0.0], false),
        ([i64::MIN, 0], [i64::MIN as f64, -0.0], true),
    ] {
        let (mut integers, mut floats) = (integers, floats);
        let (a, b) = (view_of(&mut integers, &[2]), view_of(&mut floats, &[2]));
        assert_eq!(equals(&a, &b, false, &Options::default()).unwrap(), wanted, "{integers:?}");
        assert_eq!(equals(&b, &a, false, &Options::default()).unwrap(), wanted, "{floats:?}");
    }
}

/// What an operation needs to be called, and what it says.
type Call = (&'static str, fn(&RawView, &RawView, &Options) -> &'static str, &'static str);

#[test]
fn what_does_not_fit_is_refused() {
    let calls: [Call; 9] = [
        (
            "dot of another length",
            |m, _, o| outcome(&dot(m, &v(&mut [0_f32; 4], 4), o)),
            "ERR_INVALID_ARG_VALUE",
        ),
        (
            "dot of another dtype",
            |m, _, o| outcome(&dot(m, &v(&mut [0_f64; 3], 3), o)),
            "ERR_INVALID_ARG_VALUE",
        ),
        ("dot with a matrix", |m, _, o| outcome(&dot(m, m, o)), "ERR_INVALID_ARG_VALUE"),
        ("topk of a vector", |_, q, o| outcome(&topk(q, q, 1, Metric::Dot, o)), "ERR_INVALID_ARG_VALUE"),
        ("topk of none", |m, q, o| outcome(&topk(m, q, 0, Metric::Dot, o)), "ERR_OUT_OF_RANGE"),
        ("topk of more than all", |m, q, o| outcome(&topk(m, q, 3, Metric::L2, o)), "ERR_OUT_OF_RANGE"),
        ("no bins", |m, _, o| outcome(&histogram(m, 0, None, o)), "ERR_INVALID_ARG_VALUE"),
        (
            "a range that goes down",
            |m, _, o| outcome(&histogram(m, 1, Some((1.0, 0.0)), o)),
            "ERR_INVALID_ARG_VALUE",
        ),
        ("equals of another shape", |m, q, o| outcome(&equals(m, q, false, o)), "ERR_INVALID_ARG_VALUE"),
    ];
    let (mut matrix, mut query) = ([1_f32; 6], [1_f32; 3]);
    let (matrix, query) = (view_of(&mut matrix, &[2, 3]), view_of(&mut query, &[3]));
    for (name, call, code) in calls {
        assert_eq!(call(&matrix, &query, &Options::default()), code, "{name}");
    }
    let mut integers = [1_u8; 6];
    let integers = view_of(&mut integers, &[2, 3]);
    let found = topk(&integers, &view_of(&mut [1_u8; 3], &[3]), 1, Metric::Dot, &Options::default());
    assert_eq!(outcome(&found), "ERR_INVALID_ARG_VALUE");
    assert_eq!(outcome(&Metric::parse("Dot")), "ERR_OUT_OF_RANGE");
}

fn v<T: Element>(elements: &mut [T], n: u64) -> RawView {
    view_of(elements, &[n])
}

/// An operation of a view with itself.
type Endless = fn(&RawView, &Options) -> &'static str;

#[test]
fn cancelling_stops_an_operation() {
    let calls: [(&str, Endless); 4] = [
        ("dot", |view, o| outcome(&dot(view, view, o))),
        ("histogram", |view, o| outcome(&histogram(view, 3, Some((0.0, 1.0)), o))),
        ("equals", |view, o| outcome(&equals(view, view, false, o))),
        ("allClose", |view, o| {
            outcome(&all_close(view, view, Tolerance { relative: 0.0, absolute: 0.0, equal_nan: true }, o))
        }),
    ];
    let mut element = [1.0_f64];
    let layout = Layout::new(0, vec![MANY], vec![0], 1).unwrap();
    // SAFETY: the bytes of `element`, which this test keeps.
    let endless =
        unsafe { RawView::new(element.as_mut_ptr().cast(), 8, 8, DType::Float64.into(), &layout) }.unwrap();
    for (name, call) in calls {
        for threads in [1, 3] {
            let (cancel, done) = (AtomicBool::new(false), AtomicU64::new(0));
            let control = Control { cancel: Some(&cancel), done: Some(&done) };
            let found = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while done.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                    cancel.store(true, Ordering::Relaxed);
                });
                call(&endless, &Options { threads: Some(threads), control, ..Options::default() })
            });
            assert_eq!(found, "ABORT_ERR", "{name}");
        }
    }
}

#[test]
fn truth_is_taken_as_it_is() {
    let mut flags = [Bool(0), Bool(1), Bool(7)];
    let view = view_of(&mut flags, &[3]);
    let taken = take(&view, &view_of(&mut [2_u8, 0], &[2]), 0, &Options::default()).unwrap();
    assert_eq!(taken.data, [1, 0]);
    let found: Result<Reduced> = dot(&view, &view, &Options::default());
    assert_eq!(found.unwrap(), Reduced::Scalar(Scalar::Integer(2.into())));
    let mut plain = [Bool(0), Bool(1), Bool(1)];
    assert!(equals(&view, &view_of(&mut plain, &[3]), false, &Options::default()).unwrap());
}
