//! Views saved as files of their own: parts larger and smaller than the block that they pass through.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_ndarray_core::{
    Control, CreateOptions, DType, DynMmapArray, Format, Layout, Mode, OpenOptions, Order, Raw,
};
use tempfile::TempDir;

use crate::support::outcome;

const MIB: u64 = 1 << 20;

#[test]
fn parts_come_in_order_whatever_is_cut() {
    let folder = TempDir::new().unwrap();
    let (from, to) = (folder.path().join("from.raw"), folder.path().join("to.raw"));
    let bytes: Vec<u8> = (0..20 * MIB).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect();
    fs::write(&from, &bytes).unwrap();
    let raw = Raw { element: DType::Uint8.into(), shape: None, offset: 0, strides: None, order: Order::C };
    let options =
        OpenOptions { format: Some(Format::Raw), raw: Some(raw), ..OpenOptions::new(Mode::ReadOnly) };
    let array = DynMmapArray::open(&from, &options).unwrap();
    // name, shape, strides, offset: the last axis of each is a straight line, so that the expectation is simple.
    let cases: &[(&str, &[u64], &[i64], u64)] = &[
        ("one line, cut", &[20 * MIB], &[1], 0),
        ("lines longer than a block", &[2, 9 * MIB], &[10 << 20, 1], 5),
        ("many lines in a block", &[5000, 4000], &[4100, 1], 3),
        ("lines backwards", &[3, 1000, 3000], &[6 << 20, -3500, 1], 4 * MIB),
        ("the first axis cut, the rest whole", &[7, 3, MIB], &[2 << 20, 100, 1], 0),
        ("a block exactly", &[2, 8 * MIB], &[8 << 20, 1], 1),
        ("axes of one", &[1, 9, 1, 2 * MIB], &[7, 1 << 20, 7, 1], 0),
        ("no axis", &[], &[], 77),
        ("nothing", &[3, 0, 5], &[1, 1, 1], 0),
    ];
    for &(name, shape, strides, offset) in cases {
        let layout = Layout::new(offset, shape.to_vec(), strides.to_vec(), array.units()).unwrap();
        let (lines, len) = shape.split_last().map_or((&[][..], 1), |(&last, lines)| (lines, last as usize));
        let mut starts = vec![offset as i64];
        for (&n, &stride) in lines.iter().zip(strides) {
            starts = starts.iter().flat_map(|&at| (0..n as i64).map(move |i| at + i * stride)).collect();
        }
        let starts = starts.into_iter().map(|at| usize::try_from(at).unwrap());
        let expected: Vec<u8> = starts.flat_map(|at| &bytes[at..at + len]).copied().collect();
        let done = AtomicU64::new(0);
        for order in [Order::C, Order::Fortran] {
            // The same elements, named the other way round, are the same file.
            let layout = if order == Order::C {
                layout.clone()
            } else {
                let reversed = |axes: &[u64]| axes.iter().rev().copied().collect::<Vec<_>>();
                let strides = strides.iter().rev().copied().collect();
                Layout::new(offset, reversed(shape), strides, array.units()).unwrap()
            };
            let options = CreateOptions { order, overwrite: true, ..CreateOptions::new(Format::Raw) };
            done.store(0, Ordering::Relaxed);
            let control = Control { done: Some(&done), ..Control::default() };
            array.save_as(&layout, &to, &options, control).unwrap();
            assert!(fs::read(&to).unwrap() == expected, "{name} {order}");
            assert_eq!(done.load(Ordering::Relaxed), layout.len(), "{name} {order}");
        }
    }
    let before = fs::read(&to).unwrap();
    let cancel = AtomicBool::new(true);
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    let options = CreateOptions { overwrite: true, ..CreateOptions::new(Format::Npy) };
    assert_eq!(outcome(&array.save_as(&array.layout().unwrap(), &to, &options, control)), "ABORT_ERR");
    array.lease().unwrap().end().unwrap();
    assert_eq!(
        outcome(&array.save_as(&array.layout().unwrap(), &to, &options, Control::default())),
        "ERR_CLOSED"
    );
    assert!(fs::read(&to).unwrap() == before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
