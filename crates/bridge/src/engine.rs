//! The session of Zenoh.

use zenoh::{Config as Settings, Session, Wait as _};

use crate::Failure;
use crate::config::Engine;

/// What Zenoh does by default, and a bridge does not want.
const SETTINGS: [(&str, &str); 5] = [
    ("mode", "\"peer\""),
    // A slow far side makes its peers wait. By default, Zenoh closes the link after five seconds.
    ("transport/link/tx/queue/congestion_control/block/wait_before_close", "86400000000"),
    ("connect/timeout_ms", "-1"),
    ("connect/exit_on_failure", "false"),
    ("connect/retry", "{ period_init_ms: 200, period_max_ms: 2000, period_increase_factor: 2 }"),
];

/// Opens the session.
pub(crate) fn open(engine: &Engine) -> Result<Session, Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::Usage(format!("Zenoh: {why}"));
    let mut settings = match &engine.file {
        Some(file) => Settings::from_file(file).map_err(|why| {
            Failure::Usage(format!("{} is no configuration of Zenoh: {why}", file.display()))
        })?,
        None => {
            let mut settings = Settings::default();
            for (key, value) in SETTINGS {
                settings.insert_json5(key, value).map_err(|why| refused(&why))?;
            }
            settings
        }
    };
    let mut set =
        |key: &str, value: String| settings.insert_json5(key, &value).map_err(|why| refused(&why));
    // With a file, it decides what is not said here.
    if engine.file.is_none() || !engine.listen.is_empty() {
        set("listen/endpoints", json(&engine.listen))?;
    }
    if engine.file.is_none() || !engine.connect.is_empty() {
        set("connect/endpoints", json(&engine.connect))?;
    }
    if engine.file.is_none() || engine.discovery {
        set("scouting/multicast/enabled", engine.discovery.to_string())?;
    }
    zenoh::open(settings)
        .wait()
        .map_err(|why| Failure::Usage(format!("Zenoh does not begin: {why}")))
}

fn json(endpoints: &[String]) -> String {
    serde_json::to_string(endpoints).unwrap_or_default()
}
