//! Makes test files, and reads whole deliveries.

use std::{fmt::Write as _, fs::File, io::Write};

use flate2::{Compression, write::GzEncoder};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{super::*, Short, rules};

pub(crate) type Outcome = Result<(DeliveryLayout, Vec<Short>), ReadError<()>>;

pub(crate) fn limits() -> Limits {
    Limits {
        max_inner_bytes: 2 << 30,
        max_unpacked_bytes: 8 << 30,
        workbooks: WorkbookSemaphore::default(),
    }
}

pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room for it");
    file
}

/// Reads a delivery that is a table or a list.
pub(crate) fn deliver_as(
    format: TextFormat,
    gzip: bool,
    bytes: &[u8],
    options: &TableOptions,
    limits: &Limits,
) -> Outcome {
    let delivery = DeliveryReader::open(
        file(bytes),
        ContentTypeHint { format, gzip },
        options,
        limits,
    )?;
    let mut rows = Vec::new();
    let layout = delivery.read(options, rules(), &mut |row| {
        rows.push((row.line, row.code.map_err(|rejection| rejection.reason)));
        Ok(())
    })?;
    Ok((layout, rows))
}

pub(crate) fn deliver(bytes: &[u8], options: &TableOptions) -> Outcome {
    deliver_as(TextFormat::Csv, false, bytes, options, &limits())
}

/// The codes of a delivery without faults.
#[track_caller]
pub(crate) fn codes(bytes: &[u8]) -> Vec<String> {
    let (_, rows) = deliver(bytes, &TableOptions::default()).expect("a table");
    rows.into_iter()
        .map(|(_, code)| code.expect("a code"))
        .collect()
}

#[track_caller]
pub(crate) fn fault(outcome: Outcome) -> DeliveryFault {
    match outcome {
        Err(ReadError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn zip_with(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        if name.ends_with('/') {
            zip.add_directory(*name, options).expect("a folder");
        } else {
            zip.start_file(*name, options).expect("a file");
            zip.write_all(bytes).expect("memory");
        }
    }
    zip.finish().expect("an archive").into_inner()
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(files, CompressionMethod::Deflated)
}

/// A workbook of sheets, each given by its name and the XML of its rows; `styles` and `strings` are the content of those
/// parts.
pub(crate) fn workbook(sheets: &[(&str, &str)], styles: &str, strings: &str) -> Vec<u8> {
    let kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let mut list = String::new();
    let mut links = format!(
        r#"<Relationship Id="rS" Type="{kind}/styles" Target="styles.xml"/>
           <Relationship Id="rT" Type="{kind}/sharedStrings" Target="/xl/sharedStrings.xml"/>"#
    );
    let mut parts = Vec::new();
    for (number, (name, rows)) in sheets.iter().enumerate() {
        write!(
            list,
            r#"<sheet name={name} sheetId="{number}" r:id="r{number}"/>"#
        )
        .expect("memory");
        write!(links, r#"<Relationship Id="r{number}" Type="{kind}/worksheet" Target="worksheets/sheet{number}.xml"/>"#).expect("memory");
        let sheet = format!(
            r#"<?xml version="1.0"?><worksheet><dimension ref="A1"/><sheetData>{rows}</sheetData></worksheet>"#
        );
        parts.push((format!("xl/worksheets/sheet{number}.xml"), sheet));
    }
    parts.push((
        "xl/workbook.xml".to_owned(),
        format!("<workbook><workbookPr/><sheets>{list}</sheets></workbook>"),
    ));
    parts.push((
        "xl/_rels/workbook.xml.rels".to_owned(),
        format!("<Relationships>{links}</Relationships>"),
    ));
    parts.push((
        "xl/styles.xml".to_owned(),
        format!("<styleSheet>{styles}</styleSheet>"),
    ));
    parts.push((
        "xl/sharedStrings.xml".to_owned(),
        format!("<sst uniqueCount=\"99999999999999\">{strings}</sst>"),
    ));
    let parts: Vec<(&str, &[u8])> = parts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_bytes()))
        .collect();
    zip(&parts)
}

/// A workbook with one sheet of cells that are text.
pub(crate) fn sheet_of(rows: &[&[&str]]) -> Vec<u8> {
    let mut xml = String::new();
    for row in rows {
        xml += "<row>";
        for cell in *row {
            write!(xml, r#"<c t="inlineStr"><is><t>{cell}</t></is></c>"#).expect("memory");
        }
        xml += "</row>";
    }
    workbook(&[("\"Sheet1\"", &xml)], "", "")
}
