//! `chancery store serve` as a process: killed without warning, started again, and asked the wrong way.

mod process;
mod steadfast;

use std::{io::Write as _, process::Stdio, sync::Arc};

use process::{Server, command};
use steadfast::Steadfast;
use store::{Keeping, contract_suite};

/// Each test of the contract has the server killed and started again in its middle.
async fn open() -> (Arc<dyn Keeping>, ()) {
    (Arc::new(Steadfast::new(Server::start(&["--insecure"])).await), ())
}

contract_suite!(open);

#[test]
fn a_line_of_the_users_file_is_printed_and_lets_its_user_in() {
    let mut child = command(&["store", "users", "hash", "other-hub", "--role", "hub"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"correct-horse-battery\n").unwrap();
    let line = child.wait_with_output().unwrap().stdout;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    std::fs::write(&file, &line).unwrap();
    let server = Server::start_with(&[], &[("STORE__SERVE__USERS_FILE", file.to_str().unwrap())]);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let connect = async |credentials: &str| server.connect(credentials).await;
        assert!(connect("other-hub:correct-horse-battery@").await.is_ok());
        for wrong in ["", "other-hub:wrong@", "nobody:correct-horse-battery@"] {
            assert!(connect(wrong).await.is_err(), "{wrong}");
        }
    });
}

#[test]
fn what_can_not_be_served_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str], environment: &[(&str, &str)]| {
        let data = ["store", "serve", "--data-dir", directory.path().to_str().unwrap()];
        let mut command = command(&[&data[..], arguments].concat());
        let environment = environment.iter().map(|(name, value)| (format!("CHANCERY_{name}"), value));
        let output = command.envs(environment).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&[], &[]).contains("the store has no users"));
    assert!(said(&["--insecure", "--listen", "0.0.0.0:0"], &[]).contains("open to everybody"));
    assert!(said(&["--insecure", "--listen", "nowhere"], &[]).contains("must be an IP address and a port"));
    let server = Server::start(&["--insecure"]);
    let taken = said(&["--insecure", "--listen", &server.address], &[]);
    assert!(taken.contains("is in use") && taken.contains("store.serve.listen"), "{taken}");
}

#[test]
fn a_password_too_short_is_refused() {
    let mut child = command(&["store", "users", "hash", "auditor", "--role", "read"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("12 to 512 bytes") && !said.contains("hunter2"),
        "{said}"
    );
}
