//! The loops: written so that the compiler keeps several vectors of results going, which is all a loop over memory needs.

use std::ops::Range;

use crate::threads::share;

/// Bytes of a chunk of work.
const CHUNK: usize = 1 << 20;
/// Elements among which the place of the least is looked for a second time.
const BLOCK: usize = 2048;

/// An element type, and its loops over one chunk.
pub(crate) trait Number: Copy + PartialOrd + Send + Sync {
    fn float(self) -> f64;
    /// The sum of a chunk; exact for integers.
    fn sum(chunk: &[Self]) -> f64;
    /// The sums of what a chunk's elements and their squares are, taken from `shift` on.
    fn spread(chunk: &[Self], shift: f64) -> (f64, f64);
    /// The least and the greatest element of a chunk that is not empty.
    fn minmax(chunk: &[Self]) -> (Self, Self);
    /// The least element of a chunk that is not empty; the greatest where `GREATEST` says so.
    fn extreme<const GREATEST: bool>(chunk: &[Self]) -> Self;
}

/// Whether `a` takes the place of `b`.
#[inline(always)]
fn beats<const GREATEST: bool, T: PartialOrd>(a: T, b: T) -> bool {
    if GREATEST { a > b } else { a < b }
}

macro_rules! number {
    ($type:ident, $lanes:literal, |$sum_of:ident| $sum:expr, |$spread_of:ident, $shift:ident| $spread:expr) => {
        impl Number for $type {
            fn float(self) -> f64 {
                self as f64
            }

            fn sum($sum_of: &[Self]) -> f64 {
                $sum
            }

            fn spread($spread_of: &[Self], $shift: f64) -> (f64, f64) {
                $spread
            }

            fn minmax(chunk: &[Self]) -> (Self, Self) {
                let (mut low, mut high) = ([chunk[0]; $lanes], [chunk[0]; $lanes]);
                let (lines, rest) = chunk.as_chunks::<$lanes>();
                for line in lines {
                    for n in 0..$lanes {
                        low[n] = if line[n] < low[n] { line[n] } else { low[n] };
                        high[n] = if line[n] > high[n] { line[n] } else { high[n] };
                    }
                }
                let all = || low.iter().chain(&high).chain(rest).copied();
                let least = all().fold(chunk[0], |a, b| if b < a { b } else { a });
                (least, all().fold(chunk[0], |a, b| if b > a { b } else { a }))
            }

            fn extreme<const GREATEST: bool>(chunk: &[Self]) -> Self {
                let mut best = [chunk[0]; $lanes];
                let (lines, rest) = chunk.as_chunks::<$lanes>();
                for line in lines {
                    for n in 0..$lanes {
                        best[n] = if beats::<GREATEST, _>(line[n], best[n]) { line[n] } else { best[n] };
                    }
                }
                let all = best.iter().chain(rest).copied();
                all.fold(chunk[0], |a, b| if beats::<GREATEST, _>(b, a) { b } else { a })
            }
        }
    };
}

number!(f32, 64, |chunk| float_sum(chunk), |chunk, shift| float_spread(chunk, shift));
number!(f64, 32, |chunk| float_sum(chunk), |chunk, shift| float_spread(chunk, shift));
number!(i32, 64, |chunk| chunk.iter().map(|&v| i64::from(v)).sum::<i64>() as f64, |chunk, shift| {
    float_spread(chunk, shift)
});
number!(u8, 256, |chunk| chunk.iter().map(|&v| u32::from(v)).sum::<u32>() as f64, |chunk, shift| {
    // The squares of 65,536 bytes are less than 2^32.
    let parts = chunk.chunks(1 << 16).map(|part| {
        let sum = part.iter().map(|&v| u32::from(v)).sum::<u32>();
        let squares = part.iter().map(|&v| u32::from(v) * u32::from(v)).sum::<u32>();
        (f64::from(sum), f64::from(squares))
    });
    let (sum, squares) = parts.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let count = chunk.len() as f64;
    (sum - count * shift, squares - 2.0 * shift * sum + count * shift * shift)
});

