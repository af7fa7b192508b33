//! Files that are not mapped: everything as with those that are, beside what is written back, and when.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use mmap_ndarray_core::fault::{Hook, listen};
use mmap_ndarray_core::kernel::{self, RawView};
use mmap_ndarray_core::{
    ByteOrder, CommitOptions, Control, CreateOptions, DType, DynMmapArray, ElementType, Format, Layout, Loss,
    MmapArray, Mode, OpenOptions, Order, Raw, Result, Tracking, attach, mapping,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{check, manifest, outcome, text};

const MODES: [Mode; 3] = [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite];
const MIB: usize = 1 << 20;
const EIO: i32 = if cfg!(windows) { 1117 } else { 5 };
const ENOSPC: i32 = if cfg!(windows) { 112 } else { 28 };
/// Others, with their codes.
const DENIED: (i32, &str) = if cfg!(windows) { (5, "EPERM") } else { (13, "EACCES") };
const TOO_BIG: (i32, &str) = if cfg!(windows) { (ENOSPC, "ENOSPC") } else { (27, "EFBIG") };

/// Options for the bytes of a raw file from `offset` on.
fn raw(mode: Mode, offset: u64, map: bool) -> OpenOptions {
    let raw = Raw { element: DType::Uint8.into(), shape: None, offset, strides: None, order: Order::C };
    OpenOptions { format: Some(Format::Raw), raw: Some(raw), map, ..OpenOptions::new(mode) }
}

fn open(path: &Path, mode: Mode) -> DynMmapArray {
    let array = DynMmapArray::open(path, &raw(mode, 0, false)).unwrap();
    assert!(array.is_copied());
    array
}

/// A file of `len` bytes, none of them zero.
fn file(folder: &TempDir, name: &str, len: usize) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, (0..len).map(|n| (n % 251 + 1) as u8).collect::<Vec<_>>()).unwrap();
    path
}

/// The elements of a layout, in this machine's byte order.
fn elements(array: &DynMmapArray, layout: &Layout) -> Result<Vec<u8>> {
    let size = array.dtype().itemsize();
    let len = layout.len();
    let mut bytes = vec![0; usize::try_from(len).unwrap() * size];
    let place = Layout::contiguous(layout.shape().to_vec(), Order::C, len)?;
    // SAFETY:
    // - `bytes` lives until the view was last used.
    let target =
        unsafe { RawView::new(bytes.as_mut_ptr(), bytes.len(), size, array.dtype().into(), &place) }?;
    // SAFETY:
    // - the mapping lives as long as `array`.
    let source = unsafe { array.raw(layout) }?;
    kernel::assign(&target, &source)?;
    Ok(bytes)
}

fn all(array: &DynMmapArray) -> Vec<u8> {
    elements(array, &array.layout().unwrap()).unwrap()
}

/// Stores one byte everywhere in a layout.
fn fill(array: &DynMmapArray, layout: &Layout, value: u8) -> Result<()> {
    // SAFETY:
    // - the view is used by the kernel, and no longer.
    unsafe { array.store(layout, |view| kernel::fill(view, &[value])) }
}

fn one(array: &DynMmapArray, at: usize, value: u8) -> Result<()> {
    fill(array, &Layout::new(at as u64, vec![], vec![], array.units()).unwrap(), value)
}

fn line(array: &DynMmapArray, start: usize, n: usize, step: i64) -> Layout {
    Layout::new(start as u64, vec![n as u64], vec![step], array.units()).unwrap()
}

