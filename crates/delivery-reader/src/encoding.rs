//! Detects the encoding of a text, and converts the text to UTF-8.
//!
//! The whole text is examined. A byte order mark decides; else NUL in most second bytes means UTF-16; else a text that is
//! valid UTF-8 is UTF-8, because no other text is valid by chance; else the likeliest legacy encoding is guessed. A text
//! with at least as many multi-byte characters of UTF-8 as faults stays UTF-8: its bad rows are reported and its good rows
//! are correct, whereas another encoding would garble all of them. A text with some characters of UTF-8 and a few more faults
//! is rejected: either guess could garble codes.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::DeliveryFault;

/// Size of the buffers, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// Most bytes from which a legacy encoding is guessed.
const MAX_SAMPLE_BYTES: usize = 1024 * 1024;

/// Letters beyond ASCII that are enough to distinguish legacy encodings.
const MIN_CERTAIN_LETTERS: u64 = 8;

/// Replaces malformed sequences. It is invalid in UTF-8, so rows that contain it are rejected.
const UNDECODABLE: u8 = 0xff;

/// Finds the encoding of a name such as `UTF-16` or `latin1`.
#[must_use]
pub fn named(label: &str) -> Option<&'static Encoding> {
    // The WHATWG standard maps names of encodings that must not be decoded to `REPLACEMENT`.
    Encoding::for_label(label.trim().as_bytes())
        .filter(|encoding| *encoding != encoding_rs::REPLACEMENT)
}

/// The encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DetectedEncoding {
    pub(crate) encoding: &'static Encoding,
    /// It was guessed from the letters.
    pub(crate) guessed: bool,
}

impl DetectedEncoding {
    pub(crate) fn certain(encoding: &'static Encoding) -> Self {
        let guessed = false;
        Self { encoding, guessed }
    }
}

/// Reads a text to its end and detects its encoding. `declared` is the caller's choice; only a byte order mark overrides
/// it.
pub(crate) fn detect(
    mut input: impl Read,
    declared: Option<&'static Encoding>,
) -> io::Result<DetectedEncoding> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut length = fill(&mut input, &mut block)?;
    if let Some((encoding, _)) = Encoding::for_bom(&block[..length]) {
        return Ok(DetectedEncoding::certain(encoding));
    }
    if let Some(encoding) = declared.or_else(|| utf_16(&block[..length])) {
        return Ok(DetectedEncoding::certain(encoding));
    }
    let control = control_characters(&block[..length]);
    let binary = control * 20 > length;
    let mut evidence = EncodingEvidence::new();
    while length > 0 {
        let incomplete = evidence.add(&block[..length]);
        block.copy_within(length - incomplete..length, 0);
        let more = fill(&mut input, &mut block[incomplete..])?;
        if more == 0 {
            evidence.add_end(&block[..incomplete]);
            break;
        }
        length = incomplete + more;
    }
    if evidence.characters >= evidence.faults {
        Ok(DetectedEncoding::certain(UTF_8))
    } else if binary {
        Err(DeliveryFault::NotText.into())
    } else if evidence.characters > 0 && evidence.faults < MIN_CERTAIN_LETTERS {
        Err(DeliveryFault::MixedEncodings.into())
    } else {
        Ok(DetectedEncoding {
            encoding: evidence.guess(),
            guessed: true,
        })
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns UTF-16 in the byte order of the block, if enough of its bytes are NUL: text in any script has digits, delimiters
/// and line breaks.
fn utf_16(block: &[u8]) -> Option<&'static Encoding> {
    // A text that fits into the block has both bytes of its last character.
    let pairs = block.len() / 2;
    if pairs < 2 || !block.len().is_multiple_of(2) {
        return None;
    }
    // A line break has two bytes in UTF-16. A single byte is half of a letter there, unless all are single.
    let breaks = |pair: &&[u8]| pair.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let mut breaks = block.chunks_exact(2).filter(breaks).peekable();
    if breaks.peek().is_some() && !breaks.any(|pair| pair.contains(&0)) {
        return None;
    }
    let nul = |place: usize| {
        block
            .chunks_exact(2)
            .filter(|pair| pair[place] == 0)
            .count()
    };
    let (first, second) = (nul(0), nul(1));
    if second * 5 > pairs && first * 20 <= second {
        Some(UTF_16LE)
    } else if first * 5 > pairs && second * 20 <= first {
        Some(UTF_16BE)
    } else {
        None
    }
}

fn control_characters(block: &[u8]) -> usize {
    let control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    block.iter().filter(|byte| control(byte)).count()
}

