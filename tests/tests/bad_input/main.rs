//! Bad input is refused before anything is changed: right code, a message that names the thing, and the host is
//! as it was.

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

    /// Runs the call, which must fail with `code`, mention all of `parts` and change nothing.
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

    /// An ADD that must fail after addresses have been handed out: they are given back, but which was the last
    /// one stays remembered. The directory for that is made beforehand.
    #[track_caller]
    fn add_undone(&self, config: &Value, parts: &[&str]) -> ErrorReply {
        let other = self.host.container("warm-up");
        answer::result(&Plugin::new("host-local").add(&other, config));
        answer::silent(Plugin::new("host-local").del(&other, config));
        drop(other);
        self.undone(self.call("bridge", "ADD", config), parts)
    }

    /// Runs the call, which must fail and take back all it did; only the memory of the last address may move.
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

    /// An ADD that must fail.
    #[track_caller]
    fn add_refused(&self, plugin: &str, config: &Value, code: u64, parts: &[&str]) -> ErrorReply {
        self.refused(self.call(plugin, "ADD", config), code, parts)
    }
}

/// A dual-stack network with `change` put over its configuration.
fn network(change: Value) -> Value {
    networks::with(networks::dual_stack("1.1.0"), &change)
}
