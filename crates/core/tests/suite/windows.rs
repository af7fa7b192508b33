//! What Windows does differently: views that are taken down, files that are in use, paths.
//!
//! Cases that may end the process, or look at what others could map, run in a process of their own.

#![cfg(windows)]

use std::env;
use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mmap_ndarray_core::{
    CreateOptions, DType, DynMmapArray, Error, Format, Loss, MmapArray, Mode, OpenOptions, Order, Raw,
    Writer, guard,
};
use ndarray::Array1;
use windows_sys::Win32::Foundation::{EXCEPTION_IN_PAGE_ERROR, STATUS_DISK_FULL};
use windows_sys::Win32::System::Diagnostics::Debug::RaiseException;
use windows_sys::Win32::System::Memory::{MEM_FREE, MEM_RESERVE, MEMORY_BASIC_INFORMATION, VirtualQuery};

const MODES: [Mode; 3] = [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite];
const LEN: usize = 1 << 16;

fn ones(path: &Path) {
    MmapArray::create(path, &Array1::from_elem(LEN, 1.0_f64)).unwrap();
}

fn open(path: &Path, mode: Mode) -> DynMmapArray {
    DynMmapArray::open(path, &OpenOptions::new(mode)).unwrap()
}

fn sum(array: &DynMmapArray) -> f64 {
    array.to_owned_array::<f64>().unwrap().sum()
}

/// Whether there is memory at an address: `MEM_COMMIT`, `MEM_RESERVE` or `MEM_FREE`.
fn state(address: *const u8) -> u32 {
    let mut info = MEMORY_BASIC_INFORMATION::default();
    // SAFETY:
    // - looks at nothing but the address; `info` takes the result.
    let filled =
        unsafe { VirtualQuery(address.cast(), &raw mut info, size_of::<MEMORY_BASIC_INFORMATION>()) };
    assert_ne!(filled, 0);
    info.State
}

/// What the system does when the storage under a mapped page fails.
fn fail_page(address: *const u8, status: i32) {
    let facts = [0, address.addr(), status.cast_unsigned() as usize];
    // SAFETY:
    // - goes to the handlers of this process; one that handles it goes on after the call.
    unsafe { RaiseException(EXCEPTION_IN_PAGE_ERROR.cast_unsigned(), 0, 3, facts.as_ptr()) };
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "done")
}

