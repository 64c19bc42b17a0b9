//! A person's story: everything that was recorded about a link to Microsoft and the messages sent by it, in the order of
//! the log, the newest first.
//!
//! **Invariant.** What a page shows is judged to be this person's by the events themselves, never by the cursor.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use domain::{
    AccountHash, ClientId, ConnectionId, Diagnosis, MessageId, PersonId, SignInId, Timestamp,
    account::{self, Account},
    aggregate::decode,
    connection::{self, Connection},
    lane::Lane,
    sign_in::{Request, SignIn},
};
use projections::{
    connections::{Key, Row},
    messages::queries::{self, Wanted},
};
use serde::{Deserialize, Serialize};
use store::{Direction, Recorded, StreamName};

use crate::{
    commands::{metadata, stream},
    hub::Hub,
};

mod sentences;

/// Events of a stream read at a time.
const PAGE: usize = 512;
/// Accounts of one person whose streams are looked at; more than that is no person.
const ACCOUNTS_MAX: usize = 64;

/// What happened.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: u64,
    pub recorded_at: Timestamp,
    /// The event's type.
    pub event: String,
    pub told: Told,
    pub actor: String,
    pub stream: String,
    pub revision: u64,
}

/// What an event says, without anything personal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// One sentence.
    pub summary: String,
    pub grant: Option<SignInId>,
    pub generation: Option<u64>,
    pub message: Option<MessageId>,
    pub attempt: Option<u32>,
    pub diagnosis: Option<Diagnosis>,
}

/// The numbers of a person's grants, which say more to people than their ids.
type Grants = BTreeMap<SignInId, u64>;

/// Where each stream was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Everything from this position on was told.
    before: u64,
    /// The newest revision of each that was not told; `None` where all was.
    connection: Option<u64>,
    lane: Option<u64>,
    accounts: BTreeSet<AccountHash>,
    grants: Grants,
    /// Sign-ins whose grant was told, and whose own events were not yet.
    sign_ins: BTreeSet<SignInId>,
}

/// Whose story, up to when, and from where on.
#[derive(Clone, Debug)]
pub struct Question {
    pub person: PersonId,
    /// An account to look at besides those that are linked now.
    pub account: Option<AccountHash>,
    pub as_of: Option<Timestamp>,
    pub cursor: Option<Cursor>,
    pub limit: usize,
}

/// A page of the story, and where it goes on.
pub async fn page(hub: &Hub, question: Question) -> Result<(Vec<Entry>, Option<Cursor>)> {
    let Question { person, account, as_of, cursor, limit } = question;
    let from = match cursor {
        Some(cursor) => cursor,
        None => start(hub, person, account).await?,
    };
    let teller = Teller { hub, person, grants: &from.grants, as_of, before: from.before, limit };
    let (mut entries, mut sign_ins) = teller.connection(from.connection).await?;
    sign_ins.extend(from.sign_ins);
    entries.extend(teller.lane(from.lane).await?);
    entries.extend(teller.messages().await?);
    for account in &from.accounts {
        entries.extend(teller.account(account).await?);
    }
    for sign_in in &sign_ins {
        entries.extend(teller.sign_in(*sign_in).await?);
    }
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.position));
    let rest = entries.split_off(limit.min(entries.len()));
    // The rest of what was looked at tells which sign-ins are still to be told.
    sign_ins.retain(|id| rest.iter().any(|entry| entry.stream == stream::<SignIn>(id).as_str()));
    let next = entries.last().filter(|_| !rest.is_empty()).map(|last| Cursor {
        before: last.position,
        connection: left(&entries, &stream::<Connection>(person.connection()), from.connection),
        lane: left(&entries, &stream::<Lane>(person.connection()), from.lane),
        accounts: from.accounts,
        grants: from.grants,
        sign_ins,
    });
    Ok((entries, next))
}

