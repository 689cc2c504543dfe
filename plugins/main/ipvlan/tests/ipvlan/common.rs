//! The plugin under test.

use testkit::single_interface::{Subject, plain_router};

pub(crate) const IPVLAN: Subject = Subject {
    name: "ipvlan",
    needs: &["ipvlan"],
    keys: r#"{"master": "m0"}"#,
    prefix: "",
    lower_case: false,
    router: Some(plain_router),
};
