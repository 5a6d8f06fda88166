//! Names of the code column in files of shops.

/// Known names, folded as `delivery_reader::TableOptions::code_names` requires, in order of preference: if a file has
/// several of them, the first one is the code column.
pub(super) const CODE_NAMES: &[&str] = &[
    "couponcode",
    "couponcodes",
    "codecoupon",
    "vouchercode",
    "vouchercodes",
    "promocode",
    "promocodes",
    "promotioncode",
    "promotioncodes",
    "discountcode",
    "discountcodes",
    "giftcode",
    "codigodecupon",
    "codigocupon",
    "codigodelcupon",
    "codigodocupom",
    "codigodecupom",
    "codigocupom",
    "codigodedescuento",
    "codigodescuento",
    "codigodedesconto",
    "codigopromocional",
    "codigopromo",
    "codigosdecupon",
    "codigosdedescuento",
    "codigospromocionales",
    "codepromo",
    "codespromo",
    "codepromotionnel",
    "codereduction",
    "codedereduction",
    "gutscheincode",
    "gutscheincodes",
    "gutscheinnummer",
    "rabattcode",
    "rabattcodes",
    "aktionscode",
    "codicesconto",
    "codicecoupon",
    "codicepromo",
    "codicepromozionale",
    "kortingscode",
    "actiecode",
    "kodrabatowy",
    "kodpromocyjny",
    "rabattkod",
    "rabatkode",
    "code",
    "codes",
    "codigo",
    "codigos",
    "codice",
    "codici",
    "codi",
    "kod",
    "coupon",
    "coupons",
    "cupon",
    "cupones",
    "cupom",
    "cupons",
    "voucher",
    "vouchers",
    "gutschein",
    "gutscheine",
];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use delivery_reader::{
        ContentTypeHint, DeliveryReader, Limits, RowRules, TableOptions, TextFormat,
        WorkbookSemaphore,
    };

    use super::*;

    /// The code column of a table with this header, if one is found.
    fn code_column(header: &str) -> Option<String> {
        let mut file = tempfile::tempfile().expect("a file");
        writeln!(file, "{header}\n1;A1").expect("room for it");
        let hint = ContentTypeHint {
            format: TextFormat::Csv,
            gzip: false,
        };
        let options = TableOptions {
            code_names: CODE_NAMES,
            ..TableOptions::default()
        };
        let limits = Limits {
            max_inner_bytes: 1 << 20,
            max_unpacked_bytes: 1 << 20,
            workbooks: WorkbookSemaphore::default(),
        };
        let rules = RowRules {
            zone: chrono_tz::UTC,
            max_code_chars: 255,
        };
        let delivery = DeliveryReader::open::<()>(file, hint, &options, &limits).expect("a text");
        let layout = delivery
            .read(&options, rules, &mut |_| Ok::<(), ()>(()))
            .ok()?;
        Some(layout.table.expect("a table").code_column)
    }

    #[test]
    fn each_name_is_found() {
        for name in CODE_NAMES {
            assert_eq!(code_column(&format!("id;{name}")).as_deref(), Some(*name));
        }
        assert_eq!(code_column("id;key"), None);
    }

    #[test]
    fn shops_spell_names_with_case_accents_and_separators() {
        for name in [
            "code",
            "CODES",
            "Coupon",
            "coupons",
            "Coupon Code",
            "coupon_code",
            "COUPONCODE",
            "Código",
            "codigo",
            "co\u{301}digo",
            "Cupón",
            "CUPÓN",
            "Código de cupón",
            "voucher",
            "Voucher-Code",
            "Promo code",
            "promocode",
            "Discount Code",
            "Gutschein",
            "Gutscheincode",
            "Code promo",
            "Codice",
            "Código promocional",
            "Code de réduction",
        ] {
            assert_eq!(code_column(&format!("id;{name}")).as_deref(), Some(name));
        }
    }

    #[test]
    fn of_several_known_names_the_most_specific_wins() {
        assert_eq!(code_column("Voucher;Code").as_deref(), Some("Code"));
        assert_eq!(
            code_column("Code;Coupon code").as_deref(),
            Some("Coupon code")
        );
    }

    #[test]
    fn a_known_name_decides_the_delimiter() {
        assert_eq!(
            code_column("Customers, new;Gutscheincode").as_deref(),
            Some("Gutscheincode")
        );
    }
}