/// Refuses the calls of a name, as often as `times` says.
fn refusing(name: &'static str, errno: i32, times: usize) -> Hook {
    let mut left = times;
    Box::new(move |call| {
        if call == name && left > 0 {
            left -= 1;
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    })
}

#[test]
fn every_file_reads_as_it_does_mapped() {
    for (folder, format) in [("npy", None), ("mmap", None), ("safetensors", None), ("records", None)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        for entry in manifest(folder) {
            let path = path.join(text(&entry, "file"));
            let options = OpenOptions { format, ..OpenOptions::new(Mode::ReadOnly) };
            let Ok(mapped) = DynMmapArray::open(&path, &options) else { continue };
            let copied = DynMmapArray::open(&path, &OpenOptions { map: false, ..options }).unwrap();
            assert_eq!(copied.header(), mapped.header());
            assert_eq!(copied.is_copied(), !mapped.mapping().is_empty(), "{}", path.display());
            assert!(!mapped.is_copied());
            assert_eq!(all(&copied), all(&mapped), "{}", path.display());
            for position in 0..mapped.units() {
                let read = |array: &DynMmapArray| {
                    let mut bytes = vec![0; array.dtype().itemsize()];
                    array.element(position, &mut bytes).map(|()| bytes)
                };
                assert_eq!(read(&copied).unwrap(), read(&mapped).unwrap());
            }
        }
    }
}

#[test]
fn layouts_of_all_kinds_are_read_and_no_more_than_they_need() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 20 * MIB + 12_345);
    let element = ElementType { byte_order: ByteOrder::Big, ..DType::Uint16.into() };
    let raw = Raw { element, shape: None, offset: 7, strides: None, order: Order::C };
    for mode in MODES {
        let options =
            OpenOptions { format: Some(Format::Raw), raw: Some(raw.clone()), ..OpenOptions::new(mode) };
        let mapped = DynMmapArray::open(&path, &options).unwrap();
        // shape, strides, offset; the reads of a block that they take.
        let cases: &[(&[u64], &[i64], u64, usize)] = &[
            (&[], &[], 0, 1),
            (&[10], &[1], (MIB as u64) / 2 - 5, 2),
            (&[5], &[-3], (8 << 20) + 100, 1),
            (&[20], &[1 << 19], 3, 20),
            (&[7], &[3 << 19], 0, 7),
            (&[3, 100], &[1 << 21, 1], 9, 3),
            (&[100, 3], &[1, -(1 << 20)], 9 << 20, 3),
            (&[1000, 5], &[0, 1], 0, 1),
            (&[0, 9], &[1, 1], 0, 0),
        ];
        for &(shape, strides, offset, reads) in cases {
            let copied = DynMmapArray::open(&path, &OpenOptions { map: false, ..options.clone() }).unwrap();
            let layout = Layout::new(offset, shape.to_vec(), strides.to_vec(), copied.units()).unwrap();
            for expected in [reads, 0] {
                let (count, counted) = mpsc::channel();
                listen(Some(Box::new(move |call| {
                    if call == "read" {
                        count.send(()).unwrap();
                    }
                    Ok(())
                })));
                let found = elements(&copied, &layout).unwrap();
                listen(None);
                assert!(found == elements(&mapped, &layout).unwrap(), "{shape:?} {strides:?}");
                assert_eq!(counted.try_iter().count(), expected, "{shape:?} {strides:?}");
            }
        }
    }
}

#[test]
fn take_reads_the_rows_that_it_takes() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 20 * MIB);
    let mapped = DynMmapArray::open(&path, &raw(Mode::ReadOnly, 0, true)).unwrap();
    let cases: &[(i64, &[i64], usize)] =
        &[(0, &[4, 1, 4], 2), (0, &[-1], 1), (0, &[], 0), (1, &[5], 20), (-1, &[7, -7], 20)];
    for &(axis, indices, reads) in cases {
        let copied = open(&path, Mode::ReadOnly);
        let layout = Layout::new(0, vec![20, MIB as u64], vec![MIB as i64, 1], 20 * MIB as u64).unwrap();
        let (count, counted) = mpsc::channel();
        let mut indices = indices.to_vec();
        let line = Layout::contiguous(vec![indices.len() as u64], Order::C, indices.len() as u64).unwrap();
        let (first, len) = (indices.as_mut_ptr().cast(), size_of_val(indices.as_slice()));
        // SAFETY:
        // - `indices` lives until the view was last used.
        let list = unsafe { RawView::new(first, len, 8, DType::Int64.into(), &line) }.unwrap();
        listen(Some(Box::new(move |call| {
            if call == "read" {
                count.send(()).unwrap();
            }
            Ok(())
        })));
        let found = copied.take(&layout, &list, axis, &kernel::Options::default()).unwrap();
        listen(None);
        let expected = mapped.take(&layout, &list, axis, &kernel::Options::default()).unwrap();
        assert!(found.data == expected.data && found.shape == expected.shape, "{axis} {indices:?}");
        assert_eq!(counted.try_iter().count(), reads, "{axis} {indices:?}");
    }
}

