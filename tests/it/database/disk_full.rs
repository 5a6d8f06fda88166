//! Full disks: that of the database and that of uploads.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::OPERATOR_TOKEN;
use crate::support::database::{TestDatabase, url};
use crate::support::program::{
    Service, command, couponry, folder, is_root, put_cluster, receive, start_postgres, until,
};

/// A file system in memory of a fixed size, unmounted when the value is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Returns `None`, with a note, where the tests may not mount.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("the folder is ours");
        let mut mount = command("mount");
        mount.args(["-t", "tmpfs", "-o"]);
        mount.arg(format!("size={size},mode=0777"));
        mount.args(["none".as_ref(), at.as_os_str()]);
        let is_mounted = is_root() && mount.status().is_ok_and(|status| status.success());
        if !is_mounted {
            eprintln!("skipped: only root can mount a small disk");
            return None;
        }
        Some(Self(at))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("the disk is ours");
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A server may still be writing.
        let _ = command("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn start(dir: &Path, url: &str, uploads: &Path) -> Service {
    fs::create_dir_all(dir).expect("the folder is ours");
    let mut command = couponry(dir);
    command
        .env("DATABASE_URL", url)
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("TMPDIR", uploads);
    Service::start(dir, &mut command)
}

fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).expect("memory has space");
    encoder.finish().expect("memory has space")
}

fn codes(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("CODE-{n:06}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_does_not_fit_on_the_disk_is_refused_with_507_and_fits_when_there_is_space()
{
    let folder = folder();
    let Some(disk) = SmallDisk::mount(folder.path().join("uploads"), "1m") else {
        return;
    };
    let database = TestDatabase::create().await;
    tokio::task::block_in_place(|| {
        let service = start(&folder.path().join("service"), &database.url(), &disk.0);
        let shop = service.client(OPERATOR_TOKEN).new_shop();
        let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
        let imports = format!("{set}/imports");
        let many = json!({"codes": codes(100_000)});
        for _ in 0..2 {
            let refused = shop.post(&imports, &many).expect(507);
            assert_eq!(refused.str("code"), "storage-full");
            assert!(
                refused.text.contains("Nothing was stored"),
                "{}",
                refused.text
            );
        }
        // Small as it is sent, and too large where the outer of its packings is removed.
        let list = codes(200_000).join("\n");
        let packed = gzip(
            &gzip(list.as_bytes(), Compression::none()),
            Compression::fast(),
        );
        assert!(packed.len() < 1 << 20, "{}", packed.len());
        let headers = [("Content-Type", "application/gzip")];
        let mut stream = shop
            .begin("POST", &imports, &headers, packed.len())
            .expect("it listens");
        stream.write_all(&packed).expect("it reads");
        let refused = receive(stream).expect("an answer").expect(507);
        assert_eq!(refused.str("code"), "storage-full");

        let listed = shop.get("/v1/imports").expect(200);
        assert_eq!(listed.body["results"], json!([]));
        assert_eq!(fs::read_dir(&disk.0).expect("it is there").count(), 0);
        // What fits is stored meanwhile.
        shop.fill(&set, &["SMALL".to_owned()]);

        let grown = command("mount")
            .args(["-o", "remount,size=64m"])
            .arg(&disk.0)
            .status();
        assert!(grown.expect("mount is there").success());
        shop.fill(&set, &codes(100_000));
        assert_eq!(shop.get(&set).expect(200).body["available"], 100_001);
    });
}

#[test]
fn requests_fail_with_503_while_the_disk_of_the_database_is_full_and_leave_nothing_half_done() {
    let folder = folder();
    let Some(disk) = SmallDisk::mount(folder.path().join("pg"), "300m") else {
        return;
    };
    put_cluster(&disk.0);
    let server = start_postgres(&disk.0, false);
    let url = url(&server.connect_options("postgres"));
    let service = start(&folder.path().join("service"), &url, folder.path());
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &codes(5_000));
    let filler = disk.fill();

    // Refused, so that the space of the log is left to the assignments.
    let imports = format!("{set}/imports");
    let refused = shop
        .post(&imports, &json!({"codes": codes(20_000)}))
        .expect(503);
    assert_eq!(refused.str("code"), "unavailable");
    assert!(refused.text.contains("no disk space"), "{}", refused.text);
    // The pages that exist have space for some.
    let mut assigned = Vec::new();
    let refused = until("no page has space", || {
        let contact = format!("contact-{}", assigned.len());
        let reply = shop
            .assign(&set, &contact, Some(&contact))
            .expect("an answer");
        if reply.status == 201 {
            assigned.push(reply.str("couponCode").to_owned());
            return None;
        }
        Some(reply)
    });
    assert_eq!(refused.expect(503).str("code"), "unavailable");
    // What needs no space is still served.
    assert_eq!(shop.get(&set).expect(200).body["assigned"], assigned.len());

    fs::remove_file(filler).expect("it is ours");
    for (place, code) in assigned.iter().enumerate() {
        let contact = format!("contact-{place}");
        let replayed = shop
            .assign(&set, &contact, Some(&contact))
            .expect("an answer");
        assert_eq!(replayed.expect(200).str("couponCode"), code);
    }
    let contact = format!("contact-{}", assigned.len());
    let retried = shop
        .assign(&set, &contact, Some(&contact))
        .expect("an answer");
    assert_eq!(retried.expect(201).str("outcome"), "assigned");
    shop.fill(
        &set,
        &(1..=20_000)
            .map(|n| format!("LATER-{n}"))
            .collect::<Vec<_>>(),
    );
    let counters = shop.get(&set).expect(200).body;
    assert_eq!(counters["assigned"], assigned.len() + 1);
    assert_eq!(counters["quantity"], 25_000);
    drop(service);
    server.stop();
}
