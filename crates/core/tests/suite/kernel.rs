//! Fill and assign against the plainest model there is: a loop over indices.

use half::{bf16, f16};
use mmap_ndarray_core::kernel::{RawView, assign, fill};
use mmap_ndarray_core::{Bool, ByteOrder, DType, Element, ElementType, Layout};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::support::tried;

const SEED: u64 = 20_261_124;

pub(crate) fn runner(cases: u32) -> TestRunner {
    println!("seed {SEED}");
    TestRunner::new(Config {
        cases: tried(cases),
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    })
}

/// Shape, strides and offset of a view that fits into `len` elements.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) shape: Vec<u64>,
    strides: Vec<i64>,
    offset: u64,
    pub(crate) len: usize,
}

impl Place {
    /// A view of `shape` with these strides, moved so that its lowest element is `start`.
    pub(crate) fn new(shape: &[u64], strides: &[i64], start: u64) -> Self {
        let reach = |sign: i64| -> i64 {
            shape.iter().zip(strides).map(|(&n, &s)| (s * sign).max(0) * (n.max(1).cast_signed() - 1)).sum()
        };
        let offset = start + reach(-1).unsigned_abs();
        let len = usize::try_from(offset + reach(1).unsigned_abs() + 1).unwrap();
        Self { shape: shape.to_vec(), strides: strides.to_vec(), offset, len }
    }

    /// The index of each element in C order.
    pub(crate) fn indices(&self) -> Vec<usize> {
        let mut indices = vec![self.offset.cast_signed()];
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            indices =
                indices.iter().flat_map(|&i| (0..n.cast_signed()).map(move |k| i + k * stride)).collect();
        }
        indices.into_iter().map(|i| usize::try_from(i).unwrap()).collect()
    }

    pub(crate) fn view(&self, memory: &mut [u8], dtype: DType, byte_order: ByteOrder) -> RawView {
        self.view_at(memory.as_mut_ptr(), memory.len(), dtype, byte_order)
    }

    /// For two views of one memory: a second reference to it would end what the first pointer may do.
    fn view_at(&self, base: *mut u8, nbytes: usize, dtype: DType, byte_order: ByteOrder) -> RawView {
        let itemsize = dtype.itemsize();
        let len = nbytes / itemsize;
        let layout = Layout::new(self.offset, self.shape.clone(), self.strides.clone(), len as u64).unwrap();
        let element = ElementType { byte_order, ..dtype.into() };
        // SAFETY: all bytes of a memory which each test keeps.
        unsafe { RawView::new(base, nbytes, itemsize, element, &layout) }.unwrap()
    }
}

fn places(count: usize) -> impl Strategy<Value = Vec<Place>> {
    let axis = (0_u64..5, vec(prop_oneof![-7_i64..8, Just(0)], count));
    (vec(axis, 0..4), vec(0_u64..9, count)).prop_map(move |(axes, starts)| {
        let shape: Vec<u64> = axes.iter().map(|axis| axis.0).collect();
        let strides = |k: usize| axes.iter().map(|axis| axis.1[k]).collect::<Vec<_>>();
        (0..count).map(|k| Place::new(&shape, &strides(k), starts[k])).collect()
    })
}

