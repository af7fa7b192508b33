//! The `descr` of records: what numpy accepts and what it refuses.

use mmap_ndarray_core::{DType, Result};

use crate::npy::npy;
use crate::support::{list, outcome, read_named};

/// A file of three items of this `descr`, long enough.
fn file(descr: &str) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3,)}}");
    [npy(1, &text), vec![0; 10_000]].concat()
}

/// name, dtype, shape, byte of the item
type Found = (String, String, Vec<u64>, u64);

/// What there is in the items.
fn listed(descr: &str) -> Result<Vec<Found>> {
    let start = file(descr).len() as u64 - 10_000;
    let entries = list(&file(descr))?.into_iter();
    Ok(entries.map(|entry| (entry.name, entry.dtype, entry.shape, entry.offset - start)).collect())
}

/// name, dtype, shape, byte of the item
type Field = (&'static str, &'static str, &'static [u64], u64);

#[test]
fn fields_that_numpy_reads_are_read() {
    let cases: &[(&str, &[Field])] = &[
        ("[('a', '<f4', 1)]", &[("a", "float32", &[3, 1], 0)]),
        ("[('a', '<f4', ())]", &[("a", "float32", &[3], 0)]),
        ("[('a', '<f4', [2, 3])]", &[("a", "float32", &[3, 2, 3], 0)]),
        ("[['a', '<f4']]", &[("a", "float32", &[3], 0)]),
        ("[('a', ('<f4', (2,)))]", &[("a", "float32", &[3, 2], 0)]),
        ("[('a', ('<f4', (2,)), (5,))]", &[("a", "float32", &[3, 5, 2], 0)]),
        ("(('<f4', (2,)), (4,))", &[("", "float32", &[3, 4, 2], 0)]),
        ("('<f4', 2, 'more')", &[("", "float32", &[3, 2], 0)]),
        ("([('a', '<f4'), ('b', '|u1')], (2,))", &[("a", "float32", &[3, 2], 0), ("b", "uint8", &[3, 2], 4)]),
        ("[]", &[]),
        ("[('a', [])]", &[]),
        ("[('', '|V3'), ('a', '<f4')]", &[("a", "float32", &[3], 3)]),
        ("[('', '|V3', (2,)), ('a', '<f4')]", &[("a", "float32", &[3], 6)]),
        ("[('', '<f4', (2,)), ('a', '<f4')]", &[("a", "float32", &[3], 8)]),
        ("[('', '<i2'), ('a', '<f4')]", &[("", "int16", &[3], 0), ("a", "float32", &[3], 2)]),
        ("[('', [('x', '<f4')])]", &[(".x", "float32", &[3], 0)]),
        ("[(('t', ''), '|V3'), ('a', '<f4')]", &[("", "|V3", &[3], 0), ("a", "float32", &[3], 3)]),
        ("[((5, 'a'), '<f4')]", &[("a", "float32", &[3], 0)]),
        (
            "[('s', 'S'), ('t', '|S0'), ('u', '>U3'), ('a', '<f4')]",
            &[("s", "S", &[3], 0), ("t", "|S0", &[3], 0), ("u", ">U3", &[3], 0), ("a", "float32", &[3], 12)],
        ),
        (
            "[('d', '<m8[25us]'), ('e', '<f16'), ('a', '<c16')]",
            &[("d", "<m8[25us]", &[3], 0), ("e", "<f16", &[3], 8), ("a", "complex128", &[3], 24)],
        ),
    ];
    for &(descr, expected) in cases {
        let found = listed(descr).unwrap_or_else(|error| panic!("{descr}: {error}"));
        let found: Vec<_> =
            found.iter().map(|(name, dtype, shape, at)| (&**name, &**dtype, &**shape, *at)).collect();
        assert_eq!(found, expected, "{descr}");
        for (name, dtype, ..) in found {
            let result = read_named(&file(descr), name);
            let expected = if DType::ALL.iter().any(|known| known.name() == dtype) || dtype == "complex128" {
                "opens"
            } else {
                "ERR_UNSUPPORTED_DTYPE"
            };
            assert_eq!(outcome(&result), expected, "{descr} {name}");
        }
    }
}

#[test]
fn fields_that_numpy_refuses_are_refused() {
    let invalid = "ERR_INVALID_HEADER";
    for (descr, code) in [
        ("[('a',)]", invalid),
        ("[('a', '<f4', (1,), 1)]", invalid),
        ("['a']", invalid),
        ("[{'a': '<f4'}]", invalid),
        ("[(5, '<f4')]", invalid),
        ("[(None, '<f4')]", invalid),
        ("[(('t',), '<f4')]", invalid),
        ("[(('t', 'a', 'b'), '<f4')]", invalid),
        ("[(('t', 5), '<f4')]", invalid),
        ("[('a', '<f4'), ('a', '<i4')]", invalid),
        ("[(('t', 'a'), '<f4'), ('t', '<i4')]", invalid),
        ("[(('a', 'a'), '<f4')]", invalid),
        ("[('a', '<f4', (-2,))]", invalid),
        ("[('a', '<f4', True)]", invalid),
        ("[('a', '<f4', '2')]", invalid),
        ("[('a', '<f4', ((2,),))]", invalid),
        ("[('a', '<f4', (4611686018427387904, 4))]", invalid),
        ("[('a', '|u1', (9223372036854775807,)), ('b', '|u1')]", invalid),
        ("[('a', '|S9223372036854775808')]", "ERR_UNSUPPORTED_DTYPE"),
        ("[('a', '<U4611686018427387904')]", "ERR_UNSUPPORTED_DTYPE"),
        ("('<f4',)", invalid),
        ("()", invalid),
        ("('<f4', -1)", invalid),
        ("('<f4', None)", invalid),
        ("[('a', None)]", invalid),
        ("[('a', 4)]", invalid),
        ("[('a', '|O')]", "ERR_UNSUPPORTED_DTYPE"),
        ("[('a', '<f4'), ('b', [('c', 'O', (2,))])]", "ERR_UNSUPPORTED_DTYPE"),
        ("[('a', 'nonsense')]", "ERR_UNSUPPORTED_DTYPE"),
        ("[('a', 'l')]", "ERR_UNSUPPORTED_DTYPE"),
    ] {
        assert_eq!(outcome(&list(&file(descr))), code, "{descr}");
        assert_eq!(outcome(&read_named(&file(descr), "a")), code, "{descr}");
    }
}

#[test]
fn a_field_that_the_file_cannot_hold_is_refused_when_it_is_opened() {
    let big = "[('a', '|u1', (4611686018427387904,)), ('b', '<f4')]";
    assert_eq!(outcome(&read_named(&file(big), "b")), "ERR_INVALID_HEADER");
    let long = "[('a', '|u1', (4096,)), ('b', '<f4')]";
    assert_eq!(outcome(&read_named(&file(long), "a")), "ERR_FILE_TOO_SHORT");
    let axes = format!("[('a', '|u1', ({}))]", "1, ".repeat(64));
    assert_eq!(outcome(&read_named(&file(&axes), "a")), "ERR_INVALID_HEADER");
    assert_eq!(outcome(&list(&file(&axes))), "opens");
}

#[test]
fn records_within_records_do_not_exhaust_the_stack() {
    let nested = |depth: usize| format!("{}'<f4'{}", "[('a', ".repeat(depth), ")]".repeat(depth));
    let name = vec!["a"; 90].join(".");
    assert_eq!(outcome(&read_named(&file(&nested(90)), &name)), "opens");
    assert_eq!(outcome(&read_named(&file(&nested(110)), &name)), "ERR_INVALID_HEADER");
}

#[test]
fn names_and_axes_of_nested_records_take_bounded_memory() {
    let fields = |count: usize| (0..count).map(|i| format!("('{i:03}','u1'),")).collect::<Vec<_>>().concat();
    let axes = |count: usize| "1,".repeat(count);
    for (case, descr, code) in [
        ("few of each", format!("[('{}', [{}], ({}))]", "n".repeat(40), fields(40), axes(40)), "opens"),
        ("numpy's most axes", format!("[('a', 'u1', ({}))]", axes(64)), "opens"),
        ("more axes than numpy has", format!("[('a', 'u1', ({}))]", axes(65)), "ERR_INVALID_HEADER"),
        // 5 MB of names, and 21 MB of axes.
        (
            "a long name before many",
            format!("[('{}', [{}])]", "n".repeat(5000), fields(350)),
            "ERR_INVALID_HEADER",
        ),
        (
            "axes of many fields",
            format!("[('a', [('b', [{}], ({}))], ({}))]", fields(600), axes(60), axes(60)),
            "ERR_INVALID_HEADER",
        ),
    ] {
        assert_eq!(outcome(&list(&file(&descr))), code, "{case}");
    }
}

#[test]
fn a_field_of_no_records_lies_inside_of_the_file() {
    let file = npy(1, "{'descr': [('a', '<f8'), ('b', '<f4')], 'fortran_order': False, 'shape': (0,)}");
    let header = read_named(&file, "b").unwrap();
    assert_eq!((header.data_offset(), header.data_len()), (file.len() as u64, 0));
    assert_eq!(header.file_len(), file.len() as u64);
}
