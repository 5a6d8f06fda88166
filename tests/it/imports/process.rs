//! Imports of a killed service, of a disconnected client, and of a file larger than the memory limit.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::imports::invalid_input::stored;
use crate::imports::worker::{block_chunk, something_is_blocked};
use crate::imports::{CSV, JSON, LIST, codes, counts, of_file, start};
use crate::support::process::{Process, answer};
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually};

/// A shop and a set in a database that no service uses.
async fn prepare() -> (TestApp, Shop, CouponSet) {
    let (app, shop, set) = start().await;
    app.app.stop().await;
    (app, shop, set)
}

const ROWS: usize = 400_000;

/// The code of a row, from 0. The last of each thousand repeats a code of an earlier chunk, or of its own if it is the
/// first.
fn code(row: usize) -> String {
    format!("CODE-{:06}", first_row(row).unwrap_or(row))
}

/// Row in which the code of a duplicate occurred first.
fn first_row(row: usize) -> Option<usize> {
    (row % 1000 == 999).then(|| row.checked_sub(60_001).unwrap_or(row - 1))
}

#[tokio::test]
async fn kill_9_in_the_middle_of_an_import_resumes_it_and_counts_nothing_twice() {
    let (app, shop, set) = prepare().await;
    let service = Process::start(&app.database);
    let file: String = (0..ROWS).map(|row| code(row) + "\n").collect();
    let request = format!("POST {}/imports", set.path());
    let upload = service.send(&shop.key, &request, LIST, &file);
    let ((status, import), block) = tokio::join!(upload, block_chunk(&app, 3));
    assert_eq!(status, 201, "{import}");
    let request = format!("GET /v1/imports/{}", import["id"].as_str().unwrap());
    something_is_blocked(&app).await;
    let (_, import) = service.send(&shop.key, &request, JSON, "").await;
    assert_eq!(import["status"], "inProgress");
    assert_eq!(of_file(&import), [150_000, 37]);
    let progress = &import["progress"];
    for measured in ["rowsPerSecond", "remainingSeconds"] {
        assert!(progress[measured].as_i64() > Some(0), "{progress}");
    }

    service.kill();
    let service = Process::start(&app.database);
    // PostgreSQL still executes the dead service's last statement: a commit that no client learns of.
    block.rollback().await.unwrap();
    eventually("the import is claimed again", async || {
        (app.database.query_value("select epoch from imports").await == 2).then_some(())
    })
    .await;
    let import = eventually("the import is over", async || {
        let (_, import) = service.send(&shop.key, &request, JSON, "").await;
        (import["status"] != "inProgress").then_some(import)
    })
    .await;
    assert_eq!(import["status"], "finished");
    assert_eq!(counts(&import), [400_000, 399_600, 400, 400]);

    let rows = (0..ROWS).filter(|row| first_row(*row).is_none());
    assert!(
        codes(&app).await.into_iter().eq(rows.map(code)),
        "each code once, in the order of the file"
    );
    let query = "select count(*), min(ordinal), max(ordinal), max(l.size) as size, max(l.lot_no) as lots, max(l.state) as state
        from cards c join lots l using (tenant_id, set_no, lot_no)";
    let expected = json!([{"count": 399_600, "min": 1, "max": 399_600, "size": 399_600, "lots": 1, "state": "open"}]);
    assert_eq!(app.database.query_rows(query).await, expected);
    let query = "select row_no, line, code, first_line from import_errors order by row_no";
    let duplicates = (0..ROWS).filter_map(|row| {
        let first = first_row(row)? + 1;
        Some(json!({"row_no": row + 1, "line": row + 1, "code": code(row), "first_line": first}))
    });
    assert_eq!(
        app.database.query_rows(query).await,
        duplicates.collect::<serde_json::Value>()
    );
    let request = format!("GET {}", set.path());
    let (_, set) = service.send(&shop.key, &request, JSON, "").await;
    assert_eq!(
        (&set["quantity"], &set["available"]),
        (&json!(399_600), &json!(399_600))
    );
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_an_upload_leaves_nothing_behind() {
    let (app, shop, set) = prepare().await;
    let mut service = Process::start(&app.database);
    let into_set = format!("POST {}/imports", set.path());
    let form = "multipart/form-data; boundary=frontier";
    let part = "--frontier\r\nContent-Disposition: form-data; name=";
    let fields = format!(
        "{part}\"type\"\r\n\r\ncoupons\r\n{part}\"couponSetId\"\r\n\r\n{}\r\n{part}\"file\"\r\n\r\n",
        set.id
    );
    let codes = "code\n".to_owned() + &"A\n".repeat(1 << 20);
    for (request, kind, body) in [
        (into_set.as_str(), CSV, codes.clone()),
        (&into_set, LIST, codes.clone()),
        (
            &into_set,
            JSON,
            "{\"codes\": [".to_owned() + &"\"A\",".repeat(1 << 19),
        ),
        ("POST /v1/imports", form, fields + &codes),
    ] {
        let mut stream = service.open(&shop.key, request, kind, 4 << 20).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        eventually("some of the upload is in a file", async || {
            service
                .unnamed_files()
                .iter()
                .any(|length| *length >= 1 << 20)
                .then_some(())
        })
        .await;
        assert_eq!(service.temporary_files(), 0, "it has no name");
        drop(stream);
        eventually("the file is gone", async || {
            service.unnamed_files().is_empty().then_some(())
        })
        .await;
    }
    // The service ends when all requests in progress are over.
    assert!(service.terminate().success());
    assert_eq!(service.temporary_files(), 0);
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn the_memory_of_the_service_does_not_grow_with_the_file() {
    const LINE: usize = 1024;
    const MIB: u64 = 1 << 20;
    let (app, shop, set) = prepare().await;
    let service = Process::start(&app.database);
    let request = format!("POST {}/imports?codeColumn=1", set.path());
    let note = "x".repeat(LINE - "00000000;\n".len());
    let import = async |lines: std::ops::Range<usize>| {
        let length = lines.len() * LINE;
        let mut stream = service.open(&shop.key, &request, CSV, length as u64).await;
        for start in lines.step_by(1024) {
            let block: Vec<String> = (start..start + 1024)
                .map(|n| format!("{n:08};{note}\n"))
                .collect();
            stream.write_all(block.concat().as_bytes()).await.unwrap();
        }
        let (status, import) = answer(stream).await;
        assert_eq!(status, 201, "{import}");
        let request = format!("GET /v1/imports/{}", import["id"].as_str().unwrap());
        eventually("the import is over", async || {
            let (_, import) = service.send(&shop.key, &request, JSON, "").await;
            (import["status"] == "finished").then_some(())
        })
        .await;
        service.peak_memory()
    };
    let small = import(0..1024).await;
    // Larger than the permitted growth in two ways: bytes of the file, and rows of many chunks.
    let big = import(1024..129 * 1024).await;
    eprintln!(
        "{} MiB after 1 MiB, {} MiB after 128 MiB",
        small / MIB,
        big / MIB
    );
    assert!(
        big - small < 64 * MIB,
        "it grew by {} MiB",
        (big - small) / MIB
    );
}
