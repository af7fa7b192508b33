//! Shapes, strides and the memory that a view reaches.

use mmap_ndarray_core::layout::{MAX_NDIM, byte_count, contiguous_strides, element_count};
use mmap_ndarray_core::{Layout, Order};
use proptest::prelude::*;

use crate::support::check;

const MAX: u64 = i64::MAX as u64;

#[test]
fn elements_are_counted_exactly_or_not_at_all() {
    let ones = [1; 100];
    for (shape, expected) in [
        (&[] as &[u64], Some(1)),
        (&[0], Some(0)),
        (&[7], Some(7)),
        (&[2, 3, 4], Some(24)),
        (&[3, 0, 4], Some(0)),
        (&ones, Some(1)),
        (&[1 << 31, 1 << 31], Some(1 << 62)),
        (&[MAX], Some(MAX)),
        (&[MAX + 1], None),
        (&[1 << 32, 1 << 31], None),
        (&[1 << 32, 1 << 32], None),
        (&[1 << 32, 1 << 32, 1 << 32], None),
        (&[u64::MAX, u64::MAX], None),
        // numpy refuses these as well: the other axes alone are too many.
        (&[0, 1 << 62, 8], None),
        (&[1 << 62, 8, 0], None),
        (&[1 << 63, 0], None),
        (&[MAX, 0], Some(0)),
    ] {
        assert_eq!(element_count(shape), expected, "{shape:?}");
    }
    assert_eq!(byte_count(&[MAX / 8], 8), Some(MAX / 8 * 8));
    assert_eq!(byte_count(&[MAX / 8 + 1], 8), None);
    assert_eq!(byte_count(&[0, MAX / 8 + 1], 8), None);
    assert_eq!(byte_count(&[0, MAX / 8], 8), Some(0));
}

#[test]
fn contiguous_strides_are_those_of_the_seed() {
    for (shape, c, fortran) in [
        (&[] as &[u64], &[] as &[i64], &[] as &[i64]),
        (&[5], &[1], &[1]),
        (&[3, 4], &[4, 1], &[1, 3]),
        (&[2, 3, 4], &[12, 4, 1], &[1, 2, 6]),
        (&[1, 1], &[1, 1], &[1, 1]),
        (&[0, 5], &[5, 1], &[1, 0]),
        (&[5, 0], &[0, 1], &[1, 5]),
        (&[3, 0, 2], &[0, 2, 1], &[1, 3, 0]),
    ] {
        assert_eq!(contiguous_strides(shape, Order::C).unwrap(), c, "{shape:?}");
        assert_eq!(contiguous_strides(shape, Order::Fortran).unwrap(), fortran, "{shape:?}");
    }
    assert_eq!(contiguous_strides(&[1, 1 << 32, 1 << 32], Order::C), None);
    assert_eq!(contiguous_strides(&[1 << 32, 1 << 32, 1], Order::Fortran), None);
}

#[test]
fn an_order_that_changes_nothing_is_c() {
    for (shape, canonical) in [
        (&[] as &[u64], Order::C),
        (&[5], Order::C),
        (&[1, 5], Order::C),
        (&[5, 1, 1], Order::C),
        (&[2, 0, 3], Order::C),
        (&[2, 3], Order::Fortran),
        (&[2, 1, 3], Order::Fortran),
    ] {
        assert_eq!(Order::Fortran.canonical(shape), canonical, "{shape:?}");
        assert_eq!(Order::C.canonical(shape), Order::C);
    }
    assert_eq!((Order::C.to_string(), Order::Fortran.to_string()), ("C".into(), "F".into()));
}