#[test]
fn only_what_was_stored_is_written_back_and_only_in_mode_r_plus() {
    let folder = TempDir::new().unwrap();
    for mode in [Mode::ReadWrite, Mode::CopyOnWrite] {
        let path = file(&folder, "a", 3 * MIB);
        let before = fs::read(&path).unwrap();
        let array = open(&path, mode);
        one(&array, 5, 255).unwrap();
        fill(&array, &line(&array, MIB - 2, 4, 1), 255).unwrap();
        fill(&array, &line(&array, 100, 10, 3), 255).unwrap();
        // Somebody else, right beside it.
        let mut now = before.clone();
        for at in [4, 6, MIB - 3, MIB + 2, 101, 102] {
            now[at] = 254;
        }
        fs::write(&path, &now).unwrap();
        if mode == Mode::ReadWrite {
            assert!(fs::read(&path).unwrap() == now, "nothing is written before it has to be");
            for at in [vec![5], (MIB - 2..MIB + 2).collect(), (100..130).step_by(3).collect()].concat() {
                now[at] = 255;
            }
        }
        array.flush().unwrap();
        assert!(fs::read(&path).unwrap() == now, "mode {mode}");
        drop(array);
        assert!(fs::read(&path).unwrap() == now, "mode {mode}");
    }
}

#[test]
fn what_was_stored_is_written_at_every_end() {
    type End = fn(DynMmapArray);
    let ends: [(&str, End); 6] = [
        ("flush", |array| array.flush().unwrap()),
        ("write_back", |array| array.write_back().unwrap()),
        ("of the process", |array| {
            mapping::write_back().unwrap();
            std::mem::forget(array);
        }),
        ("the last lease", |array| array.lease().unwrap().end().unwrap()),
        ("retire", |array| array.mapping().retire().unwrap()),
        ("drop", drop),
    ];
    let folder = TempDir::new().unwrap();
    for (name, end) in ends {
        let path = file(&folder, name, 1000);
        let array = open(&path, Mode::ReadWrite);
        one(&array, 999, 0).unwrap();
        assert_ne!(fs::read(&path).unwrap()[999], 0);
        end(array);
        assert_eq!(fs::read(&path).unwrap()[999], 0, "{name}");
    }
}

#[test]
fn a_flush_of_a_part_leaves_the_rest_for_the_next() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 100_000);
    let array = open(&path, Mode::ReadWrite);
    one(&array, 10, 0).unwrap();
    one(&array, 90_000, 0).unwrap();
    array.flush_part(&line(&array, 0, 100, 1)).unwrap();
    let stored = || [10, 90_000].map(|at| fs::read(&path).unwrap()[at] == 0);
    assert_eq!(stored(), [true, false]);
    array.flush().unwrap();
    assert_eq!(stored(), [true, true]);
}

#[test]
fn many_marks_are_written_back_before_they_take_memory() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", MIB);
    let array = open(&path, Mode::ReadWrite);
    fill(&array, &line(&array, 0, 70_000, 2), 0).unwrap();
    one(&array, MIB - 1, 0).unwrap();
    let now = fs::read(&path).unwrap();
    assert!((0..140_000).all(|at| (now[at] == 0) == (at % 2 == 0)));
    assert_ne!(now[MIB - 1], 0);
}

#[test]
fn a_refused_write_is_an_error_and_tried_again() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 3 * MIB);
    let array = open(&path, Mode::ReadWrite);
    for at in [0, MIB, 2 * MIB] {
        one(&array, at, 0).unwrap();
    }
    for refused in ["write", "fdatasync"] {
        listen(Some(refusing(refused, ENOSPC, 1)));
        let flushed = array.flush();
        listen(None);
        assert_eq!(outcome(&flushed), "ENOSPC", "{refused}");
    }
    // The system may have forgotten what it did not sync, and thrown it away.
    fs::write(&path, vec![9; 3 * MIB]).unwrap();
    array.flush().unwrap();
    let now = fs::read(&path).unwrap();
    assert!([0, MIB, 2 * MIB].into_iter().all(|at| now[at] == 0));

    // At the end it is said, and the array is gone all the same.
    one(&array, 1, 0).unwrap();
    listen(Some(refusing("write", ENOSPC, usize::MAX)));
    let (written, ended) = (array.write_back(), array.lease().unwrap().end());
    listen(None);
    assert_eq!(outcome(&written), "ENOSPC");
    assert_eq!(ended.unwrap_err().raw_os_error(), Some(ENOSPC));
    assert_eq!(outcome(&array.lease()), "ERR_CLOSED");
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_written_before_a_sync_that_fails_is_lost() {
    let folder = TempDir::new().unwrap();
    let array = open(&file(&folder, "a", 1000), Mode::ReadWrite);
    for (write_back, expected) in [(false, "opens"), (true, "ERR_MAPPING_LOST")] {
        one(&array, 5, 0).unwrap();
        if write_back {
            array.write_back().unwrap();
        }
        listen(Some(refusing("fdatasync", EIO, 1)));
        let flushed = array.flush();
        listen(None);
        assert_eq!(outcome(&flushed), "EIO");
        assert_eq!(outcome(&array.flush()), expected);
    }
}

