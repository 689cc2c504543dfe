//! The error numbers that are told apart.

pub(crate) use nix::libc::{
    EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM, EOPNOTSUPP, ESRCH,
};
