//! What a binary prints when it is run by hand, which programs parse.

use testkit::Plugin;

/// nerdctl and Nomad compare the version with upstream's, and switch features off below it: nerdctl wants `firewall`
/// from 1.7.1 for isolated networks, Nomad calls CHECK of `bridge` from 1.3.0.
#[test]
fn the_version_is_above_those_that_programs_demand() {
    for name in ["bridge", "firewall"] {
        let call = Plugin::new(name).command("").without_env("CNI_COMMAND");
        let text = call.run().expect_ok().stderr_text();
        let first = text.lines().next().unwrap_or_default();
        let version = first.strip_prefix(&format!("CNI {name} plugin v"));
        let version = version.unwrap_or_else(|| panic!("no version: {text}"));
        let major: u32 = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or_else(|| panic!("no number: {text}"));
        assert!(major >= 2, "{text}");
    }
}
