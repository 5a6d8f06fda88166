//! Texts that are not UTF-8.

use encoding_rs::{Encoding, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{
    super::{
        encoding::{Utf8Reader, detect, named},
        *,
    },
    CODE_NAMES,
    files::{deliver, deliver_as, fault, limits},
};

const TABLE: &str = "código;nombre\r\nÑANDÚ-1;\"dos\r\nlíneas\"\r\nA€2;zoë\r\n";

fn utf_16(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let mark = mark.then_some('\u{feff}');
    let text: String = mark.into_iter().chain(text.chars()).collect();
    let unit = |unit: u16| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    };
    text.encode_utf16().flat_map(unit).collect()
}

fn in_encoding(text: &str, encoding: &'static Encoding) -> Vec<u8> {
    encoding.encode(text).0.into_owned()
}

fn in_named(encoding: &str) -> TableOptions {
    TableOptions {
        encoding: named(encoding),
        code_names: CODE_NAMES,
        ..TableOptions::default()
    }
}

#[test]
fn a_text_is_read_in_its_encoding_and_lines_stay_right() {
    let expected = [(2, Ok("ÑANDÚ-1".to_owned())), (4, Ok("A€2".to_owned()))];
    for (bytes, options, encoding) in [
        (TABLE.as_bytes().to_vec(), in_named(""), None),
        (format!("\u{feff}{TABLE}").into_bytes(), in_named(""), None),
        (utf_16(TABLE, false, true), in_named(""), Some("UTF-16LE")),
        (utf_16(TABLE, true, true), in_named(""), Some("UTF-16BE")),
        (utf_16(TABLE, false, false), in_named(""), Some("UTF-16LE")),
        (utf_16(TABLE, true, false), in_named(""), Some("UTF-16BE")),
        (
            in_encoding(TABLE, WINDOWS_1252),
            in_named(""),
            Some("windows-1252"),
        ),
        (
            in_encoding(TABLE, WINDOWS_1252),
            in_named("latin1"),
            Some("windows-1252"),
        ),
        (
            utf_16(TABLE, true, false),
            in_named("utf-16be"),
            Some("UTF-16BE"),
        ),
        // A byte order mark overrides the option.
        (
            utf_16(TABLE, true, true),
            in_named("windows-1252"),
            Some("UTF-16BE"),
        ),
    ] {
        let (layout, rows) = deliver(&bytes, &options).expect("a table");
        assert_eq!(layout.encoding, encoding, "{bytes:?}");
        assert_eq!(rows, expected, "{encoding:?}");
        assert_eq!(layout.table.expect("a table").code_column, "código");
    }
}

#[test]
fn a_list_is_read_in_its_encoding_too() {
    let bytes = utf_16("A1 B2\nÑ3", false, false);
    let read = deliver_as(
        TextFormat::List,
        false,
        &bytes,
        &TableOptions::default(),
        &limits(),
    );
    let (layout, rows) = read.expect("a list");
    assert_eq!(layout.encoding, Some("UTF-16LE"));
    assert_eq!(rows[2], (2, Ok("Ñ3".to_owned())));
}

#[test]
fn the_whole_text_decides_even_if_only_its_end_is_beyond_ascii() {
    let ascii = "CODE-0001,x\n".repeat(20_000);
    for (end, encoding) in [
        (&b"caf\xe9-2,y\n"[..], WINDOWS_1252),
        ("café-2,y\n".as_bytes(), UTF_8),
        // UTF-8 with a fault is still UTF-8.
        ("café-2,é\nñ\u{fffd}".as_bytes(), UTF_8),
        (b"caf\xc3\xa9-2,\xc3\xa9\nfoo\xff", UTF_8),
        // A text that was cut inside its last character is not another encoding, but an é at its end is.
        (b"caf\xc3", UTF_8),
        (b"3\xe2\x82", UTF_8),
        (b"caf\xe9", WINDOWS_1252),
        // As many characters as faults.
        (b"\xc3\x91-1\n\xd1-2\n", UTF_8),
        (
            &in_encoding("\u{30b3}\u{30fc}\u{30c9}番号ノート,テスト\n", SHIFT_JIS),
            SHIFT_JIS,
        ),
    ] {
        let text = [ascii.as_bytes(), end].concat();
        assert_eq!(
            detect(&text[..], None).expect("a text").encoding,
            encoding,
            "{end:?}"
        );
    }
}

#[test]
fn a_text_of_two_encodings_is_rejected_where_few_letters_could_decide() {
    let text = b"code\n\xc3\x91-1\n\xd1-2\n\xd1-3\n";
    assert_eq!(
        fault(deliver(text, &TableOptions::default())),
        DeliveryFault::MixedEncodings
    );
    let read = deliver(text, &in_named("windows-1252"));
    let (layout, _) = read.expect("the caller knows its encoding");
    assert_eq!(layout.warnings, []);
}

