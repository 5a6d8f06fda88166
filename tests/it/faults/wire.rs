//! Messages of PostgreSQL's protocol in a stream of bytes: the start and the type of each.

/// Parser of one direction of a connection.
#[derive(Debug)]
pub struct Messages {
    /// True until the client's first message, which has no type.
    startup: bool,
    /// Received bytes of the current message's header: type, then length.
    head: Vec<u8>,
    /// Bytes of its body that have not arrived.
    left: usize,
}

/// Start of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageStart {
    pub kind: u8,
    /// Offset of its first byte in the given bytes.
    pub at: usize,
}

impl Messages {
    pub fn of_server() -> Self {
        Self {
            startup: false,
            head: Vec::new(),
            left: 0,
        }
    }

    pub fn of_client() -> Self {
        Self {
            startup: true,
            ..Self::of_server()
        }
    }

    /// Parses the next bytes and returns the messages that start in them.
    pub fn follow(&mut self, bytes: &[u8]) -> Vec<MessageStart> {
        let mut begun = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let step = self.left.min(bytes.len() - at);
                self.left -= step;
                at += step;
                continue;
            }
            if self.startup {
                self.startup = false;
                self.head.push(0);
            }
            if self.head.is_empty() {
                begun.push(MessageStart {
                    kind: bytes[at],
                    at,
                });
            }
            self.head.push(bytes[at]);
            at += 1;
            if let [_, a, b, c, d] = self.head[..] {
                // The length includes itself.
                self.left = u32::from_be_bytes([a, b, c, d]) as usize - 4;
                self.head.clear();
            }
        }
        begun
    }
}

#[test]
fn messages_are_found_however_the_bytes_are_cut() {
    let reply = b"2\0\0\0\x04D\0\0\0\x07abcC\0\0\0\x06x\0Z\0\0\0\x05I";
    let begins = [(b'2', 0), (b'D', 5), (b'C', 13), (b'Z', 20)];
    for size in 1..=reply.len() {
        let mut messages = Messages::of_server();
        let mut found = Vec::new();
        for (number, chunk) in reply.chunks(size).enumerate() {
            let begun = messages.follow(chunk).into_iter();
            found.extend(begun.map(|begin| (begin.kind, number * size + begin.at)));
        }
        assert_eq!(found, begins, "in pieces of {size}");
    }
    let mut messages = Messages::of_client();
    let startup = b"\0\0\0\x09\0\x03\0\0\0Q\0\0\0\x05\0";
    assert_eq!(
        messages.follow(startup),
        [MessageStart { kind: b'Q', at: 9 }]
    );
}
