//! The real program on a data directory with a million events and current read models: from starting the process until
//! `/health/ready` says yes, and how much memory it then holds at rest; against a process of the same binary that does
//! nothing. The goals: less than 300 ms and less than 40 MiB.
//!
//! The data is built once, under the build directory: `bench-data/start-v1`.
//!
//! `cargo bench -p chancery --bench start [-- <starts>]`

#[path = "start/data.rs"]
mod data;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

const BINARY: &str = env!("CARGO_BIN_EXE_chancery");
const STARTS: usize = 9;
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(10);

fn main() -> Result<()> {
    let starts = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(STARTS);
    let directory = data::ready()?;
    // The first one brings the read models up to date, should the program have changed since the data was built.
    let first = Running::start(&directory)?;
    println!("the first start took {:.0} ms", ms(first.took));
    first.stop()?;

    let (mut bare, mut orderly, mut killed, mut resident) = (vec![], vec![], vec![], vec![]);
    for start in 0..starts {
        bare.push(ms(do_nothing()?));
        let running = Running::start(&directory)?;
        orderly.push(ms(running.took));
        if start < 3 {
            std::thread::sleep(REST);
            resident.push(running.resident_mib()?);
        }
        running.kill()?;
        let running = Running::start(&directory)?;
        killed.push(ms(running.took));
        running.stop()?;
    }
    println!("{} events, {starts} starts | median | goal", data::EVENTS);
    println!("a process that does nothing  | {:>6.1} ms", median(bare));
    println!("ready after an orderly stop  | {:>6.0} ms | 300", median(orderly));
    println!("ready after kill -9          | {:>6.0} ms | 300", median(killed));
    println!("resident after 5 s at rest   | {:>6.1} MiB | 40", median(resident));
    println!("size of the binary           | {:>6.1} MiB", mib(std::fs::metadata(BINARY)?.len()));
    Ok(())
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn do_nothing() -> Result<Duration> {
    let begun = Instant::now();
    let ended = Command::new(BINARY).arg("--version").stdout(Stdio::null()).status()?;
    ensure!(ended.success(), "the program does not even tell its version");
    Ok(begun.elapsed())
}

/// A hub that is ready.
struct Running {
    child: Child,
    took: Duration,
}

impl Running {
    fn start(directory: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(BINARY);
        command.arg("serve").env_clear().envs(data::environment(directory));
        command.env("CHANCERY_SERVER__LISTEN", address.to_string()).env("CHANCERY_LOG__LEVEL", "warn");
        let begun = Instant::now();
        let mut child = command.spawn()?;
        while !is_ready(address) {
            if let Some(ended) = child.try_wait()? {
                anyhow::bail!("the hub ended before it was ready: {ended}");
            }
            ensure!(begun.elapsed() < PATIENCE, "the hub does not become ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { child, took: begun.elapsed() })
    }

    fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("Linux tells it")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(mib(kib * 1024))
    }

    fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        ensure!(told.success() && self.child.wait()?.success(), "the hub did not end well");
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
