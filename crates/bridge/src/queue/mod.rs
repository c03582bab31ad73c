//! Queues: each message to one receiver on one host.
//!
//! An importer pulls. Its query says up to where it has published (`ack`) and how much it has room
//! for (`credit`, `bytes`). The exporter keeps what it has sent until that is acknowledged.
//!
//! ```text
//!  exporter, one stream for each importer        importer
//!
//!    ┌─ take ≤ credit ◀────────────────────── query: session, ack, credit
//!    │  reply: seq, messages ───────────────▶ publish each, together with a note
//!    │                                          { session, seq } (all or nothing)
//!    └─ release ≤ ack ◀────────────────────── query: session, ack = seq …
//!
//!    killed: the kernel gives what it          killed: its successor reads the note, so it
//!    holds back to the queue; it comes         acknowledges what is published, and takes
//!    again, counted, so it is marked           nothing twice
//!    importer silent for the lease:            reply lost: the same messages come again, with
//!    given back, counted                       the same numbers
//! ```
//!
//! A session is one stream of one exporter's life, so an acknowledgement never means a message of
//! another one. A message that has been taken before, by anybody, is published with its count of
//! attempts; its receiver sees it there.

mod export;
mod import;

pub(crate) use export::export;
pub(crate) use import::import;

/// A puller's name has at most so many bytes.
const LONGEST_NAME: usize = 64;

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Who asks: any name, of the asker's choice.
    pub(crate) from: String,
    /// The session that the acknowledgement is of; 0: none.
    pub(crate) session: u64,
    /// Up to here everything is published.
    pub(crate) ack: u64,
    /// How many messages may come, and how many bytes; one message may be longer.
    pub(crate) credit: u32,
    pub(crate) bytes: u64,
    /// How long to wait for the first one.
    pub(crate) wait_ms: u64,
}

impl Ask {
    pub(crate) fn selector(&self, key: &str) -> String {
        let Self { from, session, ack, credit, bytes, wait_ms } = self;
        format!(
            "{key}?from={from};session={session:x};ack={ack};credit={credit};bytes={bytes};\
             wait={wait_ms}"
        )
    }

    /// From the parameters of a query, by their names.
    pub(crate) fn read<'p>(get: impl Fn(&str) -> Option<&'p str>) -> Result<Self, String> {
        let from = get("from").filter(|from| !from.is_empty() && from.len() <= LONGEST_NAME);
        let from = from.ok_or("from=: a name of your own, which nobody else has")?.to_owned();
        let number = |name: &str, usual: u64| {
            get(name).map_or(Ok(usual), |text| {
                text.parse().map_err(|_| format!("{name}={text}: not a number"))
            })
        };
        let session = get("session").unwrap_or("0");
        let session = u64::from_str_radix(session, 16)
            .map_err(|_| format!("session={session}: not a hexadecimal number"))?;
        Ok(Self {
            from,
            session,
            ack: number("ack", 0)?,
            credit: u32::try_from(number("credit", 1)?).unwrap_or(u32::MAX),
            bytes: number("bytes", 64 << 20)?,
            wait_ms: number("wait", 0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_it_was_asked() {
        let ask = Ask {
            from: "ab".to_owned(),
            session: u64::MAX,
            ack: 3,
            credit: 4,
            bytes: 5,
            wait_ms: 6,
        };
        let selector = ask.selector("some/key");
        let parameters = selector.split_once('?').unwrap().1;
        let get = |name: &str| {
            parameters.split(';').find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
        };
        assert_eq!(Ask::read(get), Ok(ask));
        assert!(Ask::read(|_| None).is_err());
        let only = |name: &str| (name == "from").then_some("me");
        assert_eq!(Ask::read(only).unwrap().credit, 1);
        assert!(Ask::read(|name| Some(if name == "from" { "me" } else { "-1" })).is_err());
    }
}
