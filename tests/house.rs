//! What holds for the whole house: which room may use which, the schemas and samples of everything that is recorded or
//! answered, and how its files are written.
//!
//! `UPDATE_SCHEMAS=1` (`cargo xtask schemas`) writes the schemas anew instead of comparing them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use chancery::{
    http::v1::submission,
    templates::{self, Known},
};
use domain::{
    Aggregate, Metadata, account, activity, aggregate, attempts, audit, client, connection, hub, intake,
    lane, message, notice, shard, sign_in, tenant,
};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Which rooms a room may use, as `docs/ARCHITECTURE.md` has it. Tests may use more.
const ROOMS: &[(&str, &[&str])] = &[
    ("chancery-domain", &[]),
    ("chancery-store", &[]),
    ("chancery-eventstoredb-server", &["chancery-store"]),
    ("chancery-custody", &["chancery-domain", "chancery-store"]),
    ("chancery-microsoft", &["chancery-domain"]),
    ("chancery-microsoft-simulator", &[]),
    ("chancery-projections", &["chancery-domain", "chancery-store"]),
    (
        "chancery",
        &[
            "chancery-domain",
            "chancery-store",
            "chancery-eventstoredb-server",
            "chancery-custody",
            "chancery-microsoft",
            "chancery-microsoft-simulator",
            "chancery-projections",
        ],
    ),
    ("xtask", &[]),
];

#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` and `build` are named; what the room itself uses is not.
    kind: Option<String>,
    /// Of a room of ours.
    path: Option<PathBuf>,
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let workspace: Workspace = serde_json::from_slice(&output.stdout).unwrap();
    let mut wrong = Vec::new();
    for Package { name, dependencies } in workspace.packages {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
            wrong.push(format!("{name} is a new room: it needs its line here and in docs/ARCHITECTURE.md"));
            continue;
        };
        let used = dependencies.into_iter().filter(|used| used.path.is_some() && used.kind.is_none());
        wrong.extend(
            used.filter(|used| !allowed.contains(&used.name.as_str()))
                .map(|used| format!("{name} may not use {}", used.name)),
        );
    }
    assert_eq!(wrong, [""; 0]);
}

/// What is known of one kind of event.
struct Kind {
    schema: Value,
    /// Reads what the store keeps under a name and writes it again.
    again: fn(&str, &[u8]) -> (String, Vec<u8>),
}

/// Every event that this program writes or reads, by name.
fn events() -> BTreeMap<String, Kind> {
    let mut events = BTreeMap::new();
    events.extend(of::<account::Account>());
    events.extend(of::<activity::Activity>());
    events.extend(of::<attempts::Attempts>());
    events.extend(of::<audit::Audit>());
    events.extend(of::<client::Client>());
    events.extend(of::<connection::Connection>());
    events.extend(of::<hub::Presence>());
    events.extend(of::<intake::Rejection>());
    events.extend(of::<lane::Lane>());
    events.extend(of::<message::Message>());
    events.extend(of::<notice::Notice>());
    events.extend(of::<shard::Shard>());
    events.extend(of::<sign_in::SignIn>());
    events.extend(of::<tenant::Tenant>());
    events.insert(intake::SUBMITTED.to_owned(), submitted());
    events
}

/// What clients write, whose shape is that of the API.
fn submitted() -> Kind {
    let whole = submission::schema();
    let variant = json!({ "properties": { "data": whole["data"] } });
    let whole = json!({
        "$schema": schema_for!(()).to_value()["$schema"],
        "$defs": whole["$defs"],
    });
    let again = |name: &str, data: &[u8]| {
        submission::read(data).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
        (name.to_owned(), data.to_vec())
    };
    Kind { schema: schema(intake::SUBMITTED, &variant, &whole), again }
}

fn of<A: Aggregate>() -> Vec<(String, Kind)>
where
    A::Event: JsonSchema,
{
    let whole = schema_for!(A::Event).to_value();
    let again = |name: &str, data: &[u8]| {
        let event = aggregate::decode::<A>(name, data).unwrap_or_else(|error| panic!("{error}"));
        aggregate::encode(&event)
    };
    let variants = whole["oneOf"].as_array().expect("an enum of events");
    variants
        .iter()
        .map(|variant| {
            let name = variant["properties"]["name"]["const"].as_str().expect("an event has a name");
            let category = if A::CATEGORY == "rejection" { intake::CATEGORY } else { A::CATEGORY };
            assert!(name.starts_with(&format!("{category}.")), "{name} is named after its category");
            (name.to_owned(), Kind { schema: schema(name, variant, &whole), again })
        })
        .collect()
}

/// The schema of one event's data, complete in itself.
fn schema(name: &str, variant: &Value, whole: &Value) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), whole["$schema"].clone());
    schema.insert("title".into(), name.into());
    if let Some(description) = variant.get("description") {
        schema.insert("description".into(), description.clone());
    }
    let data = &variant["properties"]["data"];
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), json!({ "name": { "const": name }, "data": data }));
    schema.insert("required".into(), json!(["name", "data"]));
    let mut used = BTreeMap::new();
    collect_used(data, whole, &mut used);
    if !used.is_empty() {
        schema.insert("$defs".into(), json!(used));
    }
    Value::Object(schema)
}

