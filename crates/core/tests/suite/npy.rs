//! The format of numpy: what it reads and what it refuses.

use mmap_ndarray_core::{ByteOrder, DType, ElementType, Error, Format, Header, Order, Result};

use crate::support::{fixture, manifest, numbers, order_of, outcome, read, read_alone, text};

/// A file that starts with `text`, in a version of the format.
pub(crate) fn npy(version: u8, text: &str) -> Vec<u8> {
    let latin1 = || text.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<_>>();
    let (len, text) = match version {
        1 => (u16::try_from(latin1().len()).unwrap().to_le_bytes().to_vec(), latin1()),
        2 => (u32::try_from(latin1().len()).unwrap().to_le_bytes().to_vec(), latin1()),
        _ => (u32::try_from(text.len()).unwrap().to_le_bytes().to_vec(), text.as_bytes().to_vec()),
    };
    [b"\x93NUMPY" as &[u8], &[version, 0], &len, &text].concat()
}

fn read_text(version: u8, text: &str) -> Result<Header> {
    read_alone(&npy(version, text))
}

/// The header of `<i4` elements whose `shape` is this Python text.
fn read_shape(version: u8, shape: &str) -> Result<Header> {
    read_text(version, &format!("{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}\n"))
}

fn read_descr(descr: &str) -> Result<Header> {
    read_text(1, &format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3,), }}\n"))
}

#[test]
fn files_of_numpy_are_judged_as_by_numpy() {
    for case in manifest("npy") {
        let name = text(&case, "file");
        let file = fixture("npy", name);
        let result = read(&file, None, false);
        if case["ok"] == false {
            let expected = match text(&case, "why") {
                "unsupported-dtype" => "ERR_UNSUPPORTED_DTYPE",
                "bad-shape" | "bad-header" | "header-too-long" => "ERR_INVALID_HEADER",
                "bad-version" => "ERR_UNSUPPORTED_VERSION",
                "bad-magic" => "ERR_INVALID_MAGIC",
                "too-short" => "ERR_FILE_TOO_SHORT",
                other => panic!("{name}: unknown reason {other}"),
            };
            assert_eq!(outcome(&result), expected, "{name}");
            continue;
        }
        let header = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        let order = if case["fortran_order"] == true { Order::Fortran } else { Order::C };
        assert_eq!(header.format(), Format::Npy, "{name}");
        assert_eq!(header.element().npy_code().as_deref(), Some(text(&case, "dtype")), "{name}");
        let mut shape = numbers(&case, "shape");
        shape.extend(header.element().complex.then_some(2));
        assert_eq!((header.shape(), order_of(&header)), (&*shape, Some(order)), "{name}");
        let unaligned = !header.data_offset().is_multiple_of(header.dtype().itemsize() as u64);
        assert_eq!(unaligned, case["unaligned"] == true, "{name}");
        let trailing = name == "trailing_bytes.npy";
        assert_eq!(header.file_len() < file.len() as u64, trailing, "{name}");
        let strict = if trailing { "ERR_TRAILING_DATA" } else { "opens" };
        assert_eq!(outcome(&read(&file, None, true)), strict, "{name}");
    }
}

