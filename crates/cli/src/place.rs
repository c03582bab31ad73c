//! The segment in which a subcommand meets others, and the options with which the
//! subcommand creates it if it does not exist.

use std::fmt;
use std::ops::Deref;

use clap::value_parser;
use tombolo::{Options, Segment};

/// The segment that this one's peers find, too.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The name of a segment; the first process to use it creates it
    name: String,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// With what a segment is created, and which one is taken as it is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Making {
    /// The mode of a segment that this creates, as of chmod: 660 for the group
    /// [default: 600]
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    mode: Option<u32>,
    /// For how many processes this creates the segment
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=8192))]
    participants: Option<u16>,
    /// With how many bytes for all channels this creates the segment
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u64).range(1..1 << 60))]
    size: Option<u64>,
    #[command(flatten)]
    trust: Trust,
}

/// Which creators are accepted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Trust {
    /// Accept a segment that another user has created: by default it has to be
    /// this user's or root's
    #[arg(long)]
    any_owner: bool,
}

impl Trust {
    pub(crate) fn options(self) -> Options {
        Segment::options().any_owner(self.any_owner)
    }
}

impl Making {
    /// Whether no size was given.
    pub(crate) const fn is_as_usual(&self) -> bool {
        self.size.is_none()
    }

    /// Of so many bytes and participants, or what the limits allow, unless it
    /// was said.
    pub(crate) fn options(&self, bytes: usize, participants: u16) -> Options {
        let mut options = self.trust.options().size_up_to(bytes).participants_up_to(participants);
        if let Some(mode) = self.mode {
            options = options.mode(mode);
        }
        if let Some(participants) = self.participants {
            options = options.participants(participants);
        }
        if let Some(size) = self.size {
            options = options.size(usize::try_from(size).unwrap_or(usize::MAX));
        }
        options
    }
}

impl Deref for Place {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Permissions, as `chmod` takes them.
fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("not three octal digits, as in 660".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_what_chmod_takes() {
        assert_eq!(octal("660"), Ok(0o660));
        assert_eq!(octal("0640"), Ok(0o640));
        assert_eq!(octal("0o600"), Ok(0o600));
        for bad in ["", "8", "1777", "rw", "-1", "+"] {
            assert!(octal(bad).is_err(), "{bad:?}");
        }
    }
}
