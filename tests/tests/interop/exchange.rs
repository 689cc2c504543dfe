//! A network that both implementations attach, check and delete in turns.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::networks::ordinal;
use serde_json::{Value, json};
use testkit::{Invocation, merge, patience};

use crate::difference::Difference;
use crate::differences::NOTES;
use crate::observe::{Observer, State, flat};
use crate::side::{BOTH, Side, peer_is_new};
use crate::site::{self, ID, Site};

/// The versions of the specification that all releases of the peer support.
pub(crate) const VERSIONS: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// The newest of them, and the oldest with CHECK.
pub(crate) const TWO: &[&str] = &["0.4.0", "1.0.0"];

/// How an attachment ends.
#[derive(Clone, Copy)]
enum End {
    /// DEL by this side.
    Del(Side),
    /// GC by ours, the only side that has it.
    Gc,
}

/// One attachment from ADD to its end.
struct Record {
    /// After ADD, with the result.
    added: State,
    /// After DEL, with the container.
    ended: State,
    /// The host after the end of the container.
    gone: State,
    /// The outcome of CHECK and DEL.
    calls: State,
}

/// A network, where it is attached, and the differences expected between the implementations.
pub(crate) struct Case<'a> {
    plugins: Vec<Value>,
    site: Box<dyn Fn() -> Site + 'a>,
    versions: Vec<&'a str>,
    args: Option<&'a str>,
    has_gc: bool,
    expected: Vec<&'static Difference>,
}

