//! CRAM-MD5 (RFC 2195): the challenge, keyed with the password.
//!
//! MD5 is broken where collisions matter, which is not here (RFC 6151 §2.3); yet whoever reads the exchange
//! along can try passwords on it, so it ranks below SCRAM.

use zeroize::Zeroizing;

use crate::lmtp::Secret;

/// MD5's block, in octets (RFC 2104 §2).
const BLOCK: usize = 64;

/// The answer to `challenge`: the user and the digest, as in `tim b913a602…`.
pub fn respond(user: &str, password: &Secret, challenge: &[u8]) -> Secret {
    format!("{user} {:x}", hmac_md5(password.expose(), challenge)).into()
}

/// RFC 2104 over MD5.
fn hmac_md5(key: &[u8], message: &[u8]) -> md5::Digest {
    let mut block = Zeroizing::new([0; BLOCK]);
    let hashed = Zeroizing::new(if key.len() > BLOCK { md5::compute(key).0.to_vec() } else { Vec::new() });
    let key = if key.len() > BLOCK { &hashed } else { key };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let keyed = |pad: u8, message: &[u8]| {
        let mut context = md5::Context::new();
        context.consume(*Zeroizing::new(block.map(|octet| octet ^ pad)));
        context.consume(message);
        context.finalize()
    };
    keyed(0x5c, &keyed(0x36, message).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195() {
        let password = Secret::from("tanstaaftanstaaf".to_owned());
        let response = respond("tim", &password, b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(response.expose(), b"tim b913a602c7eda7a495b4e6e7334d3890");
    }

    #[test]
    fn the_vectors_of_rfc_2202() {
        for (key, message, digest) in [
            (vec![0x0b; 16], b"Hi There".to_vec(), "9294727a3638bb1c13f48ef8158bfc9d"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec(), "750c783e6ab0b503eaa86e310a5db738"),
            (vec![0xaa; 16], vec![0xdd; 50], "56be34521d144c88dbb8c733f0e8b3f6"),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
        ] {
            assert_eq!(format!("{:x}", hmac_md5(&key, &message)), digest);
        }
    }
}
