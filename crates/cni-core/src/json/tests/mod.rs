//! Tests of decoding and look-up.

mod decode;
pub(crate) mod props;

use super::*;
use serde_json::json;

#[test]
fn get_ignores_case() {
    let value = json!({"Name": 1, "name": 2, "NAME": null, "x": null});
    assert_eq!(get(&value, "nAmE"), Some(&json!(2)));
    assert_eq!(get(&value, "x"), None);
    assert_eq!(get(&value, "y"), None);
    assert_eq!(get(&json!([1]), "name"), None);
    assert_eq!(
        get(&json!({"\u{212a}ey\u{17f}": 1}), "keys"),
        Some(&json!(1))
    );
    assert_eq!(get(&json!({"\u{e9}": 1}), "\u{c9}"), None);
}