fn float_sum<T: Number>(chunk: &[T]) -> f64 {
    let mut sums = [0.0; 32];
    let (lines, rest) = chunk.as_chunks::<32>();
    for line in lines {
        for n in 0..32 {
            sums[n] += line[n].float();
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|v| v.float()).sum::<f64>()
}

fn float_spread<T: Number>(chunk: &[T], shift: f64) -> (f64, f64) {
    let (mut sums, mut squares) = ([0.0; 16], [0.0; 16]);
    let (lines, rest) = chunk.as_chunks::<16>();
    for line in lines {
        for n in 0..16 {
            let d = line[n].float() - shift;
            sums[n] += d;
            squares[n] = d.mul_add(d, squares[n]);
        }
    }
    let rest = rest.iter().map(|v| v.float() - shift);
    let sum = sums.iter().sum::<f64>() + rest.clone().sum::<f64>();
    (sum, squares.iter().sum::<f64>() + rest.map(|d| d * d).sum::<f64>())
}

/// Goes through all elements in chunks.
fn chunks<T: Number, R: Send>(
    all: &[T],
    threads: usize,
    start: impl Fn() -> R + Sync,
    work: impl Fn(&mut R, &[T], usize) + Sync,
) -> Vec<R> {
    let step = CHUNK / size_of::<T>();
    share(all.len(), step, threads, start, |made, part| work(made, &all[part.clone()], part.start))
}

pub(crate) fn sum<T: Number>(all: &[T], threads: usize) -> f64 {
    chunks(all, threads, || 0.0, |sum, chunk, _| *sum += T::sum(chunk)).iter().sum()
}

/// The sum as if in twice the precision of `f64`: what others are measured by.
pub(crate) fn exact_sum<T: Number>(all: &[T]) -> f64 {
    let mut sums = [(0.0_f64, 0.0_f64); 8];
    for line in all.chunks(8) {
        for (v, (sum, lost)) in line.iter().zip(&mut sums) {
            two_sum(v.float(), sum, lost);
        }
    }
    let (mut sum, mut lost) = (0.0, 0.0);
    for (s, l) in sums {
        two_sum(s, &mut sum, &mut lost);
        lost += l;
    }
    sum + lost
}

/// Adds `v` to `sum`, and what that loses to `lost`.
#[inline(always)]
fn two_sum(v: f64, sum: &mut f64, lost: &mut f64) {
    let new = *sum + v;
    let of_v = new - *sum;
    *lost += (*sum - (new - of_v)) + (v - of_v);
    *sum = new;
}

pub(crate) fn var<T: Number>(all: &[T], threads: usize) -> f64 {
    let shift = all[0].float();
    let parts = chunks(
        all,
        threads,
        || (0.0, 0.0),
        |made: &mut (f64, f64), chunk, _| {
            let (sum, squares) = T::spread(chunk, shift);
            *made = (made.0 + sum, made.1 + squares);
        },
    );
    let (sum, squares) = parts.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let count = all.len() as f64;
    (squares - sum * sum / count) / count
}

pub(crate) fn extreme<T: Number, const GREATEST: bool>(all: &[T], threads: usize) -> f64 {
    let found = chunks(
        all,
        threads,
        || all[0],
        |best, chunk, _| {
            let one = T::extreme::<GREATEST>(chunk);
            *best = if beats::<GREATEST, _>(one, *best) { one } else { *best };
        },
    );
    found.into_iter().reduce(|a, b| if beats::<GREATEST, _>(b, a) { b } else { a }).map_or(f64::NAN, T::float)
}

pub(crate) fn minmax<T: Number>(all: &[T], threads: usize) -> Vec<f64> {
    let found = chunks(
        all,
        threads,
        || (all[0], all[0]),
        |(low, high), chunk, _| {
            let (least, greatest) = T::minmax(chunk);
            *low = if least < *low { least } else { *low };
            *high = if greatest > *high { greatest } else { *high };
        },
    );
    let low = found.iter().map(|(low, _)| low.float()).fold(f64::INFINITY, f64::min);
    vec![low, found.iter().map(|(_, high)| high.float()).fold(f64::NEG_INFINITY, f64::max)]
}

pub(crate) fn argextreme<T: Number, const GREATEST: bool>(all: &[T], threads: usize) -> f64 {
    let found = chunks(
        all,
        threads,
        || (all[0], 0..1),
        |best: &mut (T, Range<usize>), chunk, start| {
            for (n, block) in chunk.chunks(BLOCK).enumerate() {
                let one = T::extreme::<GREATEST>(block);
                let from = start + n * BLOCK;
                if beats::<GREATEST, _>(one, best.0) {
                    *best = (one, from..from + block.len());
                }
            }
        },
    );
    let places = found.iter().filter_map(|(value, block)| {
        let place = all[block.clone()].iter().position(|v| v == value)?;
        Some((*value, block.start + place))
    });
    let first =
        places.reduce(|a, b| if beats::<GREATEST, _>(b.0, a.0) || (b.0 == a.0 && b.1 < a.1) { b } else { a });
    first.map_or(f64::NAN, |(_, place)| place as f64)
}

/// The sums of lines: what is left of an axis when lines of `width` are added up.
pub(crate) fn sum_lines<T: Number>(all: &[T], width: usize, threads: usize) -> Vec<f64> {
    let step = (CHUNK / size_of::<T>() / width).max(1);
    let parts = share(
        all.len() / width,
        step,
        threads,
        || vec![0.0; width],
        |sums, lines| {
            let lines = &all[lines.start * width..lines.end * width];
            let mut fours = lines.chunks_exact(4 * width);
            for four in &mut fours {
                let (ab, cd) = four.split_at(2 * width);
                let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
                for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                    *sum += (a.float() + b.float()) + (c.float() + d.float());
                }
            }
            for line in fours.remainder().chunks_exact(width) {
                for (sum, v) in sums.iter_mut().zip(line) {
                    *sum += v.float();
                }
            }
        },
    );
    parts.into_iter().reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect()).unwrap_or_default()
}

