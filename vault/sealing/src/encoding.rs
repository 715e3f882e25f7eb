//! Length prefixes: what makes two different lists of fields two different byte strings.

/// `u16be(len)`, the prefix of design §4's `LP(x)`.
///
/// # Panics
/// If `field` is longer than 65,535 bytes. Every field here is bounded far below that by its type or by the
/// listener's header limit.
pub(crate) fn length_prefix(field: &[u8]) -> [u8; 2] {
    u16::try_from(field.len()).expect("every field is bounded below 64 KiB").to_be_bytes()
}

/// Appends `LP(field)`.
pub(crate) fn push(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&length_prefix(field));
    out.extend_from_slice(field);
}