#[test]
fn errors_of_the_disk_are_errors_of_the_call() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 2 * MIB);
    // what is refused, errno, code, what the message has
    let cases = [
        ("read", EIO, "EIO", path.to_str().unwrap().to_owned()),
        ("write", ENOSPC, "ENOSPC", std::env::temp_dir().to_str().unwrap().to_owned()),
    ];
    for mode in MODES {
        for (refused, errno, code, part) in &cases {
            let array = open(&path, mode);
            listen(Some(refusing(refused, *errno, 1)));
            let error = elements(&array, &line(&array, 5, 1, 1)).unwrap_err();
            listen(None);
            assert_eq!(error.code(), *code);
            assert!(error.to_string().contains(part), "{error}");
            // Nothing is lost, and the next one is a new try.
            assert_eq!(elements(&array, &line(&array, 5, 1, 1)).unwrap(), [6]);
            assert_eq!(array.lost(), None);
        }
        for (refused, (errno, code)) in
            [("mkstemp", DENIED), ("ftruncate", TOO_BIG), ("mkstemp", (ENOSPC, "ENOSPC"))]
        {
            listen(Some(refusing(refused, errno, usize::MAX)));
            let opened = DynMmapArray::open(&path, &raw(mode, 0, false));
            listen(None);
            let error = opened.unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains("TMPDIR") || refused == "ftruncate", "{error}");
        }
    }
}

/// Zeros take no space in the temporary file until they are stored to, and a full disk is an error then.
#[test]
fn stores_to_holes_ask_for_space_first() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    fs::File::create(&path).unwrap().set_len(4 * MIB as u64).unwrap();
    let array = open(&path, Mode::ReadWrite);
    listen(Some(refusing("write", ENOSPC, usize::MAX)));
    let (read, stored) = (elements(&array, &array.layout().unwrap()), one(&array, MIB, 1));
    listen(None);
    assert!(read.unwrap().iter().all(|&byte| byte == 0));
    assert_eq!(outcome(&stored), "ENOSPC");
    assert_eq!(all(&array).iter().max(), Some(&0));
    one(&array, MIB, 1).unwrap();
    assert_eq!(all(&array)[MIB - 1..MIB + 2], [0, 1, 0]);
    array.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap()[MIB], 1);
}

#[test]
fn a_file_made_shorter_is_lost_and_not_made_longer() {
    let folder = TempDir::new().unwrap();
    for mode in MODES {
        let path = file(&folder, "a", 3 * MIB);
        let array = open(&path, mode);
        if mode.writable() {
            one(&array, 5, 0).unwrap();
            one(&array, 3 * MIB - 1, 0).unwrap();
        }
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(MIB as u64 + 10).unwrap();
        // What was read before is there; what was not is zeros.
        let found = elements(&array, &line(&array, MIB, 20, 1)).unwrap();
        assert!(found.iter().enumerate().all(|(at, &byte)| (byte == 0) == (at >= 10)), "{found:?}");
        assert_eq!(array.lost(), Some(Loss::Truncated));
        assert_eq!(outcome(&array.check_loss()), "ERR_MAPPING_LOST");
        assert_eq!(outcome(&array.flush()), "ERR_MAPPING_LOST");
        drop(array);
        let now = fs::read(&path).unwrap();
        assert_eq!(now.len(), MIB + 10);
        assert_eq!(now[5] == 0, mode == Mode::ReadWrite);
    }
    // Only flush looks where nothing was to be read any more.
    let path = file(&folder, "a", 1000);
    let array = open(&path, Mode::ReadWrite);
    one(&array, 999, 0).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert_eq!(array.lost(), None);
    assert_eq!(outcome(&array.flush()), "ERR_MAPPING_LOST");
    assert_eq!(fs::read(&path).unwrap().len(), 10);
}

