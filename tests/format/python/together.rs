//! The answers to both sides about each other.

use super::*;

#[test]
fn roles_names_and_types_are_checked_from_both_sides() {
    if !python() {
        return;
    }
    let market = Market::new("spsc", 4);
    let mut python = Python::join(&market.name);
    let mut ask = |what: &str| {
        python.tell(&format!("open {what}"));
        python.said()
    };
    assert!(ask("c mpmc sender").starts_with("Mismatch c is (1, 8, 8) of u64"));
    assert!(ask("c spsc-bytes sender").starts_with("Mismatch"));
    assert!(ask("d spsc sender").starts_with("NotFound d"));
    market.segment.channel::<i64>("i").capacity(1).spsc().sender().unwrap();
    assert!(ask("i spsc sender").starts_with("Mismatch i is (1, 8, 8) of i64"));
    let tx = market.tx();
    assert!(ask("c spsc sender").starts_with("RoleTaken"));
    drop(tx);
    assert_eq!(ask("c spsc sender"), "open");
    let taken = Tx::open(&market.segment, "spsc").err().unwrap();
    let pid = python.child.id();
    assert!(matches!(taken, ChannelError::RoleTaken { pid: by, .. } if by == u64::from(pid)));
    python.leave();
    drop(market.tx());
    // The answers for a name that nobody has, and for one that is elsewhere.
    let name = Name::new();
    let mut nobody = Command::new("python3");
    nobody.args([CLIENT, &name]).env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::piped());
    let output = nobody.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotFound"), "{output:?}");
}

#[test]
fn a_python_that_is_last_removes_a_transient_segment() {
    if !python() {
        return;
    }
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(4).channels(1).transient(true);
    let segment = options.create(&name).unwrap();
    let first = Python::join(&name);
    let second = Python::join(&name);
    drop(segment);
    first.leave();
    assert_eq!(name.objects(), (1, 1));
    second.leave();
    assert_eq!(name.objects(), (0, 0));
}

#[test]
fn slots_of_killed_pythons_are_used_again() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    for _ in 0..12 {
        // More than there are slots: each one finds the last one dead.
        market.python("sender").kill();
    }
    let _rx = market.rx();
    assert_eq!(market.segment.participants().len(), 1);
}

/// A message in a message block, in the hands of whoever `takes` it.
fn one_in_a_block(market: &Market, takes: impl FnOnce()) {
    assert!(market.nth(LONG).len() > 112);
    assert!(market.tx().try_send(LONG));
    takes();
}

/// The number of a message that needs a message block.
const LONG: u64 = 4;

#[test]
fn a_send_of_the_librarys_gets_the_message_block_that_a_python_frees() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    let mut python = market.python("receiver");
    one_in_a_block(&market, || python.ask("take c", &market.nth(LONG)));
    let mut writer = market.segment.bytes("c").sender().unwrap();
    let grant = writer.reserve(200).unwrap();
    let tx = market.tx();
    let waiting = parked_thread(move || tx.send(LONG));
    assert_eq!(market.control(SLOTS_WAITING) as u32, 1);
    python.ask("release c", "released");
    waiting.join().unwrap().unwrap();
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    drop(grant);
    python.ask("recv c", &market.nth(LONG));
}

#[test]
fn a_python_gets_the_message_block_that_the_library_frees() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    let mut python = market.python("sender");
    let mut rx = market.segment.bytes("c").receiver().unwrap();
    let mut held = None;
    one_in_a_block(&market, || held = Some(rx.take().unwrap()));
    let mut writer = market.segment.bytes("c").sender().unwrap();
    let grant = writer.reserve(200).unwrap();
    python.park(&format!("send c {LONG}"));
    assert_eq!(market.control(SLOTS_WAITING) as u32, 1);
    drop(held);
    python.expect("sent");
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    assert_eq!(market.rx().recv().unwrap(), market.nth(LONG));
    // And one that is killed waiting is counted no more.
    let mut held = None;
    one_in_a_block(&market, || held = Some(rx.take().unwrap()));
    python.park(&format!("send c {LONG}"));
    python.kill();
    market.sweep();
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    drop((held, grant));
    market.holds_its_capacity();
}

#[test]
fn what_happens_to_either_is_told_to_both() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc", 2);
    let events = market.segment.events();
    let next = || match events.recv_timeout(PATIENCE).unwrap().expect("an event") {
        Event::Joined(member) => format!("joined {}", member.pid),
        Event::Left(member) => format!("left {}", member.pid),
        Event::Died(death) => format!("died {}", death.pid),
        event => panic!("{event:?}"),
    };
    let mut listener = Python::join(&market.name);
    assert_eq!(next(), format!("joined {}", listener.pid()));
    listener.ask("subscribe", "subscribed");
    listener.park("listen");
    let mut told = |event: String| {
        listener.expect(&event);
        assert_eq!(next(), event);
        listener.park("listen");
    };
    let leaver = market.python("sender");
    told(format!("joined {}", leaver.pid()));
    let pid = leaver.pid();
    leaver.leave();
    told(format!("left {pid}"));
    let rust = market.rust("sender");
    told(format!("joined {}", rust.pid()));
    rust.kill();
    told(format!("died {}", rust.pid()));
    let victim = market.python("receiver");
    told(format!("joined {}", victim.pid()));
    let pid = victim.pid();
    victim.kill();
    told(format!("died {pid}"));
    market.segment.remove().unwrap();
    listener.expect("Closed");
}
