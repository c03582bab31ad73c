//! A plain event loop: two channels and a timer in one `epoll`.
//!
//! `cargo run --release --example event_loop`
//!
//! The example starts the other side itself, a process that sends prices as they
//! come and alarms now and then. Other descriptors fit in as well: sockets,
//! signals, standard input.

use std::env;
use std::error::Error;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tombolo::{Receiver, Segment, TryRecvError};

const PRICES: u64 = 0;
const ALARMS: u64 = 1;
const TIMER: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        return send(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let prices = segment.channel::<f64>("prices").capacity(64).receiver()?;
    let alarms = segment.channel::<u64>("alarms").capacity(4).receiver()?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    let period = Expiration::Interval(TimeSpec::from_duration(Duration::from_millis(200)));
    timer.set(period, TimerSetTimeFlags::empty())?;

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
    epoll.add(prices.readiness()?, readable(PRICES))?;
    epoll.add(alarms.readiness()?, readable(ALARMS))?;
    epoll.add(&timer, readable(TIMER))?;
    let id = segment.id().to_string();
    let mut sender = Command::new(env::current_exe()?).arg(id).spawn()?;

    let (mut seen, mut last, mut open) = (0, 0.0, true);
    while open {
        let mut events = [EpollEvent::empty(); 3];
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            match event.data() {
                PRICES => {
                    open = drain(&prices, |price| {
                        seen += 1;
                        last = price;
                    })?;
                }
                ALARMS => {
                    // When its sender has gone, the prices say so as well.
                    drain(&alarms, |at| println!("alarm at price {at}"))?;
                }
                _ => {
                    timer.wait()?;
                    println!("{seen} prices so far, the last one {last:.2}");
                }
            }
        }
    }
    println!("{seen} prices, and the sender has gone");
    sender.wait()?;
    Ok(())
}

/// Receives until there is nothing: only then the descriptor is quiet again.
/// `false` when the last sender has gone.
fn drain<T: tombolo::Message + tombolo::bytemuck::CheckedBitPattern>(
    receiver: &Receiver<T>,
    mut each: impl FnMut(T),
) -> Result<bool, Box<dyn Error>> {
    loop {
        match receiver.try_recv() {
            Ok(message) => each(message),
            Err(TryRecvError::Empty | TryRecvError::Pending) => return Ok(true),
            Err(TryRecvError::Disconnected) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn send(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let prices = segment.channel::<f64>("prices").sender()?;
    let alarms = segment.channel::<u64>("alarms").sender()?;
    for n in 1..=10_000_u32 {
        prices.send(100.0 + (f64::from(n) / 100.0).sin())?;
        if n % 2_500 == 0 {
            alarms.send(n.into())?;
        }
        if n % 100 == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
