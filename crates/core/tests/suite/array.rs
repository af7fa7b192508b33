//! The system of the seed: its own tests, restated, for both formats; then what it could not do.

use mmap_ndarray_core::{
    Bool, CreateOptions, DType, DynMmapArray, Element, Error, Format, MmapArray, Mode, OpenOptions, Order,
};
use ndarray::{Array, Array1, Array2, Array3, IxDyn, ShapeBuilder, array};
use tempfile::TempDir;

/// Runs a test on a path of each format.
fn each_format(test: impl Fn(&std::path::Path)) {
    // The seed's format is little-endian: elsewhere its elements are copied, never used in place.
    let formats: &[&str] =
        if cfg!(target_endian = "little") { &["array.mmap", "array.npy"] } else { &["array.npy"] };
    for name in formats {
        let folder = TempDir::new().unwrap();
        test(&folder.path().join(name));
    }
}

#[test]
fn create_and_read_only_f32() {
    each_format(|path| {
        let source = Array2::from_shape_fn((4, 5), |(i, j)| (i * 5 + j) as f32);
        MmapArray::create(path, &source).unwrap();
        let read = MmapArray::<f32>::open_read_only(path).unwrap();
        assert_eq!(read.shape(), &[4, 5]);
        assert_eq!(read.strides(), &[5, 1]);
        assert_eq!(read.len(), 20);
        assert!(!read.is_empty());
        assert_eq!(read.file_path(), path);
        // SAFETY: nobody else has the file.
        assert_eq!(unsafe { read.view() }, source.into_dyn());
    });
}

#[test]
fn create_and_read_only_f64_and_i32() {
    each_format(|path| {
        let f64s = Array2::from_shape_fn((3, 3), |(i, j)| i as f64 * 0.5 - j as f64);
        MmapArray::create(path, &f64s).unwrap();
        assert_eq!(
            MmapArray::<f64>::open_read_only(path).unwrap().to_owned_array().unwrap(),
            f64s.into_dyn()
        );
    });
    each_format(|path| {
        let i32s = array![[1, -2, 3], [i32::MIN, i32::MAX, 0]];
        MmapArray::create(path, &i32s).unwrap();
        assert_eq!(
            MmapArray::<i32>::open_read_only(path).unwrap().to_owned_array().unwrap(),
            i32s.into_dyn()
        );
    });
}

#[test]
fn read_write_mutation_reaches_the_file() {
    each_format(|path| {
        let source = Array1::from_iter((0..5).map(f64::from));
        let mut written = MmapArray::create(path, &source).unwrap();
        // SAFETY: nobody else has the file.
        unsafe { written.view_mut() }.unwrap().mapv_inplace(|x| x * 2.0);
        written.flush().unwrap();
        drop(written);
        let read = MmapArray::<f64>::open_read_only(path).unwrap();
        assert_eq!(read.to_owned_array().unwrap(), (source * 2.0).into_dyn());
    });
}

#[test]
fn open_read_write_then_mutate() {
    each_format(|path| {
        let source = Array2::<f32>::from_elem((3, 3), 1.5);
        MmapArray::create(path, &source).unwrap();
        let mut array = MmapArray::<f32>::open_read_write(path).unwrap();
        // SAFETY: nobody else has the file.
        let mut view = unsafe { array.view_mut() }.unwrap();
        view += 100.0;
        array.flush().unwrap();
        let read = MmapArray::<f32>::open_read_only(path).unwrap();
        assert_eq!(read.to_owned_array().unwrap(), (source + 100.0).into_dyn());
    });
}

#[test]
fn read_only_rejects_view_mut() {
    each_format(|path| {
        MmapArray::create(path, &array![1_i64]).unwrap();
        let mut array = MmapArray::<i64>::open_read_only(path).unwrap();
        assert!(matches!(array.raw_view_mut(), Err(Error::ReadOnly { .. })));
        // SAFETY: nobody else has the file.
        assert!(matches!(unsafe { array.view_mut() }, Err(Error::ReadOnly { .. })));
    });
}

