//! Embeds the SQL functions and views of every feature, `src/<feature>/sql/<name>.sql`, in the order in which they are
//! applied: functions before views, which are checked when they are created, and each kind in the order of its paths.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[expect(clippy::disallowed_methods, reason = "cargo's own variable")]
fn main() -> io::Result<()> {
    // A new file changes its folder. `sqlx::migrate!` does not notice new migrations by itself.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    for feature in entries(Path::new("src"))? {
        let folder = feature.join("sql");
        if folder.is_dir() {
            for path in entries(&folder)? {
                let text = fs::read_to_string(&path)?;
                let is_view = text
                    .lines()
                    .any(|line| line.starts_with("create or replace view "));
                files.push((is_view, path));
            }
        }
    }
    files.sort();

    let mut code = String::from("[\n");
    for (_, path) in files {
        let path = path.display().to_string();
        // Writing to a string does not fail.
        let _ = writeln!(
            code,
            "    File {{ path: {path:?}, text: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {path:?})) }},"
        );
    }
    code.push(']');
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(PathBuf::from(out).join("sql_files.rs"), code)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}
