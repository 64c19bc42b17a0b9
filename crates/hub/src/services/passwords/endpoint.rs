//! Passwords that the product checks itself, asked by a signed request; `docs/PRODUCT.md` describes it for its makers.

use domain::{PersonId, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Typed, Verdict};
use crate::{
    config,
    services::product::{Asking, Product},
};

pub struct Endpoint(Asking);

#[derive(Serialize)]
struct Question<'a> {
    name: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor: Option<&'a str>,
    /// Who typed `login` in Teams: for the product's own records, and no proof of who types now.
    tenant: String,
    object_id: String,
}

#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum Answer {
    Ok {
        account: domain::AccountId,
        #[serde(default)]
        display_name: Option<String>,
    },
    Wrong,
    SecondFactor,
    Unavailable,
}

impl Endpoint {
    pub(super) fn new(product: &Product, endpoint: &config::Endpoint) -> Self {
        Self(product.asking(endpoint))
    }

    pub(super) async fn check(&self, person: PersonId, typed: &Typed, now: Timestamp) -> Verdict {
        let question = Question {
            name: typed.name.expose_secret(),
            password: typed.password.expose_secret(),
            second_factor: typed.second_factor.as_ref().map(SecretString::expose_secret),
            tenant: person.tenant.to_string(),
            object_id: person.object_id.to_string(),
        };
        match self.0.ask(&question, now).await {
            Ok(Answer::Ok { account, display_name }) => Verdict::Right { account, name: shown(display_name) },
            Ok(Answer::Wrong) => Verdict::Wrong,
            Ok(Answer::SecondFactor) => Verdict::SecondFactorWanted,
            Ok(Answer::Unavailable) => Verdict::NotJudged,
            Err(error) => {
                tracing::warn!("The product does not check passwords: {error}");
                if error.is_surely_unheard() { Verdict::NotJudged } else { Verdict::Unavailable }
            }
        }
    }
}

/// A name of a length that a page can show, on one line.
fn shown(name: Option<String>) -> Option<String> {
    name.filter(|name| (1..=200).contains(&name.len()) && !name.chars().any(char::is_control))
}
