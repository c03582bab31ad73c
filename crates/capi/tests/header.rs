//! The committed header is what the source says.

use std::fs;
use std::path::Path;

use cbindgen::{Builder, Config, DocumentationStyle, ItemType, Language, Style};

/// What stands above the declarations.
const BEGIN: &str = include_str!("../header.txt");

/// In the order in which a reader wants to know of them.
const SOURCES: [&str; 11] = [
    "given",
    "failure",
    "interrupt",
    "segment",
    "channel",
    "status",
    "sender",
    "receiver",
    "wait_set",
    "calls",
    "events",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let mut config = Config {
        language: Language::C,
        cpp_compat: true,
        include_guard: Some("TOMBOLO_H".to_owned()),
        usize_is_size_t: true,
        style: Style::Type,
        documentation_style: DocumentationStyle::C99,
        header: Some(BEGIN.trim_end().to_owned()),
        line_length: 100,
        no_includes: true,
        sys_includes: ["stddef.h", "stdint.h"].map(str::to_owned).to_vec(),
        ..Config::default()
    };
    config.function.args = cbindgen::Layout::Auto;
    config.export.item_types =
        vec![ItemType::Constants, ItemType::Structs, ItemType::OpaqueItems, ItemType::Functions];
    let mut builder = Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root().join(format!("src/{source}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_header_is_that_of_the_source() {
    let (file, text) = (root().join("include/tombolo.h"), generated());
    if std::env::var_os("TOMBOLO_WRITE_HEADER").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "include/tombolo.h is not what the source says; write it anew: \
         TOMBOLO_WRITE_HEADER=1 cargo test -p tombolo-capi --test header"
    );
}
