//! The examples of the help, as they are printed. Each has a row, which says what has to be there
//! for it and what comes of it.

use std::fs;
use std::thread;

use tombolo::{Message, Publisher, Segment, Sender};

use crate::command::{Running, run, text};
use crate::common::{Words, tables, wait_until, word};
use crate::stage::{Scene, Stage, next_segment_is, play_all};

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f64,
}

/// The segment that most of them speak of, with prices and jobs in it.
struct Market {
    segment: Segment,
    prices: Publisher<Tick>,
    jobs: Sender<Tick>,
}

impl Market {
    fn new() -> Self {
        let segment = Segment::options().size(1 << 18).create("market").unwrap();
        let prices = segment.broadcast::<Tick>("prices").capacity(16).publisher().unwrap();
        let jobs = segment.channel::<Tick>("jobs").capacity(16).sender().unwrap();
        let market = Self { segment, prices, jobs };
        (0..4).for_each(|id| market.tick(id));
        market
    }

    fn tick(&self, id: u64) {
        let tick = Tick { id, price: 101.5 };
        self.prices.send(tick).unwrap();
        self.jobs.send(tick).unwrap();
    }
}

/// A segment with the id that examples have. `None` where the kernel cannot.
fn anonymous() -> Option<Segment> {
    let segment = || Segment::options().size(1 << 16).create("other").unwrap();
    next_segment_is(4711).then(segment)
}

/// A participant that answers.
fn watcher() -> Running {
    let watcher = Running::start(&["events", "market"]);
    let there = || Segment::list().unwrap()[0].participants == 1;
    wait_until(there);
    watcher
}

/// A storm or a demo is under way.
fn interrupted_once_it_has_begun(stage: &mut Stage) -> String {
    let shown = stage.start();
    wait_until(|| tables().0 > 0);
    shown.interrupt();
    shown.ends(&[130])
}

