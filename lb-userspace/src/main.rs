//! The `fairway` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairway::cli::main()
}
