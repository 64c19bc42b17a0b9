//! What follows from an activity, step by step, so that a process that dies in between can be followed by another.
//!
//! **Invariants.** Each step may be done twice and counts once: sign-ins and notices are named after the activity. The
//! payload is destroyed before the activity is recorded as handled. In a group nothing is said about anybody.

use anyhow::Result;
use custody::{CustodyError, VaultError};
use domain::{
    ActivityId, CommandId, PersonId, Timestamp,
    activity::{self, BotCommand, Kind, Obstacle, Outcome, Received},
    connection::{self, Connection, Installation, Reachable},
};
use microsoft::bot::{self, Scope};
use projections::due::ActivityRow;
use store::Position;
use uuid::Uuid;

use super::{
    catalogue::{Notice, Standing},
    notices::{self, Told},
    strangers,
};
use crate::{
    commands::{Context, Done, LoadError},
    hub::Hub,
    metrics::ActivityOutcome,
    services::{
        echoes,
        people::{self, LoggedOut},
        sign_ins::{self, CodeTried, InChat},
    },
};

/// Whether an activity is handled.
pub enum Handled {
    /// Where in the log it is recorded.
    At(Position),
    /// The bot could not say what it has to; worth another try then.
    NotBefore(Timestamp),
}

/// The payload is not in the vault. It comes after the event that speaks of it, so this may pass.
#[derive(Debug, thiserror::Error)]
#[error("what somebody did to the bot is not in the vault")]
pub struct NotThere;

/// Handles an activity of which `due` knows, unless somebody did.
pub async fn handle(hub: &Hub, id: ActivityId, row: &ActivityRow) -> Result<Handled> {
    let loaded = hub.commands.load::<activity::Activity>(id).await?;
    let waits = loaded.state.received.filter(|it| it.inbox == row.inbox && loaded.state.handled.is_none());
    let Some(received) = waits else { return Ok(Handled::At(loaded.position)) };
    for inbox in loaded.state.superseded {
        hub.custody.destroy_inbox(inbox).await?;
    }
    let context =
        Context::hub("bot", id.to_string()).of_tenant(received.person.tenant).caused_by(loaded.last);
    let outcome = match hub.custody.get_inbox(received.inbox).await {
        Ok(Some(payload)) => match bot::Activity::parse(&payload) {
            Ok(activity) => {
                match follow(&Case { hub, received: &received, activity, context: &context }).await? {
                    Then::Done(outcome) => outcome,
                    Then::Later(at) => return Ok(Handled::NotBefore(at)),
                }
            }
            Err(problem) => {
                tracing::error!(activity.id = %id, "What somebody did to the bot can't be read: {problem}.");
                Outcome::PayloadLost
            }
        },
        Ok(None) => return Err(NotThere.into()),
        Err(CustodyError::Destroyed { .. }) => Outcome::Finished,
        Err(error) => return Err(error.into()),
    };
    Ok(Handled::At(conclude(hub, id, received.inbox, outcome, None, &context).await?))
}

/// Whether it is the activity's own trouble, and no passing one.
pub fn is_hopeless(why: &anyhow::Error) -> bool {
    why.is::<NotThere>() || obstacle(why) != Obstacle::Other
}

/// Gives up what can't be handled, so that what the person did later has its turn. Answers where that is recorded.
pub async fn give_up(hub: &Hub, id: ActivityId, row: &ActivityRow, why: &anyhow::Error) -> Result<Position> {
    let lost = why.is::<NotThere>();
    let (outcome, obstacle) =
        if lost { (Outcome::PayloadLost, None) } else { (Outcome::GaveUp, Some(obstacle(why))) };
    let error = format!("{why:#}");
    tracing::error!(activity.id = %id, error, "What somebody did to the bot can't be handled; it is given up.");
    let context = Context::hub("bot", id.to_string()).of_tenant(row.person.tenant);
    conclude(hub, id, row.inbox, outcome, obstacle, &context).await
}

fn obstacle(why: &anyhow::Error) -> Obstacle {
    if why.is::<CustodyError>() || why.is::<VaultError>() {
        Obstacle::Vault
    } else if let Some(LoadError::Unreadable(_)) = why.downcast_ref() {
        Obstacle::Record
    } else {
        Obstacle::Other
    }
}

