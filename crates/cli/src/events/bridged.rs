//! What bridges say of a segment, as they say it.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use tombolo::{Observer, OpenError, SegmentInfo};

use crate::bridges::{Bridge, Bridges, News};
use crate::target::Target;

/// Reads what is new.
pub(super) struct Paper {
    observer: Observer,
    bridges: Bridges,
    /// How far each bridge's has been read, by its name and process.
    read: HashMap<(String, u32), u64>,
    name: String,
}

/// Something that a bridge says. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Happening {
    bridge: String,
    pid: u32,
    #[serde(flatten)]
    news: News,
}

impl Paper {
    /// About a segment. Begins with what is remembered, or with what is new.
    pub(super) fn of(segment: &Target, remembered: bool) -> Result<Self, OpenError> {
        let mut paper = Self {
            observer: segment.observer()?,
            bridges: Bridges::default(),
            read: HashMap::new(),
            name: segment.to_string(),
        };
        if !remembered {
            paper.news();
        }
        Ok(paper)
    }

    /// What has not been read yet.
    pub(super) fn news(&mut self) -> Vec<Happening> {
        // A segment that cannot be looked at any more has been removed.
        let found = self.observer.look().unwrap_or_default();
        let bridges = self.bridges.of(&found, false);
        bridges.iter().flat_map(|bridge| self.news_of(bridge, &found)).collect()
    }

    fn news_of(&mut self, bridge: &Bridge, found: &[SegmentInfo]) -> Vec<Happening> {
        let pid = bridge.status.pid;
        let read = self.read.entry((bridge.name.clone(), pid)).or_default();
        let own = found.iter().any(|info| info.id == bridge.segment);
        let name = &self.name;
        let concerns = |news: &&News| {
            let within = news.link.strip_prefix(name.as_str());
            own || news.link.is_empty() || within.is_some_and(|rest| rest.starts_with('/'))
        };
        let all = bridge.status.news.iter();
        let new: Vec<&News> = all.filter(|news| news.n > *read).collect();
        *read = new.iter().map(|news| news.n).max().unwrap_or(*read);
        let said = new.into_iter().filter(concerns);
        said.map(|news| Happening { bridge: bridge.name.clone(), pid, news: news.clone() })
            .collect()
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, pid, news } = self;
        write!(f, "bridge {bridge} (pid {pid}): ")?;
        if !news.link.is_empty() {
            write!(f, "{}: ", news.link)?;
        }
        f.write_str(&news.what)
    }
}
