//! What the system tells about a process.

/// Resident memory in KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.expect("it is there").trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// Time that its threads have spent on a processor.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let nanoseconds = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let stat = std::fs::read_to_string(path).expect("it runs");
        let on_cpu = stat.split(' ').next().expect("a number");
        on_cpu.parse::<u64>().expect("a number")
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// Ends with advice where this process, and with it the daemon, may not open so many.
pub(crate) fn descriptors(needed: usize) {
    let allowed = mutt_remediation::open_files::allow_most();
    assert!(
        allowed >= needed as u64,
        "{needed} open files are needed and {allowed} allowed: raise the hard limit"
    );
}