fn collect_used(value: &Value, whole: &Value, used: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = reference.and_then(|reference| reference.strip_prefix("#/$defs/"))
                && !used.contains_key(name)
            {
                let definition = &whole["$defs"][name];
                used.insert(name.to_owned(), definition.clone());
                collect_used(definition, whole, used);
            }
            members.values().for_each(|member| collect_used(member, whole, used));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_used(item, whole, used)),
        _ => {}
    }
}

/// The files of a folder of `schemas`, without `.json`.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.map(|name| name.strip_suffix(".json").expect("a JSON file").to_owned()).collect()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_SCHEMAS").is_some()
}

/// Compares a file with what the code says, or writes it.
fn agrees(path: &Path, value: &Value) -> bool {
    let text = format!("{value:#}\n");
    if updating() {
        fs::write(path, &text).unwrap();
    }
    fs::read_to_string(path).is_ok_and(|found| found == text)
}

#[test]
fn every_event_of_the_domain_is_known_here() {
    let domain = sources().into_iter().filter(|(path, _)| path.starts_with("crates/domain/src/"));
    let named = domain.flat_map(|(_, text)| {
        let renames = text.split("#[serde(rename = \"").skip(1);
        let names = renames.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned());
        names.filter(|name| name.contains('.')).collect::<Vec<_>>()
    });
    let named = named.chain([intake::SUBMITTED.to_owned()]);
    assert_eq!(named.collect::<BTreeSet<_>>(), events().into_keys().collect());
}

#[test]
fn schemas_of_events_are_those_of_the_code() {
    let folder = root().join("schemas/events");
    let events = events();
    let stale =
        |event: &(&String, &Kind)| !agrees(&folder.join(format!("{}.json", event.0)), &event.1.schema);
    let stale: Vec<_> = events.iter().filter(stale).map(|(name, _)| name).collect();
    assert!(stale.is_empty(), "run `cargo xtask schemas` for {stale:?}");
    let gone: Vec<_> = names_in(&folder).into_iter().filter(|name| !events.contains_key(name)).collect();
    if updating() {
        for name in gone {
            fs::remove_file(folder.join(format!("{name}.json"))).unwrap();
        }
    } else {
        assert!(gone.is_empty(), "run `cargo xtask schemas`: the code has no events {gone:?}");
    }
}

#[test]
fn schemas_of_templates_are_those_of_the_code() {
    let folder = root().join("schemas/templates");
    let stale = |known: &&Known| !agrees(&folder.join(format!("{}.json", known.template)), &known.schema());
    let stale: Vec<_> = templates::ALL.iter().filter(stale).map(|known| known.template.to_string()).collect();
    assert!(stale.is_empty(), "run `cargo xtask schemas` for {stale:?}");
    // A version that was shipped is kept, because messages of it may still wait.
    let names = templates::ALL.iter().map(|known| known.template.to_string()).collect();
    assert_eq!(names_in(&folder), names);
}

#[test]
fn schemas_of_the_api_are_those_of_its_handlers() {
    let path = root().join("schemas/openapi.json");
    assert!(agrees(&path, &chancery::app::openapi()), "run `cargo xtask schemas` for {}", path.display());
}

/// An event as it was recorded.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    data: Value,
    metadata: Metadata,
}

#[test]
fn a_sample_of_every_event_ever_shipped_can_be_read() {
    let folder = root().join("schemas/samples");
    let (events, samples) = (events(), names_in(&folder));
    let without: Vec<_> = events.keys().filter(|name| !samples.contains(*name)).collect();
    assert!(without.is_empty(), "no sample of {without:?}");
    for name in samples {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let sample: Sample = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = serde_json::to_vec(&sample.data).unwrap();
        // An older version is read by what its category reads today, which writes its newest version.
        let category = name.split_once('.').map_or("", |(category, _)| category);
        let kind = events.get(&name).or_else(|| {
            let mut of_category =
                events.iter().filter(|(other, _)| other.split_once('.').is_some_and(|(c, _)| c == category));
            of_category.next().map(|(_, kind)| kind)
        });
        let (newest, again) = (kind.unwrap_or_else(|| panic!("nobody reads {name}")).again)(&name, &data);
        if newest == name {
            assert_eq!(
                serde_json::from_slice::<Value>(&again).unwrap(),
                sample.data,
                "{name} stays as it is"
            );
        }
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&sample.metadata).unwrap(), written["metadata"], "{name}");
    }
}

/// Every file of ours: those below the root but for what is built, fetched or hidden, and what `.ci` and `.cargo` hold.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".cargo" | ".github");
            if hidden || matches!(&*name, "target" | "node_modules") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    // In two parts, so that this file does not.
    let homes = ["home", "Users", "root", "work"].map(|name| format!("/{name}/"));
    let absolute = |text: &str, home: &str| {
        text.match_indices(home)
            .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c)))
    };
    let texts = files().into_iter().filter_map(|path| Some((fs::read_to_string(&path).ok()?, path)));
    let found: Vec<_> = texts
        .filter(|(text, _)| homes.iter().any(|home| absolute(text, home)))
        .map(|(_, path)| shown(&path))
        .collect();
    assert_eq!(found, [""; 0]);
}

fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (shown(&path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_source_file_is_longer_than_two() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > 500);
    assert_eq!(long.map(|(path, _)| path).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    assert_eq!(silent.map(|(path, _)| path).collect::<Vec<_>>(), [""; 0]);
}
