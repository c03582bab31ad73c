//! The rules of the documents: their links lead somewhere, the site has all of them, and
//! what they quote of errors is what the library says.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The project's pages.
fn pages() -> Vec<PathBuf> {
    let mut pages =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|p| root().join(p)).to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Its lines outside of blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose += line;
            prose.push('\n');
        }
    }
    prose
}

/// The name that a heading has in a link.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What is wrong with a link of a page.
fn wrong(page: &Path, link: &str) -> Option<String> {
    let (file, place) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.to_path_buf() } else { page.parent()?.join(file) };
    if !target.exists() {
        return Some(format!("{}: {link}: there is no such file", page.display()));
    }
    let is_page = target.extension().is_some_and(|extension| extension == "md");
    let there = place.is_empty() || !is_page || {
        let text = prose(&read(&target));
        text.lines().any(|line| line.starts_with('#') && anchor(line) == place)
            || text.contains(&format!("id=\"{place}\""))
    };
    (!there).then(|| format!("{}: {link}: there is no such heading", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = prose(&read(&page));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let outside = link.contains("://") || link.starts_with("mailto:");
            if !outside && !link.contains(' ') {
                count += 1;
                found.extend(wrong(&page, link));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(count > 100, "only {count} links were found");
}

#[test]
fn the_site_has_every_page() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("({name})")), "docs/SUMMARY.md lacks {name}");
        }
    }
}

/// A text whose places for values are `…`, as the page writes them.
fn without_values(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| match part.split_once('}') {
        // A place is short and in one line; other braces are code.
        Some((value, rest)) if value.len() < 20 && !value.contains([' ', '\n']) => {
            whole + "…" + rest
        }
        _ => whole + "{" + part,
    })
}

#[test]
fn texts_of_errors_that_the_troubleshooting_page_names_exist() {
    let mut sources = Vec::new();
    super::files(&root().join("src"), &mut sources);
    // A string that goes on in the next line is one.
    let join = |text: &str| {
        let mut parts = text.split("\\\n");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |whole, part| whole + part.trim_start())
    };
    let said: String = sources.iter().map(|path| join(&read(path))).collect();
    let said = without_values(&said);
    let page = read(&root().join("docs/troubleshooting.md"));
    let texts: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`')).collect();
    for text in &texts {
        assert!(said.contains(text.trim_matches(['…', ' '])), "no error says {text:?}");
    }
    assert!(texts.len() >= 15, "{texts:?}");
}