#[test]
fn a_layout_knows_what_it_reaches() {
    for (name, offset, shape, strides, len, extent) in [
        ("all", 0, &[3_u64, 4] as &[u64], &[4_i64, 1] as &[i64], 12, Some((0, 12))),
        ("backwards", 11, &[3, 4], &[-4, -1], 12, Some((0, 12))),
        ("one axis backwards", 3, &[3, 4], &[4, -1], 12, Some((0, 12))),
        ("every other", 1, &[3], &[2], 6, Some((1, 6))),
        ("broadcast", 5, &[1000, 1000], &[0, 0], 6, Some((5, 6))),
        ("a point", 5, &[], &[], 6, Some((5, 6))),
        ("one long axis of any stride", 5, &[1], &[i64::MIN], 6, Some((5, 6))),
        ("empty", 0, &[0], &[1], 0, None),
        ("empty at the end", 9, &[0, 3], &[3, 1], 6, None),
        ("empty with strides that lead nowhere", u64::MAX, &[5, 0], &[i64::MAX, i64::MIN], 0, None),
        ("the last element there can be", u64::MAX - 1, &[1], &[1], u64::MAX, Some((u64::MAX - 1, u64::MAX))),
    ] {
        let layout = Layout::new(offset, shape.to_vec(), strides.to_vec(), len).unwrap();
        assert_eq!(layout.extent(), extent, "{name}");
        assert_eq!(layout.len(), shape.iter().product::<u64>(), "{name}");
        assert_eq!(layout.is_empty(), extent.is_none(), "{name}");
        assert_eq!((layout.offset(), layout.shape(), layout.strides()), (offset, shape, strides), "{name}");
    }
}

#[test]
fn a_layout_that_leaves_its_memory_is_refused() {
    for (name, offset, shape, strides, len) in [
        ("one too long", 0, &[13_u64] as &[u64], &[1_i64] as &[i64], 12),
        ("one too far", 1, &[12], &[1], 12),
        ("below zero", 1, &[3], &[-1], 12),
        ("nothing there", 0, &[], &[], 0),
        ("offset past the end", 12, &[1], &[1], 12),
        ("a stride too wide", 0, &[2], &[12], 12),
        ("an overflow of 64 bits", 1, &[3], &[i64::MAX], u64::MAX),
        ("an overflow below", 0, &[2], &[i64::MIN], u64::MAX),
        ("the element after the last there can be", u64::MAX, &[1], &[1], u64::MAX),
        ("axes and strides that differ", 0, &[2, 2], &[1], 12),
        ("more strides than axes", 0, &[2], &[1, 1], 12),
        ("more elements than a number can say", 0, &[1 << 32, 1 << 32], &[0, 0], 12),
        ("more axes than numpy has", 0, &[1; MAX_NDIM + 1], &[1; MAX_NDIM + 1], 12),
    ] {
        let error = Layout::new(offset, shape.to_vec(), strides.to_vec(), len).unwrap_err();
        assert_eq!(error.code(), "ERR_OUT_OF_RANGE", "{name}: {error}");
    }
    assert!(Layout::new(0, vec![1; MAX_NDIM], vec![1; MAX_NDIM], 1).is_ok());
}

#[test]
fn the_extent_is_that_of_all_elements() {
    let axis = (0_u64..5, -9_i64..9);
    check(4096, &(0_u64..40, prop::collection::vec(axis, 0..4), 0_u64..60), |(offset, axes, memory_len)| {
        let (shape, strides): (Vec<_>, Vec<_>) = axes.iter().copied().unzip();
        let mut reached = vec![i64::try_from(offset).unwrap()];
        for (n, stride) in axes {
            let steps = 0..i64::try_from(n).unwrap();
            reached = reached.iter().flat_map(|at| steps.clone().map(move |i| at + i * stride)).collect();
        }
        let memory = 0..i64::try_from(memory_len).unwrap();
        let layout = Layout::new(offset, shape, strides, memory_len);
        prop_assert_eq!(layout.is_ok(), reached.iter().all(|at| memory.contains(at)));
        if let Ok(layout) = layout {
            let extent = reached.iter().min().zip(reached.iter().max());
            let extent = extent.map(|(&low, &high)| (low.cast_unsigned(), high.cast_unsigned() + 1));
            prop_assert_eq!(layout.extent(), extent);
            prop_assert_eq!(layout.len(), reached.len() as u64);
        }
        Ok(())
    });
}
