//! Arrays that become longer and shorter: contents, headers, mappings, and what is refused.

use std::fs::{self, OpenOptions as FileOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mmap_ndarray_core::{
    ByteOrder, CreateOptions, DType, DynMmapArray, ElementType, Error, Format, MmapArray, Mode, OpenOptions,
    Order, Raw, Writer, attach, format,
};
use ndarray::{Array, ArrayD, Axis, IxDyn, array};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{IN_PLACE, check, outcome};

/// Whether the system makes a file shorter that is mapped; otherwise it becomes so when it is not any more.
const CUTS_MAPPED: bool = !cfg!(windows);
/// Whether a mapping goes on past the end of its file.
const MAPS_PAST_END: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether an array of the format cannot become shorter.
fn keeps_its_length(format: Format) -> bool {
    !CUTS_MAPPED && format == Format::Raw
}

/// An array of int32 in a new file, open for reading and writing.
fn create(path: &Path, values: &ArrayD<i32>, format: Format, order: Order, capacity: u64) -> MmapArray<i32> {
    let options = CreateOptions { order, capacity, ..CreateOptions::new(format) };
    MmapArray::create_with(path, values, &options).unwrap()
}

/// How to find the array again; raw files do not say their shape.
fn options(format: Format, order: Order, shape: &[u64], mode: Mode) -> OpenOptions {
    let raw = (format == Format::Raw).then(|| Raw {
        element: DType::Int32.into(),
        shape: Some(shape.to_vec()),
        offset: 0,
        strides: None,
        order,
    });
    OpenOptions { format: Some(format), raw, strict: true, ..OpenOptions::new(mode) }
}

fn ramp(shape: &[usize], first: i32) -> ArrayD<i32> {
    let len: usize = shape.iter().product();
    Array::from_iter(first..first + len as i32).into_shape_with_order(IxDyn(shape)).unwrap()
}

#[test]
fn rows_are_appended_along_the_axis_of_the_order_and_the_file_is_as_if_written_at_once() {
    for &format in IN_PLACE {
        for order in [Order::C, Order::Fortran] {
            for shape in [&[3][..], &[2, 3], &[2, 3, 2], &[0, 3], &[0]] {
                for capacity in [0, 1 << 16] {
                    let order = order.canonical(&shape.iter().map(|&n| n as u64).collect::<Vec<_>>());
                    if format == Format::Mmap && order == Order::Fortran {
                        continue;
                    }
                    let axis = if order == Order::C { 0 } else { shape.len() - 1 };
                    let folder = TempDir::new().unwrap();
                    let (path, once) = (folder.path().join("a"), folder.path().join("b"));
                    let mut expected = ramp(shape, 0);
                    let mut a = create(&path, &expected, format, order, capacity);
                    // More digits, one row with an axis less, none, many.
                    for rows in [1, 9, 0, 100, 20_000] {
                        let mut more = shape.to_vec();
                        more[axis] = rows;
                        let mut rows = ramp(&more, expected.len() as i32);
                        if more[axis] == 1 {
                            rows = rows.remove_axis(Axis(axis));
                            a.append(&rows, true).unwrap();
                            rows.insert_axis_inplace(Axis(axis));
                        } else {
                            a.append(&rows.t().as_standard_layout().t(), false).unwrap();
                        }
                        expected.append(Axis(axis), rows.view()).unwrap();
                        assert_eq!(a.to_owned_array().unwrap(), expected, "{format:?} {order:?} {shape:?}");
                    }
                    a.flush().unwrap();
                    assert!(a.lost().is_none());
                    drop(create(&once, &expected, format, order, 0));
                    assert_eq!(fs::read(&path).unwrap(), fs::read(&once).unwrap(), "{format:?} {shape:?}");
                }
            }
        }
    }
}

#[test]
fn complex_numbers_grow_whole_and_foreign_byte_orders_are_kept() {
    let folder = TempDir::new().unwrap();
    for order in [Order::C, Order::Fortran] {
        let path = folder.path().join(format!("{order}.npy"));
        let element = ElementType { dtype: DType::Float32, byte_order: ByteOrder::NATIVE, complex: true };
        let writer = Writer::begin(
            &path,
            element,
            &[2, 3],
            &CreateOptions { order, ..CreateOptions::new(Format::Npy) },
        );
        let mut a = DynMmapArray::from_writer(writer.unwrap()).unwrap().typed::<f32>().unwrap();
        let row = if order == Order::C { 3 } else { 2 };
        let rows = Array::from_shape_fn(IxDyn(&[row, 2]), |at| (at[0] * 10 + at[1]) as f32);
        a.append(&rows, false).unwrap();
        let (shape, axis) = if order == Order::C { ([3, 3, 2], 0) } else { ([2, 4, 2], 1) };
        assert_eq!(a.shape(), shape);
        let read = MmapArray::<f32>::open_read_only(&path).unwrap().to_owned_array().unwrap();
        assert_eq!(read.index_axis(Axis(axis), shape[axis] as usize - 1), rows);
    }
    let path = folder.path().join("foreign.npy");
    let header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }";
    let mut bytes = header.to_vec();
    bytes.resize(127, b' ');
    bytes.extend(b"\n\0\0\0\x01");
    fs::write(&path, bytes).unwrap();
    let mut a = DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadWrite)).unwrap();
    a.append_bytes(2, &[2_i32.to_ne_bytes(), 3_i32.to_ne_bytes()].concat(), false).unwrap();
    assert_eq!(a.to_owned_array::<i32>().unwrap(), array![1, 2, 3].into_dyn());
    assert_eq!(&fs::read(&path).unwrap()[128..], b"\0\0\0\x01\0\0\0\x02\0\0\0\x03");
}