#[test]
fn an_old_encoding_is_guessed_by_its_letters() {
    use encoding_rs::{WINDOWS_1250, WINDOWS_1251};
    for (text, encoding) in [
        ("código;uso\nÑU-1;sí\n", WINDOWS_1252),
        ("code;für wen\nA1;Müller\n", WINDOWS_1252),
        ("code;prénom\nA1;Zoë\n", WINDOWS_1252),
        ("code\ncafé\n", WINDOWS_1252),
        ("kod;imię\nA1;Żółć i gęś na łące\nA2;źdźbło\n", WINDOWS_1250),
        ("код;имя\nA1;Анна Каренина\nA2;Пётр\n", WINDOWS_1251),
    ] {
        let bytes = in_encoding(text, encoding);
        let (layout, _) = deliver(&bytes, &with_code_column("1")).expect("a table");
        assert_eq!(layout.encoding, Some(encoding.name()), "{text}");
        assert_eq!(layout.warnings[0].kind, "encodingGuessed");
    }
}

fn with_code_column(column: &str) -> TableOptions {
    TableOptions {
        code_column: Some(column.to_owned()),
        ..TableOptions::default()
    }
}

#[test]
fn a_character_may_lie_across_two_blocks() {
    for padding in 65_530..65_540 {
        let text = "x".repeat(padding) + "€ñ€ñ€ñ";
        assert_eq!(
            detect(text.as_bytes(), None).expect("a text").encoding,
            UTF_8,
            "{padding}"
        );
    }
}

#[test]
fn few_nuls_make_no_utf_16() {
    for text in [
        &b"A\0"[..],
        b"code\nA\0B\nC\n",
        b"\0\0\0\0",
        b"A\0B\0\0C\0D",
        b"A\0\r\n",
        b"\0A\0B\nC",
        b"",
    ] {
        assert_eq!(
            detect(text, None).expect("a text").encoding,
            UTF_8,
            "{text:?}"
        );
    }
    let czech = utf_16("kód;poznámka\nA1;čtyři\n", false, false);
    assert_eq!(detect(&czech[..], None).expect("a text").encoding, UTF_16LE);
    assert_eq!(
        detect(&b"A\0B\0"[..], None).expect("a text").encoding,
        UTF_16LE
    );
    assert_eq!(
        detect(&b"\0A\0B"[..], None).expect("a text").encoding,
        UTF_16BE
    );
}

#[test]
fn a_malformed_sequence_rejects_only_its_row() {
    let mut bytes = utf_16("code\nA1\nB", false, true);
    // Half of a pair.
    bytes.extend([0x00, 0xd8]);
    bytes.extend(utf_16("2\nC3\n", false, false));
    let (_, rows) = deliver(&bytes, &TableOptions::default()).expect("a table");
    assert_eq!(rows[0], (2, Ok("A1".to_owned())));
    assert_eq!(rows[1], (3, Err(RejectionReason::InvalidEncoding)));
    assert_eq!(rows[2], (4, Ok("C3".to_owned())));
    let (_, rows) = deliver(b"code\nA1\ncaf\xe9\n", &in_named("UTF-8")).expect("a table");
    assert_eq!(rows[1], (3, Err(RejectionReason::InvalidEncoding)));
}

#[test]
fn bytes_that_are_not_text_are_a_fault() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(100_000)
    .collect();
    assert_eq!(
        fault(deliver(&noise, &TableOptions::default())),
        DeliveryFault::NotText
    );
}

#[test]
fn names_of_encodings_are_those_of_the_standard() {
    assert_eq!(named(" Latin1 "), Some(WINDOWS_1252));
    assert_eq!(named("utf8"), Some(UTF_8));
    assert_eq!(named("utf-16"), Some(UTF_16LE));
    for unknown in ["", "utf-32", "klingon", "iso-2022-kr"] {
        assert_eq!(named(unknown), None, "{unknown}");
    }
}

#[test]
fn decoding_does_not_depend_on_the_size_of_the_reads() {
    let text = "Ñ€😀ab\n".repeat(30_000);
    let bytes = utf_16(&text, false, true);
    for size in [1, 3, 4096, 1 << 20] {
        let mut decoded = Utf8Reader::new(&bytes[..], UTF_16LE);
        let (mut whole, mut buffer) = (Vec::new(), vec![0; size]);
        loop {
            match io::Read::read(&mut decoded, &mut buffer).expect("no fault") {
                0 => break,
                read => whole.extend_from_slice(&buffer[..read]),
            }
        }
        assert!(whole == text.as_bytes(), "{size}");
    }
}
