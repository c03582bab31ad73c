//! TLS and access control, which are Zenoh's own, by its own file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tombolo::Segment;
use zenoh::{Session, Wait as _};

use crate::hosts::{PATIENCE, endpoint, eventually, hosts};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether `openssl` did it, there.
fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder).stderr(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|done| done.success())
}

/// An authority, and a certificate of it for each host: `CA.pem`, `HOST.pem` and `HOST.key`.
fn certify(folder: &Path, authority: &str, hosts: &[&str]) -> bool {
    let key = "ec_paramgen_curve:P-256";
    let (ca_key, ca) = (format!("{authority}.key"), format!("{authority}.pem"));
    let made = openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            key,
            "-nodes",
            "-days",
            "2",
            "-keyout",
            &ca_key,
            "-out",
            &ca,
            "-subj",
            &format!("/CN={authority}"),
        ],
    );
    made && hosts.iter().all(|host| {
        let (host_key, asked, host_pem) =
            (format!("{host}.key"), format!("{host}.csr"), format!("{host}.pem"));
        let extensions = format!("{host}.ext");
        fs::write(
            folder.join(&extensions),
            "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n\
             basicConstraints=critical,CA:FALSE\n",
        )
        .unwrap();
        openssl(
            folder,
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                key,
                "-nodes",
                "-keyout",
                &host_key,
                "-out",
                &asked,
                "-subj",
                &format!("/CN={host}"),
            ],
        ) && openssl(
            folder,
            &[
                "x509",
                "-req",
                "-in",
                &asked,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &extensions,
                "-out",
                &host_pem,
            ],
        )
    })
}

/// Zenoh's own file, for a host with that certificate.
fn zenoh(folder: &Folder, authority: &str, host: &str, more: &str) -> String {
    let at = folder.0.display();
    format!(
        "{{ {more}, scouting: {{ multicast: {{ enabled: false }} }}, transport: {{ link: {{ tls: {{\
           root_ca_certificate: \"{at}/{authority}.pem\", enable_mtls: true,\
           listen_private_key: \"{at}/{host}.key\", listen_certificate: \"{at}/{host}.pem\",\
           connect_private_key: \"{at}/{host}.key\", connect_certificate: \"{at}/{host}.pem\" }} }} }} }}"
    )
}

fn tls(at: &str) -> String {
    at.replace("tcp/127.0.0.1", "tls/localhost")
}

/// Whether a client with this configuration meets a bridge.
fn meets(settings: &str) -> bool {
    let settings = zenoh::Config::from_json5(settings).unwrap();
    let Ok(session) = zenoh::open(settings).wait() else { return false };
    let bridges = session.liveliness().get("tombolo/@bridge/*").timeout(Duration::from_secs(2));
    let met = bridges.wait().unwrap().into_iter().any(|reply| reply.into_result().is_ok());
    session.close().wait().unwrap();
    met
}

#[test]
fn with_certificates_of_one_authority_a_queue_is_carried_over_tls_and_others_get_nothing() {
    hosts!(near, far);
    let folder = Folder::new("bridge-tls");
    let made =
        certify(&folder.0, "ca", &["near", "far"]) && certify(&folder.0, "others", &["stranger"]);
    if !made {
        eprintln!("SKIPPED: certificates cannot be made: there is no program openssl");
        return;
    }
    let at = tls(&endpoint());
    let listen = format!("mode: \"peer\", listen: {{ endpoints: [\"{at}\"] }}");
    let listen = folder.file("near.json5", &zenoh(&folder, "ca", "near", &listen));
    let connect = format!(
        "mode: \"peer\", listen: {{ endpoints: [] }}, connect: {{ endpoints: [\"{at}\"] }}"
    );
    let connect = folder.file("far.json5", &zenoh(&folder, "ca", "far", &connect));
    let (work, sender) = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        (work, sender)
    });
    let export = near.bridge(&["work", "--engine", &listen, "--export", "jobs"]);
    export.wait_for("export jobs of work: running");
    let import = far.bridge(&["work", "--engine", &connect, "--import", "jobs"]);
    let came = far.spawn(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let receiver = eventually("a channel", || work.channel::<u64>("jobs").receiver().ok());
        (0..1000).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>()
    });
    let sender = near.run(move || {
        (0..1000).for_each(|n| sender.send(n).unwrap());
        sender
    });
    assert!(came.join().unwrap().into_iter().eq(0..1000));
    let client = |authority: &str, host: &str| {
        let connect = format!(
            "mode: \"client\", connect: {{ endpoints: [\"{at}\"], timeout_ms: 3000, \
             exit_on_failure: true }}"
        );
        meets(&zenoh(&folder, authority, host, &connect))
    };
    assert!(client("ca", "far"), "one with a certificate meets nobody");
    // It trusts the bridge's authority, and the bridge does not trust its own.
    assert!(!client("ca", "stranger"), "a stranger is let in");
    assert!(
        !client("others", "far"),
        "a bridge is taken for somebody whom another authority knows"
    );
    near.run(move || drop((work, sender)));
    drop((export, import));
}

