//! A command line over the seed (scirs2-core's `MmapArray`), so that a test can let the seed itself read, write
//! and edit a file instead of trusting our account of its format.
//!
//! What `write` stores is a rule of the element's index, so that every fixture can be made again.

mod serve;

use std::{env, error::Error, fs, panic, path::Path, process::ExitCode, str::FromStr};

use ndarray::{ArrayD, IxDyn};
use scirs2_core::memory::mmap_array::{MmapArray, MmapElement};

const USAGE: &str = "expected one of:
  seed read FILE DTYPE                  print the array as one line of JSON
  seed write FILE DTYPE SHAPE PATTERN   create FILE
  seed edit FILE DTYPE INDEX VALUE      change the element at the flat C-order INDEX in place
  seed rewrite FILE DTYPE OUT           read FILE, create OUT
  seed serve                            run the tasks of the benchmark
DTYPE is f32, f64, i32 or i64. SHAPE is 2,3,4 or scalar. PATTERN is ramp, alt or special,
with the first index behind it when that is not 0: ramp42.";

/// Bytes before the data in the seed's format.
const HEADER_BYTES: u64 = 64;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the patterns and the printing need to know of an element type.
trait Element: MmapElement + FromStr<Err: Error + 'static> {
    const DTYPE: &'static str;
    const SPECIALS: &'static [Self];

    fn ramp(index: i64) -> Self;

    fn wave(index: i64) -> Self;

    /// A value that needs every bit of an integer type; floats have none of their own.
    fn large(index: i64) -> Self;

    /// Text for JavaScript's `Number` (floats) or `BigInt` (integers).
    fn text(self) -> String;
}

/// A permutation of -1001..=1001 that starts at -988 and mostly falls by 93.
fn wave(index: i64) -> i32 {
    i32::try_from((1910 * (index % 2003) + 13) % 2003 - 1001).expect("within -1001..=1001")
}

macro_rules! float_element {
    ($type:ident) => {
        impl Element for $type {
            const DTYPE: &'static str = stringify!($type);
            const SPECIALS: &'static [Self] = &[
                -0.0,
                $type::NAN,
                $type::INFINITY,
                $type::NEG_INFINITY,
                $type::MAX,
                $type::MIN,
                $type::MIN_POSITIVE,
                $type::from_bits(1),
            ];

            fn ramp(index: i64) -> Self {
                index as $type
            }

            fn wave(index: i64) -> Self {
                wave(index) as $type / 8.0
            }

            fn large(index: i64) -> Self {
                Self::wave(index)
            }

            fn text(self) -> String {
                // As f64, because Number() would read the shortest text of an f32 as another value.
                let value = f64::from(self);
                match value {
                    f64::INFINITY => "Infinity".to_owned(),
                    f64::NEG_INFINITY => "-Infinity".to_owned(),
                    _ => format!("{value:?}"),
                }
            }
        }
    };
}

macro_rules! integer_element {
    ($type:ident, $factor:expr) => {
        impl Element for $type {
            const DTYPE: &'static str = stringify!($type);
            const SPECIALS: &'static [Self] = &[$type::MIN, $type::MAX, -1, 0];

            fn ramp(index: i64) -> Self {
                index as $type
            }

            fn wave(index: i64) -> Self {
                $type::from(wave(index))
            }

            fn large(index: i64) -> Self {
                Self::wave(index).wrapping_mul($factor)
            }

            fn text(self) -> String {
                self.to_string()
            }
        }
    };
}

