//! A simulator on a socket of its own, and the client's side of OAuth2 and Graph.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chancery_microsoft_simulator::control::{DialsChange, PersonChange};
use chancery_microsoft_simulator::{Fault, Kind, Settings, Simulator, serve_simulator, simulator};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use ring::digest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

pub(crate) const REDIRECT_URI: &str = "http://localhost:8080/callback?from=entra";
pub(crate) const VERIFIER: &str = "a-verifier-that-is-long-enough-for-pkce-to-like-it";
pub(crate) const ALL_SCOPES: &str = "openid profile email offline_access User.Read \
     TeamsAppInstallation.ReadForUser ChatMessage.Send Chat.Read";

pub(crate) const ADA: &str = "ada@contoso.example";
pub(crate) const ADA_OF_FABRIKAM: &str = "ada@fabrikam.example";
pub(crate) const BRUNO: &str = "bruno@contoso.example";
/// Bruno, as a guest of Fabrikam.
pub(crate) const GUEST: &str = "bruno_contoso.example#ext#@fabrikam.example";
pub(crate) const CHIARA: &str = "chiara@contoso.example";
pub(crate) const DMITRI: &str = "dmitri@contoso.example";
pub(crate) const GWEN: &str = "gwen@live.example";

pub(crate) struct Microsoft {
    pub(crate) base: String,
    pub(crate) address: SocketAddr,
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    _running: DropGuard,
}

impl Microsoft {
    /// A simulator that does not throttle.
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        // A second test in this process finds it installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let settings = Settings {
            seed: Some(1),
            public_url: Some(base.clone()),
            redirect_uris: vec![REDIRECT_URI.into()],
            ..settings
        };
        let (router, simulator) = simulator(settings.clone()).unwrap();
        simulator.turn(DialsChange { throttle: Some(false), ..DialsChange::default() });
        let stop = CancellationToken::new();
        tokio::spawn(serve_simulator(listener, router, simulator.clone(), stop.clone().cancelled_owned()));
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, address, simulator, client, settings, _running: stop.drop_guard() }
    }

    pub(crate) fn oid(&self, upn: &str) -> Uuid {
        self.person(upn, |person| person.oid)
    }

    pub(crate) fn chat(&self, upn: &str) -> String {
        self.person(upn, |person| person.chat_id.clone())
    }

    pub(crate) fn person<T>(
        &self,
        upn: &str,
        read: impl FnOnce(&chancery_microsoft_simulator::control::PersonView) -> T,
    ) -> T {
        read(self.simulator.people().iter().find(|person| person.upn == upn).unwrap())
    }

    pub(crate) fn change(&self, upn: &str, change: PersonChange) {
        self.simulator.change_person(self.oid(upn), change).unwrap();
    }

    /// Sets a fault for the next call of `operation`.
    pub(crate) fn fault(&self, operation: &str, fault: Kind) {
        let fault = Fault { operation: operation.into(), times: 1, oid: None, chat: None, fault };
        self.simulator.add_fault(fault).unwrap();
    }

    /// How often an operation was answered with this status.
    pub(crate) fn count(&self, operation: &str, status: u16) -> u64 {
        let calls = self.simulator.calls();
        calls.iter().filter(|it| it.operation == operation && it.status == status).map(|it| it.count).sum()
    }

    pub(crate) fn authorize_url(&self, change: &[(&str, &str)]) -> Url {
        let challenge = digest::digest(&digest::SHA256, VERIFIER.as_bytes());
        let client_id = self.settings.client_id.to_string();
        let challenge = base64url(challenge.as_ref());
        let mut fields = HashMap::from([
            ("tenant", "organizations"),
            ("client_id", &client_id),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", ALL_SCOPES),
            ("state", "a state & more"),
            ("nonce", "a nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        fields.extend(change.iter().copied());
        let tenant = fields.remove("tenant").unwrap();
        fields.retain(|_, value| !value.is_empty());
        Url::parse_with_params(&format!("{}/{tenant}/oauth2/v2.0/authorize", self.base), fields).unwrap()
    }

    pub(crate) async fn pick(&self, url: Url, form: &[(&str, &str)]) -> Response {
        self.client.post(url).form(form).send().await.unwrap()
    }

    /// A code for this person, who consents.
    pub(crate) async fn code(&self, upn: &str, change: &[(&str, &str)]) -> String {
        let answer = self.pick(self.authorize_url(change), &[("person", upn), ("consent", "accept")]).await;
        location(&answer)["code"].clone()
    }

    /// Asks the token endpoint; an empty value leaves the field out.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let client_id = self.settings.client_id.to_string();
        let mut all = HashMap::from([
            ("tenant", "organizations"),
            ("client_id", &client_id),
            ("client_secret", &self.settings.client_secret),
        ]);
        all.extend(fields.iter().copied());
        let url = format!("{}/{}/oauth2/v2.0/token", self.base, all.remove("tenant").unwrap());
        all.retain(|_, value| !value.is_empty());
        read(self.client.post(url).form(&all).send().await.unwrap()).await
    }

    pub(crate) async fn redeem(&self, code: &str, change: &[(&str, &str)]) -> (StatusCode, Value) {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.token(&[&fields, change].concat()).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> (StatusCode, Value) {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Signs somebody in with all scopes and gives the token response.
    pub(crate) async fn sign_in(&self, upn: &str) -> Value {
        let code = self.code(upn, &[]).await;
        let (status, answer) = self.redeem(&code, &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn access_token(&self, upn: &str) -> String {
        text(&self.sign_in(upn).await, "access_token")
    }

    pub(crate) fn get(&self, token: &str, path: &str) -> RequestBuilder {
        self.client.get(format!("{}/v1.0{path}", self.base)).bearer_auth(token)
    }

    pub(crate) fn post(&self, token: &str, chat: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}/v1.0/chats/{}/messages", self.base, escaped(chat));
        self.client.post(url).bearer_auth(token).json(body)
    }

    pub(crate) fn stored(&self, upn: &str) -> usize {
        self.simulator.messages(None, Some(self.oid(upn))).len()
    }
}

pub(crate) fn hello() -> Value {
    json!({ "body": { "content": "Hello" } })
}

pub(crate) async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.unwrap())
}

pub(crate) async fn asked(request: RequestBuilder) -> (StatusCode, Value) {
    read(request.send().await.unwrap()).await
}

/// The fields of the query that a redirect to the registered address carries.
pub(crate) fn location(response: &Response) -> HashMap<String, String> {
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

/// The AADSTS number of a refusal, after a look at the rest of its shape.
pub(crate) fn aadsts((status, body): &(StatusCode, Value)) -> u64 {
    let code = body["error_codes"][0].as_u64().unwrap();
    let description = text(body, "error_description");
    assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
    for field in ["error", "timestamp", "trace_id", "correlation_id", "error_uri"] {
        assert!(body[field].is_string(), "{field} of {body}");
    }
    assert_eq!(*status == 401, body["error"] == "invalid_client", "{status} {body}");
    code
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(crate) const DAY: Duration = Duration::from_hours(24);
