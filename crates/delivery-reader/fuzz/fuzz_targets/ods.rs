//! Reads the input, after one byte of options, as the content of an ODS workbook.
//!
//! It is packed into a zip without compression, so that mutations reach the XML and not the checksums around it.
#![no_main]

use std::io::{Cursor, Write};

use delivery_reader::{ContentTypeHint, TextFormat};
use delivery_reader_fuzz::{read, table_options};
use libfuzzer_sys::fuzz_target;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const MEDIA_TYPE: &[u8] = b"application/vnd.oasis.opendocument.spreadsheet";

fuzz_target!(|bytes: &[u8]| {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, part) in [("mimetype", MEDIA_TYPE), ("content.xml", bytes)] {
        zip.start_file(name, stored).expect("a name");
        zip.write_all(part).expect("memory");
    }
    let workbook = zip.finish().expect("memory").into_inner();
    let hint = ContentTypeHint {
        format: TextFormat::Csv,
        gzip: false,
    };
    read(&workbook, hint, &table_options(*options));
});
