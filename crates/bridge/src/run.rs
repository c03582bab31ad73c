//! A bridge from its beginning to its end.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zenoh::sample::SampleKind;
use zenoh::{Session, Wait as _};

use crate::config::Config;
use crate::status::Status;
use crate::{Failure, Stop, describe, engine, route};

/// So long a bridge takes at most to end.
const GRACE: Duration = Duration::from_secs(8);

/// Where bridges tell each other that they are there.
const BRIDGES: &str = "tombolo/@bridge";

/// Carries what `config` asks for until `stop`. Then sends what it has taken, waits a while for
/// what is not acknowledged, and gives the rest back.
///
/// # Errors
/// [`Failure::Usage`] if the configuration asks for what cannot be.
pub fn run(config: &Config, stop: &Stop, status: &Arc<Status>) -> Result<(), Failure> {
    config.check()?;
    let session = engine::open(&config.engine)?;
    let failed = |why: zenoh::Error| Failure::Failed(format!("Zenoh: {why}"));
    let own = format!("{BRIDGES}/{}", session.zid());
    let token = session.liveliness().declare_token(&own).wait().map_err(failed)?;
    let peers = watch_peers(&session, &own, status).map_err(failed)?;
    let (done, ended) = mpsc::channel::<()>();
    for one in &config.routes {
        let (session, one, lease) = (session.clone(), one.clone(), config.lease);
        let (stop, status, done) = (stop.clone(), Arc::clone(status), done.clone());
        // Not joined: one that is stuck in a slow link is not waited for.
        let name = format!("route {}", one.channel);
        let route = move || {
            route::serve(&session, &one, lease, &stop, &status);
            drop(done);
        };
        thread::Builder::new()
            .name(name)
            .spawn(route)
            .map_err(|why| Failure::Failed(format!("no thread: {why}")))?;
    }
    drop(done);
    while !stop.wait(Duration::from_secs(3600)) {}
    let _ = ended.recv_timeout(GRACE);
    let (done, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        drop((token, peers));
        let _ = session.close().wait();
        drop(done);
    });
    let _ = ended.recv_timeout(Duration::from_secs(2));
    Ok(())
}

/// Whether it may be what Zenoh calls a session.
fn is_id(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn watch_peers(
    session: &Session,
    own: &str,
    status: &Arc<Status>,
) -> zenoh::Result<zenoh::pubsub::Subscriber<()>> {
    let (status, own) = (Arc::clone(status), own.to_owned());
    let _ = describe::host();
    session
        .liveliness()
        .declare_subscriber(format!("{BRIDGES}/*"))
        .history(true)
        .callback(move |sample| {
            let key = sample.key_expr().as_str();
            if key != own
                && let Some(name) = key.rsplit('/').next().filter(|name| is_id(name))
            {
                status.peer(name, sample.kind() == SampleKind::Put);
            }
        })
        .wait()
}
