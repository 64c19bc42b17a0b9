//! Activities of Teams: what is read of them, and how it is said what can't be.

use chancery_microsoft::bot::{Activity, ActivityProblem as Problem, Kind, Membership, Scope, TenantProblem};
use serde_json::{Value, json};

pub(crate) const BOT: &str = "28:00000000-0000-0000-0000-0000000000b0";
const TENANT: &str = "00000000-0000-0000-0000-000000007e4a";
const OTHER_TENANT: &str = "00000000-0000-0000-0000-00000000beef";
const OBJECT: &str = "00000000-0000-0000-0000-00000000a11c";

/// A message as Teams sends it, with fields that nobody here knows.
pub(crate) fn message() -> Value {
    json!({
        "type": "message", "id": "1795435200000", "timestamp": "2026-11-23T12:00:00.000Z",
        "localTimezone": "Europe/Berlin", "channelId": "msteams", "text": " Login\u{a0}\r\n", "textFormat": "plain",
        "serviceUrl": "https://smba.trafficmanager.net/emea/",
        "from": { "id": "29:alice", "name": "Alice\u{7} \u{202e}Ärm", "aadObjectId": OBJECT },
        "recipient": { "id": BOT, "name": "Chancery" },
        "conversation": { "conversationType": "personal", "tenantId": TENANT, "id": "a:1_x" },
        "channelData": { "tenant": { "id": TENANT }, "source": { "name": "message" } },
        "entities": [{ "type": "clientInfo", "locale": "de-DE" }, 7], "locale": "de-DE", "unheardOf": { "x": [1] },
    })
}

fn parse(json: &Value) -> Result<Activity, Problem> {
    Activity::parse(json.to_string().as_bytes())
}

/// A message with changes: each is a path of names and what stands there instead.
fn changed<const N: usize>(changes: [(&str, Value); N]) -> Result<Activity, Problem> {
    let mut json = message();
    for (path, value) in changes {
        let place = path.split('.').fold(&mut json, |json, name| &mut json[name]);
        *place = value;
    }
    parse(&json)
}

fn kind<const N: usize>(changes: [(&str, Value); N]) -> Kind {
    changed(changes).unwrap().kind
}

#[test]
fn a_message_is_read_with_who_wrote_it_and_where() {
    let activity = parse(&message()).unwrap();
    assert_eq!(activity.id, "1795435200000");
    assert_eq!(activity.kind, Kind::Message { text: "Login".into() });
    assert_eq!(activity.service_url, "https://smba.trafficmanager.net/emea/");
    assert_eq!((activity.from.id.as_str(), activity.recipient.id.as_str()), ("29:alice", BOT));
    assert_eq!(activity.from.name.as_deref(), Some("Alice Ärm"));
    assert_eq!((activity.conversation.id.as_str(), activity.conversation.scope), ("a:1_x", Scope::Personal));
    assert_eq!(activity.locale.as_deref(), Some("de-DE"));
    assert_eq!(activity.sender().unwrap().to_string(), format!("{TENANT}/{OBJECT}"));
}

#[test]
fn every_kind_is_recognised() {
    let value = json!({ "answer": 42 });
    assert_eq!(
        kind([("text", json!(null)), ("value", value.clone()), ("replyToId", json!("1"))]),
        Kind::Submit { value: value.clone() }
    );
    for (action, expected) in [
        ("add", Kind::Installed),
        ("add-upgrade", Kind::Installed),
        ("remove", Kind::Removed),
        ("remove-upgrade", Kind::Removed),
        ("polish", Kind::Other),
    ] {
        assert_eq!(kind([("type", json!("installationUpdate")), ("action", json!(action))]), expected);
    }
    let update = ("type", json!("conversationUpdate"));
    let members = json!([{ "id": "29:alice" }, { "id": BOT }]);
    for (field, expected) in [
        ("membersAdded", Some(Membership::Joined)),
        ("membersRemoved", Some(Membership::Left)),
        ("elsewhere", None),
    ] {
        assert_eq!(kind([update.clone(), (field, members.clone())]), Kind::MembersChanged { bot: expected });
    }
    let name = "signin/verifyState";
    assert_eq!(
        kind([("type", json!("invoke")), ("name", json!(name)), ("value", value.clone())]),
        Kind::Invoke { name: name.into(), value }
    );
    assert_eq!(kind([("type", json!("typing"))]), Kind::Other);
    assert_eq!(kind([("text", json!(null))]), Kind::Message { text: String::new() });
}

#[test]
fn only_the_mention_of_the_bot_is_taken_out_of_a_text() {
    let mention = |id, text| json!({ "type": "mention", "mentioned": { "id": id }, "text": text });
    let text = json!("<at>Chancery</at> login <at>Bob</at>");
    let entities = json!([mention(BOT, "<at>Chancery</at>"), mention("29:bob", "<at>Bob</at>")]);
    assert_eq!(
        kind([("text", text), ("entities", entities)]),
        Kind::Message { text: "login <at>Bob</at>".into() }
    );
}

