//! Leases: acquired, extended, lost, given back.

use super::*;

#[test]
fn every_field_of_a_solicit_is_as_the_rfc_says() {
    let mut settings = settings(Mode::Dhcp);
    settings.rapid_commit = true;
    let mut rig = Rig::new(settings);
    let solicit = rig.message(MessageType::Solicit);
    let codes: Vec<OptionCode> = solicit.opts().iter().map(OptionCode::from).collect();
    assert_eq!(
        codes,
        [
            OptionCode::ClientId,
            OptionCode::IANA,
            OptionCode::ORO,
            OptionCode::ElapsedTime,
            OptionCode::RapidCommit
        ]
    );
    for option in solicit.opts().iter() {
        match option {
            DhcpOption::ClientId(duid) => assert_eq!(duid, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 9]),
            DhcpOption::ElapsedTime(time) => assert_eq!(*time, 0),
            DhcpOption::IANA(ia) => {
                assert_eq!((ia.id, ia.t1, ia.t2), (0x0102_0304, 0, 0));
                assert_eq!(ia.opts.iter().count(), 0);
            }
            DhcpOption::ORO(oro) => {
                let codes: Vec<u16> = oro.opts.iter().map(|code| (*code).into()).collect();
                assert_eq!(codes, [23, 24, 82, 83]);
            }
            DhcpOption::RapidCommit => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_best_preference_wins_and_255_at_once() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    let solicit = rig.message(MessageType::Solicit);
    let offer = |server: u8, preference: u8| {
        let options = vec![
            ia("2001:db8::5", 0, 0, 80, 100),
            DhcpOption::Preference(preference),
        ];
        reply_of(
            MessageType::Advertise,
            &solicit,
            &[0, 3, 0, 1, server],
            options,
        )
    };
    rig.receive(&offer(1, 0));
    rig.receive(&offer(2, 9));
    rig.receive(&offer(3, 9));
    assert!(rig.sent().is_empty(), "offers are collected for a second");
    let server = |request: v6::Message| match request.opts().get(OptionCode::ServerId) {
        Some(DhcpOption::ServerId(duid)) => duid[4],
        other => panic!("{other:?}"),
    };
    rig.pass(1.2);
    assert_eq!(server(rig.message(MessageType::Request)), 2);

    let mut rig = Rig::new(settings(Mode::Dhcp));
    let solicit = rig.message(MessageType::Solicit);
    let options = vec![
        ia("2001:db8::5", 0, 0, 80, 100),
        DhcpOption::Preference(255),
    ];
    rig.answer(MessageType::Advertise, &solicit, options);
    rig.message(MessageType::Request);
}

#[test]
fn a_server_may_commit_at_once_only_if_asked() {
    for rapid_commit in [true, false] {
        let mut settings = settings(Mode::Dhcp);
        settings.rapid_commit = rapid_commit;
        let mut rig = Rig::new(settings);
        let solicit = rig.message(MessageType::Solicit);
        let lease = ia("2001:db8::5", 0, 0, 80, 100);
        rig.answer(MessageType::Reply, &solicit, vec![lease.clone()]);
        assert_eq!(rig.client.progress(), Progress::Acquiring);
        rig.answer(
            MessageType::Reply,
            &solicit,
            vec![lease, DhcpOption::RapidCommit],
        );
        assert_eq!(rig.client.progress() == Progress::Bound, rapid_commit);
    }
}

#[test]
fn a_lease_is_renewed_rebound_and_lost() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.bind();
    assert_eq!(rig.client.socket(), None, "no socket between transactions");
    rig.pass(20.0);
    let renew = rig.message(MessageType::Renew);
    assert!(renew.opts().get(OptionCode::ServerId).is_some());
    rig.answer(
        MessageType::Reply,
        &renew,
        vec![ia("2001:db8::5", 20, 50, 80, 100)],
    );
    rig.sent();
    let Some(Output::Configure(configuration)) = rig.done.first() else {
        panic!("{:?}", rig.done);
    };
    assert_eq!(configuration.valid, Some(Duration::from_secs(100)));
    assert_eq!(configuration.preferred, Some(Duration::from_secs(80)));

    rig.pass(20.0);
    rig.message(MessageType::Renew);
    rig.pass(30.0);
    let rebind = rig.message(MessageType::Rebind);
    assert!(rebind.opts().get(OptionCode::ServerId).is_none());
    rig.done.clear();
    rig.pass(50.0);
    assert!(rig.sent().is_empty(), "not at once");
    assert_eq!(rig.client.socket(), None);
    assert!(
        rig.done
            .contains(&Output::Remove(rig.client.cidr(ip("2001:db8::5"))))
    );
    assert!(rig.addresses().is_empty());
    rig.pass(2.0);
    rig.message(MessageType::Solicit);
}

