//! Arrays by name: what numpy and safetensors have put into one file is found there, listed and opened in place.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mmap_ndarray_core::{
    Bool, DType, DynMmapArray, Element, ElementType, Entry, Error, Format, Mode, OpenOptions, list,
};
use serde_json::Value;

use crate::support::{manifest, numbers, text};

const MODES: [Mode; 3] = [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite];

fn path(folder: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder).join(file)
}

fn options(mode: Mode, name: &str) -> OpenOptions {
    let mut options = OpenOptions::new(mode);
    options.name = Some(name.to_owned());
    options
}

/// The elements in C order, lowest byte first.
fn bytes_of(array: &DynMmapArray) -> Vec<u8> {
    fn bytes<A: Element>(array: &DynMmapArray) -> Vec<u8> {
        let little = |value: &A| {
            let mut bytes = value.to_bytes().as_ref().to_vec();
            if cfg!(target_endian = "big") {
                bytes.reverse();
            }
            bytes
        };
        array.to_owned_array::<A>().unwrap().iter().flat_map(little).collect()
    }
    match array.dtype() {
        DType::Bool => bytes::<Bool>(array),
        DType::Int8 => bytes::<i8>(array),
        DType::Uint8 => bytes::<u8>(array),
        DType::Int16 => bytes::<i16>(array),
        DType::Uint16 => bytes::<u16>(array),
        DType::Int32 => bytes::<i32>(array),
        DType::Uint32 => bytes::<u32>(array),
        DType::Int64 => bytes::<i64>(array),
        DType::Uint64 => bytes::<u64>(array),
        DType::Float16 => bytes::<f16>(array),
        DType::Bfloat16 => bytes::<bf16>(array),
        DType::Float32 => bytes::<f32>(array),
        DType::Float64 => bytes::<f64>(array),
        other => panic!("{other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn entry_of(entry: &Value) -> Entry {
    Entry {
        name: text(entry, "name").to_owned(),
        dtype: text(entry, "dtype").to_owned(),
        shape: numbers(entry, "shape"),
        offset: entry["offset"].as_u64().unwrap(),
    }
}

#[test]
fn what_numpy_finds_in_a_file_is_found() {
    for folder in ["records", "npz"] {
        for case in manifest(folder) {
            let file = path(folder, text(&case, "file"));
            // One has something before its first member, and is a zip file only to whoever knows.
            let format = (folder == "npz").then_some(Format::Npz);
            let Some(entries) = case["entries"].as_array() else {
                assert_eq!(text(&case, "why"), "unsupported-dtype");
                assert_eq!(list(&file, None).unwrap_err().code(), "ERR_UNSUPPORTED_DTYPE");
                for name in ["a", "o"] {
                    let error = DynMmapArray::open(&file, &options(Mode::ReadOnly, name)).unwrap_err();
                    assert_eq!(error.code(), "ERR_UNSUPPORTED_DTYPE");
                }
                continue;
            };
            let listed = list(&file, format).unwrap_or_else(|error| panic!("{error}"));
            let known: Vec<_> = entries.iter().map(entry_of).collect();
            assert_eq!(listed, known, "{}", file.display());
            for entry in entries {
                opens_as(&file, format, entry);
            }
        }
    }
}

/// Opens an entry by its name in every mode, and looks at all of it.
fn opens_as(file: &Path, format: Option<Format>, entry: &Value) {
    let (name, expected) = (text(entry, "name"), entry_of(entry));
    let what = format!("{} {name}", file.display());
    for mode in MODES {
        let asked = OpenOptions { format, ..options(mode, name) };
        let opened = DynMmapArray::open(file, &asked);
        if entry["unsupported"] == true {
            assert_eq!(opened.unwrap_err().code(), "ERR_UNSUPPORTED_DTYPE", "{what}");
            continue;
        }
        let array = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        let element = ElementType::parse(&expected.dtype).unwrap();
        let shape: Vec<_> = expected.shape.iter().copied().chain(element.complex.then_some(2)).collect();
        assert_eq!((array.dtype(), array.shape()), (element.dtype, &*shape), "{what}");
        assert_eq!(array.header().element().complex, element.complex, "{what}");
        // A byte of truth is copied as 0 or 1, whatever stands in the file.
        let truth = array.dtype() == DType::Bool;
        let data = text(entry, "data");
        let data = if truth {
            data.as_bytes().chunks(2).map(|byte| if byte == b"00" { "00" } else { "01" }).collect()
        } else {
            data.to_owned()
        };
        assert_eq!(hex(&bytes_of(&array)), data, "{what}");
        let header = array.header();
        if !array.is_empty() {
            assert_eq!(header.data_offset() + header.offset() * header.unit(), expected.offset, "{what}");
        }
    }
    if entry["unsupported"] != true {
        let strict = OpenOptions { format, strict: true, ..options(Mode::ReadOnly, name) };
        assert!(DynMmapArray::open(file, &strict).is_ok(), "{what}");
    }
}

/// Whether this machine has the byte order of most files.
const LITTLE: bool = cfg!(target_endian = "little");

#[test]
fn the_fields_of_records_are_strided_in_units_that_divide_their_distances() {
    for (file, name, shape, strides, unit, native) in [
        ("plain.npy", "a", &[3_u64] as &[u64], &[3_i64] as &[i64], 2, false),
        ("plain.npy", "b", &[3], &[3], 2, LITTLE),
        ("unaligned.npy", "b", &[4], &[9], 1, false),
        ("aligned.npy", "b", &[3], &[3], 8, LITTLE),
        ("padded.npy", "a", &[3], &[6], 4, false),
        ("sub_arrays.npy", "m", &[3, 2, 3], &[13, 6, 2], 2, false),
        ("nested_arrays.npy", "p.y", &[2, 3, 2], &[25, 8, 2], 1, false),
        ("fortran.npy", "b", &[3, 2], &[9, 27], 1, false),
        ("array_of_arrays_F.npy", "", &[2, 3, 2], &[1, 2, 6], 4, LITTLE),
    ] {
        let array = DynMmapArray::open(path("records", file), &options(Mode::ReadOnly, name)).unwrap();
        let header = array.header();
        let found = (header.shape(), header.strides(), header.unit(), array.is_native());
        assert_eq!(found, (shape, strides, unit, native), "{file} {name}");
    }
}

/// In place, which a machine of the other byte order cannot.
#[cfg(target_endian = "little")]
#[test]
fn a_store_to_a_field_changes_that_field_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let copy = folder.path().join("aligned.npy");
    std::fs::copy(path("records", "aligned.npy"), &copy).unwrap();
    let before = std::fs::read(&copy).unwrap();
    let array = DynMmapArray::open(&copy, &options(Mode::ReadWrite, "b")).unwrap().typed::<f64>().unwrap();
    let mut view = array.raw_view_mut().unwrap();
    // SAFETY:
    // - the second of the three elements, one record of 24 bytes on; nobody else has the file.
    unsafe { view.as_mut_ptr().wrapping_add(3).write(2.5) };
    array.flush().unwrap();
    drop(array);
    let mut expected = before;
    // Records of 24 bytes from byte 192 on, the field 8 bytes in.
    expected[192 + 24 + 8..][..8].copy_from_slice(&2.5_f64.to_ne_bytes());
    assert_eq!(std::fs::read(&copy).unwrap(), expected);
}

#[test]
fn a_name_that_is_missing_or_wrong_is_told_the_names_there_are() {
    for (folder, file, name, message) in [
        (
            "records",
            "plain.npy",
            None,
            r#"the file holds arrays by name, and no name was given. Open it with `name` one of "a", "b""#,
        ),
        (
            "records",
            "plain.npy",
            Some("x"),
            r#"the file holds no array called "x". Open it with `name` one of "a", "b""#,
        ),
        ("records", "plain.npy", Some(""), r#"no array called "". Open it with `name` one of "a", "b""#),
        ("records", "nested.npy", Some("p"), r#"one of "p.x", "p.y", "q.p.x", "q.p.y", "t""#),
        (
            "records",
            "array_of_arrays_C.npy",
            Some("a"),
            r#"the file holds one array, without a name, and none called "a""#,
        ),
        ("npy", "scalar_f8.npy", Some("a"), "one array, without a name"),
        ("mmap", "f32_3x4_alt.mmap", Some("a"), "one array, without a name"),
        ("npz", "two.npz", None, r#"one of "a", "b""#),
        ("npz", "two.npz", Some("c"), r#"one of "a", "b""#),
        ("npz", "none.npz", None, "the file holds no arrays"),
        ("npz", "none.npz", Some("a"), "the file holds no arrays"),
        ("npz", "kinds.npz", Some("r"), r#"one of "r.x", "r.y""#),
        ("npz", "kinds.npz", Some("r.q"), r#"one of "r.x", "r.y""#),
        ("npz", "two.npz", Some("a.x"), r#"no array called "a.x". Open it with `name` one of "a""#),
        ("safetensors", "mixed.safetensors", None, r#"one of "b", "d", "a", "c""#),
        ("safetensors", "mixed.safetensors", Some("e"), r#"one of "b", "d", "a", "c""#),
        ("safetensors", "no_tensors.safetensors", None, "the file holds no arrays"),
    ] {
        let mut options = OpenOptions::new(Mode::ReadOnly);
        options.name = name.map(str::to_owned);
        let error = DynMmapArray::open(path(folder, file), &options).unwrap_err();
        // Without a name it is the dtype of a record file that cannot be opened.
        let record = folder == "records" && name.is_none() || name == Some("r");
        let code = if record { "ERR_UNSUPPORTED_DTYPE" } else { "ERR_INVALID_ARG_VALUE" };
        assert_eq!(error.code(), code, "{file} {name:?}: {error}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.path(), Some(&*path(folder, file)));
    }
}

#[test]
fn a_message_lists_twenty_names_and_the_likely_ones_first() {
    let names: Vec<_> = (0..30).map(|i| format!("layer.{i}")).collect();
    let error =
        Error::InvalidName { path: PathBuf::new(), name: Some("LAYER.2".to_owned()), names }.to_string();
    assert!(error.contains(r#"one of "layer.2", "layer.20", "layer.21""#), "{error}");
    assert!(error.ends_with("and 10 more, which `list` names"), "{error}");
}

#[test]
fn a_file_of_one_array_is_opened_without_a_name_and_with_an_empty_one() {
    for (folder, file, name) in [
        ("npy", "scalar_f8.npy", ""),
        ("mmap", "f32_3x4_alt.mmap", ""),
        ("records", "array_of_arrays_C.npy", ""),
        ("npz", "one.npz", "arr_0"),
        ("safetensors", "one_f32.safetensors", "weight"),
    ] {
        let file = path(folder, file);
        assert_eq!(
            list(&file, None).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>(),
            [name]
        );
        let without = DynMmapArray::open(&file, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        let with = DynMmapArray::open(&file, &options(Mode::ReadOnly, name)).unwrap();
        assert_eq!(without.header(), with.header());
    }
}

#[test]
fn what_cannot_be_listed_is_told_as_when_it_is_opened() {
    let folder = tempfile::TempDir::new().unwrap();
    let png = folder.path().join("a.png");
    std::fs::write(&png, b"\x89PNG\r\n\x1a\n and so on, for longer").unwrap();
    for (file, format, code) in [
        (folder.path(), None, "EISDIR"),
        (&folder.path().join("none"), None, "ENOENT"),
        (&*png, None, "ERR_INVALID_MAGIC"),
        (&png, Some(Format::Raw), "ERR_OUT_OF_RANGE"),
        (&png, Some(Format::Npz), "ERR_INVALID_HEADER"),
    ] {
        assert_eq!(list(file, format).unwrap_err().code(), code, "{}", file.display());
    }
}
