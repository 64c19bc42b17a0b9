//! Which events of a stream its metadata lets clients see.
//!
//! The rules hold when a stream is read. In the whole log its events stay to be seen.

use std::ops::RangeInclusive;

use serde_json::Value;
use store::{
    Recorded,
    served::{DELETED_REVISION, StreamState},
};

use crate::wire;

/// What of a stream there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The first revision and the last. Events may be missing in between, if they are too old.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Events from before are not shown.
    pub(crate) since_us: i64,
}

impl Shown {
    /// `None` where there is no stream, or it was deleted softly.
    pub(crate) fn of(state: &StreamState, is_metadata: bool) -> Option<Self> {
        let last = state.last?;
        let rules = Rules::of(state, is_metadata);
        let kept = rules.count_max.map_or(0, |count| (last + 1).saturating_sub(count));
        let since_us = rules.age_max_s.map_or(i64::MIN, |age| {
            wire::now_us().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX).saturating_mul(1_000_000))
        });
        let first = rules.truncated_before.max(kept);
        (rules.truncated_before != DELETED_REVISION).then_some(Self { first, last, since_us })
    }

    pub(crate) fn revisions(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    pub(crate) fn shows(&self, event: &Recorded) -> bool {
        self.revisions().contains(&event.revision) && event.created_us >= self.since_us
    }
}

/// It was deleted softly, and not written to since.
pub(crate) fn is_hidden(state: &StreamState) -> bool {
    Rules::of(state, false).truncated_before == DELETED_REVISION
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    truncated_before: u64,
    count_max: Option<u64>,
    age_max_s: Option<u64>,
}

impl Rules {
    /// Metadata that is no JSON object rules nothing, and neither does a rule that is no number from 1 on (0 for `$tb`).
    fn of(state: &StreamState, is_metadata: bool) -> Self {
        if is_metadata {
            // Only the newest metadata counts.
            return Self { count_max: Some(1), ..Self::default() };
        }
        let Some(metadata) = &state.metadata else { return Self::default() };
        let metadata: Value = serde_json::from_slice(metadata).unwrap_or_default();
        let number = |name| metadata.get(name).and_then(Value::as_u64);
        let positive = |name| number(name).filter(|&number| number > 0);
        Self {
            truncated_before: number("$tb").unwrap_or_default(),
            count_max: positive("$maxCount"),
            age_max_s: positive("$maxAge"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(last: u64, metadata: &str) -> Option<(u64, u64)> {
        let state =
            StreamState { last: Some(last), deleted: false, metadata: Some(metadata.to_owned().into()) };
        Shown::of(&state, false).map(|shown| (shown.first, shown.last))
    }

    #[test]
    fn the_stricter_of_truncation_and_count_rules() {
        assert_eq!(shown(9, "{}"), Some((0, 9)));
        assert_eq!(shown(9, r#"{"$maxCount":3}"#), Some((7, 9)));
        assert_eq!(shown(9, r#"{"$maxCount":3,"$tb":8}"#), Some((8, 9)));
        assert_eq!(shown(9, r#"{"$maxCount":30,"$tb":2}"#), Some((2, 9)));
        assert_eq!(shown(9, r#"{"$tb":10}"#), Some((10, 9)));
        assert_eq!(shown(9, r#"{"$tb":9223372036854775807}"#), None);
    }

    #[test]
    fn what_is_older_than_the_age_is_not_shown() {
        let event = |seconds: i64| Recorded {
            id: uuid::Uuid::nil(),
            stream: store::StreamName::new("thing-1"),
            revision: 3,
            position: store::Position(1),
            name: "thing.happened.v1".into(),
            content_type: store::ContentType::Json,
            data: "{}".into(),
            metadata: "{}".into(),
            created_us: wire::now_us() - seconds * 1_000_000,
        };
        let metadata = Some(r#"{"$maxAge":3600}"#.into());
        let shown = Shown::of(&StreamState { last: Some(9), deleted: false, metadata }, false).unwrap();
        assert_eq!([10, 3500, 3700].map(|age| shown.shows(&event(age))), [true, true, false]);
    }

    #[test]
    fn metadata_that_makes_no_sense_rules_nothing() {
        for metadata in ["", "no json", "[1]", r#"{"$maxCount":0,"$tb":-1,"$maxAge":"a"}"#] {
            assert_eq!(shown(9, metadata), Some((0, 9)), "{metadata}");
        }
    }

    #[test]
    fn of_a_metadata_stream_only_the_newest_is_shown() {
        let state = StreamState { last: Some(4), deleted: false, metadata: None };
        assert_eq!(Shown::of(&state, true).map(|shown| shown.revisions()), Some(4..=4));
    }
}
