//! `tombolo metrics`, once and over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use nix::sys::signal::Signal;
use tombolo::{Segment, Start};

use crate::command::{Running, assert_refused, run, text};
use crate::common::Name;

/// The lines for one segment, without what differs from run to run.
fn lines(said: &str, segment: &Segment) -> Vec<String> {
    let labels = format!("segment=\"{}\",id=\"{}\"", segment.name(), segment.id());
    let of_it = said.lines().filter(|line| line.contains(&labels));
    let pid = format!("pid=\"{}\"", std::process::id());
    of_it.map(|line| line.replace(&labels, "").replace("{,", "{").replace(&pid, "pid")).collect()
}

#[test]
fn the_metrics_of_a_segment_follow_the_conventions() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(8);
    let publisher = prices.publisher().unwrap();
    let _slow = prices.reliable_subscriber_from(Start::Oldest).unwrap();
    (0..3).for_each(|n| publisher.send(n).unwrap());
    let records = segment.bytes("records").capacity(4, 24).spsc().sender().unwrap();
    records.send(b"123").unwrap();
    let output = run(&["metrics", &name, "--once"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let found = lines(&said, &segment);
    for line in [
        "tombolo_segment_participants{} 1",
        "tombolo_segment_open{} 1",
        "tombolo_segment_deaths_total{} 0",
        "tombolo_channel_messages_total{channel=\"prices\",kind=\"broadcast\"} 3",
        "tombolo_channel_bytes_total{channel=\"records\",kind=\"SPSC bytes\"} 16",
        "tombolo_channel_capacity{channel=\"prices\",kind=\"broadcast\"} 8",
        "tombolo_channel_ends{channel=\"prices\",kind=\"broadcast\",side=\"receiver\"} 1",
        "tombolo_subscriber_lag{channel=\"prices\",kind=\"broadcast\",pid,n=\"0\"} 3",
        "tombolo_channel_redelivered_messages_total{channel=\"prices\",kind=\"broadcast\"} 0",
    ] {
        assert!(found.iter().any(|it| it == line), "{line} is not in {found:#?}");
    }
    // As the format wants it: each name has its type before, and comes in one piece.
    let mut named = Vec::new();
    for line in said.lines() {
        let word = |n| line.split(' ').nth(n).unwrap();
        let name = match line.strip_prefix("# ") {
            Some(_) => word(2),
            None => line.split('{').next().unwrap(),
        };
        assert!(name.starts_with("tombolo_"), "{line}");
        if named.last() != Some(&name) {
            assert!(line.starts_with("# HELP") && !named.contains(&name), "{line}");
            named.push(name);
        }
    }
}

/// The status and the body of the answer.
fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    if status == "200" {
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    }
    (status, body.to_owned())
}

#[test]
fn whoever_asks_is_answered_until_a_signal_comes() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(8).sender().unwrap();
    let mut metrics = Running::start(&["metrics", &name, "--listen", "127.0.0.1:0"]);
    let mut stderr = BufReader::new(metrics.0.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("tombolo: answering at http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    for sent in 0..3 {
        let (status, body) = ask(address, "GET /metrics");
        assert_eq!(status, "200");
        let line =
            format!("tombolo_channel_messages_total{{channel=\"jobs\",kind=\"MPMC\"}} {sent}");
        assert!(lines(&body, &segment).contains(&line), "{body}");
        jobs.send(sent).unwrap();
    }
    assert_eq!(ask(address, "GET /nothing").0, "404");
    assert_eq!(ask(address, "POST /metrics").0, "405");
    assert_refused(&["metrics", "--listen", address], "cannot listen at");
    metrics.signal(Signal::SIGTERM);
    assert_eq!(metrics.wait().code(), Some(143));
    // Nobody was a participant, and nothing is left.
    assert_eq!(segment.participants().len(), 1);
}
