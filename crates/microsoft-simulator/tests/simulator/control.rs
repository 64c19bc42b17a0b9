//! The control API over HTTP, who may reach it, and the server's own life.

use chancery_microsoft_simulator::{Settings, serve};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::*;

impl Microsoft {
    async fn control(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/control/{path}", self.base);
        asked(self.client.request(method, url).bearer_auth(&self.settings.control_token).json(&body)).await
    }
}

#[tokio::test]
async fn control_needs_its_token() {
    let microsoft = Microsoft::start().await;
    let url = format!("{}/control/secrets", microsoft.base);
    let token = microsoft.settings.control_token.clone();
    for wrong in ["", "wrong", &token[1..], &format!("{token}x")] {
        assert_eq!(microsoft.client.get(&url).bearer_auth(wrong).send().await.unwrap().status(), 401);
    }
    assert_eq!(microsoft.client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(microsoft.client.get(&url).bearer_auth(token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn only_loopback_names_are_answered() {
    let microsoft = Microsoft::start().await;
    for path in ["/teams", "/v1.0/me", "/control/people", "/organizations/discovery/v2.0/keys", "/nothing"] {
        let url = format!("{}{path}", microsoft.base);
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
            let answer = microsoft.client.get(&url).header("host", host).send().await.unwrap();
            assert_eq!(answer.status(), 421, "{host} {path}");
        }
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]", "[::1]:8080"] {
            let answer = microsoft.client.get(&url).header("host", host).send().await.unwrap();
            assert_ne!(answer.status(), 421, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn mistakes_in_control_calls_are_named() {
    let microsoft = Microsoft::start().await;
    let person = format!("people/{}", microsoft.oid(ADA));
    let cases = [
        (person.as_str(), json!({ "disable": true }), "unknown field `disable`"),
        ("settings", json!({ "rotation": "none" }), "unknown variant `none`"),
        ("clock/advance", json!({ "seconds": -1 }), "invalid value"),
        ("clock/advance", json!({ "minutes": 1 }), "unknown field `minutes`"),
        ("faults", json!({ "operation": "graph.pots", "fault": "reset" }), "unknown operation `graph.pots`"),
        ("faults", json!({ "operation": "graph.post", "fault": "rest" }), "unknown variant `rest`"),
        ("faults", json!({ "operation": "jwks", "fault": { "flaw": "no_email" } }), "faults of `token`"),
        ("faults", json!({ "operation": "jwks", "fault": "hang", "times": 0 }), "`times` must be"),
        (
            "faults",
            json!({ "operation": "jwks", "fault": { "status": { "status": 200 } } }),
            "from 400 to 599",
        ),
        (
            "faults",
            json!({ "operation": "jwks", "fault": { "status": { "code": 500 } } }),
            "unknown field `code`",
        ),
    ];
    for (path, body, expected) in cases {
        let (status, answer) = microsoft.control(Method::POST, path, body).await;
        assert_eq!(status, 400);
        assert!(text(&answer, "error").contains(expected), "{answer}");
    }
    let nobody = "people/11111111-1111-4111-8111-111111111111";
    assert_eq!(microsoft.control(Method::POST, nobody, json!({})).await.0, 404);
}

#[tokio::test]
async fn everything_can_be_done_over_http() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let (oid, chat) = (microsoft.oid(ADA), microsoft.chat(ADA));
    let person = format!("people/{oid}");

    let (_, people) = microsoft.control(Method::GET, "people", json!(null)).await;
    assert_eq!(people.as_array().unwrap().len(), 10);
    let change = json!({ "disabled": true, "mail": null, "edov": true });
    let (_, changed) = microsoft.control(Method::POST, &person, change).await;
    assert_eq!(
        (&changed["disabled"], &changed["mail"], &changed["edov"]),
        (&json!(true), &json!(null), &json!(true))
    );
    assert_eq!(microsoft.control(Method::POST, &format!("{person}/revoke"), json!(null)).await.0, 200);

    let fault = json!({ "operation": "graph.post", "oid": oid, "chat": chat, "fault": "accept_then_reset" });
    assert_eq!(microsoft.control(Method::POST, "faults", fault.clone()).await.0, 200);
    let (_, faults) = microsoft.control(Method::GET, "faults", json!(null)).await;
    assert_eq!((&faults[0]["fault"], &faults[0]["times"]), (&json!("accept_then_reset"), &json!(1)));
    assert!(microsoft.post(&token, &chat, &hello()).send().await.is_err());
    let (_, messages) = microsoft.control(Method::GET, &format!("messages?oid={oid}"), json!(null)).await;
    assert_eq!(messages[0]["content"], "Hello");
    let elsewhere = format!("messages?chat={}", escaped(&microsoft.chat(BRUNO)));
    assert_eq!(microsoft.control(Method::GET, &elsewhere, json!(null)).await.1, json!([]));
    let (_, calls) = microsoft.control(Method::GET, "calls", json!(null)).await;
    let posts = json!({ "operation": "graph.post", "oid": oid, "status": 0, "count": 1 });
    assert!(calls.as_array().unwrap().contains(&posts), "{calls}");
    microsoft.control(Method::POST, "faults", fault).await;
    assert_eq!(microsoft.control(Method::DELETE, "faults", json!(null)).await.0, 200);
    assert_eq!(microsoft.control(Method::GET, "faults", json!(null)).await.1, json!([]));

    let (_, clock) = microsoft.control(Method::POST, "clock/advance", json!({ "seconds": 7200 })).await;
    assert_eq!(clock["ahead_ms"], 7_200_000);
    assert_eq!(asked(microsoft.get(&token, "/me")).await.0, 401);
    let settings = json!({ "rotation": "strict", "throttle": true, "access_token_seconds": 600 });
    let (_, settings) = microsoft.control(Method::POST, "settings", settings).await;
    assert_eq!((&settings["rotation"], &settings["access_token_seconds"]), (&json!("strict"), &json!(600)));
    assert_eq!(microsoft.control(Method::GET, "settings", json!(null)).await.1, settings);
    assert_eq!(microsoft.control(Method::POST, "keys/roll", json!(null)).await.0, 200);

    assert_eq!(microsoft.control(Method::POST, "reset", json!(null)).await.0, 200);
    assert_eq!(microsoft.control(Method::GET, "calls", json!(null)).await.1, json!([]));
    assert_eq!(microsoft.control(Method::GET, "messages", json!(null)).await.1, json!([]));
    assert_eq!(microsoft.control(Method::GET, "clock", json!(null)).await.1["ahead_ms"], 0);
    let (disabled, mail, consented) =
        microsoft.person(ADA, |ada| (ada.disabled, ada.mail.clone(), ada.consented.clone()));
    assert_eq!((disabled, mail.as_deref(), consented), (false, Some(ADA), vec![]));
}

#[tokio::test]
async fn the_bots_side_is_controlled_over_http_too() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let oid = microsoft.oid(ADA);
    let post = async |path: &str, body: Value| microsoft.control(Method::POST, path, body).await;
    let person = format!("people/{oid}");
    let (_, said) = post(&format!("{person}/say"), json!({ "text": "login" })).await;
    assert_eq!((&said["status"], &said["activity"]["text"]), (&json!(200), &json!("login")));
    post(&format!("{person}/say"), json!({ "text": "login", "group": true })).await;
    post(&format!("{person}/submit"), json!({ "message": "1", "value": { "do": "logout" } })).await;
    post(&format!("{person}/announce"), json!(null)).await;
    let invoke =
        json!({ "by": { "oid": oid, "act": { "invoke": { "name": "signin/verifyState", "value": {} } } } });
    let sending = json!({ "what": invoke, "token": "expired", "times": 2, "change": { "locale": "fr-FR" } });
    let (_, sent) = post("activities", sending).await;
    assert_eq!((sent.as_array().unwrap().len(), &sent[1]["token"]), (2, &json!("expired")));
    let path = format!("activities?oid={oid}&at_least=7");
    let (_, all) = microsoft.control(Method::GET, &path, json!(null)).await;
    assert_eq!((all.as_array().unwrap().len(), ears.heard().len()), (7, 7));
    let (_, typed) = microsoft.control(Method::GET, "messages?by=person", json!(null)).await;
    assert_eq!((typed.as_array().unwrap().len(), &typed[0]["author"]), (2, &json!("person")));
    assert_eq!(microsoft.control(Method::GET, "messages", json!(null)).await.1, json!([]));
    let (_, token) =
        post("bot-token", json!({ "service_url": "https://smba.trafficmanager.net/amer/" })).await;
    assert_eq!(text(&token, "token").split('.').count(), 3);

    let (status, _) = post("settings", json!({ "messaging_endpoint": null, "echo": "before" })).await;
    assert_eq!(status, 200);
    assert_eq!(post(&format!("{person}/say"), json!({ "text": "login" })).await.0, 409);
    post("reset", json!(null)).await;
    assert_eq!(microsoft.control(Method::GET, "activities", json!(null)).await.1, json!([]));
    assert!(microsoft.simulator.has_bot());
}

#[tokio::test]
async fn every_secret_given_out_is_known_even_after_a_reset() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[]).await;
    let (_, answer) = microsoft.redeem(&code, &[]).await;
    microsoft.simulator.reset();
    let (_, secrets) = microsoft.control(Method::GET, "secrets", json!(null)).await;
    let has = |kind: &str, value: &str| {
        secrets.as_array().unwrap().iter().any(|it| it["kind"] == kind && it["value"] == value)
    };
    assert!(has("code", &code) && has("client_secret", &microsoft.settings.client_secret));
    for kind in ["access_token", "refresh_token", "id_token"] {
        assert!(has(kind, &text(&answer, kind)), "{kind}");
    }
}

#[tokio::test]
async fn messages_can_be_waited_for() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let path = format!("messages?oid={}&at_least=2", microsoft.oid(ADA));
    let posts = async {
        for _ in 0..2 {
            assert_eq!(asked(microsoft.post(&token, &microsoft.chat(ADA), &hello())).await.0, 201);
        }
    };
    let ((_, messages), ()) = tokio::join!(microsoft.control(Method::GET, &path, json!(null)), posts);
    assert_eq!(messages.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_redirect_uri_can_be_registered_later() {
    let microsoft = Microsoft::start().await;
    let other = "http://localhost:9999/elsewhere";
    let url = microsoft.authorize_url(&[("redirect_uri", other)]);
    assert_eq!(microsoft.client.get(url.clone()).send().await.unwrap().status(), 400);
    let (status, _) = microsoft.control(Method::POST, "settings", json!({ "redirect_uris": [other] })).await;
    assert_eq!(status, 200);
    assert_eq!(microsoft.client.get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_address_for_everybody_is_refused() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = serve(listener, Settings::default(), std::future::ready(())).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}

#[tokio::test]
async fn the_server_ends_though_a_call_hangs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let settings = Settings::default();
    let running = tokio::spawn(serve(listener, settings.clone(), stop.clone().cancelled_owned()));
    let client = reqwest::Client::new();
    let fault = json!({ "operation": "jwks", "fault": "hang" });
    let set = client.post(format!("{base}/control/faults")).bearer_auth(&settings.control_token).json(&fault);
    assert_eq!(asked(set).await.0, 200);
    let hanging = tokio::spawn(client.get(format!("{base}/common/discovery/v2.0/keys")).send());
    let begun = format!("{base}/control/calls?operation=jwks&at_least=1");
    assert_eq!(asked(client.get(begun).bearer_auth(&settings.control_token)).await.1[0]["status"], 0);
    stop.cancel();
    assert!(hanging.await.unwrap().is_err());
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn teams_shows_who_there_is_and_what_they_got() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let body =
        json!({ "body": { "contentType": "html", "content": "<p>Three &lt; four</p><script>x</script>" } });
    assert_eq!(asked(microsoft.post(&token, &microsoft.chat(ADA), &body)).await.0, 201);
    let page = async |path: &str| {
        let answer = microsoft.client.get(format!("{}{path}", microsoft.base)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (_, people) = page("/teams").await;
    for shown in
        ["Contoso", "Ada Bergström", "1 message", "The app is not installed", "O'Neill &lt;&amp;&gt;"]
    {
        assert!(people.contains(shown), "{shown}");
    }
    let (_, chat) = page(&format!("/teams/{ADA}/messages")).await;
    assert!(
        chat.contains("Three &lt; four")
            && !chat.contains("<script>")
            && chat.contains("http-equiv=\"refresh\"")
    );
    assert_eq!(page("/teams/nobody").await.0, 404);
}
