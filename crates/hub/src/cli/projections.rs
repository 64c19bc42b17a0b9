//! `chancery projections`: looks at the read models of a stopped hub, and builds them anew.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::BoxFuture;
use projections::{
    Projection, Report, Verification,
    clients::Clients,
    connections::Connections,
    due::Due,
    messages::Messages,
    runner::{self, Difference},
};
use serde_json::{Value, json};
use store::{EventStore, Position};

use super::{
    args::{DataArgs, ProjectionsCommand},
    data::Data,
    messages::{pretty, text},
    print, table,
};

pub(super) async fn run(command: ProjectionsCommand, args: &DataArgs, json: bool) -> Result<()> {
    let data = Data::here(args).await?;
    match command {
        ProjectionsCommand::List => {
            let items = list(&data).await?;
            print(&if json { pretty(&json!({ "items": items })) } else { listed(&items) })
        }
        ProjectionsCommand::Rebuild { name } => {
            let (report, verification) = rebuild(&data, &name).await?;
            print(&if json {
                pretty(&as_json(&report, &verification))
            } else {
                told(&report, &verification)
            })?;
            ensure!(verification.is_good(), "{name} is not as the events say; please report this");
            Ok(())
        }
    }
}

type Rebuilt = Result<(Report, Verification)>;

/// A read model, whatever its rows.
struct Known {
    name: &'static str,
    position: fn(&dyn EventStore, &Path) -> Result<Option<Position>>,
    rebuild: fn(Arc<dyn EventStore>, PathBuf) -> BoxFuture<'static, Rebuilt>,
}

impl Known {
    /// With or without its version.
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split_once('.').is_some_and(|(bare, _)| bare == name)
    }
}

const ALL: [Known; 4] = [known::<Clients>(), known::<Connections>(), known::<Due>(), known::<Messages>()];

const fn known<P: Projection>() -> Known {
    Known {
        name: P::NAME,
        position: runner::position::<P>,
        rebuild: |store, data| {
            Box::pin(async move {
                let report = runner::rebuild::<P>(store.clone(), &data).await?;
                Ok((report, runner::verify::<P>(store, &data).await?))
            })
        },
    }
}

async fn list(data: &Data) -> Result<Vec<Value>> {
    let head = data.store.head().await?;
    let item = |known: &Known| {
        let position = (known.position)(&*data.store, &data.directory)?;
        let position = position.map(|position| position.0);
        Ok(json!({ "name": known.name, "position": position, "head": head.0 }))
    };
    ALL.iter().map(item).collect()
}

fn listed(items: &[Value]) -> String {
    let row = |item: &Value| {
        let position =
            if item["position"].is_null() { "not built".to_owned() } else { text(&item["position"]) };
        vec![text(&item["name"]), position, text(&item["head"])]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table::render(&["NAME", "POSITION", "HEAD OF THE LOG"], &rows)
}

async fn rebuild(data: &Data, name: &str) -> Result<(Report, Verification)> {
    let Some(known) = ALL.iter().find(|known| known.is_called(name)) else {
        bail!("there is no read model {name:?}; there are {}", ALL.map(|known| known.name).join(", "))
    };
    (known.rebuild)(data.store.clone(), data.directory.clone())
        .await
        .with_context(|| format!("rebuilding {name}"))
}

fn as_json(report: &Report, verification: &Verification) -> Value {
    json!({
        "events": report.events,
        "rows": report.rows,
        "duration_ms": u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        "position": verification.position.0,
        "rows_equal": verification.rows_equal,
        "rows_different": verification.rows_different,
    })
}

fn told(report: &Report, verification: &Verification) -> String {
    let Verification { position, rows_equal, rows_different, first } = verification;
    let mut text = format!(
        "{} events became {} rows in {:.1} s.\nVerified at position {position}: {rows_equal} rows as the events say, \
         {rows_different} not.\n",
        report.events,
        report.rows,
        report.duration.as_secs_f64()
    );
    for difference in first {
        let Difference { table, key, kind } = difference;
        writeln!(text, "  {table} {key}: {kind:?}").expect("a string takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::clients::tests::stopped, *};

    #[tokio::test]
    async fn a_read_model_is_rebuilt_verified_and_listed_at_the_head() {
        let directory = tempfile::tempdir().unwrap();
        let client = "okr".parse().unwrap();
        let profile = domain::client::Profile {
            role: domain::client::Role::Service,
            tenants: None,
            return_urls: vec![],
        };
        stopped(directory.path()).await.create(&client, profile).await.unwrap();
        let data = Data::here(&DataArgs { data_dir: Some(directory.path().join("data")), config: None })
            .await
            .unwrap();

        let (report, verification) = rebuild(&data, "clients.v1").await.unwrap();
        assert_eq!((report.events, report.rows), (1, 1));
        assert!(told(&report, &verification).contains("1 rows as the events say, 0 not"));
        let items = list(&data).await.unwrap();
        assert_eq!(items[0], json!({ "name": "clients.v1", "position": 1, "head": 1 }));
        assert_eq!(items[1], json!({ "name": "connections.v3", "position": null, "head": 1 }));
        assert!(rebuild(&data, "clients").await.is_ok(), "its version may be left out");
        let error = rebuild(&data, "clients.v9").await.unwrap_err().to_string();
        assert!(error.contains("connections.v3"), "{error}");
    }
}
