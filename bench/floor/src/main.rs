//! The floor: what a task costs when a program maps the file and runs one plain loop, on one thread or two.
//!
//! Nothing is checked here that the library checks: no dtype at run time beyond choosing the loop, no strides, no NaN,
//! no file that shrinks, no cancelling. Memory is seen as slices, which the library must never do; nobody else writes these
//! files meanwhile. So a ratio to the floor says what all of that costs.
//!
//! It reads requests from standard input, a line each of `key=value` parted by tabs, and answers each with a line of JSON:
//! `{"value": nanoseconds, "answer": [numbers]}` or `{"error": text}`. It times itself, so no pipe is in the time.

mod loops;
mod map;
mod tasks;
mod threads;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One request, as it was written.
pub(crate) struct Request(HashMap<String, String>);

impl Request {
    fn parse(line: &str) -> Self {
        Self(
            line.split('\t')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    pub(crate) fn text(&self, key: &str) -> Outcome<&str> {
        Ok(self.0.get(key).ok_or_else(|| format!("the request has no {key}"))?)
    }

    pub(crate) fn number(&self, key: &str) -> Outcome<usize> {
        Ok(self.text(key)?.parse()?)
    }

    /// A number that may be left out.
    pub(crate) fn optional(&self, key: &str) -> Option<usize> {
        self.number(key).ok()
    }
}

/// What a task took, and what it found.
pub(crate) struct Reply {
    pub(crate) nanos: u128,
    pub(crate) answer: Vec<f64>,
}

fn main() -> io::Result<()> {
    let mut tasks = tasks::Tasks::default();
    for line in io::stdin().lock().lines() {
        let reply = match tasks.run(&Request::parse(&line?)) {
            Ok(Reply { nanos, answer }) => format!(r#"{{"value": {nanos}, "answer": {answer:?}}}"#),
            Err(error) => format!(r#"{{"error": {:?}}}"#, error.to_string()),
        };
        println!("{reply}");
        io::stdout().flush()?;
    }
    Ok(())
}