/// What is done, whether the process dies of an exception, and the work itself.
type Case = (&'static str, bool, fn(&Path));

const CASES: &[Case] = &[
    ("a file that was retired can be deleted, made again, and its folder removed", false, |path| {
        for mode in MODES {
            let folder = path.with_extension(mode.to_string());
            fs::create_dir(&folder).unwrap();
            let path = &folder.join("b.npy");
            ones(path);
            let array = open(path, mode);
            assert_eq!(sum(&array), LEN as f64);
            array.mapping().retire().unwrap();
            array.mapping().retire().unwrap();
            fs::remove_file(path).unwrap();
            ones(path);
            fs::remove_file(path).unwrap();
            fs::remove_dir(&folder).unwrap();
            assert_eq!((sum(&array), array.lost()), (0.0, None));
            // SAFETY:
            // - the first byte of the mapping, which is a zero page of its own now.
            unsafe { array.mapping().as_ptr().write_volatile(9) };
            assert_eq!(array.to_owned_array::<f64>().unwrap()[[0]].to_bits(), 9);
        }
    }),
    ("addresses of a retired mapping stay taken until it is dropped", false, |path| {
        let array = open(path, Mode::ReadWrite);
        let mapping = Arc::clone(array.mapping());
        drop(array);
        let first = mapping.as_ptr();
        mapping.retire().unwrap();
        assert_eq!(state(first), MEM_RESERVE);
        let others: Vec<_> = (0..20).map(|_| open(path, Mode::ReadWrite)).collect();
        // Where neither the system nor V8 looks for room.
        assert!(others.iter().all(|other| other.mapping().as_ptr().addr() >= 16 << 40));
        let taken = first.addr()..first.addr() + mapping.len();
        assert!(others.iter().all(|other| !taken.contains(&other.mapping().as_ptr().addr())));
        let last = first.wrapping_add(mapping.len() - 1);
        // SAFETY:
        // - the last byte of the mapping.
        unsafe { last.write_volatile(9) };
        assert!(others.iter().all(|other| sum(other) == LEN as f64));
        drop(mapping);
        assert_eq!(state(first), MEM_FREE);
    }),
    ("ranges that start anywhere in the file", false, |path| {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(path, &bytes).unwrap();
        for offset in [0, 1, 4096, 65_535, 65_536, 65_537, 70_000, 200_000] {
            for mode in MODES {
                let raw = Raw {
                    element: DType::Uint8.into(),
                    shape: None,
                    offset: offset as u64,
                    strides: None,
                    order: Order::C,
                };
                let mut options = OpenOptions::new(mode);
                options.format = Some(Format::Raw);
                options.raw = Some(raw);
                let array = DynMmapArray::open(path, &options).unwrap();
                let read = || array.to_owned_array::<u8>().unwrap().into_raw_vec_and_offset().0;
                assert_eq!(read(), bytes[offset..], "{offset}");
                array.mapping().retire().unwrap();
                assert!(read().iter().all(|&byte| byte == 0), "{offset}");
            }
        }
    }),
    ("threads that read while the file is retired see its elements or zeros", false, |path| {
        for _ in 0..20 {
            let array = open(path, Mode::ReadOnly);
            let started = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        loop {
                            let read = array.to_owned_array::<f64>().unwrap();
                            started.store(true, Ordering::Relaxed);
                            assert!(read.iter().all(|&value| value == 0.0 || value == 1.0));
                            if read.iter().all(|&value| value == 0.0) {
                                break;
                            }
                        }
                    });
                }
                while !started.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                array.mapping().retire().unwrap();
            });
        }
    }),
    ("without the guard a file cannot be retired, and stays mapped", false, |path| {
        guard::disable();
        let array = open(path, Mode::ReadOnly);
        let refused = array.mapping().retire().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
        assert_eq!(sum(&array), LEN as f64);
    }),
    ("storage that fails, without the guard", true, |path| {
        guard::disable();
        let array = open(path, Mode::ReadOnly);
        fail_page(array.mapping().as_ptr(), STATUS_DISK_FULL);
    }),
    ("storage that fails", false, |path| {
        for (status, reason) in [(STATUS_DISK_FULL, Loss::NoSpace), (-1, Loss::Io)] {
            let array = open(path, Mode::ReadWrite);
            let first: *const u8 = array.mapping().as_ptr();
            fail_page(first.wrapping_add(LEN), status);
            // A second thread that met the same fault.
            fail_page(first.wrapping_add(LEN), status);
            assert_eq!((sum(&array), array.lost()), (0.0, Some(reason)));
            assert!(matches!(array.flush(), Err(Error::MappingLost { .. })));
            array.mapping().retire().unwrap();
            assert_eq!((sum(&array), array.lost()), (0.0, Some(reason)));
            drop(array);
            assert_eq!(state(first), MEM_FREE);
            // What was in the file is there.
            assert_eq!(sum(&open(path, Mode::ReadOnly)), LEN as f64);
        }
    }),
    ("storage that fails, and a mapping that is dropped without more", false, |path| {
        let array = open(path, Mode::ReadOnly);
        let first: *const u8 = array.mapping().as_ptr();
        fail_page(first, -1);
        drop(array);
        assert_eq!(state(first), MEM_FREE);
        fs::remove_file(path).unwrap();
    }),
    ("an access violation that is not ours", true, |path| {
        let array = open(path, Mode::ReadOnly);
        assert_eq!(sum(&array), LEN as f64);
        let constant: &'static str = "in memory that may only be read";
        // SAFETY:
        // - mapped, and meant to fail.
        unsafe { constant.as_ptr().cast_mut().write_volatile(1) };
    }),
    ("an address that a dropped mapping had", true, |path| {
        let array = open(path, Mode::ReadOnly);
        let first = array.mapping().as_ptr();
        array.mapping().retire().unwrap();
        drop(array);
        // SAFETY:
        // - meant to fail.
        unsafe { first.read_volatile() };
    }),
];

