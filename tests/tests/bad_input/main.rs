//! Invalid input, which plugins refuse before they change anything, with the right code and a message that names the
//! cause.

mod calls;
mod host_state;
mod ipv6;
mod ranges;
mod types;

use blackbox::{answer, networks, state};
use serde_json::Value;
use testkit::{Container, ErrorReply, Host, Invocation, Plugin};

/// A host with one container.
struct Stage {
    host: Host,
    container: Container,
}

impl Stage {
    fn new() -> Stage {
        let host = Host::new();
        let container = host.container("c1");
        Stage { host, container }
    }

    fn call(&self, plugin: &str, verb: &str, config: &Value) -> Invocation {
        Plugin::new(plugin)
            .command(verb)
            .container(&self.container)
            .config(config)
    }

    /// Demands that the call fails with `code`, mentions all of `parts`, and changes nothing.
    #[track_caller]
    fn refused(&self, call: Invocation, code: u64, parts: &[&str]) -> ErrorReply {
        let before = self.host.snapshot();
        let error = answer::refusal(call.run(), code);
        for part in parts {
            error.clone().mentions(part);
        }
        before.assert_same(&self.host.snapshot());
        error
    }

    /// Demands that ADD fails after the allocation of addresses and releases them. Only the last reserved address may
    /// change; its directory is created beforehand.
    #[track_caller]
    fn add_undone(&self, config: &Value, parts: &[&str]) -> ErrorReply {
        let other = self.host.container("warm-up");
        answer::result(&Plugin::new("host-local").add(&other, config));
        answer::silent(Plugin::new("host-local").del(&other, config));
        drop(other);
        self.undone(self.call("bridge", "ADD", config), parts)
    }

    /// Demands that the call fails and is undone. Only the last reserved address may change.
    #[track_caller]
    fn undone(&self, call: Invocation, parts: &[&str]) -> ErrorReply {
        let before = state::of(&self.host);
        let error = answer::refusal(call.run(), 999);
        for part in parts {
            error.clone().mentions(part);
        }
        before.assert_same(&state::of(&self.host));
        error
    }

    /// Demands that ADD fails as described for [`Stage::refused`].
    #[track_caller]
    fn add_refused(&self, plugin: &str, config: &Value, code: u64, parts: &[&str]) -> ErrorReply {
        self.refused(self.call(plugin, "ADD", config), code, parts)
    }
}

/// A dual-stack network with `change` merged into its configuration.
fn network(change: Value) -> Value {
    networks::with(networks::dual_stack("1.1.0"), &change)
}