async fn conclude(
    hub: &Hub,
    id: ActivityId,
    inbox: Uuid,
    outcome: Outcome,
    obstacle: Option<Obstacle>,
    context: &Context,
) -> Result<Position> {
    hub.custody.destroy_inbox(inbox).await?;
    let command = activity::Command::Handle { inbox, outcome, obstacle };
    let command_id = CommandId::new(format!("handle/{inbox}"));
    let done = hub.commands.execute::<activity::Activity>(id, &command_id, context, command).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.activity_handled(ActivityOutcome::of(outcome));
    }
    Ok(done.after().position)
}

/// What is to be done next.
enum Then {
    Done(Outcome),
    Later(Timestamp),
}

impl From<Told> for Then {
    fn from(told: Told) -> Self {
        match told {
            Told::Said | Told::Before => Self::Done(Outcome::Answered),
            Told::Unsaid => Self::Done(Outcome::Unanswered),
            Told::Later(at) => Self::Later(at),
        }
    }
}

/// An activity with everything that is needed to follow it.
struct Case<'a> {
    hub: &'a Hub,
    received: &'a Received,
    activity: bot::Activity,
    context: &'a Context,
}

async fn follow(case: &Case<'_>) -> Result<Then> {
    if !strangers::is_let_in(case.hub, case.person().tenant).await? {
        return case.turn_away().await;
    }
    if !case.is_personal() {
        return case.in_group().await;
    }
    match case.received.kind {
        Kind::Installed => case.greet().await,
        Kind::Removed => case.part().await,
        Kind::Message if case.is_echo().await? => Ok(Then::Done(Outcome::Echo)),
        Kind::Message | Kind::Submit => {
            case.meet().await?;
            case.answer(case.received.command).await
        }
    }
}