#[test]
fn views_are_taken_down_and_faults_of_others_are_theirs() {
    const CASE: &str = "MMAP_NDARRAY_TEST_WINDOWS_CASE";
    if let Ok(wanted) = env::var(CASE) {
        let (name, path) = wanted.split_once('|').unwrap();
        let (_, _, work) = CASES.iter().find(|case| case.0 == name).unwrap();
        return work(Path::new(path));
    }
    for (name, dies, _) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        ones(&path);
        let child = Command::new(env::current_exe().unwrap())
            .args(["windows::views_are_taken_down_and_faults_of_others_are_theirs", "--exact", "--nocapture"])
            .env(CASE, format!("{name}|{}", path.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        // A status of the kind "error"; which one, debuggers decide. A failed assertion ends with 101.
        let died = child.status.code().is_some_and(|code| code.cast_unsigned() >= 0xc000_0000);
        assert_eq!((died, child.status.success()), (*dies, !*dies), "{name}: {said}");
    }
}

#[test]
fn a_mapped_file_may_be_renamed_but_not_be_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("a.npy"), folder.path().join("b.npy"));
    ones(&path);
    for mode in MODES {
        let array = open(&path, mode);
        let file = FileOptions::new().write(true).open(&path).unwrap();
        assert!(file.set_len(4096).is_err());
        drop(file);
        fs::rename(&path, &moved).unwrap();
        assert_eq!((sum(&array), array.lost()), (LEN as f64, None));
        fs::rename(&moved, &path).unwrap();
    }
}

#[test]
fn an_array_that_became_shorter_cuts_its_file_when_the_last_mapping_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let len = || fs::metadata(&path).unwrap().len();
    let whole = 128 + 8 * LEN as u64;
    // However it ends: its lease, a call, or without either.
    let ends: [fn(DynMmapArray); 3] =
        [|array| array.lease().unwrap().end().unwrap(), |array| array.mapping().retire().unwrap(), drop];
    for end in ends {
        fs::remove_file(&path).ok();
        ones(&path);
        let mut array = open(&path, Mode::ReadWrite);
        let old = Arc::clone(array.mapping());
        array.resize(10).unwrap();
        assert_eq!((len(), sum(&array)), (whole, 10.0));
        // Over what is left there, and past it, in another mapping.
        array.resize(20).unwrap();
        assert_eq!((len(), sum(&array)), (whole, 10.0));
        array.resize(2 * LEN as u64).unwrap();
        assert_eq!((len(), sum(&array)), (128 + 16 * LEN as u64, 10.0));
        array.resize(3).unwrap();
        end(array);
        assert_eq!(len(), 128 + 16 * LEN as u64, "one of its mappings is there");
        drop(old);
        assert_eq!(len(), 128 + 24);
        let strict = OpenOptions { strict: true, ..OpenOptions::new(Mode::ReadOnly) };
        assert_eq!(sum(&DynMmapArray::open(&path, &strict).unwrap()), 3.0);
    }
}

#[test]
fn a_raw_file_that_is_mapped_is_not_made_shorter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    fs::write(&path, [1; 1000]).unwrap();
    let raw = Raw { element: DType::Int8.into(), shape: None, offset: 0, strides: None, order: Order::C };
    let options = OpenOptions { raw: Some(raw), ..OpenOptions::new(Mode::ReadWrite) };
    let mut array = DynMmapArray::open(&path, &options).unwrap();
    assert_eq!(code(array.resize(10)), "EBUSY");
    assert_eq!((array.shape(), fs::metadata(&path).unwrap().len()), (&[1000][..], 1000));
    // An append that is given up after the file became longer.
    let growth = array.begin_append(5).unwrap();
    growth.write_at(0, &[2; 3]).unwrap();
    drop(growth);
    drop(array);
    assert_eq!(fs::read(&path).unwrap(), [1; 1000]);
}

