//! The real binary, as a process that can be killed, with a Microsoft that survives it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread::JoinHandle,
};

use serde_json::Value;

use super::{api::Api, microsoft::Microsoft};

/// The program under test.
pub(crate) const CHANCERY: &str = env!("CARGO_BIN_EXE_chancery");

/// Settings for a hub that does not dawdle.
const QUICK: &[(&str, &str)] = &[
    ("DELIVERY__CHAT_INTERVAL_MS", "0"),
    ("DELIVERY__TENANT_PER_SECOND", "10000"),
    ("DELIVERY__BACKOFF_FIRST_MS", "20"),
    ("DELIVERY__BACKOFF_MAX_MS", "200"),
    ("DELIVERY__BREAKER_PAUSE_MS", "50"),
    ("DELIVERY__ATTEMPTS_MAX", "1000"),
    ("LIMITS__PER_ADDRESS_PER_SECOND", "100000"),
    ("LIMITS__PER_ADDRESS_BURST", "100000"),
];

/// A place for `chancery dev`, started there again and again.
pub(crate) struct Home {
    pub(crate) directory: PathBuf,
    pub(crate) url: String,
    port: u16,
    environment: Vec<(String, String)>,
}

impl Home {
    /// For a hub that talks to `microsoft`, whatever simulator it brings itself.
    pub(crate) fn new(directory: &Path, port: u16, microsoft: &Microsoft, more: &[(&str, &str)]) -> Self {
        let ours = [
            ("MICROSOFT__AUTHORITY", microsoft.url.as_str()),
            ("MICROSOFT__GRAPH_BASE", &format!("{}/v1.0", microsoft.url)),
            ("MICROSOFT__CLIENT_SECRET", &microsoft.settings.client_secret),
        ];
        let settings = QUICK.iter().chain(&ours).chain(more);
        let environment = settings.map(|(key, value)| (format!("CHANCERY_{key}"), (*value).to_owned()));
        let url = format!("http://localhost:{port}");
        Self { directory: directory.to_owned(), url, port, environment: environment.collect() }
    }

    /// Starts the program, and answers once it says that it runs.
    pub(crate) fn start(&self) -> Hub {
        let log = self.directory.join("stderr.log");
        let mut child = Command::new(CHANCERY)
            .args(["dev", "--port", &self.port.to_string()])
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = File::options().create(true).append(true).open(log).unwrap();
        let mut said = String::new();
        while !said.contains("Chancery runs") {
            let read = lines.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended with {}: {said}", child.wait().unwrap());
        }
        // What it says later goes to the file too, and the pipe never fills up.
        let logger = std::thread::spawn(move || {
            log.write_all(said.as_bytes()).unwrap();
            std::io::copy(&mut lines, &mut log).unwrap();
        });
        Hub { child, logger: Some(logger) }
    }

    /// What the program left for its user.
    pub(crate) fn dev_file(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.directory.join(".chancery/dev.json")).unwrap()).unwrap()
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url, self.dev_file()["api_key"].as_str().unwrap())
    }

    /// What the program wrote to standard error, once it is dead.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr.log")).unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join(".chancery/data")
    }
}

/// A running program; it is killed with the test.
pub(crate) struct Hub {
    child: Child,
    logger: Option<JoinHandle<()>>,
}

impl Hub {
    /// `kill -9`.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.kill().unwrap();
        // All that it said is in the file then.
        self.logger.take().map(JoinHandle::join).transpose().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may be dead already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free and whose next one is, below those that systems give out by themselves. No other test draws them
/// for as long as this process lives, whether a program listens there or is just being started again.
pub(crate) fn two_free_ports() -> u16 {
    /// What is drawn is marked by a socket for datagrams, which all processes see and the program has no use for.
    static DRAWN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let first = 20_000 + u16::try_from(std::process::id() % 4_000).unwrap() * 2;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let drawn = (first..30_000).chain(15_000..20_000).step_by(2).find_map(|port| {
        let mark = UdpSocket::bind(("127.0.0.1", port)).ok()?;
        (free(port) && free(port + 1)).then_some((port, mark))
    });
    let (port, mark) = drawn.expect("two free ports");
    DRAWN.lock().unwrap().push(mark);
    port
}