impl Case<'_> {
    fn person(&self) -> PersonId {
        self.received.person
    }

    /// Whether the hub itself said it in the person's name.
    async fn is_echo(&self) -> Result<bool> {
        let bot::Kind::Message { text } = &self.activity.kind else { return Ok(false) };
        echoes::is_echo(self.hub, self.person(), text).await
    }

    fn is_personal(&self) -> bool {
        let conversation = &self.activity.conversation;
        // Some activities do not say it, but the ids of personal conversations do.
        conversation.scope == Scope::Personal
            || (conversation.scope == Scope::Unsaid && conversation.id.starts_with("a:"))
    }

    /// What names all that follows. A card can be submitted again later, and is the same activity then.
    fn cause(&self) -> Uuid {
        self.received.inbox
    }

    /// Says something where the person wrote, once for this activity.
    async fn reply(&self, notice: &Notice) -> Result<Then> {
        let place = notices::Place::of(&self.activity);
        Ok(notices::reply(self.hub, self.person(), &place, self.cause(), notice).await?.into())
    }

    /// It was let in when this came, and is not any more.
    async fn turn_away(&self) -> Result<Then> {
        strangers::see(self.hub, self.person().tenant, self.context).await?;
        if self.received.kind != Kind::Removed {
            let place = notices::Place::of(&self.activity);
            if let Told::Later(at) = strangers::tell(self.hub, self.person(), &place).await? {
                return Ok(Then::Later(at));
            }
        }
        Ok(Then::Done(Outcome::TenantNotAdmitted))
    }

    /// Others read along: commands lead to the personal chat, and nothing else is answered.
    async fn in_group(&self) -> Result<Then> {
        let asked = self.received.command.is_some_and(|command| command != BotCommand::Code);
        if asked { self.reply(&Notice::PersonalChatOnly).await } else { Ok(Then::Done(Outcome::Noted)) }
    }

    /// Knows where the person is reached from now on. True where the bot was not there before.
    async fn meet(&self) -> Result<bool> {
        let conversation = connection::Conversation {
            bot_id: self.activity.recipient.id.clone(),
            service_url: self.activity.service_url.clone(),
            conversation_id: self.activity.conversation.id.clone(),
            user_id: self.activity.from.id.clone(),
            locale: self.activity.locale.clone(),
            activity_id: self.activity.id.clone(),
        };
        let command = connection::Command::InstallBot(Installation {
            person: self.person(),
            conversation,
            at: self.activity.at,
            installed: self.received.kind == Kind::Installed,
        });
        let before = self.hub.commands.load::<Connection>(self.person().connection()).await?;
        // Who was met by this very activity, and could not be greeted then, is new all the same.
        let met = before.knows(&self.command_id("bot"));
        let appended = self.connect("bot", command).await?;
        // An installation that is older than what is known changes nothing.
        Ok(met || appended && before.state.bot.is_none_or(|bot| bot.reachable == Reachable::Removed))
    }

    /// Teams tells of an installation twice, and of updates of the app as well: only who had no bot is greeted.
    async fn greet(&self) -> Result<Then> {
        if !self.meet().await? {
            return Ok(Then::Done(Outcome::Noted));
        }
        self.hint().await
    }

    async fn part(&self) -> Result<Then> {
        let conversation_id = self.activity.conversation.id.clone();
        let command = connection::Command::RemoveBot { conversation_id, at: self.activity.at };
        self.connect("bot-removed", command).await?;
        Ok(Then::Done(Outcome::Noted))
    }

    async fn connection(&self) -> Result<Connection> {
        Ok(self.hub.commands.load::<Connection>(self.person().connection()).await?.state)
    }

    fn command_id(&self, what: &str) -> CommandId {
        CommandId::new(format!("{what}/{}", self.received.inbox))
    }

    /// True where that was news.
    async fn connect(&self, what: &str, command: connection::Command) -> Result<bool> {
        let command_id = self.command_id(what);
        let id = self.person().connection();
        let done = self.hub.commands.execute::<Connection>(id, &command_id, self.context, command).await?;
        Ok(matches!(done, Done::Appended { .. }))
    }

    async fn answer(&self, command: Option<BotCommand>) -> Result<Then> {
        match command {
            Some(BotCommand::Login) => self.login().await,
            Some(BotCommand::Logout) => self.logout().await,
            Some(BotCommand::Status) => self.status().await,
            Some(BotCommand::Help) => self.reply(&Notice::Help).await,
            Some(BotCommand::Code) => self.code().await,
            None => self.hint().await,
        }
    }

    /// What the bot can do, for who asked for something else; not over and over.
    async fn hint(&self) -> Result<Then> {
        let place = notices::Place::of(&self.activity);
        Ok(match notices::hint(self.hub, self.person(), &place).await? {
            Told::Before => Then::Done(Outcome::Noted),
            told => told.into(),
        })
    }

    async fn login(&self) -> Result<Then> {
        let chat = InChat {
            person: self.person(),
            conversation_id: self.activity.conversation.id.clone(),
            name: self.activity.from.name.clone().unwrap_or_default(),
            locale: self.activity.locale.clone(),
            activity: self.cause(),
        };
        let invitation = sign_ins::begin_in_chat(self.hub, chat).await?;
        let minutes = self.hub.config.sign_in.link_life.as_secs() / 60;
        let connected = match Standing::of(self.connection().await?.status) {
            Standing::NotLinked => None,
            _ => Some(people::accounts(self.hub, self.person()).await?),
        };
        self.reply(&Notice::Login { url: invitation.url, minutes, connected }).await
    }

    async fn logout(&self) -> Result<Then> {
        sign_ins::call_off(self.hub, self.person(), self.cause()).await?;
        let notice = match people::logout(self.hub, self.person(), self.cause()).await? {
            LoggedOut::Done => Notice::LoggedOut,
            LoggedOut::NotLinked => Notice::NotLinked,
        };
        self.reply(&notice).await
    }

    async fn status(&self) -> Result<Then> {
        let standing = Standing::of(self.connection().await?.status);
        let accounts = people::accounts(self.hub, self.person()).await?;
        self.reply(&Notice::Status { standing, accounts }).await
    }

    /// Only while a code is waited for; otherwise the text is like any other.
    async fn code(&self) -> Result<Then> {
        let bot::Kind::Message { text } = &self.activity.kind else { return self.hint().await };
        let Some(code) = sign_ins::as_code(text) else { return self.hint().await };
        let conversation_id = &self.activity.conversation.id;
        let notice =
            match sign_ins::try_code(self.hub, self.person(), conversation_id, &code, self.cause()).await? {
                CodeTried::NothingOpen => return self.hint().await,
                CodeTried::Linked => {
                    Notice::Linked { accounts: people::accounts(self.hub, self.person()).await? }
                }
                CodeTried::Wrong { left } => Notice::CodeWrong { left },
                CodeTried::Void => Notice::CodeVoid,
                CodeTried::Refused => Notice::LinkRefused,
            };
        self.reply(&notice).await
    }
}
