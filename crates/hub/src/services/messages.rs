//! Messages of the product: what is accepted, for whom, and how it looks in Teams.

use std::collections::HashSet;

use anyhow::Result;
use custody::{KeyName, Place, UnsealError};
use domain::{
    AccountHash, AccountId, ClientId, CommandId, KeyedHash, MessageId, PersonId, SurfaceChoice,
    account::Account,
    connection::{Connection, Status},
    message::{Accepted, Command, Content, Message, Template},
    tenant::{Admission, Tenant},
};
use microsoft::ChatMessage;
use serde::Serialize;
use store::{Position, StoreError};
use uuid::Uuid;

use crate::{
    commands::{Beginning, Context, Done, Failure, LoadError},
    http::auth::Caller,
    hub::Hub,
    services::echoes,
    templates::{self, Rendered},
};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    Account(AccountId),
    Person(PersonId),
}

/// A message as a client asks for it.
#[derive(Clone, Debug, Serialize)]
pub struct Draft {
    pub recipient: Recipient,
    pub content: Content,
    /// Which way it is to go, where the client says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<SurfaceChoice>,
}

/// A message that will be looked after.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    pub id: MessageId,
    pub position: Position,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    #[error("the recipient has never completed a sign-in, or was unlinked")]
    NotLinked,
    #[error("this client may not write to people of that tenant")]
    TenantNotAllowed,
    #[error("the recipient's organisation is blocked")]
    TenantBlocked,
    #[error("the content has {size} bytes of UTF-16, more than the {limit} that Teams takes")]
    TooLarge { size: usize, limit: usize },
    #[error("its whole text is what the bot would take for a command or a code, should Teams bring it back")]
    BotCommand,
    #[error("it is to go by the bot, and this hub has none")]
    NoBot,
    #[error("the idempotency key was used for another message")]
    KeyReused,
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

/// Accepts a message, once for each client and idempotency key.
pub async fn accept(hub: &Hub, caller: &Caller, key: &str, draft: Draft) -> Result<Receipt, NotAccepted> {
    let (id, accepted) = match prepare(hub, caller, key, &draft).await {
        Ok(prepared) => prepared,
        Err(refusal) => return repeated(hub, caller, key, &draft, refusal).await,
    };
    let context = context(caller, id).of_tenant(accepted.person.tenant);
    let command_id = command_id(&accepted);
    let command = Command::Accept(Box::new(accepted));
    let done = hub.commands.begin::<Message>(id, &command_id, &context, command).await;
    receipt(id, done.map(Done::into_after))
}

/// One message of many: who asks for it, under which key, and the event that it was submitted by, if any.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub caller: &'a Caller,
    pub key: &'a str,
    pub draft: &'a Draft,
    pub cause: Option<Uuid>,
}

/// Accepts many, each on its own. The answers come in order, and so is what is for one recipient accepted: behind one
/// that met with trouble nothing more is.
pub async fn accept_many(hub: &Hub, asked: &[Asked<'_>]) -> Vec<Result<Receipt, NotAccepted>> {
    let mut answers = Vec::with_capacity(asked.len());
    let (mut ready, mut beginnings, mut held) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, Asked { caller, key, draft, cause }) in asked.iter().enumerate() {
        let answer = match prepare(hub, caller, key, draft).await {
            Ok(_) if held.contains(&draft.recipient) => Some(Err(held_back())),
            Ok((id, accepted)) => {
                ready.push((index, id));
                beginnings.push(beginning(caller, id, accepted, *cause));
                None
            }
            Err(refusal) => Some(repeated(hub, caller, key, draft, refusal).await),
        };
        if let Some(Err(NotAccepted::Trouble(_))) = answer {
            held.insert(&draft.recipient);
        }
        answers.push(answer);
    }
    let done = hub.commands.begin_many::<Message>(beginnings).await;
    for ((index, id), done) in ready.into_iter().zip(done) {
        answers[index] = Some(receipt(id, done.map(Done::into_after)));
    }
    answers.into_iter().flatten().collect()
}

