//! In which encoding a text is, and the text as UTF-8.
//!
//! The whole text decides. A byte order mark tells it; else every second byte of UTF-16 is mostly NUL; else what is UTF-8
//! throughout is UTF-8, for no other text is by chance; else the likeliest of the old encodings is guessed. A text with
//! more characters of UTF-8 than faults stays UTF-8: its bad rows are reported and the good ones kept, where another
//! encoding would change all of them.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::Fault;

/// The bytes that are looked at or decoded at a time.
const BLOCK: usize = 64 * 1024;

/// The bytes beyond ASCII from which an old encoding is guessed.
const SAMPLE: usize = 1024 * 1024;

/// Letters beyond ASCII that are too few to tell one old encoding from another.
const FEW: u64 = 8;

/// Stands for what cannot be decoded: no byte of UTF-8, so that the rows with it are rejected.
const UNDECODABLE: u8 = 0xff;

/// The encoding of a name such as `UTF-16` or `latin1`.
pub(crate) fn named(label: &str) -> Option<&'static Encoding> {
    // The standard's names for what must not be decoded, and for what only e-mail has.
    Encoding::for_label(label.trim().as_bytes())
        .filter(|encoding| *encoding != encoding_rs::REPLACEMENT)
}

/// Reads a text to its end and tells its encoding; `told` is what the caller says of it, which only a byte order mark
/// contradicts.
pub(super) fn detect(
    mut input: impl Read,
    told: Option<&'static Encoding>,
) -> io::Result<&'static Encoding> {
    let mut block = vec![0; BLOCK];
    let mut length = fill(&mut input, &mut block)?;
    if let Some((encoding, _)) = Encoding::for_bom(&block[..length]) {
        return Ok(encoding);
    }
    if let Some(encoding) = told.or_else(|| utf_16(&block[..length])) {
        return Ok(encoding);
    }
    let control = control_characters(&block[..length]);
    let binary = control * 20 > length;
    let mut evidence = Evidence::new();
    while length > 0 {
        let kept = evidence.look_at(&block[..length]);
        block.copy_within(length - kept..length, 0);
        let more = fill(&mut input, &mut block[kept..])?;
        if more == 0 {
            evidence.faults += u64::from(kept > 0);
            break;
        }
        length = kept + more;
    }
    if evidence.faults == 0 || evidence.characters > evidence.faults {
        Ok(UTF_8)
    } else if binary {
        Err(Fault::NotText.into())
    } else {
        Ok(evidence.guess())
    }
}

/// Reads until the buffer is full or nothing is left.
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

/// The order of the bytes, if half of them are NUL often enough: digits, delimiters and line breaks are in any script.
fn utf_16(block: &[u8]) -> Option<&'static Encoding> {
    // A text that fits has both bytes of its last character.
    let pairs = block.len() / 2;
    if pairs < 2 || !block.len().is_multiple_of(2) {
        return None;
    }
    // A line break is two bytes there. One byte alone is half of a letter, but not where there are no others.
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

/// What was seen of a text beyond ASCII.
struct Evidence {
    /// Characters of UTF-8.
    characters: u64,
    /// Bytes or sequences that are none.
    faults: u64,
    sampled: usize,
    detector: EncodingDetector,
}

impl Evidence {
    fn new() -> Self {
        Self {
            characters: 0,
            faults: 0,
            sampled: 0,
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
        }
    }

    /// Answers how many bytes at the end may be the start of a character.
    fn look_at(&mut self, block: &[u8]) -> usize {
        if block.is_ascii() {
            return 0;
        }
        let mut kept = 0;
        for chunk in block.utf8_chunks() {
            let starts = chunk.valid().bytes().filter(|byte| *byte >= 0xc0);
            self.characters += starts.count() as u64;
            let invalid = chunk.invalid();
            match str::from_utf8(invalid) {
                Err(error)
                    if error.error_len().is_none()
                        && invalid.as_ptr_range().end == block.as_ptr_range().end =>
                {
                    kept = invalid.len();
                }
                Err(_) => self.faults += 1,
                Ok(_) => {}
            }
        }
        let sample = &block[..(block.len() - kept).min(SAMPLE - self.sampled)];
        self.sampled += sample.len();
        self.detector.feed(sample, false);
        kept
    }

    /// A few letters leave it open, and then Western Europe is the likelier.
    fn guess(&self) -> &'static Encoding {
        let likelier = (self.faults < FEW).then_some(&b"es"[..]);
        self.detector.guess(likelier, Utf8Detection::Deny)
    }
}

/// A text as UTF-8, in constant memory. What cannot be decoded becomes a byte that UTF-8 does not have.
pub(super) struct Decoded<R> {
    input: R,
    encoding: &'static Encoding,
    /// None at the end of the text.
    decoder: Option<Decoder>,
    source: Block,
    text: Block,
}

/// Bytes of which some were passed on.
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

impl<R: Read> Decoded<R> {
    pub(super) fn new(input: R, encoding: &'static Encoding) -> Self {
        let size = if encoding == UTF_8 { 0 } else { BLOCK };
        Self {
            input,
            encoding,
            decoder: Some(encoding.new_decoder_with_bom_removal()),
            source: Block::of(size),
            text: Block::of(size),
        }
    }

    /// Decodes the next bytes; no text is the end.
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
            // Room is left for the stand-in.
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

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // UTF-8 goes through as it is: the readers take its mark away and judge row by row.
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
