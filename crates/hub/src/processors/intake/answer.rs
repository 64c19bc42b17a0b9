//! What is said of each submitted event.
//!
//! **Invariant.** What is for one recipient is accepted in the order in which it was submitted: behind an event that
//! can't be judged now, none is.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow};
use domain::{
    ClientId, CommandId, ShardId,
    client::{Client, Role},
    intake::{Rejected, Rejection, SUBMITTED, Why},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::Recorded;

use crate::{
    commands::{Beginning, Context},
    http::{
        auth::Caller,
        v1::{
            is_passing,
            submission::{self, Submitted, Wrong},
        },
    },
    hub::Hub,
    metrics::IntakeAnswer,
    services::messages::{self, Asked, NotAccepted},
};

/// Streams of rejections that are looked for at a time.
const READS: usize = 16;

/// What is said of an event.
enum Verdict {
    Answered,
    Accept(Submitted, Caller),
    Reject(Option<ClientId>, Wrong),
}

/// Answers events of one stream, in order. `again` says that some may have been answered before.
///
/// Where one can't be answered now, its answer is an error; those behind it may be missing, and are to be asked about
/// again, whether they were answered or not.
pub(super) async fn answer(hub: &Hub, intake: u8, events: &[Recorded], again: bool) -> Vec<Result<()>> {
    let mut verdicts = Vec::new();
    let before = if again { rejected_before(hub, intake, events).await } else { Ok(HashSet::new()) };
    match before {
        Ok(before) => judge(hub, events, &before, again, &mut verdicts).await,
        Err(error) => verdicts.push(Err(error)),
    }
    if !hub.shards.holds(ShardId(intake)) {
        // It may have been away for long: another hub has the stream now, and may have answered otherwise.
        return vec![Err(anyhow!("the stream is another hub's to answer"))];
    }
    accept(hub, events, &mut verdicts).await;
    reject(hub, intake, events, &mut verdicts).await;
    verdicts.into_iter().map(|verdict| verdict.map(|_| ())).collect()
}

/// Which of these were rejected. One that was accepted is found to be so on accepting it.
async fn rejected_before(hub: &Hub, intake: u8, events: &[Recorded]) -> Result<HashSet<u64>> {
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let looked_for = stream::iter(ids).map(|id| hub.commands.load::<Rejection>(id));
    let found: Vec<_> = looked_for.buffered(READS).try_collect().await?;
    // Who submits chooses the ids of events, and may have used one for several.
    let rejected = found.into_iter().filter_map(|rejection| rejection.state.rejected);
    Ok(rejected.filter(|rejected| rejected.intake == intake).map(|rejected| rejected.revision).collect())
}

/// Ends with the first that can't be judged now.
async fn judge(
    hub: &Hub,
    events: &[Recorded],
    before: &HashSet<u64>,
    again: bool,
    verdicts: &mut Vec<Result<Verdict>>,
) {
    let mut callers = HashMap::new();
    for event in events {
        let verdict = if before.contains(&event.revision) {
            Ok(Verdict::Answered)
        } else {
            judge_one(hub, event, again, &mut callers).await
        };
        let trouble = verdict.is_err();
        verdicts.push(verdict);
        if trouble {
            return;
        }
    }
}

/// What clients may, as far as it was looked up for these events.
type Callers = HashMap<ClientId, Result<Caller, Why>>;

async fn judge_one(hub: &Hub, event: &Recorded, again: bool, callers: &mut Callers) -> Result<Verdict> {
    let read =
        if *event.name == *SUBMITTED { submission::read(&event.data) } else { Err(Why::UnknownType.into()) };
    let wrong = match read {
        Err(wrong) => wrong,
        Ok(submitted) => {
            let client = submitted.client.clone();
            return Ok(match known(hub, &client, callers).await? {
                Ok(caller) => Verdict::Accept(submitted, caller.clone()),
                // What its client might once was accepted, and stays so.
                Err(_) if again && messages::was_accepted(hub, &client, &submitted.key).await? => {
                    Verdict::Answered
                }
                Err(Why::UnknownClient) => Verdict::Reject(None, Why::UnknownClient.into()),
                Err(why) => Verdict::Reject(Some(client), (*why).into()),
            });
        }
    };
    // A name that is no client's is the writer's own word, and not repeated.
    let mut client = submission::client_of(&event.data);
    if let Some(named) = &client
        && matches!(known(hub, named, callers).await?, Err(Why::UnknownClient))
    {
        client = None;
    }
    Ok(Verdict::Reject(client, wrong))
}

async fn known<'a>(
    hub: &Hub,
    client: &ClientId,
    callers: &'a mut Callers,
) -> Result<&'a Result<Caller, Why>> {
    if !callers.contains_key(client) {
        callers.insert(client.clone(), caller(hub, client).await?);
    }
    Ok(&callers[client])
}

