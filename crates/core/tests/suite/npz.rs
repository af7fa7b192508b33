//! Zip files of npy files: made by hand, honest and not. Those of numpy are in `named`.

use mmap_ndarray_core::{DType, Order};
use mmap_ndarray_core::{Error, Format, Request, format::write_header};
use proptest::prelude::*;

use crate::fuzz::targets::assert_sound;
use crate::support::{check, fixture, list, manifest, outcome, read, read_named, request, text};

/// One member, as the directory and its own header have it.
#[derive(Clone)]
struct Member {
    name: Vec<u8>,
    data: Vec<u8>,
    method: u16,
    flags: u16,
    /// What the directory says instead of what is so.
    packed: Option<u64>,
    unpacked: Option<u64>,
    start: Option<u64>,
    /// Sizes and place are said in the zip64 field.
    zip64: bool,
}

fn npy(shape: &[u64]) -> Vec<u8> {
    let mut file = write_header(Format::Npy, DType::Int32.into(), shape, Order::C).unwrap();
    for value in 0..shape.iter().product() {
        file.extend(i32::try_from(value).unwrap().to_le_bytes());
    }
    file
}

fn member(name: &str, shape: &[u64]) -> Member {
    let (name, data) = (name.as_bytes().to_vec(), npy(shape));
    Member { name, data, method: 0, flags: 0, packed: None, unpacked: None, start: None, zip64: false }
}

/// A zip file of these members, with the directory at its end.
fn zip(members: &[Member]) -> Vec<u8> {
    zip_with(members, |end| end)
}

/// The same; `change` sees the record at the end of the directory.
fn zip_with(members: &[Member], change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let u16 = |n: usize| u16::try_from(n).unwrap().to_le_bytes();
    for member in members {
        let Member { name, data, method, flags, zip64, .. } = member;
        let start = member.start.unwrap_or(file.len() as u64);
        let packed = member.packed.unwrap_or(data.len() as u64);
        let unpacked = member.unpacked.unwrap_or(data.len() as u64);
        let small = |n: u64| if *zip64 { u32::MAX } else { n as u32 }.to_le_bytes();
        let wide: Vec<u8> = [unpacked, packed, start].iter().flat_map(|n| n.to_le_bytes()).collect();
        let extra = if *zip64 { [&[1_u8, 0, 24, 0] as &[u8], &wide].concat() } else { Vec::new() };

        file.extend(b"PK\x03\x04\x14\0");
        file.extend([flags.to_le_bytes(), method.to_le_bytes()].concat());
        file.extend([0; 8]);
        file.extend([small(packed), small(unpacked)].concat());
        // Another extra field than in the directory: where the data starts is said here alone.
        file.extend([u16(name.len()), u16(6)].concat());
        file.extend(name);
        file.extend(b"ab\x02\0xx");
        file.extend(data);

        directory.extend(b"PK\x01\x02\x14\0\x14\0");
        directory.extend([flags.to_le_bytes(), method.to_le_bytes()].concat());
        directory.extend([0; 8]);
        directory.extend([small(packed), small(unpacked)].concat());
        directory.extend([u16(name.len()), u16(extra.len()), [0; 2], [0; 2], [0; 2]].concat());
        directory.extend([0; 4]);
        directory.extend(small(start));
        directory.extend(name);
        directory.extend(&extra);
    }
    let start = file.len() as u32;
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([u16(members.len()), u16(members.len())].concat());
    end.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
    end.extend([0; 2]);
    [file, directory, change(end)].concat()
}

