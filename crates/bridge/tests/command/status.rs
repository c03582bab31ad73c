//! What a bridge says of itself, as others see it.

use std::path::Path;

use nix::sys::signal::Signal;
use tombolo::{Observer, Segment};
use tombolo_cli::bridges::{Bridge, Bridges};

use crate::{Folder, Running, free_port, in_own_namespace, wait_until};

/// The bridges that there are.
fn bridges() -> Vec<Bridge> {
    Bridges::default().among(&Observer::all().look().unwrap())
}

/// The bridge of this name, once it is as it shall be.
#[track_caller]
fn wait_for(name: &str, mut as_it_shall_be: impl FnMut(&Bridge) -> bool) -> Bridge {
    let mut found = None;
    wait_until(|| {
        found = bridges().into_iter().find(|bridge| bridge.name == name);
        found.as_ref().is_some_and(&mut as_it_shall_be)
    });
    found.unwrap()
}

fn exporter(folder: &Folder, name: &str, port: u16) -> std::path::PathBuf {
    let text = format!(
        "{{ name: \"{name}\", engine: {{ listen: \"tcp/127.0.0.1:{port}\" }},
            channels: [{{ segment: \"market\", channel: \"prices\", direction: \"export\" }}] }}"
    );
    folder.write(&format!("{name}.json5"), &text)
}

fn market() -> Segment {
    let segment = Segment::options().size(1 << 20).create("market").unwrap();
    drop(segment.broadcast::<u64>("prices").capacity(8).lasting().publisher().unwrap());
    segment
}

#[test]
fn a_killed_bridge_is_shown_as_dead_and_its_successor_as_alive_and_a_clean_end_leaves_nothing() {
    in_own_namespace(|| {
        let segment = market();
        let folder = Folder::new();
        let config = exporter(&folder, "edge", free_port());
        let start = |config: &Path| {
            let running = Running::bridge(config);
            let pid = running.0.id();
            let there = |bridge: &Bridge| bridge.alive == Some(true) && bridge.status.pid == pid;
            (running, wait_for("edge", there))
        };
        let (first, seen) = start(&config);
        let link = &seen.status.links[0];
        assert_eq!(
            (&*link.segment, &*link.channel, &*link.direction),
            ("market", "prices", "export")
        );
        assert_eq!(link.key, "tombolo/market/prices");
        assert_eq!(seen.status.config, config.to_str().unwrap());

        first.signal(Signal::SIGKILL);
        let dead = wait_for("edge", |bridge| bridge.alive == Some(false));
        assert_eq!(dead.status.pid, seen.status.pid);

        let (mut second, _) = start(&config);
        second.signal(Signal::SIGTERM);
        assert_eq!(second.ended(), 0);
        assert!(bridges().is_empty());

        let (mut third, _) = start(&config);
        third.signal(Signal::SIGINT);
        assert_eq!(third.ended(), 128 + 2);
        assert!(bridges().is_empty());
        segment.remove().unwrap();
    });
}

#[test]
fn both_sides_see_each_other_and_what_went_over() {
    in_own_namespace(|| {
        let segment = market();
        let folder = Folder::new();
        let port = free_port();
        let config = exporter(&folder, "here", port);
        let _here = Running::bridge(&config);
        let far = folder.write(
            "there.json5",
            &format!(
                "{{ name: \"there\", engine: {{ connect: \"tcp/127.0.0.1:{port}\" }}, channels: [
                    {{ segment: \"copy\", channel: \"prices\", direction: \"import\",
                       key: \"tombolo/market/prices\" }}] }}"
            ),
        );
        let mut there = Running::bridge(&far);
        let publisher = segment.broadcast::<u64>("prices").publisher().unwrap();
        let mut sent = 0;
        let seen = wait_for("there", |bridge| {
            publisher.send(sent).unwrap();
            sent += 1;
            bridge.status.links.iter().any(|link| link.counts.messages > 3)
        });
        assert_eq!((seen.status.peers.len(), &*seen.status.links[0].state), (1, "running"));
        let here = wait_for("here", |bridge| {
            bridge.status.links.iter().any(|link| link.counts.messages > 3)
        });
        assert_eq!(here.status.peers.len(), 1);
        there.0.kill().unwrap();
        there.0.wait().unwrap();
        let here = wait_for("here", |bridge| bridge.status.peers.is_empty());
        assert!(here.status.news.iter().any(|news| news.what.ends_with("has gone")), "{here:?}");
        Segment::open("copy").unwrap().remove().unwrap();
        segment.remove().unwrap();
    });
}

#[test]
fn bridges_of_one_name_have_a_segment_each() {
    in_own_namespace(|| {
        let segment = market();
        let folder = Folder::new();
        let other = Folder::new();
        let mut first = Running::bridge(&exporter(&folder, "twin", free_port()));
        let mut second = Running::bridge(&exporter(&other, "twin", free_port()));
        wait_for("twin", |bridge| bridge.alive == Some(true));
        wait_for("twin.2", |bridge| bridge.alive == Some(true));
        first.signal(Signal::SIGTERM);
        second.signal(Signal::SIGTERM);
        assert_eq!((first.ended(), second.ended()), (0, 0));
        segment.remove().unwrap();
    });
}
