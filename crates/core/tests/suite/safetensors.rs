//! The format of safetensors: its own files, and what its library refuses.

use mmap_ndarray_core::{ByteOrder, DType, ElementType, Error, Format, Request};
use proptest::prelude::*;

use crate::fuzz::targets::assert_sound;
use crate::support::{check, fixture, list, manifest, numbers, outcome, read, read_named, request, text};

/// A file of this text and so many bytes of data.
fn file(text: &str, data: usize) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes() as &[u8], text.as_bytes(), &vec![0; data]].concat()
}

/// The text of one tensor.
fn one(dtype: &str, shape: &str, start: &str, end: &str) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}}}"#)
}

#[test]
fn files_of_the_library_are_judged_as_by_it() {
    for case in manifest("safetensors") {
        let name = text(&case, "file");
        let file = fixture("safetensors", name);
        let asked = Request { format: Some(Format::Safetensors), ..Request::default() };
        if case["ok"] == false {
            let expected = match text(&case, "why") {
                "bad-offsets" | "header-too-long" | "bad-header" => "ERR_INVALID_HEADER",
                "too-short" => "ERR_FILE_TOO_SHORT",
                "bad-dtype" => "ERR_UNSUPPORTED_DTYPE",
                other => panic!("{name}: unknown reason {other}"),
            };
            assert_eq!(outcome(&request(&file, &asked)), expected, "{name}");
            assert_eq!(outcome(&list(&file)), expected, "{name}");
            continue;
        }
        let listed = list(&file).unwrap();
        let tensors = case["tensors"].as_array().unwrap();
        assert_eq!(listed.len(), tensors.len(), "{name}");
        for tensor in tensors {
            let known = text(tensor, "name");
            let entry = listed.iter().find(|entry| entry.name == known).unwrap();
            let header = read_named(&file, known).unwrap_or_else(|error| panic!("{name} {known}: {error}"));
            assert_eq!(header.descr(), text(tensor, "dtype"), "{name} {known}");
            assert_eq!(header.dtype().name(), entry.dtype);
            assert_eq!(
                (header.shape(), &*entry.shape),
                (&*numbers(tensor, "shape"), &*numbers(tensor, "shape"))
            );
            assert_eq!(Some(entry.offset), tensor["offset"].as_u64(), "{name} {known}");
            assert_eq!(header.data_offset(), entry.offset);
            assert_sound(&header, file.len() as u64);
            if let (Some(first), "F64") = (tensor["values"][0].as_str(), header.descr()) {
                let at = usize::try_from(header.data_offset()).unwrap();
                let bytes = file[at..at + 8].try_into().unwrap();
                assert_eq!(f64::from_le_bytes(bytes).to_string(), first, "{name} {known}");
            }
        }
    }
}

#[test]
fn every_code_of_the_library_is_known() {
    for (code, bits, dtype) in [
        ("BOOL", 8, Some("bool")),
        ("I8", 8, Some("int8")),
        ("U8", 8, Some("uint8")),
        ("I16", 16, Some("int16")),
        ("U16", 16, Some("uint16")),
        ("I32", 32, Some("int32")),
        ("U32", 32, Some("uint32")),
        ("I64", 64, Some("int64")),
        ("U64", 64, Some("uint64")),
        ("F16", 16, Some("float16")),
        ("BF16", 16, Some("bfloat16")),
        ("F32", 32, Some("float32")),
        ("F64", 64, Some("float64")),
        ("C64", 64, Some("complex64")),
        ("F4", 4, None),
        ("F6_E2M3", 6, None),
        ("F6_E3M2", 6, None),
        ("F8_E5M2", 8, None),
        ("F8_E4M3", 8, None),
        ("F8_E8M0", 8, None),
        ("F8_E4M3FNUZ", 8, None),
        ("F8_E5M2FNUZ", 8, None),
    ] {
        let file = file(&one(code, "[2,4]", "0", &bits.to_string()), bits);
        let entries = list(&file).unwrap();
        assert_eq!(entries[0].dtype, dtype.unwrap_or(code));
        assert_eq!(entries[0].shape, [2, 4]);
        match dtype {
            None => assert_eq!(outcome(&read_named(&file, "a")), "ERR_UNSUPPORTED_DTYPE", "{code}"),
            Some(dtype) => {
                let header = read_named(&file, "a").unwrap();
                let expected = match dtype {
                    "complex64" => ElementType { complex: true, ..DType::Float32.into() },
                    _ => DType::ALL.into_iter().find(|known| known.name() == dtype).unwrap().into(),
                };
                assert_eq!(header.element(), ElementType { byte_order: ByteOrder::Little, ..expected });
            }
        }
    }
}

