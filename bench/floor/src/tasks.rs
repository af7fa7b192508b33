//! The tasks by name. What a task needs is made before its clock starts; files stay mapped until `forget`.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::time::Instant;

use crate::loops::{self, Number};
use crate::map::{self, HEADER, Map, Mode};
use crate::{Outcome, Reply, Request};

/// What a program that runs tasks keeps between them.
#[derive(Default)]
pub(crate) struct Tasks(HashMap<String, Map>);

impl Tasks {
    pub(crate) fn run(&mut self, request: &Request) -> Outcome<Reply> {
        match request.text("op")? {
            "make" => timed(|| make(request)),
            "evict" => timed(|| map::evict(request.text("path")?).map(|()| Vec::new())),
            "sync" => timed(|| {
                File::open(request.text("path")?)?.sync_all().map(|()| Vec::new()).map_err(Into::into)
            }),
            "forget" => {
                self.0.clear();
                timed(|| Ok(Vec::new()))
            }
            "create" => create(request),
            "open" => open(request),
            "cow" => cow(request),
            "edit" => edit(request),
            _ => self.read(request),
        }
    }

    fn read(&mut self, request: &Request) -> Outcome<Reply> {
        let path = request.text("path")?;
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), Map::open(path, Mode::Read)?);
        }
        let map = self.0.get(path).ok_or("the map was just put there")?;
        match request.text("dtype")? {
            "float32" if matches!(request.text("op")?, "take" | "topk") => {
                rows(request, map.elements(HEADER))
            }
            "float32" => reduce::<f32>(request, map.elements(HEADER)),
            "float64" => reduce::<f64>(request, map.elements(HEADER)),
            "int32" => reduce::<i32>(request, map.elements(HEADER)),
            "uint8" => reduce::<u8>(request, map.elements(HEADER)),
            other => Err(format!("no loops for {other}").into()),
        }
    }
}

fn timed(task: impl FnOnce() -> Outcome<Vec<f64>>) -> Outcome<Reply> {
    let start = Instant::now();
    let answer = task()?;
    Ok(Reply { nanos: start.elapsed().as_nanos(), answer })
}

fn reduce<T: Number>(request: &Request, all: &[T]) -> Outcome<Reply> {
    let all = &all[..request.optional("first").unwrap_or(all.len())];
    let threads = request.optional("threads").unwrap_or(1);
    let [rows, columns] = [request.number("rows")?, request.number("columns")?];
    let fortran = request.text("order")? == "F";
    let width = if fortran { rows } else { columns };
    // In Fortran order the lines of the file are columns.
    let along_lines = |axis: usize| (axis == 1) != fortran;
    timed(|| {
        Ok(match (request.text("op")?, request.optional("axis"), request.optional("column")) {
            ("sum", Some(axis), _) if along_lines(axis) => digest(&loops::sum_each(all, width, threads)),
            ("sum", Some(_), _) => digest(&loops::sum_lines(all, width, threads)),
            ("sum", _, Some(column)) if fortran => {
                vec![loops::sum(&all[column * width..(column + 1) * width], threads)]
            }
            ("sum", _, Some(column)) => vec![loops::sum_across(all, width, column, threads)],
            ("sum", ..) => vec![loops::sum(all, threads)],
            ("exact", ..) => vec![loops::exact_sum(all)],
            ("mean", ..) => vec![loops::sum(all, threads) / all.len() as f64],
            ("var", ..) => vec![loops::var(all, threads)],
            ("std", ..) => vec![loops::var(all, threads).sqrt()],
            ("min", ..) => vec![loops::extreme::<T, false>(all, threads)],
            ("max", ..) => vec![loops::extreme::<T, true>(all, threads)],
            ("minmax", ..) => loops::minmax(all, threads),
            ("argmin", ..) => vec![loops::argextreme::<T, false>(all, threads)],
            ("argmax", ..) => vec![loops::argextreme::<T, true>(all, threads)],
            (other, ..) => return Err(format!("no such task: {other}").into()),
        })
    })
}

fn rows(request: &Request, all: &[f32]) -> Outcome<Reply> {
    let threads = request.optional("threads").unwrap_or(1);
    let [rows, width, k] = [request.number("rows")?, request.number("columns")?, request.number("k")?];
    if request.text("op")? == "take" {
        let chosen: Vec<usize> = (0..k).map(|n| (n * 2_654_435_761) % (1 << 32) % rows).collect();
        let start = Instant::now();
        let taken = loops::take(all, width, &chosen, threads);
        let nanos = start.elapsed().as_nanos();
        return Ok(Reply { nanos, answer: digest(&taken.into_iter().map(f64::from).collect::<Vec<_>>()) });
    }
    let query: Vec<f32> = (0..width).map(|n| ((n * 7919 % 1000) as f64 / 1000.0 - 0.5) as f32).collect();
    timed(|| Ok(loops::topk(all, &query, k, threads).iter().map(|&(_, row)| row as f64).collect()))
}

