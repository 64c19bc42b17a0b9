//! What the bot hears: the shape of activities, their tokens, their order, and that they come again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_microsoft_simulator::control::{
    Act, DialsChange, Echo, InstallOrder, PersonChange, Redelivery, Sending, TokenFlaw, What,
};
use chancery_microsoft_simulator::{CONTOSO, Kind};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};

use crate::bot::{Ears, hello_activity};
use crate::harness::*;

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// Header and claims of a token, without a look at its signature.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| serde_json::from_slice(&decoded(part)).unwrap_or_default());
    (parts.next().unwrap(), parts.next().unwrap())
}

impl Microsoft {
    async fn bot_keys(&self) -> Vec<Value> {
        let url = format!("{}/botframework/v1/.well-known/openidconfiguration", self.base);
        let (_, metadata) = asked(self.client.get(url)).await;
        assert_eq!(metadata["issuer"], "https://api.botframework.com");
        let (_, jwks) = asked(self.client.get(text(&metadata, "jwks_uri"))).await;
        jwks["keys"].as_array().unwrap().clone()
    }

    /// The channels for which the token's key is endorsed, if its signature is by that key.
    async fn endorsements(&self, token: &str) -> Option<Vec<Value>> {
        let kid = parts(token).0["kid"].clone();
        let key = self.bot_keys().await.into_iter().find(|key| key["kid"] == kid)?;
        let (n, e) = (decoded(&text(&key, "n")), decoded(&text(&key, "e")));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        RsaPublicKeyComponents { n, e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decoded(signature))
            .ok()?;
        Some(key["endorsements"].as_array().unwrap().clone())
    }

    fn text(&self, upn: &str, said: &str) -> Sending {
        Sending::new(What::By { oid: self.oid(upn), act: Act::Text(said.into()) })
    }
}

#[tokio::test]
async fn what_somebody_types_reaches_the_bot_as_teams_sends_it() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    microsoft.change(ADA, PersonChange { locale: Some("de-DE".into()), ..PersonChange::default() });
    let sent = microsoft.simulator.say(microsoft.oid(ADA), "login").await.unwrap();
    assert_eq!((sent.status, sent.body.as_str()), (Some(200), "{}"));
    let heard = ears.heard().remove(0);
    let service_url = format!("{}/connector/", microsoft.base);
    let expected = json!({
        "type": "message",
        "text": "login",
        "textFormat": "plain",
        "channelId": "msteams",
        "serviceUrl": service_url,
        "from": {
            "id": microsoft.person(ADA, |ada| ada.user_id.clone()),
            "name": "Ada Bergström",
            "aadObjectId": microsoft.oid(ADA),
        },
        "recipient": { "id": microsoft.simulator.bot_id(), "name": "Chancery" },
        "conversation": {
            "id": microsoft.conversation(ADA), "conversationType": "personal", "tenantId": CONTOSO,
        },
        "channelData": { "tenant": { "id": CONTOSO } },
        "locale": "de-DE",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(heard[name], *value, "{name}");
    }
    assert!(microsoft.conversation(ADA).starts_with("a:1") && text(&heard["from"], "id").starts_with("29:"));
    let typed = microsoft.simulator.said(None, None, Some(microsoft.oid(ADA)));
    assert_eq!((typed[0].content.as_str(), typed[0].id.clone()), ("login", text(&heard, "id")));

    let token = ears.tokens().remove(0).unwrap();
    assert!(microsoft.simulator.secrets().iter().any(|it| it.kind == "activity_token" && it.value == token));
    let (header, claims) = parts(&token);
    assert_eq!(header["alg"], "RS256");
    assert_eq!(claims["iss"], "https://api.botframework.com");
    assert_eq!(claims["aud"], microsoft.settings.bot_app_id.to_string());
    assert_eq!(claims["serviceurl"], service_url);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap(), 3600);
    assert!(microsoft.endorsements(&token).await.unwrap().contains(&json!("msteams")));
}