#[test]
fn an_array_is_resized_and_new_rows_are_zeros_whatever_was_behind_the_end() {
    for &format in IN_PLACE {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a");
        let mut a = create(&path, &ramp(&[1000, 3], 1), format, Order::C, 1 << 20);
        let held = Arc::clone(a.mapping());
        let first = held.as_ptr();
        for n in [500, 500, 0, 2000, 1] {
            if keeps_its_length(format) && n < a.shape()[0] {
                assert_eq!(outcome(&a.resize(n)), "EBUSY");
                continue;
            }
            a.resize(n).unwrap();
            assert_eq!(a.shape(), [n, 3]);
            let values = a.to_owned_array().unwrap();
            let header = if format == Format::Raw { 0 } else { a.header().data_offset() };
            let (len, end) = (fs::metadata(&path).unwrap().len(), header + n * 12);
            assert!(len == end || !CUTS_MAPPED && len > end, "{len}");
            let kept = if keeps_its_length(format) { 3000 } else { 3 * 500 * usize::from(n == 500) };
            assert!(values.iter().enumerate().all(|(at, &x)| x == if at < kept { at as i32 + 1 } else { 0 }));
            let strict =
                OpenOptions { strict: CUTS_MAPPED, ..options(format, Order::C, &[n, 3], Mode::ReadOnly) };
            let read = DynMmapArray::open(&path, &strict).unwrap();
            assert_eq!(read.shape(), [n, 3]);
            for at in [n as usize * 3, 2999].into_iter().filter(|at| 4 * at < held.len()) {
                // SAFETY:
                // - 1000 rows were mapped, and behind the end there are zeros; in the last page they can be stored to.
                unsafe { first.wrapping_add(4 * at).write_volatile(7) };
            }
        }
        assert!(a.lost().is_none(), "what was cut off is no loss");
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn pages_touched_ahead_of_the_end_are_no_loss_and_show_the_rows_that_come() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let options = |mode| OpenOptions { capacity: 1 << 20, ..OpenOptions::new(mode) };
    drop(create(&path, &ramp(&[4], 0), Format::Npy, Order::C, 0));
    let mut a = DynMmapArray::open(&path, &options(Mode::ReadWrite)).unwrap();
    let mut readers = [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite]
        .map(|mode| DynMmapArray::open(&path, &options(mode)).unwrap());
    let strays = |array: &DynMmapArray| array.mapping().as_ptr().wrapping_add(100_000);
    for array in readers.iter().chain([&a]) {
        assert_eq!(array.mapping().len(), 16 + (1 << 20));
        let stray = strays(array);
        // SAFETY:
        // - inside the addresses that are kept; the guard puts a page there.
        assert_eq!(unsafe { stray.read_volatile() }, 0);
        // SAFETY:
        // - as above.
        unsafe { stray.write_volatile(9) };
    }
    a.append_bytes(40_000, &(4..40_004_i32).flat_map(i32::to_ne_bytes).collect::<Vec<_>>(), false).unwrap();
    for array in &mut readers {
        assert!(array.refresh().unwrap());
    }
    for array in readers.iter().chain([&a]) {
        assert!(array.lost().is_none());
        assert_eq!(array.mapping().len(), 16 + (1 << 20), "the same mapping");
        assert_eq!(array.to_owned_array::<i32>().unwrap(), ramp(&[40_004], 0));
    }
}

#[test]
fn whoever_holds_the_old_mapping_sees_the_same_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let mut a = create(&path, &ramp(&[3], 0), Format::Npy, Order::C, 0);
    let before = (*a).clone();
    a.append(&ramp(&[3], 3), false).unwrap();
    assert!(!Arc::ptr_eq(a.mapping(), before.mapping()));
    let view = a.raw_view_mut().unwrap().as_mut_ptr();
    // SAFETY:
    // - the first of six elements; no other thread has the mapping.
    unsafe { view.write(-1) };
    assert_eq!(before.to_owned_array::<i32>().unwrap(), array![-1, 1, 2].into_dyn());
    let held = Arc::clone(a.mapping());
    for _ in 0..100 {
        a.append(&ramp(&[1000], 0), false).unwrap();
    }
    assert_eq!(Arc::ptr_eq(&held, a.mapping()), MAPS_PAST_END);
}

