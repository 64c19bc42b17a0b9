//! The app's own token: one call for all who want one, renewed in time, dropped when refused, and never shown.

use std::{sync::Arc, time::Duration};

use chancery_microsoft::bot::{Connector, SendFailure};
use serde_json::{Value, json};
use url::Url;

use crate::{
    connector::{Stub, config, connector_at, error, name, send, text, to},
    support::{client, refused, silent},
};

/// Fits no shape that is kept.
const CANARY: &str = "canary 7";

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// How so many sends at once end, one line for each kind of ending.
async fn at_once(count: usize, connector: &Arc<Connector>, address: &Url, timeout: Duration) -> Vec<String> {
    let (connector, to) = (connector.clone(), to(address));
    let sends: Vec<_> = (0..count)
        .map(|_| {
            let (connector, to) = (connector.clone(), to.clone());
            tokio::spawn(async move { connector.send(&to, &text(), timeout).await })
        })
        .collect();
    let mut ends = vec![];
    for send in sends {
        ends.push(send.await.unwrap().map_or_else(|failure| name(&failure), |_| "Sent".into()));
    }
    ends.sort();
    ends.dedup();
    ends
}

#[tokio::test]
async fn many_sends_at_once_ask_for_one_token() {
    let (stub, address) = Stub::start().await;
    let connector = Arc::new(connector_at(&address));
    assert_eq!(at_once(50, &connector, &address, Duration::from_secs(20)).await, ["Sent"]);
    assert_eq!(stub.tokens_asked.get().len(), 1);
    assert_eq!(stub.asked.get().len(), 50);
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_used_until_then_if_it_cannot_be() {
    let (stub, address) = Stub::start().await;
    let (connector, to) = (connector_at(&address), to(&address));
    for minutes in [0, 54, 2] {
        pass(Duration::from_mins(minutes)).await;
        send(&connector, &to).await.unwrap();
    }
    assert_eq!(stub.tokens_used(), ["1", "1", "2"]);
    stub.token.set(Some((500, Value::Null)));
    for minutes in [56, 2] {
        pass(Duration::from_mins(minutes)).await;
        send(&connector, &to).await.unwrap();
    }
    assert_eq!(stub.tokens_used()[3..], ["2", "2"]);
    pass(Duration::from_mins(3)).await;
    assert!(name(&send(&connector, &to).await.unwrap_err()).starts_with("Unavailable Some"));
    assert_eq!(stub.asked.get().len(), 5);
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once_and_the_send_repeated_once() {
    let (stub, address) = Stub::start().await;
    let (connector, to) = (connector_at(&address), to(&address));
    stub.answer(401, error("Unauthorized"));
    send(&connector, &to).await.unwrap();
    assert_eq!(stub.tokens_used(), ["1", "2"]);

    pass(Duration::from_secs(10)).await;
    for _ in 0..3 {
        stub.answer(401, error("BotNotRegistered"));
    }
    let failure = send(&connector, &to).await.unwrap_err();
    assert_eq!(name(&failure), "HubProblem");
    assert_eq!(failure.diagnosis().code.as_deref(), Some("BotNotRegistered"));
    assert_eq!(stub.tokens_used()[2..], ["2", "3"]);

    assert_eq!(name(&send(&connector, &to).await.unwrap_err()), "HubProblem");
    assert_eq!(stub.tokens_used()[4..], ["3"], "no other token so soon");
    send(&connector, &to).await.unwrap();
    assert_eq!(stub.tokens_asked.get().len(), 3);
}

#[tokio::test]
async fn many_refusals_at_once_ask_for_one_new_token() {
    let (stub, address) = Stub::start().await;
    let connector = Arc::new(connector_at(&address));
    send(&connector, &to(&address)).await.unwrap();
    for _ in 0..20 {
        stub.answer(401, error("Unauthorized"));
    }
    // A send may find that the others have used all the refusals up; none meets two.
    at_once(20, &connector, &address, Duration::from_secs(20)).await;
    assert_eq!(stub.tokens_asked.get().len(), 2);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let (stub, address) = Stub::start().await;
    let body = |error: &str, number: u32| json!({ "error": error, "error_codes": [number] });
    for (status, body, expected) in [
        (401, body("invalid_client", 7_000_222), "HubProblem"),
        (400, body("unauthorized_client", 700_016), "HubProblem"),
        (429, json!({}), "Unavailable Some(1)"),
        (503, body("temporarily_unavailable", 90033), "Unavailable Some(1)"),
        (500, json!("?"), "Unavailable Some(1)"),
        (200, json!({ "token_type": "Bearer" }), "Unavailable Some(1)"),
    ] {
        let connector = connector_at(&address);
        stub.token.set(Some((status, body)));
        let failure = send(&connector, &to(&address)).await.unwrap_err();
        assert_eq!(name(&failure), expected, "{status}");
    }
    assert!(stub.asked.get().is_empty());
    let nobody = connector_at(&refused().await);
    assert_eq!(name(&send(&nobody, &to(&address)).await.unwrap_err()), "NotSent");
}

#[tokio::test]
async fn pauses_between_failures_grow_to_a_minute() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    stub.token.set(Some((503, Value::Null)));
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let failure = send(&connector, &to(&address)).await.unwrap_err();
        assert_eq!(name(&failure), format!("Unavailable Some({seconds})"));
        pass(Duration::from_secs(seconds)).await;
    }
    assert!(send(&connector, &to(&address)).await.is_err());
    stub.token.set(None);
    assert!(send(&connector, &to(&address)).await.is_err());
    assert_eq!(stub.tokens_asked.get().len(), 9, "nobody asks during the pause");
    pass(Duration::from_mins(1)).await;
    send(&connector, &to(&address)).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_token_in_vain_has_sent_nothing() {
    let (stub, address) = Stub::start().await;
    let connector = Arc::new(connector_at(&silent().await));
    let ends = at_once(5, &connector, &address, Duration::from_millis(50)).await;
    assert!(ends.iter().all(|end| end == "NotSent" || end.starts_with("Unavailable")), "{ends:?}");
    assert!(stub.asked.get().is_empty());
}

#[tokio::test]
async fn no_secret_and_no_text_shows_in_failures_or_debug_output() {
    let (stub, address) = Stub::start().await;
    let mut seen = vec![format!("{:?} {:?}", config(address.clone()), text())];
    let mut tell = |failure: SendFailure| seen.push(format!("{failure} {failure:?}"));
    stub.token.set(Some((
        400,
        json!({ "error": CANARY, "suberror": CANARY, "error_description": CANARY, "trace_id": CANARY }),
    )));
    tell(send(&connector_at(&address), &to(&address)).await.unwrap_err());
    stub.token.set(None);
    stub.answer_with(400, &[("ms-cv", CANARY)], error(CANARY));
    tell(send(&connector_at(&address), &to(&address)).await.unwrap_err());
    let nowhere = Connector::new(config(refused().await.join("token").unwrap()), client());
    tell(send(&nowhere, &to(&address)).await.unwrap_err());
    for shown in &seen {
        assert!(!shown.contains("canary") && !shown.contains("Check in"), "{shown}");
    }
}
