//! What the figures were made on, and what the processes that made them have used, out of `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Result, float};

/// The machine in one line.
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

/// The type of the file system that holds a folder: without a disk below it a commit costs nothing.
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

/// A size of a process from its status, such as `VmHWM`, in MiB.
pub fn memory(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = field(&status, name)
        .and_then(|size| size.trim_end_matches(" kB").parse().ok())
        .ok_or_else(|| format!("no {name} in the status of {pid}"))?;
    Ok(float(kib) / 1024.0)
}

/// Processor time that was used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub driver: Duration,
    pub service: Duration,
    pub postgresql: Duration,
}

/// Names of threads by which this process tells its parts apart.
pub const DRIVER: &str = "driver";
pub const SERVICE: &str = "service";

impl Cpu {
    /// Reads what the threads of this process and the processes of its PostgreSQL have used.
    pub fn read(postmaster: u32) -> Self {
        let mut cpu = Self::default();
        for task in entries("/proc/self/task") {
            if let Some(stat) = Stat::read(&format!("/proc/self/task/{task}/stat")) {
                match stat.name.as_str() {
                    DRIVER => cpu.driver += stat.own,
                    SERVICE => cpu.service += stat.own,
                    _ => {}
                }
            }
        }
        for process in entries("/proc") {
            if let Some(stat) = Stat::read(&format!("/proc/{process}/stat")) {
                if process == postmaster {
                    cpu.postgresql += stat.own + stat.ended_children;
                } else if stat.parent == postmaster {
                    cpu.postgresql += stat.own;
                }
            }
        }
        cpu
    }

    pub fn since(self, start: Self) -> Self {
        Self {
            driver: self.driver.saturating_sub(start.driver),
            service: self.service.saturating_sub(start.service),
            postgresql: self.postgresql.saturating_sub(start.postgresql),
        }
    }
}

fn entries(folder: &str) -> impl Iterator<Item = u32> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

struct Stat {
    name: String,
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (head, tail) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = tail.split(' ').collect();
        // The kernel counts in hundredths of a second here, whatever its own clock.
        let ticks = |index: usize| {
            let count = fields.get(index)?.parse::<u64>().ok()?;
            Some(Duration::from_millis(count * 10))
        };
        Some(Self {
            name: head.split_once(" (")?.1.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}
