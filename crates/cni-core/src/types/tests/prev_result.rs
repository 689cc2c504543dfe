//! Tests of `prevResult`.

use super::parse;
use crate::types::{AddResult, prev_result};

fn ips(version: &str, conf: &str) -> Result<Option<usize>, String> {
    prev_result(version, &parse(conf))
        .map(|result| result.map(|r: AddResult| r.ips.len()))
        .map_err(|e| e.to_string())
}

#[test]
fn prev_result_has_the_family_of_the_configuration() {
    let ip = r#""ips":[{"address":"10.0.0.1/8"}]"#;
    let family = |supported: &str, got: &str| {
        Err(format!(
            "could not parse prevResult: result type supports {supported} but unmarshalled \
             CNIVersion is \"{got}\""
        ))
    };
    let table = [
        ("1.1.0", "{}".to_owned(), Ok(None)),
        ("1.1.0", r#"{"prevResult":null}"#.into(), Ok(None)),
        ("1.1.0", r#"{"prevResult":{}}"#.into(), Ok(Some(0))),
        (
            "1.1.0",
            format!(r#"{{"prevResult":{{{ip}}}}}"#),
            Ok(Some(1)),
        ),
        (
            "0.3.1",
            format!(r#"{{"PREVRESULT":{{{ip}}}}}"#),
            Ok(Some(1)),
        ),
        // Any version of the family is accepted.
        (
            "1.1.0",
            format!(r#"{{"prevResult":{{"cniVersion":"1.0.0",{ip}}}}}"#),
            Ok(Some(1)),
        ),
        (
            "0.4.0",
            format!(r#"{{"prevResult":{{"cniVersion":"0.3.0",{ip}}}}}"#),
            Ok(Some(1)),
        ),
        // Unlike upstream, an empty version is an absent one.
        (
            "1.1.0",
            format!(r#"{{"prevResult":{{"cniVersion":"",{ip}}}}}"#),
            Ok(Some(1)),
        ),
        (
            "1.1.0",
            r#"{"prevResult":{"cniVersion":"0.4.0"}}"#.into(),
            family("[1.0.0 1.1.0]", "0.4.0"),
        ),
        (
            "0.4.0",
            r#"{"prevResult":{"CNIVersion":"1.0.0"}}"#.into(),
            family("[0.3.0 0.3.1 0.4.0]", "1.0.0"),
        ),
        (
            "0.2.0",
            r#"{"prevResult":{"cniVersion":"0.3.0"}}"#.into(),
            family("[ 0.1.0 0.2.0]", "0.3.0"),
        ),
        (
            "",
            r#"{"prevResult":{"ip4":{"ip":"10.0.0.1/8"}}}"#.into(),
            Ok(Some(1)),
        ),
        (
            "9.9.9",
            r#"{"prevResult":{}}"#.into(),
            Err("could not parse prevResult: unsupported CNI result version \"9.9.9\"".into()),
        ),
        ("9.9.9", "{}".into(), Ok(None)),
        (
            "1.1.0",
            r#"{"prevResult":"x"}"#.into(),
            Err("could not parse prevResult: expected an object, got string".into()),
        ),
        (
            "1.1.0",
            r#"{"prevResult":{"ips":[null]}}"#.into(),
            Err("could not parse prevResult: ips[0]: expected an object, got null".into()),
        ),
        (
            "1.1.0",
            r#"{"prevResult":{"cniVersion":5}}"#.into(),
            Err("could not parse prevResult: cniVersion: expected a string, got number".into()),
        ),
    ];
    for (version, conf, expected) in table {
        assert_eq!(ips(version, &conf), expected, "{version} {conf}");
    }
}
