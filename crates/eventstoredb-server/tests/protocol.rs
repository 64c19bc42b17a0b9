//! `src/protocol` is generated from `proto`: this compares the two.
//!
//! `UPDATE_PROTOCOL=1 cargo test -p chancery-eventstoredb-server --test protocol` writes it anew instead.

use std::{collections::BTreeMap, fs, path::Path};

use prost_build::{Config, Module};

const PACKAGES: [&str; 4] = ["cluster", "reading", "shared", "writing"];

#[test]
fn the_protocol_is_generated_from_its_definitions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, definitions) = (root.join("src/protocol"), root.join("proto"));
    let mut stale = Vec::new();
    for (package, text) in generated(&definitions) {
        let file = folder.join(format!("{package}.rs"));
        if std::env::var_os("UPDATE_PROTOCOL").is_some() {
            fs::write(&file, &text).unwrap();
        }
        if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            stale.push(package);
        }
    }
    assert!(stale.is_empty(), "set UPDATE_PROTOCOL=1 and run this test again for {stale:?}");
}

/// Rust by package.
fn generated(definitions: &Path) -> BTreeMap<String, String> {
    let files = PACKAGES.map(|package| format!("{package}.proto"));
    let mut descriptors = protox::compile(files, [definitions]).unwrap();
    for file in &mut descriptors.file {
        // The definitions have the comments.
        file.source_code_info = None;
    }
    let requests = descriptors
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let modules = Config::new().bytes(["."]).generate(requests).unwrap();
    modules
        .into_iter()
        .map(|(module, text)| {
            let package = module.to_string();
            let first = format!("//! Generated from `proto/{package}.proto`; see `tests/protocol.rs`.\n\n");
            (package, first + text.split_once('\n').map_or("", |(_, rest)| rest))
        })
        .collect()
}
