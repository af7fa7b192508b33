//! Leases of a mapping, and handles that lead back to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mmap_ndarray_core::{ByteOrder, ElementType, Order};
use mmap_ndarray_core::{
    DType, DynMmapArray, Format, Handle, Lock, MmapArray, Mode, OpenOptions, Raw, attach,
};
use ndarray::array;
use tempfile::TempDir;

use crate::support::outcome;

fn file(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("a.npy");
    MmapArray::create(&path, &array![1_i32, 2, 3]).unwrap();
    path
}

fn open(path: &Path, mode: Mode) -> DynMmapArray {
    DynMmapArray::open(path, &OpenOptions::new(mode)).unwrap()
}

fn values(array: &DynMmapArray) -> Vec<i32> {
    array.to_owned_array().unwrap().into_iter().collect()
}

/// Stores where only this mapping has it.
fn mark(array: &DynMmapArray) {
    let view = array.clone().typed::<i32>().unwrap().raw_view_mut().unwrap().as_mut_ptr();
    // SAFETY:
    // - the first of three elements; no other thread has the mapping.
    unsafe { view.write(-1) };
}

#[test]
fn the_last_lease_retires_the_mapping_and_no_other() {
    let folder = TempDir::new().unwrap();
    let array = open(&file(&folder), Mode::CopyOnWrite);
    let leases = [0; 3].map(|_| array.lease().unwrap());
    leases[1].end().unwrap();
    leases[1].end().unwrap();
    let [first, _, third] = leases;
    drop(first);
    assert_eq!(values(&array), [1, 2, 3]);
    third.end().unwrap();
    assert_eq!(values(&array), [0, 0, 0]);
    assert_eq!(outcome(&array.lease()), "ERR_CLOSED");
}

#[test]
fn a_handle_leads_to_the_mapping_while_it_is_leased_and_to_the_file_afterwards() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let array = open(&path, Mode::CopyOnWrite);
    let lease = array.lease().unwrap();
    mark(&array);
    let handle = array.to_handle();
    assert_eq!(handle, array.to_handle());
    let (same, other) = attach(&handle).unwrap();
    assert_eq!(values(&same), [-1, 2, 3]);
    assert_eq!(same.to_handle(), handle);
    lease.end().unwrap();
    assert_eq!(values(&attach(&handle).unwrap().0), [-1, 2, 3]);
    other.end().unwrap();
    let (again, _lease) = attach(&handle).unwrap();
    assert_eq!(values(&again), [1, 2, 3]);
    assert_ne!(again.to_handle().id, handle.id);
    fs::rename(&path, folder.path().join("b.npy")).unwrap();
    assert_eq!(outcome(&attach(&handle)), "ERR_STALE");
}

/// Users come and go on four threads, so that now and then one comes while the last goes: it finds the mapping or the
/// file, and never what is left of a mapping.
#[test]
fn nobody_attaches_to_a_mapping_that_is_being_retired() {
    let folder = TempDir::new().unwrap();
    // The latest of anybody's, so that all go after the same mapping.
    let latest = Mutex::new(open(&file(&folder), Mode::ReadOnly).to_handle());
    let come_and_go = || {
        for _ in 0..5000 {
            let handle = latest.lock().unwrap().clone();
            let (array, lease) = attach(&handle).unwrap();
            *latest.lock().unwrap() = array.to_handle();
            assert_eq!(values(&array), [1, 2, 3]);
            drop(lease);
        }
    };
    std::thread::scope(|scope| [0; 4].map(|_| scope.spawn(come_and_go)).map(|thread| thread.join().unwrap()));
}

#[test]
fn a_changed_handle_does_not_lead_to_the_mapping() {
    let folder = TempDir::new().unwrap();
    let array = open(&file(&folder), Mode::CopyOnWrite);
    let _lease = array.lease().unwrap();
    mark(&array);
    let changes: [fn(&mut Handle); 7] = [
        |handle| handle.process ^= 1,
        |handle| handle.id = u64::MAX,
        |handle| handle.options.mode = Mode::ReadOnly,
        |handle| handle.options.lock = Some(Lock::Shared),
        |handle| handle.options.dtype = None,
        |handle| handle.options.strict = true,
        |handle| handle.options.name = Some(String::new()),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut handle = array.to_handle();
        change(&mut handle);
        assert_eq!(values(&attach(&handle).unwrap().0), [1, 2, 3], "{i}");
    }
    let mut handle = array.to_handle();
    handle.options.identity = Some("1-2-3".parse().unwrap());
    assert_eq!(outcome(&attach(&handle)), "ERR_STALE");
}

/// type, shape, offset, strides, order
type Description = (ElementType, &'static [u64], u64, Option<Vec<i64>>, Order);

#[test]
fn a_raw_file_is_described_by_its_header() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.raw");
    fs::write(&path, (0..100).collect::<Vec<u8>>()).unwrap();
    let element = ElementType { byte_order: ByteOrder::Big, ..DType::Float32.into() };
    let complex = ElementType { complex: true, ..element };
    let cases: [Description; 6] = [
        (element, &[2, 3], 1, None, Order::C),
        (element, &[2, 3], 1, None, Order::Fortran),
        (element, &[2, 2], 44, Some(vec![-1, 3]), Order::C),
        (complex, &[3, 2], 20, Some(vec![2, -1]), Order::C),
        (complex, &[], 3, None, Order::C),
        (element, &[0, 4], 7, Some(vec![5, 0]), Order::C),
    ];
    for (element, shape, offset, strides, order) in cases {
        let mut options = OpenOptions::new(Mode::ReadOnly);
        options.format = Some(Format::Raw);
        options.raw = Some(Raw { element, shape: Some(shape.to_vec()), offset, strides, order });
        let array = DynMmapArray::open(&path, &options).unwrap();
        let mut handle = array.to_handle();
        // Not the mapping: the file, as the handle describes it.
        handle.process = 0;
        let (again, _lease) = attach(&handle).unwrap();
        assert_eq!(again.header(), array.header(), "{shape:?}");
    }
}
