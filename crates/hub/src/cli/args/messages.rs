//! What can be typed behind `chancery messages`, and whom it is about.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use domain::{AccountId, ObjectId, TenantId};

use super::PageArgs;
use crate::templates;

#[derive(Debug, Subcommand)]
pub enum MessagesCommand {
    /// Send a message. It is accepted at once and delivered when its turn comes.
    Send(Box<SendArgs>),
    /// Show a message: its state, why it waits if it does, and how often it was tried.
    Show { id: domain::MessageId },
    /// List messages, the newest first.
    List {
        /// Only those to this account of the product.
        #[arg(long)]
        account: Option<AccountId>,
        /// Only those in this state.
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    pub recipient: WhomArgs,
    #[command(flatten)]
    pub content: ContentArgs,
    /// Which way: by Microsoft Graph as the person, by the bot, or by whichever will do. By default as the tenant or the hub
    /// has it.
    #[arg(long, value_name = "WAY", value_parser = ["graph", "bot", "auto"])]
    pub surface: Option<String>,
    /// Send this at most once, however often the command is repeated with the same key. By default a random one.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// A person, by the product's id or by Microsoft's.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct WhomArgs {
    /// A user of the product, by the product's own id.
    #[arg(long, conflicts_with_all = ["tenant", "person"])]
    pub account: Option<AccountId>,
    /// A person's Microsoft Entra tenant.
    #[arg(long, value_name = "TENANT_ID", requires = "person")]
    pub tenant: Option<TenantId>,
    /// A person, by the object id in that tenant.
    #[arg(long, value_name = "OBJECT_ID", requires = "tenant")]
    pub person: Option<ObjectId>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ContentArgs {
    /// Plain text.
    #[arg(long, conflicts_with_all = ["html", "card", "template"])]
    pub text: Option<String>,
    /// HTML, of which Teams knows a part.
    #[arg(long, conflicts_with_all = ["card", "template"])]
    pub html: Option<String>,
    /// A file with an Adaptive Card (JSON).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "summary", conflicts_with = "template")]
    pub card: Option<PathBuf>,
    /// What notifications say of the card.
    #[arg(long, requires = "card")]
    pub summary: Option<String>,
    /// A card that the hub makes of --data.
    #[arg(long, value_name = "NAME", requires = "data", value_parser = template_names())]
    pub template: Option<String>,
    /// What the template is filled in with, as JSON: {"title":"…","start":"0","target":"100","current":"42.5","unit":"%"}.
    #[arg(long, value_name = "JSON", requires = "template")]
    pub data: Option<String>,
}

fn template_names() -> Vec<&'static str> {
    templates::ALL
        .iter()
        .filter(|known| known.template.version == 1)
        .map(|known| known.template.name.as_str())
        .collect()
}
