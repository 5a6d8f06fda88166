//! Enums with one spelling per variant, used in PostgreSQL (as `text`), in JSON and in URL queries.
//!
//! The derive macro of `sqlx::Type` looks up the type `text` by name, which costs one more round trip per connection.

use serde::de::DeserializeOwned;

/// An enum that `text_enum!` defines.
pub(crate) trait TextEnum: DeserializeOwned {
    /// The spellings, in the order of the variants.
    const NAMES: &'static [&'static str];
}

/// Returns the message that lists the valid spellings, for a caller that sent another one.
pub(crate) fn expectation<T: TextEnum>() -> String {
    let quoted: Vec<String> = T::NAMES.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("This must be {} or {last}.", rest.join(", "))
        }
        _ => format!("This must be {}.", quoted.concat()),
    }
}

/// Text in a row that is none of the spellings: a mismatch between the code and the schema.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no {type_name}")]
pub(crate) struct UnknownText {
    pub type_name: &'static str,
    pub text: String,
}

/// Defines an enum by the spellings of its variants. The enum can be read from rows, JSON and request fields (`extract`),
/// and written to query parameters and JSON. Text that is not one of the spellings is a decoding error.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            pub(crate) fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::text_enum::TextEnum for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];
        }

        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <str as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(other: &sqlx::postgres::PgTypeInfo) -> bool {
                <str as sqlx::Type<sqlx::Postgres>>::compatible(other)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $name {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                <&str as sqlx::postgres::PgHasArrayType>::array_type_info()
            }

            fn array_compatible(other: &sqlx::postgres::PgTypeInfo) -> bool {
                <&str as sqlx::postgres::PgHasArrayType>::array_compatible(other)
            }
        }

        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&str as sqlx::Encode<'_, sqlx::Postgres>>::encode_by_ref(&self.as_str(), buffer)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                let text = <&str as sqlx::Decode<'r, sqlx::Postgres>>::decode(value)?;
                Self::parse(text).ok_or_else(|| {
                    let text = text.to_owned();
                    $crate::text_enum::UnknownText { type_name: stringify!($name), text }.into()
                })
            }
        }
    };
}

pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    use super::*;

    text_enum! {
        enum Color {
            DarkRed = "darkRed",
            Green = "green",
            Blue = "blue",
        }
    }

    #[test]
    fn text_json_and_variants_have_the_same_spelling() {
        assert_eq!(Color::DarkRed.as_str(), "darkRed");
        assert_eq!(Color::parse("darkRed"), Some(Color::DarkRed));
        assert_eq!(Color::parse("DarkRed"), None);
        assert_eq!(serde_json::to_value(Color::DarkRed).unwrap(), "darkRed");
        assert_eq!(
            serde_json::from_str::<Color>("\"darkRed\"").unwrap(),
            Color::DarkRed
        );
        assert_eq!(Color::NAMES, ["darkRed", "green", "blue"]);
    }

    #[test]
    fn the_expectation_names_all_spellings() {
        assert_eq!(
            expectation::<Color>(),
            "This must be \"darkRed\", \"green\" or \"blue\"."
        );
    }
}
