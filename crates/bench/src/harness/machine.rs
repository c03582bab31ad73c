//! Describes the machine and the time of a measurement.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The processor's make, model and family, and whether a host shares it out.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    described(&info)
}

/// The same of what the kernel says of it. Hosts often hide the model's name, so the
/// numbers say more.
fn described(info: &str) -> String {
    let field = |name: &str| {
        let named = |line: &&str| line.split(':').next().is_some_and(|key| key.trim() == name);
        Some(info.lines().find(named)?.split_once(':')?.1.trim())
    };
    let mut processor = field("model name").unwrap_or("unknown").to_owned();
    let numbers = [("family", "cpu family"), ("model", "model"), ("stepping", "stepping")];
    let numbers = numbers.map(|(name, key)| Some(format!("{name} {}", field(key)?)));
    let numbers: Vec<String> = numbers.into_iter().flatten().collect();
    if !numbers.is_empty() {
        processor += &format!(", {}", numbers.join(" "));
    }
    if field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")) {
        processor += ", in a virtual machine";
    }
    processor
}

/// A description: what, and how it is.
pub(crate) fn description(cpus: &[usize]) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    let listed = cpus.iter().take(2).map(ToString::to_string).collect::<Vec<_>>();
    vec![
        ("date", date()),
        ("processor", processor()),
        ("processors", format!("{} may be used; pairs on {}", cpus.len(), listed.join(" and "))),
        ("caches", caches(cpus.first().copied().unwrap_or(0))),
        ("kernel", release.map_or_else(|_| unknown(), |release| release.trim().to_owned())),
    ]
}

fn caches(cpu: usize) -> String {
    let read = |index: usize, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index{index}/{what}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let cache = |index| {
        let (level, kind, size) =
            (read(index, "level")?, read(index, "type")?, read(index, "size")?);
        let shared = read(index, "shared_cpu_list")?;
        (kind != "Instruction").then(|| format!("L{level} {size} for processors {shared}"))
    };
    let found: Vec<String> = (0..8).filter_map(cache).collect();
    if found.is_empty() { "unknown".to_owned() } else { found.join(", ") }
}

/// The day, as the machine's clock has it, in UTC.
fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(now / 86_400);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", now / 3_600 % 24, now / 60 % 60)
}

/// The date so many days after the first of January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_described_by_its_numbers_too() {
        let info = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: A\n\
                    stepping\t: 2\nflags\t\t: fpu hypervisor\n";
        let described_as = "A, family 6 model 207 stepping 2, in a virtual machine";
        assert_eq!(described(info), described_as);
        assert_eq!(described(""), "unknown");
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(19_723), (2024, 1, 1));
        assert_eq!(civil(20_088), (2024, 12, 31));
    }
}
