//! Reads the input, after one byte of options, as a package of any kind.
#![no_main]

use delivery_reader::{ContentTypeHint, TextFormat};
use delivery_reader_fuzz::{read, table_options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    for gzip in [false, true] {
        let hint = ContentTypeHint {
            format: TextFormat::Csv,
            gzip,
        };
        read(bytes, hint, &table_options(*options));
    }
});
