//! Logs: one line per thing that happened, to standard error, as text or JSON.
//!
//! **Invariant.** Libraries that print addresses with their query strings (where `state` and `code` stand) are never
//! heard below `warn`, whatever the level.

use tracing_subscriber::{EnvFilter, Layer as _, fmt::MakeWriter, layer::SubscriberExt as _};

use crate::config::Section;

/// Appended to the configured level; of two directives for one module the later wins. EventStoreDB's client repeats as an
/// error what the store adapter says in its own words.
const QUIET: &str =
    "hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,tower=warn,axum=warn,kurrentdb=off";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// An `EnvFilter` directive, known to be good.
    pub level: String,
}

impl LogConfig {
    pub fn read(section: &mut Section<'_>) -> Self {
        let known = |directive: &str| {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            ["off", "error", "warn", "info", "debug", "trace"].contains(&level)
        };
        Self {
            format: section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            level: section.parsed(
                "level",
                "a level such as \"info\", or \"info,chancery::http=debug\"",
                |text| {
                    (text.split(',').all(known) && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
                },
            ),
        }
    }
}

/// Starts logging to standard error, of panics too. A second call changes nothing.
pub fn init(config: &LogConfig) {
    if tracing::subscriber::set_global_default(subscriber(config, std::io::stderr)).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or("(no message)");
            tracing::error!(place, message, "panic");
        }));
    }
}

/// What `init` installs, with a writer of choice.
pub fn subscriber<W>(config: &LogConfig, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(format!("{},{QUIET}", config.level));
    let format = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let format = match config.format {
        LogFormat::Text => format.boxed(),
        LogFormat::Json => format.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(format)
}

/// A writer that keeps what was written, for tests that read logs.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Recorded {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn writer(&self) -> impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static {
        let recorded = self.clone();
        move || recorded.clone()
    }
}

#[cfg(test)]
impl std::io::Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: LogFormat, level: &str) -> String {
        let recorded = Recorded::default();
        let config = LogConfig { format, level: level.to_owned() };
        tracing::subscriber::with_default(subscriber(&config, recorded.writer()), || {
            tracing::info!(message.id = 7, "message accepted");
            tracing::trace!(target: "hyper_util::client", "GET /callback?code=0.AXoA");
            tracing::debug!(target: "reqwest::connect", "https://example.com/?state=x");
        });
        recorded.text()
    }

    #[test]
    fn json_logs_are_one_object_per_line() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, "info")).unwrap();
        assert_eq!(line["message"], "message accepted");
        assert_eq!(line["message.id"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_logs_are_sentences_with_fields() {
        assert!(logged(LogFormat::Text, "info").contains("message accepted message.id=7"));
        assert_eq!(logged(LogFormat::Text, "error"), "");
    }

    #[test]
    fn libraries_that_print_addresses_stay_quiet_at_any_level() {
        let text = logged(LogFormat::Text, "trace,hyper_util=trace,reqwest=trace");
        assert!(!text.contains("code=") && !text.contains("state="), "{text}");
        assert!(text.contains("message accepted"));
    }
}