#[test]
fn refresh_takes_the_length_that_others_gave_the_file() {
    for &format in IN_PLACE {
        for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("a");
            let mut a = create(&path, &ramp(&[2, 3], 0), format, Order::C, 0);
            let mut other = DynMmapArray::open(
                &path,
                &OpenOptions { capacity: 4096, ..options(format, Order::C, &[2, 3], mode) },
            )
            .unwrap();
            assert!(!other.refresh().unwrap());
            if mode == Mode::CopyOnWrite && !MAPS_PAST_END {
                a.resize(10).unwrap();
                assert_eq!(outcome(&other.refresh()), "ERR_TOO_LARGE");
                continue;
            }
            for n in [10, 300, 4] {
                if keeps_its_length(format) && n == 4 {
                    continue;
                }
                a.resize(n).unwrap();
                assert!(other.refresh().unwrap(), "{format:?} {mode:?} {n}");
                assert!(!other.refresh().unwrap());
                assert_eq!(other.shape(), [n, 3]);
                assert_eq!(other.to_owned_array::<i32>().unwrap(), a.to_owned_array().unwrap());
            }
            a.resize(20_000).unwrap();
            let moves = mode != Mode::CopyOnWrite;
            assert_eq!(outcome(&other.refresh()), if moves { "opens" } else { "ERR_TOO_LARGE" });
            assert_eq!(other.shape(), if moves { [20_000, 3] } else { [4, 3] });
        }
    }
}

#[test]
fn a_second_writer_and_another_file_are_found_out_and_nothing_is_written() {
    for &format in IN_PLACE {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a");
        let mut a = create(&path, &ramp(&[2], 0), format, Order::C, 0);
        let mut b = DynMmapArray::open(&path, &options(format, Order::C, &[2], Mode::ReadWrite)).unwrap();
        a.append(&ramp(&[1], 2), false).unwrap();
        let before = fs::read(&path).unwrap();
        let refused = b.append_bytes(1, &[1; 4], false);
        assert!(matches!(refused, Err(Error::Outdated { .. })), "{refused:?}");
        assert_eq!(outcome(&refused), "ERR_STALE");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(b.refresh().unwrap());
        b.append_bytes(1, &3_i32.to_ne_bytes(), false).unwrap();
        assert_eq!(b.to_owned_array::<i32>().unwrap(), ramp(&[4], 0));

        let growth = b.begin_append(1).unwrap();
        assert_eq!(outcome(&b.clone().append_bytes(1, &[1; 4], false)), "ERR_INVALID_STATE");
        drop(growth);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert_eq!(outcome(&b.append_bytes(1, &[1; 4], false)), "ERR_STALE");
        fs::write(&path, fs::read(folder.path().join("moved")).unwrap()).unwrap();
        assert_eq!(outcome(&b.resize(1)), "ERR_STALE");
    }
}

