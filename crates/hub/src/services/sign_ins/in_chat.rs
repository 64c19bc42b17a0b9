//! Sign-ins that a person asks the bot for, and the code that confirms those by password.
//!
//! **Invariant.** Only the newest sign-in of a person counts. A code counts for the person who typed `login`, in the chat
//! where they did.

use anyhow::Result;
use custody::KeyName;
use domain::{
    CommandId, PersonId, SignInId, Timestamp,
    connection::{self, Connection},
    sign_in::{Authorized, By, ByBot, CODE_TRIES_MAX, Command, Request, SignIn, Stage, VoidReason},
};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{Invitation, NAME, finish, leading_to, place, seal, stream};
use crate::{
    commands::{Context, Failure},
    hub::Hub,
};

/// Who typed `login`, and where.
pub struct InChat {
    pub person: PersonId,
    pub conversation_id: String,
    /// As Teams shows it.
    pub name: String,
    /// BCP 47.
    pub locale: Option<String>,
    /// The activity, by the id of its stream.
    pub activity: Uuid,
}

/// A link for the person who typed `login`; the same one for the same activity. The one before it is called off.
pub async fn begin_in_chat(hub: &Hub, chat: InChat) -> Result<Invitation> {
    let InChat { person, conversation_id, name, locale, activity } = chat;
    let id = SignInId(Uuid::new_v5(&activity, b"sign-in"));
    let context = in_chat(person, activity);
    let before = hub.commands.load::<SignIn>(id).await?;
    let loaded = if before.state.request.is_some() {
        before
    } else {
        hub.custody.create_sign_in_key(id).await?;
        let name = seal(hub, &KeyName::SignIn(id), &place(&stream(id), NAME), name.as_bytes()).await?;
        let by = By::Bot(Box::new(ByBot { person, conversation_id, name, locale, activity }));
        let lapses_at = hub.clock.now() + hub.config.sign_in.link_life;
        let ask = Command::Ask(Request { by, lapses_at });
        hub.commands.execute::<SignIn>(id, &CommandId::new("request"), &context, ask).await?.into_after()
    };
    let command_id = CommandId::new(format!("begin/{id}"));
    let command = connection::Command::BeginSignIn { sign_in: id };
    let done =
        hub.commands.execute::<Connection>(person.connection(), &command_id, &context, command).await?;
    let begun = done.after().state.begun.filter(|begun| begun.sign_in == id);
    if let Some(former) = begun.and_then(|begun| begun.former) {
        void(hub, former, VoidReason::NewerLogin, &context).await?;
    }
    let lapses_at = loaded.state.request.map_or(hub.clock.now(), |request| request.lapses_at);
    leading_to(hub, id, lapses_at, loaded.position)
}

/// Calls off the link that the person began last, if it is open: who wants to be linked no longer does not mean to be by a
/// link that still lies about.
pub async fn call_off(hub: &Hub, person: PersonId, cause: Uuid) -> Result<()> {
    let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
    let Some(begun) = connection.begun else { return Ok(()) };
    void(hub, begun.sign_in, VoidReason::Logout, &in_chat(person, cause)).await
}

async fn void(hub: &Hub, id: SignInId, why: VoidReason, context: &Context) -> Result<()> {
    hub.commands.execute::<SignIn>(id, &CommandId::new("void"), context, Command::Void { why }).await?;
    finish(hub, id).await?;
    Ok(())
}

/// What came of a code that was typed to the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeTried {
    /// No sign-in of this person waits for a code in this chat: the text means something else.
    NothingOpen,
    Linked,
    Wrong {
        left: u32,
    },
    /// Its time is over, it was typed wrongly too often, or another sign-in has begun since.
    Void,
    /// The account belongs to somebody else.
    Refused,
}

