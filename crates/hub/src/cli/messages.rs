//! `chancery messages`.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{ContentArgs, MessagesCommand, PageArgs, SendArgs, ServerArgs, WhomArgs},
    client::{Client, send},
    print, table,
};
use crate::clock::{Ids as _, SystemIds};

pub(super) async fn run(command: MessagesCommand, server: &ServerArgs, json: bool) -> anyhow::Result<()> {
    let client = Client::new(server)?;
    let text = match command {
        MessagesCommand::Send(args) => {
            let accepted = send_message(&client, &args).await?;
            if json { pretty(&accepted) } else { format!("{}\n", text(&accepted["id"])) }
        }
        MessagesCommand::Show { id } => {
            let message = send(client.request(Method::GET, &["v1", "messages", &id.to_string()])?).await?;
            if json { pretty(&message) } else { show(&message) }
        }
        MessagesCommand::List { account, status, page } => {
            let account = account.map(|account| account.as_str().to_owned());
            let filter = [("recipient_account", account), ("status", status)];
            let request = client.request(Method::GET, &["v1", "messages"])?;
            let list = send(paged(request, &page).query(&filter)).await?;
            if json { pretty(&list) } else { listed(&list) }
        }
    };
    print(&text)
}

pub(super) async fn send_message(client: &Client, args: &SendArgs) -> anyhow::Result<Value> {
    let mut body = json!({ "recipient": recipient(&args.recipient), "content": content(&args.content)? });
    if let Some(surface) = &args.surface {
        body["surface"] = json!(surface);
    }
    let key = args.idempotency_key.clone().unwrap_or_else(|| SystemIds.uuid().to_string());
    let request = client.request(Method::POST, &["v1", "messages"])?;
    send(request.header("idempotency-key", key).json(&body)).await
}

fn recipient(args: &WhomArgs) -> Value {
    match &args.account {
        Some(account) => json!({ "account": account }),
        None => json!({ "tenant": args.tenant, "object_id": args.person }),
    }
}

fn content(args: &ContentArgs) -> anyhow::Result<Value> {
    Ok(match args {
        ContentArgs { text: Some(text), .. } => json!({ "type": "text", "text": text }),
        ContentArgs { html: Some(html), .. } => json!({ "type": "html", "html": html }),
        ContentArgs { card: Some(path), summary, .. } => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
            let card: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
            json!({ "type": "adaptive_card", "card": card, "summary": summary })
        }
        ContentArgs { template, data, .. } => {
            let data: Value =
                serde_json::from_str(data.as_deref().unwrap_or_default()).context("--data is not JSON")?;
            json!({ "type": "template", "template": template, "data": data })
        }
    })
}

fn listed(list: &Value) -> String {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |item: &Value| {
        ["id", "status", "accepted_at"]
            .map(|key| text(&item[key]))
            .into_iter()
            .chain([whom(&item["recipient"])])
            .collect()
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table::render(&["ID", "STATUS", "ACCEPTED", "RECIPIENT"], &rows) + &more(list)
}

/// The members of a message, one in a line.
fn show(message: &Value) -> String {
    let members = message.as_object().into_iter().flatten();
    let rows: Vec<_> = members
        .map(|(name, value)| vec![name.clone(), if name == "recipient" { whom(value) } else { text(value) }])
        .collect();
    table::render(&["", ""], &rows).trim_start_matches('\n').to_owned()
}

fn whom(person: &Value) -> String {
    format!("{}/{}", text(&person["tenant"]), text(&person["object_id"]))
}

pub(super) fn paged(request: reqwest::RequestBuilder, page: &PageArgs) -> reqwest::RequestBuilder {
    request.query(&[("limit", page.limit)]).query(&[("cursor", &page.cursor)])
}

/// How to go on, when there is more.
pub(super) fn more(list: &Value) -> String {
    list["next_cursor"].as_str().map(|cursor| format!("More: --cursor {cursor}\n")).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
