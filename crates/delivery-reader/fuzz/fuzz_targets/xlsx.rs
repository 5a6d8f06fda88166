//! Reads the input, after one byte of options, as the parts of a workbook.
//!
//! The parts are separated by the byte 0xff and packed into a zip without compression, so that mutations reach the XML
//! and not the checksums around it.
#![no_main]

use std::io::{Cursor, Write};

use delivery_reader::{ContentTypeHint, TextFormat};
use delivery_reader_fuzz::{read, table_options};
use libfuzzer_sys::fuzz_target;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Names of the parts in the order of the input, and their content if the input has fewer.
const PARTS: [(&str, &[u8]); 5] = [
    ("xl/worksheets/sheet1.xml", b""),
    ("xl/sharedStrings.xml", b""),
    ("xl/styles.xml", b""),
    (
        "xl/workbook.xml",
        br#"<workbook><sheets><sheet name="a" r:id="r1"/></sheets></workbook>"#,
    ),
    (
        "xl/_rels/workbook.xml.rels",
        br#"<Relationships><Relationship Id="r1" Type="x/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="r2" Type="x/sharedStrings" Target="sharedStrings.xml"/>
<Relationship Id="r3" Type="x/styles" Target="styles.xml"/></Relationships>"#,
    ),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut parts = bytes.split(|byte| *byte == 0xff);
    for (name, default) in PARTS {
        zip.start_file(name, stored).expect("a name");
        zip.write_all(parts.next().unwrap_or(default))
            .expect("memory");
    }
    let workbook = zip.finish().expect("memory").into_inner();
    let hint = ContentTypeHint {
        format: TextFormat::Csv,
        gzip: false,
    };
    read(&workbook, hint, &table_options(*options));
});
