//! The steps of a delivery: one enum names the time limit, the phrase in a diagnostic, the report's field
//! and the place of a failure.

/// Where in the course of a delivery something happened.
///
/// These are all there are: a time limit and a name in a report stand behind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Reading the message, before anything is connected.
    Input,
    /// Finding and reaching the server.
    Connect,
    /// The TLS handshake, and the STARTTLS command before it (RFC 3207).
    Tls,
    /// Waiting for the server's 220 (RFC 5321 §4.3.1).
    Greeting,
    /// LHLO and its reply (RFC 2033 §4.1).
    Lhlo,
    /// The AUTH exchange (RFC 4954).
    Auth,
    /// MAIL and its reply.
    Mail,
    /// RCPT and its reply.
    Rcpt,
    /// DATA or BDAT, and the message's octets.
    Data,
    /// BDAT of a chunk that is not the last, as what was refused (RFC 3030 §2).
    Chunk,
    /// The message's end was sent: waiting for the reply of each accepted recipient (RFC 2033 §4.2).
    Delivery,
    /// As [`Delivery`](Stage::Delivery), as what was refused of a message whose end was a BDAT (RFC 3030 §2).
    LastChunk,
    /// A command outside a transaction: VRFY, EXPN, ETRN, HELP, NOOP, RSET.
    Query,
    /// QUIT. Whatever becomes of it, the outcomes stand.
    Quit,
}

impl Stage {
    /// The name in the report's `stage` field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Input => "input",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Greeting => "greeting",
            Stage::Lhlo => "lhlo",
            Stage::Auth => "auth",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data | Stage::Chunk => "data",
            Stage::Delivery | Stage::LastChunk => "delivery",
            Stage::Query => "query",
            // Of no interest to a report: what is told of it is what it means for the message.
            Stage::Quit => "delivery",
        }
    }

    /// What was being done, as in "timed out while …".
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Stage::Input => "reading the message",
            Stage::Connect => "connecting",
            Stage::Tls => "starting TLS",
            Stage::Greeting => "waiting for the greeting",
            Stage::Lhlo => "waiting for the reply to LHLO",
            Stage::Auth => "authenticating",
            Stage::Mail => "waiting for the reply to MAIL FROM",
            Stage::Rcpt => "waiting for the reply to RCPT TO",
            Stage::Data | Stage::Chunk => "sending the message",
            Stage::Delivery | Stage::LastChunk => "waiting for the reply to the message",
            Stage::Query => "waiting for a reply",
            Stage::Quit => "waiting for the reply to QUIT",
        }
    }
}
