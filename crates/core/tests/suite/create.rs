//! A new file is there whole or not at all, and nothing is left of one that failed.

use std::fs;
use std::path::Path;

use mmap_ndarray_core::{
    ByteOrder, CreateOptions, DType, DynMmapArray, ElementType, Error, Format, MmapArray, Mode, OpenOptions,
    Writer,
};
use ndarray::array;
use tempfile::TempDir;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_existing_file_is_kept_unless_overwrite() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    MmapArray::create(&path, &array![1_i32, 2]).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = MmapArray::create(&path, &array![3_i32]).unwrap_err();
    assert_eq!(refused.code(), "EEXIST");
    assert_eq!(refused.path(), Some(path.as_path()));
    assert_eq!(fs::read(&path).unwrap(), before);

    let mut options = CreateOptions::new(Format::Npy);
    options.overwrite = true;
    MmapArray::create_with(&path, &array![3_i32], &options).unwrap();
    assert_eq!(
        MmapArray::<i32>::open_read_only(&path).unwrap().to_owned_array().unwrap(),
        array![3].into_dyn()
    );
    assert_eq!(names(folder.path()), ["a.npy"]);
}

#[test]
fn a_file_made_meanwhile_is_not_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let writer = Writer::begin(&path, DType::Int8, &[3], &CreateOptions::new(Format::Npy)).unwrap();
    fs::write(&path, "somebody else's").unwrap();
    assert_eq!(writer.commit().unwrap_err().code(), "EEXIST");
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    assert_eq!(names(folder.path()), ["a.npy"]);
}

/// Windows refuses to replace a mapped file: see `windows.rs`.
#[cfg(not(windows))]
#[test]
fn an_array_mapped_from_a_replaced_file_keeps_its_contents() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    MmapArray::create(&path, &array![1.0_f64, 2.0, 3.0]).unwrap();
    let old = MmapArray::<f64>::open_read_only(&path).unwrap();
    let mut options = CreateOptions::new(Format::Npy);
    options.overwrite = true;
    MmapArray::create_with(&path, &array![9.0_f64], &options).unwrap();
    assert_eq!(old.to_owned_array().unwrap(), array![1.0, 2.0, 3.0].into_dyn());
}

/// On a machine of either order: the other one has to turn bytes round.
#[test]
fn elements_get_the_byte_order_of_their_file() {
    let folder = TempDir::new().unwrap();
    let values = [1.0_f64, -2.5, f64::MIN_POSITIVE];
    let native: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let element = |byte_order| ElementType { dtype: DType::Float64, byte_order, complex: false };
    for (format, asked, written) in [
        (Format::Npy, ByteOrder::Little, ByteOrder::Little),
        (Format::Npy, ByteOrder::Big, ByteOrder::Big),
        (Format::Mmap, ByteOrder::Little, ByteOrder::Little),
        (Format::Mmap, ByteOrder::Big, ByteOrder::Little),
    ] {
        let to_bytes = if written == ByteOrder::Big { f64::to_be_bytes } else { f64::to_le_bytes };
        let path = folder.path().join(format!("{format:?} {asked:?}"));
        let writer = Writer::begin(&path, element(asked), &[3], &CreateOptions::new(format)).unwrap();
        // In two parts: where one ends has nothing to do with where elements are turned round.
        writer.write_at(0, &native[..8]).unwrap();
        writer.write_at(8, &native[8..]).unwrap();
        writer.commit().unwrap();
        let file = std::fs::read(&path).unwrap();
        let expected: Vec<u8> = values.iter().flat_map(|&value| to_bytes(value)).collect();
        assert!(file.ends_with(&expected), "{format:?} {asked:?}");
        let array = DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        assert_eq!(array.to_owned_array::<f64>().unwrap(), array![1.0, -2.5, f64::MIN_POSITIVE].into_dyn());
        drop(array);

        let mut options = CreateOptions::new(format);
        options.overwrite = true;
        let writer = Writer::begin(&path, element(asked), &[3], &options).unwrap();
        let part = writer.write_at(0, &native[..7]).err().map(|error| error.code());
        let foreign = written != ByteOrder::NATIVE;
        assert_eq!(part, foreign.then_some("ERR_OUT_OF_RANGE"), "{format:?} {asked:?}");
        writer.fill(&(-2.5_f64).to_ne_bytes()).unwrap();
        writer.commit().unwrap();
        assert!(std::fs::read(&path).unwrap().ends_with(&to_bytes(-2.5).repeat(3)), "{format:?} {asked:?}");
    }
}

#[cfg(target_endian = "big")]
#[test]
fn a_file_that_cannot_be_used_in_place_is_not_begun() {
    let folder = TempDir::new().unwrap();
    let error = MmapArray::create(folder.path().join("a.mmap"), &array![1.0_f64]).unwrap_err();
    assert_eq!(error.code(), "ERR_NOT_CONTIGUOUS");
    assert_eq!(names(folder.path()), [] as [&str; 0]);
}

