//! Microsoft Graph: finding a person's chat with the bot, and posting to it as that person.

mod failure;
mod message;

use std::{fmt, time::Duration};

use reqwest::{Client, Method, Request, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;
use uuid::Uuid;

pub use failure::{Diagnosis, Failure, ForbiddenBecause};
pub use message::ChatMessage;

use crate::{
    http::{self, Answer, ClientError, Transport},
    wire::{encoded, is_id},
};
use failure::Call;

#[derive(Clone, Debug)]
pub struct GraphConfig {
    /// `https://graph.microsoft.com/v1.0`
    pub base: Url,
    pub teams_app: TeamsApp,
    /// Whether a 503 to a create means that nothing was created. Microsoft documents that such a request may be
    /// repeated after a delay, and a service that turns work away does so before it begins; so the normal setting is
    /// `true`. Even then a 503 counts only with Graph's own error code or a `Retry-After`: a bare one can come from a
    /// gateway that lost its backend half-way, and is ambiguous.
    pub trust_503: bool,
}

/// How the bot's app is recognised among a person's installed apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TeamsApp {
    /// The manifest's id: for an app from an organisation's own catalogue.
    ExternalId(String),
    /// The id in the catalogue: for an app from the Teams store, where it equals the manifest's.
    CatalogId(String),
}

/// What there is to post to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundChat {
    Chat {
        chat_id: String,
        installation_id: String,
    },
    /// The app is not installed for this person, or its chat has not been made yet: look again later.
    NotInstalled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Unique within the chat.
    pub message_id: String,
    pub etag: Option<String>,
    pub request_id: Option<Uuid>,
}

/// What the directory says about a person: personal data, kept out of debug output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    pub mail: Option<String>,
    pub user_principal_name: Option<String>,
    pub display_name: Option<String>,
}

impl fmt::Debug for Me {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Me(…)")
    }
}

/// Graph, for whoever's access token is given.
pub struct Graph {
    http: Client,
    base: String,
    teams_app: TeamsApp,
    trust_503: bool,
}

/// Pages of one list that are read at most.
const PAGES_MAX: usize = 20;

