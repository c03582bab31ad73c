//! What a bridge shall do, and what that means here and now.

use std::path::PathBuf;

use serde::Serialize;
use tombolo::{ChannelInfo, Observer, SegmentInfo};
use tombolo_cli::plain::{json, plain};

use crate::config::{Config, Route};
use crate::failure::Failure;

/// How the names of channels begin that bridges make for themselves.
const OWN: &str = "bridge:";

/// What a bridge shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name on this host.
    pub name: String,
    /// The file that says so, if one does.
    pub file: Option<PathBuf>,
    /// What it carries, and how.
    pub config: Config,
}

impl Default for Plan {
    fn default() -> Self {
        Self { name: "default".to_owned(), file: None, config: Config::default() }
    }
}

/// Whether a name stands for all channels that it matches.
pub(crate) fn is_pattern(channel: &str) -> bool {
    channel.contains(['*', '?'])
}

/// Whether a name matches: `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.map(|at| &name[at..]).any(|left| matches(rest, left))
        }
        Some(first) => name.chars().next().is_some_and(|c| {
            (first == '?' || first == c)
                && matches(&pattern[first.len_utf8()..], &name[c.len_utf8()..])
        }),
    }
}

/// The segment of this name, if it is there and may be read.
fn look(segment: &str) -> Option<SegmentInfo> {
    Observer::of(segment).ok()?.look().ok()?.into_iter().next()
}

/// Whether a bridge can carry a channel.
fn is_carried(channel: &ChannelInfo) -> bool {
    channel.calls.is_none() && !channel.name.starts_with(OWN)
}

impl Plan {
    /// Puts the channels that there are in the place of patterns.
    ///
    /// # Errors
    /// A pattern that no channel matches.
    pub fn expand(&mut self) -> Result<(), Failure> {
        let mut routes: Vec<Route> = Vec::new();
        let (patterns, named): (Vec<Route>, Vec<Route>) =
            self.config.routes.drain(..).partition(|route| is_pattern(&route.channel));
        routes.extend(named);
        for pattern in patterns {
            let Route { segment, channel, .. } = &pattern;
            let found = look(segment).ok_or_else(|| {
                Failure::Usage(format!(
                    "there is no segment {segment} to find `{channel}` in: start the programs \
                     that use it first, or name its channels"
                ))
            })?;
            let names = found.channels.iter().filter(|it| is_carried(it)).map(|it| &it.name);
            let names: Vec<&String> = names.filter(|name| matches(channel, name)).collect();
            if names.is_empty() {
                return Err(Failure::Usage(format!(
                    "no channel of segment {segment} matches `{channel}`: start the programs that \
                     use it first, or name its channels"
                )));
            }
            for name in names {
                let there = |route: &Route| &route.segment == segment && &route.channel == name;
                if !routes.iter().any(there) {
                    routes.push(Route { channel: name.clone(), ..pattern.clone() });
                }
            }
        }
        self.config.routes = routes;
        Ok(())
    }

    /// What it would do, for people.
    pub fn text(&self) -> String {
        let engine = &self.config.engine;
        let mut lines = vec![format!("bridge {}", self.name)];
        let named = |what: &str, all: &[String]| match all {
            [] => format!("  {what} nowhere"),
            all => format!("  {what} {}", plain(&all.join(", "))),
        };
        lines.push(named("listens at", &engine.listen));
        lines.push(named("connects to", &engine.connect));
        lines.push(match engine.discovery {
            true => "  looks for others by multicast".to_owned(),
            false => "  does not look for others".to_owned(),
        });
        if let Some(file) = &engine.file {
            lines.push(format!("  engine configured by {}", plain(&file.display().to_string())));
        }
        lines.extend(self.rows().iter().map(Row::line));
        lines.join("\n")
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// None that is known.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let engine = &self.config.engine;
        json(&Shown {
            name: &self.name,
            listen: &engine.listen,
            connect: &engine.connect,
            discovery: engine.discovery,
            engine_config: engine.file.as_ref().map(|file| file.display().to_string()),
            lease_seconds: self.config.lease.as_secs_f64(),
            channels: self.rows(),
        })
    }

    fn rows(&self) -> Vec<Row> {
        self.config.routes.iter().map(Row::of).collect()
    }
}

/// A plan. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    listen: &'a [String],
    connect: &'a [String],
    discovery: bool,
    engine_config: Option<String>,
    lease_seconds: f64,
    channels: Vec<Row>,
}

/// A route.
#[derive(Debug, Serialize)]
struct Row {
    segment: String,
    channel: String,
    direction: &'static str,
    key: String,
    mode: &'static str,
    credit: u32,
    credit_bytes: u64,
    batch_bytes: usize,
    create: bool,
    /// Its kind and elements, if the channel is there.
    found: Option<String>,
}

impl Row {
    fn of(route: &Route) -> Self {
        let segment = look(&route.segment);
        let channels = segment.iter().flat_map(|segment| &segment.channels);
        let found = channels
            .filter(|channel| channel.name == route.channel)
            .map(|channel| format!("{} of {}", channel.kind, channel.element))
            .next();
        Self {
            segment: route.segment.clone(),
            channel: route.channel.clone(),
            direction: route.direction.name(),
            key: route.key(),
            mode: if route.reliable { "reliable" } else { "lossy" },
            credit: route.credit,
            credit_bytes: route.credit_bytes,
            batch_bytes: route.batch_bytes,
            create: route.create,
            found,
        }
    }

    fn line(&self) -> String {
        let does = match self.direction {
            "export" => "exports",
            "import" => "imports",
            _ => "exports and imports",
        };
        let found = match &self.found {
            Some(found) => format!("there, {found}"),
            None if self.direction == "export" => "not there yet: waits for it".to_owned(),
            None if self.create => "not there yet: creates it like the far one".to_owned(),
            None => "not there yet: waits for it".to_owned(),
        };
        let Self { segment, channel, key, .. } = self;
        let mode = if self.direction == "import" { "" } else { self.mode };
        let mode = if mode == "reliable" { ", publishers wait for it" } else { "" };
        plain(&format!("  {does} {segment}/{channel} ({found}) as {key}{mode}"))
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matched) in [
            ("ticks", "ticks", true),
            ("ticks", "ticks2", false),
            ("tick*", "ticks", true),
            ("tick*", "tick", true),
            ("*", "", true),
            ("*s", "ticks", true),
            ("t*k?", "ticks", true),
            ("t?cks", "tücks", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
        }
    }
}
