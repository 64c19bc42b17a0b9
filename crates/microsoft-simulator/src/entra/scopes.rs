//! Scopes: which there are, and how a request for some is read.

use std::collections::BTreeSet;

use super::denial::Denial;

/// Scopes about the person, which have no resource.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// Delegated permissions of Graph that the application is registered for. The official list of 2026-08-07 has none
/// of them behind an administrator; a tenant's own policy can.
const GRAPH: [&str; 11] = [
    "User.Read",
    "ChatMessage.Send",
    "Chat.Create",
    "Chat.Read",
    "Chat.ReadBasic",
    "Chat.ReadWrite",
    "ChannelMessage.Send",
    "TeamsAppInstallation.ReadForUser",
    "TeamsAppInstallation.ReadWriteForUser",
    "TeamsAppInstallation.ReadWriteSelfForUser",
    "TeamsActivity.Send",
];

const GRAPH_PREFIX: &str = "https://graph.microsoft.com/";

/// The scopes named in `text`, without the prefix of Graph, in their official spelling.
pub(crate) fn parse(text: &str) -> Result<BTreeSet<String>, Denial> {
    let names: Vec<_> =
        text.split_whitespace().map(|name| name.strip_prefix(GRAPH_PREFIX).unwrap_or(name)).collect();
    let has_others = names.iter().any(|name| *name != ".default" && !OPENID.contains(name));
    if has_others && names.contains(&".default") {
        return Err(Denial::saying(70011, "`.default` cannot be combined with scopes of the resource."));
    }
    let mut scopes = BTreeSet::new();
    for name in names {
        if name == ".default" {
            scopes.extend(all());
            continue;
        }
        let known = OPENID.iter().chain(&GRAPH).find(|known| known.eq_ignore_ascii_case(name));
        let known =
            known.ok_or_else(|| Denial::saying(70011, format!("The scope '{name}' is not valid.")))?;
        scopes.insert((*known).to_owned());
    }
    if scopes.is_empty() {
        return Err(Denial::saying(900_144, "The request must contain the parameter 'scope'."));
    }
    Ok(scopes)
}

/// What `.default` means: everything of Graph.
fn all() -> impl Iterator<Item = String> {
    GRAPH.into_iter().map(ToOwned::to_owned)
}

/// `scope` of a token response. Order and prefix are not promised by Microsoft, so `turn` moves them about;
/// `offline_access` is not repeated.
pub(crate) fn write(scopes: &BTreeSet<String>, turn: usize) -> String {
    let mut names: Vec<_> = scopes
        .iter()
        .filter(|scope| *scope != "offline_access")
        .map(|scope| {
            let prefixed = turn % 2 == 1 && !OPENID.contains(&scope.as_str());
            if prefixed { format!("{GRAPH_PREFIX}{scope}") } else { scope.clone() }
        })
        .collect();
    let length = names.len().max(1);
    names.rotate_left(turn % length);
    names.join(" ")
}

/// What a scope lets the application do, for people.
pub(crate) fn meaning(scope: &str) -> &'static str {
    match scope {
        "openid" => "Sign you in",
        "profile" => "See your name and picture",
        "email" => "See your e-mail address",
        "offline_access" => "Keep the access you give it",
        "User.Read" => "Read your profile",
        "ChatMessage.Send" => "Send chat messages as you",
        "Chat.Create" => "Start chats as you",
        "Chat.Read" | "Chat.ReadBasic" => "Read your chats",
        "Chat.ReadWrite" => "Read and write your chats",
        "ChannelMessage.Send" => "Send channel messages as you",
        "TeamsActivity.Send" => "Send you notifications in Teams",
        "TeamsAppInstallation.ReadForUser" => "See the Teams apps you installed",
        _ => "Manage the Teams apps you installed",
    }
}

/// Whether a tenant that lets only administrators consent cares for this scope.
pub(crate) fn reaches_teams(scope: &str) -> bool {
    scope.starts_with("Chat") || scope.starts_with("Teams") || scope.starts_with("Channel")
}

#[cfg(test)]
mod tests {
    use super::{parse, write};

    #[test]
    fn the_prefix_and_the_case_of_a_scope_do_not_matter() {
        let scopes = parse("openid https://graph.microsoft.com/user.read").unwrap();
        assert_eq!(scopes, parse("User.Read openid").unwrap());
    }

    #[test]
    fn default_is_not_mixed_with_named_scopes() {
        assert_eq!(parse("openid .default").unwrap().len(), 12);
        assert_eq!(parse(".default User.Read").unwrap_err().code, 70011);
        assert_eq!(parse("address").unwrap_err().code, 70011);
    }

    #[test]
    fn however_scopes_are_written_they_read_the_same() {
        let scopes = parse("openid email User.Read ChatMessage.Send").unwrap();
        for turn in 0..8 {
            assert_eq!(parse(&write(&scopes, turn)).unwrap(), scopes);
        }
    }
}
