//! The command line against real answers over real sockets.

use std::path::Path;

use axum::{Json, Router, extract::Request, routing::any};
use clap::Parser as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{args::ServerArgs, client::Client, *};

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_line_without_sense_is_refused_before_anything_is_done() {
    for line in [
        "chancery messages send --text hi",
        "chancery messages send --account a",
        "chancery messages send --account a --text hi --html <b>hi</b>",
        "chancery messages send --tenant 00000000-0000-0000-0000-000000000001 --text hi",
        "chancery history",
        "chancery history --person 00000000-0000-0000-0000-000000000001",
        "chancery api-keys create okr --role king",
        "chancery api-keys rotate okr --overlap soon",
        "chancery api-keys rotate okr --overlap=-1h",
        "chancery store users hash auditor --role king",
        "chancery store users hash auditor --role read --password x",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn good_command_lines_are_understood() {
    let id = "00000000-0000-0000-0000-000000000001";
    for line in [
        "chancery messages send --account a --text hi --json --url http://localhost:1".to_owned(),
        format!("chancery messages send --tenant {id} --person {id} --html hi"),
        format!("chancery history --tenant {id} --person {id} --json"),
        "chancery history --account alice".to_owned(),
        "chancery api-keys create okr --role service --expires-in 90d".to_owned(),
        "chancery serve --config hub.toml".to_owned(),
        "chancery store serve --config hub.toml --listen [::1]:0 --json".to_owned(),
        "chancery store users hash auditor --role read".to_owned(),
        "chancery projections rebuild messages.v3".to_owned(),
        "chancery health --live --url http://localhost:1".to_owned(),
    ] {
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

#[cfg(feature = "dev")]
#[test]
fn the_clock_of_dev_is_moved_by_lengths_of_time() {
    for (text, hours) in [("2h", 2), ("1d12h", 36), ("90d", 24 * 90)] {
        let cli = Cli::try_parse_from(["chancery", "dev", "clock", "advance", text]).unwrap();
        let Command::Dev(args::DevArgs {
            command: Some(args::DevCommand::Clock { command: args::ClockCommand::Advance { by } }),
            ..
        }) = cli.command
        else {
            panic!("{text}")
        };
        assert_eq!(by, std::time::Duration::from_hours(hours));
    }
}

#[test]
fn completions_know_the_commands() {
    let mut text = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "chancery", &mut text);
    assert!(String::from_utf8(text).unwrap().contains("api-keys"));
}

/// Answers everything with `answer`, and hands over what was asked.
async fn hub(status: u16, answer: Value) -> (ServerArgs, mpsc::UnboundedReceiver<(String, Value)>) {
    let (sender, asked) = mpsc::unbounded_channel();
    let handler = async move |request: Request| {
        let line =
            format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("authorization"));
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        sender.send((line, serde_json::from_slice(&body).unwrap_or_default())).unwrap();
        (axum::http::StatusCode::from_u16(status).unwrap(), Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(handler))).await.unwrap() });
    (ServerArgs { url: Some(url), ..ServerArgs::default() }, asked)
}

fn client(server: &ServerArgs) -> Client {
    Client::with(server, Some("chk_test".into()), Path::new("/nowhere")).unwrap()
}