/// Many numbers as a few: how many, three of them, and their sum.
fn digest(values: &[f64]) -> Vec<f64> {
    let [Some(first), Some(middle), Some(last)] =
        [0, values.len() / 2, values.len().saturating_sub(1)].map(|n| values.get(n))
    else {
        return vec![0.0];
    };
    vec![values.len() as f64, *first, *middle, *last, values.iter().sum()]
}

fn create(request: &Request) -> Outcome<Reply> {
    let (path, bytes) = (request.text("new")?, HEADER + 4 * request.number("count")?);
    let reply = timed(|| {
        map::reserve(path, bytes)?;
        let mut map = Map::open(path, Mode::Write)?;
        map.elements_mut::<f32>(HEADER).fill(1.5);
        map.flush()?;
        Ok(vec![f64::from(map.elements::<f32>(HEADER)[0]), (bytes - HEADER) as f64])
    });
    std::fs::remove_file(path)?;
    reply
}

/// The fastest of many, as all do it for what takes microseconds.
fn fastest(times: usize, mut task: impl FnMut() -> Outcome<Reply>) -> Outcome<Reply> {
    let mut best = task()?;
    for _ in 1..times {
        best.nanos = best.nanos.min(task()?.nanos);
    }
    Ok(best)
}

fn open(request: &Request) -> Outcome<Reply> {
    let path = request.text("path")?;
    fastest(request.number("times")?, || timed(|| Ok(vec![map::touch(path)?])))
}

/// The first write to a private mapping; each time to a new one.
fn cow(request: &Request) -> Outcome<Reply> {
    let path = request.text("path")?;
    fastest(request.number("times")?, || {
        let mut map = Map::open(path, Mode::Private)?;
        let elements = map.elements_mut::<f32>(HEADER);
        timed(|| {
            black_box(&mut *elements)[0] = 7.0;
            Ok(vec![f64::from(black_box(&*elements)[0])])
        })
    })
}

/// One write to each thousandth page of a private mapping.
fn edit(request: &Request) -> Outcome<Reply> {
    let (path, step, count) = (request.text("path")?, request.number("step")?, request.number("count")?);
    timed(|| {
        let mut map = Map::open(path, Mode::Private)?;
        let elements = map.elements_mut::<f32>(HEADER);
        for at in (0..count).step_by(step) {
            elements[at] = 7.0;
        }
        Ok(vec![black_box(&*elements)[0].into()])
    })
}

/// Appends one element.
type Append = Box<dyn FnMut(&mut Vec<u8>)>;

/// Makes a file: of numbers from 0.5 to 1.5, integers of either sign, or bytes; none of them zero unless all are, in a hole.
fn make(request: &Request) -> Outcome<Vec<f64>> {
    let (path, dtype) = (request.text("path")?, request.text("dtype")?);
    let shape = [request.number("rows")?, request.number("columns")?];
    let fortran = request.text("order")? == "F";
    // Both orders hold the same bytes, and so not the same array.
    let (lines, width) = (shape[0], shape[1]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (descr, itemsize, mut one): (_, usize, Append) = match dtype {
        "float32" => (
            "<f4",
            4,
            Box::new(move |out| {
                let value = 0.5 + (next() >> 41) as f32 / (1 << 23) as f32;
                out.extend(value.to_le_bytes());
            }),
        ),
        "float64" => (
            "<f8",
            8,
            Box::new(move |out| {
                let value = 0.5 + (next() >> 12) as f64 / (1_u64 << 52) as f64;
                out.extend(value.to_le_bytes());
            }),
        ),
        "int32" => (
            "<i4",
            4,
            Box::new(move |out| {
                let value = ((next() >> 34) as i32 | 1) - (1 << 29);
                out.extend(value.to_le_bytes());
            }),
        ),
        "uint8" => ("|u1", 1, Box::new(move |out| out.push((next() >> 33) as u8 | 1))),
        other => return Err(format!("cannot make {other}").into()),
    };
    let lines = if request.optional("zeros") == Some(1) { 0 } else { lines };
    map::make(path, (descr, fortran, shape), lines, |out| (0..width).for_each(|_| one(out)))?;
    if lines == 0 {
        // A hole as long as the elements would be.
        let file = File::options().write(true).open(path)?;
        file.set_len(u64::try_from(HEADER + itemsize * shape[0] * shape[1])?)?;
    }
    Ok(Vec::new())
}
