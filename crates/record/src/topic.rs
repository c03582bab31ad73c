//! What a file says of a channel, so that it can be made again and read by other programs.

use std::collections::BTreeMap;

use tombolo::{AnyChannel, ChannelKind};

/// The encoding of typed messages: the bytes of one element, as the schema lays them out.
pub(crate) const ENCODING: &str = "tombolo";
/// The encoding of messages of bytes.
pub(crate) const BYTES: &str = "application/octet-stream";
/// What follows the topic of a channel in that of its gaps.
pub(crate) const MISSED: &str = "#missed";

/// A channel, in the words of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) segment: String,
    pub(crate) channel: String,
    pub(crate) kind: ChannelKind,
    pub(crate) schema: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) capacity: usize,
    pub(crate) lasting: bool,
}

const KINDS: [(&str, ChannelKind); 6] = [
    ("spsc", ChannelKind::Spsc),
    ("mpmc", ChannelKind::Mpmc),
    ("spsc bytes", ChannelKind::SpscBytes),
    ("mpmc bytes", ChannelKind::MpmcBytes),
    ("broadcast", ChannelKind::Broadcast),
    ("broadcast bytes", ChannelKind::BroadcastBytes),
];

impl Topic {
    pub(crate) fn of(segment: &str, channel: &AnyChannel<'_>) -> Self {
        Self {
            segment: segment.to_owned(),
            channel: channel.name().to_owned(),
            kind: channel.kind(),
            schema: channel.schema().to_owned(),
            size: channel.element_size(),
            align: channel.element_align(),
            capacity: channel.capacity(),
            lasting: channel.is_lasting(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.segment, self.channel)
    }

    pub(crate) const fn encoding(&self) -> &'static str {
        if self.kind.is_bytes() { BYTES } else { ENCODING }
    }

    /// The name of the type: its schema up to the fields.
    pub(crate) fn type_name(&self) -> &str {
        self.schema.split(['{', '[']).next().unwrap_or_default()
    }

    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        [
            ("tombolo.segment", self.segment.clone()),
            ("tombolo.channel", self.channel.clone()),
            ("tombolo.kind", kind.to_owned()),
            ("tombolo.schema", self.schema.clone()),
            ("tombolo.size", self.size.to_string()),
            ("tombolo.align", self.align.to_string()),
            ("tombolo.capacity", self.capacity.to_string()),
            ("tombolo.lasting", self.lasting.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// The topic that a file describes so; `None` if it is none of ours.
    pub(crate) fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| metadata.get(&format!("tombolo.{key}"));
        let number = |key: &str| get(key)?.parse().ok();
        let kind = get("kind")?;
        Some(Self {
            segment: get("segment")?.clone(),
            channel: get("channel")?.clone(),
            kind: KINDS.iter().find(|(name, _)| name == kind)?.1,
            schema: get("schema")?.clone(),
            size: number("size")?,
            align: number("align")?,
            capacity: number("capacity")?,
            lasting: get("lasting")? == "true",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_all_of_a_channel() {
        for (_, kind) in KINDS {
            let topic = Topic {
                segment: "a/b".to_owned(),
                channel: "c".to_owned(),
                kind,
                schema: "Tick{id:u64}".to_owned(),
                size: 8,
                align: 8,
                capacity: 100,
                lasting: true,
            };
            assert_eq!(Topic::from_metadata(&topic.metadata()), Some(topic.clone()));
            assert_eq!((topic.name(), topic.type_name()), ("a/b/c".to_owned(), "Tick"));
        }
        assert_eq!(Topic::from_metadata(&BTreeMap::new()), None);
    }
}
