//! `chancery store serve` as a process on a directory of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use store::{
    StoreError,
    eventstoredb::{EventStoreDb, Options},
};
use tempfile::TempDir;

/// How long something may take that should come at once: it only ends a test that would otherwise hang.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test, with nothing of this process's environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.args(arguments).env_clear();
    command
}

/// A server that is killed with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (format!("CHANCERY_{name}"), (*value).to_owned()))
            .collect();
        let (child, address) = spawn(&directory, "127.0.0.1:0", &arguments, &environment)
            .unwrap_or_else(|ended| panic!("it ended with {ended}"));
        Self { child, address, arguments, environment, directory }
    }

    pub(crate) fn kill_and_start_again(&mut self) {
        self.kill();
        self.start_again();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new process at the same address. Another test may have been given the port meanwhile, so it is tried for a while.
    pub(crate) fn start_again(&mut self) {
        let begun = Instant::now();
        self.child = loop {
            match spawn(&self.directory, &self.address, &self.arguments, &self.environment) {
                Ok((child, _)) => break child,
                Err(ended) => assert!(begun.elapsed() < PATIENCE, "it ended with {ended}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
    }

    /// `credentials` are empty, or `name:password@`.
    pub(crate) async fn connect(&self, credentials: &str) -> Result<EventStoreDb, StoreError> {
        let string = format!("esdb://{credentials}{}?tls=false", self.address);
        let store = EventStoreDb::new(string.parse().unwrap(), Options::default())?;
        store.identify().await?;
        Ok(store)
    }
}

/// Answers once the program says where it listens, or how it ended without.
fn spawn(
    directory: &TempDir,
    listen: &str,
    arguments: &[String],
    environment: &[(String, String)],
) -> Result<(Child, String), ExitStatus> {
    let data = directory.path().join("data");
    let mut child = command(&["store", "serve", "--data-dir", data.to_str().unwrap(), "--listen", listen])
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    if address.is_empty() { Err(child.wait().unwrap()) } else { Ok((child, address.trim().to_owned())) }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
