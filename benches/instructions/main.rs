//! Instructions of a command, a refusal, a transaction, a kilobyte of a message, a throttle and the ledger, counted by valgrind,
//! because times are noise and these are exact. They are compared with `counts.txt`; more than 3 % above it fails and is reported.
//!
//! Each work is run n times and 2n times, and the difference counts: start-up costs are in neither.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

mod reports;
mod store;
mod work;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::work::WINDOW;
use crate::work::WITHOUT_WINDOW;
use crate::work::WORKS;
use crate::work::Work;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Counts the instructions of single works, and compares them with those of counts.txt
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Options {
    /// Write what was counted to counts.txt, in place of comparing
    #[arg(long)]
    bless: bool,
    /// Only do this work, so many times
    #[arg(long, hide = true, num_args = 2)]
    work: Option<Vec<String>>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(work) = &options.work {
        let found = WORKS.iter().find(|known| known.name == work[0]).unwrap();
        (found.run)(work[1].parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let counts: Vec<(&str, u64)> = WORKS.iter().map(|work| (work.name, instructions(work))).collect();
    if options.bless {
        fs::write(file(), text(&counts)).unwrap();
        println!("{}", text(&counts));
        return ExitCode::SUCCESS;
    }
    let is_cheap = window(&counts);
    let outcome = compare(&counts);
    if is_cheap { outcome } else { ExitCode::FAILURE }
}

/// Whether metrics, history and the last records cost little of the path of a refusal, on in place of off.
fn window(counts: &[(&str, u64)]) -> bool {
    let of = |name: &str| counts.iter().find(|(known, _)| *known == name).unwrap().1;
    let (all, alone) = (of(WINDOW), of(WITHOUT_WINDOW));
    let path = of("reject") + alone;
    let share = (all - alone) as f64 / path as f64 * 100.0;
    println!("metrics, history and the last records: {share:+.1} % of the {path} instructions of a refusal");
    share <= TOLERANCE
}

/// Instructions of one unit of a work.
fn instructions(work: &Work) -> u64 {
    let of = |times: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
        valgrind.arg(std::env::current_exe().unwrap()).args(["--work", work.name, &times.to_string()]);
        let output = valgrind.output().expect("valgrind is installed");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let line =
            said.lines().find_map(|line| line.split_once("I   refs:")).expect("valgrind tells the instructions").1;
        line.trim().replace(',', "").parse::<u64>().unwrap()
    };
    (of(2 * work.times) - of(work.times)) / (work.times * work.units)
}

fn compare(counts: &[(&str, u64)]) -> ExitCode {
    let committed = fs::read_to_string(file()).unwrap_or_default();
    if !committed.starts_with(&made_by()) {
        println!("counts.txt is of another compiler or processor, nothing is compared; see --bless. Here:");
        println!("{}", text(counts));
        return ExitCode::SUCCESS;
    }
    let mut risen = Vec::new();
    for (name, count) in counts {
        let line = committed.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let Some(before) = line else {
            risen.push(format!("{name}: it is not in counts.txt"));
            continue;
        };
        let rise = (*count as f64 / before as f64 - 1.0) * 100.0;
        println!("{name:<24} {count:>9}  was {before:>9}  {rise:>+6.1} %");
        if rise > TOLERANCE {
            risen.push(format!("{name}: {} instructions more, {rise:.1} %", count - before));
        } else if rise < -TOLERANCE {
            println!("{:<24} less: keep it with --bless", "");
        }
    }
    if risen.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("\nMore than {TOLERANCE} % above benches/instructions/counts.txt:");
    risen.iter().for_each(|what| eprintln!("    {what}"));
    eprintln!(
        "If it is worth that, commit what this writes:\n    cargo bench --locked --bench instructions -- --bless"
    );
    ExitCode::FAILURE
}

fn text(counts: &[(&str, u64)]) -> String {
    counts.iter().fold(made_by(), |mut text, (name, count)| {
        let _ = writeln!(text, "{name:<24} {count:>9}");
        text
    })
}

/// The compiler and processor features of the counts: another compiler makes other instructions, and memchr and BLAKE3
/// have variants for each processor. valgrind offers a program no more than AVX2, so processors differ in nothing else.
fn made_by() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    let compiler = String::from_utf8(output.stdout).unwrap();
    #[cfg(target_arch = "x86_64")]
    let best = if std::is_x86_feature_detected!("avx2") { "with AVX2" } else { "without AVX2" };
    #[cfg(not(target_arch = "x86_64"))]
    let best = "";
    format!("{compiler}{} {best}\n", std::env::consts::ARCH)
}

fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/counts.txt"))
}

/// Percent by which a count may exceed its bound, and that metrics and history may cost.
const TOLERANCE: f64 = 3.0;
