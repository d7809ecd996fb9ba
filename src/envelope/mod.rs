//! Who: the envelope read from a message's headers (RFC 5322).