#[test]
fn any_spelling_that_numpy_reads_is_read() {
    for (name, text) in [
        ("as numpy writes it", "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }      \n"),
        ("nothing after it", "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}"),
        ("key order", "{'shape': (2, 3), 'fortran_order': True, 'descr': '<i4'}"),
        ("double quotes", r#"{"descr": "<i4", "fortran_order": True, "shape": (2, 3)}"#),
        ("three quotes", r#"{'''descr''': """<i4""", 'fortran_order': True, 'shape': (2, 3)}"#),
        ("unicode and raw prefixes", "{u'descr': U'<i4', r'fortran_order': True, R'shape': (2, 3)}"),
        ("strings in pieces", "{'des' 'cr': '<' \"i\"\nu'4', 'fortran_order': True, 'shape': (2, 3)}"),
        ("empty pieces", "{'' 'descr' '': '<i4''', 'fortran_order': True, 'shape': (2, 3)}"),
        ("escapes", r"{'d\x65\u0073\U00000063r': '<i4', 'fortran_order': True, 'shape': (2, 3)}"),
        ("a string over two lines", "{'de\\\nscr': '<i4', 'fortran_order': True, 'shape': (2, 3)}"),
        (
            "the last of equal keys",
            "{'descr': '|O', 'shape': [None, {'a': 1}, -5], 'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}",
        ),
        ("leading blanks", " \t {'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}"),
        ("empty lines", "\n\r\n{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}\n \r\n"),
        ("line ends", "{'descr':\n'<i4',\r'fortran_order':\r\nTrue,\x0c'shape'\n:\n(\n2\n,\n3\n)\n}"),
        ("no blanks", "{'descr':'<i4','fortran_order':True,'shape':(2,3,)}"),
        ("comments", "# a\n{'descr': '<i4', # b }\n'fortran_order': True, 'shape': (2, # c\n3)} # d\n# e"),
        ("brackets", "({('descr'): ('<i4'), 'fortran_order': ((True)), 'shape': ((2), (3))})"),
        ("other bases", "{'descr': '<i4', 'fortran_order': True, 'shape': (0b10, 0x_3)}"),
        ("a sign", "{'descr': '<i4', 'fortran_order': True, 'shape': (+2, + 0o3)}"),
    ] {
        for version in 1..=3 {
            let header =
                read_text(version, text).unwrap_or_else(|error| panic!("{name}, {version}.0: {error}"));
            let read = (header.dtype(), header.descr(), header.shape(), order_of(&header).unwrap());
            assert_eq!(read, (DType::Int32, "<i4", &[2_u64, 3] as &[u64], Order::Fortran), "{name}");
            assert_eq!(header.strides(), [1, 2], "{name}");
            assert_eq!(header.data_offset(), npy(version, text).len() as u64, "{name}");
        }
    }
}

#[test]
fn shapes_that_numpy_reads_are_read() {
    let ones = format!("({})", "1, ".repeat(64));
    for (shape, expected) in [
        ("()", &[] as &[u64]),
        ("(  )", &[]),
        ("(3,)", &[3]),
        ("(0,)", &[0]),
        ("(-0, 00, 0_0)", &[0, 0, 0]),
        ("(1_0, 0xFf, 0XaB, 0O17, 0B11)", &[10, 255, 171, 15, 3]),
        ("(1152921504606846976, 0)", &[1 << 60, 0]),
        (&ones, &[1; 64]),
    ] {
        assert_eq!(read_shape(3, shape).unwrap().shape(), expected, "{shape}");
    }
    for version in [1, 2] {
        assert_eq!(read_shape(version, "(2L, 0x3L, 1_0L)").unwrap().shape(), [2, 3, 10]);
    }
}

#[test]
fn shapes_that_numpy_refuses_are_refused() {
    let ones = format!("({})", "1, ".repeat(65));
    for shape in [
        "[3]",
        "3",
        "(3)",
        "None",
        "{}",
        "'3'",
        "(-3,)",
        "(3, -1)",
        "(True,)",
        "(None,)",
        "('3',)",
        "((3,),)",
        "(3.0,)",
        "(3e0,)",
        "(3j,)",
        "(012,)",
        "(0x,)",
        "(0xg,)",
        "(0b2,)",
        "(1__0,)",
        "(1_,)",
        "(_1,)",
        "(--3,)",
        "(+,)",
        "(,)",
        "(3,,)",
        "(3 4)",
        "(3l,)",
        "(1+1,)",
        "(9223372036854775808,)",
        "(99999999999999999999999999,)",
        "(2305843009213693952,)",
        "(4294967296, 4294967296)",
        "(4611686018427387904, 8, 0)",
        "(0, 4611686018427387904, 8)",
        &ones,
    ] {
        for version in 1..=3 {
            assert_eq!(outcome(&read_shape(version, shape)), "ERR_INVALID_HEADER", "{shape}, {version}.0");
        }
    }
    assert_eq!(outcome(&read_shape(3, "(3L,)")), "ERR_INVALID_HEADER", "Python 2 wrote no version 3.0");
}

#[test]
fn texts_that_numpy_refuses_are_refused() {
    let good = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}";
    for (name, text) in [
        ("nothing", String::new()),
        ("blanks", "   \n".to_owned()),
        ("no dict", "('<i4', False, (3,))".to_owned()),
        ("a tuple of a dict", format!("({good},)")),
        ("fortran_order 0", good.replace("False", "0")),
        ("fortran_order None", good.replace("False", "None")),
        ("fortran_order in lower case", good.replace("False", "false")),
        ("a key too many", good.replace('}', ", 'extra': 1}")),
        ("a key too few", good.replace("'fortran_order': False, ", "")),
        ("an empty dict", "{}".to_owned()),
        ("a key in upper case", good.replace("descr", "DESCR")),
        ("a key that is a number", good.replace("'descr'", "5")),
        ("a key of bytes", good.replace("'descr'", "b'descr'")),
        ("a key without a value", good.replace(": '<i4'", "")),
        ("no comma", good.replace("'<i4',", "'<i4'")),
        ("two commas", good.replace("'<i4',", "'<i4',,")),
        ("a comma alone", "{,}".to_owned()),
        ("no end", good.replace('}', "")),
        ("a bracket of another kind", good.replace('}', ")")),
        ("no closing quote", good.replace("'<i4'", "'<i4")),
        ("a line end in a string", good.replace("'<i4'", "'<i4\n'")),
        ("three quotes and two", good.replace("'<i4'", "'''<i4''")),
        ("an unknown escape", good.replace("<i4", r"\N{LESS-THAN SIGN}i4")),
        ("a sign in an escape", good.replace("<i4", r"\x+3i4")),
        ("half a surrogate", good.replace("<i4", r"\ud800i4")),
        ("a backslash at the end", good.replace("<i4'", "<i4\\")),
        ("text after the dict", format!("{good} x")),
        ("another dict", format!("{good}\n{good}")),
        ("a semicolon", format!("{good};")),
        ("NUL padding", format!("{good}\0\0")),
        ("NUL in a comment", format!("{good} # \0")),
        ("an indented line", format!("\n {good}")),
        ("a call", "dict(descr='<i4', fortran_order=False, shape=(3,))".to_owned()),
        ("a byte order mark", format!("\u{ff}{good}")),
        ("descr None", good.replace("'<i4'", "None")),
        ("descr a number", good.replace("'<i4'", "4")),
    ] {
        for version in 1..=3 {
            assert_eq!(outcome(&read_text(version, &text)), "ERR_INVALID_HEADER", "{name}, {version}.0");
        }
    }
}

#[test]
fn an_error_shows_what_was_found_and_what_was_expected() {
    for (shape, message) in [
        ("[3]", "invalid npy header: shape is a list; expected a tuple"),
        ("(-3,)", "invalid npy header: an axis has length -3; expected 0 or more"),
        ("(3 4)", "invalid npy header: found \"4), }\\n\"; expected ',' or ')'"),
    ] {
        assert_eq!(read_shape(1, shape).unwrap_err().to_string(), message);
    }
    let ended = read_text(1, "{'descr': ").unwrap_err().to_string();
    assert!(ended.starts_with("invalid npy header: its text ends; expected a string, "), "{ended}");
}

#[test]
fn dtypes_are_read_as_by_numpy() {
    for (descr, dtype, byte_order) in [
        ("'<f4'", DType::Float32, ByteOrder::Little),
        ("'>f8'", DType::Float64, ByteOrder::Big),
        ("'=i2'", DType::Int16, ByteOrder::NATIVE),
        ("'|u4'", DType::Uint32, ByteOrder::NATIVE),
        ("'i8'", DType::Int64, ByteOrder::NATIVE),
        ("'>u1'", DType::Uint8, ByteOrder::NATIVE),
        ("'|b1'", DType::Bool, ByteOrder::NATIVE),
        ("'?'", DType::Bool, ByteOrder::NATIVE),
        ("'>d'", DType::Float64, ByteOrder::Big),
        ("'float32'", DType::Float32, ByteOrder::NATIVE),
        ("'<f2'", DType::Float16, ByteOrder::Little),
        ("'>e'", DType::Float16, ByteOrder::Big),
    ] {
        let header = read_descr(descr).unwrap();
        assert_eq!((header.dtype(), header.byte_order()), (dtype, byte_order), "{descr}");
        assert_eq!(header.descr(), descr.trim_matches('\''));
    }
    for (descr, reason) in [
        ("'|O'", "pickle"),
        ("'<U5'", "text"),
        ("'f64'", "expected bool"),
        ("'''<''i4'''", "expected bool"),
        ("'<f16'", "extended"),
        ("'bfloat16'", "expected bool"),
    ] {
        let error = read_descr(descr).unwrap_err();
        assert_eq!(error.code(), "ERR_UNSUPPORTED_DTYPE", "{descr}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn complex_numbers_are_their_parts_side_by_side() {
    for (descr, shape, fortran, strides) in [
        ("<c8", "(2, 3)", "False", &[6_i64, 2, 1] as &[i64]),
        (">c16", "(2, 3)", "True", &[2, 4, 1]),
        ("<c8", "()", "False", &[1]),
        ("<c8", "(0, 3)", "False", &[6, 2, 1]),
    ] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}}}");
        let header = read_text(1, &text).unwrap();
        assert_eq!(header.element(), ElementType::parse(descr).unwrap());
        assert_eq!((header.strides(), header.shape().last()), (strides, Some(&2)), "{text}");
        assert_eq!(header.unit(), header.dtype().itemsize() as u64);
    }
    let ones = format!("({})", "1, ".repeat(64));
    let text = format!("{{'descr': '<c8', 'fortran_order': False, 'shape': {ones}}}");
    assert_eq!(read_text(1, &text).unwrap().shape().len(), 65);
}

