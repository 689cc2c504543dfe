//! Property test: random sequences of commands on the store and on a simple model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use proptest::prelude::*;

use super::tests::{config, set};
use super::*;
use crate::store::Content;

/// One operation on a network's directory.
#[derive(Clone, Debug)]
enum Step {
    Add {
        id: u8,
        if_name: bool,
    },
    Request {
        id: u8,
        ip: u8,
    },
    Del {
        id: u8,
        if_name: bool,
    },
    Check {
        id: u8,
    },
    Gc {
        valid: BTreeSet<u8>,
    },
    /// An ADD that is killed before it removes its temporary files.
    KilledAdd {
        id: u8,
    },
    KilledDel {
        id: u8,
    },
    /// Another implementation, or an administrator, changes the files.
    ForeignAdd {
        id: u8,
        ip: u8,
        if_name: Option<bool>,
    },
    ForeignDel {
        ip: u8,
    },
    EmptyFile {
        ip: u8,
        zeros: u8,
    },
    TempFile {
        ip: u8,
    },
    /// The index is damaged in a way that can be detected.
    Index {
        how: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0u8..50;
    let ip = 0u8..70;
    let step = prop_oneof![
        20 => (id.clone(), any::<bool>()).prop_map(|(id, if_name)| Step::Add { id, if_name }),
        2 => (id.clone(), ip.clone()).prop_map(|(id, ip)| Step::Request { id, ip }),
        8 => (id.clone(), any::<bool>()).prop_map(|(id, if_name)| Step::Del { id, if_name }),
        2 => id.clone().prop_map(|id| Step::Check { id }),
        1 => proptest::collection::btree_set(id.clone(), 20..50).prop_map(|valid| Step::Gc { valid }),
        2 => id.clone().prop_map(|id| Step::KilledAdd { id }),
        2 => id.clone().prop_map(|id| Step::KilledDel { id }),
        3 => (id, ip.clone(), any::<Option<bool>>())
            .prop_map(|(id, ip, if_name)| Step::ForeignAdd { id, ip, if_name }),
        2 => ip.clone().prop_map(|ip| Step::ForeignDel { ip }),
        1 => (ip.clone(), 0u8..3).prop_map(|(ip, zeros)| Step::EmptyFile { ip, zeros }),
        1 => ip.prop_map(|ip| Step::TempFile { ip }),
        1 => (0u8..4).prop_map(|how| Step::Index { how }),
    ];
    proptest::collection::vec(step, 80..200)
}

/// The addresses of the model's network, in the order of allocation.
fn pool() -> Vec<IpAddr> {
    (2..=40)
        .chain(50..=60)
        .map(|i| IpAddr::from([10, 0, 0, i]))
        .collect()
}

/// The expected content of the directory.
#[derive(Default)]
struct Model {
    files: BTreeMap<IpAddr, String>,
    last: Option<IpAddr>,
}

impl Model {
    fn held_by(&self, id: &str, if_name: &str) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let with = |text: &str| {
            self.files
                .iter()
                .filter(|(_, t)| *t == text)
                .map(|(ip, _)| *ip)
                .collect::<Vec<_>>()
        };
        (with(&format!("{id}\r\n{if_name}")), with(id))
    }

    /// Returns the address that the next ADD gets.
    fn next(&self) -> Option<IpAddr> {
        let all = pool();
        let at = self
            .last
            .and_then(|last| all.iter().position(|ip| *ip == last));
        let start = at.map_or(0, |at| at + 1);
        (0..all.len())
            .map(|i| all[(start + i) % all.len()])
            .find(|ip| !self.files.contains_key(ip))
    }

    fn add(&mut self, id: &str, if_name: &str, requested: Option<IpAddr>) -> Option<IpAddr> {
        let (own, legacy) = self.held_by(id, if_name);
        let gateway = IpAddr::from([10, 0, 0, 1]);
        let pool = |ip: &IpAddr| *ip == gateway || pool().contains(ip);
        let ip = match requested {
            Some(ip) if ip == gateway || !pool(&ip) || self.files.contains_key(&ip) => return None,
            Some(ip) => ip,
            None if own.iter().chain(&legacy).any(pool) => return None,
            None => self.next()?,
        };
        self.files.insert(ip, format!("{id}\r\n{if_name}"));
        self.last = Some(ip);
        Some(ip)
    }

    fn del(&mut self, id: &str, if_name: &str) {
        let (own, legacy) = self.held_by(id, if_name);
        for ip in if own.is_empty() { legacy } else { own } {
            self.files.remove(&ip);
        }
    }
}

fn name(if_name: bool) -> &'static str {
    if if_name { "eth1" } else { "eth0" }
}

