//! Measures a chain of plugins through libcni, and the same plugins alone.
//!
//! It reads a request and prints an answer as the program with upstream's library does
//! (`crates/testkit/src/upstream/main.go`): `{"nanos": [[ADD, DEL], …]}`. The verb `time` calls the library, `alone` only
//! what any caller must do: start each plugin, write its configuration, and read its output to the end.
#![allow(clippy::print_stdout, reason = "the measurement is the output")]

use std::error::Error;
use std::io::{Write as _, stdin};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use libcni::{Attachment, Cni, NetworkList, load_list};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let request: Value = serde_json::from_reader(stdin())?;
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let list = load_list(text("Dir").as_ref(), &text("Name"))?;
    let bin = PathBuf::from(
        request["Bin"][0]
            .as_str()
            .ok_or("no directory of plugins")?,
    );
    let attachment = Attachment::new(text("ContainerID"), text("NetNS"), text("IfName"));
    let cni = Cni::new([&bin]).cache_dir(text("Cache"));
    let alone = Alone {
        list: &list,
        attachment: &attachment,
        bin,
    };
    let mut nanos = Vec::new();
    for _ in 0..request["Count"].as_u64().ok_or("no count")? {
        let started = Instant::now();
        let middle;
        if text("Verb") == "alone" {
            let result = alone.add()?;
            middle = Instant::now();
            alone.del(&result)?;
        } else {
            cni.add(&list, &attachment)?;
            middle = Instant::now();
            cni.del(&list, &attachment)?;
        }
        let pair = [middle - started, middle.elapsed()];
        nanos.push(pair.map(|time| time.as_nanos()));
    }
    println!("{}", json!({"nanos": nanos}));
    Ok(())
}

/// Runs plugins without a library.
struct Alone<'a> {
    list: &'a NetworkList,
    attachment: &'a Attachment,
    bin: PathBuf,
}

impl Alone<'_> {
    fn add(&self) -> Outcome<Vec<u8>> {
        let mut result = Vec::new();
        for index in 0..self.list.plugins.len() {
            result = self.run("ADD", index, &result)?;
        }
        Ok(result)
    }

    fn del(&self, result: &[u8]) -> Outcome {
        for index in (0..self.list.plugins.len()).rev() {
            self.run("DEL", index, result)?;
        }
        Ok(())
    }

    fn run(&self, verb: &str, index: usize, result: &[u8]) -> Outcome<Vec<u8>> {
        let plugin = &self.list.plugins[index];
        let mut child = Command::new(self.bin.join(&plugin.conf.kind))
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &self.attachment.container_id)
            .env("CNI_NETNS", &self.attachment.netns)
            .env("CNI_IFNAME", &self.attachment.if_name)
            .env("CNI_ARGS", "")
            .env("CNI_PATH", &self.bin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // The configuration is put together from texts, as no parsing belongs to the plugins' own time.
        let mut stdin = child.stdin.take().ok_or("stdin is a pipe")?;
        let end = plugin.bytes.len() - 1;
        stdin.write_all(&plugin.bytes[..end])?;
        let (name, version) = (&self.list.name, &self.list.cni_version);
        write!(stdin, r#","name":"{name}","cniVersion":"{version}""#)?;
        if !result.is_empty() {
            stdin.write_all(br#","prevResult":"#)?;
            stdin.write_all(result)?;
        }
        stdin.write_all(b"}")?;
        drop(stdin);
        let output = child.wait_with_output()?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stdout).into()),
        }
    }
}
