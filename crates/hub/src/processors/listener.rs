//! Listens to what others write to the streams by which a delivery is judged, so that what this hub remembers of them is
//! forgotten at once, and the store need not be asked each time.

use anyhow::Result;
use domain::{Aggregate as _, account::Account, connection::Connection, message::Message, tenant::Tenant};
use futures_util::StreamExt as _;
use store::{Filter, Position};
use tokio_util::sync::CancellationToken;

use super::PAUSE;
use crate::hub::Hub;

const CATEGORIES: [&str; 4] = [Account::CATEGORY, Connection::CATEGORY, Message::CATEGORY, Tenant::CATEGORY];

/// Listens behind `upto`. While it hears nothing, the store is asked.
pub(super) async fn run(hub: Hub, mut upto: Position, stopping: CancellationToken) -> Result<()> {
    hub.commands.listen_from(upto);
    loop {
        let mut pages = hub.store.follow(upto, Filter::categories(CATEGORIES));
        while let Some(page) = stopping.run_until_cancelled(pages.next()).await.flatten() {
            match page {
                Ok(page) => {
                    hub.commands.hear(&page);
                    upto = page.upto;
                }
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(error, "It is not heard what other hubs write; trying again.");
                }
            }
        }
        if stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}
