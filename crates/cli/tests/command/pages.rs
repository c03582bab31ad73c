//! Man pages and completions.

use std::fs;

use crate::command::{assert_refused, run, text};

#[test]
fn each_subcommand_has_a_man_page_with_its_example() {
    let folder = std::env::temp_dir().join(format!("tombolo-man-{}", std::process::id()));
    let output = run(&["man", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let help = text(&run(&["--help"]).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.map_while(|line| line.split_whitespace().next()).filter(|w| *w != "help");
    let mut count = 0;
    for name in names {
        let page = fs::read_to_string(folder.join(format!("tombolo-{name}.1"))).unwrap();
        assert!(page.contains("Example"), "{name}: {page}");
        count += 1;
    }
    let pages = fs::read_dir(&folder).unwrap().count();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(pages, count + 1, "that of the command itself, and none of hidden ones");
    assert_refused(&["man", "/proc/1/no"], "cannot write man pages to /proc/1/no");
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("doctor"), "{shell}");
    }
    assert_refused(&["completions", "no-shell"], "'no-shell'");
}
