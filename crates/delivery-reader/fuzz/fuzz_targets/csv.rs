//! Reads the input, after one byte of options, as a CSV file and as a list.
#![no_main]

use delivery_reader::{ContentTypeHint, TextFormat};
use delivery_reader_fuzz::{read, table_options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    for format in [TextFormat::Csv, TextFormat::List] {
        let hint = ContentTypeHint {
            format,
            gzip: false,
        };
        read(bytes, hint, &table_options(*options));
    }
});