#[test]
fn cow_mutates_in_memory_not_in_the_file() {
    each_format(|path| {
        let source = Array1::<f32>::from_iter((0_u8..6).map(f32::from));
        MmapArray::create(path, &source).unwrap();
        let mut cow = MmapArray::<f32>::open_cow(path).unwrap();
        assert_eq!(cow.to_owned_array().unwrap(), source.clone().into_dyn());
        // SAFETY: nobody else has the file.
        unsafe { cow.view_mut() }.unwrap().fill(-1.0);
        cow.flush().unwrap();
        assert_eq!(cow.to_owned_array().unwrap(), Array1::from_elem(6, -1.0).into_dyn());
        assert_eq!(
            MmapArray::<f32>::open_read_only(path).unwrap().to_owned_array().unwrap(),
            source.into_dyn()
        );
    });
}

#[test]
fn dtype_mismatch_on_every_open() {
    each_format(|path| {
        MmapArray::create(path, &array![1.0_f32]).unwrap();
        for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
            match MmapArray::<f64>::open(path, &OpenOptions::new(mode)) {
                Err(Error::DtypeMismatch { expected, actual, path: at }) => {
                    assert_eq!((expected.as_str(), actual.as_str()), ("float64", "float32"));
                    assert_eq!(at, path);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn shape_mismatch_on_open() {
    each_format(|path| {
        MmapArray::create(path, &array![[1_i32, 2, 3]]).unwrap();
        let mut options = OpenOptions::new(Mode::ReadOnly);
        options.shape = Some(vec![3]);
        match DynMmapArray::open(path, &options) {
            Err(Error::ShapeMismatch { expected, actual, .. }) => {
                assert_eq!((expected, actual), (vec![3], vec![1, 3]));
            }
            other => panic!("{other:?}"),
        }
        options.shape = Some(vec![1, 3]);
        assert!(DynMmapArray::open(path, &options).is_ok());
    });
}

#[test]
fn strided_sources_are_written_in_c_order() {
    each_format(|path| {
        let base = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (i * 100 + j * 10 + k) as f64);
        let fortran = Array2::from_shape_vec((3, 4).f(), (0..12).map(f64::from).collect()).unwrap();
        let sources = [
            ("Fortran", fortran.into_dyn()),
            ("stepped and reversed", base.slice(ndarray::s![..;-1, ..;2, 1..4]).to_owned().into_dyn()),
            ("transposed", base.view().reversed_axes().into_dyn().to_owned()),
        ];
        for (name, source) in sources {
            let file = path.with_file_name(format!("{name}.{}", path.extension().unwrap().display()));
            MmapArray::create(&file, &source).unwrap();
            let read = MmapArray::<f64>::open_read_only(&file).unwrap();
            assert!(read.raw_view().view_is_standard(), "{name}");
            assert_eq!(read.to_owned_array().unwrap(), source, "{name}");
        }
        let strided = base.slice(ndarray::s![..;-1, ..;2, 1..4]);
        MmapArray::create(path, &strided).unwrap();
        assert_eq!(MmapArray::<f64>::open_cow(path).unwrap().to_owned_array().unwrap(), strided.into_dyn());
    });
}

/// Whether a raw view lies in C order.
trait Standard {
    fn view_is_standard(&self) -> bool;
}

impl<A> Standard for ndarray::RawArrayView<A, IxDyn> {
    fn view_is_standard(&self) -> bool {
        let mut expected = 1;
        self.shape().iter().zip(self.strides()).rev().all(|(&n, &stride)| {
            let standard = n < 2 || stride == expected;
            expected *= n.cast_signed();
            standard
        })
    }
}

#[test]
fn fortran_order_files() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("f.npy");
    let source = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (i * 12 + j * 4 + k) as i16);
    let mut options = CreateOptions::new(Format::Npy);
    options.order = Order::Fortran;
    MmapArray::create_with(&path, &source, &options).unwrap();
    let read = MmapArray::<i16>::open_read_only(&path).unwrap();
    assert_eq!(read.strides(), &[1, 2, 6]);
    assert_eq!(read.to_owned_array().unwrap(), source.into_dyn());
}

#[test]
fn empty_and_zero_dimensional_arrays_reopen_in_every_mode() {
    each_format(|path| {
        let folder = path.parent().unwrap();
        let cases: &[(&str, Array<f64, IxDyn>)] = &[
            ("empty", Array::zeros(IxDyn(&[0]))),
            ("empty axis", Array::zeros(IxDyn(&[3, 0, 2]))),
            ("scalar", Array::from_elem(IxDyn(&[]), 2.5)),
        ];
        for (name, source) in cases {
            let file = folder.join(format!("{name}.{}", path.extension().unwrap().display()));
            MmapArray::create(&file, source).unwrap();
            for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
                let array = MmapArray::<f64>::open(&file, &OpenOptions::new(mode)).unwrap();
                assert_eq!(array.is_empty(), source.is_empty(), "{name} {mode}");
                assert_eq!(&array.to_owned_array().unwrap(), source, "{name} {mode}");
                array.flush().unwrap();
            }
        }
    });
}

#[test]
fn every_element_type_round_trips() {
    fn round_trip<A: Element + PartialEq + std::fmt::Debug>(values: &[A]) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.npy");
        let source = Array1::from_vec(values.to_vec());
        let written = MmapArray::create(&path, &source).unwrap();
        assert_eq!(written.dtype(), A::DTYPE);
        let read = DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        assert_eq!(read.to_owned_array::<A>().unwrap(), source.into_dyn(), "{}", A::DTYPE);
    }
    round_trip(&[Bool::from(true), Bool::from(false)]);
    round_trip(&[i8::MIN, -1, i8::MAX]);
    round_trip(&[0, u8::MAX]);
    round_trip(&[i16::MIN, i16::MAX]);
    round_trip(&[0, u16::MAX]);
    round_trip(&[i32::MIN, i32::MAX]);
    round_trip(&[0, u32::MAX]);
    round_trip(&[i64::MIN, i64::MAX]);
    round_trip(&[0, u64::MAX]);
    round_trip(&[f32::MIN_POSITIVE, f32::INFINITY, -0.0]);
    round_trip(&[f64::MAX, f64::NEG_INFINITY, 5e-324]);
    assert_eq!(DType::ALL.len(), 13);
}

