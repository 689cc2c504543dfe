//! Rounds of a case.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::{Host, Node};

use super::cases::Case;
use super::figures::{Figures, Sample};
use super::measure::{Call, Counts, median};
use super::side::Side;
use crate::machine::private_host;

/// The number of the floor's side, after those of all contenders.
const FLOOR: u8 = 8;

/// Rounds of [`counts`].
const COUNTED: usize = 2;

/// The programs that measure.
pub(crate) struct Tools {
    pub(crate) floor: PathBuf,
    pub(crate) empty: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) sandbox: PathBuf,
}

impl Tools {
    pub(crate) fn in_dir(dir: &Path) -> Tools {
        Tools {
            floor: dir.join("floor"),
            empty: dir.join("empty"),
            chain: dir.join("chain"),
            sandbox: dir.join("sandbox"),
        }
    }
}

/// How long after a call a child of ours may still close its sockets of nf_tables, while it holds the lock that each
/// transaction takes. It stays for up to 200 ms.
pub(crate) const LINGER: Duration = Duration::from_millis(220);

/// Plugins to measure.
#[derive(Clone)]
pub(crate) struct Contender {
    /// The name of the side: `ours`, `peer`, or anything else for another build of ours.
    pub(crate) tag: &'static str,
    /// The directory of the plugins.
    pub(crate) dir: PathBuf,
    /// A variable of their environment.
    pub(crate) env: Option<(&'static str, &'static str)>,
}

impl Contender {
    pub(crate) fn has(&self, plugin: &str) -> bool {
        self.dir.join(plugin).is_file()
    }

    /// Returns a call of a plugin for `eth0` of a container, given by its ID and namespace. The configuration is
    /// written to a file; the files of the call are named after `scratch`.
    pub(crate) fn call(
        &self,
        (plugin, verb): (&str, &str),
        (id, netns): (&str, &Path),
        config: &Value,
        scratch: &Path,
    ) -> Result<Call> {
        let stdin = scratch.with_extension("in");
        fs::write(&stdin, config.to_string()).with_context(|| stdin.display().to_string())?;
        let mut env = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", id.to_owned()),
            ("CNI_NETNS", netns.display().to_string()),
            ("CNI_IFNAME", "eth0".into()),
            ("CNI_PATH", self.dir.display().to_string()),
        ];
        env.extend(self.env.map(|(key, value)| (key, value.into())));
        Ok(Call {
            program: self.dir.join(plugin),
            arguments: Vec::new(),
            env,
            stdin,
            stdout: scratch.with_extension("out"),
        })
    }
}

impl Contender {
    /// Passes each call of a chain to `measure`, in the order in which a runtime makes them, and returns what it
    /// returned. `result` is the result of the chain's last ADD. The files of the calls are named after `scratch`.
    pub(crate) fn chain<T>(
        &self,
        verb: &str,
        mut chain: Vec<(&'static str, Value)>,
        container: (&str, &Path),
        result: &mut Value,
        scratch: &Path,
        measure: impl Fn(&Call) -> Result<T>,
    ) -> Result<Vec<T>> {
        match verb {
            "DEL" => chain.reverse(),
            _ => *result = Value::Null,
        }
        let mut measured = Vec::new();
        for (plugin, mut config) in chain {
            if !result.is_null() {
                config["prevResult"] = result.clone();
            }
            let call = self.call((plugin, verb), container, &config, scratch)?;
            measured.push(measure(&call)?);
            if verb == "ADD" {
                *result = serde_json::from_str(&call.output()).context("the result of ADD")?;
            }
        }
        Ok(measured)
    }
}

/// A side that runs plugins.
struct Runner<'a> {
    contender: Contender,
    side: Side,
    case: &'a Case,
    /// The result of the last ADD, for CHECK and DEL.
    added: Option<Value>,
    /// One per verb of the case; `None` if this side does not have the verb.
    samples: Vec<Option<Sample>>,
}

