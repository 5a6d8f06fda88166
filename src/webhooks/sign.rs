//! Signatures by the scheme of Standard Webhooks, version 1: HMAC-SHA256 of the id, the timestamp and the body.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::Secret;

/// Returns the value of `webhook-signature`: a signature by each secret, so that a receiver with either one can verify
/// it.
pub(super) fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let sign = |secret: &Secret| signature(secret, id, timestamp, body);
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

fn signature(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("a key may have any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    #[test]
    fn a_message_is_signed_as_the_test_vector_of_the_specification_says() {
        let key = STANDARD.decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
        let signature = signatures(&[Secret::from_bytes(key)], id, 1_649_367_553, BODY);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn each_secret_signs_by_itself() {
        let one = || Secret::from_bytes(vec![1; 32]);
        let two = || Secret::from_bytes(vec![2; 32]);
        let sign = |secrets: &[Secret]| signatures(secrets, "a", 5, BODY);
        assert_eq!(
            sign(&[one(), two()]),
            format!("{} {}", sign(&[one()]), sign(&[two()]))
        );
        assert_ne!(sign(&[one()]), sign(&[two()]));
    }
}