#[test]
fn filled_arrays() {
    each_format(|path| {
        let options = CreateOptions::for_path(path).unwrap();
        // More than one block of the filler, and a block that ends in the middle.
        let shape = [300_000, 1, 3];
        let filled = MmapArray::create_filled(path, &shape, 1.25_f32, &options).unwrap();
        // SAFETY: nobody else has the file.
        assert!(unsafe { filled.view() }.iter().all(|&x| x.to_bits() == 1.25_f32.to_bits()));
    });
}

#[test]
fn elements_that_cannot_be_read_in_place_are_copied() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/npy");
    let open =
        |name: &str| DynMmapArray::open(fixtures.join(name), &OpenOptions::new(Mode::ReadOnly)).unwrap();

    let unaligned = open("no_padding_unaligned.npy");
    assert!(!unaligned.is_native());
    assert_eq!(unaligned.to_owned_array::<i32>().unwrap().shape(), &[2, 3]);
    assert!(matches!(unaligned.typed::<i32>(), Err(Error::NotContiguous { .. })));

    let big = open("bef4_F.npy");
    let values = big.to_owned_array::<f32>().unwrap();
    assert_eq!(values.shape(), &[2, 2, 3]);
    assert_eq!(values[[0, 0, 0]].to_bits(), (-22.5_f32).to_bits());
    assert!(values[[0, 0, 2]].is_nan());
    assert_eq!(big.typed::<f32>().is_ok(), cfg!(target_endian = "big"));
}

#[test]
fn debug_names_the_file_and_reads_nothing() {
    each_format(|path| {
        let array = MmapArray::create(path, &array![[1.0_f64, 2.0]]).unwrap();
        let text = format!("{array:?}");
        for part in [path.file_name().unwrap().to_str().unwrap(), "ReadWrite", "[1, 2]"] {
            assert!(text.contains(part), "{text}");
        }
    });
}

#[test]
fn send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<MmapArray<f64>>();
    shared::<DynMmapArray>();
}
