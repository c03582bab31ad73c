//! `tombolo man` and `tombolo completions`: what a shell and `man` show of the command,
//! made from the definitions that also make its help.

use std::fs;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::standard;

/// Writes a man page for the command, and one for each subcommand.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tombolo man ~/.local/share/man/man1 && man tombolo-recv

Files of the same names are written over. man finds pages in ~/.local/share/man if
~/.local/bin is in PATH.")]
pub(crate) struct Man {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  tombolo completions bash > ~/.local/share/bash-completion/completions/tombolo
  tombolo completions zsh > \"${fpath[1]}/_tombolo\"
  tombolo completions fish > ~/.config/fish/completions/tombolo.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the man pages.
pub(crate) fn man(args: &Man, command: Command) -> Result<(), Failure> {
    let folder = &args.folder;
    let written = fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command.disable_help_subcommand(true), folder));
    written.map_err(|error| {
        Failure::unusable(format!("cannot write man pages to {}", folder.display()), error)
    })
}

/// Prints the completions.
pub(crate) fn completions(args: &Completions, command: Command) -> Result<(), Failure> {
    let mut command = command;
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tombolo", &mut text);
    let text = String::from_utf8_lossy(&text);
    standard::print(text.trim_end())
        .map_err(|error| Failure::broken("cannot write the completions", error))
}
