//! Checksums beside a file: what they are of, what a bad block means for an array, and what may become of the sidecar.
//!
//! The victim is the test itself in a process of its own, as in `create_faults`.
//!
//! Past 400 lines: a table of files, arrays and damages, and the model that they are held against.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_ndarray_core::checksum::{BLOCK_SIZES, LISTED};
use mmap_ndarray_core::fault::listen;
use mmap_ndarray_core::{
    BadBlock, Control, DType, DynMmapArray, Format, Layout, Mode, OpenOptions, Order, Raw, Result, Sums,
    Verified, kernel,
};
use tempfile::TempDir;
use twox_hash::XxHash3_64;

use crate::support::{self, fixture, outcome};

const VICTIM: &str = "MMAP_NDARRAY_TEST_CHECKSUM_VICTIM";
const EINVAL: i32 = 22;
const EIO: i32 = if cfg!(windows) { 1117 } else { 5 };
const ENOSPC: i32 = if cfg!(windows) { 112 } else { 28 };

const BLOCK: u64 = 4096;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

fn raw(dtype: DType, shape: Option<&[u64]>, strides: Option<&[i64]>, offset: u64) -> OpenOptions {
    let (shape, strides) = (shape.map(<[_]>::to_vec), strides.map(<[_]>::to_vec));
    let raw = Raw { element: dtype.into(), shape, offset, strides, order: Order::C };
    OpenOptions { format: Some(Format::Raw), raw: Some(raw), ..OpenOptions::new(Mode::ReadOnly) }
}

/// A raw file of bytes, open.
fn file_of(folder: &TempDir, len: usize) -> (PathBuf, DynMmapArray) {
    let path = folder.path().join("a.raw");
    fs::write(&path, bytes(len)).unwrap();
    let array = DynMmapArray::open(&path, &raw(DType::Uint8, None, None, 0)).unwrap();
    (path, array)
}

fn checksum(array: &DynMmapArray) -> Result<()> {
    array.checksum(BLOCK, None, Control::default())
}

fn verify(array: &DynMmapArray) -> Result<Verified> {
    array.verify(None, Control::default())
}

fn bad(array: &DynMmapArray) -> Vec<BadBlock> {
    verify(array).unwrap().bad
}

