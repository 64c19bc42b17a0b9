//! Who types `login` in Teams, and a product that checks passwords.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
    routing::post,
};
use chancery::{
    hub::Hub,
    services::sign_ins::{self, CodeTried, InChat, Invitation},
};
use eventstoredb_server::{Cost, PasswordHash};
use serde_json::Value;
use uuid::Uuid;

use super::{World, api::drawn, microsoft::Microsoft};

pub(crate) const CHAT: &str = "a:chat-with-the-bot";
pub(crate) const PASSWORD: &str = "correct-horse";

impl World {
    /// A hub with a file of passwords: `ada` has `u-1001`, `bruno` has `u-1002`.
    pub(crate) async fn with_passwords(overrides: &[(&str, &str)]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let line = |name: &str, account: &str| {
            format!("{name} {account} {}\n", PasswordHash::of(PASSWORD, [1; 16], Cost::Drawn).as_str())
        };
        std::fs::write(&file, line("ada", "u-1001") + &line("bruno", "u-1002")).unwrap();
        let path = file.to_str().unwrap();
        let own = [("PASSWORD__KIND", "file"), ("PASSWORD__FILE", path)];
        let mut world = Self::with(&[own.as_slice(), overrides].concat()).await;
        world.passwords = Some(file);
        world.advance(to_next_stretch(world.hub()));
        world
    }

    /// The person types `login` to the bot.
    pub(crate) async fn login(&self, upn: &str) -> Invitation {
        self.login_by(upn, Uuid::parse_str(&drawn()).unwrap()).await
    }

    pub(crate) async fn login_by(&self, upn: &str, activity: Uuid) -> Invitation {
        self.microsoft.login_at(self.hub(), upn, activity).await
    }

    /// The same in a Teams of this language.
    pub(crate) async fn login_in(&self, locale: Option<&str>, upn: &str, activity: Uuid) -> Invitation {
        self.microsoft.login_speaking(self.hub(), locale, upn, activity).await
    }

    /// The person types a code to the bot.
    pub(crate) async fn type_code(&self, upn: &str, code: &str) -> CodeTried {
        self.type_code_in(CHAT, upn, code).await
    }

    pub(crate) async fn type_code_in(&self, chat: &str, upn: &str, code: &str) -> CodeTried {
        let code = sign_ins::as_code(code).unwrap();
        let cause = Uuid::parse_str(&drawn()).unwrap();
        sign_ins::try_code(self.hub(), self.person(upn), chat, &code, cause).await.unwrap()
    }
}

impl Microsoft {
    /// The person types `login`, of which this hub is told.
    pub(crate) async fn login_at(&self, hub: &Hub, upn: &str, activity: Uuid) -> Invitation {
        self.login_speaking(hub, None, upn, activity).await
    }

    async fn login_speaking(&self, hub: &Hub, locale: Option<&str>, upn: &str, activity: Uuid) -> Invitation {
        let chat = InChat {
            person: self.person(upn),
            conversation_id: CHAT.to_owned(),
            name: format!("Name of {upn}"),
            locale: locale.map(str::to_owned),
            activity,
        };
        sign_ins::begin_in_chat(hub, chat).await.unwrap()
    }
}

/// How long it is until tries are counted anew: from then on there is time enough for a test.
pub(crate) fn to_next_stretch(hub: &Hub) -> Duration {
    let now_us = u128::try_from(hub.clock.now().as_micros()).unwrap();
    let stretch_us = hub.config.password.stretch.as_micros();
    Duration::from_micros(u64::try_from(stretch_us - now_us % stretch_us).unwrap())
}

/// What came with a question, and the question.
type Asked = (HeaderMap, Vec<u8>);

/// A product's endpoint: what it was asked, and what it answers.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<(StatusCode, String)>>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let (seen, says) = (asked.clone(), answer.clone());
        let handler = async move |headers: HeaderMap, body: Bytes| {
            seen.lock().unwrap().push((headers, body.to_vec()));
            let (status, text): (StatusCode, String) = says.lock().unwrap().clone();
            if text == "silence" {
                std::future::pending::<()>().await;
            }
            let location = [("location", "http://127.0.0.1:9/elsewhere")];
            (status, location, text).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked, answer }
    }

    pub(crate) fn answers(&self, status: u16, text: &str) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), text.to_owned());
    }

    /// The questions, oldest first.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// Whether the last question was signed with this secret.
    pub(crate) fn signed_with(&self, secret: &str) -> bool {
        let asked = self.asked.lock().unwrap();
        let (headers, body) = asked.last().unwrap();
        let text = |name: &str| headers[name].to_str().unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let signed = [text("chancery-timestamp").as_bytes(), b".", body].concat();
        text("chancery-signature") == format!("v1={}", hex::encode(ring::hmac::sign(&key, &signed)))
    }
}