#[test]
fn a_mapped_file_keeps_its_contents_when_it_is_to_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let mut options = CreateOptions::new(Format::Npy);
    options.overwrite = true;
    for mode in MODES {
        MmapArray::create_with(&path, &Array1::from_elem(LEN, 1.0_f64), &options).unwrap();
        let before = fs::read(&path).unwrap();
        let array = open(&path, mode);
        let made = code(MmapArray::create_with(&path, &Array1::from_elem(1, 2.0_f64), &options));
        assert_eq!(sum(&array), LEN as f64, "{mode}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{mode}");
        // Wine refuses, as Windows long did; with the renames of today, file systems may take the name alone away.
        match made {
            "EBUSY" => assert_eq!(fs::read(&path).unwrap(), before, "{mode}"),
            made => assert_eq!((made, sum(&open(&path, Mode::ReadOnly))), ("done", 2.0), "{mode}"),
        }
        array.mapping().retire().unwrap();
    }
    MmapArray::create_with(&path, &Array1::from_elem(1, 2.0_f64), &options).unwrap();
    assert_eq!(sum(&open(&path, Mode::ReadOnly)), 2.0);
}

#[test]
fn a_file_with_the_read_only_attribute() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    ones(&path);
    let before = fs::read(&path).unwrap();
    let set = |read_only| {
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(read_only);
        fs::set_permissions(&path, permissions).unwrap();
    };
    set(true);
    if FileOptions::new().write(true).open(&path).is_ok() {
        println!("skipped: this user may write files with the attribute (root, under Wine)");
        return set(false);
    }
    assert_eq!(sum(&open(&path, Mode::ReadOnly)), LEN as f64);
    assert_eq!(sum(&open(&path, Mode::CopyOnWrite)), LEN as f64);
    assert_eq!(code(DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadWrite))), "EPERM");
    let mut options = CreateOptions::new(Format::Npy);
    options.overwrite = true;
    assert_eq!(code(Writer::begin(&path, DType::Int8, &[1], &options)), "EPERM");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    set(false);
}

#[test]
fn what_was_flushed_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    ones(&path);
    let array = MmapArray::<f64>::open_read_write(&path).unwrap();
    // SAFETY:
    // - the first element; nobody else has the file.
    unsafe { array.raw_view_mut().unwrap().as_mut_ptr().write_volatile(7.0) };
    array.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap()[128..136], 7.0_f64.to_le_bytes());
}

/// Spells the path of a file in the working folder's drive in another way.
type Spelling = (&'static str, fn(&Path) -> PathBuf);

#[test]
fn paths_in_every_spelling() {
    let spellings: &[Spelling] = &[
        ("as it is", Path::to_path_buf),
        ("slashes", |path| path.to_str().unwrap().replace('\\', "/").into()),
        ("verbatim", |path| format!(r"\\?\{}", path.display()).into()),
        ("device", |path| format!(r"\\.\{}", path.display()).into()),
        ("lower case", |path| path.to_str().unwrap().to_lowercase().into()),
        ("dots", |path| path.parent().unwrap().join("x").join("..").join(path.file_name().unwrap())),
    ];
    for (name, spell) in spellings {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        for folder in [folder.path(), &deep] {
            let path = folder.join("Ä 日本 a.npy");
            let spelled = spell(&path);
            let mut options = CreateOptions::new(Format::Npy);
            MmapArray::create_with(&spelled, &Array1::from_elem(LEN, 1.0_f64), &options)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(sum(&open(&spelled, Mode::ReadWrite)), LEN as f64, "{name}");
            let again = MmapArray::create_with(&spelled, &Array1::from_elem(LEN, 1.0_f64), &options);
            assert_eq!(code(again), "EEXIST", "{name}");
            options.overwrite = true;
            MmapArray::create_with(&spelled, &Array1::from_elem(1, 3.0_f64), &options).unwrap();
            assert_eq!(sum(&open(&path, Mode::ReadOnly)), 3.0, "{name}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_file_made_meanwhile_in_another_program_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let writer = Writer::begin(&path, DType::Int8, &[3], &CreateOptions::new(Format::Npy)).unwrap();
    let mut other = File::create_new(&path).unwrap();
    other.write_all(b"theirs").unwrap();
    assert_eq!(code(writer.commit()), "EEXIST");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

#[test]
fn devices_are_no_files() {
    for (name, expected) in [
        ("NUL", "ENODEV"),
        ("CON", "ENODEV"),
        (r"\\.\NUL", "ENODEV"),
        (r"\\.\pipe\mmap-ndarray-none", "ENOENT"),
    ] {
        for mode in MODES {
            let opened = DynMmapArray::open(Path::new(name), &OpenOptions::new(mode));
            assert_eq!(code(opened), expected, "{name} {mode}");
        }
    }
}
