//! The machine that measures, for readers of the tables.

use std::fs;

use nix::time::ClockId;

/// Describes processor, kernel, timer frequency and load. The load is that before the run, which itself causes one.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches([' ', '\t', ':']))
    };
    let model = field("model name").unwrap_or("unknown processor");
    let is_virtual = field("flags").is_some_and(|flags| flags.contains(" hypervisor"));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    format!(
        "{model}, {processors} processors{}, Linux {}, HZ {}, load {} at the start",
        if is_virtual { " (virtual)" } else { "" },
        read("/proc/sys/kernel/osrelease").trim(),
        hertz().map_or_else(|| "unknown".into(), |hertz| hertz.to_string()),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

/// The kernel's timer frequency (`CONFIG_HZ`): coarse clocks advance once per tick.
fn hertz() -> Option<i64> {
    let tick = ClockId::CLOCK_MONOTONIC_COARSE.res().ok()?;
    1_000_000_000_i64.checked_div(tick.tv_nsec())
}
