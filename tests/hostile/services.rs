//! Clients and servers go on while somebody writes over the words of their service: each call
//! that may wait no longer than so ends in time, with data or a typed error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{ByteClient, ByteServer, Client, Segment, Server};

use crate::common::{Words, effort};
use crate::replay::Random;

const SHORT: Duration = Duration::from_micros(300);
/// Longer than such a call takes on any machine.
const LONG: Duration = Duration::from_secs(10);
const CALLS: usize = 4;

fn timed<R>(call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = call();
    assert!(began.elapsed() < LONG, "it took {:?}", began.elapsed());
    result
}

fn ask(client: &Client<u64, [u64; 3]>, files: &ByteClient, random: &mut Random) {
    match random.below(5) {
        0 => drop(timed(|| client.call_timeout(7, SHORT))),
        1 => drop(timed(|| files.call_timeout(&[7; 40], SHORT))),
        2 => {
            let Ok(call) = timed(|| client.try_start(7)) else { return };
            drop(timed(|| (call.try_wait(), call.wait_timeout(SHORT))));
        }
        3 => {
            let calls: Vec<_> = (0..3).map_while(|_| files.try_start(&[1; 9]).ok()).collect();
            timed(|| drop(calls));
        }
        _ => drop(timed(|| client.start_timeout(7, SHORT))),
    }
}

fn serve(server: &Server<u64, [u64; 3]>, files: &ByteServer, random: &mut Random) -> u64 {
    let mut served = 0;
    if let Ok(call) = timed(|| server.recv_timeout(SHORT)) {
        served += 1;
        let request = timed(|| call.request());
        match random.below(4) {
            0 => drop(timed(|| call.give_back())),
            1 => timed(|| drop(call)),
            _ => drop(timed(|| call.reply([request.unwrap_or(0); 3]))),
        }
    }
    if let Ok(mut call) = timed(|| files.try_recv()) {
        served += 1;
        let request = timed(|| call.request()).unwrap();
        assert!(request.len() <= 40 && call.request_len() <= 40);
        let mut some = [0; 64];
        assert!(call.read_at(3, &mut some) <= 40);
        call.write_at(5, &request);
        drop(timed(|| call.reply_written(random.below(80))));
    }
    served
}

#[test]
fn clients_and_servers_survive_whatever_is_written_over_their_service() {
    let mut random = Random(effort::seed() | 1 << 63);
    let mut served = 0;
    for _ in 0..effort::rounds(6, 200) {
        let segment = Segment::options().size(1 << 16).participants(4).channels(2);
        let segment = segment.anonymous().unwrap();
        let service = segment.service::<u64, [u64; 3]>("numbers").capacity(CALLS).lasting();
        let files = segment.service_bytes("files").capacity(CALLS, 40, 60).lasting();
        let words = Words::behind(&segment);
        // Both blocks, from their control words on.
        let heap = ((512_usize + 32).next_multiple_of(128) + 128 * 4 + 128 * 128 + 512 * 2)
            .next_multiple_of(4_096);
        let block = 1_024 + 64 * 4 + 128 * CALLS + 128;
        let over = AtomicBool::new(false);
        let stop = |_: &thread::Scope<'_, '_>| over.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let asking: Vec<_> = (0..2)
                .map(|_| {
                    let (client, files) = (service.client().unwrap(), files.client().unwrap());
                    let mut random = Random(random.next() | 1);
                    scope.spawn(move || {
                        while !stop(scope) {
                            ask(&client, &files, &mut random);
                        }
                    })
                })
                .collect();
            let serving: Vec<_> = (0..2)
                .map(|_| {
                    let (server, files) = (service.server().unwrap(), files.server().unwrap());
                    let mut random = Random(random.next() | 1);
                    scope.spawn(move || {
                        let mut served = 0;
                        while !stop(scope) {
                            served += serve(&server, &files, &mut random);
                        }
                        served
                    })
                })
                .collect();
            let until = Instant::now() + Duration::from_millis(60);
            while Instant::now() < until {
                // The slots and bits most of all, and of those the words.
                let behind = 1_024 + 64 * 4;
                let within = match random.below(4) {
                    0 => 8 * random.below(behind / 8),
                    1 => behind + 128 * random.below(CALLS),
                    2 => behind + 8 * random.below(128 * CALLS / 8),
                    _ => behind + 128 * CALLS,
                };
                let at = (heap + block * random.below(2) + within) / 8;
                let value = match random.below(4) {
                    0 => random.next(),
                    // A phase, with participants that are there or not.
                    1 => (random.next() & 0xFF) << 26 | random.next() & 0x6003,
                    2 => words.get(at) ^ 1 << random.below(64),
                    _ => 0,
                };
                words.put(at, value);
                if random.below(8) == 0 {
                    thread::park_timeout(Duration::from_micros(20));
                }
            }
            over.store(true, Ordering::Relaxed);
            asking.into_iter().for_each(|thread| thread.join().unwrap());
            served += serving.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>();
        });
        drop(timed(|| (segment.channels(), segment.sweep())));
    }
    println!("{served} calls were served");
    assert!(served > 0);
}
