//! The noop plugin: a test double that changes nothing, answers as a file tells it, and records how it was called.

mod record;
mod script;

use std::cell::RefCell;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::net::Ipv4Addr;
use std::process::ExitCode;

use cni_core::skel::{self, Env, Outcome};
use cni_core::{AddResult, Call, Cidr, Code, Error, IpConfig, Plugin, Version, json};
use script::Script;
use serde_json::json;

/// What `ReportResult` says to answer with the previous plugin's result.
const PASS_THROUGH: &str = "PASSTHROUGH";

/// The same with [`INJECTED_DNS`] as its name servers.
const INJECT_DNS: &str = "INJECT-DNS";

const INJECTED_DNS: &str = "1.2.3.4";

/// The plugin, for one call.
struct Noop {
    env: Env,
    script: Option<Script>,
    versions: &'static [Version],
    /// What the verb prints, which need not be a result.
    answer: RefCell<Option<String>>,
}

/// Runs the plugin with environment and standard input of the process.
pub fn main() -> ExitCode {
    let outcome = run(&Env::from_process());
    // Nobody is left to tell if these fail.
    let _ = stderr().write_all(outcome.stderr.as_bytes());
    let _ = stdout().write_all(outcome.stdout.as_bytes());
    ExitCode::from(outcome.exit)
}

fn run(env: &Env) -> Outcome {
    let mut input = Vec::new();
    if !env.command.is_empty()
        && let Err(e) = stdin().read_to_end(&mut input)
    {
        let msg = format!("error reading from stdin: {}", cni_core::errno::of(&e));
        return failure(&Error::new(Code::IO_FAILURE, msg));
    }
    let script = match Script::find(&env.args, &input) {
        Ok(script) => script,
        Err(error) => return failure(&error),
    };
    let versions = script::versions(script.as_ref());
    if env.command == "VERSION" {
        let reply = json!({"cniVersion": "1.1.0", "supportedVersions": versions});
        return Outcome {
            stdout: json::to_string(&reply) + "\n",
            ..Outcome::default()
        };
    }
    let known = versions.iter().filter_map(|text| Version::from_text(text));
    let plugin = Noop {
        env: env.clone(),
        script,
        // skel wants a list that lives as long as the process, and the process makes one call.
        versions: Vec::leak(known.collect()),
        answer: RefCell::default(),
    };
    let mut outcome = skel::run(&plugin, env, input.as_slice());
    if let Some(answer) = plugin.answer.take() {
        outcome.stdout = answer;
        outcome.exit = plugin.script.as_ref().map_or(0, Script::exit_code);
    }
    if let Some(script) = &plugin.script {
        outcome.stderr.push_str(&script.contents.report_stderr);
    }
    outcome
}

fn failure(error: &Error) -> Outcome {
    Outcome {
        stdout: error.to_json(),
        exit: 1,
        ..Outcome::default()
    }
}

impl Noop {
    /// Records the call, and prepares the answer that the script demands.
    fn act(&self, call: &Call) -> anyhow::Result<()> {
        record::append_to_log(&self.env, call)?;
        let Some(script) = &self.script else {
            eprintln!("noop: no debug file is named by DEBUG in CNI_ARGS or by debugFile");
            self.answer.replace(Some("{}".to_owned()));
            return Ok(());
        };
        script.write_back(&self.env, call)?;
        let contents = &script.contents;
        if !contents.report_error.is_empty() {
            let code = match contents.report_error_code {
                0 => Code::INTERNAL,
                code => Code(code),
            };
            return Err(Error::new(code, contents.report_error.as_str()).into());
        }
        let answer = match contents.report_result.as_str() {
            PASS_THROUGH => passed_through(call, |_| ())?,
            INJECT_DNS => passed_through(call, |result| {
                result.dns.nameservers = vec![INJECTED_DNS.to_owned()];
            })?,
            text => text.to_owned(),
        };
        self.answer.replace(Some(answer));
        Ok(())
    }
}

/// Returns the previous plugin's result, changed by `change`, in the configuration's version and without white space.
fn passed_through(call: &Call, change: impl FnOnce(&mut AddResult)) -> anyhow::Result<String> {
    let mut result = call.prev_result()?.unwrap_or_default();
    change(&mut result);
    let text = result.to_json(call.version)?;
    Ok(json::to_string(&json::parse(text.as_bytes())?))
}

impl Plugin for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn supported_versions(&self) -> &'static [Version] {
        self.versions
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        self.act(call)?;
        // Never printed. It has an address, because results of versions before 0.3.0 need one.
        let ips = vec![IpConfig::new(Cidr::host(Ipv4Addr::LOCALHOST.into()))];
        Ok(AddResult {
            ips,
            ..AddResult::default()
        })
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        self.act(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        self.act(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        self.act(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        self.act(call)
    }
}
