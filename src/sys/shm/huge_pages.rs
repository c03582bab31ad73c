//! Sizes of huge pages.

use std::ffi::c_int;
use std::fmt;

/// Sizes of huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "SHM_HUGETLB")]
pub enum HugePages {
    /// The system's default (`Hugepagesize` of /proc/meminfo).
    Default,
    /// 2 MiB.
    Size2M,
    /// 1 GiB.
    Size1G,
}

impl HugePages {
    /// As the kernel wants it in the flags; 0 is the default size.
    pub(super) const fn log2(self) -> c_int {
        match self {
            HugePages::Default => 0,
            HugePages::Size2M => 21,
            HugePages::Size1G => 30,
        }
    }
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HugePages::Default => "huge pages",
            HugePages::Size2M => "2 MiB pages",
            HugePages::Size1G => "1 GiB pages",
        })
    }
}
