//! Router advertisements, and what is missing without them.

use super::*;

/// A router advertisement of 2001:db8:1::/64 with these flags.
fn advertisement(flags: u8) -> Vec<u8> {
    let mut packet = vec![134, 0, 0, 0, 64, flags, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    packet.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
    packet.extend(ip("2001:db8:1::").octets());
    packet
}

#[test]
fn routers_decide_what_is_asked_for() {
    // Neither flag: SLAAC alone.
    let mut rig = Rig::new(settings(Mode::Auto));
    let [solicitation] = &rig.sent()[..] else {
        panic!("no router solicitation");
    };
    assert_eq!(
        solicitation.to,
        Destination::V6("[ff02::2%7]:0".parse().expect("an address"))
    );
    rig.receive(&advertisement(0));
    rig.sent();
    assert_eq!(rig.client.progress(), Progress::Bound);
    assert_eq!(rig.addresses(), ["2001:db8:1:0:42:acff:fe11:2/64"]);
    let formed = Output::Remove(rig.client.slaac.addresses().next().expect("an address"));
    assert_eq!(rig.done[..2], [Output::Autoconf(false), formed]);
    rig.pass(11.0);
    rig.sent();
    assert_eq!(rig.done.last(), Some(&Output::Autoconf(true)));

    // M: a lease as well.
    let mut rig = Rig::new(settings(Mode::Auto));
    rig.sent();
    rig.receive(&advertisement(0x80));
    let solicit = rig.message(MessageType::Solicit);
    rig.answer(
        MessageType::Advertise,
        &solicit,
        vec![
            ia("2001:db8::5", 0, 0, 80, 100),
            DhcpOption::Preference(255),
        ],
    );
    let request = rig.message(MessageType::Request);
    rig.answer(
        MessageType::Reply,
        &request,
        vec![ia("2001:db8::5", 0, 0, 80, 100)],
    );
    assert_eq!(
        rig.addresses(),
        ["2001:db8:1:0:42:acff:fe11:2/64", "2001:db8::5/128"]
    );

    // O, or M in mode slaac: DNS servers by DHCPv6, without which it goes on after a while.
    for (mode, flags) in [(Mode::Auto, 0x40), (Mode::Slaac, 0x80)] {
        for is_answered in [true, false] {
            let mut rig = Rig::new(settings(mode));
            rig.sent();
            rig.receive(&advertisement(flags));
            let request = rig.message(MessageType::InformationRequest);
            assert!(request.opts().get(OptionCode::IANA).is_none());
            if is_answered {
                let dns = DhcpOption::DomainNameServers(vec![ip("2001:db8::53")]);
                rig.answer(MessageType::Reply, &request, vec![dns]);
            } else {
                rig.pass(3.1);
            }
            rig.sent();
            assert_eq!(rig.client.progress(), Progress::Bound);
            let mut result = AddResult::default();
            rig.client.add_to(&mut result);
            assert_eq!(result.dns.nameservers.len(), usize::from(is_answered));
        }
    }
}

#[test]
fn silence_ends_with_what_was_missing() {
    for required in [true, false] {
        let mut settings = settings(Mode::Auto);
        settings.required = required;
        let mut rig = Rig::new(settings);
        for _ in 0..4 {
            rig.sent();
            rig.pass(4.0);
        }
        rig.sent();
        match rig.client.progress() {
            Progress::Failed(why) => assert!(required && why.contains("router"), "{why}"),
            progress => assert!(!required && progress == Progress::Bound, "{progress:?}"),
        }
    }
    let mut rig = Rig::new(settings(Mode::Dhcp));
    rig.pass(201.0);
    rig.sent();
    assert!(matches!(rig.client.progress(), Progress::Failed(_)));
    assert_eq!(rig.client.socket(), None);
}
