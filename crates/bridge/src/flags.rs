//! What the command line asks for.

use std::path::PathBuf;

use crate::config::{Direction, Route};
use crate::file::{self, endpoint, engine_file, fits, meets_somebody, segment};
use crate::key;
use crate::plan::Plan;

/// Carries channels between hosts, over Zenoh.
///
/// Broadcast channels and queues of segments go to other hosts, and come from them, as long as
/// it runs. Each message of a queue goes to one receiver on one host, and is acknowledged when
/// it is in the far segment. What subscribers of a broadcast channel miss, they are told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo bridge market --export prices --listen tcp/0.0.0.0:7447
  tombolo bridge market --import prices --connect tcp/127.0.0.1:7447
  tombolo bridge --config bridge.json5 --check

The first two, on two hosts, carry the broadcast channel or queue `prices` from one to
the other, where it is created as it is here. --channel carries a broadcast channel in
both directions. `tombolo ls`, `top`, `events`, `metrics` and `doctor` show how it goes.
docs/bridge.md has the configuration file, and what is promised.

Ends by SIGTERM (exit status 0) or Ctrl-C, when what is on its way has been
acknowledged; at a second signal at once. Exit status 2: the configuration, or
something that it needs, is of no use; 1: something failed later.")]
// More fields than 12: they are the flags.
pub struct Args {
    /// The segment whose channels are named here
    #[arg(value_name = "NAME", required_unless_present = "config", conflicts_with = "config")]
    segment: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Carry this broadcast channel in both directions
    #[arg(long, value_name = "CHANNEL", conflicts_with = "config")]
    channel: Vec<String>,
    /// Carry this channel to other hosts; * and ? match several
    #[arg(long, value_name = "CHANNEL", conflicts_with = "config")]
    export: Vec<String>,
    /// Bring this channel from other hosts
    #[arg(long, value_name = "CHANNEL", conflicts_with = "config")]
    import: Vec<String>,
    /// Listen for other hosts there, as tcp/0.0.0.0:7447
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "config")]
    listen: Vec<String>,
    /// Connect to another host there, as tcp/10.0.0.2:7447
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "config")]
    connect: Vec<String>,
    /// Look for other hosts by multicast
    #[arg(long, conflicts_with = "config")]
    discovery: bool,
    /// Zenoh's own configuration file, for TLS and access control
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    engine: Option<PathBuf>,
    /// Have publishers wait for the bridge, so that it misses nothing
    #[arg(long, conflicts_with = "config")]
    reliable: bool,
    /// The key expression of the one channel [default: tombolo/NAME/CHANNEL]
    #[arg(long, value_name = "KEY", conflicts_with = "config")]
    key: Option<String>,
    /// The name under which other commands show it
    #[arg(long, value_name = "NAME", default_value = "default", conflicts_with = "config")]
    name: String,
    /// Print what it would do, and end
    #[arg(long)]
    pub check: bool,
    /// Print a JSON object for everything that happens
    #[arg(long)]
    pub json: bool,
    /// Do not say on standard error what happens
    #[arg(long)]
    pub quiet: bool,
}

impl Args {
    /// What they ask for.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn plan(&self) -> Result<Plan, String> {
        if let Some(config) = &self.config {
            return file::read(config);
        }
        let mut plan = Plan::default();
        let flag = |flag: &'static str| move |what: String| format!("{flag} {what}");
        let name = self.segment.as_deref().unwrap_or_default();
        let name = segment(name).map_err(flag("NAME"))?;
        plan.name = file::name(&self.name).map_err(flag("--name"))?;
        if let Some(file) = &self.engine {
            engine_file(file).map_err(flag("--engine"))?;
            plan.config.engine.file = Some(file.clone());
        }
        for (what, from, to) in [
            ("--listen", &self.listen, &mut plan.config.engine.listen),
            ("--connect", &self.connect, &mut plan.config.engine.connect),
        ] {
            for one in from {
                to.push(endpoint(one).map_err(flag(what))?);
            }
        }
        plan.config.engine.discovery = self.discovery;
        if let Some(key) = &self.key {
            key::check(key).map_err(flag("--key"))?;
            if self.channel.len() + self.export.len() + self.import.len() > 1 {
                return Err("--key is for one channel, and there are more".to_owned());
            }
        }
        for (what, channels, direction) in [
            ("--channel", &self.channel, Direction::Both),
            ("--export", &self.export, Direction::Export),
            ("--import", &self.import, Direction::Import),
        ] {
            for channel in channels {
                let route = Route {
                    key: self.key.clone(),
                    reliable: self.reliable,
                    ..Route::new(&name, channel, direction)
                };
                fits(&route, &plan.config.routes).map_err(flag(what))?;
                plan.config.routes.push(route);
            }
        }
        if plan.config.routes.is_empty() {
            return Err("no channel is named: say --export, --import or --channel".to_owned());
        }
        meets_somebody(&plan.config.engine).map_err(|_| {
            "it meets nobody: say --listen, --connect, --engine or --discovery".to_owned()
        })?;
        Ok(plan)
    }
}