#[test]
fn work_is_stopped_between_blocks() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 3 * MIB);
    let array = open(&path, Mode::ReadOnly);
    let cancel: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let control = Control { cancel: Some(cancel), done: None };
    let mut reads = 0;
    listen(Some(Box::new(move |call| {
        reads += usize::from(call == "read");
        assert!(reads < 2, "a block is read after the work was stopped");
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    })));
    let brought = array.bring(&array.layout().unwrap(), control);
    listen(None);
    assert_eq!(outcome(&brought), "ABORT_ERR");
}

/// While a block is being read, others can be, the array can be closed, and whoever wants the same block waits for it.
#[test]
fn a_slow_read_holds_up_nobody_else() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 3 * MIB);
    for close in [false, true] {
        let array = open(&path, Mode::ReadOnly);
        let lease = array.lease().unwrap();
        let (reached, wait_for_reached) = mpsc::channel();
        let (go_on, wait_for_go_on) = mpsc::channel::<()>();
        let slow = array.clone();
        let slow = std::thread::spawn(move || {
            listen(Some(Box::new(move |call| {
                if call == "read" {
                    reached.send(()).unwrap();
                    wait_for_go_on.recv().unwrap();
                }
                Ok(())
            })));
            elements(&slow, &line(&slow, 0, 1, 1))
        });
        wait_for_reached.recv().unwrap();
        assert_eq!(elements(&array, &line(&array, MIB, 1, 1)).unwrap(), [(MIB % 251 + 1) as u8]);
        if close {
            lease.end().unwrap();
            go_on.send(()).unwrap();
            assert!(matches!(outcome(&slow.join().unwrap()), "ERR_CLOSED" | "opens"));
            assert_eq!(outcome(&elements(&array, &line(&array, 2 * MIB, 1, 1))), "ERR_CLOSED");
            continue;
        }
        let same = array.clone();
        let same = std::thread::spawn(move || {
            listen(Some(Box::new(|call| panic!("{call}, where another thread is at it"))));
            elements(&same, &line(&same, 9, 1, 1))
        });
        go_on.send(()).unwrap();
        assert_eq!(slow.join().unwrap().unwrap(), [1]);
        assert_eq!(same.join().unwrap().unwrap(), [10]);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Fill(usize, usize, i64, u8),
    Discard(usize, usize),
    Commit(usize, usize, bool),
    Look(usize, usize),
}

fn acts(len: usize) -> impl Strategy<Value = Vec<Act>> {
    let part = (0..len, 1..len / 3);
    let act = prop_oneof![
        3 => (0..len, 1..200_usize, 1..50_i64, any::<u8>()).prop_map(|(at, n, step, value)| Act::Fill(at, n, step, value)),
        1 => part.clone().prop_map(|(at, n)| Act::Discard(at, n)),
        1 => (part.clone(), any::<bool>()).prop_map(|((at, n), atomic)| Act::Commit(at, n, atomic)),
        2 => part.prop_map(|(at, n)| Act::Look(at, n)),
    ];
    proptest::collection::vec(act, 1..12)
}

/// A line that starts at `at`, of `n` elements or as many as there are.
fn within(array: &DynMmapArray, at: usize, n: usize, step: i64) -> Layout {
    let len = usize::try_from(array.units()).unwrap();
    line(array, at, n.min((len - at).div_ceil(usize::try_from(step).unwrap())), step)
}