fn flip(path: &Path, at: u64) {
    // In place: it may be mapped.
    let byte = fs::read(path).unwrap()[at as usize] ^ 0x10;
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// A sidecar as the table of the module says it.
fn sidecar(content: &[u8], block: u64) -> Vec<u8> {
    let mut bytes = b"\x89BLKSUM\n\x01\0\0\0\x01\0\0\0".to_vec();
    bytes.extend(block.to_le_bytes());
    bytes.extend((content.len() as u64).to_le_bytes());
    for block in content.chunks(block as usize) {
        bytes.extend(XxHash3_64::oneshot(block).to_le_bytes());
    }
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(XxHash3_64::oneshot(&bytes).to_le_bytes());
    bytes
}

#[test]
fn the_sidecar_is_byte_for_byte_what_its_module_says() {
    // What the reference implementation says of nothing and of "xxhash".
    assert_eq!(XxHash3_64::oneshot(b""), 0x2D06_8005_38D3_94C2);
    let mut hash = XxHash3_64::new();
    hash.write(b"xx");
    hash.write(b"hash");
    assert_eq!(hash.finish(), XxHash3_64::oneshot(b"xxhash"));
    let folder = TempDir::new().unwrap();
    for len in [0, 1, 4095, 4096, 4097, 1 << 20, (9 << 20) + 1] {
        let (path, array) = file_of(&folder, len);
        for (block, threads) in [(4096, Some(1)), (5000, None), (1 << 20, Some(3)), (1 << 30, Some(64))] {
            let done = AtomicU64::new(0);
            let control = Control { done: Some(&done), ..Control::default() };
            array.checksum(block, threads, control).unwrap();
            let made = fs::read(array.sidecar()).unwrap();
            assert!(made == sidecar(&bytes(len), block), "{len} bytes, {block}");
            assert_eq!(
                (done.swap(0, Ordering::Relaxed), array.checksum_bytes().unwrap()),
                (len as u64, len as u64)
            );
            let sums = Sums::read(&mut &*made, made.len() as u64, Control::default()).unwrap();
            assert_eq!((sums.block(), sums.covered()), (block, len as u64));
            let verified = array.verify(threads, control).unwrap();
            let blocks = (len as u64).div_ceil(block);
            assert_eq!(verified, Verified { block, blocks, damaged: 0, bad: vec![] }, "{len} bytes, {block}");
            assert_eq!(done.load(Ordering::Relaxed), array.verify_bytes().unwrap());
        }
        drop(array);
        fs::remove_file(path).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The bytes of each element of a strided array, with the row that it is of.
fn elements(shape: &[u64], strides: &[i64], first: u64, itemsize: u64) -> Vec<(u64, Range<u64>)> {
    let mut found = vec![(0, first as i64)];
    for (axis, (&n, &stride)) in shape.iter().zip(strides).enumerate() {
        let step = stride * itemsize as i64;
        let along = |(row, at): (u64, i64)| {
            (0..n).map(move |i| (if axis == 0 { i } else { row }, at + i as i64 * step))
        };
        found = found.into_iter().flat_map(along).collect();
    }
    found
        .into_iter()
        .map(|(row, at)| (row, at.cast_unsigned()))
        .map(|(row, at)| (row, at..at + itemsize))
        .collect()
}

#[test]
fn a_bad_block_is_named_in_the_coordinates_of_the_array() {
    // name, dtype, shape, strides, byte of the first element, whether rows lie one after the other.
    type Case = (&'static str, DType, &'static [u64], &'static [i64], u64, bool);
    let cases: &[Case] = &[
        ("C order", DType::Float64, &[20, 300], &[300, 1], 0, true),
        ("unaligned, after a header", DType::Float64, &[30, 200], &[200, 1], 131, true),
        ("one axis", DType::Int16, &[20_000], &[1], 4, true),
        ("Fortran order", DType::Float32, &[300, 40], &[1, 300], 64, false),
        ("backwards", DType::Float32, &[40, 250], &[-250, 1], 39_000, true),
        ("gaps of blocks", DType::Int32, &[4, 100], &[2600, 1], 100, true),
        ("a column", DType::Int32, &[10, 1], &[1200, 1], 8, true),
        ("both ways", DType::Uint8, &[9, 4000], &[4100, -1], 5000, true),
        ("one row", DType::Uint8, &[1, 30_000], &[7, 1], 10, true),
        ("no axis", DType::Float64, &[], &[], 4090, false),
        ("a part in the middle", DType::Uint8, &[100, 10], &[10, 1], 20_000, true),
    ];
    let folder = TempDir::new().unwrap();
    let (path, whole) = file_of(&folder, 49_500);
    checksum(&whole).unwrap();
    drop(whole);
    for &(name, dtype, shape, strides, offset, in_rows) in cases {
        let array = DynMmapArray::open(&path, &raw(dtype, Some(shape), Some(strides), offset)).unwrap();
        let itemsize = dtype.itemsize() as u64;
        let elements = elements(shape, strides, offset, itemsize);
        let start = array.header().data_offset();
        let mut checked = 0;
        for index in 0..13 {
            let block = index * BLOCK..((index + 1) * BLOCK).min(49_500);
            let meets = |element: &Range<u64>| element.start < block.end && block.start < element.end;
            let inside: Vec<_> = elements.iter().filter(|(_, element)| meets(element)).collect();
            flip(&path, block.end - 1);
            let found = bad(&array);
            flip(&path, block.end - 1);
            if inside.is_empty() {
                assert_eq!(found, [], "{name}, block {index}");
                continue;
            }
            checked += 1;
            let positions = |n: u64| start + n * itemsize..start + (n + 1) * itemsize;
            let positions = (0..array.units()).filter(|&n| meets(&positions(n)));
            let rows = inside.iter().map(|&&(row, _)| row);
            let expected = BadBlock {
                index,
                elements: positions.clone().min().unwrap()..positions.max().unwrap() + 1,
                rows: in_rows.then(|| rows.clone().min().unwrap()..rows.max().unwrap() + 1),
            };
            assert_eq!(found, [expected], "{name}, block {index}");
        }
        assert_eq!(verify(&array).unwrap().blocks, checked, "{name}");
    }
}

#[test]
fn one_sidecar_serves_all_that_a_file_holds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let text = r#"{"a":{"dtype":"F32","shape":[2000],"data_offsets":[0,8000]},"b":{"dtype":"U8","shape":[3,4000],"data_offsets":[8000,20000]}}"#;
    let data = bytes(20_000);
    fs::write(&path, [&(text.len() as u64).to_le_bytes() as &[u8], text.as_bytes(), &data].concat()).unwrap();
    let named = |name: &str| {
        DynMmapArray::open(
            &path,
            &OpenOptions { name: Some(name.to_owned()), ..OpenOptions::new(Mode::ReadOnly) },
        )
        .unwrap()
    };
    let (a, b) = (named("a"), named("b"));
    checksum(&a).unwrap();
    assert_eq!((verify(&a).unwrap().blocks, verify(&b).unwrap().blocks), (2, 4));
    assert_eq!((a.verify_bytes().unwrap(), b.verify_bytes().unwrap()), (8000, 12_000));
    let from = 8 + text.len() as u64;
    flip(&path, from + 8000);
    let rows =
        |array| bad(array).into_iter().map(|block| (block.index, block.rows.unwrap())).collect::<Vec<_>>();
    // The end of one and the beginning of the other are in one block.
    assert_eq!((rows(&a), rows(&b)), (vec![(1, (4096 - from) / 4..2000)], vec![(1, 0..1)]));
    flip(&path, from + 8000);
    flip(&path, from + 19_999);
    assert_eq!((rows(&a), rows(&b)), (vec![], vec![(4, 2..3)]));

    // A field of records is counted in its own units.
    let path = folder.path().join("r.npy");
    let text =
        "{'descr': [('x', '<i2'), ('y', '<f8'), ('z', 'u1')], 'fortran_order': False, 'shape': (2000,), }";
    let header = [b"\x93NUMPY\x01\0\x76\0" as &[u8], format!("{text:<117}\n").as_bytes()].concat();
    fs::write(&path, [header, bytes(22_000)].concat()).unwrap();
    let open = |name: &str| {
        DynMmapArray::open(
            &path,
            &OpenOptions { name: Some(name.to_owned()), ..OpenOptions::new(Mode::ReadOnly) },
        )
        .unwrap()
    };
    let y = open("y");
    checksum(&y).unwrap();
    flip(&path, 3 * 4096 + 5);
    let found = bad(&y);
    let record = |byte: u64| (byte - 128) / 11;
    assert_eq!(found[0].rows, Some(record(3 * 4096)..record(4 * 4096) + 1));
    assert_eq!((y.header().unit(), found[0].elements.clone()), (1, 3 * 4096 - 130 - 7..4 * 4096 - 130));
    // All of a file that holds one array, its header too.
    let path = folder.path().join("b.npy");
    let values = ndarray::Array2::from_shape_fn((100, 40), |(i, j)| (i * 40 + j) as f64);
    drop(mmap_ndarray_core::MmapArray::create(&path, &values).unwrap());
    let array = DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
    checksum(&array).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(&[1; 10_000]).unwrap();
    assert_eq!(outcome(&verify(&array)), "ERR_STALE");
    checksum(&array).unwrap();
    flip(&path, 5);
    flip(&path, 42_000);
    let found: Vec<_> =
        bad(&array).into_iter().map(|block| (block.index, block.elements, block.rows.unwrap())).collect();
    assert_eq!(found[0], (0, 0..496, 0..13));
    assert_eq!((found[1].0, found[1].1.is_empty(), found[1].2.is_empty()), (10, true, true));
}

#[test]
fn any_change_of_the_sidecar_is_found() {
    let folder = TempDir::new().unwrap();
    let (_path, array) = file_of(&folder, 30_000);
    let good = sidecar(&bytes(30_000), BLOCK);
    let tried = |bytes: &[u8]| {
        fs::write(array.sidecar(), bytes).unwrap();
        outcome(&verify(&array))
    };
    assert_eq!(tried(&good), "opens");
    for at in 0..good.len() {
        for bit in [1, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= bit;
            let expected =
                if (8..12).contains(&at) { "ERR_UNSUPPORTED_VERSION" } else { "ERR_INVALID_HEADER" };
            assert_eq!(tried(&changed), expected, "byte {at}");
        }
        assert_eq!(tried(&good[..at]), "ERR_INVALID_HEADER", "{at} bytes");
    }
    assert_eq!(tried(&[&good as &[u8], &[0]].concat()), "ERR_INVALID_HEADER");
    // Made by somebody who knows the hash.
    let forged = |at: usize, value: u64| {
        let mut bytes = good[..good.len() - 8].to_vec();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        sealed(bytes)
    };
    for (name, bytes, expected) in [
        ("no block", forged(16, 0), "ERR_INVALID_HEADER"),
        ("a small block", forged(16, 4095), "ERR_INVALID_HEADER"),
        ("a huge block", forged(16, u64::MAX), "ERR_INVALID_HEADER"),
        ("another block, as many of them", forged(16, 4097), "opens"),
        ("a huge file", forged(24, u64::MAX), "ERR_INVALID_HEADER"),
        (
            "a huge file in huge blocks",
            sealed([&good[..16], &(1_u64 << 30).to_le_bytes(), &u64::MAX.to_le_bytes()].concat()),
            "ERR_INVALID_HEADER",
        ),
        ("another algorithm", forged(8, 2 << 32 | 1), "ERR_INVALID_HEADER"),
        ("another version", forged(8, 1 << 32 | 2), "ERR_UNSUPPORTED_VERSION"),
        ("a file that is a byte longer", forged(24, 30_001), "ERR_STALE"),
        ("of another file", sidecar(&vec![7; 30_000], BLOCK), "opens"),
    ] {
        assert_eq!(tried(&bytes), expected, "{name}");
    }
    assert_eq!(verify(&array).unwrap().damaged, 8);
    // No block is listed twice, and not all of very many.
    let (path, array) = (folder.path().join("large.raw"), (LISTED as u64 + 5) * BLOCK);
    File::create(&path).unwrap().set_len(array).unwrap();
    let array = DynMmapArray::open(&path, &raw(DType::Uint8, None, None, 0)).unwrap();
    let mut forged = b"\x89BLKSUM\n\x01\0\0\0\x01\0\0\0".to_vec();
    forged.extend(BLOCK.to_le_bytes());
    forged.extend(array.len().to_le_bytes());
    forged.resize(forged.len() + 8 * (LISTED + 5), 0);
    fs::write(array.sidecar(), sealed(forged)).unwrap();
    let verified = array.verify(Some(3), Control::default()).unwrap();
    assert_eq!((verified.blocks, verified.damaged), (LISTED as u64 + 5, LISTED as u64 + 5));
    assert!(verified.bad.iter().map(|block| block.index).eq(0..LISTED as u64));
}

#[test]
fn the_sums_are_of_the_file_and_not_of_what_this_process_sees() {
    let folder = TempDir::new().unwrap();
    let (path, array) = file_of(&folder, 30_000);
    checksum(&array).unwrap();
    for mode in [Mode::ReadOnly, Mode::CopyOnWrite, Mode::ReadWrite] {
        let array =
            DynMmapArray::open(&path, &OpenOptions { mode, ..raw(DType::Uint8, None, None, 0) }).unwrap();
        let layout = Layout::new(9000, vec![1], vec![1], array.units()).unwrap();
        // SAFETY: the array is kept.
        kernel::fill(&unsafe { array.raw(&layout) }.unwrap(), &[77]).unwrap();
        let expected: &[u64] = if mode == Mode::ReadWrite { &[2] } else { &[] };
        let found = bad(&array).into_iter().map(|block| block.index);
        assert!(found.eq(expected.iter().copied()), "{mode}");
        checksum(&array).unwrap();
        assert_eq!(bad(&array), [], "{mode}");
    }
    let now = fs::read(&path).unwrap();
    assert_eq!(fs::read(array.sidecar()).unwrap(), sidecar(&now, BLOCK));
}

#[test]
fn what_is_refused_has_a_code_and_leaves_what_was_there() {
    let folder = TempDir::new().unwrap();
    let (path, array) = file_of(&folder, 30_000);
    let missing = verify(&array).unwrap_err();
    assert_eq!((missing.code(), missing.path()), ("ENOENT", Some(&*array.sidecar())));
    for block in [0, 1, BLOCK_SIZES.start() - 1, BLOCK_SIZES.end() + 1, u64::MAX] {
        assert_eq!(outcome(&array.checksum(block, None, Control::default())), "ERR_OUT_OF_RANGE");
    }
    // A file of the same name that is no sidecar is somebody's.
    fs::write(array.sidecar(), "my notes").unwrap();
    assert_eq!(outcome(&checksum(&array)), "EEXIST");
    assert_eq!(outcome(&verify(&array)), "ERR_INVALID_HEADER");
    assert_eq!(fs::read(array.sidecar()).unwrap(), b"my notes");
    fs::remove_file(array.sidecar()).unwrap();
    fs::create_dir(array.sidecar()).unwrap();
    assert_eq!((outcome(&checksum(&array)), outcome(&verify(&array))), ("EISDIR", "EISDIR"));
    fs::remove_dir(array.sidecar()).unwrap();

    checksum(&array).unwrap();
    let good = fs::read(array.sidecar()).unwrap();
    let cancel = AtomicBool::new(true);
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    assert_eq!(outcome(&array.checksum(8192, None, control)), "ABORT_ERR");
    assert_eq!(outcome(&array.verify(Some(2), control)), "ABORT_ERR");
    // Something else has its name now.
    let moved = folder.path().join("moved.raw");
    if cfg!(unix) {
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, bytes(30_000)).unwrap();
        assert_eq!((outcome(&checksum(&array)), outcome(&verify(&array))), ("ERR_STALE", "ERR_STALE"));
        fs::rename(&moved, &path).unwrap();
    }
    File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    let longer = verify(&array).unwrap_err();
    assert_eq!(longer.code(), "ERR_STALE");
    assert!(longer.to_string().contains("30000 bytes, and it has 30004"), "{longer}");
    assert_eq!(fs::read(array.sidecar()).unwrap(), good);
    if cfg!(unix) {
        File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
        let lost = "ERR_MAPPING_LOST";
        assert_eq!((outcome(&checksum(&array)), outcome(&verify(&array))), (lost, lost));
        assert_eq!(outcome(&array.checksum_bytes()), lost);
    }
    assert_eq!(fs::read(array.sidecar()).unwrap(), good);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    array.lease().unwrap().end().unwrap();
    let closed = (outcome(&checksum(&array)), outcome(&verify(&array)));
    assert_eq!(closed, ("ERR_CLOSED", "ERR_CLOSED"));
}

#[test]
fn what_the_storage_does_not_deliver_is_a_bad_block() {
    let folder = TempDir::new().unwrap();
    let (_path, array) = file_of(&folder, 30_000);
    checksum(&array).unwrap();
    let verified = |number: u32, errno: i32| {
        let mut reads = 0;
        listen(Some(Box::new(move |call| {
            reads += u32::from(call == "read");
            if call == "read" && reads == number { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
        })));
        let verified = array.verify(Some(1), Control::default());
        listen(None);
        verified
    };
    let found = verified(4, EIO).unwrap();
    assert_eq!((found.blocks, found.damaged, found.bad[0].index), (8, 1, 3));
    assert_eq!(outcome(&verified(4, ENOSPC)), "ENOSPC");
}

/// A file with an old sidecar or none, and what both of its sidecars are.
fn scene(folder: &Path, with_old: bool) -> DynMmapArray {
    let path = folder.join("a.raw");
    fs::write(&path, bytes(30_000)).unwrap();
    let array = DynMmapArray::open(&path, &raw(DType::Uint8, None, None, 0)).unwrap();
    if with_old {
        array.checksum(8192, Some(1), Control::default()).unwrap();
    }
    array
}

/// Whether the new sidecar is there; anything but it or what was before is a failure.
fn is_new(array: &DynMmapArray, with_old: bool, context: &str) -> bool {
    let data = bytes(30_000);
    match fs::read(array.sidecar()) {
        Ok(found) if found == sidecar(&data, BLOCK) => true,
        Ok(found) => {
            assert!(
                with_old && found == sidecar(&data, 8192),
                "{context}: neither the old one nor the new one"
            );
            false
        }
        Err(error) => {
            assert!(!with_old && error.kind() == io::ErrorKind::NotFound, "{context}: {error}");
            false
        }
    }
}

fn left(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".mmap-ndarray-")).count()
}

/// Old sidecar or none; files without names or not.
const WAYS: [(bool, bool); 4] = [(false, true), (true, true), (false, false), (true, false)];

#[test]
fn a_refusal_at_any_step_leaves_the_old_sidecar_and_nothing_else() {
    let mut refusals = 0;
    for ((with_old, unnamed), errno) in WAYS.into_iter().flat_map(|way| [(way, EIO), (way, ENOSPC)]) {
        for number in 1.. {
            let folder = TempDir::new().unwrap();
            let array = scene(folder.path(), with_old);
            let refused = Rc::new(RefCell::new(None));
            let (note, mut passed) = (Rc::clone(&refused), 0);
            listen(Some(Box::new(move |call| {
                passed += 1;
                if passed == number {
                    note.replace(Some(call));
                    return Err(io::Error::from_raw_os_error(errno));
                }
                let refuse = call == "O_TMPFILE" && !unnamed;
                if refuse { Err(io::Error::from_raw_os_error(EINVAL)) } else { Ok(()) }
            })));
            let made = array.checksum(BLOCK, Some(1), Control::default());
            listen(None);
            let Some(call) = refused.take() else {
                made.unwrap();
                assert!(is_new(&array, with_old, "at its end"));
                break;
            };
            refusals += 1;
            let context = format!("refused {call} ({number}), {with_old} {unnamed}");
            assert_eq!(outcome(&made), if errno == EIO { "EIO" } else { "ENOSPC" }, "{context}");
            // The caller hears that it may not be durable.
            assert_eq!(
                is_new(&array, with_old, &context),
                matches!(call, "fsync folder" | "unlink"),
                "{context}"
            );
            assert_eq!(left(folder.path()), 0, "{context}");
        }
    }
    assert!(refusals > 100, "{refusals}");
}

fn be_killed(order: &str) {
    let [with_old, unnamed, number, folder] = order.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{order}")
    };
    let number = number.parse::<u32>().unwrap();
    let mut passed = 0;
    let array = scene(Path::new(folder), with_old == "true");
    let unnamed = unnamed == "true";
    listen(Some(Box::new(move |call| {
        passed += 1;
        support::wait_at(number)(passed, call)?;
        let refuse = call == "O_TMPFILE" && !unnamed;
        if refuse { Err(io::Error::from_raw_os_error(EINVAL)) } else { Ok(()) }
    })));
    array.checksum(BLOCK, Some(1), Control::default()).unwrap();
}

