//! One end of a channel in another process: the Rust program of `test_languages.py`, with the
//! arguments of `crates/capi/tests/c/peer.c`.

use std::error::Error;
use std::io::{self, Write as _};

use tombolo::{AnyReceiver, AnySender, ByteBatch, Segment, Start};

type Done = Result<(), Box<dyn Error>>;

fn open() -> Done {
    println!("open");
    Ok(io::stdout().flush()?)
}

fn row(size: usize, number: u64) -> Vec<u8> {
    let mut row = number.to_ne_bytes().to_vec();
    row.resize(size, 0);
    row
}

fn send(mut sender: AnySender, form: &str, count: u64) -> Done {
    let size = sender.element_size();
    open()?;
    let rows: Vec<_> = (0..count).map(|number| row(size, number)).collect();
    match form {
        "value" => rows.iter().try_for_each(|row| sender.send(row))?,
        "place" => {
            for row in &rows {
                let mut grant = sender.reserve(size)?;
                let written = grant.write(row);
                grant.commit(written)?;
            }
        }
        _ => sender.send_batch(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>())?,
    }
    Ok(())
}

fn recv(mut receiver: AnyReceiver, form: &str, count: u64) -> Done {
    open()?;
    let mut number = 0;
    let mut expect = |message: &[u8]| {
        let came = message.first_chunk().map(|first| u64::from_ne_bytes(*first));
        if came != Some(number) {
            return Err(format!("{came:?} came instead of {number}"));
        }
        number += 1;
        Ok(number < count)
    };
    let mut message = Vec::new();
    loop {
        let goes_on = match form {
            "value" => {
                receiver.recv(&mut message)?;
                expect(&message)?
            }
            "place" => expect(&receiver.take()?.to_vec())?,
            _ => {
                let mut batch = ByteBatch::new();
                receiver.recv_batch_into(&mut batch, 50)?;
                let mut goes_on = true;
                for message in &batch {
                    goes_on = expect(message)?;
                }
                goes_on
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
}

fn more(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte.wrapping_add(1)).collect()
}

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let segment = Segment::open(arguments[0])?;
    match arguments[1..] {
        ["send", channel, form, count] => {
            send(segment.open_channel(channel)?.sender()?, form, count.parse()?)
        }
        ["recv", channel, form, count] => {
            let channel = segment.open_channel(channel)?;
            let receiver = match channel.is_broadcast() {
                true => channel.reliable_subscriber_from(Start::Newest)?,
                false => channel.receiver()?,
            };
            recv(receiver, form, count.parse()?)
        }
        ["serve", count] => {
            let server = segment.service_bytes("calls").server()?;
            open()?;
            for _ in 0..count.parse()? {
                let call = server.recv()?;
                let request = call.request()?;
                call.reply(&more(&request))?;
            }
            Ok(())
        }
        ["call", count] => {
            let client = segment.service_bytes("calls").client()?;
            open()?;
            for number in 0..count.parse::<u64>()? {
                let request = number.to_ne_bytes();
                assert_eq!(client.call(&request)?, more(&request));
            }
            Ok(())
        }
        ["serve-squares", name, count] => {
            let server = segment.service::<u32, u64>(name).server()?;
            open()?;
            for _ in 0..count.parse()? {
                let call = server.recv()?;
                let number = u64::from(call.request()?);
                call.reply(number * number)?;
            }
            Ok(())
        }
        ["ask-squares", name, count] => {
            let client = segment.service::<u32, u64>(name).client()?;
            open()?;
            for number in 0..count.parse::<u32>()? {
                assert_eq!(client.call(number)?, u64::from(number).pow(2));
            }
            Ok(())
        }
        _ => Err("which end?".into()),
    }
}
