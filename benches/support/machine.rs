//! The machine on which the figures were measured.

use std::fs;
use std::path::Path;

use super::float;

/// Description of the machine in one line.
pub fn describe(data: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpuinfo, "model name").unwrap_or("unknown processor");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = field(&memory, "MemTotal")
        .and_then(|size| size.trim_end_matches(" kB").parse().ok())
        .map_or(0.0, |kib: u64| float(kib) / 1024.0 / 1024.0);
    format!(
        "{cores} cores of {model}, {memory:.0} GiB of memory, data on {}",
        file_system(data)
    )
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// Type of the file system that holds a folder. Without a disk below it a commit costs nothing.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.nth(1)?, words.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or("unknown", |(_, kind)| kind)
        .to_owned()
}