const SCENES: &[Scene] = &[
    // They end by themselves.
    ("tombolo demo --producers 3 --consumers 1 --messages 100000 --size 256", |stage| {
        assert!(stage.play().contains("latency p50"));
    }),
    ("tombolo demo --broadcast --subscribers 5 --seconds 0.5", |stage| {
        assert!(stage.play().contains("latency p50"));
    }),
    // Storms last longer than a test may.
    ("tombolo chaos --seconds 60 --producers 3 --consumers 3 --kill-rate 200", |stage| {
        interrupted_once_it_has_begun(stage);
    }),
    ("tombolo chaos --spsc --size 4096 --json", |stage| {
        interrupted_once_it_has_begun(stage);
    }),
    ("tombolo chaos --broadcast --consumers 5", |stage| {
        interrupted_once_it_has_begun(stage);
    }),
    ("tombolo chaos --calls --producers 3", |stage| {
        interrupted_once_it_has_begun(stage);
    }),
    // A stream, lines, and lines for all.
    ("tombolo recv backup > copy.tar &\ntombolo send backup home.tar", |stage| {
        stage.file("home.tar", "the home\n");
        stage.play();
        assert_eq!(stage.read("copy.tar"), "the home\n");
        assert_eq!(tables(), (0, 0));
    }),
    (
        "tombolo recv jobs --lines | while read job; do work on $job; done &\n\
         ls | tombolo send jobs --lines",
        |stage| {
            stage.program("work", "echo worked $*");
            stage.file("one", "");
            stage.file("two", "");
            assert_eq!(stage.play(), "worked on one\nworked on two\n");
        },
    ),
    ("tombolo recv jobs --lines --exec 'sh ./work-on-one' &", |stage| {
        stage.file("work-on-one", "echo worked on $(cat)");
        stage.after("printf 'one\\ntwo\\n' | tombolo send jobs --lines");
        assert_eq!(stage.play(), "worked on one\nworked on two\n");
    }),
    (
        "tombolo recv news --broadcast --lines --reliable > log &\n\
         tombolo recv news --broadcast --lines --from last:10 --allow-lag",
        |stage| {
            stage.file("ticker", "one\ntwo\n");
            stage.before("tombolo send news --broadcast --lines --subscribers 2 < ticker &");
            assert_eq!(stage.play(), "one\ntwo\n");
            assert_eq!(stage.read("log"), "one\ntwo\n");
        },
    ),
    (
        "tombolo recv news --broadcast --lines --reliable > log &\n\
         tombolo recv news --broadcast --lines | grep -i storm &\n\
         tombolo send news --broadcast --lines --subscribers 2 < ticker",
        |stage| {
            stage.file("ticker", "calm\nStorm\n");
            assert_eq!(stage.play(), "Storm\n");
            assert_eq!(stage.read("log"), "calm\nStorm\n");
        },
    ),
    ("tombolo recv alarms --broadcast --lines --reliable --exec 'mail -s alarm root' &", |stage| {
        stage.program("mail", "echo mail $* $(cat)");
        stage.after("echo smoke | tombolo send alarms --broadcast --lines --subscribers 1");
        assert_eq!(stage.play(), "mail -s alarm root smoke\n");
    }),
    // A participant that sleeps in the segment answers.
    ("tombolo ctl market ping", |stage| {
        drop(Market::new());
        let watcher = watcher();
        assert!(stage.play().contains(&watcher.pid().to_string()));
    }),
    ("tombolo ctl market pause && backup; tombolo ctl market resume", |stage| {
        drop(Market::new());
        let _watcher = watcher();
        stage.program("backup", "tombolo ls --json | jq -r '.[].state'");
        assert!(stage.play().contains("paused"));
        assert_eq!(Segment::list().unwrap()[0].state.name(), "open");
    }),
    ("tombolo ctl market user 'reload prices' --timeout 1 --json", |stage| {
        let market = Market::new();
        let inbox = market.segment.inbox();
        thread::scope(|scope| {
            let application = scope.spawn(|| inbox.recv().unwrap());
            assert!(stage.play().contains("\"verb\":\"user\",\"ok\":true"));
            assert_eq!(application.join().unwrap().payload, b"reload prices");
        });
    }),
    // A program that is killed has died; the removal of the segment ends it.
    ("tombolo events market --json | jq 'select(.event == \"died\") | .pid'", |stage| {
        let market = Market::new();
        let shown = stage.start();
        wait_until(|| market.segment.participants().len() == 2);
        let victim = Running::start(&["events", "market"]);
        wait_until(|| market.segment.participants().len() == 3);
        let pid = victim.pid().to_string();
        victim.kill();
        shown.says(&pid);
        market.segment.remove().unwrap();
        assert_eq!(shown.ends(&[0]), format!("{pid}\n"));
    }),
    ("tombolo ls --json | jq '.[] | select(.attached == 0) | .name'", |stage| {
        drop(Market::new());
        assert_eq!(stage.play(), "\"market\"\n");
    }),
    ("tombolo rm market", |stage| {
        let _market = Market::new();
        stage.play();
        assert_eq!(tables().1, 0);
    }),
    ("tombolo rm market @4711 --dry-run", |stage| {
        let Some(_other) = anonymous() else { return };
        let _market = Market::new();
        let said = stage.play();
        assert!(said.contains("segment market") && said.contains("@4711"), "{said}");
        assert_eq!(tables(), (2, 2));
    }),
    ("tombolo rm --orphans", |stage| {
        drop(Market::new());
        stage.play();
        assert_eq!(tables(), (0, 0));
    }),
    ("tombolo check market && echo sound", |stage| {
        let _market = Market::new();
        assert!(stage.play().ends_with("sound\n"));
    }),
    ("tombolo check @4711 --json | jq -r '.where + \": \" + .found'", |stage| {
        let Some(segment) = anonymous() else { return };
        // A fault.
        Words::behind(&segment).add(word::KINDS, 1 << 40);
        let said = stage.start().ends(&[1]);
        assert!(said.contains(": "), "{said}");
    }),
    // Looking.
    ("tombolo top", |stage| {
        let _market = Market::new();
        stage.start().says("prices").interrupt();
    }),
    ("tombolo top market --once", |stage| {
        let _market = Market::new();
        assert!(stage.play().contains("prices"));
    }),
    (
        "tombolo top --json --interval 0.5 | jq -c '.segments[].channels[] | [.name, .rate_per_second]'",
        |stage| {
            let _market = Market::new();
            stage.start().says("[\"prices\",0").interrupt();
        },
    ),
    ("tombolo metrics --once", |stage| {
        let _market = Market::new();
        assert!(stage.play().contains("tombolo_channel_messages_total"));
    }),
    (
        "tombolo metrics --listen 127.0.0.1:9464 &\n\
         curl -s --retry 9 --retry-connrefused http://127.0.0.1:9464/metrics",
        |stage| {
            let _market = Market::new();
            let shown = stage.start();
            shown.says("tombolo_channel_messages_total").interrupt();
            shown.ends(&[0]);
        },
    ),
    ("tombolo tap market prices", |stage| {
        let _market = Market::new();
        assert!(stage.play().contains("id 3, price 101.5"));
    }),
    ("tombolo tap market prices --follow --rate 10", |stage| {
        let market = Market::new();
        let shown = stage.start();
        shown.says("id 3, price 101.5");
        market.tick(4);
        shown.says("id 4, price 101.5").interrupt();
        shown.ends(&[130]);
    }),
    ("tombolo tap market jobs --json --count 3 | jq -c .fields", |stage| {
        let market = Market::new();
        assert!(stage.play().starts_with("{\"id\":0,\"price\":101.5}\n"));
        assert_eq!(market.jobs.len(), 4);
    }),
    // What bites depends on the machine.
    ("tombolo doctor", |stage| {
        assert!(stage.start().ends(&[0, 1]).contains("semaphores of a set"));
    }),
    ("tombolo doctor --participants 500 --channels 200 --size 1073741824", |stage| {
        assert!(stage.start().ends(&[0, 1]).contains("semaphores of a set"));
    }),
    ("tombolo doctor --json | jq -r '.[] | select(.ok | not) | .remedy'", |stage| {
        stage.start().ends(&[0, 1]);
    }),
    ("tombolo run -- my-worker --verbose", |stage| {
        stage.program("my-worker", "tombolo ctl $TOMBOLO_SEGMENT stats --timeout 0.01; echo $*");
        assert!(stage.play().contains("--verbose\n"));
        assert_eq!(tables(), (0, 0));
    }),
    ("tombolo run market -- sh -c 'feed & analyse'", |stage| {
        stage.program("feed", "echo fed $TOMBOLO_SEGMENT");
        stage.program("analyse", "wait; echo analysed");
        let said = stage.play();
        assert!(said.contains("fed market") && said.contains("analysed"), "{said}");
    }),
    ("tombolo run -- sh -c 'tombolo events $TOMBOLO_SEGMENT & my-worker'", |stage| {
        stage.program("my-worker", "exec sleep 0.1");
        stage.play();
        assert_eq!(tables(), (0, 0));
    }),
    // `man` finds pages beside a folder of PATH.
    ("tombolo man ~/.local/share/man/man1 && man tombolo-recv", |stage| {
        assert!(stage.play().contains("tombolo recv backup > copy.tar"));
    }),
    (
        "mkdir -p ~/.local/share/bash-completion/completions\n\
         tombolo completions bash > ~/.local/share/bash-completion/completions/tombolo",
        |stage| {
            stage.after("bash -n ~/.local/share/bash-completion/completions/tombolo && echo good");
            assert_eq!(stage.play(), "good\n");
        },
    ),
    ("tombolo completions zsh > \"${fpath[1]}/_tombolo\"", |stage| {
        // What zsh has by itself, but that it counts from 1.
        stage.before("fpath=(none .)");
        stage.play();
        assert!(stage.read("_tombolo").starts_with("#compdef tombolo"));
    }),
    ("tombolo completions fish > ~/.config/fish/completions/tombolo.fish", |stage| {
        // fish has made it.
        stage.before("mkdir -p ~/.config/fish/completions");
        stage.play();
        assert!(
            stage.read(".config/fish/completions/tombolo.fish").contains("complete -c tombolo")
        );
    }),
];

