//! What the system tells about a process.

/// Resident memory in KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.expect("it is there").trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// User and system time, in ticks of 10 ms as on every Linux that we know.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let stat = stat.expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / 100.0
}

/// Ends with advice where the process may not open so many.
pub(crate) fn descriptors(needed: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("it is there");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let allowed = line.and_then(|line| line.split_whitespace().next());
    let allowed = allowed
        .and_then(|allowed| allowed.parse().ok())
        .unwrap_or(usize::MAX);
    assert!(
        allowed >= needed,
        "{needed} open files are needed and {allowed} allowed: use `make overload`, or `ulimit -n {needed}`"
    );
}
