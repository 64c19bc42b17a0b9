//! What may be asked for, and what not; no client of ours asks for the latter.

#![expect(clippy::unnecessary_wraps, reason = "a request holds its parts as options")]

use futures_util::StreamExt;
use tonic::Code;

use super::*;
use crate::{
    protocol::{
        reading::{ControlOption, Expression},
        shared::{LogPosition, StreamIdentifier},
    },
    testing::server,
    wire::NOTHING,
};

fn stream() -> Option<read_options::What> {
    let stream = Some(StreamIdentifier { name: "thing-1".into() });
    Some(read_options::What::Stream(StreamOptions {
        stream,
        from: Some(stream_options::From::Start(NOTHING)),
    }))
}

fn all(from: all_options::From) -> Option<read_options::What> {
    Some(read_options::What::All(AllOptions { from: Some(from) }))
}

fn filter(multiplier: u32, prefix: &[&str]) -> Option<read_options::Filtering> {
    let prefix = prefix.iter().map(|&prefix| prefix.into()).collect();
    Some(read_options::Filtering::Filter(FilterOptions {
        by: Some(filter_options::By::StreamName(Expression { regex: String::new(), prefix })),
        window: Some(filter_options::Window::Count(NOTHING)),
        checkpoint_interval_multiplier: multiplier,
    }))
}

const NO_FILTER: Option<read_options::Filtering> = Some(read_options::Filtering::NoFilter(NOTHING));
const COUNT: Option<read_options::HowMuch> = Some(read_options::HowMuch::Count(10));
const SUBSCRIPTION: Option<read_options::HowMuch> = Some(read_options::HowMuch::Subscription(NOTHING));
const START: all_options::From = all_options::From::Start(NOTHING);

async fn code(
    what: Option<read_options::What>,
    direction: i32,
    how_much: Option<read_options::HowMuch>,
    filtering: Option<read_options::Filtering>,
) -> Code {
    let (server, _dir) = server();
    let control_option = Some(ControlOption { compatibility: 1 });
    let options =
        ReadOptions { what, direction, how_much, filtering, control_option, ..ReadOptions::default() };
    match read(server, Caller::Anybody, Request::new(ReadRequest { options: Some(options) })).await {
        Ok(replies) => {
            let first = replies.into_inner().next().await;
            first.map_or(Code::Ok, |first| first.err().map_or(Code::Ok, |status| status.code()))
        }
        Err(status) => status.code(),
    }
}

#[tokio::test]
async fn each_legal_combination_is_answered() {
    for direction in [0, 1] {
        assert_eq!(code(stream(), direction, COUNT, NO_FILTER).await, Code::Ok);
        assert_eq!(code(all(START), direction, COUNT, NO_FILTER).await, Code::Ok);
        assert_eq!(code(all(START), direction, COUNT, filter(0, &["a"])).await, Code::Ok);
    }
    assert_eq!(code(stream(), 0, SUBSCRIPTION, NO_FILTER).await, Code::Ok);
    assert_eq!(code(all(START), 0, SUBSCRIPTION, NO_FILTER).await, Code::Ok);
    assert_eq!(code(all(START), 0, SUBSCRIPTION, filter(1, &["a"])).await, Code::Ok);
}

#[tokio::test]
async fn every_other_combination_is_refused() {
    let nowhere = Some(read_options::What::Stream(StreamOptions::default()));
    for (what, direction, how_much, filtering) in [
        (None, 0, COUNT, NO_FILTER),
        (stream(), 0, None, NO_FILTER),
        (stream(), 0, COUNT, None),
        (stream(), 2, COUNT, NO_FILTER),
        (stream(), 0, COUNT, filter(1, &["a"])),
        (stream(), 0, SUBSCRIPTION, filter(1, &["a"])),
        (stream(), 1, SUBSCRIPTION, NO_FILTER),
        (all(START), 1, SUBSCRIPTION, NO_FILTER),
        (all(START), 1, SUBSCRIPTION, filter(1, &["a"])),
        (all(START), 0, SUBSCRIPTION, filter(0, &["a"])),
        (all(START), 0, COUNT, filter(1, &[])),
        (all(START), 0, COUNT, filter(1, &["a"; 257])),
        (nowhere, 0, COUNT, NO_FILTER),
        (Some(read_options::What::All(AllOptions::default())), 0, COUNT, NO_FILTER),
    ] {
        let described = format!("{what:?} {direction} {how_much:?} {filtering:?}");
        assert_eq!(code(what, direction, how_much, filtering).await, Code::InvalidArgument, "{described}");
    }
}

#[tokio::test]
async fn a_position_of_another_log_is_refused() {
    for (commit, prepare) in [(5, 5), (0, 1), (u64::MAX, 0)] {
        let at = all_options::From::Position(LogPosition { commit, prepare });
        assert_eq!(code(all(at), 0, COUNT, NO_FILTER).await, Code::Unknown);
        assert_eq!(code(all(at), 0, SUBSCRIPTION, NO_FILTER).await, Code::Unknown);
    }
    let end = all_options::From::Position(LogPosition { commit: u64::MAX, prepare: u64::MAX });
    assert_eq!(code(all(end), 1, COUNT, NO_FILTER).await, Code::Ok);
}

#[tokio::test]
async fn a_subscription_that_is_over_gives_its_place_back() {
    let (server, _dir) = server();
    let places = server.subscriptions.available_permits();
    let options = ReadOptions {
        what: all(START),
        how_much: SUBSCRIPTION,
        filtering: NO_FILTER,
        ..ReadOptions::default()
    };
    let request = Request::new(ReadRequest { options: Some(options) });
    let replies = read(Arc::clone(&server), Caller::Anybody, request).await.unwrap();
    assert_eq!(server.subscriptions.available_permits(), places - 1);
    server.shutdown.cancel();
    let said: Vec<_> = replies.into_inner().collect().await;
    assert_eq!(said.last().unwrap().as_ref().unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.subscriptions.available_permits(), places);
}