impl<'a> Runner<'a> {
    fn new(side: Side, case: &'a Case, contender: Contender) -> Runner<'a> {
        let has = |verb: &&str| side.tag != "peer" || case.peer_verbs.contains(verb);
        let samples = case
            .verbs
            .iter()
            .map(|verb| has(verb).then(Sample::default))
            .collect();
        Runner {
            contender,
            side,
            case,
            added: None,
            samples,
        }
    }

    /// Returns the call of a verb for one plugin of the chain, and writes its input to a file.
    fn call(
        &self,
        verb: &str,
        (plugin, keys): (&str, &str),
        previous: Option<&Value>,
    ) -> Result<Call> {
        let version = if matches!(verb, "STATUS" | "GC") {
            "1.1.0"
        } else {
            "1.0.0"
        };
        let mut config = self.side.config(plugin, keys, version)?;
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        if verb == "GC" {
            config["cni.dev/valid-attachments"] = json!([]);
        }
        let container = &self.side.container;
        self.contender.call(
            (plugin, verb),
            (container.id(), container.netns()),
            &config,
            &self.side.scratch.join("call"),
        )
    }

    /// Runs `measure` on each call of a verb, in the order in which a runtime makes them for a chain, and passes the
    /// results to `put`. Does nothing if this side does not have the verb.
    fn sample<T>(
        &mut self,
        index: usize,
        measure: impl Fn(&Call) -> Result<T>,
        put: impl FnOnce(&mut Sample, Vec<T>),
    ) -> Result<()> {
        if self.samples[index].is_none() {
            return Ok(());
        }
        let verb = self.case.verbs[index];
        let mut chain: Vec<_> = self.case.chain.to_vec();
        if verb == "DEL" {
            chain.reverse();
        }
        let mut previous = self
            .added
            .clone()
            .filter(|_| matches!(verb, "CHECK" | "DEL"));
        let mut measured = Vec::new();
        for plugin in chain {
            let call = self.call(verb, plugin, previous.as_ref())?;
            measured.push(measure(&call)?);
            if verb == "ADD" {
                previous = Some(serde_json::from_str(&call.output()).context("the result of ADD")?);
            }
        }
        if verb == "ADD" {
            self.added = previous;
        }
        if let Some(sample) = &mut self.samples[index] {
            put(sample, measured);
        }
        Ok(())
    }
}

/// Milliseconds of the floor's operations.
#[derive(Clone, Copy)]
struct BareTime {
    /// Until their effect is complete.
    done: f64,
    /// Until the last system call has returned.
    returned: f64,
}

/// The floor: bare kernel operations.
struct Bare<'a> {
    side: Side,
    case: &'a Case,
    program: &'a Path,
    /// By verb, command and round.
    times: Vec<Vec<Vec<BareTime>>>,
}

impl Bare<'_> {
    fn sample(&mut self, index: usize) -> Result<()> {
        let commands = self
            .case
            .floor_of(self.case.verbs[index])
            .unwrap_or_default();
        self.times[index].resize(commands.len(), Vec::new());
        for (number, command) in commands.iter().enumerate() {
            let command = self.side.fill(command).replace(';', " ;");
            let words = command.split_whitespace().map(String::from).collect();
            let mut call = Call::plain(self.program, words, &self.side.scratch);
            // The time for which closing a socket of nf_tables waits is part of the measurement.
            call.env.push(("CNI_DEFER", "never".into()));
            call.time()?;
            let output = call.output();
            let mut times = output.split_whitespace().map(str::parse::<f64>);
            let (Some(Ok(done)), Some(Ok(returned))) = (times.next(), times.next()) else {
                bail!("floor {:?} printed {output:?}", call.arguments);
            };
            self.times[index][number].push(BareTime {
                done: done / 1e6,
                returned: returned / 1e6,
            });
        }
        Ok(())
    }
}

/// Measures all verbs of a case with those of `contenders` that have all plugins.
pub(crate) fn case(
    host: &Host,
    case: &Case,
    contenders: Vec<Contender>,
    tools: &Tools,
    rounds: usize,
) -> Result<Vec<Figures>> {
    let mut runners = Vec::new();
    for (contender, number) in contenders.into_iter().zip(1..) {
        let has_all = case.chain.iter().all(|(plugin, _)| contender.has(plugin));
        if contender.tag == "ours" || has_all {
            let side = Side::new(host, case, contender.tag, number)?;
            runners.push(Runner::new(side, case, contender));
        }
    }
    let mut bare = Bare {
        side: Side::new(host, case, "floor", FLOOR)?,
        case,
        program: &tools.floor,
        times: vec![Vec::new(); case.verbs.len()],
    };
    warm_up(&mut runners, &mut bare, tools)?;
    let mut empty = Vec::new();
    let turns = runners.len() + 1;
    for round in 0..rounds {
        for (index, verb) in case.verbs.iter().enumerate() {
            let is_deletion = *verb == "DEL";
            if is_deletion && case.has_filters() {
                thread::sleep(LINGER);
            }
            for turn in 0..turns {
                match runners.get_mut(in_turn(turn, round, turns)) {
                    Some(runner) => runner.sample(index, Call::time, |sample, all| {
                        sample.times.push(all.into_iter().sum());
                    })?,
                    None => bare.sample(index)?,
                }
                if is_deletion {
                    let side = runners.get(in_turn(turn, round, turns));
                    let is_ours = side.is_some_and(|side| side.contender.tag != "peer");
                    if is_ours && case.has_filters() {
                        thread::sleep(LINGER);
                    }
                    wait_for_grace_periods(host)?;
                }
            }
        }
        empty.push(Call::plain(&tools.empty, Vec::new(), &bare.side.scratch).time()?);
    }
    let figures = gather(&runners, &bare, median(&empty));
    runners
        .iter()
        .try_for_each(|runner| runner.side.clean(host))?;
    bare.side.clean(host)?;
    Ok(figures)
}

/// Returns whose turn it is. Everyone begins equally often, and follows each other equally often.
fn in_turn(turn: usize, round: usize, turns: usize) -> usize {
    let turn = if (round / turns).is_multiple_of(2) {
        turn
    } else {
        turns - 1 - turn
    };
    (turn + round) % turns
}