#[tokio::test]
async fn a_request_carries_the_key_and_escapes_what_stands_in_its_path() {
    let (server, mut asked) = hub(200, json!({})).await;
    let request = client(&server).request(Method::GET, &["v1", "accounts", "a/b?c", "history"]).unwrap();
    client::send(request).await.unwrap();
    let (line, _) = asked.recv().await.unwrap();
    assert_eq!(line, r#"GET /v1/accounts/a%2Fb%3Fc/history Some("Bearer chk_test")"#);
}

#[tokio::test]
async fn a_problem_becomes_a_sentence() {
    let problem = json!({ "type": "/problems/invalid-request", "title": "The request is not valid", "status": 400,
        "detail": "`limit`: must be u32", "field": "limit" });
    let (server, _asked) = hub(400, problem).await;
    let error =
        client::send(client(&server).request(Method::GET, &["v1", "messages"]).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "The request is not valid: `limit`: must be u32");
}

#[tokio::test]
async fn without_an_address_the_dev_hub_is_asked_and_its_key_goes_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dev.json");
    let none = ServerArgs::default();
    let error = Client::with(&none, None, &path).unwrap_err().to_string();
    assert!(error.contains("chancery dev"), "{error}");

    let (server, mut asked) = hub(200, json!({})).await;
    std::fs::write(&path, json!({ "url": server.url, "api_key": "chk_dev" }).to_string()).unwrap();
    let client = Client::with(&none, None, &path).unwrap();
    client::send(client.request(Method::GET, &["v1"]).unwrap()).await.unwrap();
    assert!(asked.recv().await.is_some());

    let elsewhere = ServerArgs { url: Some("https://hub.example.com".into()), ..none.clone() };
    assert!(Client::with(&elsewhere, None, &path).unwrap_err().to_string().contains("API key"));
    let nameless = ServerArgs { url: Some("localhost:8600".into()), ..none };
    let error = Client::with(&nameless, Some("chk_test".into()), &path).unwrap_err().to_string();
    assert!(error.contains("must begin with http:// or https://"), "{error}");
}

#[tokio::test]
async fn messages_are_sent_as_the_api_wants_them() {
    let (server, mut asked) = hub(202, json!({ "id": "m", "position": "p" })).await;
    let mut sent = async |line: &str| {
        let mut words: Vec<_> = ["chancery", "messages", "send"].into_iter().map(str::to_owned).collect();
        words.extend(line.split(' ').map(str::to_owned));
        let Command::Messages { command: args::MessagesCommand::Send(args), .. } =
            Cli::try_parse_from(words).unwrap().command
        else {
            panic!("{line}")
        };
        messages::send_message(&client(&server), &args).await.unwrap();
        asked.recv().await.unwrap().1
    };
    assert_eq!(
        sent("--account alice --text hi").await,
        json!({ "recipient": { "account": "alice" }, "content": { "type": "text", "text": "hi" } })
    );
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!(
        sent(&format!("--tenant {id} --person {id} --html <b>hi</b>")).await,
        json!({ "recipient": { "tenant": id, "object_id": id }, "content": { "type": "html", "html": "<b>hi</b>" } })
    );
    assert_eq!(
        sent(r#"--account a --template key_result_progress --data {"title":"t","current":"0.10"}"#).await["content"],
        json!({ "type": "template", "template": "key_result_progress", "data": { "title": "t", "current": "0.10" } })
    );
}

#[tokio::test]
async fn health_is_told_by_the_exit_code_and_needs_no_key() {
    let behind =
        json!({ "ready": false, "checks": [{ "name": "due.v7", "ready": false, "reason": "catching up" }] });
    for (status, answer, live, good) in [
        (200, json!({ "ready": true, "checks": [] }), false, true),
        (503, behind, false, false),
        (204, Value::Null, true, true),
    ] {
        let (server, mut asked) = hub(status, answer).await;
        let args = args::HealthArgs { url: server.url, live, ..args::HealthArgs::default() };
        let code = health::run(&args).await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(u8::from(!good))));
        let path = if live { "live" } else { "ready" };
        assert_eq!(asked.recv().await.unwrap().0, format!("GET /health/{path} None"));
    }
    let (server, _asked) = hub(502, json!({ "from": "a proxy" })).await;
    let args = args::HealthArgs { url: server.url, ..args::HealthArgs::default() };
    assert!(health::run(&args).await.unwrap_err().to_string().contains("is this a hub's address"));
    let live = args::HealthArgs { live: true, ..args };
    assert!(health::run(&live).await.unwrap_err().to_string().contains("502"));
}
