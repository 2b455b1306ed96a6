//! Addresses (placeholder, being written).

/// An envelope address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    wire: Box<[u8]>,
    folded: Box<[u8]>,
}

impl Address {
    /// As it goes to the backend.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// As it is matched.
    pub fn folded(&self) -> &[u8] {
        &self.folded
    }

    /// The domain of the folded form.
    pub fn domain(&self) -> Option<&[u8]> {
        let at = memchr::memrchr(b'@', &self.folded)?;
        Some(&self.folded[at + 1..])
    }
}

/// RFC 5321's reverse-path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`
    Null,
    /// `<a@b>`
    Address(Address),
}

impl ReversePath {
    /// The address, unless it is the null sender.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

/// Reads `a@b` (placeholder).
///
/// # Errors
/// Never.
pub fn parse_address(text: &[u8]) -> Result<Address, ()> {
    Ok(Address { wire: text.into(), folded: text.to_ascii_lowercase().into() })
}
