//! Pages of a view: which they are, whether they are in memory, and that no advice loses a store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_ndarray_core::kernel::Control;
use mmap_ndarray_core::{
    Advice, DynMmapArray, ElementType, Error, Format, Layout, MmapArray, Mode, OpenOptions, Order, Raw,
};
use ndarray::Array1;
use proptest::prelude::*;

use crate::support::check;

const ALL: [Advice; 5] =
    [Advice::Normal, Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed];

fn open(path: &Path, mode: Mode) -> DynMmapArray {
    DynMmapArray::open(path, &OpenOptions::new(mode)).unwrap()
}

fn whole(array: &DynMmapArray) -> Layout {
    let header = array.header();
    Layout::new(header.offset(), array.shape().to_vec(), array.strides().to_vec(), array.units()).unwrap()
}

/// Bytes of the pages of this machine that elements of 4 bytes lie in.
fn expected(address: usize, page: usize, layout: &Layout) -> u64 {
    let mut places = vec![layout.offset().cast_signed()];
    for (&n, &stride) in layout.shape().iter().zip(layout.strides()) {
        places = places.iter().flat_map(|at| (0..n.cast_signed()).map(move |i| at + i * stride)).collect();
    }
    let pages: BTreeSet<usize> = places
        .iter()
        .map(|&at| address + 4 * usize::try_from(at).unwrap())
        .flat_map(|first| [first / page, (first + 3) / page])
        .collect();
    (pages.len() * page) as u64
}

#[test]
fn the_pages_of_a_view_are_those_of_its_elements() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    std::fs::write(&path, vec![0; 4 * 300_000 + 1]).unwrap();
    // An odd offset: elements lie across pages.
    let element = ElementType::parse("<f4").unwrap();
    let raw = Raw { element, shape: None, offset: 1, strides: None, order: Order::C };
    let options =
        OpenOptions { format: Some(Format::Raw), raw: Some(raw), ..OpenOptions::new(Mode::ReadOnly) };
    let array = DynMmapArray::open(&path, &options).unwrap();
    let one = Layout::new(0, vec![], vec![], array.units()).unwrap();
    let page = usize::try_from(array.page_bytes(&one).unwrap()).unwrap();
    let address = array.mapping().as_ptr().addr();

    // Parts of an array in either order, backwards and in steps.
    let axis = (1_u64..=40, 1_u64..=40, any::<bool>());
    let parts =
        (prop::collection::vec(axis, 1..4), 1_u64..=100, any::<bool>()).prop_map(|(axes, last, fortran)| {
            let (mut stride, mut offset) = (last.cast_signed(), 0);
            let (mut shape, mut strides) = (Vec::new(), Vec::new());
            for (n, step, backwards) in axes {
                let span = (n - 1).cast_signed() * stride * step.cast_signed();
                offset += if backwards { span } else { 0 };
                strides.push(stride * step.cast_signed() * if backwards { -1 } else { 1 });
                shape.push(n);
                stride = (stride * step.cast_signed()).saturating_mul(n.cast_signed());
            }
            if fortran {
                shape.reverse();
                strides.reverse();
            }
            (offset.cast_unsigned(), shape, strides)
        });
    check(1000, &parts, |(offset, shape, strides)| {
        if let Ok(layout) = Layout::new(offset, shape, strides, array.units()) {
            prop_assert_eq!(array.page_bytes(&layout).unwrap(), expected(address, page, &layout));
        }
        Ok(())
    });
    // Any strides at all: every page of an element, and none before the first or after the last.
    let any = (prop::collection::vec((1_u64..=6, -3000_i64..=3000), 0..4), 100_000_u64..200_000);
    check(1000, &any, |(axes, offset)| {
        let (shape, strides) = axes.into_iter().unzip();
        let layout = Layout::new(offset, shape, strides, array.units()).unwrap();
        let (low, high) = layout.extent().unwrap();
        let between = Layout::new(low, vec![high - low], vec![1], array.units()).unwrap();
        let bytes = array.page_bytes(&layout).unwrap();
        prop_assert!(bytes >= expected(address, page, &layout));
        prop_assert!(bytes <= expected(address, page, &between));
        Ok(())
    });
}