#[test]
fn a_stored_member_is_read_where_it_lies() {
    for zip64 in [false, true] {
        let members = [member("a.npy", &[2, 3]), member("text", &[]), member("b.npy", &[5])];
        let file = zip(&members.map(|member| Member { zip64, ..member }));
        for (name, shape) in [("a", &[2_u64, 3] as &[u64]), ("a.npy", &[2, 3]), ("b", &[5]), ("b.npy", &[5])]
        {
            let header = read_named(&file, name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((header.format(), header.shape()), (Format::Npz, shape), "{name}");
            let at = usize::try_from(header.data_offset()).unwrap();
            let len = usize::try_from(header.data_len()).unwrap();
            assert_eq!(file[at..at + len], npy(shape)[128..], "{name}");
            assert_sound(&header, file.len() as u64);
        }
        let names: Vec<_> = list(&file).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(outcome(&read_named(&file, "text")), "ERR_INVALID_ARG_VALUE");
    }
}

#[test]
fn the_directory_is_found_wherever_it_is() {
    let file = zip(&[member("a.npy", &[3])]);
    let comment = |text: &[u8]| {
        zip_with(&[member("a.npy", &[3])], |mut end| {
            let len = u16::try_from(text.len()).unwrap().to_le_bytes();
            end.splice(20.., len);
            [&end, text].concat()
        })
    };
    let asked = Request { format: Some(Format::Npz), ..Request::default() };
    for (what, file) in [
        ("something before the first member", [b"#!/bin/sh\nexit\n" as &[u8], &file].concat()),
        ("a comment", comment(b"a comment")),
        ("a long one", comment(&vec![b'x'; 65_000])),
    ] {
        let header = request(&file, &asked).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(header.shape(), [3], "{what}");
        let at = usize::try_from(header.data_offset()).unwrap();
        assert_eq!(file[at..at + 12], npy(&[3])[128..], "{what}");
    }
    // Two readers could take two directories for the one, so this one takes none.
    let ambiguous = comment(b"PK\x05\x06 and so on, as long as the end of a directory");
    assert_eq!(outcome(&request(&ambiguous, &asked)), "ERR_INVALID_HEADER");
}

#[test]
fn a_compressed_or_encrypted_member_is_refused_with_the_way_out() {
    let packed = Member { method: 8, ..member("a.npy", &[3]) };
    let secret = Member { flags: 1, ..member("a.npy", &[3]) };
    for (member, what) in [(packed, "compressed"), (secret, "encrypted")] {
        let file = zip(&[member, self::member("b.npy", &[3])]);
        let error = read_named(&file, "a").unwrap_err();
        assert_eq!(error.code(), "ERR_UNSUPPORTED_DTYPE");
        assert!(error.to_string().contains(what) && error.to_string().contains("numpy.savez"), "{error}");
        assert_eq!(outcome(&read_named(&file, "b")), "opens", "{what}");
        let dtypes: Vec<_> = list(&file).unwrap().into_iter().map(|entry| entry.dtype).collect();
        assert_eq!(dtypes, [what, "int32"]);
    }
}

#[test]
fn files_that_lie_are_refused() {
    let invalid = "ERR_INVALID_HEADER";
    let a = || member("a.npy", &[3]);
    let b = || member("b.npy", &[3]);
    let len = npy(&[3]).len() as u64;
    for (what, members, code) in [
        ("other sizes packed and not", vec![Member { unpacked: Some(len + 1), ..a() }, b()], invalid),
        (
            "a size too large, into the next",
            vec![Member { packed: Some(len + 40), unpacked: Some(len + 40), ..a() }, b()],
            invalid,
        ),
        (
            "a size by one byte too large",
            vec![Member { packed: Some(len + 1), unpacked: Some(len + 1), ..a() }, b()],
            invalid,
        ),
        (
            "a size too large, into the directory",
            vec![Member { packed: Some(len + 9), unpacked: Some(len + 9), ..a() }],
            invalid,
        ),
        (
            "a size of 2^63",
            vec![Member { packed: Some(1 << 63), unpacked: Some(1 << 63), zip64: true, ..a() }],
            invalid,
        ),
        (
            "a size of 2^64 - 1",
            vec![Member { packed: Some(u64::MAX), unpacked: Some(u64::MAX), zip64: true, ..a() }],
            invalid,
        ),
        (
            "a size too small for the header",
            vec![Member { packed: Some(20), unpacked: Some(20), ..a() }],
            "ERR_FILE_TOO_SHORT",
        ),
        (
            "a size too small for the array",
            vec![Member { packed: Some(len - 1), unpacked: Some(len - 1), ..a() }],
            "ERR_FILE_TOO_SHORT",
        ),
        ("no size", vec![Member { packed: Some(0), unpacked: Some(0), ..a() }], invalid),
        ("a place of 2^63", vec![Member { start: Some(1 << 63), zip64: true, ..a() }], invalid),
        ("a place of 2^64 - 1", vec![Member { start: Some(u64::MAX), zip64: true, ..a() }], invalid),
        ("a place past the end", vec![Member { start: Some(100_000), ..a() }], invalid),
        ("a place that is no member", vec![Member { start: Some(3), ..a() }], invalid),
        ("the place of the directory", vec![Member { start: Some(len + 41), ..a() }], invalid),
        ("one place for two", vec![a(), Member { start: Some(0), ..b() }], invalid),
        ("one name for two", vec![a(), member("a.npy", &[4])], invalid),
        ("the folder above in a name", vec![a(), member("../b.npy", &[4])], invalid),
        ("the folder above, later", vec![a(), member("c/../../b.npy", &[4])], invalid),
        ("the folder above, as on Windows", vec![a(), member("..\\b.npy", &[4])], invalid),
        ("no npy file", vec![Member { data: b"no npy file at all".to_vec(), ..a() }], invalid),
        ("nothing", vec![Member { data: Vec::new(), ..a() }], invalid),
    ] {
        let result = read_named(&zip(&members), "a");
        assert_eq!(outcome(&result), code, "{what}");
    }
    let trailing = Member { data: [npy(&[3]), vec![0]].concat(), ..a() };
    let asked = |strict| Request { strict, ..Request::default() };
    assert_eq!(outcome(&request(&zip(std::slice::from_ref(&trailing)), &asked(false))), "opens");
    assert_eq!(outcome(&request(&zip(&[trailing]), &asked(true))), "ERR_TRAILING_DATA");
    assert_eq!(outcome(&request(&zip(&[a()]), &asked(true))), "opens");
}

#[test]
fn names_that_hold_dots_are_told_apart() {
    let file = zip(&[
        member("a.b.npy", &[1]),
        member("a.npy", &[2]),
        member("a.npy.npy", &[3]),
        member("..c.npy", &[4]),
    ]);
    for (name, shape) in
        [("a.b", 1_u64), ("a", 2), ("a.npy", 3), ("a.npy.npy", 3), ("a.b.npy", 1), ("..c", 4)]
    {
        assert_eq!(read_named(&file, name).unwrap().shape(), [shape], "{name}");
    }
}

#[test]
fn a_file_that_is_cut_off_has_no_directory() {
    let file = zip(&[member("a.npy", &[3])]);
    for len in 0..file.len() {
        let result = read(&file[..len], None, false);
        let code = if len < 22 { "ERR_FILE_TOO_SHORT" } else { "ERR_INVALID_HEADER" };
        assert_eq!(outcome(&result), code, "cut to {len}");
    }
    let Err(error @ Error::InvalidHeader { .. }) = read(&file[..200], None, false) else {
        panic!("a zip file without a directory opens");
    };
    assert!(error.to_string().contains("cut off"), "{error}");
}

#[test]
fn any_change_of_bytes_is_refused_or_sound() {
    let mut files: Vec<_> = manifest("npz").iter().map(|case| fixture("npz", text(case, "file"))).collect();
    files.push(zip(&[Member { zip64: true, ..member("a.npy", &[3]) }, member("b.npy", &[2])]));
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff)];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), byte), 1..8);
    check(2_000, &(prop::sample::select(files), changes), |(mut file, changes)| {
        for (at, late, byte) in changes {
            // Mostly in the directory, which is at the end.
            let range = if late { file.len().saturating_sub(150)..file.len() } else { 0..file.len() };
            let at = range.start + at.index(range.len());
            file[at] = byte;
        }
        let _ = list(&file);
        let asked = |name: &str| Request {
            format: Some(Format::Npz),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..Request::default()
        };
        for name in ["", "a", "b", "r.x", "v.w", "z", "folder/c", "arr_0"] {
            if let Ok(header) = request(&file, &asked(name)) {
                assert_sound(&header, file.len() as u64);
            }
        }
        Ok(())
    });
}