fn beginning(caller: &Caller, id: MessageId, accepted: Accepted, cause: Option<Uuid>) -> Beginning<Message> {
    let context = context(caller, id).of_tenant(accepted.person.tenant);
    Beginning {
        id: id.to_string(),
        command_id: command_id(&accepted),
        context: context.caused_by(cause),
        // Where a message stands in its lane is said by the log.
        line: Some(format!("lane-{}", accepted.lane).into()),
        command: Command::Accept(Box::new(accepted)),
    }
}

async fn prepare(
    hub: &Hub,
    caller: &Caller,
    key: &str,
    draft: &Draft,
) -> Result<(MessageId, Accepted), NotAccepted> {
    let (person, account_hash) = person(hub, &draft.recipient).await?;
    if !caller.may_see(person.tenant) {
        return Err(NotAccepted::TenantNotAllowed);
    }
    let let_in = |tenant: &Tenant| tenant.admission != Admission::Blocked;
    let tenant = hub.commands.recall(person.tenant, let_in).await?;
    if !let_in(&tenant.state) {
        return Err(NotAccepted::TenantBlocked);
    }
    let surface = match draft.surface.or(tenant.state.policy.surface).unwrap_or(hub.config.delivery.surface) {
        SurfaceChoice::Bot if hub.bot.is_none() => return Err(NotAccepted::NoBot),
        SurfaceChoice::Auto if hub.bot.is_none() => SurfaceChoice::Graph,
        surface => surface,
    };
    let lane = person.connection();
    let connection = hub.commands.recall(lane, is_linked).await.map_err(trouble)?;
    let person_key = connection.state.person_key;
    let person_key = person_key.filter(|_| is_linked(&connection.state)).ok_or(NotAccepted::NotLinked)?;
    let id = message_id(hub, &caller.client, key);
    let limit = hub.config.delivery.size_max(surface);
    let message = chat_message(id, &draft.content)?;
    if echoes::is_command(&message) {
        return Err(NotAccepted::BotCommand);
    }
    let size = message.utf16_bytes();
    if size > limit {
        return Err(NotAccepted::TooLarge { size, limit });
    }
    let now = hub.clock.now();
    let content = serde_json::to_vec(&draft.content).expect("content serializes");
    let key_name = KeyName::Content { person_key, month: now.month() };
    let stream = format!("message-{id}");
    let sealed = hub.custody.seal(&key_name, &place(&stream), &content).await.map_err(trouble)?;
    let accepted = Accepted {
        lane,
        person,
        account_hash,
        client: caller.client.clone(),
        kind: draft.content.kind(),
        content: sealed,
        content_hash: hub.custody.content_hash(&content),
        request_hash: request_hash(hub, draft),
        expires_at: now + hub.config.delivery.age_max,
        surface: Some(surface),
    };
    Ok((id, accepted))
}

fn is_linked(connection: &Connection) -> bool {
    !matches!(connection.status, Status::Absent | Status::Unlinked)
}

/// What would be refused now may have been accepted before, and a repeat gets the first answer for ever.
async fn repeated(
    hub: &Hub,
    caller: &Caller,
    key: &str,
    draft: &Draft,
    refusal: NotAccepted,
) -> Result<Receipt, NotAccepted> {
    if let NotAccepted::Trouble(_) = refusal {
        return Err(refusal);
    }
    let id = message_id(hub, &caller.client, key);
    let before = hub.commands.load::<Message>(id).await?;
    match before.state.accepted {
        None => Err(refusal),
        Some(accepted) if accepted.request_hash == request_hash(hub, draft) => {
            Ok(Receipt { id, position: before.position })
        }
        Some(_) => Err(NotAccepted::KeyReused),
    }
}

/// Whether the client's message of this key was accepted once, whatever the client may now.
pub async fn was_accepted(hub: &Hub, client: &ClientId, key: &str) -> Result<bool> {
    Ok(hub.commands.beginning::<Message>(message_id(hub, client, key)).await?.is_some())
}

