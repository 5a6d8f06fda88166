//! Processor time per thread group and process, read from `/proc`.

use std::fs;
use std::time::Duration;

/// Processor time used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub driver: Duration,
    pub service: Duration,
    pub postgresql: Duration,
}

/// Thread names that distinguish the parts of this process.
pub const DRIVER: &str = "driver";
pub const SERVICE: &str = "service";

impl Cpu {
    /// Reads the time used by the threads of this process and by the processes of its PostgreSQL.
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

/// Processor time that a process used so far, with all its threads.
pub fn of_process(process: u32) -> Duration {
    Stat::read(&format!("/proc/{process}/stat")).map_or(Duration::ZERO, |stat| stat.own)
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
        // The kernel reports hundredths of a second here, independent of its own tick.
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
