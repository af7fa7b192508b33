//! What array files hold, without mapping them: `cargo run --example list -- FILE...`

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in std::env::args_os().skip(1) {
        match mmap_ndarray_core::list(&path, None) {
            Ok(entries) => {
                println!("{}", path.display());
                for entry in entries {
                    println!("  {:?} {} {:?} at byte {}", entry.name, entry.dtype, entry.shape, entry.offset);
                }
            }
            Err(error) => {
                eprintln!("{error} ({})", error.code());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
