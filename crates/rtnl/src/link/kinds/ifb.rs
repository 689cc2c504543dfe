//! ifb: an intermediate functional block. Has no options.

pub(super) const KIND: &str = "ifb";
