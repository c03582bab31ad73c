//! The table of orderings in the documents, made from the list that is run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const LIST: &str = include_str!("orderings.rs");
const DOCUMENT: &str = "../docs/orderings.md";
const BEGIN: &str = "<!-- made by loom-tests from models/orderings.rs -->\n";
const END: &str = "<!-- end -->\n";

/// The text between two others, and what comes after.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to)
}

/// The text of a constant of the list.
fn constant(name: &str) -> String {
    let (text, _) = between(LIST, &format!("const {name}: &str = \""), "\";").unwrap();
    text.to_owned()
}

/// One line of the table for each row of the list.
fn table() -> String {
    let (list, _) = between(LIST, "const ROWS: &[(&[Site], By)] = &[", "\n];").unwrap();
    let code: Vec<&str> = list.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let code = code.join("\n");
    let mut table = String::from(
        "| file, function | access | ordering, and weaker | found by, or why not |\n|---|---|---|---|\n",
    );
    let mut rest = code.as_str();
    while let Some((sites, after)) = between(rest, "&[", "],") {
        let by = after.split("&[").next().unwrap();
        rest = after;
        let by = by.trim_end_matches(|c: char| c.is_whitespace() || "(,)".contains(c)).trim();
        let found = if let Some(why) = by.strip_prefix("Nothing(") {
            let why = why.trim().trim_end_matches(',');
            let why = why.strip_prefix('"').map_or_else(|| constant(why), str::to_owned);
            format!("not found: {}", why.trim_end_matches('"'))
        } else {
            let model = by.rsplit_once("), ").map_or(by, |(_, model)| model);
            let deaths = if by.starts_with("Deaths") { ", killed before each step" } else { "" };
            format!("`{model}`{deaths}")
        };
        let mut found = found.as_str();
        let mut rest_of_sites = sites;
        while let Some((site, after)) = between(rest_of_sites, "at(", ")") {
            // An access may have a parenthesis of its own.
            let (site, after) = match site.matches('"').count() % 2 {
                0 => (site.to_owned(), after),
                _ => {
                    let (more, after) = after.split_once("\", ").unwrap();
                    let (orders, after) = after.split_once(')').unwrap();
                    (format!("{site}){more}\", {orders}"), after)
                }
            };
            rest_of_sites = after;
            let parts: Vec<&str> = site.split("\", ").collect();
            let [file, function, access, orders] = parts[..] else { panic!("{site}") };
            let clean = |text: &str| text.trim().trim_start_matches('"').trim().to_owned();
            let (order, weak) = orders.split_once(", ").unwrap();
            writeln!(
                table,
                "| {}, `{}` | `{}` | {order}, {} | {found} |",
                clean(file),
                clean(function),
                clean(access),
                weak.trim().trim_end_matches(','),
            )
            .unwrap();
            found = "the same, together";
        }
    }
    table
}

/// Writes the table where the environment says so (`TOMBOLO_WRITE=1`).
#[test]
fn the_documents_have_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = fs::read_to_string(&path).unwrap();
    let table = table();
    assert!(table.lines().count() > 60, "the list was not understood:\n{table}");
    let (there, after) = between(&document, BEGIN, END).expect("a place for the table");
    if std::env::var_os("TOMBOLO_WRITE").is_some() {
        let (before, _) = document.split_once(BEGIN).unwrap();
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(there == table, "out of date: run this test with TOMBOLO_WRITE=1");
    }
}
