//! `chancery health`: whether a hub can do its work, for people, scripts and containers, whose images hold nothing else
//! that could ask.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, ensure};

use super::{
    args::HealthArgs,
    client::{DEV_FILE, address, http},
    messages::pretty,
    print, table,
};
use crate::http::ops::{CheckReport, ReadinessReport};

pub(super) async fn run(args: &HealthArgs) -> Result<ExitCode> {
    let mut url = address(args.url.as_deref(), Path::new(DEV_FILE))?;
    url.set_path(if args.live { "/health/live" } else { "/health/ready" });
    let answer = http(args.ca_file.as_deref())?.get(url).send().await.map_err(reqwest::Error::without_url);
    let answer = answer.context("the hub did not answer; is it running, and is this its address (--url)?")?;
    if args.live {
        ensure!(answer.status().is_success(), "the answer was {}", answer.status());
        return Ok(ExitCode::SUCCESS);
    }
    let body = answer.bytes().await.map_err(reqwest::Error::without_url).context("the answer broke off")?;
    let report: ReadinessReport =
        serde_json::from_slice(&body).context("the answer is no report; is this a hub's address?")?;
    print(&if args.json { pretty(&serde_json::to_value(&report)?) } else { told(&report) })?;
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(report: &ReadinessReport) -> String {
    let row = |check: &CheckReport| {
        let ready = if check.ready { "yes" } else { "no" };
        vec![check.name.clone(), ready.to_owned(), check.reason.clone().unwrap_or_default()]
    };
    let rows: Vec<_> = report.checks.iter().map(row).collect();
    table::render(&["CHECK", "READY", "WHY NOT"], &rows)
}
