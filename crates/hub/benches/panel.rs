//! The login panel on loopback: its size, and the time from the request to the first byte of the answer, on a socket that
//! is open. The goals: less than 15 KiB with its style sheet, and less than 10 ms.
//!
//! `cargo bench -p chancery --bench panel [-- <requests>]`

#[allow(dead_code, reason = "each benchmark uses a part of the support")]
mod support;

use std::time::Instant;

use anyhow::{Result, ensure};
use chancery::services::sign_ins::{InChat, begin_in_chat};
use support::{Microsoft, Place, percentile, start_hub, stop_hub};
use tokio::runtime::Runtime;

const REQUESTS: usize = 500;

fn main() -> Result<()> {
    let requests = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(REQUESTS);
    Runtime::new()?.block_on(run(requests))
}

async fn run(requests: usize) -> Result<()> {
    let place = Place::new()?;
    let microsoft = Microsoft::start(&place.url, 1)?;
    let passwords = place.path().join("passwords");
    std::fs::write(&passwords, "")?;
    let passwords = passwords.to_string_lossy().into_owned();
    let settings = [
        ("PASSWORD__KIND", "file"),
        ("PASSWORD__FILE", passwords.as_str()),
        ("LIMITS__PER_ADDRESS_PER_SECOND", "100000"),
        ("LIMITS__PER_ADDRESS_BURST", "100000"),
    ];
    let (hub, lifecycle) = start_hub(&place, &microsoft, &settings).await?;
    let chat = InChat {
        person: microsoft.people[0].person,
        conversation_id: "a:chat".to_owned(),
        name: "Ada Lovelace".to_owned(),
        locale: None,
        activity: hub.ids.uuid(),
    };
    let url = begin_in_chat(&hub, chat).await?.url;
    let http = hub.config.outbound.client(false)?;
    let (mut took, mut page) = (Vec::new(), 0);
    for _ in 0..requests {
        let begun = Instant::now();
        let mut answer = http.get(url.clone()).send().await?;
        let first = answer.chunk().await?.map_or(0, |chunk| chunk.len());
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        ensure!(answer.status().is_success(), "the panel is answered with {}", answer.status());
        page = first + answer.bytes().await?.len();
    }
    let style = http.get(url.join("/sign-in/style.css")?).send().await?.bytes().await?.len();
    println!("{requests:>4} requests             | found | goal");
    println!(
        "page and style sheet    | {:>5.1} KiB ({:.1} and {:.1}) | 15",
        kib(page + style),
        kib(page),
        kib(style)
    );
    println!("first byte, median        | {:>5.2} ms | 10", percentile(took.clone(), 50));
    println!("first byte, percentile 99 | {:>5.2} ms | 10", percentile(took, 99));
    stop_hub(hub, lifecycle).await;
    Ok(())
}

fn kib(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0
}
