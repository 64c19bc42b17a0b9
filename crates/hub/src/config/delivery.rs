//! How messages are delivered: how fast, which way, and what is done when they can't be.

use std::time::Duration;

use domain::{Surface, SurfaceChoice};

use super::{
    Section,
    sections::{DAY_MS, MINUTE_MS},
};

/// What to do with a message of which nobody knows whether Microsoft took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcome {
    Skip,
    Resend,
}

#[derive(Debug)]
pub struct DeliveryConfig {
    pub concurrency: usize,
    pub chat_interval: Duration,
    pub tenant_per_second: u32,
    pub app_per_second: u32,
    pub attempts_max: u32,
    pub age_max: Duration,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    pub unknown: UnknownOutcome,
    /// Which way messages go where neither they nor their tenant say.
    pub surface: SurfaceChoice,
    /// By Graph, in bytes of UTF-16.
    pub size_max_bytes: usize,
    /// By the bot, likewise.
    pub bot_size_max_bytes: usize,
    pub breaker_unknowns: u32,
    pub breaker_pause: Duration,
}

impl DeliveryConfig {
    pub(super) fn read(section: &mut Section<'_>, has_bot: bool) -> Self {
        let config = Self {
            concurrency: section.number("concurrency", 1..=1024),
            chat_interval: section.millis("chat_interval_ms", 0..=MINUTE_MS),
            tenant_per_second: section.number("tenant_per_second", 1..=100_000),
            app_per_second: section.number("app_per_second", 1..=100_000),
            attempts_max: section.number("attempts_max", 1..=1000),
            age_max: Duration::from_hours(section.number("age_max_hours", 1..=24 * 365)),
            backoff_first: section.millis("backoff_first_ms", 1..=DAY_MS),
            backoff_max: section.millis("backoff_max_ms", 1..=DAY_MS),
            unknown: section
                .choice("unknown", &[("skip", UnknownOutcome::Skip), ("resend", UnknownOutcome::Resend)]),
            surface: section.choice(
                "surface",
                &[
                    ("graph", SurfaceChoice::Graph),
                    ("bot", SurfaceChoice::Bot),
                    ("auto", SurfaceChoice::Auto),
                ],
            ),
            size_max_bytes: section.number("size_max_bytes", 1024..=28 * 1024),
            bot_size_max_bytes: section.number("bot_size_max_bytes", 1024..=100 * 1024),
            breaker_unknowns: section.number("breaker_unknowns", 1..=1000),
            breaker_pause: section.millis("breaker_pause_ms", 1..=DAY_MS),
        };
        if config.surface == SurfaceChoice::Bot && !has_bot {
            section.refuse("surface", "is \"bot\", but [bot] has no app_id");
        }
        if config.backoff_max < config.backoff_first {
            section.refuse("backoff_max_ms", "must not be less than backoff_first_ms");
        }
        config
    }

    /// The largest message that may go any way that this choice allows, in bytes of UTF-16.
    pub fn size_max(&self, choice: SurfaceChoice) -> usize {
        let limits = Surface::ALL.into_iter().filter(|way| choice.may_go(*way)).map(|way| match way {
            Surface::Graph => self.size_max_bytes,
            Surface::Bot => self.bot_size_max_bytes,
        });
        limits.min().unwrap_or_default()
    }
}
