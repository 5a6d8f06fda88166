//! Reads the input as a JSON body.
#![no_main]

use delivery_reader::{ContentTypeHint, TableOptions, TextFormat};
use delivery_reader_fuzz::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let hint = ContentTypeHint {
        format: TextFormat::Json,
        gzip: false,
    };
    read(bytes, hint, &TableOptions::default());
});
