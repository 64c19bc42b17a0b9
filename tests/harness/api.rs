//! The product's backend: a client of the hub's API.

use chancery::clock::{Ids as _, SystemIds};
use domain::PersonId;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::browser::http;

#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    url: String,
    pub(crate) key: String,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

/// A sign-in link.
pub(crate) struct Link {
    pub(crate) id: String,
    pub(crate) url: String,
}

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self { http: http(), url: url.to_owned(), key: key.to_owned() }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Posts under an idempotency key.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Asks for a sign-in link.
    pub(crate) async fn invite(&self, account: &str, expected: Option<PersonId>) -> Link {
        let answer = self.post("/v1/sign-ins", &drawn(), &wish(account, expected)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Link { id: text(&answer.body["id"]), url: text(&answer.body["url"]) }
    }

    pub(crate) async fn confirm(&self, sign_in: &str, code: &str) -> Answer {
        let path = format!("/v1/sign-ins/{sign_in}/confirm");
        answer(self.request(Method::POST, &path).json(&json!({ "code": code }))).await
    }

    pub(crate) async fn sign_in(&self, id: &str) -> Value {
        self.get(&format!("/v1/sign-ins/{id}")).await.body
    }

    /// Sends a text to an account's person, and answers the message's id.
    pub(crate) async fn send(&self, account: &str, content: &str) -> String {
        let answer = self.post("/v1/messages", &drawn(), &to_account(account, content)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        text(&answer.body["id"])
    }

    pub(crate) async fn message(&self, id: &str) -> Value {
        self.get(&format!("/v1/messages/{id}")).await.body
    }
}

impl Answer {
    /// Holds the answer to be this problem, and answers what it says.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> String {
        let told = (self.status, self.body["type"].as_str(), self.body["status"].as_u64());
        let wanted = format!("/problems/{kind}");
        assert_eq!(told, (status, Some(wanted.as_str()), Some(status.into())), "{self:?}");
        text(&self.body["detail"])
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    try_answer(request).await.unwrap()
}

pub(crate) async fn try_answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let retry_after = headers.get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let body = answer.bytes().await?;
    Ok(Answer { status, retry_after, body: serde_json::from_slice(&body).unwrap_or_default() })
}

pub(crate) fn wish(account: &str, expected: Option<PersonId>) -> Value {
    match expected {
        Some(person) => json!({ "account": account, "expected": by_person(person) }),
        None => json!({ "account": account }),
    }
}

pub(crate) fn by_person(person: PersonId) -> Value {
    json!({ "tenant": person.tenant, "object_id": person.object_id })
}

/// A text for an account's person.
pub(crate) fn to_account(account: &str, content: &str) -> Value {
    json!({ "recipient": { "account": account }, "content": { "type": "text", "text": content } })
}

/// An idempotency key that nobody used.
pub(crate) fn drawn() -> String {
    SystemIds.uuid().to_string()
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
