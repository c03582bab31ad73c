//! The files that a recorder writes, one after the other.
//!
//! A file is a sequence of chunks. A chunk that is complete can be read whatever happens to
//! the recorder, and [`flush`](Tape::flush) completes one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mcap::records::MessageHeader;
use mcap::{Compression, McapError, WriteOptions, Writer};

use crate::topic::{MISSED, Topic};

/// How a tape is written.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) compression: Option<Compression>,
    /// Bytes of a chunk, before it is compressed.
    pub(crate) chunk: u64,
    /// Bytes of messages and seconds of a file, after which the next one begins.
    pub(crate) most_bytes: Option<u64>,
    pub(crate) most_time: Option<Duration>,
    /// Whether files that exist are written over.
    pub(crate) force: bool,
}

/// A channel of the current file, and how many messages of it have been recorded.
#[derive(Debug)]
struct Written {
    topic: Topic,
    messages: u16,
    gaps: u16,
    sequence: u32,
}

/// The current file, and what goes into the next ones.
pub(crate) struct Tape {
    base: PathBuf,
    style: Style,
    writer: Writer<BufWriter<File>>,
    topics: Vec<Written>,
    number: u32,
    began: Instant,
    bytes: u64,
    unflushed: bool,
}

/// What precedes a message that is recorded now.
fn header(channel_id: u16, sequence: u32) -> MessageHeader {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    MessageHeader { channel_id, sequence, log_time: time, publish_time: time }
}

impl Tape {
    /// Begins the first file.
    pub(crate) fn new(base: &Path, style: Style) -> Result<Self, McapError> {
        let number = 1;
        let writer = begin(&file(base, &style, number), &style)?;
        let (base, topics) = (base.to_path_buf(), Vec::new());
        let began = Instant::now();
        Ok(Self { base, style, writer, topics, number, began, bytes: 0, unflushed: false })
    }

    /// How many files there are.
    pub(crate) const fn files(&self) -> u32 {
        self.number
    }

    /// The name of the current file.
    pub(crate) fn file(&self) -> PathBuf {
        file(&self.base, &self.style, self.number)
    }

    /// Adds a channel, which has this number from now on.
    pub(crate) fn add(&mut self, topic: Topic) -> Result<usize, McapError> {
        let (messages, gaps) = announce(&mut self.writer, &topic)?;
        self.topics.push(Written { topic, messages, gaps, sequence: 0 });
        Ok(self.topics.len() - 1)
    }

    /// Writes a message of a channel.
    pub(crate) fn write(&mut self, channel: usize, message: &[u8]) -> Result<(), McapError> {
        if self.is_full() {
            self.turn_over()?;
        }
        let Some(written) = self.topics.get_mut(channel) else { return Ok(()) };
        let header = header(written.messages, written.sequence);
        written.sequence = written.sequence.wrapping_add(1);
        self.bytes += message.len() as u64;
        self.unflushed = true;
        self.writer.write_to_known_channel(&header, message)
    }

    /// Writes that messages of a channel were missed here.
    pub(crate) fn note_missed(&mut self, channel: usize, count: u64) -> Result<(), McapError> {
        let Some(written) = self.topics.get_mut(channel) else { return Ok(()) };
        let header = header(written.gaps, written.sequence);
        // Numbers of messages say that there is a gap, too.
        written.sequence = written.sequence.wrapping_add(count as u32);
        self.unflushed = true;
        self.writer.write_to_known_channel(&header, format!("{{\"missed\":{count}}}").as_bytes())
    }

    /// Completes the chunk, so that everything until here survives the recorder.
    pub(crate) fn flush(&mut self) -> Result<(), McapError> {
        if self.unflushed {
            self.unflushed = false;
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Writes the index and ends.
    pub(crate) fn finish(&mut self) -> Result<(), McapError> {
        self.writer.finish().map(drop)
    }

    fn is_full(&self) -> bool {
        self.style.most_bytes.is_some_and(|most| self.bytes >= most)
            || self.style.most_time.is_some_and(|most| self.began.elapsed() >= most)
    }

    /// Ends a file and begins the next one.
    fn turn_over(&mut self) -> Result<(), McapError> {
        self.finish()?;
        self.number += 1;
        self.writer = begin(&self.file(), &self.style)?;
        for written in &mut self.topics {
            (written.messages, written.gaps) = announce(&mut self.writer, &written.topic)?;
        }
        (self.began, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}

/// The name of a file: the one that was given, or with a number if there may be several.
fn file(base: &Path, style: &Style, number: u32) -> PathBuf {
    if style.most_bytes.is_none() && style.most_time.is_none() {
        return base.to_path_buf();
    }
    let stem = base.file_stem().unwrap_or_default().to_string_lossy();
    let extension = base.extension().map_or("mcap".into(), |extension| extension.to_string_lossy());
    base.with_file_name(format!("{stem}.{number:04}.{extension}"))
}

fn begin(path: &Path, style: &Style) -> Result<Writer<BufWriter<File>>, McapError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!style.force);
    let file = options.open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let what = format!("{} exists; --force writes over it", path.display());
            return McapError::Io(io::Error::other(what));
        }
        McapError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    })?;
    WriteOptions::new()
        .profile("")
        .library(format!("tombolo {}", env!("CARGO_PKG_VERSION")))
        .compression(style.compression)
        .chunk_size(Some(style.chunk))
        .create(BufWriter::with_capacity(1 << 18, file))
}

/// Describes a channel, and that of its gaps.
fn announce(writer: &mut Writer<BufWriter<File>>, topic: &Topic) -> Result<(u16, u16), McapError> {
    let schema = if topic.kind.is_bytes() {
        0
    } else {
        writer.add_schema(topic.type_name(), topic.encoding(), topic.schema.as_bytes())?
    };
    let messages =
        writer.add_channel(schema, &topic.name(), topic.encoding(), &topic.metadata())?;
    let gaps = format!("{}{MISSED}", topic.name());
    Ok((messages, writer.add_channel(0, &gaps, "json", &BTreeMap::new())?))
}