/// Deletes a link, which returns after the grace periods for which earlier deletions still wait, so that none of them
/// slows the next call down.
pub(crate) fn wait_for_grace_periods(host: &Host) -> Result<()> {
    let script = "ip link add wait0 type veth peer name wait1 && ip link del wait0";
    host.try_command(&["sh", "-c", script])
        .map(drop)
        .map_err(|err| anyhow!(err))
}

/// Measures ADD and DEL of cases with two builds of ours, each case on a host of its own.
pub(crate) fn compare(
    cases: &[&Case],
    sides: &[Contender; 2],
    tools: &Tools,
    rounds: usize,
) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for of in cases {
        let host = private_host()?;
        let of = Case {
            verbs: &["ADD", "DEL"],
            floor: &[],
            ..**of
        };
        figures.extend(case(&host, &of, sides.to_vec(), tools, rounds)?);
    }
    Ok(figures)
}

/// Counts what each verb of ours does: the least of several rounds, as a wait may take another attempt.
pub(crate) fn counts(
    host: &Host,
    case: &Case,
    contender: Contender,
) -> Result<Vec<(&'static str, Counts)>> {
    let mut runner = Runner::new(Side::new(host, case, contender.tag, 1)?, case, contender);
    let indices = || 0..case.verbs.len();
    // This round creates bridges, directories and caches.
    for index in indices() {
        runner.sample(index, Call::time, |_, _| ())?;
    }
    for round in 0..COUNTED {
        for index in indices() {
            runner.sample(index, Call::counts, |sample, all| {
                let counts: Counts = all.into_iter().sum();
                if round == 0 || counts.system_calls < sample.counts.system_calls {
                    sample.counts = counts;
                }
            })?;
        }
    }
    runner.side.clean(host)?;
    let samples = runner.samples.iter().flatten();
    Ok(case
        .verbs
        .iter()
        .copied()
        .zip(samples.map(|sample| sample.counts))
        .collect())
}

/// Runs the first rounds, which create bridges, directories and caches, and measures memory and counts in them.
fn warm_up(runners: &mut [Runner<'_>], bare: &mut Bare<'_>, tools: &Tools) -> Result<()> {
    let verbs = bare.case.verbs.len();
    for index in 0..verbs {
        for runner in &mut *runners {
            runner.sample(
                index,
                |call| call.peak_memory(&tools.floor),
                |sample, all| sample.memory = all.into_iter().max().unwrap_or(0),
            )?;
        }
        bare.sample(index)?;
    }
    for index in 0..verbs {
        for runner in &mut *runners {
            runner.sample(index, Call::counts, |sample, all| {
                sample.counts = all.into_iter().sum()
            })?;
        }
    }
    bare.times.iter_mut().for_each(Vec::clear);
    Ok(())
}

fn gather(runners: &[Runner<'_>], bare: &Bare<'_>, empty: f64) -> Vec<Figures> {
    let row = |(index, verb): (usize, &&'static str)| {
        let sample = |is_wanted: fn(&str) -> bool| {
            let runner = runners
                .iter()
                .find(|runner| is_wanted(runner.contender.tag));
            runner.and_then(|runner| runner.samples[index].clone())
        };
        let ours = sample(|tag| tag == "ours").unwrap_or_default();
        let floor = |time: fn(&BareTime) -> f64| {
            let commands = bare.times[index].iter();
            let medians =
                commands.map(|times| median(&times.iter().map(time).collect::<Vec<f64>>()));
            let floor = medians.sum::<f64>() + empty * ours.counts.processes as f64;
            bare.case.floor_of(verb).map(|_| floor)
        };
        Figures {
            case: bare.case.name,
            group: bare.case.group,
            verb,
            peer: sample(|tag| tag == "peer"),
            other: sample(|tag| !matches!(tag, "ours" | "peer")),
            floor: floor(|time| time.done),
            returned: floor(|time| time.returned),
            ours,
        }
    };
    bare.case.verbs.iter().enumerate().map(row).collect()
}

/// The time of an empty process, in milliseconds.
pub(crate) fn empty(tools: &Tools, rounds: usize) -> Result<f64> {
    let mut call = Call::plain(&tools.empty, Vec::new(), Path::new("/"));
    call.stdout = PathBuf::from("/dev/null");
    let times: Vec<f64> = (0..rounds).map(|_| call.time()).collect::<Result<_>>()?;
    Ok(median(&times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_fair() {
        let rounds = 0..12;
        for side in 0..3 {
            let begins = rounds.clone().filter(|round| in_turn(0, *round, 3) == side);
            assert_eq!(begins.count(), 4);
        }
        let follows = |first, second| {
            let order = |round| [0, 1, 2].map(|turn| in_turn(turn, round, 3));
            let pairs = rounds.clone().flat_map(|round| {
                let order = order(round);
                [[order[0], order[1]], [order[1], order[2]]]
            });
            pairs.filter(|pair| *pair == [first, second]).count()
        };
        assert_eq!(follows(0, 1), follows(1, 0));
        assert_eq!(follows(0, 2), follows(2, 0));
        assert_eq!(follows(1, 2), follows(2, 1));
    }
}