#[test]
fn a_file_that_was_cut_off_is_a_loss_and_trailing_bytes_are_removed() {
    let folder = TempDir::new().unwrap();
    for &format in IN_PLACE.iter().filter(|&&format| format != Format::Raw) {
        let path = folder.path().join(format.name());
        let mut a = create(&path, &ramp(&[5000], 0), format, Order::C, 0);
        let add = |bytes: &[u8]| {
            FileOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
        };
        add(&[1; 10_000]);
        a.append(&ramp(&[1], 5000), false).unwrap();
        if CUTS_MAPPED {
            assert_eq!(fs::metadata(&path).unwrap().len(), a.header().file_len());
        }
        add(b"x");
        a.resize(10).unwrap();
        assert_eq!(a.to_owned_array().unwrap(), ramp(&[10], 0));
        let end = a.header().file_len();
        let cut = FileOptions::new().write(true).open(&path).unwrap().set_len(end - 1);
        if !CUTS_MAPPED {
            cut.unwrap_err();
            drop(a);
            assert_eq!(fs::metadata(&path).unwrap().len(), end);
            continue;
        }
        cut.unwrap();
        assert_eq!(outcome(&a.append(&ramp(&[1], 0), false)), "ERR_MAPPING_LOST");
        assert_eq!(a.shape(), [10]);
    }
}

#[test]
fn what_cannot_grow_says_so_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let file = |values: &ArrayD<i32>| drop(create(&path, values, Format::Npy, Order::C, 0));
    file(&ramp(&[2, 3], 0));
    let before = fs::read(&path).unwrap();
    let open = |path: &PathBuf, mode| DynMmapArray::open(path, &OpenOptions::new(mode)).unwrap();
    for (mode, code) in [(Mode::ReadOnly, "ERR_READ_ONLY"), (Mode::CopyOnWrite, "ERR_INVALID_ARG_VALUE")] {
        assert_eq!(outcome(&open(&path, mode).append_bytes(1, &[0; 12], false)), code);
        assert_eq!(outcome(&open(&path, mode).resize(1)), code);
    }
    let mut a = open(&path, Mode::ReadWrite);
    assert_eq!(outcome(&a.append_bytes(1, &[0; 8], false)), "ERR_OUT_OF_RANGE");
    assert_eq!(outcome(&a.resize(u64::MAX)), "ERR_TOO_LARGE");
    assert_eq!(outcome(&a.resize(1 << 60)), "ERR_TOO_LARGE");
    let mut typed = open(&path, Mode::ReadWrite).typed::<i32>().unwrap();
    for rows in [ramp(&[4], 0), ramp(&[2, 2], 0), ramp(&[1, 1, 3], 0), ramp(&[], 0)] {
        assert_eq!(outcome(&typed.append(&rows, false)), "ERR_INVALID_ARG_VALUE");
    }
    assert_eq!((typed.shape(), fs::read(&path).unwrap()), (&[2, 3][..], before.clone()));

    // A header without room: the numbers of an old numpy.
    let text = b"{'descr': '<i4', 'fortran_order': False, 'shape': (9,), }      \n";
    let old = [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text, &[0; 36]].concat();
    drop((a, typed));
    fs::write(&path, &old).unwrap();
    let mut a = open(&path, Mode::ReadWrite);
    a.resize(1_000_000).unwrap();
    assert_eq!(outcome(&a.resize(10_000_000)), "ERR_TOO_LARGE");
    a.resize(9).unwrap();
    if !CUTS_MAPPED {
        drop(a);
    }
    assert_eq!(fs::read(&path).unwrap(), old);

    let scalar = folder.path().join("scalar.npy");
    drop(create(&scalar, &ramp(&[], 0), Format::Npy, Order::C, 0));
    assert_eq!(outcome(&open(&scalar, Mode::ReadWrite).resize(1)), "ERR_INVALID_ARG_VALUE");

    let raw = |shape: Option<Vec<u64>>, strides| Raw {
        element: DType::Int8.into(),
        shape,
        offset: 2,
        strides,
        order: Order::C,
    };
    let name = folder.path().join("a.raw");
    fs::write(&name, [7; 10]).unwrap();
    for (raw, code) in [
        (raw(Some(vec![2]), Some(vec![2])), "ERR_INVALID_ARG_VALUE"),
        (raw(Some(vec![4]), None), "ERR_STALE"),
        (raw(None, None), "opens"),
    ] {
        let mut a =
            DynMmapArray::open(&name, &OpenOptions { raw: Some(raw), ..OpenOptions::new(Mode::ReadWrite) })
                .unwrap();
        assert!(!a.refresh().unwrap());
        assert_eq!(outcome(&a.append_bytes(1, &[1], false)), code);
    }
    assert_eq!(fs::read(&name).unwrap(), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1]);
}