impl<'a> Case<'a> {
    /// The network `net` of one plugin, on a host with nothing but a container, in version 1.0.0.
    pub(crate) fn new(plugin: Value) -> Case<'a> {
        Case::chain(vec![plugin])
    }

    /// The network `net` of several plugins.
    pub(crate) fn chain(plugins: Vec<Value>) -> Case<'a> {
        Case {
            plugins,
            site: Box::new(site::bare),
            versions: vec!["1.0.0"],
            args: None,
            has_gc: true,
            expected: Vec::new(),
        }
    }

    pub(crate) fn at(mut self, site: impl Fn() -> Site + 'a) -> Case<'a> {
        self.site = Box::new(site);
        self
    }

    pub(crate) fn versions(mut self, versions: &[&'a str]) -> Case<'a> {
        self.versions = versions.to_vec();
        self
    }

    /// Sets `CNI_ARGS`.
    pub(crate) fn args(mut self, args: &'a str) -> Case<'a> {
        self.args = Some(args);
        self
    }

    /// Compares nothing after the end of the container.
    pub(crate) fn without_gc(mut self) -> Case<'a> {
        self.has_gc = false;
        self
    }

    /// Adds differences that are expected in one of the versions at least.
    pub(crate) fn expect(mut self, differences: &[&'static Difference]) -> Case<'a> {
        self.expected.extend(differences);
        self
    }

    /// Compares the implementations.
    #[track_caller]
    pub(crate) fn run(&self) {
        let mut judge = Judge::new(&self.expected);
        let newest = (peer_is_new() && self.versions.contains(&"1.0.0")).then_some(&"1.1.0");
        for version in self.versions.iter().chain(newest) {
            let reference = self.attach(version, Side::Peer, End::Del(Side::Peer));
            let ours = self.attach(version, Side::Ours, End::Del(Side::Peer));
            let theirs = self.attach(version, Side::Peer, End::Del(Side::Ours));
            judge.version = (*version).to_owned();
            judge.compare("after ADD", &reference.added, &ours.added);
            judge.compare("after DEL by the peer", &reference.ended, &ours.ended);
            judge.compare("after DEL by ours", &reference.ended, &theirs.ended);
            if self.has_gc {
                let collected = self.attach(version, Side::Peer, End::Gc);
                judge.compare("after GC", &reference.gone, &collected.gone);
            }
            for record in [&reference, &ours, &theirs] {
                judge.calls(&record.calls);
            }
        }
        judge.conclude(&json!(self.plugins).to_string());
    }

    fn config(&self, plugin: &Value, version: &str, previous: Option<&Value>) -> Value {
        let config = merge(
            plugin.clone(),
            &json!({"cniVersion": version, "name": "net"}),
        );
        match previous {
            Some(previous) => merge(config, &json!({"prevResult": previous})),
            None => config,
        }
    }

    #[track_caller]
    fn call(&self, side: Side, verb: &str, site: &Site, config: &Value) -> Invocation {
        let name = config["type"].as_str().expect("a type");
        let call = side
            .plugin(name)
            .command(verb)
            .ifname(site.ifname)
            .container(site.container())
            .config(config);
        self.args.map_or(call.clone(), |args| call.args(args))
    }

    /// ADD of all plugins. Returns the result of the last one.
    #[track_caller]
    fn add(&self, site: &Site, version: &str, adder: Side) -> Value {
        let previous = site.previous.as_ref();
        let mut result = previous.map(|previous| in_version(previous, version));
        for plugin in &self.plugins {
            let config = self.config(plugin, version, result.as_ref());
            let run = self.call(adder, "ADD", site, &config).run();
            assert!(run.is_ok(), "ADD by {}\n{}", adder.name(), run.report());
            result = Some(run.json());
        }
        result.unwrap_or_default()
    }

    /// CHECK by both, and DEL by the second side. Returns the outcomes.
    #[track_caller]
    fn check_and_delete(
        &self,
        site: &Site,
        version: &str,
        result: &Value,
        [adder, deleter]: [Side; 2],
    ) -> State {
        let mut calls = State::default();
        let mut call = |side: Side, verb: &str, config: &Value| {
            let run = self.call(side, verb, site, config).run();
            let outcome = match run.is_ok() {
                true => "ok".to_owned(),
                false => format!("{} {}", run.status, run.stdout_text()),
            };
            let what = format!("{verb} by {}, added by {}", side.name(), adder.name());
            calls.put(&what, [outcome]);
        };
        let config = |plugin| self.config(plugin, version, Some(result));
        let configs: Vec<Value> = self.plugins.iter().map(config).collect();
        if ordinal(version) >= [0, 4, 0] {
            for checker in BOTH {
                configs
                    .iter()
                    .for_each(|config| call(checker, "CHECK", config));
            }
        }
        for config in configs.iter().rev() {
            call(deleter, "DEL", config);
        }
        calls
    }

    #[track_caller]
    fn attach(&self, version: &str, adder: Side, end: End) -> Record {
        let mut site = (self.site)();
        let mut observer = Observer::new(&site);
        let result = self.add(&site, version, adder);
        let mut added = observer.state(&site, Some(site.container()));
        let mut lines = Vec::new();
        flat("", &result, &mut lines);
        added.put("result", lines);
        let added = observer.generic(&added);
        let calls = match end {
            End::Del(side) => self.check_and_delete(&site, version, &result, [adder, side]),
            End::Gc => {
                self.collect(&site, true);
                State::default()
            }
        };
        let mut ended = observer.state(&site, Some(site.container()));
        if matches!(end, End::Gc) {
            // GC of a living attachment changes nothing.
            ended.put("result", added.0.get("result").cloned().unwrap_or_default());
            let mut judge = Judge::new(&self.expected);
            judge.compare("while it lives", &added, &ended);
            let failures = judge.failures;
            assert!(
                failures.is_empty(),
                "GC has changed a valid attachment\n{failures}"
            );
        }
        let mut gone = State::default();
        if self.has_gc {
            site.end_container();
            observer.wait_for_end(&site);
            if matches!(end, End::Gc) {
                self.collect(&site, false);
            }
            gone = observer.state(&site, None);
        }
        Record {
            added,
            ended,
            gone,
            calls,
        }
    }

    /// Runs GC of each plugin. The attachment is valid or not.
    #[track_caller]
    fn collect(&self, site: &Site, is_valid: bool) {
        let valid = match is_valid {
            true => json!([{"containerID": ID, "ifname": site.ifname}]),
            false => json!([]),
        };
        for plugin in &self.plugins {
            let mut config = self.config(plugin, "1.1.0", None);
            config["cni.dev/valid-attachments"] = valid.clone();
            let name = config["type"].as_str().expect("a type");
            Side::Ours.plugin(name).gc(&config).expect_ok();
        }
    }
}

/// A result of version 1.0.0 in another version.
fn in_version(result: &Value, version: &str) -> Value {
    let mut result = merge(result.clone(), &json!({"cniVersion": version}));
    if ordinal(version) < [1, 0, 0] {
        for ip in result["ips"].as_array_mut().into_iter().flatten() {
            let is_ipv6 = ip["address"]
                .as_str()
                .is_some_and(|text| text.contains(':'));
            ip["version"] = if is_ipv6 { "6" } else { "4" }.into();
        }
    }
    result
}

/// Compares states, except for the differences that are expected.
pub(crate) struct Judge {
    expected: Vec<&'static Difference>,
    unseen: BTreeSet<&'static str>,
    failures: String,
    version: String,
}

impl Judge {
    pub(crate) fn new(expected: &[&'static Difference]) -> Judge {
        let applies = |difference: &&&Difference| difference.peers.include(peer_is_new());
        let expected: Vec<&'static Difference> = expected.iter().filter(applies).copied().collect();
        let mut unseen: BTreeSet<&'static str> =
            expected.iter().map(|difference| difference.name).collect();
        if !has_attributes() {
            unseen.remove(NOTES.name);
        }
        Judge {
            unseen,
            expected,
            failures: String::new(),
            version: String::new(),
        }
    }

    /// Notes where `other` differs from the peer's state.
    pub(crate) fn compare(&mut self, stage: &str, peer: &State, other: &State) {
        let mut text = String::new();
        for mut section in peer.compare(other) {
            for difference in &self.expected {
                let (heading, gone) = (&section.heading, &mut section.gone);
                if difference.explain(stage, heading, gone, &mut section.come) {
                    self.unseen.remove(difference.name);
                }
            }
            text += &section.text();
        }
        if !text.is_empty() {
            let heading = format!("{} {stage} (- the peer, + ours):\n", self.version);
            self.failures += &(heading + &text);
        }
    }

    /// Notes the calls that have failed.
    fn calls(&mut self, calls: &State) {
        let all_ok = |(heading, lines): (&String, &Vec<String>)| {
            (heading.clone(), vec!["ok".to_owned(); lines.len()])
        };
        let ok = State(calls.0.iter().map(all_ok).collect());
        self.compare("calls", &ok, calls);
    }

    /// Demands that there was no other difference than those expected, and that these were seen.
    #[track_caller]
    pub(crate) fn conclude(self, what: &str) {
        let failures = &self.failures;
        assert!(
            failures.is_empty(),
            "unexpected differences of {what}\n{failures}"
        );
        let unseen = &self.unseen;
        assert!(
            unseen.is_empty(),
            "expected differences of {what} that are not there: {unseen:?}"
        );
    }
}

/// Whether host-local can tell its reservations from upstream's: tmpfs has extended attributes of users since
/// Linux 6.6.
fn has_attributes() -> bool {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    let mut numbers = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

/// Waits until `is_so`.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60) * patience();
    while !is_so() {
        assert!(
            Instant::now() < end,
            "does not happen within a minute: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
