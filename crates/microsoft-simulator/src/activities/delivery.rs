//! Posting activities to the bot, and once more where it does not answer well.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::Sent;
use super::token::{TokenFlaw, token};
use crate::dials::Redelivery;
use crate::{Simulator, clock};

/// A client for this machine alone. It trusts no certificate authority, since it speaks no TLS.
pub(super) fn client() -> anyhow::Result<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().use_preconfigured_tls(tls).redirect(Policy::none()).no_proxy().build()?)
}

impl Simulator {
    /// Delivers an honest activity, as patiently as Teams does. Absent if there is no bot to tell.
    pub(crate) async fn deliver(&self, activity: Value) -> Option<Sent> {
        let sent = self.post(activity.clone(), None).await?;
        if !matches!(sent.status, None | Some(502..=504)) {
            return Some(sent);
        }
        let mut again = activity;
        match self.dials().redelivery {
            Redelivery::Never => return Some(sent),
            Redelivery::SameId => {}
            Redelivery::NewId => {
                again["id"] = self.0.chance.uuid().to_string().into();
                again["timestamp"] = clock::stamp(self.0.clock.now_ms()).into();
            }
        }
        self.post(again, None).await
    }

    /// Delivers one after the other.
    pub(crate) async fn deliver_all(&self, activities: Vec<Value>) {
        for activity in activities {
            self.deliver(activity).await;
        }
    }

    /// Delivers in the background.
    pub(crate) fn deliver_later(&self, activities: Vec<Value>) {
        if !activities.is_empty() && self.0.activities.endpoint().is_some() {
            let simulator = self.clone();
            tokio::spawn(async move { simulator.deliver_all(activities).await });
        }
    }

    /// Posts an activity once, and remembers what came of it. Absent if there is no bot to tell.
    pub(super) async fn post(&self, activity: Value, flaw: Option<TokenFlaw>) -> Option<Sent> {
        let endpoint = self.0.activities.endpoint()?;
        let service_url = activity["serviceUrl"].as_str().unwrap_or_default();
        let mut request = self.0.activities.client.post(endpoint).json(&activity);
        if let Some(token) = token(self, service_url, flaw) {
            request = request.bearer_auth(token);
        }
        let answered = async {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, answer.text().await.unwrap_or_default()))
        };
        let limit = Duration::from_millis(self.dials().answer_timeout_ms);
        let (status, body) = tokio::select! {
            answer = tokio::time::timeout(limit, answered) => answer.ok().flatten().unzip(),
            () = self.0.closing.cancelled() => (None, None),
        };
        let sent = Sent { activity, token: flaw, status, body: body.unwrap_or_default() };
        self.0.activities.remember(sent.clone());
        self.0.calls.nudge();
        Some(sent)
    }
}