#[test]
fn texts_that_the_library_reads_are_read() {
    for (what, text) in [
        ("padded with spaces", format!("{}   \n", one("F32", "[2]", "0", "8"))),
        ("line ends", one("F32", "[2]", "0", "8").replace(',', ",\n")),
        ("metadata", one("F32", "[2]", "0", "8").replacen('{', r#"{"__metadata__":{"a":"b","c":""},"#, 1)),
        (
            "a key more in a tensor",
            one("F32", "[2]", "0", "8").replace("\"shape\"", "\"note\":[{}],\"shape\""),
        ),
        ("an escape in a name", one("F32", "[2]", "0", "8").replacen("\"a\"", r#""\u0061""#, 1)),
        (
            "tensors in any order, empty ones between",
            r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},
                "e":{"dtype":"F64","shape":[0,9],"data_offsets":[4,4]},
                "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#
                .to_owned(),
        ),
    ] {
        assert_eq!(outcome(&read_named(&file(&text, 8), "a")), "opens", "{what}");
    }
}

#[test]
fn texts_that_the_library_refuses_are_refused() {
    let good = one("F32", "[2]", "0", "8");
    let invalid = "ERR_INVALID_HEADER";
    for (what, text, data, code) in [
        ("a space first", format!(" {good}"), 8, invalid),
        ("no object", "[]".to_owned(), 0, invalid),
        ("NUL padding", format!("{good}\0"), 8, invalid),
        ("another object", format!("{good}{{}}"), 8, invalid),
        ("no end", "{".to_owned(), 0, invalid),
        ("a name twice", format!("{},{}", &good[..good.len() - 1], &good[1..]), 8, invalid),
        (
            "a name twice, escaped",
            format!("{},{}", &good[..good.len() - 1], good[1..].replace("\"a\"", r#""\u0061""#)),
            8,
            invalid,
        ),
        ("a key twice", good.replace("\"shape\"", "\"dtype\":\"F32\",\"shape\""), 8, invalid),
        ("a key too few", good.replace("\"dtype\":\"F32\",", ""), 8, invalid),
        ("metadata twice", good.replacen('{', r#"{"__metadata__":{},"__metadata__":{},"#, 1), 8, invalid),
        ("a key of metadata twice", good.replacen('{', r#"{"__metadata__":{"a":"","a":""},"#, 1), 8, invalid),
        ("metadata that is no text", good.replacen('{', r#"{"__metadata__":{"a":1},"#, 1), 8, invalid),
        ("metadata that is no object", good.replacen('{', r#"{"__metadata__":"a","#, 1), 8, invalid),
        ("a tensor that is no object", r#"{"a":1}"#.to_owned(), 0, invalid),
        ("a negative length", one("F32", "[-2]", "0", "8"), 8, invalid),
        ("a fraction", one("F32", "[2.0]", "0", "8"), 8, invalid),
        ("a length of 2^64", one("F32", "[18446744073709551616]", "0", "8"), 8, invalid),
        ("a product of 2^64", one("F32", "[4294967296,4294967296]", "0", "8"), 8, invalid),
        ("a product of 2^64, and none", one("F32", "[4294967296,4294967296,0]", "0", "0"), 0, invalid),
        ("65 axes", one("U8", &format!("[1{}]", ",1".repeat(64)), "0", "1"), 1, invalid),
        ("three offsets", one("F32", "[2]", "0", "8,8"), 8, invalid),
        ("offsets turned round", one("F32", "[2]", "8", "0"), 8, invalid),
        ("offsets of 2^63", one("F32", "[2]", "9223372036854775808", "9223372036854775816"), 8, invalid),
        ("an end of 2^64 - 1", one("F32", "[2]", "0", "18446744073709551615"), 8, invalid),
        ("a gap first", one("F32", "[2]", "4", "12"), 12, invalid),
        ("too few bytes for its shape", one("F32", "[3]", "0", "8"), 8, invalid),
        ("too many", one("F32", "[1]", "0", "8"), 8, invalid),
        ("half a byte", one("F4", "[3]", "0", "1"), 1, invalid),
        ("data after the last", good.clone(), 9, invalid),
        ("data without tensors", "{}".to_owned(), 1, invalid),
        ("data that ends early", good.clone(), 7, "ERR_FILE_TOO_SHORT"),
        ("an unknown dtype", one("F33", "[2]", "0", "8"), 8, "ERR_UNSUPPORTED_DTYPE"),
        ("a dtype in lower case", one("f32", "[2]", "0", "8"), 8, "ERR_UNSUPPORTED_DTYPE"),
        ("deep brackets", format!("{{\"a\":{}", "[".repeat(100_000)), 0, invalid),
        (
            "deep brackets in a key not looked at",
            good.replace("\"shape\"", &format!("\"x\":{},\"shape\"", "[".repeat(10_000))),
            8,
            invalid,
        ),
    ] {
        let asked =
            Request { format: Some(Format::Safetensors), name: Some("a".to_owned()), ..Request::default() };
        assert_eq!(outcome(&request(&file(&text, data), &asked)), code, "{what}");
    }
    let mut latin1 = file(&good, 8);
    latin1[10] = 0xe9;
    assert_eq!(outcome(&read(&latin1, None, false)), invalid, "not UTF-8");
}

#[test]
fn a_length_that_lies_costs_nothing() {
    let asked = Request { format: Some(Format::Safetensors), ..Request::default() };
    for (len, code) in [
        (0_u64, "ERR_INVALID_HEADER"),
        (1, "ERR_INVALID_HEADER"),
        (100_000_000, "ERR_FILE_TOO_SHORT"),
        (100_000_001, "ERR_INVALID_HEADER"),
        (1 << 63, "ERR_INVALID_HEADER"),
        (u64::MAX, "ERR_INVALID_HEADER"),
    ] {
        let file = [&len.to_le_bytes() as &[u8], b"{}"].concat();
        assert_eq!(outcome(&request(&file, &asked)), code, "{len}");
    }
    for len in 0..8 {
        let error = request(&vec![2; len], &asked).unwrap_err();
        assert!(matches!(error, Error::FileTooShort { expected: 8, .. }), "{len}: {error}");
    }
}

#[test]
fn every_truncation_and_extension_is_told() {
    for name in ["one_f32.safetensors", "mixed.safetensors", "scalar_and_empty.safetensors"] {
        let file = fixture("safetensors", name);
        let asked =
            Request { format: Some(Format::Safetensors), name: Some("b".to_owned()), ..Request::default() };
        for len in 0..file.len() {
            assert_eq!(outcome(&request(&file[..len], &asked)), "ERR_FILE_TOO_SHORT", "{name} cut to {len}");
        }
        assert_eq!(outcome(&request(&[&file[..], &[0]].concat(), &asked)), "ERR_INVALID_HEADER", "{name}");
    }
}

#[test]
fn any_change_of_a_byte_is_refused_or_sound() {
    let good = fixture("safetensors", "mixed.safetensors");
    let changes = prop::collection::vec((0..270_usize, any::<u8>()), 1..4);
    let digits =
        prop::collection::vec((8..264_usize, prop::sample::select(b"0123456789[]{}\",:".to_vec())), 1..6);
    check(2_000, &prop_oneof![changes, digits], |changes| {
        let mut file = good.clone();
        for (at, byte) in changes {
            file[at] = byte;
        }
        let _ = list(&file);
        for name in ["a", "b", "c", "d"] {
            if let Ok(header) = read_named(&file, name) {
                assert_sound(&header, file.len() as u64);
            }
        }
        Ok(())
    });
}