/// Everything is still to be told.
async fn start(hub: &Hub, person: PersonId, account: Option<AccountHash>) -> Result<Cursor> {
    let id = person.connection();
    let linked = match hub.connections.get(Key::Connection(id)).await? {
        Some(Row::Connection(row)) => row.accounts.into_keys().collect(),
        _ => Vec::new(),
    };
    let mut accounts: BTreeSet<_> = account.into_iter().chain(linked).collect();
    let (sign_ins, grants) = grants(hub, id).await?;
    for sign_in in sign_ins {
        let request = hub.commands.load::<SignIn>(sign_in).await?.state.request;
        accounts.extend(request.and_then(|request| Some(request.of_client()?.account_hash.clone())));
    }
    let accounts = accounts.into_iter().take(ACCOUNTS_MAX).collect();
    let (connection, lane) = (Some(u64::MAX), Some(u64::MAX));
    Ok(Cursor { before: u64::MAX, connection, lane, accounts, grants, sign_ins: BTreeSet::new() })
}

/// The sign-ins that brought this person's grants or were asked for in the chat, and the grants' numbers.
async fn grants(hub: &Hub, id: ConnectionId) -> Result<(Vec<SignInId>, Grants)> {
    let (mut sign_ins, mut numbers) = (Vec::new(), Grants::new());
    let mut reader = Backward::new(hub, stream::<Connection>(id), Some(u64::MAX));
    while let Some(recorded) = reader.next().await? {
        sign_ins.extend(signing_in(&recorded)?);
        numbers.extend(numbering(&recorded)?);
    }
    Ok((sign_ins, numbers))
}

/// The grant that an event of a connection gives its number.
fn numbering(recorded: &Recorded) -> Result<Option<(SignInId, u64)>> {
    if !recorded.name.starts_with("connection.token-issued.") {
        return Ok(None);
    }
    Ok(match decode::<Connection>(&recorded.name, &recorded.data)? {
        connection::Event::TokenIssued { grant, grant_number, .. } => Some((grant, grant_number)),
        _ => None,
    })
}

/// The sign-in that an event of a connection says the person was linked by, or asked for.
fn signing_in(recorded: &Recorded) -> Result<Option<SignInId>> {
    // Looked at by name first: most events are refreshes.
    if !["connection.linked.", "connection.sign-in-begun."].iter().any(|name| recorded.name.starts_with(name))
    {
        return Ok(None);
    }
    Ok(match decode::<Connection>(&recorded.name, &recorded.data)? {
        connection::Event::Linked { sign_in, .. } | connection::Event::SignInBegun { sign_in } => {
            Some(sign_in)
        }
        _ => None,
    })
}

/// The newest revision that was not told, after these entries were.
fn left(entries: &[Entry], stream: &StreamName, from: Option<u64>) -> Option<u64> {
    let told = entries.iter().filter(|entry| entry.stream == stream.as_str()).map(|entry| entry.revision);
    told.min().map_or(from, |told| told.checked_sub(1))
}

/// Tells what each stream has below `before`: the newest first, and one more than `limit`, which shows that there is more.
struct Teller<'a> {
    hub: &'a Hub,
    person: PersonId,
    grants: &'a Grants,
    as_of: Option<Timestamp>,
    before: u64,
    limit: usize,
}