#[test]
fn nothing_is_left_of_a_file_given_up() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let writer = Writer::begin(&path, DType::Float64, &[1000], &CreateOptions::new(Format::Npy)).unwrap();
    writer.write_at(0, &[1; 800]).unwrap();
    assert!(!path.exists());
    drop(writer);
    assert_eq!(names(folder.path()), [] as [&str; 0]);
}

/// name, dtype, shape, format, code expected
type Refusal = (&'static str, DType, &'static [u64], Format, &'static str);

#[test]
fn refusals_leave_nothing_behind() {
    let cases: &[Refusal] = &[
        ("more axes than mmap has", DType::Float32, &[1; 7], Format::Mmap, "ERR_TOO_LARGE"),
        ("a dtype that mmap has not", DType::Uint8, &[1], Format::Mmap, "ERR_UNSUPPORTED_DTYPE"),
        ("more bytes than a file has", DType::Float64, &[1 << 61], Format::Npy, "ERR_TOO_LARGE"),
        // Wine says that there is no memory for it.
        ("more than the disk has", DType::Int8, &[1 << 50], Format::Npy, "EFBIG ENOSPC ENOMEM"),
        ("more axes than numpy has", DType::Int8, &[1; 65], Format::Npy, "ERR_TOO_LARGE"),
    ];
    for &(name, dtype, shape, format, codes) in cases {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a");
        let refused = Writer::begin(&path, dtype, shape, &CreateOptions::new(format)).unwrap_err();
        assert!(codes.split(' ').any(|code| code == refused.code()), "{name}: {refused}");
        assert_eq!(names(folder.path()), [] as [&str; 0], "{name}");
    }
}

#[test]
fn writes_outside_the_array_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let writer = Writer::begin(&path, DType::Int16, &[4], &CreateOptions::new(Format::Npy)).unwrap();
    for (offset, len) in [(0, 9), (8, 1), (u64::MAX, 1), (7, 2)] {
        let refused = writer.write_at(offset, &vec![0; len]).unwrap_err();
        assert!(matches!(refused, Error::OutOfRange { .. }), "{offset} {len}");
    }
    assert!(matches!(writer.fill(&[1]), Err(Error::OutOfRange { .. })));
}

#[test]
fn the_extension_names_the_format() {
    for (name, format) in
        [("a.npy", Some(Format::Npy)), ("a.MMAP", Some(Format::Mmap)), ("a", None), ("a.txt", None)]
    {
        assert_eq!(
            CreateOptions::for_path(Path::new(name)).ok().map(|options| options.format),
            format,
            "{name}"
        );
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn replace(path: &Path) {
        let mut options = CreateOptions::new(Format::Npy);
        options.overwrite = true;
        MmapArray::create_with(path, &array![7_i8], &options).unwrap();
    }

    #[test]
    fn a_replaced_file_keeps_its_mode() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.npy");
        for mode in [0o600, 0o640, 0o664, 0o777] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            replace(&path);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_symbolic_link_is_followed() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        let target = folder.path().join("real/a.npy");
        let link = folder.path().join("link.npy");
        symlink("real/a.npy", &link).unwrap();
        // The link dangles: the file is made where it points.
        MmapArray::create(&link, &array![1_i8]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(target.is_file());
        assert_eq!(MmapArray::create(&link, &array![1_i8]).unwrap_err().code(), "EEXIST");
        replace(&link);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            MmapArray::<i8>::open_read_only(&target).unwrap().to_owned_array().unwrap(),
            array![7].into_dyn()
        );
        assert_eq!(names(&folder.path().join("real")), ["a.npy"]);
    }

    #[test]
    fn only_files_are_replaced() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("fifo.npy");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut options = CreateOptions::new(Format::Npy);
        options.overwrite = true;
        assert_eq!(MmapArray::create_with(&path, &array![7_i8], &options).unwrap_err().code(), "ENODEV");
        assert_eq!(
            MmapArray::create_with(folder.path(), &array![7_i8], &options).unwrap_err().code(),
            "EISDIR"
        );
        assert_eq!(names(folder.path()), ["fifo.npy"]);
    }

    #[test]
    fn links_in_a_circle_are_eloop() {
        let folder = TempDir::new().unwrap();
        let (a, b) = (folder.path().join("a.npy"), folder.path().join("b.npy"));
        symlink(&a, &b).unwrap();
        symlink(&b, &a).unwrap();
        assert_eq!(MmapArray::create(&a, &array![1_i8]).unwrap_err().code(), "ELOOP");
    }

    #[test]
    fn a_name_as_long_as_names_can_be() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(format!("{}.npy", "n".repeat(251)));
        MmapArray::create(&path, &array![1_i8]).unwrap();
        replace(&path);
        assert_eq!(names(folder.path()).len(), 1);
        assert_eq!(
            MmapArray::<i8>::open_read_only(&path).unwrap().to_owned_array().unwrap(),
            array![7].into_dyn()
        );
    }
}
