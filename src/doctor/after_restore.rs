//! `couponry doctor --after-restore`: withdraws the codes that were assigned after the backup.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use serde::Serialize;

use super::Arguments;
use crate::admin::{self, Error, with_database};
use crate::config::Config;
use crate::coupons::{BurnedSet, burn};
use crate::witness;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Burned {
    dry_run: bool,
    withdrawn: usize,
    missing_imports: usize,
    sets: Vec<BurnedSet>,
}

impl Burned {
    fn text(&self) -> String {
        let mut text = String::new();
        for set in &self.sets {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "coupon set {} of tenant {}: {} codes, {} imports are missing",
                set.coupon_set_id, set.tenant_id, set.withdrawn, set.missing_imports
            );
        }
        let _ = if self.dry_run {
            writeln!(text, "Codes to withdraw: {}.", self.withdrawn)
        } else {
            writeln!(text, "Withdrawn codes: {}.", self.withdrawn)
        };
        if self.missing_imports > 0 {
            text.push_str(
                "Import the missing files again, in their order and before any other, and repeat this command before codes are assigned.",
            );
        }
        text
    }
}

/// Prints how many codes of each set were withdrawn. The exit code is 1 if imports are missing.
pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<ExitCode, Error> {
    let Some(folder) = config.witness_dir.clone() else {
        return Err(Error::Refused("COUPONRY_WITNESS_DIR is not set".to_owned()));
    };
    let place = folder.clone();
    let records = tokio::task::spawn_blocking(move || witness::read(&folder))
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Error::Read(error, place.clone()))?;
    if records.files == 0 {
        let detail = format!("{} contains no record of a witness", place.display());
        return Err(Error::Refused(detail));
    }
    let sets = with_database(config, async |database| {
        Ok(burn(database, &records, arguments.dry_run).await?)
    })
    .await?;
    let burned = Burned {
        dry_run: arguments.dry_run,
        withdrawn: sets.iter().map(|set| set.withdrawn).sum(),
        missing_imports: sets.iter().map(|set| set.missing_imports).sum(),
        sets,
    };
    admin::print(arguments.json, &burned, burned.text())?;
    Ok(if burned.missing_imports == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