#[test]
fn arrays_that_share_a_mapping_follow_by_refresh_and_hold_the_lock_together() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    drop(create(&path, &ramp(&[3], 0), Format::Npy, Order::C, 0));
    let lock = Some(mmap_ndarray_core::Lock::Exclusive);
    let options = OpenOptions { lock, ..OpenOptions::new(Mode::ReadWrite) };
    let mut a = DynMmapArray::open(&path, &options).unwrap();
    let lease = a.lease().unwrap();
    let (mut b, b_lease) = attach(&a.to_handle()).unwrap();
    assert!(Arc::ptr_eq(a.mapping(), b.mapping()));
    a.append_bytes(1, &3_i32.to_ne_bytes(), false).unwrap();
    let new_lease = a.lease().unwrap();
    assert_eq!(b.shape(), [3]);
    lease.end().unwrap();
    new_lease.end().unwrap();
    // The array that made the handle is closed; the lock is still held.
    assert_eq!(outcome(&DynMmapArray::open(&path, &options)), "ERR_LOCKED");
    assert!(b.refresh().unwrap());
    assert_eq!(b.to_owned_array::<i32>().unwrap(), ramp(&[4], 0));
    let last = b.lease().unwrap();
    b_lease.end().unwrap();
    assert_eq!(outcome(&DynMmapArray::open(&path, &options)), "ERR_LOCKED");
    last.end().unwrap();
    assert_eq!(outcome(&DynMmapArray::open(&path, &options)), "opens");
}

#[test]
fn a_header_is_rewritten_as_a_new_file_would_have_it() {
    let lengths = prop::collection::vec(0_u64..2_000_000, 1..4);
    check(200, &(lengths, 1_u64..5, any::<bool>()), |(lengths, width, fortran)| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.npy");
        let order = if fortran { Order::Fortran } else { Order::C };
        let shape = |n| if fortran { [width + 1, n] } else { [n, width] };
        let options = CreateOptions { order, reserve: false, ..CreateOptions::new(Format::Npy) };
        let writer = Writer::begin(&path, DType::Uint8, &shape(7), &options).unwrap();
        let mut a = DynMmapArray::from_writer(writer).unwrap();
        for n in lengths {
            a.resize(n).unwrap();
            // Which order numpy names where both are one is a new file's choice; a grown one keeps its own.
            if order.canonical(&shape(n)) == order {
                let written =
                    format::write_header(Format::Npy, DType::Uint8.into(), &shape(n), order).unwrap();
                prop_assert_eq!(&fs::read(&path).unwrap()[..written.len()], &written[..]);
            }
            prop_assert_eq!(a.shape(), shape(n));
        }
        Ok(())
    });
}
