//! The small Teams: what a person sees of the bot, and what the bot hears of what they do there.

use chancery_microsoft_simulator::control::PersonChange;
use reqwest::header::CONTENT_SECURITY_POLICY;
use serde_json::{Value, json};

use crate::harness::*;

impl Microsoft {
    async fn page(&self, path: &str) -> String {
        self.client.get(format!("{}/teams/{path}", self.base)).send().await.unwrap().text().await.unwrap()
    }

    /// Posts a form, and gives the page that it leads to.
    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let url = format!("{}/teams/{path}", self.base);
        let answer = self.client.post(url).form(fields).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let next = format!("{}{}", self.base, answer.headers()["location"].to_str().unwrap());
        self.client.get(next).send().await.unwrap().text().await.unwrap()
    }

    /// Has the bot send a card, and gives the id of the message.
    async fn card(&self, upn: &str, card: Value) -> String {
        let activity = json!({
            "type": "message",
            "summary": "A notification",
            "attachments": [{ "contentType": "application/vnd.microsoft.card.adaptive", "content": card }],
        });
        text(&asked(self.bot_says(&self.app_token().await, upn, &activity)).await.1, "id")
    }
}

fn login_card() -> Value {
    json!({
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": "Open https://hub.example/x to sign in.",
        "body": [
            { "type": "TextBlock", "text": "Sign <in>", "weight": "Bolder" },
            { "type": "Container", "items": [
                { "type": "Input.Text", "id": "note", "label": "A note" },
                { "type": "Input.Toggle", "id": "all", "title": "Everywhere", "valueOn": "yes", "valueOff": "no" },
            ] },
            { "type": "ActionSet", "actions": [{ "type": "Action.Submit", "title": "Later", "data": { "do": "later" } }] },
        ],
        "actions": [
            { "type": "Action.OpenUrl", "title": "Sign in", "url": "https://hub.example/x" },
            { "type": "Action.OpenUrl", "title": "Bad", "url": "javascript:alert(1)" },
            { "type": "Action.Submit", "title": "Log out", "data": { "do": "logout", "note": "-" } },
        ],
    })
}

#[tokio::test]
async fn a_person_installs_the_app_types_and_reads_the_answer() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let page = microsoft.page(DMITRI).await;
    assert!(page.contains("Install the app") && !page.contains("<iframe"));
    let page = microsoft.form(&format!("{DMITRI}/app"), &[("do", "install")]).await;
    assert!(page.contains("<iframe") && page.contains("Remove the app") && !page.contains("http-equiv"));
    microsoft.form(&format!("{DMITRI}/say"), &[("text", "log in")]).await;
    assert_eq!(ears.types(), ["conversationUpdate", "installationUpdate", "message"]);
    assert_eq!(ears.heard()[2]["text"], "log in");
    let token = microsoft.app_token().await;
    let answer = json!({ "type": "message", "text": "Do you mean <login>?" });
    assert_eq!(asked(microsoft.bot_says(&token, DMITRI, &answer)).await.0, 201);

    let messages = microsoft.page(&format!("{DMITRI}/messages")).await;
    for shown in
        ["Dmitri Olsen</span>", "log in", "Chancery · bot", "Do you mean &lt;login&gt;?", "http-equiv"]
    {
        assert!(messages.contains(shown), "{shown} in {messages}");
    }
}

#[tokio::test]
async fn everything_said_is_in_one_chat_with_who_said_it() {
    let (microsoft, _ears) = Microsoft::with_bot().await;
    let token = microsoft.access_token(ADA).await;
    asked(microsoft.post(&token, &microsoft.chat(ADA), &hello())).await;
    let token = microsoft.app_token().await;
    asked(microsoft.bot_says(&token, ADA, &crate::bot::hello_activity())).await;
    let messages = microsoft.page(&format!("{ADA}/messages")).await;
    let (bot, graph) = (messages.find("Chancery · bot"), messages.find("Ada Bergström · by Graph"));
    assert!(bot.is_some() && bot < graph, "the newest first: {messages}");
}

#[tokio::test]
async fn only_the_messages_may_stand_in_a_frame_and_only_in_ours() {
    let microsoft = Microsoft::start().await;
    for (path, expected) in [("ada@contoso.example", "'none'"), ("ada@contoso.example/messages", "'self'")] {
        let answer = microsoft.client.get(format!("{}/teams/{path}", microsoft.base)).send().await.unwrap();
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.ends_with(&format!("frame-ancestors {expected}"))
        );
    }
}

