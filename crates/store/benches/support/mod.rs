//! What both benchmarks need: events of a usual size, a disk that is one, and medians.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chancery_store::{ContentType, NewEvent};
use tempfile::TempDir;
use uuid::Uuid;

/// About 500 bytes, with the names and the metadata that the hub writes.
pub(crate) fn event(number: u64) -> NewEvent {
    // Scattered as random ids are, and the same in every run.
    let id = Uuid::from_u128(u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    NewEvent {
        id,
        name: Arc::from("lane.delivery-started.v1"),
        content_type: ContentType::Json,
        data: Bytes::from_static(&[b'd'; 300]),
        metadata: Bytes::from_static(&[b'm'; 200]),
    }
}

pub(crate) fn stream_name(number: u64) -> String {
    format!(
        "lane-{}",
        Uuid::from_u128(u128::from(number + 1).wrapping_mul(0xD1B5_4A32_D192_ED03_8CB9_2BA7_2F3D_8DD7))
    )
}

/// Under the build directory, which is on a real disk where a temporary one may be in memory.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written")
}

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