impl Teller<'_> {
    /// With the sign-ins that these events name.
    async fn connection(&self, from: Option<u64>) -> Result<(Vec<Entry>, BTreeSet<SignInId>)> {
        let mut sign_ins = BTreeSet::new();
        let stream = stream::<Connection>(self.person.connection());
        let entries = self
            .stream(stream, from, |recorded| {
                sign_ins.extend(signing_in(recorded)?);
                let event = decode::<Connection>(&recorded.name, &recorded.data)?;
                Ok(Some(sentences::connection(&event, self.grants)))
            })
            .await?;
        Ok((entries, sign_ins))
    }

    async fn lane(&self, from: Option<u64>) -> Result<Vec<Entry>> {
        let tell = |recorded: &Recorded| {
            let event = decode::<Lane>(&recorded.name, &recorded.data)?;
            Ok(Some(sentences::lane(&event, self.grants)))
        };
        self.stream(stream::<Lane>(self.person.connection()), from, tell).await
    }

    /// What the account's stream has about this person; it may have been another's before or after.
    async fn account(&self, account: &AccountHash) -> Result<Vec<Entry>> {
        let tell = |recorded: &Recorded| {
            let event = decode::<Account>(&recorded.name, &recorded.data)?;
            let (account::Event::Linked { person, .. }
            | account::Event::Unlinked { person }
            | account::Event::LinkRefused { person, .. }) = &event;
            Ok((*person == self.person).then(|| sentences::account(&event)))
        };
        self.stream(stream::<Account>(account), Some(u64::MAX), tell).await
    }

    async fn sign_in(&self, id: SignInId) -> Result<Vec<Entry>> {
        let SignIn { request, authorized, .. } = self.hub.commands.load::<SignIn>(id).await?.state;
        let asked = request.as_ref().and_then(Request::of_bot).map(|by| by.person);
        let came = authorized.as_ref().map(|authorized| authorized.person);
        if came.or(asked) != Some(self.person) {
            return Ok(Vec::new());
        }
        let grant = authorized.and_then(|authorized| authorized.grant).map(|_| id);
        let tell = |recorded: &Recorded| {
            let told = sentences::sign_in(&decode::<SignIn>(&recorded.name, &recorded.data)?);
            Ok(Some(Told { grant, ..told }))
        };
        self.stream(stream::<SignIn>(id), Some(u64::MAX), tell).await
    }

    async fn stream(
        &self,
        stream: StreamName,
        from: Option<u64>,
        mut tell: impl FnMut(&Recorded) -> Result<Option<Told>>,
    ) -> Result<Vec<Entry>> {
        let mut reader = Backward::new(self.hub, stream, from);
        let mut entries = Vec::new();
        while entries.len() <= self.limit {
            let Some(recorded) = reader.next().await? else { break };
            if recorded.position.0 >= self.before {
                continue;
            }
            let about = metadata(&recorded)?;
            if self.as_of.is_some_and(|as_of| about.recorded_at > as_of) {
                continue;
            }
            entries.extend(tell(&recorded)?.map(|told| Entry {
                position: recorded.position.0,
                recorded_at: about.recorded_at,
                event: recorded.name.to_string(),
                told,
                actor: about.actor,
                stream: recorded.stream.to_string(),
                revision: recorded.revision,
            }));
        }
        Ok(entries)
    }

    /// That they were accepted, from the read model: each has a stream of its own, with this one event.
    async fn messages(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut before = self.before;
        loop {
            let lane = Some(self.person.connection());
            let wanted = Wanted { lane, before: Some(before), ..Wanted::default() };
            let found = queries::list(&self.hub.messages, wanted, self.limit + 1).await?;
            let last = found.len() <= self.limit;
            before = found.last().map_or(before, |found| found.row.position);
            let by_then = |at| self.as_of.is_none_or(|as_of| at <= as_of);
            let found = found.into_iter().filter(|found| by_then(found.row.accepted_at));
            entries.extend(found.map(|found| accepted(found.message, &found.row)));
            if last || entries.len() > self.limit {
                return Ok(entries);
            }
        }
    }
}

fn accepted(id: MessageId, row: &projections::messages::MessageRow) -> Entry {
    let actor = |client: &ClientId| format!("client/{client}");
    Entry {
        position: row.position,
        recorded_at: row.accepted_at,
        event: "message.accepted.v1".to_owned(),
        told: sentences::accepted(id, row.kind),
        actor: actor(&row.client),
        stream: format!("message-{id}"),
        revision: 0,
    }
}

/// Reads a stream from a revision back to its beginning.
struct Backward<'a> {
    hub: &'a Hub,
    stream: StreamName,
    page: std::vec::IntoIter<Recorded>,
    /// The revision to read on from; `None` at the beginning of the stream.
    from: Option<u64>,
}

impl<'a> Backward<'a> {
    fn new(hub: &'a Hub, stream: StreamName, from: Option<u64>) -> Self {
        Self { hub, stream, page: Vec::new().into_iter(), from }
    }

    async fn next(&mut self) -> Result<Option<Recorded>> {
        if let Some(recorded) = self.page.next() {
            return Ok(Some(recorded));
        }
        let Some(from) = self.from else { return Ok(None) };
        let page = self.hub.store.read_stream(&self.stream, Direction::Backward, from, PAGE).await?;
        self.from = page.last().and_then(|last| last.revision.checked_sub(1));
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}
