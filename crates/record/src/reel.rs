//! Reads a file, a piece at a time: also one that ends in the middle, because its recorder
//! was killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mcap::records::Record;
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader};
use mcap::{McapError, parse_record};

use crate::container::why;
use crate::topic::{MISSED, Topic};

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Next {
    /// A channel, which has this number in the file.
    Channel(u16, Topic),
    /// A message of it, and when it was recorded, in nanoseconds.
    Message { channel: u16, time: u64, bytes: Vec<u8> },
    /// Here messages of some channel were missed.
    Missed,
    /// A message of another program's.
    Foreign,
}

/// A file that is read.
pub(crate) struct Reel {
    file: File,
    reader: LinearReader,
    /// Which channels are ours, and which are of gaps.
    channels: BTreeMap<u16, What>,
    begun: bool,
    /// Why the end of the file is not one.
    pub(crate) torn: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Ours,
    Gaps,
    Foreign,
}

impl Reel {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let (reader, channels) = (LinearReader::new(), BTreeMap::new());
        Ok(Self { file, reader, channels, begun: false, torn: None })
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or is none of this sort.
    pub(crate) fn next(&mut self) -> Result<Option<Next>, McapError> {
        loop {
            let next = match self.reader.next_event() {
                None => return Ok(None),
                Some(Err(error)) if self.begun => {
                    self.torn = Some(why(&error));
                    return Ok(None);
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(LinearReadEvent::ReadRequest(wanted))) => {
                    let read = self.file.read(self.reader.insert(wanted))?;
                    self.reader.notify_read(read);
                    continue;
                }
                Some(Ok(LinearReadEvent::Record { data, opcode })) => {
                    match parse_record(opcode, data) {
                        Ok(Record::Channel(channel)) => {
                            let topic = Topic::from_metadata(&channel.metadata);
                            let what = match &topic {
                                Some(_) => What::Ours,
                                None if channel.topic.ends_with(MISSED) => What::Gaps,
                                None => What::Foreign,
                            };
                            let known = self.channels.insert(channel.id, what);
                            topic.filter(|_| known.is_none()).map(|t| Next::Channel(channel.id, t))
                        }
                        Ok(Record::Message { header, data }) => {
                            let id = header.channel_id;
                            match self.channels.get(&id) {
                                Some(What::Ours) => Some(Next::Message {
                                    channel: id,
                                    time: header.log_time,
                                    bytes: data.into_owned(),
                                }),
                                Some(What::Gaps) => Some(Next::Missed),
                                _ => Some(Next::Foreign),
                            }
                        }
                        // The index follows; a file without one has ended before.
                        Ok(Record::DataEnd(_)) => return Ok(None),
                        Ok(_) => None,
                        Err(error) => {
                            self.torn = Some(why(&error));
                            return Ok(None);
                        }
                    }
                }
            };
            self.begun = true;
            if next.is_some() {
                return Ok(next);
            }
        }
    }
}
