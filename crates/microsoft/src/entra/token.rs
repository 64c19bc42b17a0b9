//! The token endpoint's answers.
//!
//! `oauth2` writes the requests and reads the tokens. The errors are ours: [`Exchange`] classifies every answer but 200
//! before `oauth2` could keep its text.

use std::{pin::Pin, time::Duration};

use oauth2::{
    AsyncHttpClient, AuthType, EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse,
    RequestTokenError, StandardRevocableToken, StandardTokenResponse, TokenResponse,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
    },
};
use reqwest::Client;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{Entra, TokenFailure};
use crate::http::{self, Transport};

/// The shortest lifetime that a tenant's policy can give an access token: assumed where the answer names none.
pub(crate) const LIFETIME_MIN: Duration = Duration::from_mins(10);

/// One token pair.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: SecretString,
    /// `None` only where `offline_access` was not granted, or where a refresh leaves the old one in force.
    pub refresh: Option<SecretString>,
    /// From the arrival of the answer.
    pub expires_in: Duration,
    /// As the answer names them: order, case and prefix vary. Empty where it names none, which means: as requested.
    pub scopes: Vec<String>,
}

/// The `id_token` beside the fields of RFC 6749.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct IdTokenField {
    #[serde(default, skip_serializing)]
    pub(super) id_token: Option<SecretString>,
}

impl ExtraTokenFields for IdTokenField {}

pub(super) type Response = StandardTokenResponse<IdTokenField, BasicTokenType>;

/// What `oauth2` needs to know of a tenant's endpoints to write our requests.
pub(super) type TenantClient = oauth2::Client<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Entra {
    /// The client for one tenant's path; `tenant` as it stands in the path.
    pub(super) fn at(&self, tenant: &str) -> TenantClient {
        use secrecy::ExposeSecret;
        oauth2::Client::new(oauth2::ClientId::new(self.config.client_id.to_string()))
            .set_client_secret(oauth2::ClientSecret::new(
                self.config.client_secret.expose_secret().to_owned(),
            ))
            // In the body, as Microsoft documents it.
            .set_auth_type(AuthType::RequestBody)
            .set_redirect_uri(oauth2::RedirectUrl::from_url(self.config.redirect_uri.clone()))
            .set_auth_uri(oauth2::AuthUrl::from_url(self.endpoints.authorize(tenant)))
            .set_token_uri(oauth2::TokenUrl::from_url(self.endpoints.token(tenant)))
    }
}

/// Sends token requests for `oauth2`, each once. `Err` for every answer but 200.
pub(crate) struct Exchange<'a> {
    pub(crate) http: &'a Client,
    /// `None` is the client's own.
    pub(crate) timeout: Option<Duration>,
}

impl<'c> AsyncHttpClient<'c> for Exchange<'_> {
    type Error = TokenFailure;
    // Boxed, because a closure's future is not known to be `Send` for every lifetime.
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenFailure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Exchange<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TokenFailure> {
        let mut request = reqwest::Request::try_from(request)
            .map_err(|_| TokenFailure::of_transport(Transport::NotAllowed))?;
        if self.timeout.is_some() {
            *request.timeout_mut() = self.timeout;
        }
        let answer = http::send(self.http, request).await.map_err(TokenFailure::of_transport)?;
        match answer.body {
            Some(body) if answer.status == 200 => Ok(HttpResponse::new(read_leniently(body))),
            None if answer.is_success() => Err(TokenFailure::of_transport(Transport::Broken)),
            _ => Err(TokenFailure::of_answer(&answer)),
        }
    }
}

/// With the lifetime as a number where it stands as text, as in answers of Entra ID's first version: `oauth2` would read
/// nothing of such an answer, and a refresh token that is good for one use would be lost with it.
fn read_leniently(body: Vec<u8>) -> Vec<u8> {
    let lifetime = |answer: &Value| answer.get("expires_in")?.as_str()?.trim().parse::<u64>().ok();
    let read = serde_json::from_slice::<Value>(&body).ok();
    match read.and_then(|answer| Some((lifetime(&answer)?, answer))) {
        Some((seconds, mut answer)) => {
            answer["expires_in"] = seconds.into();
            answer.to_string().into_bytes()
        }
        None => body,
    }
}

/// What `oauth2` makes of a failure; it saw only answers with status 200, and their bodies are dropped here.
pub(crate) fn failure(error: RequestTokenError<TokenFailure, BasicErrorResponse>) -> TokenFailure {
    match error {
        RequestTokenError::Request(failure) => failure,
        RequestTokenError::ServerResponse(_) | RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            TokenFailure::of_garbage(200)
        }
    }
}

impl From<&Response> for Tokens {
    fn from(response: &Response) -> Self {
        Self {
            access: response.access_token().secret().as_str().into(),
            refresh: response.refresh_token().map(|token| token.secret().as_str().into()),
            expires_in: response.expires_in().unwrap_or(LIFETIME_MIN),
            scopes: response.scopes().into_iter().flatten().map(|scope| scope.to_string()).collect(),
        }
    }
}

/// The addresses of the authorize and token endpoints, `{tenant}` standing for the tenant's part of the path.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) authorize: String,
    pub(super) token: String,
}

impl Endpoints {
    fn authorize(&self, tenant: &str) -> Url {
        for_tenant(&self.authorize, tenant).expect("checked when the client was built")
    }

    fn token(&self, tenant: &str) -> Url {
        for_tenant(&self.token, tenant).expect("checked when the client was built")
    }
}

pub(super) fn for_tenant(template: &str, tenant: &str) -> Result<Url, url::ParseError> {
    Url::parse(&template.replace("{tenant}", tenant))
}
