//! The configuration file: JSON5, as Zenoh's own.
//!
//! An error is one line, which names the file, the line in it and the key.
//!
//! ```text
//!  read     tables, lists and values of JSON5, and where they are
//!  near     what somebody may have meant
//! ```

mod near;
mod read;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::de::{DeserializeSeed as _, Error, MapAccess, SeqAccess};
use tombolo::Observer;
use zenoh::config::EndPoint;

use crate::config::{Direction, Engine, Route};
use crate::key;
use crate::plan::{Plan, is_pattern};
use read::{At, Given, Section, Table};

/// More messages than any other side holds.
const MOST_CREDIT: u64 = 1 << 20;
/// More bytes than any machine holds.
const MOST_BYTES: u64 = 1 << 40;
/// More than this goes in several pieces anyway.
const MOST_BATCH: u64 = 16 << 20;
/// What this build can speak.
const PROTOCOLS: [&str; 2] = ["tcp", "tls"];

/// Reads a configuration file.
///
/// # Errors
/// What is wrong with it, in a line.
pub fn read(file: &Path) -> Result<Plan, String> {
    let shown = file.display();
    let text =
        fs::read_to_string(file).map_err(|error| format!("{shown}: cannot read it: {error}"))?;
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let plan = parse(&text, folder).map_err(|(line, what)| match line {
        Some(line) => format!("{shown}:{line}: {what}"),
        None => format!("{shown}: {what}"),
    })?;
    // For whoever starts it again from another folder.
    Ok(Plan { file: Some(fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())), ..plan })
}

/// Reads a configuration whose paths begin in a folder. An error has its line, if it has one.
fn parse(text: &str, folder: &Path) -> Result<Plan, (Option<usize>, String)> {
    let told = |error: json5::Error| {
        let json5::Error::Message { msg, location } = error;
        (location.map(|location| location.line), one_line(&msg))
    };
    let mut json = json5::Deserializer::from_str(text).map_err(told)?;
    let mut top = Top { folder, plan: Plan::default() };
    Table { at: &At::top(), into: &mut top }.deserialize(&mut json).map_err(told)?;
    Ok(top.plan)
}

/// What the parser says. Of a text that is no JSON5 it draws the place, in several lines.
fn one_line(message: &str) -> String {
    let expected = message.lines().filter_map(|line| line.trim().strip_prefix("= ")).next_back();
    match expected {
        Some(expected) => format!("this is no JSON5: {expected}"),
        None => message.replace('\n', " "),
    }
}

/// The file.
struct Top<'a> {
    folder: &'a Path,
    plan: Plan,
}

impl Section for Top<'_> {
    const KEYS: &'static [&'static str] = &["name", "engine", "lease_seconds", "channels"];

    fn put(&mut self, key: &str, value: Given) -> Result<(), String> {
        match key {
            "name" => self.plan.name = name(&value.text()?)?,
            "lease_seconds" => {
                self.plan.config.lease = Duration::from_secs(value.whole(1, 86_400)?);
            }
            "engine" => return Err("shall be a table, as { listen: [ … ] }".to_owned()),
            _ => return Err("shall be a list, as [{ segment: …, channel: … }]".to_owned()),
        }
        Ok(())
    }

    fn table<'de, A: MapAccess<'de>>(
        &mut self,
        at: &At,
        key: &str,
        access: A,
    ) -> Result<(), A::Error> {
        if key != "engine" {
            return Err(A::Error::custom(at.wrong("is a table, and shall be none")));
        }
        let engine = &mut self.plan.config.engine;
        read::fill(at, access, &mut EngineTable { folder: self.folder, engine })
    }

    fn list<'de, A: SeqAccess<'de>>(
        &mut self,
        at: &At,
        key: &'static str,
        mut access: A,
    ) -> Result<(), A::Error> {
        if key != "channels" {
            return Err(A::Error::custom(at.wrong("is a list, and shall be none")));
        }
        let routes = &mut self.plan.config.routes;
        loop {
            let at = at.nth(routes.len());
            let mut entry = Entry::after(routes);
            let table = Table { at: &at, into: &mut entry };
            if access.next_element_seed(table)?.is_none() {
                return Ok(());
            }
            let route = entry.route;
            routes.push(route);
        }
    }

    fn complete(&mut self) -> Result<(), String> {
        if self.plan.config.routes.is_empty() {
            return Err("`channels` lacks, or names no channel".to_owned());
        }
        meets_somebody(&self.plan.config.engine)
    }
}

/// Whether there is any way for two bridges to meet.
pub(crate) fn meets_somebody(engine: &Engine) -> Result<(), String> {
    let Engine { file, listen, connect, discovery } = engine;
    if file.is_none() && listen.is_empty() && connect.is_empty() && !discovery {
        let what = "`engine` meets nobody: it lacks `listen`, `connect`, `config` and `discovery`";
        return Err(what.to_owned());
    }
    Ok(())
}

/// How Zenoh is reached.
struct EngineTable<'a> {
    folder: &'a Path,
    engine: &'a mut Engine,
}