#[derive(Deserialize)]
struct Page<T> {
    value: Vec<T>,
    /// Where the list goes on; a page may be empty and have one all the same.
    #[serde(rename = "@odata.nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Installation {
    id: String,
    #[serde(rename = "teamsApp")]
    teams_app: Option<InstalledApp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstalledApp {
    id: Option<String>,
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    etag: Option<String>,
}

impl Graph {
    pub fn new(config: GraphConfig, http: Client) -> Result<Self, ClientError> {
        let (TeamsApp::ExternalId(id) | TeamsApp::CatalogId(id)) = &config.teams_app;
        let shaped = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if id.is_empty() || !id.bytes().all(shaped) {
            let problem = "must have letters, digits, '-', '_' and '.' only";
            return Err(ClientError::Setting { setting: "teams_app", problem });
        }
        if config.base.cannot_be_a_base() || config.base.query().is_some() || config.base.fragment().is_some()
        {
            let problem = "must be an address without query such as https://graph.microsoft.com/v1.0";
            return Err(ClientError::Setting { setting: "base", problem });
        }
        let base = config.base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, teams_app: config.teams_app, trust_503: config.trust_503 })
    }

    /// The chat between the person and the bot, by way of the installed app: its id can't be computed.
    /// Needs `TeamsAppInstallation.ReadForUser`.
    pub async fn find_chat(&self, access: &SecretString) -> Result<FoundChat, Failure> {
        let (property, id) = match &self.teams_app {
            TeamsApp::ExternalId(id) => ("externalId", id),
            TeamsApp::CatalogId(id) => ("id", id),
        };
        let apps =
            format!("/me/teamwork/installedApps?$expand=teamsApp&$filter=teamsApp/{property}%20eq%20'{id}'");
        let Some(installation) = self.find_installation(access, apps).await? else {
            return Ok(FoundChat::NotInstalled);
        };
        let chat = format!("/me/teamwork/installedApps/{}/chat", encoded(&installation.id));
        match self.read::<Created>(access, &chat).await {
            Ok(chat) => Ok(FoundChat::Chat { chat_id: chat.id, installation_id: installation.id }),
            Err(Failure::NotFound { .. }) => Ok(FoundChat::NotInstalled),
            Err(failure) => Err(failure),
        }
    }

    /// Looks through the pages of a list. A link that leads away from Graph is not followed: a token goes there.
    async fn find_installation(
        &self,
        access: &SecretString,
        first: String,
    ) -> Result<Option<Installation>, Failure> {
        let mut next = Some(first);
        for _ in 0..PAGES_MAX {
            let Some(path) = next else { break };
            let page: Page<Installation> = self.read(access, &path).await?;
            if let Some(ours) = page.value.into_iter().find(|installation| self.is_ours(installation)) {
                return Ok(Some(ours));
            }
            let path = |link: String| {
                let path = link.strip_prefix(&self.base)?;
                path.starts_with('/').then(|| path.to_owned())
            };
            next = page.next_link.and_then(path);
        }
        Ok(None)
    }

    /// Posts once, as the person whose token it is. `client_request_id` is for tracing; it makes nothing happen once.
    /// Needs `ChatMessage.Send`.
    pub async fn post(
        &self,
        access: &SecretString,
        chat_id: &str,
        message: &ChatMessage,
        timeout: Duration,
        client_request_id: Uuid,
    ) -> Result<Posted, Failure> {
        let call = Call::Create { client_request_id, trust_503: self.trust_503 };
        let request = self
            .request(Method::POST, &format!("/chats/{}/messages", encoded(chat_id)))
            .bearer_auth(access.expose_secret())
            .header("client-request-id", client_request_id.to_string())
            .timeout(timeout)
            .json(&message.to_json());
        let answer = self.send(call, request).await?;
        match answer.json::<Created>() {
            Some(created) if answer.is_success() && is_id(&created.id) => Ok(Posted {
                message_id: created.id,
                etag: created.etag.filter(|etag| is_id(etag)),
                request_id: failure::request_id(&answer),
            }),
            _ => Err(Failure::of_answer(call, &answer)),
        }
    }

    /// Who the directory says the person is. Needs `User.Read`.
    pub async fn me(&self, access: &SecretString) -> Result<Me, Failure> {
        self.read(access, "/me?$select=mail,userPrincipalName,displayName").await
    }

    /// Whether Graph answers at all, by a read that changes nothing. Without a token, being refused is the good answer.
    pub async fn probe(&self, access: Option<&SecretString>) -> Result<(), Failure> {
        let mut request = self.request(Method::GET, "/me?$select=id");
        if let Some(access) = access {
            request = request.bearer_auth(access.expose_secret());
        }
        let answer = self.send(Call::Read, request).await?;
        if answer.is_success() || (answer.status == 401 && access.is_none()) {
            return Ok(());
        }
        Err(Failure::of_answer(Call::Read, &answer))
    }

    /// The filter said so already; but not every server of this API heeds it.
    fn is_ours(&self, installation: &Installation) -> bool {
        let Some(app) = &installation.teams_app else { return true };
        let (found, wanted) = match &self.teams_app {
            TeamsApp::ExternalId(id) => (&app.external_id, id),
            TeamsApp::CatalogId(id) => (&app.id, id),
        };
        found.as_ref().is_none_or(|found| found.eq_ignore_ascii_case(wanted))
    }

    async fn read<T: DeserializeOwned>(&self, access: &SecretString, path: &str) -> Result<T, Failure> {
        let request = self.request(Method::GET, path).bearer_auth(access.expose_secret());
        let answer = self.send(Call::Read, request).await?;
        match answer.json() {
            Some(wanted) if answer.is_success() => Ok(wanted),
            _ => Err(Failure::of_answer(Call::Read, &answer)),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn send(&self, call: Call, request: RequestBuilder) -> Result<Answer, Failure> {
        let request: Request =
            request.build().map_err(|_| Failure::of_transport(call, Transport::NotAllowed))?;
        http::send(&self.http, request).await.map_err(|transport| Failure::of_transport(call, transport))
    }
}
