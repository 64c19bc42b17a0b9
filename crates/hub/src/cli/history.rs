//! `chancery history`.

use reqwest::Method;
use serde_json::Value;

use super::{
    args::{PageArgs, ServerArgs, WhomArgs},
    client::{Client, send},
    messages::{more, paged, pretty, text},
    print, table,
};

pub(super) async fn run(
    of: &WhomArgs,
    page: &PageArgs,
    server: &ServerArgs,
    json: bool,
) -> anyhow::Result<()> {
    let client = Client::new(server)?;
    let request = match (&of.account, of.tenant, of.person) {
        (Some(account), ..) => {
            client.request(Method::GET, &["v1", "accounts", account.as_str(), "history"])?
        }
        (None, Some(tenant), Some(person)) => {
            let (tenant, person) = (tenant.to_string(), person.to_string());
            client.request(Method::GET, &["v1", "tenants", &tenant, "connections", &person, "history"])?
        }
        _ => anyhow::bail!("whose history? Give --account, or --tenant and --person"),
    };
    let list = send(paged(request, page)).await?;
    print(&if json { pretty(&list) } else { listed(&list) })
}

fn listed(list: &Value) -> String {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |item: &Value| ["recorded_at", "event", "actor", "summary"].map(|key| text(&item[key])).into();
    let rows: Vec<_> = items.iter().map(row).collect();
    table::render(&["RECORDED", "EVENT", "ACTOR", "WHAT HAPPENED"], &rows) + &more(list)
}