#[tokio::test]
async fn in_a_group_the_bot_is_mentioned() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    microsoft.simulator.say_in_group(microsoft.oid(ADA), "login").await.unwrap();
    let heard = ears.heard().remove(0);
    assert_eq!(heard["text"], "<at>Chancery</at> login");
    assert_eq!(
        (&heard["conversation"]["conversationType"], &heard["conversation"]["isGroup"]),
        (&json!("groupChat"), &json!(true))
    );
    assert_eq!(heard["entities"][1]["mentioned"]["id"], microsoft.simulator.bot_id());
    let path = format!("/{}/activities/{}", escaped(&text(&heard["conversation"], "id")), text(&heard, "id"));
    let token = microsoft.app_token().await;
    let answer = microsoft.connector(&token, reqwest::Method::POST, &path).json(&hello_activity());
    assert_eq!(asked(answer).await.0, 201);
    assert_eq!(
        microsoft.simulator.said(None, None, Some(microsoft.oid(BRUNO))).len(),
        2,
        "everybody sees it"
    );
}

#[tokio::test]
async fn being_installed_and_removed_is_told_in_either_order() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let dmitri = microsoft.oid(DMITRI);
    assert!(microsoft.simulator.say(dmitri, "hello?").await.is_none(), "there is no chat yet");
    microsoft.simulator.install(dmitri, true).await;
    microsoft.simulator.install(dmitri, true).await;
    microsoft.turn(DialsChange {
        install_order: Some(InstallOrder::InstallationUpdateFirst),
        ..DialsChange::default()
    });
    microsoft.change(DMITRI, PersonChange { app_installed: Some(false), ..PersonChange::default() });
    microsoft.sent(4).await;
    let heard = ears.heard();
    let (update, installation) = ("conversationUpdate", "installationUpdate");
    assert_eq!(ears.types(), [update, installation, installation, update], "and each change once");
    let bot = json!([{ "id": microsoft.simulator.bot_id() }]);
    assert_eq!((&heard[0]["membersAdded"], &heard[3]["membersRemoved"]), (&bot, &bot));
    assert_eq!((&heard[1]["action"], &heard[2]["action"]), (&json!("add"), &json!("remove")));
    assert_eq!(heard[0]["from"]["aadObjectId"], dmitri.to_string());
    microsoft.simulator.announce(microsoft.oid(ADA)).await;
    assert_eq!(ears.heard().len(), 6);
}

#[tokio::test]
async fn cards_and_invokes_come_with_their_value() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let ada = microsoft.oid(ADA);
    microsoft.simulator.submit(ada, "1700000000001", json!({ "command": "logout" })).await.unwrap();
    for name in ["signin/verifyState", "signin/tokenExchange", "task/fetch"] {
        let act = Act::Invoke { name: name.into(), value: json!({ "state": "123456" }) };
        microsoft.simulator.send(Sending::new(What::By { oid: ada, act })).await.unwrap();
    }
    let heard = ears.heard();
    assert_eq!((&heard[0]["text"], &heard[0]["value"]["command"]), (&Value::Null, &json!("logout")));
    assert_eq!(heard[0]["replyToId"], "1700000000001");
    assert_eq!((&heard[1]["type"], &heard[1]["name"]), (&json!("invoke"), &json!("signin/verifyState")));
    assert_eq!(heard[2]["value"]["state"], "123456");
}