#[tokio::test]
async fn a_card_can_be_followed_and_submitted() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let id = microsoft.card(ADA, login_card()).await;
    let messages = microsoft.page(&format!("{ADA}/messages")).await;
    for shown in [
        "Sign &lt;in&gt;",
        "<a href=\"https://hub.example/x\" target=\"_blank\" rel=\"noopener noreferrer\">Sign in</a>",
        "<summary>Without the card</summary>Open https://hub.example/x to sign in.",
        "In notifications: A notification",
        "name=\"input.note\"",
        "value=\"1\">Log out</button>",
    ] {
        assert!(messages.contains(shown), "{shown} in {messages}");
    }
    assert!(!messages.contains("javascript:") && !messages.contains("http-equiv"), "{messages}");

    let fields = [("message", id.as_str()), ("action", "1"), ("input.note", "bye"), ("input.all", "yes")];
    microsoft.form(&format!("{ADA}/submit"), &fields).await;
    microsoft.form(&format!("{ADA}/submit"), &[("message", &id), ("action", "0")]).await;
    microsoft.form(&format!("{ADA}/submit"), &[("message", &id), ("action", "2")]).await;
    let heard = ears.heard();
    assert_eq!(heard.len(), 2, "there is no third button");
    assert_eq!(
        (&heard[0]["value"], &heard[0]["text"]),
        (&json!({ "do": "logout", "note": "bye", "all": "yes" }), &Value::Null)
    );
    assert_eq!(
        (&heard[1]["value"], text(&heard[1], "replyToId")),
        (&json!({ "do": "later", "all": "no" }), id)
    );
}

#[tokio::test]
async fn of_a_card_too_new_for_teams_the_fallback_is_shown() {
    let microsoft = Microsoft::start().await;
    let mut card = login_card();
    card["version"] = "1.6".into();
    microsoft.card(ADA, card).await;
    let messages = microsoft.page(&format!("{ADA}/messages")).await;
    assert!(messages.contains("Open https://hub.example/x to sign in.") && !messages.contains("Log out"));
}

#[tokio::test]
async fn a_card_that_graph_posted_has_no_bot_to_submit_to() {
    let microsoft = Microsoft::start().await;
    let body = json!({
        "body": { "contentType": "html", "content": "<attachment id=\"1\"></attachment>" },
        "attachments": [{
            "id": "1",
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": login_card().to_string(),
        }],
    });
    let token = microsoft.access_token(ADA).await;
    assert_eq!(asked(microsoft.post(&token, &microsoft.chat(ADA), &body)).await.0, 201);
    let messages = microsoft.page(&format!("{ADA}/messages")).await;
    assert!(messages.contains("Log out") && !messages.contains("<button"), "{messages}");
}

#[tokio::test]
async fn blocking_and_removing_are_there_until_undone() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let app = format!("{ADA}/app");
    let page = microsoft.form(&app, &[("do", "block")]).await;
    assert!(page.contains("You have blocked the bot.") && page.contains("Unblock the bot"));
    assert!(microsoft.person(ADA, |ada| ada.bot_blocked));
    microsoft.form(&app, &[("do", "unblock")]).await;
    microsoft.form(&app, &[("locale", "de-DE")]).await;
    assert!(ears.heard().is_empty(), "the bot is not told of these");
    let page = microsoft.form(&app, &[("do", "remove")]).await;
    assert!(page.contains("The app is not installed"));
    assert!(!microsoft.person(ADA, |ada| ada.app_installed));
    let heard = ears.heard();
    assert_eq!((heard.len(), &heard[0]["locale"]), (2, &json!("de-DE")));
}

#[tokio::test]
async fn the_page_says_why_the_bot_is_silent() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    ears.will_answer(&[500]);
    let say = [("text", "login")];
    let page = microsoft.form(&format!("{ADA}/say"), &say).await;
    assert!(page.contains("The bot answered 500"), "{page}");
    let page = microsoft.form(&format!("{ADA}/say"), &say).await;
    assert!(!page.contains("The bot answered"), "{page}");
    assert!(Microsoft::start().await.page(ADA).await.contains("No bot listens"));
}

#[tokio::test]
async fn a_group_has_everybody_of_a_tenant_in_it() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    microsoft.form(&format!("{ADA}/group/say"), &[("text", "login")]).await;
    assert_eq!(ears.heard()[0]["conversation"]["conversationType"], "groupChat");
    assert!(microsoft.page(&format!("{BRUNO}/group/messages")).await.contains("Ada Bergström"));
    assert!(microsoft.page(&format!("{BRUNO}/group")).await.contains("Everybody at Contoso"));
    assert!(!microsoft.page(&format!("{ADA_OF_FABRIKAM}/group/messages")).await.contains("login"));
    assert!(microsoft.page(&format!("{GWEN}/group")).await.contains("Nobody"));
}

#[tokio::test]
async fn a_guest_types_as_who_they_are_in_that_tenant() {
    let (microsoft, ears) = Microsoft::with_bot().await;
    let (tid, oid) = microsoft.person(GUEST, |guest| (guest.tid, guest.oid));
    microsoft.change(GUEST, PersonChange { locale: Some("de-DE".into()), ..PersonChange::default() });
    microsoft.simulator.say(oid, "login").await.unwrap();
    let heard = ears.heard().remove(0);
    assert_eq!(text(&heard["from"], "aadObjectId"), oid.to_string());
    assert_eq!(text(&heard["channelData"]["tenant"], "id"), tid.to_string());
    assert_ne!((tid, oid), microsoft.person(BRUNO, |bruno| (bruno.tid, bruno.oid)));
}