/// The client as the API would know it by a key of its own.
async fn caller(hub: &Hub, client: &ClientId) -> Result<Result<Caller, Why>> {
    let state = match hub.commands.load::<Client>(client).await {
        Ok(loaded) => loaded.state,
        Err(error) => return lasting(error.into()).map(Err),
    };
    let revoked = !state.has_good_key(hub.clock.now());
    Ok(match &state.profile {
        None => Err(Why::UnknownClient),
        Some(profile) if revoked || profile.role != Role::Service => Err(Why::ClientNotAllowed),
        Some(profile) => {
            Ok(Caller { client: client.clone(), role: profile.role, tenants: profile.tenants.clone() })
        }
    })
}

async fn accept(hub: &Hub, events: &[Recorded], verdicts: &mut [Result<Verdict>]) {
    let asked =
        verdicts.iter().zip(events).enumerate().filter_map(|(index, (verdict, event))| match verdict {
            Ok(Verdict::Accept(Submitted { key, draft, .. }, caller)) => {
                Some((index, Asked { caller, key, draft, cause: Some(event.id) }))
            }
            _ => None,
        });
    let (places, asked): (Vec<_>, Vec<_>) = asked.unzip();
    let answers = messages::accept_many(hub, &asked).await;
    for (index, answer) in places.into_iter().zip(answers) {
        let Ok(Verdict::Accept(Submitted { client, .. }, _)) = &verdicts[index] else { continue };
        verdicts[index] = match answer {
            Ok(_) => {
                hub.metrics.intake(IntakeAnswer::Accepted);
                Ok(Verdict::Answered)
            }
            Err(refusal) => {
                let client = Some(client.clone());
                wrong(refusal).map(|wrong| Verdict::Reject(client, wrong))
            }
        };
    }
}

fn wrong(refusal: NotAccepted) -> Result<Wrong> {
    let why = match refusal {
        NotAccepted::NotLinked => Why::RecipientNotLinked,
        NotAccepted::TenantNotAllowed => Why::TenantNotAllowed,
        NotAccepted::TenantBlocked => Why::TenantBlocked,
        NotAccepted::TooLarge { .. } => Why::TooLarge,
        NotAccepted::NoBot => return Ok(Wrong { why: Why::Invalid, field: Some("surface".into()) }),
        NotAccepted::BotCommand => Why::BotCommand,
        NotAccepted::KeyReused => Why::IdempotencyKeyReused,
        NotAccepted::Trouble(error) => lasting(error)?,
    };
    Ok(why.into())
}

/// What would go wrong every time is rejected, so that it does not keep what is behind it waiting for ever.
fn lasting(error: anyhow::Error) -> Result<Why> {
    if is_passing(&error) {
        return Err(error);
    }
    tracing::error!(error = format!("{error:#}"), "A submitted message can't be accepted, and is rejected.");
    Ok(Why::Internal)
}

async fn reject(hub: &Hub, intake: u8, events: &[Recorded], verdicts: &mut [Result<Verdict>]) {
    let beginning = |event: &Recorded, client: &Option<ClientId>, wrong: &Wrong| Beginning::<Rejection> {
        id: event.id.to_string(),
        command_id: CommandId::new(format!("reject/{intake}/{}", event.revision)),
        context: Context { client: client.clone(), ..Context::hub("intake", event.id.to_string()) }
            .caused_by(Some(event.id)),
        command: Rejected {
            intake,
            revision: event.revision,
            client: client.clone(),
            why: wrong.why,
            field: wrong.field.clone(),
        },
        line: None,
    };
    let rejected =
        verdicts.iter().zip(events).enumerate().filter_map(|(index, (verdict, event))| match verdict {
            Ok(Verdict::Reject(client, wrong)) => Some((index, beginning(event, client, wrong))),
            _ => None,
        });
    let (places, beginnings): (Vec<_>, Vec<_>) = rejected.unzip();
    let done = hub.commands.begin_many(beginnings).await;
    for (index, done) in places.into_iter().zip(done) {
        verdicts[index] = match done {
            Ok(_) => {
                hub.metrics.intake(IntakeAnswer::Rejected);
                Ok(Verdict::Answered)
            }
            Err(error) => Err(error.into()),
        };
    }
}