#[test]
fn the_two_places_of_the_tenant_must_not_contradict_each_other() {
    let tenant = |channel: Value, conversation: Value| {
        let activity =
            changed([("channelData.tenant.id", channel), ("conversation.tenantId", conversation)]).unwrap();
        activity.tenant().map(|tenant| tenant.to_string())
    };
    assert_eq!(tenant(json!(TENANT), json!(TENANT.to_uppercase())), Ok(TENANT.into()));
    assert_eq!(tenant(json!(null), json!(TENANT)), Ok(TENANT.into()));
    assert_eq!(tenant(json!(TENANT), json!("")), Ok(TENANT.into()));
    assert_eq!(tenant(json!(TENANT), json!(OTHER_TENANT)), Err(TenantProblem::Contradiction));
    assert_eq!(tenant(json!(null), json!(null)), Err(TenantProblem::Missing));
    let nobody = changed([("from.aadObjectId", json!(null))]).unwrap();
    assert_eq!(nobody.sender(), None);
}

#[test]
fn what_cannot_be_read_is_named_and_not_shown() {
    for field in ["type", "id", "channelId", "serviceUrl", "from.id", "recipient.id", "conversation.id"] {
        for absent in [json!(null), json!("")] {
            assert_eq!(changed([(field, absent)]), Err(Problem::Missing { field }));
        }
    }
    let long = json!("x".repeat(257));
    for (field, wrong) in [
        ("type", json!(7)),
        ("id", json!(1_795_435_200_000_i64)),
        ("id", long.clone()),
        ("id", json!("a b")),
        ("channelId", json!(["msteams"])),
        ("serviceUrl", json!({})),
        ("serviceUrl", json!("https://x/".repeat(300))),
        ("text", json!(7)),
        ("from.id", long),
        ("from.name", json!(false)),
        ("from.aadObjectId", json!("alice")),
        ("recipient.id", json!("ä")),
        ("conversation.tenantId", json!("contoso.example")),
        ("channelData.tenant.id", json!(7)),
        ("replyToId", json!(7)),
        ("locale", json!(7)),
    ] {
        assert_eq!(changed([(field, wrong)]), Err(Problem::Wrong { field }));
    }
    let update = ("type", json!("conversationUpdate"));
    let field = "membersAdded";
    assert_eq!(changed([update, (field, json!("everybody"))]), Err(Problem::Wrong { field }));
    assert_eq!(changed([("from", json!("canary"))]), Err(Problem::Wrong { field: "from.id" }));
}

#[test]
fn whatever_is_not_an_activity_is_refused() {
    let deep = "[".repeat(100_000);
    for body in ["", "{", "null", "7", "\"x\"", "[]", "\u{0}", &deep] {
        assert_eq!(Activity::parse(body.as_bytes()), Err(Problem::NotJson));
    }
    assert_eq!(Activity::parse(b"\xff\xfe"), Err(Problem::NotJson));
    assert_eq!(Activity::parse(&vec![b' '; 1024 * 1024]), Err(Problem::TooLarge));
    assert!(changed([("locale", json!("<script>"))]).unwrap().locale.is_none());
    let name = changed([("from.name", json!("ä".repeat(10_000)))]).unwrap().from.name.unwrap();
    assert_eq!(name.chars().count(), 256);
}

/// Every place of an object, as a JSON pointer.
fn places(json: &Value, here: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match json {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => vec![],
    };
    let inner = children.into_iter().flat_map(|(name, value)| places(value, &format!("{here}/{name}")));
    std::iter::once(here.to_owned()).chain(inner).collect()
}

#[test]
fn no_odd_value_anywhere_is_more_than_an_error() {
    let (mut taken, mut refused) = (0, 0);
    for kind in ["message", "installationUpdate", "conversationUpdate", "invoke"] {
        let mut whole = message();
        whole["type"] = json!(kind);
        whole["membersAdded"] = json!([{ "id": BOT }]);
        for place in places(&whole, "") {
            for odd in
                [json!(null), json!(true), json!(-1e300), json!("\u{0}<at>"), json!([[]]), json!({ "": {} })]
            {
                let mut json = whole.clone();
                *json.pointer_mut(&place).unwrap() = odd;
                *(if parse(&json).is_ok() { &mut taken } else { &mut refused }) += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn debug_output_shows_the_kind_and_nothing_that_was_typed() {
    let activity = changed([("value", json!({ "password": "canary" }))]).unwrap();
    assert_eq!(format!("{activity:?}"), "Activity { kind: submit, .. }");
}