#[test]
fn fill_stores_every_element_and_no_other() {
    runner(2000)
        .run(&places(1), |places| {
            let place = &places[0];
            let mut memory = vec![0xAA; place.len * 4];
            fill(&place.view(&mut memory, DType::Int32, ByteOrder::NATIVE), &7_i32.to_ne_bytes()).unwrap();
            let inside = place.indices();
            for (i, bytes) in memory.chunks(4).enumerate() {
                let expected = if inside.contains(&i) { 7_i32.to_ne_bytes() } else { [0xAA; 4] };
                prop_assert_eq!(bytes, expected, "element {}", i);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn assign_within_one_memory_reads_before_it_writes() {
    runner(4000)
        .run(&places(2), |places| {
            let [target, source] = [&places[0], &places[1]];
            let len = target.len.max(source.len);
            let mut memory: Vec<u8> =
                (0..len).flat_map(|i| u16::try_from(i).unwrap().to_ne_bytes()).collect();
            let mut expected: Vec<u16> = (0..len).map(|i| u16::try_from(i).unwrap()).collect();
            let values: Vec<u16> = source.indices().into_iter().map(|i| expected[i]).collect();
            let mut written = std::collections::HashMap::<usize, Vec<u16>>::new();
            for (i, value) in target.indices().into_iter().zip(values) {
                written.entry(i).or_default().push(value);
                expected[i] = value;
            }
            let (base, nbytes) = (memory.as_mut_ptr(), memory.len());
            let [target, source] =
                [target, source].map(|place| place.view_at(base, nbytes, DType::Uint16, ByteOrder::NATIVE));
            assign(&target, &source).unwrap();
            for (i, bytes) in memory.chunks(2).enumerate() {
                let found = u16::from_ne_bytes([bytes[0], bytes[1]]);
                // Where a target reaches an element twice, any of its values is right.
                let right = written.get(&i).map_or(found == expected[i], |values| values.contains(&found));
                prop_assert!(right, "element {} is {}", i, found);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn both_byte_orders_and_no_alignment() {
    let swapped = if ByteOrder::NATIVE == ByteOrder::Little { ByteOrder::Big } else { ByteOrder::Little };
    let values = [1.5_f64, f64::NAN, -0.0, 5e-324];
    let mut from: Vec<u8> =
        std::iter::once(0).chain(values.iter().flat_map(|v| v.to_ne_bytes().into_iter().rev())).collect();
    let mut to = vec![0; 4 * 8];
    let place = Place::new(&[4], &[1], 0);
    let source = place.view(&mut from[1..], DType::Float64, swapped);
    assign(&place.view(&mut to, DType::Float64, ByteOrder::NATIVE), &source).unwrap();
    for (bytes, value) in to.chunks(8).zip(values) {
        assert_eq!(bytes, value.to_ne_bytes());
    }
}

/// Source value, as the given type, and what storing it gives in another.
fn converted<S: Element, T: Element>(value: S) -> T {
    let (mut from, mut to) =
        (value.to_bytes(), T::narrow(mmap_ndarray_core::kernel::Wide::Unsigned(1)).to_bytes());
    let place = Place::new(&[], &[], 0);
    let source = place.view(from.as_mut(), S::DTYPE, ByteOrder::NATIVE);
    assign(&place.view(to.as_mut(), T::DTYPE, ByteOrder::NATIVE), &source).unwrap();
    T::from_bytes(to)
}

#[test]
fn values_convert_as_a_typed_array_stores_them() {
    assert_eq!(converted::<f64, i8>(200.0), -56);
    assert_eq!(converted::<f64, u8>(-1.9), 255);
    assert_eq!(converted::<f64, i32>(f64::NAN), 0);
    assert_eq!(converted::<f64, i32>(f64::INFINITY), 0);
    assert_eq!(converted::<f64, u32>(-1.0), u32::MAX);
    assert_eq!(converted::<f64, i64>(9_223_372_036_854_775_808.0), i64::MIN);
    assert_eq!(converted::<f64, u64>(-1.0), u64::MAX);
    assert_eq!(converted::<f64, u8>(2_f64.powi(70)), 0);
    assert_eq!(converted::<i64, f64>(i64::MAX), 9_223_372_036_854_775_808.0);
    assert_eq!(converted::<i64, u16>(-1), u16::MAX);
    assert_eq!(converted::<u64, f32>(16_777_217), 16_777_216.0);
    assert_eq!(converted::<f64, f32>(1e300), f32::INFINITY);
    assert_eq!(converted::<f64, Bool>(f64::NAN), Bool(1));
    assert_eq!(converted::<f64, Bool>(-0.0), Bool(0));
    assert_eq!(converted::<i64, Bool>(256), Bool(1));
    assert_eq!(converted::<Bool, f64>(Bool(9)), 1.0);
}

#[test]
fn layouts_that_leave_the_memory_are_refused() {
    let mut memory = [0_u8; 40];
    let layout = Layout::new(0, vec![5], vec![2], 9).unwrap();
    let float64 = DType::Float64.into();
    // SAFETY: all bytes of `memory`; the layout was made for 9 elements, and is refused.
    let view = unsafe { RawView::new(memory.as_mut_ptr(), 40, 8, float64, &layout) };
    assert!(view.is_err());
    // In units of 4 bytes the last element starts at byte 32, and in those of 5 at byte 40.
    // SAFETY: all bytes of `memory`, for both.
    let [inside, outside] =
        [4, 5].map(|unit| unsafe { RawView::new(memory.as_mut_ptr(), 40, unit, float64, &layout) });
    assert!(inside.is_ok() && outside.is_err());
    let place = Place::new(&[2, 2], &[2, 1], 0);
    let mut other = [0_u8; 40];
    let different = Place::new(&[4], &[1], 0);
    let target = place.view(&mut memory, DType::Float64, ByteOrder::NATIVE);
    assert!(assign(&target, &different.view(&mut other, DType::Float64, ByteOrder::NATIVE)).is_err());
    assert!(fill(&target, &[0; 7]).is_err());
}

#[test]
fn halves_round_to_the_nearest_and_ties_to_even() {
    for (value, half) in [
        (2048.0, 2048.0),
        (2049.0, 2048.0),
        (2050.0, 2050.0),
        (2051.0, 2052.0),
        (-2049.0, -2048.0),
        (1.0 + 2_f64.powi(-11), 1.0),
        (1.0 + 2_f64.powi(-11) + 2_f64.powi(-30), 1.0 + 2_f64.powi(-10)),
        // Rounded to a float32 first this would be a tie, and then go down.
        (1.0 + 2_f64.powi(-11) + 2_f64.powi(-40), 1.0 + 2_f64.powi(-10)),
        (65519.0, 65504.0),
        (65520.0, f64::INFINITY),
        (f64::NEG_INFINITY, f64::NEG_INFINITY),
        (2_f64.powi(-24), 2_f64.powi(-24)),
        (2_f64.powi(-25), 0.0),
        (2_f64.powi(-25) * 1.5, 2_f64.powi(-24)),
    ] {
        assert_eq!(converted::<f64, f16>(value).to_f64(), half, "{value}");
    }
    for (value, half) in [
        (256.0, 256.0),
        (257.0, 256.0),
        (259.0, 260.0),
        (258.0, 258.0),
        (-257.0, -256.0),
        (1.0 + 2_f64.powi(-8), 1.0),
        (1.0 + 2_f64.powi(-8) + 2_f64.powi(-40), 1.0 + 2_f64.powi(-7)),
        (1e38, f64::from(bf16::from_f64(1e38))),
        (3.4e38, f64::INFINITY),
        (2_f64.powi(-133), 2_f64.powi(-133)),
    ] {
        assert_eq!(converted::<f64, bf16>(value).to_f64(), half, "{value}");
    }
    assert!(converted::<f64, f16>(f64::NAN).is_nan() && converted::<f64, bf16>(f64::NAN).is_nan());
    assert_eq!(converted::<f64, f16>(-0.0).to_bits(), 0x8000);
    assert_eq!(converted::<f16, f64>(f16::MAX), 65504.0);
    assert_eq!(converted::<f16, bf16>(f16::MAX), bf16::from_f32(65536.0));
    assert_eq!(converted::<bf16, f32>(bf16::from_bits(0x7f7f)), f32::from_bits(0x7f7f_0000));
    assert_eq!(converted::<f16, i8>(f16::from_f32(-200.5)), 56);
    assert_eq!(converted::<bf16, u64>(bf16::from_f32(3.5)), 3);
    assert_eq!(converted::<i64, f16>(2049), f16::from_f32(2048.0));
    assert_eq!(converted::<f16, Bool>(f16::NEG_ZERO), Bool(0));
    assert_eq!(converted::<bf16, Bool>(bf16::NAN), Bool(1));
}

#[test]
fn every_half_survives_a_wider_float() {
    for bits in (0..=u16::MAX).step_by(if cfg!(miri) { 997 } else { 1 }) {
        let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
        if !half.is_nan() {
            assert_eq!(converted::<f32, f16>(converted::<f16, f32>(half)).to_bits(), bits);
        }
        if !brain.is_nan() {
            assert_eq!(converted::<f64, bf16>(converted::<bf16, f64>(brain)).to_bits(), bits);
        }
    }
}
