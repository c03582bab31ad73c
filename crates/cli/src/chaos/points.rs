//! Deaths from within: in a build with the feature `crash-points`, a worker is
//! killed before a step of the library. Other builds do not have this.

use super::orders::Orders;

/// Options of a storm in such a build.
#[derive(Debug, Default, clap::Args)]
// There are other arguments of this name.
#[group(skip)]
pub(crate) struct Args {
    /// Let workers leave the dead as they are: the storm must notice
    #[cfg(feature = "crash-points")]
    #[arg(long)]
    no_recovery: bool,
}

#[cfg(feature = "crash-points")]
mod built_in {
    use tombolo::sys::crash::{self, End, Plot};

    use super::{Args, Orders};

    /// The longest of the lives that end by themselves has about two to this
    /// many steps.
    const LONGEST: f64 = 17.0;

    impl Args {
        pub(crate) const fn recovery(&self) -> bool {
            !self.no_recovery
        }
    }

    /// Before which step a life is to end; 0 for one in four, which do not.
    /// All lengths are as likely: most of the first steps are in joining.
    pub(crate) fn draw(chance: &mut fastrand::Rng) -> u64 {
        if chance.u8(..4) == 0 { 0 } else { (chance.f64() * LONGEST).exp2() as u64 }
    }

    /// Arranges what the orders say.
    pub(crate) fn arrange(orders: &Orders) {
        if !orders.setting.recovery {
            crash::switch_recovery_off();
        }
        if orders.steps > 0 {
            let plot = Plot { at: String::new(), time: orders.steps, end: End::Killed };
            crash::plot(Some(plot));
        }
    }

    /// Has the worker live.
    pub(crate) fn spare() {
        crash::plot(None);
    }
}

#[cfg(not(feature = "crash-points"))]
mod built_in {
    use super::{Args, Orders};

    impl Args {
        pub(crate) const fn recovery(&self) -> bool {
            true
        }
    }

    pub(crate) const fn draw(_chance: &mut fastrand::Rng) -> u64 {
        0
    }

    pub(crate) const fn arrange(_orders: &Orders) {}

    pub(crate) const fn spare() {}
}

pub(crate) use built_in::{arrange, draw, spare};