float_element!(f32);
float_element!(f64);
integer_element!(i32, (1 << 21) - 9);
integer_element!(i64, (1 << 53) + 1);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The seed panics on some files and shapes; the panic's own message is on stderr by then.
    match panic::catch_unwind(|| run(&arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("seed: {error}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: &[&str]) -> Outcome<()> {
    if *arguments == ["serve"] {
        return serve::serve();
    }
    match arguments.get(2) {
        Some(&"f32") => command::<f32>(arguments),
        Some(&"f64") => command::<f64>(arguments),
        Some(&"i32") => command::<i32>(arguments),
        Some(&"i64") => command::<i64>(arguments),
        _ => Err(USAGE.into()),
    }
}

fn command<T: Element>(arguments: &[&str]) -> Outcome<()> {
    match *arguments {
        ["read", file, _] => read::<T>(Path::new(file)),
        ["write", file, _, shape, pattern] => write::<T>(Path::new(file), shape, pattern),
        ["edit", file, _, index, value] => edit::<T>(Path::new(file), index.parse()?, value.parse()?),
        ["rewrite", file, _, out] => rewrite::<T>(Path::new(file), Path::new(out)),
        _ => Err(USAGE.into()),
    }
}

fn read<T: Element>(file: &Path) -> Outcome<()> {
    let array = backed(MmapArray::<T>::open_read_only(file)?)?;
    let values: Vec<String> = array.view()?.iter().map(|value| format!("\"{}\"", value.text())).collect();
    println!(
        r#"{{"dtype": "{}", "shape": {:?}, "strides": {:?}, "len": {}, "values": [{}]}}"#,
        T::DTYPE,
        array.shape(),
        array.strides(),
        array.len(),
        values.join(", ")
    );
    Ok(())
}

fn write<T: Element>(file: &Path, shape: &str, pattern: &str) -> Outcome<()> {
    let shape: Vec<usize> = match shape {
        "scalar" => Vec::new(),
        list => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let count = shape.iter().try_fold(1_i64, |count, &dim| count.checked_mul(dim.try_into().ok()?));
    let count = count.ok_or("SHAPE has more than 2^63 - 1 elements: give a smaller one")?;

    let rule = pattern.trim_end_matches(|c: char| c.is_ascii_digit());
    let first: u32 = if rule == pattern { 0 } else { pattern[rule.len()..].parse()? };
    let values: Vec<T> =
        (0..count).map(|index| element(rule, index + i64::from(first))).collect::<Outcome<_>>()?;

    MmapArray::create(file, &ArrayD::from_shape_vec(IxDyn(&shape), values)?)?;
    Ok(())
}

fn element<T: Element>(rule: &str, index: i64) -> Outcome<T> {
    Ok(match rule {
        "ramp" => T::ramp(index),
        "alt" if index % 5 == 4 => T::large(index),
        "special" if index % 2 == 1 => T::SPECIALS[(index / 2) as usize % T::SPECIALS.len()],
        "alt" | "special" => T::wave(index),
        _ => return Err(format!("unknown PATTERN \"{rule}\": {USAGE}").into()),
    })
}

fn edit<T: Element>(file: &Path, index: usize, value: T) -> Outcome<()> {
    let mut array = backed(MmapArray::<T>::open_read_write(file)?)?;
    let len = array.len();
    let mut view = array.view_mut()?;
    let element = view.as_slice_mut().and_then(|values| values.get_mut(index));
    *element.ok_or_else(|| format!("INDEX {index} is out of range: the array has {len} elements"))? = value;
    array.flush()?;
    Ok(())
}

fn rewrite<T: Element>(file: &Path, out: &Path) -> Outcome<()> {
    let data = backed(MmapArray::<T>::open_read_only(file)?)?.to_owned_array()?;
    MmapArray::create(out, &data)?;
    Ok(())
}

/// Refuses an array whose file is shorter than its shape, because the seed would read past the end of the map.
fn backed<T: Element>(array: MmapArray<T>) -> Outcome<MmapArray<T>> {
    let found = fs::metadata(array.file_path())?.len();
    let item = u64::try_from(size_of::<T>())?;
    let data = array.shape().iter().try_fold(item, |bytes, &dim| bytes.checked_mul(dim.try_into().ok()?));
    match data.and_then(|bytes| bytes.checked_add(HEADER_BYTES)) {
        Some(needed) if found >= needed => Ok(array),
        Some(needed) => Err(format!(
            "{} has {found} bytes where shape {:?} of {} needs {needed}: the seed would read past the end",
            array.file_path().display(),
            array.shape(),
            T::DTYPE
        )
        .into()),
        None => Err(format!("shape {:?} is more than 2^64 - 1 bytes", array.shape()).into()),
    }
}
