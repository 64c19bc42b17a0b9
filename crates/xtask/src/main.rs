//! The checks that CI runs: `cargo xtask check`, and what has to be made anew by hand: `cargo xtask schemas`.

use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask check     formatting, lints (all warnings are errors) and all tests
cargo xtask schemas   writes schemas/ anew from the code
";

/// Each check, in the order of how soon it can tell that something is wrong.
const CHECKS: [&[&str]; 3] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"],
    &["test", "--workspace"],
];

/// The test that compares schemas with the code writes them instead when `UPDATE_SCHEMAS` is set.
const SCHEMAS: &[&str] = &["test", "--package", "chancery", "--test", "house", "--", "schemas"];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let good = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => CHECKS.iter().all(|check| cargo(check, &[])),
        ["schemas"] => cargo(SCHEMAS, &[("UPDATE_SCHEMAS", "1")]),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> bool {
    eprintln!("+ cargo {}", arguments.join(" "));
    let status = Command::new(env!("CARGO")).args(arguments).envs(environment.iter().copied()).status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo can't be run: {error}");
            false
        }
    }
}