#[test]
fn no_advice_changes_an_element_or_loses_a_store() {
    for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        MmapArray::create(&path, &Array1::from_elem(1 << 18, 1.0_f64)).unwrap();
        let array = open(&path, mode);
        let layout = whole(&array);
        let column = Layout::new(77, vec![100], vec![2000], array.units()).unwrap();
        // Also in mode `r`: what JavaScript stores through `data` is such a store.
        for i in [0, 1000, 100_077, (1 << 18) - 1] {
            // SAFETY:
            // - an element of the mapping, which is aligned: the header of an npy file is 128 bytes long.
            unsafe {
                array
                    .mapping()
                    .as_ptr()
                    .wrapping_add(8 * i)
                    .cast::<[u8; 8]>()
                    .write((i as f64).to_ne_bytes());
            };
        }
        let stored = array.to_owned_array::<f64>().unwrap();
        assert_eq!(stored[[100_077]], 100_077.0);
        for advice in ALL.into_iter().chain(ALL) {
            for view in [&layout, &column] {
                array.advise(view, advice).unwrap();
                assert_eq!(array.to_owned_array::<f64>().unwrap(), stored, "{mode:?} {advice:?}");
            }
        }
        array.prefetch(&layout, Control::default()).unwrap();
        assert_eq!(array.to_owned_array::<f64>().unwrap(), stored, "{mode:?}");
        let file = MmapArray::<f64>::open_read_only(&path).unwrap().to_owned_array().unwrap();
        assert_eq!(file == stored, mode == Mode::ReadWrite, "{mode:?}");
    }
}

#[test]
fn prefetch_reads_in_and_dontneed_takes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    MmapArray::create(&path, &Array1::from_elem(1 << 20, 1.0_f64)).unwrap();
    for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
        let array = open(&path, mode);
        let layout = whole(&array);
        array.flush().unwrap();
        let (cancel, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let control = Control { cancel: Some(&cancel), done: Some(&done) };
        array.prefetch(&layout, control).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), array.page_bytes(&layout).unwrap());
        assert_eq!(array.residency(&layout).unwrap(), 1.0, "{mode:?}");
        cancel.store(true, Ordering::Relaxed);
        assert!(matches!(array.prefetch(&layout, control), Err(Error::Aborted)));

        // Whether the pages go is the system's to decide; on Linux with a disk below it they do.
        array.advise(&layout, Advice::DontNeed).unwrap();
        let half = Layout::new(0, vec![1 << 19], vec![1], array.units()).unwrap();
        let gone = array.residency(&layout).unwrap();
        assert!((0.0..=1.0).contains(&gone));
        array.prefetch(&half, Control::default()).unwrap();
        assert_eq!(array.residency(&half).unwrap(), 1.0);
        println!("{mode:?}: {gone} of the pages stayed, {} after half", array.residency(&layout).unwrap());
        assert_eq!(array.to_owned_array::<f64>().unwrap().sum(), f64::from(1 << 20));
    }
}

#[test]
fn views_without_elements_and_layouts_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for len in [0, 3] {
        MmapArray::create(&path, &Array1::from_elem(len, 1_i32)).unwrap();
        let array = open(&path, Mode::ReadWrite);
        let none = Layout::new(0, vec![0, 5], vec![5, 1], array.units()).unwrap();
        for advice in ALL {
            array.advise(&none, advice).unwrap();
        }
        array.prefetch(&none, Control::default()).unwrap();
        array.flush_part(&none).unwrap();
        array.flush().unwrap();
        assert_eq!((array.residency(&none).unwrap(), array.page_bytes(&none).unwrap()), (1.0, 0));
        let other = Layout::new(0, vec![len as u64 + 1], vec![1], 100).unwrap();
        assert!(matches!(array.advise(&other, Advice::Normal), Err(Error::OutOfRange { .. })));
        assert!(matches!(array.flush_part(&other), Err(Error::OutOfRange { .. })));
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(Advice::parse("WILLNEED").unwrap_err().code(), "ERR_INVALID_ARG_VALUE");
}
