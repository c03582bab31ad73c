//! A pipeline with select: one thread waits for orders, for prices and for room, and goes on
//! with whatever comes first.
//!
//! ```text
//!  orders (a queue) ────▶ ┐                 ┌ bills (a queue of 4)
//!                         ├─▶ one thread ──▶┤
//!  prices (broadcast) ──▶ ┘                 └──▶ the printer
//! ```
//!
//! The thread takes an order only while there is room for its bill: so the queue of the bills
//! holds the orders back, and nothing piles up in the thread.
//!
//! Run it: `cargo run --release --example select`. Ctrl-C ends it before its time.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::{Segment, TryRecvError, WaitSet};

const ORDERS: u64 = 1;
const PRICES: u64 = 2;
const BILLS: u64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let segment = Segment::anonymous()?;
    let orders = segment.channel::<u64>("orders").capacity(64);
    let prices = segment.broadcast::<u64>("prices").capacity(16);
    let bills = segment.channel::<u64>("bills").capacity(4);

    let (buyer, exchange, printer) = (orders.sender()?, prices.publisher()?, bills.receiver()?);
    let (order, price, bill) = (orders.receiver()?, prices.subscriber()?, bills.sender()?);
    // They would be other processes; here they are threads.
    let buying = thread::spawn(move || (1..=1_000).try_for_each(|pieces| buyer.send(pieces)));
    let trading = thread::spawn(move || {
        for price in 100..110 {
            exchange.send(price)?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok::<_, tombolo::SendError<u64>>(())
    });
    let printing =
        thread::spawn(move || printer.iter().map(Result::unwrap_or_default).sum::<u64>());

    let mut set = WaitSet::new(&segment);
    set.add(&price, PRICES)?;
    set.add(&bill, BILLS)?;
    end_with_ctrl_c(&set)?;

    let (mut ready, mut last_price, mut done) = (Vec::new(), 100, 0);
    while !STOPPED.load(Ordering::Relaxed) {
        set.wait(&mut ready, None)?;
        for member in &ready {
            match member.key {
                PRICES => match price.try_recv() {
                    Ok(new) => last_price = new,
                    // The exchange has closed: the last price stays.
                    Err(TryRecvError::Disconnected) => drop(set.remove(PRICES)),
                    // None is there, or some were missed: the next one counts.
                    Err(_) => {}
                },
                // There is room for a bill: wait for an order instead.
                BILLS => {
                    set.remove(BILLS);
                    set.add(&order, ORDERS)?;
                }
                _ => match order.try_recv() {
                    Ok(pieces) => {
                        bill.send(pieces * last_price)?;
                        done += 1;
                        set.remove(ORDERS);
                        set.add(&bill, BILLS)?;
                    }
                    Err(TryRecvError::Disconnected) => STOPPED.store(true, Ordering::Relaxed),
                    Err(_) => {}
                },
            }
        }
    }
    drop(set);
    bill.close()?;
    println!("{done} orders, billed {}", printing.join().unwrap_or_default());
    order.close()?;
    let _ = (buying.join(), trading.join());
    Ok(())
}

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-C end the wait: a signal alone ends no call of this library.
fn end_with_ctrl_c(set: &WaitSet<'_>) -> Result<(), Box<dyn Error>> {
    use nix::sys::signal::{SigSet, Signal};

    // Threads that are started from here on leave the signal to the one that waits for it.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    interrupt.thread_block()?;
    let waker = set.waker();
    thread::spawn(move || {
        if interrupt.wait().is_ok() {
            STOPPED.store(true, Ordering::Relaxed);
            let _ = waker.wake();
        }
    });
    Ok(())
}
