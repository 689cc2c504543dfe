//! A network of several plugins, called as a runtime calls them.

use serde_json::{Value, json};
use testkit::{Container, Invocation, Plugin, merge};

use crate::answer;

/// The configurations of a network's plugins in their order, without `name` and `cniVersion`.
#[derive(Clone, Debug)]
pub struct Chain(pub Vec<Value>);

impl Chain {
    /// ADD of all; returns the last result.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn add(&self, container: &Container) -> Value {
        let mut result = Value::Null;
        for config in &self.0 {
            let mut call = call("ADD", config, &json!({"prevResult": result}));
            call = call.container(container);
            result = answer::result(&call.run());
        }
        result
    }

    /// The calls of DEL, in reverse order.
    pub fn del(&self, container_id: &str, netns: &str, result: &Value) -> Vec<Invocation> {
        let calls = self.0.iter().rev().map(|config| {
            let call = call("DEL", config, &json!({"prevResult": result}));
            call.id(container_id).netns(netns)
        });
        calls.collect()
    }

    /// The calls of CHECK.
    pub fn check(&self, container_id: &str, netns: &str, result: &Value) -> Vec<Invocation> {
        let calls = self.0.iter().map(|config| {
            let call = call("CHECK", config, &json!({"prevResult": result}));
            call.id(container_id).netns(netns)
        });
        calls.collect()
    }

    /// GC of all with these keys added, `null` included.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn gc(&self, keys: &Value) {
        for config in &self.0 {
            let mut config = named(config);
            for (key, value) in keys.as_object().into_iter().flatten() {
                config[key] = value.clone();
            }
            answer::silent(plugin(&config).gc(&config));
        }
    }
}

fn call(verb: &str, config: &Value, extra: &Value) -> Invocation {
    let call = plugin(config).command(verb).ifname(interface(config));
    call.config(&merge(named(config), extra))
}

fn interface(config: &Value) -> &'static str {
    match config["type"] == "loopback" {
        true => "lo",
        false => "eth0",
    }
}

#[track_caller]
fn plugin(config: &Value) -> Plugin {
    Plugin::new(config["type"].as_str().unwrap_or_default())
}

fn named(config: &Value) -> Value {
    merge(
        config.clone(),
        &json!({"cniVersion": "1.1.0", "name": "net"}),
    )
}