/// Two files, one mapped and one not: whatever is done to both, they tell the same.
#[test]
fn copy_on_write_tells_and_commits_the_same_as_mapped() {
    const LEN: usize = MIB + 5_000;
    let folder = TempDir::new().unwrap();
    check(12, &acts(LEN), |acts| {
        let paths = [file(&folder, "mapped", LEN), file(&folder, "copied", LEN)];
        let [mapped, copied] = [(0, true), (1, false)]
            .map(|(n, map)| DynMmapArray::open(&paths[n], &raw(Mode::CopyOnWrite, 0, map)).unwrap());
        let both = [&mapped, &copied];
        for act in acts {
            match act {
                Act::Fill(at, n, step, value) => {
                    for array in both {
                        fill(array, &within(array, at, n, step), value).unwrap();
                    }
                }
                Act::Discard(at, n) => {
                    for array in both {
                        array.discard(&within(array, at, n, 1)).unwrap();
                    }
                }
                Act::Commit(at, n, atomic) => {
                    let options = CommitOptions { atomic: atomic && !cfg!(windows), force: false };
                    for array in both {
                        array.commit(&within(array, at, n, 1), options).unwrap();
                    }
                }
                Act::Look(at, n) => {
                    let [layout, same] = both.map(|array| within(array, at, n, 1));
                    prop_assert_eq!(
                        elements(&mapped, &layout).unwrap() == elements(&copied, &same).unwrap(),
                        true
                    );
                }
            }
            let whole = both.map(|array| array.layout().unwrap());
            prop_assert_eq!(copied.dirty(&whole[1]).unwrap().is_some(), true);
            if Tracking::here() != Tracking::Compare {
                prop_assert_eq!(copied.dirty(&whole[1]).unwrap(), mapped.dirty(&whole[0]).unwrap());
                let dirty = [0, 1].map(|n| both[n].dirty_ranges(&whole[n]).unwrap());
                prop_assert_eq!(&dirty[1], &dirty[0]);
            }
            let different = [0, 1].map(|n| both[n].diff(&whole[n]).unwrap());
            prop_assert_eq!(&different[1], &different[0]);
            prop_assert!(all(&mapped) == all(&copied));
            prop_assert!(fs::read(&paths[0]).unwrap() == fs::read(&paths[1]).unwrap());
        }
        Ok(())
    });
}

/// Appends, resizes and stores in any order leave the bytes of a mapped twin, in the array and in the file.
#[test]
fn growing_is_the_same_as_mapped() {
    let folder = TempDir::new().unwrap();
    // Bytes of a row, so that arrays grow across blocks, and out of their mapping.
    let steps = proptest::collection::vec((0..5_u8, 0..30_u64, any::<u8>()), 1..9);
    check(12, &(steps, prop_oneof![Just(0), Just(8 << 20)]), |(steps, capacity)| {
        let paths = ["mapped.npy", "copied.npy"].map(|name| folder.path().join(name));
        let mut arrays = [0, 1].map(|n| {
            let options = CreateOptions { overwrite: true, ..CreateOptions::for_path(&paths[n]).unwrap() };
            MmapArray::create_filled(&paths[n], &[3, 100_000], 7_u8, &options).unwrap();
            let options = OpenOptions { capacity, map: n == 0, ..OpenOptions::new(Mode::ReadWrite) };
            DynMmapArray::open(&paths[n], &options).unwrap()
        });
        for (what, number, value) in steps {
            for array in &mut arrays {
                let rows = array.shape()[0];
                match what {
                    0 => array.append_bytes(1, &vec![value; 100_000], false).unwrap(),
                    1 => array.resize(number).unwrap(),
                    2 if rows > 0 => {
                        let at = usize::try_from(number * 4999 % (rows * 100_000)).unwrap();
                        fill(array, &within(array, at, 3000, 97), value).unwrap();
                    }
                    3 => drop(all(array)),
                    _ => array.flush().unwrap(),
                }
            }
            prop_assert!(all(&arrays[0]) == all(&arrays[1]));
            prop_assert_eq!(arrays[0].shape(), arrays[1].shape());
        }
        for array in &arrays {
            array.flush().unwrap();
        }
        if cfg!(windows) {
            // It cuts no file that is mapped.
            drop(arrays);
        }
        let [mapped, copied] = paths.map(|path| fs::read(path).unwrap());
        prop_assert!(mapped == copied);
        Ok(())
    });
}

#[test]
fn refresh_follows_a_file_that_others_change() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 1000);
    let mut array = open(&path, Mode::ReadOnly);
    assert_eq!(all(&array).len(), 1000);
    for len in [2 * MIB, 500, MIB + 5, 700] {
        let now = file(&folder, "b", len);
        fs::copy(now, &path).unwrap();
        assert!(array.refresh().unwrap());
        assert!(all(&array) == fs::read(&path).unwrap(), "{len}");
    }
}

