//! What the connector's answers mean, and what it means if there is none.

use std::time::Duration;

use chancery_microsoft::{
    Transport,
    bot::{Connector, ConnectorConfig},
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use url::Url;

use crate::{
    connector::{Stub, config, connector_at, error, name, send, text, to},
    support::{answering, client, raw, refused, reset, silent},
};

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    let none: &[(&'static str, &'static str)] = &[];
    let wait: &[_] = &[("retry-after", "12")];
    // (status, headers, code) and what it means to a send, then to a probe.
    let table = [
        (302, none, "", "Rejected", "Rejected"),
        (400, none, "BadArgument", "Rejected", "Rejected"),
        (403, none, "ConversationBlockedByUser", "Blocked", ""),
        (403, none, "BotNotInConversationRoster", "NotInRoster", ""),
        (403, none, "BotDisabledByAdmin", "DisabledByAdmin", ""),
        (403, none, "NotEnoughPermissions", "Rejected", "Rejected"),
        (403, none, "InvalidBotApiHost", "Rejected", "Rejected"),
        (404, none, "ConversationNotFound", "ConversationGone", ""),
        (404, none, "", "ConversationGone", ""),
        (408, none, "", "Ambiguous", "Unavailable None"),
        (412, none, "PreconditionFailed", "Unavailable None", "Unavailable None"),
        (413, none, "MessageSizeTooBig", "TooLarge", "TooLarge"),
        (429, none, "Throttled", "Throttled None", "Throttled None"),
        (429, wait, "Throttled", "Throttled Some(12)", "Throttled Some(12)"),
        (500, none, "ServiceError", "Ambiguous", "Unavailable None"),
        (501, none, "", "Rejected", "Rejected"),
        (502, wait, "BadGateway", "Ambiguous", "Unavailable Some(12)"),
        (503, none, "ServiceUnavailable", "Unavailable None", "Unavailable None"),
        (503, wait, "", "Unavailable Some(12)", "Unavailable Some(12)"),
        (503, none, "", "Ambiguous", "Unavailable None"),
        (504, none, "GatewayTimeout", "Ambiguous", "Unavailable None"),
    ];
    for (status, headers, code, sent, probed) in table {
        stub.answer_with(status, headers, error(code));
        let failure = send(&connector, &to(&address)).await.unwrap_err();
        assert_eq!(name(&failure), sent, "POST {status} {code}");
        let diagnosis = failure.diagnosis();
        assert_eq!(diagnosis.status, Some(status));
        assert_eq!(diagnosis.code.as_deref(), Some(code).filter(|code| !code.is_empty()));
        assert_eq!(diagnosis.trace_id.as_deref(), Some("Ab+/9.0"));
        assert!(!format!("{failure} {failure:?}").contains("canary"), "{failure:?}");

        stub.answer_with(status, headers, error(code));
        let probe = connector.probe(&to(&address), Duration::from_secs(20)).await;
        assert_eq!(probe.as_ref().err().map_or(String::new(), name), probed, "GET {status} {code}");
    }
}

#[tokio::test]
async fn a_block_is_recognised_however_deep_it_is_written() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    let details = json!({ "subCode": "MessageWritesBlocked", "details": "canary" }).to_string();
    let nested = json!({ "errorCode": 209, "message": details }).to_string();
    for (body, code) in [
        (json!({ "errorCode": 209, "message": details }), "209"),
        (
            json!({ "errorCode": 209, "message": "{\r\n  subCode: MessageWritesBlocked, details: canary }" }),
            "209",
        ),
        (json!({ "error": { "code": "ServiceError", "message": nested } }), "ServiceError"),
    ] {
        stub.answer(403, body);
        let failure = send(&connector, &to(&address)).await.unwrap_err();
        assert_eq!(name(&failure), "Blocked");
        let diagnosis = domain::Diagnosis::from(failure.diagnosis());
        assert_eq!(
            (diagnosis.code.as_deref(), diagnosis.suberror.as_deref()),
            (Some(code), Some("MessageWritesBlocked"))
        );
        assert_eq!(diagnosis.request_id.as_deref(), Some("Ab+/9.0"));
    }
    stub.answer(403, json!({ "errorCode": 209, "message": "{ subCode: SomethingElse }" }));
    assert_eq!(name(&send(&connector, &to(&address)).await.unwrap_err()), "Rejected");
    for body in [json!(null), json!([]), json!("subCode: MessageWritesBlocked"), json!({ "error": 7 })] {
        stub.answer(403, body);
        assert_eq!(name(&send(&connector, &to(&address)).await.unwrap_err()), "Rejected");
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_ambiguous() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    for body in [json!(7), json!("<html>"), json!({ "id": 7 })] {
        stub.answer(201, body);
        assert_eq!(name(&send(&connector, &to(&address)).await.unwrap_err()), "Ambiguous");
    }
    stub.answer(201, json!({ "id": "1", "much": "x".repeat(1024 * 1024) }));
    assert_eq!(name(&send(&connector, &to(&address)).await.unwrap_err()), "Ambiguous");
}

#[tokio::test]
async fn a_503_can_be_distrusted() {
    let (stub, address) = Stub::start().await;
    let config = ConnectorConfig { trust_503: false, ..config(address.join("token").unwrap()) };
    stub.answer_with(503, &[("retry-after", "5")], error("ServiceUnavailable"));
    let failure = send(&Connector::new(config, client()), &to(&address)).await.unwrap_err();
    assert_eq!(name(&failure), "Ambiguous");
}

#[tokio::test]
async fn trouble_on_the_way_is_ambiguous_only_after_the_handshake() {
    let (_, address) = Stub::start().await;
    let connector = connector_at(&address);
    assert_eq!(name(&send(&connector, &to(&refused().await)).await.unwrap_err()), "NotSent");
    let cut = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":";
    for service in [reset().await, answering(cut).await, answering("what?").await, answering("").await] {
        assert_eq!(name(&send(&connector, &to(&service)).await.unwrap_err()), "Ambiguous");
    }
    let probe = connector.probe(&to(&reset().await), Duration::from_secs(20)).await;
    assert_eq!(name(&probe.unwrap_err()), "Unavailable None");
    let late = to(&silent().await);
    let failure = connector.send(&late, &text(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(name(&failure), "Ambiguous");
    assert_eq!(failure.diagnosis().transport, Some(Transport::TimedOut));
}

#[tokio::test]
async fn no_tls_means_not_sent() {
    let (_, address) = Stub::start().await;
    let plain = raw(async |mut socket: TcpStream| socket.write_all(b"No TLS here").await.unwrap()).await;
    let no_tls: Url = plain.as_str().replace("http:", "https:").parse().unwrap();
    let connector = connector_at(&no_tls);
    assert_eq!(name(&send(&connector, &to(&address)).await.unwrap_err()), "NotSent", "the token endpoint");
}
