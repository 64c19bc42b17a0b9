//! Each fault, as its caller sees it, and what is stored in spite of it.

use chancery_microsoft_simulator::{Fault, Garbage, Kind};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::*;

const fn status(status: u16) -> Kind {
    Kind::Status { status, retry_after_seconds: None }
}

#[tokio::test]
async fn every_status_can_be_asked_for_and_stores_nothing() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    for expected in [400, 401, 403, 404, 412, 423, 429, 500, 502, 503, 504] {
        microsoft.fault("graph.post", status(expected));
        let answer = microsoft.post(&token, &chat, &hello()).send().await.unwrap();
        assert_eq!(answer.status(), expected);
        assert!(!answer.headers().contains_key("retry-after"));
        assert_eq!(answer.headers().contains_key("www-authenticate"), expected == 401);
        let (_, body) = read(answer).await;
        assert!(body["error"]["innerError"]["request-id"].is_string());
        assert_eq!(microsoft.count("graph.post", expected), 1);
    }
    microsoft.fault("graph.post", Kind::Status { status: 429, retry_after_seconds: Some(7) });
    let answer = microsoft.post(&token, &chat, &hello()).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(microsoft.stored(ADA), 0);
    assert_eq!(asked(microsoft.post(&token, &chat, &hello())).await.0, 201);
}

#[tokio::test]
async fn the_token_endpoint_fails_in_entras_words() {
    let microsoft = Microsoft::start().await;
    let token = text(&microsoft.sign_in(ADA).await, "refresh_token");
    for (kind, expected, code) in [
        (status(503), 503, 90033),
        (status(429), 429, 90055),
        (Kind::Aadsts { code: 50196 }, 400, 50196),
        (Kind::Aadsts { code: 90033 }, 503, 90033),
    ] {
        microsoft.fault("token", kind);
        let answer = microsoft.refresh(&token).await;
        assert_eq!((answer.0.as_u16(), aadsts(&answer)), (expected, code));
    }
    assert_eq!(microsoft.refresh(&token).await.0, 200);
}

#[tokio::test]
async fn a_fault_fits_its_person_chat_and_number_of_calls() {
    let microsoft = Microsoft::start().await;
    let (ada, bruno) = (microsoft.access_token(ADA).await, microsoft.access_token(BRUNO).await);
    let fault = Fault {
        operation: "graph".into(),
        times: 2,
        oid: Some(microsoft.oid(ADA)),
        chat: Some(microsoft.chat(ADA)),
        fault: status(503),
    };
    microsoft.simulator.add_fault(fault).unwrap();
    assert_eq!(asked(microsoft.post(&bruno, &microsoft.chat(BRUNO), &hello())).await.0, 201);
    assert_eq!(asked(microsoft.get(&ada, "/me")).await.0, 200);
    for expected in [503, 503, 201] {
        assert_eq!(asked(microsoft.post(&ada, &microsoft.chat(ADA), &hello())).await.0, expected);
    }
    assert!(microsoft.simulator.faults().is_empty());
}

#[tokio::test]
async fn accepted_messages_are_stored_whatever_is_answered() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    microsoft.fault("graph.post", Kind::AcceptThenStatus { status: 504 });
    assert_eq!(asked(microsoft.post(&token, &chat, &hello())).await.0, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(microsoft.stored(ADA), 1);
    microsoft.fault("graph.post", Kind::AcceptThenReset);
    let error = microsoft.post(&token, &chat, &hello()).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
    assert_eq!(microsoft.stored(ADA), 2);
    microsoft.fault("graph.post", Kind::AcceptLate { delay_ms: 1 });
    assert_eq!(asked(microsoft.post(&token, &chat, &hello())).await.0, 201);
    assert_eq!(microsoft.stored(ADA), 3);
    assert_eq!(microsoft.count("graph.post", 0), 1);
}

#[tokio::test]
async fn a_call_that_is_refused_anyway_does_not_use_the_fault_up() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft.fault("graph.post", Kind::AcceptThenStatus { status: 504 });
    assert_eq!(asked(microsoft.post(&token, &microsoft.chat(BRUNO), &hello())).await.0, 403);
    assert_eq!(asked(microsoft.post(&token, &microsoft.chat(ADA), &hello())).await.0, 504);
}

#[tokio::test]
async fn a_reset_is_one_on_the_wire() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft.fault("graph.me", Kind::Reset);
    let mut socket = TcpStream::connect(microsoft.address).await.unwrap();
    let request = format!(
        "GET /v1.0/me HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        microsoft.address
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    let error = socket.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!((error.kind(), answer.len()), (std::io::ErrorKind::ConnectionReset, 0));
    assert_eq!(microsoft.count("graph.me", 0), 1);
    assert_eq!(asked(microsoft.get(&token, "/me")).await.0, 200);
}

#[tokio::test]
async fn a_hanging_call_is_stored_only_if_accepted() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    for (index, kind) in [Kind::Hang, Kind::AcceptThenHang].into_iter().enumerate() {
        microsoft.fault("graph.post", kind);
        let post = tokio::spawn(microsoft.post(&token, &microsoft.chat(ADA), &hello()).send());
        microsoft.simulator.wait_until(|_| microsoft.count("graph.post", 0) == index as u64 + 1).await;
        assert!(!post.is_finished());
        assert_eq!(microsoft.stored(ADA), index);
        post.abort();
    }
}

#[tokio::test]
async fn a_delayed_message_is_stored_though_its_caller_has_gone() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft.fault("graph.post", Kind::Delay { delay_ms: 300 });
    let post = tokio::spawn(microsoft.post(&token, &microsoft.chat(ADA), &hello()).send());
    while !microsoft.simulator.faults().is_empty() {
        tokio::task::yield_now().await;
    }
    post.abort();
    microsoft.simulator.wait_until(|it| !it.messages(None, None).is_empty()).await;
    assert!(post.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn garbage_is_not_json_though_the_message_is_stored() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    for (index, form) in [Garbage::Html, Garbage::Truncated, Garbage::Empty].into_iter().enumerate() {
        microsoft.fault("graph.post", Kind::Garbage { form });
        let answer = microsoft.post(&token, &chat, &hello()).send().await.unwrap();
        assert!(answer.status().is_success());
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.bytes().await.unwrap()).is_err());
        assert_eq!(microsoft.stored(ADA), index + 1);
    }
}

#[tokio::test]
async fn a_claims_challenge_says_insufficient_claims() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft.fault("graph.me", Kind::ClaimsChallenge);
    let answer = microsoft.get(&token, "/me").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_claims\"") && challenge.contains("claims=\""));
}

#[tokio::test]
async fn metadata_and_keys_can_fail_too() {
    let microsoft = Microsoft::start().await;
    for (operation, path) in
        [("metadata", "v2.0/.well-known/openid-configuration"), ("jwks", "discovery/v2.0/keys")]
    {
        let url = format!("{}/organizations/{path}", microsoft.base);
        microsoft.fault(operation, status(503));
        assert_eq!(microsoft.client.get(&url).send().await.unwrap().status(), 503);
        microsoft.fault(operation, Kind::Reset);
        assert!(microsoft.client.get(&url).send().await.is_err());
        assert_eq!(asked(microsoft.client.get(&url)).await.0, 200);
    }
}