/// Counts of the bytes of a text beyond ASCII.
struct EncodingEvidence {
    /// Multi-byte characters of UTF-8.
    characters: u64,
    /// Sequences that are invalid in UTF-8.
    faults: u64,
    sampled: usize,
    detector: EncodingDetector,
}

impl EncodingEvidence {
    fn new() -> Self {
        Self {
            characters: 0,
            faults: 0,
            sampled: 0,
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
        }
    }

    /// Adds a block. Returns the number of bytes at its end that may be the start of a character.
    fn add(&mut self, block: &[u8]) -> usize {
        if block.is_ascii() {
            return 0;
        }
        let mut incomplete = 0;
        for chunk in block.utf8_chunks() {
            let starts = chunk.valid().bytes().filter(|byte| *byte >= 0xc0);
            self.characters += starts.count() as u64;
            let invalid = chunk.invalid();
            match str::from_utf8(invalid) {
                Err(error)
                    if error.error_len().is_none()
                        && invalid.as_ptr_range().end == block.as_ptr_range().end =>
                {
                    incomplete = invalid.len();
                }
                Err(_) => self.faults += 1,
                Ok(_) => {}
            }
        }
        let sample = &block[..(block.len() - incomplete).min(MAX_SAMPLE_BYTES - self.sampled)];
        self.sampled += sample.len();
        self.detector.feed(sample, false);
        incomplete
    }

    /// Adds the start of a character with which the text ends. It is that of a letter of Western Europe in UTF-8, or of a
    /// sign of which more than a byte is left: the text was cut there. Other single bytes are likelier letters of a legacy
    /// encoding, such as the é of "café".
    fn add_end(&mut self, incomplete: &[u8]) {
        let was_cut = matches!(incomplete, [] | [0xc2 | 0xc3] | [_, _, ..]);
        self.faults += u64::from(!was_cut);
        if incomplete.len() == 1 {
            self.detector.feed(incomplete, true);
        }
    }

    /// Guesses a legacy encoding. If there are few letters, it prefers those of Western Europe.
    fn guess(&self) -> &'static Encoding {
        let likelier = (self.faults < MIN_CERTAIN_LETTERS).then_some(&b"es"[..]);
        self.detector.guess(likelier, Utf8Detection::Deny)
    }
}

/// Converts a text to UTF-8 in constant memory. Malformed sequences become `UNDECODABLE`.
pub(crate) struct Utf8Reader<R> {
    input: R,
    encoding: &'static Encoding,
    /// `None` at the end of the text.
    decoder: Option<Decoder>,
    source: Block,
    text: Block,
}

/// A buffer whose bytes from `start` to `end` are unread.
struct Block {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Block {
    fn of(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }
}

impl<R: Read> Utf8Reader<R> {
    pub(crate) fn new(input: R, encoding: &'static Encoding) -> Self {
        let size = if encoding == UTF_8 { 0 } else { BLOCK_BYTES };
        Self {
            input,
            encoding,
            decoder: Some(encoding.new_decoder_with_bom_removal()),
            source: Block::of(size),
            text: Block::of(size),
        }
    }

    /// Decodes the next bytes; produces no text at the end.
    fn decode(&mut self) -> io::Result<()> {
        let (source, text) = (&mut self.source, &mut self.text);
        (text.start, text.end) = (0, 0);
        while let Some(decoder) = &mut self.decoder
            && text.end == 0
        {
            let mut over = false;
            if source.start == source.end {
                source.start = 0;
                source.end = fill(&mut self.input, &mut source.bytes)?;
                over = source.end == 0;
            }
            // Leave room for `UNDECODABLE`.
            let room = text.bytes.len() - 1;
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(
                &source.bytes[source.start..source.end],
                &mut text.bytes[..room],
                over,
            );
            source.start += read;
            text.end = written;
            match result {
                DecoderResult::Malformed(..) => {
                    text.bytes[written] = UNDECODABLE;
                    text.end += 1;
                }
                DecoderResult::InputEmpty if over => self.decoder = None,
                DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // UTF-8 passes unchanged: the readers skip its byte order mark and reject invalid rows one by one.
        if self.encoding == UTF_8 {
            return self.input.read(buffer);
        }
        if self.text.start == self.text.end {
            self.decode()?;
        }
        let text = &self.text.bytes[self.text.start..self.text.end];
        let count = text.len().min(buffer.len());
        buffer[..count].copy_from_slice(&text[..count]);
        self.text.start += count;
        Ok(count)
    }
}