#[test]
fn strings_are_those_of_python() {
    for (literal, expected) in [
        (r"'\\ \' \x22 \u00e9 \U0001F600'", "\\ ' \" é \u{1f600}"),
        (r"'\n\r\t'", "\n\r\t"),
        (r"r'\n\''", r"\n\'"),
        (r#"'a' R'\\' "b""#, r"a\\b"),
        ("'''a\n'b\"'''", "a\n'b\""),
    ] {
        // No dtype has such a name, so the error repeats it.
        let Err(Error::UnsupportedDtype { dtype, .. }) = read_descr(literal) else {
            panic!("{literal} is no string");
        };
        assert_eq!(dtype, expected, "{literal}");
    }
}

#[test]
fn versions_that_numpy_does_not_know_are_refused() {
    let good = npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n");
    for (major, minor) in [(1, 1), (0, 0), (0, 1), (2, 2), (4, 0), (255, 255)] {
        let mut file = good.clone();
        file[6..8].copy_from_slice(&[major, minor]);
        let error = read_alone(&file).unwrap_err();
        assert_eq!(error.code(), "ERR_UNSUPPORTED_VERSION");
        assert!(error.to_string().contains(&format!("npy version {major}.{minor} ")), "{error}");
    }
}

#[test]
fn a_text_has_at_most_numpys_number_of_characters() {
    let text = |len: usize, fill: &str| {
        let dict = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), } #";
        format!("{dict}{}\n", fill.repeat(len - dict.len() - 1))
    };
    for (fill, versions) in [(" ", 1..=3), ("é", 1..=3), ("\u{10ffff}", 3..=3)] {
        for version in versions {
            assert_eq!(outcome(&read_text(version, &text(10_000, fill))), "opens", "{version}.0");
            assert_eq!(
                outcome(&read_text(version, &text(10_001, fill))),
                "ERR_INVALID_HEADER",
                "{version}.0"
            );
        }
    }
    // What the length says is refused before there is anything to read.
    for len in [10_001_u32, 40_001, u32::MAX] {
        let file = [b"\x93NUMPY\x02\x00" as &[u8], &len.to_le_bytes()].concat();
        assert_eq!(outcome(&read(&file, None, false)), "ERR_INVALID_HEADER", "{len}");
    }
    assert_eq!(outcome(&read_alone(b"\x93NUMPY\x01\x00\xff\xff")), "ERR_INVALID_HEADER");
}