#[tokio::test]
async fn each_bad_token_is_bad_in_its_own_way() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let token = async |flaw: TokenFlaw| {
        let sending = Sending { token: Some(flaw), ..microsoft.text(ADA, "login") };
        microsoft.simulator.send(sending).await.unwrap();
        ears.tokens().pop().unwrap()
    };
    assert_eq!(token(TokenFlaw::Missing).await, None);
    assert!(!token(TokenFlaw::Garbage).await.unwrap().contains('.'));
    let unsigned = token(TokenFlaw::Unsigned).await.unwrap();
    assert!(unsigned.ends_with('.') && parts(&unsigned).0["alg"] == "none");
    for flaw in [TokenFlaw::WrongKey, TokenFlaw::UnknownKey, TokenFlaw::EntraKey] {
        let token = token(flaw).await.unwrap();
        assert_eq!(microsoft.endorsements(&token).await, None, "{flaw:?}");
    }
    let unendorsed = token(TokenFlaw::NotEndorsed).await.unwrap();
    assert!(!microsoft.endorsements(&unendorsed).await.unwrap().contains(&json!("msteams")));

    let honest = parts(&microsoft.simulator.bot_token(&microsoft.simulator.service_url(), None).unwrap()).1;
    for (flaw, claim) in [
        (TokenFlaw::WrongAudience, "aud"),
        (TokenFlaw::OtherBot, "aud"),
        (TokenFlaw::WrongIssuer, "iss"),
        (TokenFlaw::EmulatorIssuer, "iss"),
        (TokenFlaw::WrongServiceUrl, "serviceurl"),
        (TokenFlaw::NoServiceUrl, "serviceurl"),
        (TokenFlaw::Expired, "exp"),
        (TokenFlaw::NotYetValid, "nbf"),
    ] {
        let token = token(flaw).await.unwrap();
        assert!(microsoft.endorsements(&token).await.is_some(), "{flaw:?} is signed well");
        assert_ne!(parts(&token).1[claim], honest[claim], "{flaw:?}");
    }
}

#[tokio::test]
async fn any_activity_can_be_sent_as_often_as_wanted() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let many = Sending { times: 10, ..microsoft.text(ADA, "login") };
    let sent = microsoft.simulator.send(many).await.unwrap();
    let ids: std::collections::HashSet<_> = ears.heard().iter().map(|it| text(it, "id")).collect();
    assert_eq!((sent.len(), ids.len()), (10, 1));

    let id = ids.into_iter().next().unwrap();
    let again = Sending { new_ids: true, times: 2, ..Sending::new(What::Again(id.clone())) };
    microsoft.simulator.send(again).await.unwrap();
    let heard = ears.heard();
    assert!(heard[10]["id"] != id && heard[10]["id"] != heard[11]["id"] && heard[11]["text"] == "login");

    let change =
        json!({ "serviceUrl": "https://evil.trafficmanager.net/", "conversation": { "tenantId": null } });
    microsoft.simulator.send(Sending { change, ..microsoft.text(ADA, "login") }).await.unwrap();
    let odd = ears.heard().pop().unwrap();
    assert_eq!(
        (&odd["conversation"]["tenantId"], &odd["channelData"]["tenant"]["id"]),
        (&Value::Null, &json!(CONTOSO))
    );
    let claims = parts(&ears.tokens().pop().unwrap().unwrap()).1;
    assert_eq!((&odd["serviceUrl"], &claims["serviceurl"]), (&claims["serviceurl"], &odd["serviceUrl"]));

    microsoft.simulator.send(Sending::new(What::Whole(json!([1, 2])))).await.unwrap();
    assert_eq!(ears.heard().pop().unwrap(), json!([1, 2]));
    assert!(microsoft.simulator.send(Sending::new(What::Again("never".into()))).await.is_err());
}

#[tokio::test]
async fn another_service_url_can_be_named() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let other = "https://smba.trafficmanager.net.evil.example/amer/";
    microsoft.turn(DialsChange { service_url: Some(Some(other.into())), ..DialsChange::default() });
    microsoft.simulator.say(microsoft.oid(ADA), "login").await.unwrap();
    assert_eq!(ears.heard()[0]["serviceUrl"], other);
}

