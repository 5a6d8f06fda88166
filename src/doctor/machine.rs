//! Faults of the settings and of this machine.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::config::{self, Config, Faults};

/// Reports the settings that are not valid. Without them there is nothing else to examine.
pub(super) fn settings(faults: Faults) -> Vec<Finding> {
    let finding = |fault: config::Fault| {
        Finding::fault(
            "settings",
            format!("{} {}.", fault.setting, fault.detail),
            "The service does not start.",
            format!("Correct {}; `couponry --help` describes it.", fault.setting),
        )
    };
    faults.0.into_iter().map(finding).collect()
}

/// Warns if there is no operator token.
pub(super) fn operator_token(config: &Config) -> Option<Finding> {
    let is_missing = config.operator_token.is_none() && config.database_url.is_some();
    is_missing.then(|| {
        Finding::warning(
            "operator-token",
            "COUPONRY_OPERATOR_TOKEN is not set.",
            "The API of the operator is disabled. Tenants can be managed on the command line only.",
            "Set COUPONRY_OPERATOR_TOKEN to the output of `openssl rand -hex 24`.",
        )
    })
}

/// Checks that uploads can be stored: on a disk, with space for two of the largest.
pub(super) fn temporary_folder(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "upload-folder";
    let folder = config::temporary_folder();
    let shown = folder.display();
    if let Err(error) = tempfile::tempfile() {
        return vec![Finding::fault(
            CHECK,
            format!("The folder for uploads, {shown}, cannot be written: {error}."),
            "Each upload fails with a 507.",
            "Set TMPDIR to a folder on a disk that the service may write, such as /var/tmp.",
        )];
    }
    let mut findings = Vec::new();
    if is_in_memory(&folder) {
        findings.push(Finding::warning(
            CHECK,
            format!("The folder for uploads, {shown}, is in memory (tmpfs)."),
            "An upload of COUPONRY_IMPORT_MAX_BYTES takes this much memory, and the kernel may end the service.",
            "Set TMPDIR to a folder on a disk, such as /var/tmp.",
        ));
    }
    let needed = config.import_max_bytes.saturating_mul(2);
    let free = rustix::fs::statvfs(&folder).map(|found| found.f_bavail * found.f_frsize);
    if let Ok(free) = free
        && free < needed
    {
        findings.push(Finding::warning(
            CHECK,
            format!("The folder for uploads, {shown}, has {free} bytes left. Two of the largest uploads take {needed}."),
            "Uploads fail with a 507 while there is no space.",
            "Free space, set TMPDIR to a folder with more, or lower COUPONRY_IMPORT_MAX_BYTES.",
        ));
    }
    findings
}

/// Checks that the witness can be written, and outlives the machine's memory.
pub(super) fn witness_folder(config: &Config) -> Option<Finding> {
    const CHECK: &str = "witness-folder";
    let folder = config.witness_dir.as_deref()?;
    let shown = folder.display();
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Some(Finding::fault(
            CHECK,
            format!("The folder of the witness, {shown}, cannot be written: {error}."),
            "The service does not start. If it runs, a restore cannot tell which codes were assigned after the backup.",
            "Create the folder, give it to the user of the service, and let the unit or the container write it; or correct COUPONRY_WITNESS_DIR.",
        ));
    }
    is_in_memory(folder).then(|| {
        Finding::warning(
            CHECK,
            format!("The folder of the witness, {shown}, is in memory (tmpfs)."),
            "Its files are lost when the machine or the container stops, and a restore cannot tell which codes were assigned after the backup.",
            "Set COUPONRY_WITNESS_DIR to a folder on a disk that is not lost together with the database.",
        )
    })
}

fn is_in_memory(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    is_tmpfs(&mounts, &real)
}

/// Returns true if the mount point that contains the folder has the type tmpfs. `mounts` is the text of `/proc/self/mounts`.
fn is_tmpfs(mounts: &str, folder: &Path) -> bool {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let containing = mounts.filter(|(point, _)| folder.starts_with(point));
    // The later of two mounts on one point hides the earlier.
    containing
        .max_by_key(|(point, _)| point.len())
        .is_some_and(|(_, kind)| kind == "tmpfs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_latest_mount_decides_whether_a_folder_is_in_memory() {
        let mounts = "/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp/disk ext4 rw 0 0\n\
            /dev/sdc /hidden ext4 rw 0 0\ntmpfs /hidden tmpfs rw 0 0\n";
        for (folder, expected) in [
            ("/var/tmp", false),
            ("/tmp", true),
            ("/tmp/uploads", true),
            ("/tmp/disk/uploads", false),
            ("/tmpfile", false),
            ("/hidden", true),
        ] {
            assert_eq!(is_tmpfs(mounts, Path::new(folder)), expected, "{folder}");
        }
    }
}