fn message_id(hub: &Hub, client: &ClientId, key: &str) -> MessageId {
    MessageId(hub.custody.name_uuid("message", client, key))
}

fn request_hash(hub: &Hub, draft: &Draft) -> KeyedHash {
    hub.custody.content_hash(&serde_json::to_vec(draft).expect("a draft serializes"))
}

/// Judged from the account's own stream, not from a view.
async fn person(hub: &Hub, recipient: &Recipient) -> Result<(PersonId, Option<AccountHash>), NotAccepted> {
    match recipient {
        Recipient::Person(person) => Ok((*person, None)),
        Recipient::Account(account) => {
            let hash = hub.custody.name_account(account);
            let linked = |account: &Account| account.linked.is_some();
            let account = hub.commands.recall(&hash, linked).await.map_err(trouble)?;
            let linked = account.state.linked.as_ref();
            linked.map(|linked| (linked.person, Some(hash))).ok_or(NotAccepted::NotLinked)
        }
    }
}

fn receipt<R>(
    id: MessageId,
    done: Result<crate::commands::Loaded<Message>, Failure<R>>,
) -> Result<Receipt, NotAccepted>
where
    R: std::error::Error + Send + Sync + 'static,
{
    match done {
        Ok(after) => Ok(Receipt { id, position: after.position }),
        // A message refuses one thing only.
        Err(Failure::Refused(_)) => Err(NotAccepted::KeyReused),
        Err(error) => Err(NotAccepted::Trouble(error.into())),
    }
}

/// What is posted to Teams, and from which template it was made, if from one.
pub struct Posting {
    pub message: ChatMessage,
    pub template: Option<Template>,
}

/// What is posted to Teams; `None` where the content was erased.
pub async fn render(hub: &Hub, id: MessageId, accepted: &Accepted) -> Result<Option<Posting>> {
    let stream = format!("message-{id}");
    let content = match hub.custody.unseal(&place(&stream), &accepted.content).await {
        Ok(content) => content,
        Err(UnsealError::Destroyed) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let content: Content = serde_json::from_slice(&content)?;
    Ok(Some(Posting { message: chat_message(id, &content)?, template: content.template() }))
}

fn chat_message(id: MessageId, content: &Content) -> Result<ChatMessage> {
    Ok(match content {
        Content::Text { text } => ChatMessage::Text(text.clone()),
        Content::Html { html } => ChatMessage::Html(html.clone()),
        Content::AdaptiveCard { card, summary } => ChatMessage::Card {
            summary_text: summary.clone(),
            card: card.clone(),
            attachment_id: attachment(id),
        },
        Content::Template { template, data } => {
            let Rendered { card, summary, .. } = templates::render(*template, data)?;
            ChatMessage::Card { summary_text: summary, card, attachment_id: attachment(id) }
        }
    })
}

/// The same for every attempt, so that a message that arrived can be recognised.
fn attachment(id: MessageId) -> Uuid {
    Uuid::new_v5(&id.0, b"attachment")
}

fn place(stream: &str) -> Place<'_> {
    Place { purpose: "content", stream, field: "content", generation: 0 }
}

fn context(caller: &Caller, id: MessageId) -> Context {
    Context::client(&caller.client, id.to_string())
}

/// Another request under the same key is another command, which the message refuses.
fn command_id(accepted: &Accepted) -> CommandId {
    CommandId::new(format!("accept/{}", accepted.request_hash))
}

/// Not even tried, because what goes before it could not be recorded.
fn held_back() -> NotAccepted {
    trouble(StoreError::Unavailable("a message before it could not be recorded".into()))
}

fn trouble(error: impl Into<anyhow::Error>) -> NotAccepted {
    NotAccepted::Trouble(error.into())
}

impl From<LoadError> for NotAccepted {
    fn from(error: LoadError) -> Self {
        Self::Trouble(error.into())
    }
}
