//! The session of Zenoh.

use zenoh::{Config as Settings, Session, Wait as _};

use crate::Failure;
use crate::config::Engine;

/// What Zenoh does by default, and a bridge does not want.
const SETTINGS: [(&str, &str); 5] = [
    ("mode", "\"peer\""),
    // A slow far side makes its peers wait, for so many microseconds; then Zenoh closes the link. It
    // cannot close one that was cut while a put waits, so this is also how long that may take.
    ("transport/link/tx/queue/congestion_control/block/wait_before_close", "15000000"),
    ("connect/timeout_ms", "-1"),
    ("connect/exit_on_failure", "false"),
    ("connect/retry", "{ period_init_ms: 200, period_max_ms: 2000, period_increase_factor: 2 }"),
];

/// Opens the session.
pub(crate) fn open(engine: &Engine) -> Result<Session, Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::Usage(format!("Zenoh: {why}"));
    let usual = Settings::default();
    let mut settings = match &engine.file {
        Some(file) => Settings::from_file(file).map_err(|why| {
            Failure::Usage(format!("{} is no configuration of Zenoh: {why}", file.display()))
        })?,
        None => usual.clone(),
    };
    let mut set = |key: &str, value: &str, always: bool| {
        // What the file has decided otherwise than Zenoh does stays so.
        if always || settings.get_json(key).ok() == usual.get_json(key).ok() {
            settings.insert_json5(key, value).map_err(|why| refused(&why))
        } else {
            Ok(())
        }
    };
    for (key, value) in SETTINGS {
        set(key, value, false)?;
    }
    set("listen/endpoints", &json(&engine.listen), !engine.listen.is_empty())?;
    set("connect/endpoints", &json(&engine.connect), !engine.connect.is_empty())?;
    set("scouting/multicast/enabled", &engine.discovery.to_string(), engine.discovery)?;
    zenoh::open(settings)
        .wait()
        .map_err(|why| Failure::Usage(format!("Zenoh does not begin: {why}")))
}

fn json(endpoints: &[String]) -> String {
    serde_json::to_string(endpoints).unwrap_or_default()
}
