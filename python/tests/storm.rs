//! A worker of the storm in `test_storm.py`, which is killed at any moment: as
//! `crates/capi/tests/c/storm.c`, which says what the arguments and the log are.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use tombolo::{AnyChannel, CallError, Segment, Start};

const WORDS: u64 = 24;

type Done = Result<(), Box<dyn Error>>;

struct Worker<'a> {
    channel: AnyChannel<'a>,
    in_place: bool,
    first: u64,
    log: File,
}

impl Worker<'_> {
    /// The message of a number.
    fn message(&self, number: u64) -> Vec<u8> {
        let is_bytes = self.channel.is_bytes();
        let words = if is_bytes { 1 + number % WORDS } else { WORDS };
        (0..words).flat_map(|at| number.wrapping_mul(2 * at + 1).to_ne_bytes()).collect()
    }

    fn number(&self, message: &[u8]) -> Result<u64, Box<dyn Error>> {
        let number = u64::from_ne_bytes(message.get(..8).ok_or("short")?.try_into()?);
        if message != self.message(number) {
            return Err(format!("torn: {number}, {} bytes", message.len()).into());
        }
        Ok(number)
    }

    fn came(&self, number: u64, what: u64) -> Done {
        let row: Vec<u8> = [number, what].into_iter().flat_map(u64::to_ne_bytes).collect();
        Ok((&self.log).write_all(&row)?)
    }

    fn produce(&self) -> Done {
        let mut sender = self.channel.sender()?;
        for sent in 1_u64.. {
            let message = self.message(self.first + sent - 1);
            if self.in_place {
                let mut grant = sender.reserve(message.len())?;
                let count = grant.write(&message);
                grant.commit(count)?;
            } else {
                sender.send(&message)?;
            }
            self.log.write_all_at(&sent.to_ne_bytes(), 0)?;
        }
        Ok(())
    }

    fn consume(&self, reliable: bool) -> Done {
        let mut receiver = match reliable {
            true => self.channel.reliable_subscriber_from(Start::Newest)?,
            false => self.channel.receiver()?,
        };
        let mut message = Vec::new();
        loop {
            if self.in_place {
                let delivery = receiver.take()?;
                let number = self.number(&delivery.to_vec())?;
                self.came(number, 1)?;
                delivery.release();
                self.came(number, 2)?;
            } else {
                receiver.recv(&mut message)?;
                self.came(self.number(&message)?, 1)?;
            }
        }
    }

    fn ask(&self) -> Done {
        let client = self.channel.client()?;
        let mut done = [0; 3];
        let note = |done: [u64; 3]| self.log.write_all_at(&done.map(u64::to_ne_bytes).concat(), 0);
        loop {
            let number = self.first + done[0];
            done[0] += 1;
            note(done)?;
            match client.call(&self.message(number)) {
                Ok(reply) if self.number(&reply)? == number + 1 => done[1] += 1,
                Ok(_) => return Err("another call's reply".into()),
                Err(CallError::ServerDied) => done[2] += 1,
                Err(error) => return Err(error.into()),
            }
            note(done)?;
        }
    }

    fn serve(&self) -> Done {
        let server = self.channel.server()?;
        loop {
            let call = server.recv()?;
            let number = self.number(&call.request()?)?;
            self.came(number, 1)?;
            call.reply(&self.message(number + 1))?;
            self.came(number, 2)?;
        }
    }
}

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [segment, role, channel, form, life, log] = &arguments[..] else {
        return Err("storm SEGMENT ROLE CHANNEL FORM LIFE LOG".into());
    };
    let segment = Segment::open(segment)?;
    let counts = role == "produce" || role == "ask";
    let log = OpenOptions::new().create(true).write(true).append(!counts).open(log)?;
    let worker = Worker {
        channel: segment.open_channel(channel)?,
        in_place: form == "place",
        first: life.parse::<u64>()? << 32,
        log,
    };
    match role.as_str() {
        "produce" => worker.produce(),
        "consume" => worker.consume(false),
        "subscribe" => worker.consume(true),
        "ask" => worker.ask(),
        "serve" => worker.serve(),
        role => Err(role.into()),
    }
}