/// Carries out one step in the directory and in the model, and compares them.
fn carry_out(step: &Step, config: &mut Config, model: &mut Model) -> Result<(), TestCaseError> {
    let directory = config.directory.clone();
    let address = |last: u8| IpAddr::from([10, 0, 0, last]);
    let path = |last: u8| directory.join(address(last).to_string());
    config.requested.clear();
    match step {
        Step::Add { id, if_name } => {
            let owner = Owner::new(&format!("c{id}"), name(*if_name));
            let got = allocate_all(&mut Store::open(&directory).unwrap(), &owner, config);
            let expected = model.add(owner.id(), name(*if_name), None);
            let text = got.as_ref().err().map(|error| format!("{error:#}"));
            let got = got.ok().map(|ips| ips[0].address.addr());
            prop_assert_eq!(got, expected, "{:?}", text);
        }
        Step::Request { id, ip } => {
            config.requested.push(address(*ip));
            let owner = Owner::new(&format!("c{id}"), "eth0");
            let (before, pool) = (model.files.clone(), config.sets[0].contains(address(*ip)));
            let got = allocate_all(&mut Store::open(&directory).unwrap(), &owner, config);
            if pool {
                let got = got.ok().map(|ips| ips[0].address.addr());
                prop_assert_eq!(got, model.add(owner.id(), "eth0", Some(address(*ip))));
            } else {
                // No set contains it. The address chosen instead is freed with all others
                // of the owner; only the last reserved address differs afterwards.
                prop_assert!(got.is_err());
                if model.add(owner.id(), "eth0", None).is_some() {
                    model.del(owner.id(), "eth0");
                } else {
                    model.files = before;
                }
            }
        }
        Step::Del { id, if_name } => {
            let owner = Owner::new(&format!("c{id}"), name(*if_name));
            Store::open(&directory)
                .unwrap()
                .release_all(&owner)
                .unwrap();
            model.del(owner.id(), name(*if_name));
        }
        Step::Check { id } => {
            let owner = Owner::new(&format!("c{id}"), "eth0");
            let held = Store::open_to_read(&directory)
                .unwrap()
                .unwrap()
                .held_by(&owner)
                .unwrap();
            prop_assert_eq!((held.own, held.legacy), model.held_by(owner.id(), "eth0"));
        }
        Step::Gc { valid } => {
            let valid: BTreeSet<String> = valid.iter().map(|id| format!("c{id}")).collect();
            let keep = |content: &Content| matches!(content, Content::Held { id, .. } if valid.contains(id));
            Store::open(&directory)
                .unwrap()
                .retain(keep, |_, _, _| Ok(()))
                .unwrap();
            model
                .files
                .retain(|_, text| valid.contains(text.split('\r').next().unwrap()));
        }
        Step::KilledAdd { id } => {
            let owner = Owner::new(&format!("c{id}"), "eth0");
            let mut store = Store::open(&directory).unwrap();
            let got = allocate_all(&mut store, &owner, config);
            prop_assert_eq!(got.is_ok(), model.add(owner.id(), "eth0", None).is_some());
            store.crash();
        }
        Step::KilledDel { id } => {
            let owner = Owner::new(&format!("c{id}"), "eth0");
            let mut store = Store::open(&directory).unwrap();
            store.release_all(&owner).unwrap();
            store.crash();
            model.del(owner.id(), "eth0");
        }
        Step::ForeignAdd { id, ip, if_name } => {
            let text = match if_name {
                Some(if_name) => format!("c{id}\r\n{}", name(*if_name)),
                None => format!("c{id}"),
            };
            if let std::collections::btree_map::Entry::Vacant(entry) =
                model.files.entry(address(*ip))
            {
                let _ = fs::remove_file(path(*ip));
                fs::write(path(*ip), &text).unwrap();
                entry.insert(text);
                fs::write(
                    directory.join("last_reserved_ip.0"),
                    address(*ip).to_string(),
                )
                .unwrap();
                model.last = Some(address(*ip));
            }
        }
        Step::ForeignDel { ip } => {
            let _ = fs::remove_file(path(*ip));
            model.files.remove(&address(*ip));
        }
        Step::EmptyFile { ip, zeros } => {
            if !model.files.contains_key(&address(*ip)) {
                fs::write(path(*ip), vec![0; usize::from(*zeros)]).unwrap();
            }
        }
        Step::TempFile { ip } => {
            let _ = fs::hard_link(path(*ip), directory.join(".reservation"));
        }
        Step::Index { how } => {
            let index = directory.join(".index");
            if let Ok(bytes) = fs::read(&index) {
                match how {
                    0 => fs::remove_file(&index).unwrap(),
                    1 => fs::write(&index, &bytes[..bytes.len() / 2]).unwrap(),
                    2 => fs::write(&index, b"\x01garbage").unwrap(),
                    // The directory is changed, so the index no longer matches it.
                    _ => {
                        fs::write(directory.join("x"), "").unwrap();
                        fs::remove_file(directory.join("x")).unwrap();
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns a configuration with fewer cases, since a case takes hundreds of commands.
fn fewer_cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases / 8,
        ..default
    }
}

proptest! {
    #![proptest_config(fewer_cases())]

    /// The plugin behaves as if it read the files each time: the index never changes a
    /// result.
    #[test]
    fn agrees_with_a_simple_model(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let pool = set(&["10.0.0.0/26 10.0.0.1-10.0.0.40", "10.0.0.0/26 10.0.0.50-10.0.0.60"]);
        let mut config = config(dir.path(), vec![pool], &[]);
        drop(Store::open(dir.path()).unwrap());
        let mut model = Model::default();
        for step in &steps {
            carry_out(step, &mut config, &mut model)?;
            let mut files = BTreeMap::new();
            for entry in fs::read_dir(dir.path()).unwrap() {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                if let (Ok(ip), false) = (
                    entry.file_name().to_str().unwrap().parse::<IpAddr>(),
                    text.trim_matches('\0').is_empty(),
                ) {
                    files.insert(ip, text);
                }
            }
            prop_assert_eq!(&files, &model.files, "{:?}", step);
            let mut store = Store::open_to_read(dir.path()).unwrap().unwrap();
            let listed: Vec<IpAddr> = store.reservations().unwrap().iter().map(|one| one.ip).collect();
            prop_assert_eq!(listed, model.files.keys().copied().collect::<Vec<_>>(), "{:?}", step);
        }
    }
}
