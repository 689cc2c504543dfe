//! Runs the examples of the documentation.

use serde_json::{Value, json};

use crate::common::{Net, call, ours};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/host-local.md");

/// Returns the code blocks of a language on the page.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let blocks = PAGE.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().expect("a text before the fence"))
        .collect()
}

#[test]
fn every_example_works() {
    let examples = blocks("json");
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for text in examples {
        let example: Value = serde_json::from_str(text).expect(text);
        // Of a network list the first plugin, and of that the `ipam` object.
        let conf = example.pointer("/plugins/0").unwrap_or(&example);
        let mut ipam = conf.get("ipam").unwrap_or(conf).clone();
        if ipam["resolvConf"] != Value::Null {
            ipam["resolvConf"] = "/dev/null".into();
        }
        let mut net = Net::new(ipam);
        for key in ["runtimeConfig", "args"] {
            net.conf[key] = conf.get(key).cloned().unwrap_or_default();
        }
        ours().status(&net.conf).expect_ok();
        let add = |id: &str| {
            let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={id}");
            call(&ours(), "ADD", id, &net.conf).args(&args).run()
        };
        let added = add("a").expect_ok();
        call(&ours(), "CHECK", "a", &added.with_prev())
            .run()
            .expect_ok();
        add("b").expect_ok();
        net.del("a");
        net.conf["cni.dev/valid-attachments"] = json!([]);
        ours().gc(&net.conf).expect_ok();
        assert!(net.reserved().is_empty());
    }
}
