//! The shape of activities, as Teams sends them.

use serde_json::{Value, json};

use super::Act;
use crate::connector::BOT_NAME;
use crate::graph::store::{Chat, Members, Message};
use crate::people::{Person, TENANTS};
use crate::teams::plain_text;
use crate::{Simulator, clock, lock};

/// The activity by which the bot hears of something that a person does in their own chat with it.
pub(super) fn activity(simulator: &Simulator, person: &Person, act: &Act) -> Value {
    let chat = lock(&person.state).chat.clone();
    let id = |chat: &Chat| chat.next_id(simulator.0.clock.now_ms()).to_string();
    let part = match act {
        Act::Text(text) => return message_of(simulator, person, &chat, &id(&chat), text),
        Act::GroupText(text) => {
            let group = simulator.0.directory.chats.group(person.tid).unwrap_or(chat);
            return message_of(simulator, person, &group, &id(&group), text);
        }
        Act::Submit { reply_to, value } => return submit(simulator, person, &chat, reply_to, value.clone()),
        Act::ConversationUpdate { added } => {
            let bot = json!([{ "id": simulator.bot_id() }]);
            let name = if *added { "membersAdded" } else { "membersRemoved" };
            json!({ "type": "conversationUpdate", name: bot, "from": { "name": null } })
        }
        Act::InstallationUpdate { action } => json!({ "type": "installationUpdate", "action": action }),
        Act::Invoke { name, value } => json!({ "type": "invoke", "name": name, "value": value }),
        Act::Other(kind) => json!({ "type": kind }),
    };
    let mut activity = common(simulator, person, &chat);
    merge(&mut activity, &part);
    activity
}

/// The activity by which the bot hears of a card that a person submitted.
pub(super) fn submit(
    simulator: &Simulator,
    person: &Person,
    chat: &Chat,
    message_id: &str,
    value: Value,
) -> Value {
    let mut activity = common(simulator, person, chat);
    activity["type"] = "message".into();
    activity["id"] = chat.next_id(simulator.0.clock.now_ms()).to_string().into();
    activity["replyToId"] = message_id.into();
    activity["value"] = value;
    activity["channelData"]["source"] = json!({ "name": "message" });
    activity["channelData"]["legacy"] = json!({ "replyToId": message_id });
    activity
}

/// The activity by which the bot hears of a message that a person typed.
pub(super) fn message(simulator: &Simulator, person: &Person, chat: &Chat, message: &Message) -> Value {
    message_of(simulator, person, chat, &message.id.to_string(), &message.content)
}

/// The activity by which the bot hears of a message that Graph posted: it looks like one that was typed, though markup
/// and cards come as attachments.
pub(super) fn posted(simulator: &Simulator, person: &Person, chat: &Chat, message: &Message) -> Value {
    let text = if message.is_html { plain_text(&message.content) } else { message.content.to_string() };
    let mut activity = message_of(simulator, person, chat, &message.id.to_string(), &text);
    let mut attachments = cards(message);
    if message.is_html {
        attachments.push(json!({ "contentType": "text/html", "content": message.content }));
    }
    if !attachments.is_empty() {
        activity["attachments"] = attachments.into();
    }
    activity
}

fn message_of(simulator: &Simulator, person: &Person, chat: &Chat, id: &str, text: &str) -> Value {
    let mut activity = common(simulator, person, chat);
    let mut text = text.to_owned();
    if matches!(chat.members, Members::Everybody(_)) {
        let mention = format!("<at>{BOT_NAME}</at>");
        let bot = json!({ "id": simulator.bot_id(), "name": BOT_NAME });
        let entity = json!({ "type": "mention", "mentioned": bot, "text": mention });
        activity["entities"].as_array_mut().into_iter().for_each(|it| it.push(entity.clone()));
        text = format!("{mention} {text}");
    }
    merge(&mut activity, &json!({ "type": "message", "id": id, "text": text, "textFormat": "plain" }));
    activity
}

/// What every activity has.
fn common(simulator: &Simulator, person: &Person, chat: &Chat) -> Value {
    let locale = lock(&person.state).locale.clone();
    let now = clock::stamp(simulator.0.clock.now_ms());
    let (language, country) = locale.split_once('-').unwrap_or((&locale, ""));
    let is_group = matches!(chat.members, Members::Everybody(_));
    let mut conversation = json!({
        "id": chat.conversation_id,
        "conversationType": if is_group { "groupChat" } else { "personal" },
        "tenantId": person.tid,
    });
    if is_group {
        conversation["isGroup"] = true.into();
        conversation["name"] = group_name(person).into();
    }
    json!({
        "id": format!("f:{}", simulator.0.chance.uuid()),
        "timestamp": now,
        "localTimestamp": now.replace('Z', "+00:00"),
        "localTimezone": "Etc/UTC",
        "channelId": "msteams",
        "serviceUrl": simulator.service_url(),
        "from": { "id": person.user_id(), "name": person.name(), "aadObjectId": person.oid },
        "recipient": { "id": simulator.bot_id(), "name": BOT_NAME },
        "conversation": conversation,
        "entities": [{
            "type": "clientInfo", "locale": locale, "country": country, "platform": "Web", "timezone": "Etc/UTC",
        }],
        "channelData": { "tenant": { "id": person.tid } },
        "locale": format!("{language}{}{country}", if country.is_empty() { "" } else { "-" }),
    })
}

pub(crate) fn group_name(person: &Person) -> String {
    let tenant =
        TENANTS.iter().find(|(_, _, tid)| *tid == person.tid).map_or("the tenant", |(name, ..)| name);
    format!("Everybody at {tenant}")
}

/// The cards attached to a message, as the Bot Framework writes them: the content is an object.
fn cards(message: &Message) -> Vec<Value> {
    let attachments: Vec<Value> =
        message.attachments.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let with_object = |it: &Value| {
        let content: Option<Value> = it["content"].as_str().and_then(|text| serde_json::from_str(text).ok());
        json!({ "contentType": it["contentType"], "content": content })
    };
    attachments.iter().map(with_object).collect()
}

/// Changes `value` by a JSON merge patch (RFC 7396); a patch that is `null` changes nothing.
pub(super) fn merge(value: &mut Value, patch: &Value) {
    match patch {
        Value::Null => {}
        Value::Object(fields) => {
            if !value.is_object() {
                *value = json!({});
            }
            for (name, new) in fields {
                if new.is_null() {
                    value.as_object_mut().into_iter().for_each(|it| drop(it.remove(name)));
                } else {
                    merge(&mut value[name], new);
                }
            }
        }
        other => *value = other.clone(),
    }
}
