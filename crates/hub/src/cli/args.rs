//! What can be typed.

mod messages;

#[cfg(feature = "dev")]
use std::net::SocketAddr;
use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use domain::{ClientId, TenantId, client::Role};

pub use messages::{ContentArgs, MessagesCommand, SendArgs, WhomArgs};

use super::passwords::PasswordsCommand;
use crate::http::access::role_name;

/// Ties the users of a product to Microsoft Teams: keeps their Microsoft sign-ins alive and delivers messages to them, in
/// order, with every step on record.
///
/// To try it out without Microsoft: `chancery dev`. To see what can be set: `config.default.toml`.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a hub to try out and develop against: with a simulated Microsoft, a clock that can be moved, and an API key
    /// ready for use.
    #[cfg(feature = "dev")]
    Dev(DevArgs),
    /// Run the hub.
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Copy the data of a hub, which may run meanwhile, into a new directory: all events, and all keys and tokens as the
    /// vault keeps them. Not the key-encryption key, which has a backup of its own.
    Backup(BackupArgs),
    /// Make a data directory from a backup. People's tokens are replaced before they are used again.
    Restore(RestoreArgs),
    /// Ask a hub whether it can do its work, and what keeps it from it. The exit code says it too: 0 or 1.
    Health(HealthArgs),
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Send messages to people in Teams, and see what became of them.
    Messages {
        #[command(subcommand)]
        command: MessagesCommand,
        #[command(flatten)]
        server: ServerArgs,
        /// Print JSON instead of tables.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Backends of the product that use the API.
    Clients {
        #[command(subcommand)]
        command: ClientsCommand,
        #[command(flatten)]
        hub: HubArgs,
        /// Print JSON instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Keys of the API. The first one is made with --config, before the hub is started.
    ApiKeys {
        #[command(subcommand)]
        command: ApiKeysCommand,
        #[command(flatten)]
        hub: HubArgs,
        /// Print JSON instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
    /// The read models, which can be built anew from the events while the hub is stopped. Without --config and --data-dir
    /// those of `chancery dev` in this directory.
    Projections {
        #[command(subcommand)]
        command: ProjectionsCommand,
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Run the simulated Microsoft alone.
    #[cfg(feature = "dev")]
    Simulator {
        /// Address and port to listen on.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8401")]
        listen: SocketAddr,
    },
    /// Everything that happened to a person's link with Microsoft: who held which token when, and on what consent.
    History {
        #[command(flatten)]
        of: WhomArgs,
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        server: ServerArgs,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// The embedded store by EventStoreDB's protocol.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// The app that an admin uploads to Teams.
    TeamsApp {
        #[command(subcommand)]
        command: TeamsAppCommand,
    },
    /// The product's passwords, where they are in a file.
    Passwords {
        #[command(subcommand)]
        command: PasswordsCommand,
    },
    /// The key that wraps all other keys of an installation.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print completions for a shell: `chancery completions bash > /etc/bash_completion.d/chancery`.
    Completions { shell: Shell },
}

/// Without --config and --data-dir the data of `chancery dev` in this directory.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to: a directory that is not there yet, or empty.
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// The hub's data directory.
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath, conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// The hub's configuration, which names its data directory.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub from: PathBuf,
    /// The data directory to make, which is not there yet, or empty.
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub into: PathBuf,
    /// Use no token of the backup: everybody signs in again. For providers that end a grant when they see an older refresh
    /// token of it.
    #[arg(long)]
    pub sign_in_again: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration as `serve` would, with the files it names, and print what is in force (secrets as ***).
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON instead of TOML.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// A TOML file with the configuration; `config.default.toml` lists all settings.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, env = "CHANCERY_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct HealthArgs {
    /// Ask only whether the process answers. Whoever restarts hubs asks this: one that is not ready is not helped by it.
    #[arg(long, conflicts_with = "json")]
    pub live: bool,
    /// Address of the hub. By default the one that `chancery dev` runs in this directory. No API key is needed.
    #[arg(long, env = "CHANCERY_URL", value_name = "URL")]
    pub url: Option<String>,
    /// PEM file of certificate authorities to trust besides the public ones.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[cfg(feature = "dev")]
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Tell the whole story by doing it, in a directory that is thrown away: sign-ins, messages, expiry and refresh, a revoked
    /// grant, an outcome nobody knows, people who come by the bot. Each step is checked; then stop.
    #[arg(long)]
    pub once: bool,
    /// Port of the hub; the simulator takes the next one.
    #[arg(long, value_name = "PORT", default_value_t = 8400)]
    pub port: u16,
    /// The hub's store: the embedded one, or one that it reaches by EventStoreDB's protocol, as it would a cluster. Each has
    /// data of its own.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = DevStore::Embedded)]
    pub store: DevStore,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(subcommand)]
    pub command: Option<DevCommand>,
}

#[cfg(feature = "dev")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DevStore {
    Embedded,
    #[value(name = "eventstoredb")]
    EventStoreDb,
}

#[cfg(feature = "dev")]
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Write every card that the hub can send, filled in by samples, into a directory: for validators of cards.
    Cards {
        #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// The clock of the `chancery dev` that runs in this directory.
    Clock {
        #[command(subcommand)]
        command: ClockCommand,
    },
}

#[cfg(feature = "dev")]
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Move the clock forward, and see tokens expire and retries fall due.
    Advance {
        /// How far: `90s`, `2h`, `1d 12h`.
        #[arg(value_parser = parse_duration)]
        by: Duration,
    },
}