#[tokio::test]
async fn a_slow_or_failing_bot_hears_it_once_more() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let ada = microsoft.oid(ADA);
    let say = async |redelivery: Redelivery, answers: &[u16]| {
        let before = ears.heard().len();
        ears.will_answer(answers);
        microsoft.turn(DialsChange {
            redelivery: Some(redelivery),
            answer_timeout_ms: Some(if answers.contains(&0) { 1000 } else { 15_000 }),
            ..DialsChange::default()
        });
        let last = microsoft.simulator.say(ada, "login").await.unwrap();
        (last.status, ears.heard().split_off(before))
    };
    for answers in [[502], [0]] {
        let (status, heard) = say(Redelivery::SameId, &answers).await;
        assert_eq!((status, heard.len()), (Some(200), 2), "{answers:?}");
        assert_eq!(heard[0], heard[1]);
    }
    let (_, heard) = say(Redelivery::NewId, &[504]).await;
    assert!(heard.len() == 2 && heard[0]["id"] != heard[1]["id"] && heard[0]["text"] == heard[1]["text"]);
    assert_eq!(say(Redelivery::Never, &[503]).await.1.len(), 1);
    assert_eq!(say(Redelivery::SameId, &[500]).await.1.len(), 1, "what it answered clearly is not repeated");
}

#[tokio::test]
async fn what_graph_posts_into_the_chat_the_bot_hears_too() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    let post = async |ears: &Ears| {
        let (_, posted) = asked(microsoft.post(&token, &chat, &hello())).await;
        (text(&posted, "id"), ears.heard().len())
    };
    let (id, _) = post(&ears).await;
    microsoft.sent(1).await;
    let echo = ears.heard().remove(0);
    assert_eq!(
        (text(&echo, "id"), &echo["text"], text(&echo["from"], "aadObjectId")),
        (id, &json!("Hello"), microsoft.oid(ADA).to_string())
    );
    assert_eq!(echo["conversation"]["id"], microsoft.conversation(ADA));

    microsoft.turn(DialsChange { echo: Some(Echo::Before), ..DialsChange::default() });
    assert_eq!(post(&ears).await.1, 2, "it was heard when Graph answered");
    microsoft.turn(DialsChange { echo: Some(Echo::Never), ..DialsChange::default() });
    post(&ears).await;
    microsoft.simulator.say(microsoft.oid(ADA), "and this").await.unwrap();
    assert_eq!(ears.heard()[2]["text"], "and this");
}

#[tokio::test]
async fn an_echo_comes_also_where_graph_does_not_answer_well() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let token = microsoft.access_token(ADA).await;
    let html = json!({ "body": { "contentType": "html", "content": "<p>Hello <b>you</b></p>" } });
    let mut heard = 0;
    for fault in [Kind::AcceptThenStatus { status: 504 }, Kind::AcceptThenReset] {
        microsoft.fault("graph.post", fault);
        assert!(
            !microsoft
                .post(&token, &microsoft.chat(ADA), &html)
                .send()
                .await
                .is_ok_and(|it| it.status().is_success())
        );
        heard += 1;
        microsoft.sent(heard).await;
        let echo = ears.heard().pop().unwrap();
        assert_eq!(
            (&echo["text"], &echo["attachments"][0]["contentType"]),
            (&json!("Hello you"), &json!("text/html"))
        );
    }
    assert!(microsoft.simulator.messages(None, None).len() == 2);
}

#[tokio::test]
async fn keys_of_the_bot_framework_roll() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    microsoft.simulator.roll_keys();
    microsoft.simulator.say(microsoft.oid(ADA), "login").await.unwrap();
    let token = ears.tokens().pop().unwrap().unwrap();
    assert!(microsoft.endorsements(&token).await.unwrap().contains(&json!("msteams")));
    assert_eq!(microsoft.bot_keys().await.len(), 3);
    microsoft.turn(DialsChange { keep_old_key: Some(false), ..DialsChange::default() });
    assert_eq!(microsoft.bot_keys().await.len(), 2);
}

#[tokio::test]
async fn nothing_is_sent_where_there_is_nobody_on_this_machine_to_hear_it() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    for endpoint in
        [None, Some("https://localhost/api/messages"), Some("http://hub.example/api/messages"), Some("odd")]
    {
        microsoft.turn(DialsChange {
            messaging_endpoint: Some(endpoint.map(Into::into)),
            ..DialsChange::default()
        });
        assert!(microsoft.simulator.say(microsoft.oid(ADA), "login").await.is_none());
        assert!(microsoft.simulator.send(microsoft.text(ADA, "login")).await.is_err());
    }
    assert!(ears.heard().is_empty());
}