/// A client that does not wait for a bridge for ever.
fn ask(session: &Session, key: &str, payload: [u8; 8]) -> Vec<Result<String, String>> {
    let asked = session.get(key).payload(payload).timeout(Duration::from_secs(5)).wait().unwrap();
    let text =
        |payload: &zenoh::bytes::ZBytes| String::from_utf8_lossy(&payload.to_bytes()).into_owned();
    asked
        .into_iter()
        .map(|reply| match reply.into_result() {
            Ok(sample) => Ok(text(sample.payload())),
            Err(why) => Err(text(why.payload())),
        })
        .collect()
}

#[test]
fn who_may_read_and_not_write_reads_and_writes_nothing_and_knows_it() {
    hosts!(near, far);
    let folder = Folder::new("bridge-acl");
    let at = endpoint();
    // All others may take what is exported, and give nothing: neither messages nor word of any.
    // (`**` stands for no chunk that begins with `@`.)
    let own = format!(
        "{{ mode: \"peer\", listen: {{ endpoints: [\"{at}\"] }}, \
           scouting: {{ multicast: {{ enabled: false }} }}, access_control: {{ enabled: true, \
           default_permission: \"allow\", rules: [ \
             {{ id: \"nothing in\", permission: \"deny\", flows: [\"ingress\"], \
                messages: [\"put\", \"query\", \"reply\", \"declare_queryable\", \"liveliness_token\"], \
                key_exprs: [\"tombolo/work/in\", \"tombolo/work/in/@in\", \"tombolo/work/in/@in/*\", \
                  \"tombolo/work/in/@pull/*\", \"tombolo/work/in/@tombolo/*\"] }} ], \
           subjects: [ {{ id: \"all\" }} ], \
           policies: [ {{ rules: [\"nothing in\"], subjects: [\"all\"] }} ] }} }}"
    );
    let own = folder.file("near.json5", &own);
    let (work, out, receiver) = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let out = work.channel::<u64>("out").capacity(64).lasting().sender().unwrap();
        let receiver = work.channel::<u64>("in").capacity(64).lasting().receiver().unwrap();
        (work, out, receiver)
    });
    let bridge = near.bridge(&["work", "--engine", &own, "--export", "out", "--import", "in"]);
    bridge.wait_for("export out of work: running");
    bridge.wait_for("import in of work: running");
    let (theirs, sender) = far.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("in").capacity(64).lasting().sender().unwrap();
        (0..10).for_each(|n| sender.send(n).unwrap());
        (work, sender)
    });
    let other = far.bridge(&["work", "--connect", &at, "--import", "out", "--export", "in"]);
    let came = far.spawn(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let receiver = eventually("a channel", || work.channel::<u64>("out").receiver().ok());
        (0..100).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>()
    });
    near.run(move || {
        (0..100).for_each(|n| out.send(n).unwrap());
    });
    assert!(came.join().unwrap().into_iter().eq(0..100), "it may read");
    let session = crate::plain::client(&at);
    let answered = ask(&session, "tombolo/work/in/@in", 7_u64.to_ne_bytes());
    assert!(!answered.iter().any(Result::is_ok), "{answered:?}");
    session.close().wait().unwrap();
    // The other bridge says that nobody takes what it exports, and keeps it.
    other.wait_for("nobody on another host takes from it");
    near.run(move || assert!(receiver.is_empty(), "something was written"));
    far.run(move || {
        assert_eq!(sender.len(), 10);
        drop((theirs, sender));
    });
    near.run(move || drop(work));
    drop((bridge, other));
}
