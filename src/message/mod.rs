//! What: the message, from a file or a pipe to its octets on the wire.