#[test]
fn a_file_that_ends_in_its_header_is_told_how_much_is_missing() {
    let dict = "{'descr': '<i4', 'fortran_order': False, 'shape': (), }\n";
    let len = dict.len() as u64;
    for (version, cut, needed) in [
        (1, 7, 10),
        (1, 9, 10),
        (2, 11, 12),
        (3, 8, 12),
        (1, 10, 10 + len),
        (3, 12, 12 + len),
        (1, 10 + dict.len(), 10 + len + 4),
    ] {
        let error = read(&npy(version, dict)[..cut], None, false).unwrap_err();
        let Error::FileTooShort { expected, actual, .. } = error else {
            panic!("{version}.0 cut to {cut}: {error}");
        };
        assert_eq!((expected, actual), (needed, cut as u64), "{version}.0 cut to {cut}");
    }
}

#[test]
fn a_text_is_latin1_or_utf8_by_its_version() {
    let comment = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), } # \u{e9}\n";
    for version in 1..=3 {
        assert_eq!(outcome(&read_text(version, comment)), "opens", "{version}.0");
    }
    let mut latin1_as_utf8 = npy(2, comment);
    latin1_as_utf8[6] = 3;
    assert_eq!(outcome(&read_alone(&latin1_as_utf8)), "ERR_INVALID_HEADER");
}

#[test]
fn nested_brackets_do_not_exhaust_the_stack() {
    let nested = |depth: usize| read_shape(3, &format!("({}1{},)", "(".repeat(depth), ")".repeat(depth)));
    assert_eq!(outcome(&nested(150)), "opens");
    for bomb in ["(", "[", "{", "{'a':", "(1,"] {
        for depth in [201, 1900] {
            assert_eq!(outcome(&read_text(3, &bomb.repeat(depth))), "ERR_INVALID_HEADER", "{bomb}");
        }
    }
    assert_eq!(outcome(&nested(4000)), "ERR_INVALID_HEADER");
}