#[test]
fn what_reads_the_file_itself_sees_what_was_stored() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 10_000);
    let array = open(&path, Mode::ReadWrite);
    one(&array, 77, 0).unwrap();
    array.checksum(4096, None, Control::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap()[77], 0);
    one(&array, 5000, 0).unwrap();
    let verified = array.verify(None, Control::default()).unwrap();
    assert_eq!(verified.bad.iter().map(|bad| bad.index).collect::<Vec<_>>(), [1]);
    let to = folder.path().join("to");
    array
        .save_as(&array.layout().unwrap(), &to, &CreateOptions::new(Format::Raw), Control::default())
        .unwrap();
    assert!(fs::read(&to).unwrap() == all(&array));
}

#[test]
fn advice_and_prefetch_work() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 3 * MIB);
    let array = open(&path, Mode::ReadWrite);
    let layout = array.layout().unwrap();
    one(&array, 9, 0).unwrap();
    for advice in ["sequential", "random", "willneed", "dontneed", "normal"] {
        array.advise(&layout, mmap_ndarray_core::Advice::parse(advice).unwrap()).unwrap();
    }
    array.prefetch(&layout, Control::default()).unwrap();
    listen(Some(refusing("read", EIO, usize::MAX)));
    let found = elements(&array, &layout);
    listen(None);
    assert_eq!(found.unwrap()[9], 0, "all blocks are there, and what was stored");
    assert!((0.0..=1.0).contains(&array.residency(&layout).unwrap()));
}

#[test]
fn a_handle_leads_to_the_same_mapping() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 5000);
    for mode in [Mode::ReadWrite, Mode::CopyOnWrite] {
        let array = open(&path, mode);
        let lease = array.lease().unwrap();
        let (other, other_lease) = attach(&array.to_handle()).unwrap();
        assert!(std::sync::Arc::ptr_eq(array.mapping(), other.mapping()));
        one(&other, 3, 255).unwrap();
        assert_eq!(all(&array)[3], 255);
        lease.end().unwrap();
        assert_ne!(fs::read(&path).unwrap()[3], 255, "others have it still");
        other_lease.end().unwrap();
        assert_eq!(fs::read(&path).unwrap()[3] == 255, mode == Mode::ReadWrite);
        file(&folder, "a", 5000);
    }
}

#[test]
fn ndarray_and_lent_memory_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a", 5000);
    let typed = open(&path, Mode::ReadOnly).typed::<u8>();
    assert_eq!(outcome(&typed), "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM");
    assert_eq!(open(&path, Mode::ReadOnly).to_owned_array::<u8>().unwrap().len(), 5000);
    // SAFETY:
    // - it is refused before anything is mapped there.
    let over = unsafe { open(&path, Mode::ReadOnly).over(std::ptr::null_mut(), 1 << 30) };
    assert_eq!(outcome(&over), "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM");
}

/// A file of the kernel's that can be read and not be mapped.
#[cfg(target_os = "linux")]
#[test]
fn a_file_system_that_maps_no_files() {
    let path = Path::new("/sys/kernel/notes");
    let Ok(expected) = fs::read(path) else { return println!("skipped: {} is not there", path.display()) };
    for mode in [Mode::ReadOnly, Mode::CopyOnWrite] {
        let array = DynMmapArray::open(path, &raw(mode, 0, true)).unwrap();
        assert!(array.is_copied());
        assert_eq!(all(&array), expected);
        if mode == Mode::CopyOnWrite {
            one(&array, 1, 200).unwrap();
            assert!(array.diff(&array.layout().unwrap()).unwrap().into_iter().flatten().eq(1..2));
            array.discard(&array.layout().unwrap()).unwrap();
            assert_eq!(all(&array), expected);
            assert_eq!(array.dirty(&array.layout().unwrap()).unwrap(), Some(false));
        }
    }
}

/// Bytes that were read are in a file, not in memory that only this process has; holes are not even there.
#[cfg(target_os = "linux")]
#[test]
fn large_files_take_no_private_memory() {
    use std::os::unix::fs::FileExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.set_len(400 << 20).unwrap();
    file.write_all_at(&vec![1; 150 * MIB], 100 << 20).unwrap();
    let array = open(&path, Mode::ReadWrite);
    let private = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    };
    let before = private();
    array.bring(&array.layout().unwrap(), Control::default()).unwrap();
    assert_eq!(elements(&array, &line(&array, (100 << 20) - 2, 4, 1)).unwrap(), [0, 0, 1, 1]);
    // Other tests run beside this one.
    assert!(private().saturating_sub(before) < 100, "{} MiB before, {} after", before, private());
}