/// The sum of each line of `width`.
pub(crate) fn sum_each<T: Number>(all: &[T], width: usize, threads: usize) -> Vec<f64> {
    let lines = all.len() / width;
    let step = (CHUNK / size_of::<T>() / width).max(1);
    let parts = share(lines, step, threads, Vec::new, |made: &mut Vec<(usize, Vec<f64>)>, part| {
        let sums = part.clone().map(|n| float_sum(&all[n * width..(n + 1) * width]));
        made.push((part.start, sums.collect()));
    });
    let mut sums = vec![0.0; lines];
    for (start, part) in parts.into_iter().flatten() {
        sums[start..start + part.len()].copy_from_slice(&part);
    }
    sums
}

/// The sum of one element of each line.
pub(crate) fn sum_across<T: Number>(all: &[T], width: usize, at: usize, threads: usize) -> f64 {
    let parts = share(
        all.len() / width,
        1 << 14,
        threads,
        || 0.0,
        |sum, lines| {
            *sum += lines.map(|n| all[n * width + at].float()).sum::<f64>();
        },
    );
    parts.iter().sum()
}

/// Copies of rows into new memory.
pub(crate) fn take(all: &[f32], width: usize, rows: &[usize], threads: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * width];
    let part = rows.len().div_ceil(threads);
    let copy = |out: &mut [f32], rows: &[usize]| {
        for (to, &row) in out.chunks_exact_mut(width).zip(rows) {
            to.copy_from_slice(&all[row * width..(row + 1) * width]);
        }
    };
    std::thread::scope(|scope| {
        let mut work: Vec<_> = out.chunks_mut(part * width).zip(rows.chunks(part)).collect();
        let mine = work.pop();
        for (to, rows) in work {
            scope.spawn(move || copy(to, rows));
        }
        if let Some((to, rows)) = mine {
            copy(to, rows);
        }
    });
    out
}

/// The rows with the greatest products with `query`, the best first.
pub(crate) fn topk(all: &[f32], query: &[f32], k: usize, threads: usize) -> Vec<(f32, usize)> {
    let width = query.len();
    let step = (CHUNK / 4 / width).max(1);
    let parts = share(all.len() / width, step, threads, Vec::new, |best: &mut Vec<(f32, usize)>, rows| {
        for row in rows {
            let score = dot(&all[row * width..(row + 1) * width], query);
            if best.len() == k && score <= best[k - 1].0 {
                continue;
            }
            let place = best.partition_point(|&(other, _)| other >= score);
            best.insert(place, (score, row));
            best.truncate(k);
        }
    });
    let mut all: Vec<_> = parts.into_iter().flatten().collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

fn dot(row: &[f32], query: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 32];
    let ((a, rest), (b, _)) = (row.as_chunks::<32>(), query.as_chunks::<32>());
    for (a, b) in a.iter().zip(b) {
        for n in 0..32 {
            sums[n] = a[n].mul_add(b[n], sums[n]);
        }
    }
    let tail = rest.iter().zip(&query[row.len() - rest.len()..]).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + tail.sum::<f32>()
}