#[test]
fn a_kill_at_any_step_leaves_the_old_sidecar_or_the_new_one() {
    if let Ok(order) = std::env::var(VICTIM) {
        return be_killed(&order);
    }
    let mut kills = 0;
    for (with_old, unnamed) in WAYS {
        for number in 1.. {
            let folder = TempDir::new().unwrap();
            let order = format!("{with_old} {unnamed} {number} {}", folder.path().display());
            let test = "checksum::a_kill_at_any_step_leaves_the_old_sidecar_or_the_new_one";
            let killed = support::kill_at(test, (VICTIM, &order), folder.path());
            let array =
                DynMmapArray::open(folder.path().join("a.raw"), &raw(DType::Uint8, None, None, 0)).unwrap();
            let context = format!("killed before {killed:?}");
            let new = is_new(&array, with_old, &context);
            if killed.is_none() {
                assert!(new);
                assert_eq!(left(folder.path()), 0);
                break;
            }
            kills += 1;
            // Whoever makes the checksums again removes what was left.
            listen(Some(Box::new(move |call| {
                let refuse = call == "O_TMPFILE" && !unnamed;
                if refuse { Err(io::Error::from_raw_os_error(EINVAL)) } else { Ok(()) }
            })));
            checksum(&array).unwrap();
            listen(None);
            assert!(is_new(&array, with_old, "made again"));
            if cfg!(unix) {
                assert_eq!(left(folder.path()), 0, "{context}");
            }
        }
    }
    assert!(kills > 50, "{kills}");
}

#[test]
fn the_hash_of_a_fixture_is_that_of_its_bytes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kinds.npz");
    let content = fixture("npz", "kinds.npz");
    fs::write(&path, &content).unwrap();
    let options = OpenOptions { name: Some("z".to_owned()), ..OpenOptions::new(Mode::ReadOnly) };
    let array = DynMmapArray::open(&path, &options).unwrap();
    checksum(&array).unwrap();
    assert_eq!(fs::read(array.sidecar()).unwrap(), sidecar(&content, BLOCK));
}