/// The subcommands, as the help lists them.
fn subcommands() -> Vec<String> {
    let help = text(&run(&["--help"]).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.map_while(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Programs of their own, whose tests run their examples.
const BESIDE: [(&str, &[&str]); 4] = [
    ("bench", &["bench/src/main.rs"]),
    ("record", &["record/src/record.rs"]),
    ("replay", &["record/src/replay.rs"]),
    ("bridge", &["bridge/src/flags.rs"]),
];

#[test]
fn each_works_as_printed() {
    let names = subcommands();
    let own = names.iter().filter(|name| !BESIDE.iter().any(|(beside, _)| beside == name));
    let helps: Vec<[&str; 2]> = own.map(|name| [name.as_str(), "--help"]).collect();
    let helps: Vec<&[&str]> = helps.iter().map(<[&str; 2]>::as_slice).collect();
    play_all(&helps, SCENES);
}

#[test]
fn those_of_programs_beside_it_are_examples_of_those_programs() {
    let source = fs::read_to_string("src/beside.rs").unwrap();
    let lines = source.lines().map(|line| line.trim_end_matches('"'));
    let examples: Vec<&str> = lines.filter(|line| line.starts_with("  tombolo ")).collect();
    assert_eq!(examples.len(), BESIDE.len());
    for (example, (_, files)) in examples.iter().zip(BESIDE) {
        let there = files.iter().any(|file| {
            let help = fs::read_to_string(format!("../{file}")).unwrap();
            help.lines().any(|line| line.trim_end_matches('"') == *example)
        });
        assert!(there, "{example}");
    }
}
