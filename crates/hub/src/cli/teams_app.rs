//! `chancery teams-app`.

use anyhow::Context as _;

use super::args::TeamsAppCommand;
use crate::{
    config::{Sources, TeamsAppOnlyConfig},
    teams_app::package,
};

pub(super) fn run(command: &TeamsAppCommand) -> anyhow::Result<()> {
    let TeamsAppCommand::Build { config, output, .. } = command;
    #[cfg_attr(not(feature = "dev"), expect(unused_mut, reason = "only `--dev` presets something"))]
    let mut sources = Sources::of_process(config.config.clone());
    #[cfg(feature = "dev")]
    if matches!(command, TeamsAppCommand::Build { dev: true, .. }) {
        crate::dev::preset_teams_app(&mut sources);
    }
    let TeamsAppOnlyConfig { app } = TeamsAppOnlyConfig::load(&sources)?;
    std::fs::write(output, package(&app)?)
        .with_context(|| format!("{} can't be written", output.display()))?;
    eprintln!("{} written: {} {}, bot {}.", output.display(), app.name, app.version, app.bot_id);
    Ok(())
}