#[derive(Debug, Subcommand)]
pub enum ClientsCommand {
    /// List the clients with their roles.
    List,
    /// Make a client known. Its first key is made with `chancery api-keys create`.
    Create {
        /// Its name: a-z, 0-9, '_' and '-', beginning with a letter.
        client: ClientId,
        /// What it may do: service, auditor, operator or admin.
        #[arg(long, value_parser = parse_role)]
        role: Role,
        /// Only what concerns these Microsoft Entra tenants; may be given several times. By default all.
        #[arg(long = "tenant", value_name = "TENANT_ID")]
        tenants: Vec<TenantId>,
        /// Where a browser may be sent after a sign-in that this client began; may be given several times.
        #[arg(long = "return-url", value_name = "URL")]
        return_urls: Vec<String>,
    },
    /// Change what a client may do.
    Role {
        client: ClientId,
        /// service, auditor, operator or admin.
        #[arg(value_parser = parse_role)]
        role: Role,
    },
}

#[derive(Debug, Subcommand)]
pub enum ApiKeysCommand {
    /// Make a key and print it: the only time it is shown. A client that is not known yet is made known, with --role.
    Create {
        client: ClientId,
        /// What a new client may do: service, auditor, operator or admin.
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// Good for so long: `90d`. By default until it is revoked.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List the keys of all clients, or of one.
    List { client: Option<ClientId> },
    /// Make a key in the place of another, which stays good for a while, and print it: the only time it is shown.
    Rotate {
        client: ClientId,
        /// The key to replace, by its id; needed where the client has several.
        key: Option<uuid::Uuid>,
        /// How long the replaced key stays good.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h")]
        overlap: Duration,
    },
    /// End a key at once.
    Revoke { client: ClientId, key: uuid::Uuid },
}

#[derive(Debug, Subcommand)]
pub enum ProjectionsCommand {
    /// List the read models, and how far each has come.
    List,
    /// Build a read model anew from the events, switch to it, and compare it with the events once more.
    Rebuild {
        /// As listed: `connections.v3`, or without its version.
        name: String,
    },
}

/// A role by its name.
fn parse_role(text: &str) -> Result<Role, String> {
    let roles = [Role::Service, Role::Auditor, Role::Operator, Role::Admin];
    let role = roles.into_iter().find(|role| role_name(*role) == text);
    role.ok_or_else(|| format!("must be {}", roles.map(role_name).join(", ")))
}

/// `90s`, `2h`, `1d 12h`; a day has 24 hours.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: Option<jiff::Span> = text.parse().ok();
    let duration = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "must be a length of time such as 90s, 2h or 1d 12h".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Serve the store alone, without a hub: to EventStoreDB's clients, and to hubs on other machines.
    Serve(StoreServeArgs),
    /// Who may use the port.
    Users {
        #[command(subcommand)]
        command: StoreUsersCommand,
    },
}

#[derive(Debug, Args)]
pub struct StoreServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address and port to listen on, in place of `store.serve.listen`. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the store is kept, in place of `data.directory`.
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<String>,
    /// Ask nobody who they are, and let everybody on this machine do everything.
    #[arg(long)]
    pub insecure: bool,
    /// Print JSON instead of the address.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum StoreUsersCommand {
    /// Print the line of a user for `store.serve.users_file`. The password is the first line of standard input.
    Hash {
        /// The user's name; who submits has that of a client of the hub.
        name: ClientId,
        /// What the user may do: read, submit, operate or hub.
        #[arg(long, value_parser = parse_store_role)]
        role: eventstoredb_server::Role,
    },
}

fn parse_store_role(text: &str) -> Result<eventstoredb_server::Role, String> {
    eventstoredb_server::Role::parse(text).ok_or_else(|| format!("must be {}", crate::config::role_names()))
}

#[derive(Debug, Subcommand)]
pub enum TeamsAppCommand {
    /// Write the app's package, from `[teams_app]` and the ids in `[bot]` and `[microsoft]`.
    Build {
        #[command(flatten)]
        config: ConfigArgs,
        /// Take the ids of `chancery dev`, and its address where no other is set.
        #[cfg(feature = "dev")]
        #[arg(long)]
        dev: bool,
        /// Where to.
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "teams-app.zip")]
        output: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key-encryption key, in a new file that only its owner can read.
    Create {
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Which hub to ask, and with what key. By default the one that `chancery dev` runs in this directory.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// Address of the hub, such as `https://hub.example.com`.
    #[arg(long, global = true, env = "CHANCERY_URL", value_name = "URL")]
    pub url: Option<String>,
    /// A file with an API key. Without it the key is taken from `CHANCERY_API_KEY`.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub api_key_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust besides the public ones.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
}

/// A hub: one that runs, by its API, or one that is stopped, by its data.
#[derive(Clone, Debug, Default, Args)]
pub struct HubArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

/// The data of a hub that is stopped.
#[derive(Clone, Debug, Default, Args)]
pub struct DataArgs {
    /// The data directory of a hub that is stopped; new data are begun with --config.
    #[arg(long, global = true, value_name = "DIRECTORY", value_hint = ValueHint::DirPath, conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// The configuration of a hub that is stopped, which names its data directory.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct PageArgs {
    /// How many to list at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on where an earlier list ended: its `next_cursor`.
    #[arg(long)]
    pub cursor: Option<String>,
}
