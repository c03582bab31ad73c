//! Documents of which this program writes a part.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Where such a part begins and ends.
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- /figures -->";

/// A document of the project with another text between its marks, each of which
/// has to be there once, alone in its line.
pub(super) fn replaced(project: &Path, name: &str, text: &str) -> Result<String, Failure> {
    let page = fs::read_to_string(project.join(name))
        .map_err(|error| Failure::unusable(format!("cannot read {name}"), error))?;
    let mark = |mark: &str| {
        let line = format!("\n{mark}\n");
        let mut marks = page.match_indices(&line).map(|(at, _)| at + 1);
        match (marks.next(), marks.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => Err(Failure::Unusable(format!("{name} has no line {mark}"))),
            _ => Err(Failure::Unusable(format!("{name} has more than one line {mark}"))),
        }
    };
    let (begin, end) = (mark(BEGIN)? + BEGIN.len(), mark(END)?);
    match (page.get(..begin), page.get(end..)) {
        (Some(before), Some(after)) if begin < end => {
            Ok(format!("{before}\n{}\n{after}", text.trim_end()))
        }
        _ => Err(Failure::Unusable(format!("{name} has {END} before {BEGIN}"))),
    }
}

/// Writes a file, and its folder if there is none.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(path, text))
        .map_err(|error| Failure::unusable(format!("cannot write {}", path.display()), error))
}