#[test]
fn a_forgotten_lease_is_requested_again() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.bind();
    rig.pass(20.0);
    let renew = rig.message(MessageType::Renew);
    let refusal = association(0, 0, vec![status(v6::Status::NoBinding)]);
    rig.answer(MessageType::Reply, &renew, vec![refusal]);
    let request = rig.message(MessageType::Request);
    let Some(DhcpOption::IANA(held)) = request.opts().get(OptionCode::IANA) else {
        panic!("{request:?}");
    };
    assert!(
        held.opts.get(OptionCode::IAAddr).is_some(),
        "the address it holds"
    );
}

#[test]
fn a_new_address_replaces_a_withdrawn_one() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.bind();
    rig.pass(20.0);
    let renew = rig.message(MessageType::Renew);
    let [old, new] = [("2001:db8::5", 0), ("2001:db8::6", 100)].map(|(address, life)| {
        DhcpOption::IAAddr(v6::IAAddr {
            addr: ip(address),
            preferred_life: life,
            valid_life: life,
            opts: v6::DhcpOptions::new(),
        })
    });
    rig.answer(
        MessageType::Reply,
        &renew,
        vec![association(20, 50, vec![old, new])],
    );
    rig.sent();
    assert_eq!(rig.addresses(), ["2001:db8::6/128"]);
    assert_eq!(
        rig.done[0],
        Output::Remove(rig.client.cidr(ip("2001:db8::5")))
    );
    assert!(
        matches!(&rig.done[1], Output::Configure(new) if new.address == rig.client.cidr(ip("2001:db8::6")))
    );
}

#[test]
fn a_release_names_server_and_address_and_asks_for_nothing() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.bind();
    rig.client.release(rig.now);
    let release = rig.message(MessageType::Release);
    let codes: Vec<OptionCode> = release.opts().iter().map(OptionCode::from).collect();
    use OptionCode as Code;
    assert_eq!(
        codes,
        [
            Code::ClientId,
            Code::ServerId,
            Code::IANA,
            Code::ElapsedTime
        ]
    );
    rig.answer(
        MessageType::Reply,
        &release,
        vec![status(v6::Status::Success)],
    );
    assert_eq!((rig.client.wake(), rig.client.socket()), (None, None));
}

#[test]
fn sol_max_rt_bounds_the_time_between_solicits() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    let solicit = rig.message(MessageType::Solicit);
    // An Advertise without addresses may set it (RFC 8415, 18.2.9).
    let options = vec![
        status(v6::Status::NoAddrsAvail),
        DhcpOption::Unknown(v6::UnknownOption::new(82.into(), vec![0, 0, 0, 60])),
    ];
    rig.answer(MessageType::Advertise, &solicit, options);
    rig.client.setup.deadline = rig.now + Duration::from_secs(10_000);
    let (mut last, mut longest) = (rig.now, Duration::ZERO);
    for _ in 0..30 {
        rig.now = rig.client.wake().expect("a retransmission");
        let is_sent = !rig.sent().is_empty();
        // In between, nothing is expected, and the socket is closed.
        assert_eq!(rig.client.socket(), is_sent.then_some(SocketKind::Udp6));
        if is_sent {
            longest = longest.max(rig.now - last);
            last = rig.now;
        }
    }
    assert!((54..=66).contains(&longest.as_secs()), "{longest:?}");
}

#[test]
fn a_taken_address_is_declined_and_another_one_asked_for() {
    let mut settings = settings(Mode::Dhcp);
    settings.dad = true;
    settings.rapid_commit = true;
    let mut rig = Rig::new(settings);
    let solicit = rig.message(MessageType::Solicit);
    let lease = |address| vec![ia(address, 0, 0, 80, 100), DhcpOption::RapidCommit];
    rig.answer(MessageType::Reply, &solicit, lease("2001:db8::5"));
    let probe = rig.sent().remove(0);
    assert_eq!(
        probe.to,
        Destination::V6("[ff02::1:ff00:5%7]:0".parse().expect("an address"))
    );
    assert_eq!(rig.client.socket(), Some(SocketKind::Icmp6));
    let mut advertisement = probe.payload;
    advertisement[0] = 136;
    rig.receive(&advertisement);
    let decline = rig.message(MessageType::Decline);
    rig.answer(MessageType::Reply, &decline, vec![]);
    assert!(rig.sent().is_empty(), "not in a tight loop");
    rig.pass(1.2);
    let solicit = rig.message(MessageType::Solicit);
    rig.answer(MessageType::Reply, &solicit, lease("2001:db8::6"));
    for _ in 0..3 {
        rig.sent();
        rig.pass(0.5);
    }
    rig.sent();
    assert_eq!(rig.client.progress(), Progress::Bound);
    assert_eq!(rig.addresses(), ["2001:db8::6/128"]);
}

#[test]
fn a_record_is_resumed_without_a_solicit() {
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.bind();
    let record = rig.client.record().expect("a record");
    rig.client = Ipv6Client::resumed(rig.client.setup.clone(), Some(record));
    assert_eq!(rig.addresses(), ["2001:db8::5/128"]);
    rig.pass(20.0);
    rig.message(MessageType::Renew);
}
