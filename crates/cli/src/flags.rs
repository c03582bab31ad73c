//! Translates the library's options into the command's flags.

use std::fmt::Display;

/// A message of the library's, with the command's flags in place of its options.
pub fn in_terms(message: &str) -> String {
    let option = |text: &str| {
        let (name, argument) = text.trim_end_matches(')').split_once('(').unwrap_or((text, ""));
        let flag = match name {
            "participants" => "--participants",
            "size" => "--size",
            "mode" => "--mode",
            "any_owner" => "--any-owner",
            _ => return None,
        };
        Some(if argument.is_empty() { flag.to_owned() } else { format!("{flag} {argument}") })
    };
    let mut said = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("`Options::") {
        let Some((name, beyond)) = after.split_once('`') else { break };
        said.push_str(before);
        match option(name) {
            Some(flag) => said.push_str(&flag),
            None => said.extend(["`Options::", name, "`"]),
        }
        rest = beyond;
    }
    said + rest
}

/// An error of the library's, for a subcommand whose participants are the processes
/// that it starts.
pub fn of_crew(error: impl Display) -> String {
    error.to_string().replace("`Options::participants`", "--producers, --consumers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_calls_its_options_is_said_as_flags() {
        for (library, command) in [
            (
                "create it with `Options::participants` for more",
                "create it with --participants for more",
            ),
            ("with `Options::size(4096)`, or more", "with --size 4096, or more"),
            (
                "a `Options::symmetric_fences` b `Options::any_owner`",
                "a `Options::symmetric_fences` b --any-owner",
            ),
            ("no `Options::mode end", "no `Options::mode end"),
        ] {
            assert_eq!(in_terms(library), command);
        }
    }
}