/// Tries a code, as [`as_code`] reads it. `cause` is the activity that brought it: asked twice, tried once.
pub async fn try_code(
    hub: &Hub,
    person: PersonId,
    conversation_id: &str,
    code: &SecretString,
    cause: Uuid,
) -> Result<CodeTried> {
    let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
    let Some(begun) = connection.begun else { return Ok(CodeTried::NothingOpen) };
    let id = begun.sign_in;
    let state = hub.commands.load::<SignIn>(id).await?.state;
    let Some((lapses_at, authorized)) = waiting(&state, person, conversation_id) else {
        return Ok(CodeTried::NothingOpen);
    };
    let attempt = authorized.attempt;
    let right = is_code(hub, id, attempt, code);
    let context = in_chat(person, cause);
    let command_id = CommandId::new(format!("code/{cause}"));
    let now = hub.clock.now();
    let command = match state.stage {
        Stage::Provisional if state.is_open(now) && attempt == state.current_attempt() => {
            if right {
                Command::Confirm { attempt, now }
            } else {
                Command::CountWrongCode { attempt, now }
            }
        }
        Stage::Completed if right => return ended(hub, id).await,
        Stage::Refused if right => return Ok(CodeTried::Refused),
        Stage::Voided if now < lapses_at => return Ok(CodeTried::Void),
        Stage::Provisional | Stage::Lapsed | Stage::Voided if right => return Ok(CodeTried::Void),
        _ => return Ok(CodeTried::NothingOpen),
    };
    let done = match hub.commands.execute::<SignIn>(id, &command_id, &context, command).await {
        Ok(done) => done,
        // Overtaken meanwhile, by another attempt or by the end of its time.
        Err(Failure::Refused(_)) => return Ok(CodeTried::Void),
        Err(error) => return Err(error.into()),
    };
    let after = &done.after().state;
    match after.stage {
        Stage::Provisional => Ok(CodeTried::Wrong { left: CODE_TRIES_MAX - after.wrong_codes }),
        _ => ended(hub, id).await,
    }
}

/// What a sign-in by password brought that this person began in this chat, and when its time is over.
fn waiting<'a>(
    state: &'a SignIn,
    person: PersonId,
    conversation_id: &str,
) -> Option<(Timestamp, &'a Authorized)> {
    let request = state.request.as_ref()?;
    let by = request.of_bot().filter(|by| by.person == person && by.conversation_id == conversation_id);
    let authorized = state.authorized.as_ref().filter(|authorized| authorized.grant.is_none());
    by.and(authorized).map(|authorized| (request.lapses_at, authorized))
}

async fn ended(hub: &Hub, id: SignInId) -> Result<CodeTried> {
    Ok(match finish(hub, id).await? {
        Stage::Completed => CodeTried::Linked,
        Stage::Refused => CodeTried::Refused,
        _ => CodeTried::Void,
    })
}

fn is_code(hub: &Hub, id: SignInId, attempt: u32, given: &SecretString) -> bool {
    let code = hub.custody.typed_code(id, attempt);
    code.expose_secret().as_bytes().ct_eq(given.expose_secret().as_bytes()).into()
}

/// Reads a text as a code, where it has the shape of one: eight of Crockford's characters; case, spaces and dashes do not
/// matter, nor does what looks alike.
pub fn as_code(text: &str) -> Option<SecretString> {
    let code: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    let crockford = |b: u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && b != b'U');
    (code.len() == 8 && code.bytes().all(crockford)).then(|| code.into())
}

/// The person, in the chat with the bot.
fn in_chat(person: PersonId, activity: Uuid) -> Context {
    let context = Context::person(activity.to_string());
    context.of_tenant(person.tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_written() {
        let read = |text| as_code(text).map(|code| code.expose_secret().to_owned());
        for text in ["0123ABCD", "0123abcd", " 0123 abcd ", "o1 23-ABcd", "oi23\u{a0}abcd"] {
            assert_eq!(read(text).as_deref(), Some("0123ABCD"), "{text}");
        }
        for text in ["", "login", "0123ABC", "0123ABCDE", "0123ABCU", "0123ABC\u{e4}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