impl Section for EngineTable<'_> {
    const KEYS: &'static [&'static str] = &["config", "listen", "connect", "discovery"];
    const LISTS: &'static [&'static str] = &["listen", "connect"];

    fn put(&mut self, key: &str, value: Given) -> Result<(), String> {
        match key {
            "config" => {
                let file = self.folder.join(value.text()?);
                engine_file(&file)?;
                self.engine.file = Some(file);
            }
            "listen" => self.engine.listen.push(endpoint(&value.text()?)?),
            "connect" => self.engine.connect.push(endpoint(&value.text()?)?),
            _ => self.engine.discovery = value.truth()?,
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A channel, after others.
struct Entry<'a> {
    route: Route,
    /// How it says that its exporter subscribes, if it says so.
    mode: Option<&'static str>,
    directed: bool,
    before: &'a [Route],
}

impl<'a> Entry<'a> {
    fn after(before: &'a [Route]) -> Self {
        Self { route: Route::new("", "", Direction::Both), mode: None, directed: false, before }
    }
}

impl Section for Entry<'_> {
    const KEYS: &'static [&'static str] = &[
        "segment",
        "channel",
        "direction",
        "key",
        "mode",
        "credit",
        "credit_bytes",
        "batch_bytes",
        "create",
    ];

    fn put(&mut self, key: &str, value: Given) -> Result<(), String> {
        let route = &mut self.route;
        match key {
            "segment" => route.segment = segment(&value.text()?)?,
            "channel" => route.channel = value.text()?,
            "direction" => {
                let known = [Direction::Export, Direction::Import, Direction::Both];
                let known = known.map(|direction| (direction.name(), direction));
                route.direction = value.one_of(&known)?;
                self.directed = true;
            }
            "key" => {
                let key = value.text()?;
                key::check(&key).map_err(|why| format!("is of no use: {why}"))?;
                route.key = Some(key);
            }
            "mode" => {
                let mode = value.one_of(&[("lossy", "lossy"), ("reliable", "reliable")])?;
                route.reliable = mode == "reliable";
                self.mode = Some(mode);
            }
            "credit" => route.credit = u32::try_from(value.whole(1, MOST_CREDIT)?).unwrap_or(1),
            "credit_bytes" => route.credit_bytes = value.whole(1, MOST_BYTES)?,
            "batch_bytes" => {
                route.batch_bytes = usize::try_from(value.whole(0, MOST_BATCH)?).unwrap_or(0);
            }
            _ => route.create = value.truth()?,
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<(), String> {
        let route = &self.route;
        let lacking = [
            ("segment", route.segment.is_empty()),
            ("channel", route.channel.is_empty()),
            ("direction", !self.directed),
        ];
        if let Some((key, _)) = lacking.into_iter().find(|(_, lacks)| *lacks) {
            return Err(format!("lacks `{key}`"));
        }
        if self.mode.is_some() && route.direction == Direction::Import {
            return Err("has `mode`, which says how a bridge exports, and only imports".to_owned());
        }
        fits(route, self.before)
    }
}

/// Whether a route makes sense beside those before it.
pub(crate) fn fits(route: &Route, before: &[Route]) -> Result<(), String> {
    let Route { segment, channel, direction, key, .. } = route;
    if is_pattern(channel) && *direction != Direction::Export {
        return Err(format!(
            "imports `{channel}`, which is a pattern: name each channel to be imported"
        ));
    }
    if is_pattern(channel) && key.is_some() {
        return Err(format!("has one `key` for all channels that `{channel}` stands for"));
    }
    let same = |other: &&Route| (&other.segment, &other.channel) == (segment, channel);
    if route.reliable && *direction == Direction::Both {
        return Err(format!(
            "carries {channel} reliably in both directions, where two bridges could wait for each \
             other for ever"
        ));
    }
    let mixes = |other: &Route| other.key() == route.key() && !same(&other);
    if !is_pattern(channel) && before.iter().any(mixes) {
        return Err(format!(
            "has the key of an earlier one, {}, with which it would mix",
            route.key()
        ));
    }
    if before.iter().any(|other| same(&other)) {
        return Err(format!(
            "names {segment}/{channel}, as an earlier one does; one that says both directions \
             carries it both ways"
        ));
    }
    Ok(())
}

/// The name of a bridge, which is part of the name of its segment.
pub(crate) fn name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
        return Err(format!(
            "is \"{}\", and shall be 1 to 40 letters, digits, -, _ and .",
            name.escape_debug()
        ));
    }
    Ok(name.to_owned())
}

/// The name of a segment.
pub(crate) fn segment(name: &str) -> Result<String, String> {
    Observer::of(name).map_err(|error| format!("is no name of a segment: {error}"))?;
    Ok(name.to_owned())
}

/// An endpoint that this build can use.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let endpoint: EndPoint = text.parse().map_err(|error| {
        format!("is \"{text}\", and no endpoint, as tcp/10.0.0.2:7447: {error}")
    })?;
    let protocol = endpoint.protocol();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        let meant = near::meant(protocol.as_str(), &PROTOCOLS);
        return Err(format!("is \"{text}\", whose protocol this build does not have{meant}"));
    }
    if !endpoint.address().as_str().contains(':') {
        return Err(format!("is \"{text}\", which has no port, as tcp/10.0.0.2:7447 has"));
    }
    Ok(text.to_owned())
}

/// Whether a file is a configuration of Zenoh.
pub(crate) fn engine_file(file: &Path) -> Result<(), String> {
    let shown = file.display();
    fs::metadata(file).map_err(|error| format!("is {shown}, which cannot be read: {error}"))?;
    let read = zenoh::Config::from_file(file);
    read.map(drop).map_err(|error| {
        format!("is {shown}, which Zenoh refuses: {}", one_line(&error.to_string()))
    })
}
