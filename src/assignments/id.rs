//! The public id of an assignment, which holds the key of its row.
//!
//! The id is a UUIDv7. Its time is that of the assignment; its other bits are the number of the set (30 bits) and the
//! ledger number in that set (44 bits). So it needs neither a column nor an index of its own. It reveals to a tenant only
//! numbers of the tenant's own sets.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ids::AssignmentKey;

/// Bits of the ledger number.
const NUMBER_BITS: u32 = 44;
/// Bits that a UUIDv7 leaves free after its variant.
const TAIL_BITS: u32 = 62;

pub(crate) fn encode(key: AssignmentKey, assigned_at: DateTime<Utc>) -> Uuid {
    let millis = u128::from(assigned_at.timestamp_millis().cast_unsigned());
    let set_no = u128::from(key.set_no.cast_unsigned());
    let number = u128::from(key.number.cast_unsigned());
    let bits = (set_no << NUMBER_BITS) | number;
    let head = bits >> TAIL_BITS;
    let tail = bits & ((1 << TAIL_BITS) - 1);
    Uuid::from_u128((millis << 80) | (0x7 << 76) | (head << 64) | (0b10 << TAIL_BITS) | tail)
}

/// Reads the key from an id. The caller must verify that the row exists and has the time in the id: `encode` must return
/// the same id.
pub(crate) fn decode(id: Uuid) -> Option<AssignmentKey> {
    let bits = id.as_u128();
    if (bits >> 76) & 0xf != 0x7 || (bits >> TAIL_BITS) & 0b11 != 0b10 {
        return None;
    }
    let head = (bits >> 64) & 0xfff;
    let free = (head << TAIL_BITS) | (bits & ((1 << TAIL_BITS) - 1));
    Some(AssignmentKey {
        set_no: i32::try_from(free >> NUMBER_BITS).ok()?,
        number: i64::try_from(free & ((1 << NUMBER_BITS) - 1)).ok()?,
    })
}

/// Returns the time in an id, in milliseconds since 1970.
pub(crate) fn millis(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).expect("48 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_leads_to_its_row(set_no in 1..1 << 30, number in 1_i64..1 << 44, millis in 0_i64..1 << 47) {
            let key = AssignmentKey { set_no, number };
            let at = DateTime::from_timestamp_millis(millis).expect("in range");
            let id = encode(key, at);
            prop_assert_eq!(id.get_version_num(), 7);
            prop_assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            prop_assert_eq!(decode(id), Some(key));
            prop_assert_eq!(encode(decode(id).expect("a key"), at), id);
        }

        #[test]
        fn ids_of_one_set_rise_with_its_ledger(number in 1_i64..1 << 43, millis in 0_i64..1 << 40) {
            let at = DateTime::from_timestamp_millis(millis).expect("in range");
            let id = |number| encode(AssignmentKey { set_no: 1, number }, at);
            prop_assert!(id(number) < id(number + 1));
        }
    }

    #[test]
    fn what_is_no_such_id_has_no_key() {
        assert_eq!(decode(Uuid::nil()), None);
        assert_eq!(decode(Uuid::from_u128(u128::MAX)), None);
    }
}
