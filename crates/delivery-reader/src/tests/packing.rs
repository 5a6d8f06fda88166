//! Packed deliveries.

use std::io::Write;

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    super::*,
    files::{codes, deliver, deliver_as, fault, gzip, limits, sheet_of, zip, zip_with},
    read_json, rules,
};

const FILE: &[u8] = b"code;name\nA1;ann\nB2;bob\n";

fn fault_of(bytes: &[u8]) -> DeliveryFault {
    fault(deliver(bytes, &TableOptions::default()))
}

#[test]
fn gzip_is_unpacked_for_every_format() {
    assert_eq!(codes(&gzip(FILE)), ["A1", "B2"]);
    let members = [gzip(&FILE[..12]), gzip(b""), gzip(&FILE[12..])].concat();
    assert_eq!(codes(&members), ["A1", "B2"]);
    let list = deliver_as(
        TextFormat::List,
        true,
        &gzip(b"A B"),
        &TableOptions::default(),
        &limits(),
    );
    assert_eq!(list.expect("a list").1.len(), 2);
    let json = gzip(br#"{"codes": ["A", "B"]}"#);
    let json = deliver_as(
        TextFormat::Json,
        true,
        &json,
        &TableOptions::default(),
        &limits(),
    );
    assert_eq!(json.expect("JSON").1.len(), 2);
}

#[test]
fn gzip_that_is_cut_or_damaged_is_a_fault() {
    let whole = gzip(&FILE.repeat(10_000));
    for end in [3, 9, 12, whole.len() / 2, whole.len() - 1] {
        assert_eq!(fault_of(&whole[..end]), DeliveryFault::CutShort, "{end}");
    }
    let mut damaged = whole.clone();
    damaged[whole.len() - 6] ^= 1;
    assert_eq!(
        fault_of(&damaged),
        DeliveryFault::Damaged { what: "gzip data" }
    );
    let garbage = [&whole[..], b"garbage of some length"].concat();
    assert_eq!(
        fault_of(&garbage),
        DeliveryFault::Damaged { what: "gzip data" }
    );
    let plain = deliver_as(
        TextFormat::Csv,
        true,
        FILE,
        &TableOptions::default(),
        &limits(),
    );
    assert_eq!(fault(plain), DeliveryFault::NotGzip);
    let body = gzip(&br#"{"codes": ["A", "B"]}"#.repeat(100));
    let cut = deliver_as(
        TextFormat::Json,
        false,
        &body[..20],
        &TableOptions::default(),
        &limits(),
    );
    assert_eq!(fault(cut), DeliveryFault::CutShort);
}

#[test]
fn the_only_file_of_a_zip_is_read() {
    let packed = zip(&[
        ("codes/", b""),
        ("codes/march.csv", FILE),
        ("__MACOSX/codes/._march.csv", b"x"),
        (".DS_Store", b"x"),
        ("codes/Thumbs.db", b"x"),
    ]);
    assert_eq!(codes(&packed), ["A1", "B2"]);
    let stored = zip_with(&[("codes.csv", FILE)], CompressionMethod::Stored);
    assert_eq!(codes(&stored), ["A1", "B2"]);
    assert_eq!(fault_of(&zip(&[])), DeliveryFault::EmptyArchive);
    assert_eq!(fault_of(&zip(&[("a/", b"")])), DeliveryFault::EmptyArchive);
    let several = fault_of(&zip(&[("a.csv", FILE), ("b/c.csv", FILE)]));
    assert_eq!(
        several.to_string(),
        "the zip archive contains 2 files, but only one can be imported; send one of \"a.csv\", \"b/c.csv\""
    );
}

#[test]
fn zips_of_any_writer_and_size_are_unpacked() {
    let text = "A0000001\n".repeat(1_200_000);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let large = {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.start_file("codes.csv", stored.large_file(true))
            .expect("a file");
        zip.write_all(text.as_bytes()).expect("memory");
        zip.finish().expect("an archive").into_inner()
    };
    assert_eq!(codes(&large).len(), 1_200_000);
    // A stream writer cannot go back to write the sizes into the first header.
    let streamed = {
        let mut zip = ZipWriter::new_stream(Vec::new());
        let options = SimpleFileOptions::default();
        zip.start_file("codes.csv", options).expect("a file");
        zip.write_all(FILE).expect("memory");
        zip.finish().expect("an archive").into_inner()
    };
    assert_eq!(codes(&streamed), ["A1", "B2"]);
    let behind_a_stub = [&b"PK\x03\x04stub"[..], &streamed].concat();
    assert_eq!(codes(&behind_a_stub), ["A1", "B2"]);
}

/// Overwrites bytes of the two headers of the only file, at these offsets.
fn patched(mut zip: Vec<u8>, local: usize, central: usize, bytes: &[u8]) -> Vec<u8> {
    let directory = zip
        .windows(4)
        .position(|it| it == b"PK\x01\x02")
        .expect("a directory");
    zip[local..local + bytes.len()].copy_from_slice(bytes);
    zip[directory + central..directory + central + bytes.len()].copy_from_slice(bytes);
    zip
}

#[test]
fn a_zip_that_cannot_be_unpacked_is_a_fault() {
    let packed = zip(&[("codes.csv", &FILE.repeat(100))]);
    let name = "codes.csv".to_owned();
    assert_eq!(
        fault_of(&patched(packed.clone(), 6, 8, &[1, 0])),
        DeliveryFault::Encrypted { name: name.clone() }
    );
    assert_eq!(
        fault_of(&patched(packed.clone(), 8, 10, &[14, 0])),
        DeliveryFault::UnknownMethod { name }
    );
    let damaged = DeliveryFault::Damaged {
        what: "zip archive",
    };
    assert_eq!(fault_of(&patched(packed.clone(), 14, 16, &[0; 4])), damaged);
    assert_eq!(
        fault_of(&packed[..packed.len() - 30]),
        DeliveryFault::NoDirectory
    );
    assert_eq!(fault_of(&packed[..60]), DeliveryFault::NoDirectory);
}

#[test]
fn nested_packages_are_unpacked_up_to_a_limit() {
    let workbook = sheet_of(&[&["code"], &["A1"]]);
    assert_eq!(codes(&zip(&[("codes.xlsx", &workbook)])), ["A1"]);
    assert_eq!(codes(&gzip(&workbook)), ["A1"]);
    assert_eq!(codes(&gzip(&zip(&[("codes.csv", FILE)]))), ["A1", "B2"]);
    assert_eq!(codes(&gzip(&gzip(FILE))), ["A1", "B2"]);
    let deep = (0..4).fold(FILE.to_vec(), |bytes, _| gzip(&bytes));
    assert_eq!(fault_of(&deep), DeliveryFault::PackedTooOften);
}

#[test]
fn other_formats_are_named() {
    for (bytes, name) in [
        (&b"%PDF-1.7\n"[..], "a PDF"),
        (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
        (b"BZh91AY&SY", "compressed with bzip2"),
    ] {
        assert_eq!(fault_of(bytes), DeliveryFault::OtherFormat { name });
        assert_eq!(fault_of(&gzip(bytes)), DeliveryFault::OtherFormat { name });
    }
    assert_eq!(codes(b"BZhappy\nB2\n"), ["BZhappy", "B2"]);
    let options = TableOptions {
        sheet: Some("Codes".to_owned()),
        ..TableOptions::default()
    };
    let wanted = "Codes".to_owned();
    assert_eq!(
        fault(deliver(FILE, &options)),
        DeliveryFault::NotAWorkbook { wanted }
    );
}

#[test]
fn a_fault_below_a_json_body_is_that_fault() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(DeliveryFault::CutShort.into())
        }
    }
    let body = std::io::Read::chain(&b"{\"codes\": ["[..], Broken);
    let read = read_json(body, rules(), &mut |_| Ok::<(), ()>(()));
    assert!(
        matches!(read, Err(ReadError::Fault(DeliveryFault::CutShort))),
        "{read:?}"
    );
}
