//! Reads the input, after one byte of options, as the records of an XLS workbook.
//!
//! They become a stream of a compound file, so that mutations reach the records. If the first record is a whole compound
//! file, that is read as it is.
#![no_main]

use std::io::{Cursor, Write};

use cfb::CompoundFile;
use delivery_reader::{ContentTypeHint, TextFormat};
use delivery_reader_fuzz::{read, table_options};
use libfuzzer_sys::fuzz_target;

const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0";

fuzz_target!(|bytes: &[u8]| {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    let file = if bytes.starts_with(MAGIC) {
        bytes.to_vec()
    } else {
        let mut file = CompoundFile::create(Cursor::new(Vec::new())).expect("memory");
        let mut stream = file.create_stream("/Workbook").expect("a name");
        stream.write_all(bytes).expect("memory");
        drop(stream);
        file.flush().expect("memory");
        file.into_inner().into_inner()
    };
    let hint = ContentTypeHint {
        format: TextFormat::Csv,
        gzip: false,
    };
    read(&file, hint, &table_options(*options));
});
