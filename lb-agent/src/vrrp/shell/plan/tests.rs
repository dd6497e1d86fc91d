//! From a configuration and a host to what is to run.

use super::*;
use crate::network::Link;

const BASE: &str = r#"
[[vrrp]]
name = "VI_1"
interface = "eth0"
virtual_router_id = 51
priority = 150
addresses = ["192.0.2.10/24", "192.0.2.11/24"]
excluded_addresses = [{ address = "198.51.100.9", interface = "eth1" }]
"#;

const V6: &str = r#"
[[vrrp]]
name = "VI_6"
interface = "eth0"
virtual_router_id = 51
addresses = ["2001:db8::10/64", "fe80::10/64"]
"#;

fn config(text: &str) -> Config {
    let file = std::env::temp_dir().join(format!(
        "lb-plan-{}-{:?}.toml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&file, text).expect("write the configuration");
    let loaded = config::load(&file);
    std::fs::remove_file(&file).expect("remove the configuration");
    loaded.unwrap_or_else(|report| panic!("{report}")).config
}

fn links() -> Links {
    let link = |index, name: &str| Link {
        index,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, index as u8]),
        mtu: 1500,
        up: true,
        admin_up: true,
        arp: true,
        kind: None,
        xdp: None,
        master: None,
        vlan: None,
    };
    [link(2, "eth0"), link(3, "eth1")].into_iter().collect()
}

fn there(interface: u32, net: &str) -> PresentAddress {
    PresentAddress {
        interface,
        net: net.parse().expect("a network"),
        ours: false,
        secondary: false,
        global: true,
    }
}

fn ours(interface: u32, net: &str) -> PresentAddress {
    PresentAddress {
        ours: true,
        ..there(interface, net)
    }
}

fn plan(text: &str, present: &[PresentAddress]) -> Result<Plan, PlanError> {
    Plan::new(&config(text), &links(), present)
}

fn source_of(text: &str, present: &[PresentAddress]) -> String {
    let plan = plan(text, present).unwrap_or_else(|error| panic!("{error}"));
    plan.instances[0].filter.source.to_string()
}

// V16
#[test]
fn adverts_come_from_the_primary_address_and_never_from_a_virtual_one() {
    let present = [
        ours(2, "192.0.2.10/24"),
        there(2, "192.0.2.11/24"),
        PresentAddress {
            secondary: true,
            ..there(2, "192.0.2.2/24")
        },
        there(2, "192.0.2.3/24"),
        there(3, "198.51.100.1/24"),
        there(2, "2001:db8::3/64"),
    ];
    assert_eq!(source_of(BASE, &present), "192.0.2.3");
    let chosen = BASE.replace(
        "priority = 150",
        "priority = 150\nsource_address = \"192.0.2.2\"",
    );
    assert_eq!(source_of(&chosen, &present), "192.0.2.2");
}

// V10
#[test]
fn ipv6_adverts_come_from_the_link_local_address_unless_peers_are_far() {
    let present = [there(2, "2001:db8::3/64"), there(2, "fe80::3/64")];
    assert_eq!(source_of(V6, &present), "fe80::3");
    let far = V6.replace("addresses", "unicast_peers = [\"2001:db8::4\"]\naddresses");
    assert_eq!(source_of(&far, &present), "2001:db8::3");
    let refused = plan(V6, &present[..1]).map(drop);
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err("vrrp VI_6: interface eth0 has no link-local IPv6 address to send adverts from; give it one, or set `source_address`".to_owned())
    );
}

// V11
#[test]
fn a_link_local_address_is_advertised_first() {
    let plan = plan(V6, &[there(2, "fe80::3/64")]).expect("a plan");
    let advertised: Vec<_> = plan.instances[0].advert.addresses.iter().collect();
    let expected: [IpAddr; 2] = ["fe80::10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
    assert_eq!(advertised, expected);
}

#[test]
fn excluded_addresses_are_set_where_they_belong_and_not_advertised() {
    let plan = plan(BASE, &[there(2, "192.0.2.3/24")]).expect("a plan");
    let instance = &plan.instances[0];
    assert_eq!(instance.advert.addresses.len(), 2);
    let set: Vec<_> = instance
        .addresses
        .iter()
        .map(|own| (own.interface, own.net.to_string()))
        .collect();
    let expected = [
        (2, "192.0.2.10/24"),
        (2, "192.0.2.11/24"),
        (3, "198.51.100.9/32"),
    ];
    assert_eq!(set, expected.map(|(index, net)| (index, net.to_owned())));
}

#[test]
fn an_instance_depends_on_its_own_interface_unless_told_otherwise() {
    let tracked = |text: &str| {
        let plan = plan(text, &[there(2, "192.0.2.3/24")]).expect("a plan");
        let tracked = plan.setups[0].tracked.iter();
        tracked
            .map(|one| (one.source.to_string(), one.weight))
            .collect::<Vec<_>>()
    };
    assert_eq!(tracked(BASE), [("interface eth0".to_owned(), 0)]);
    let others = BASE.replace(
        "priority = 150",
        "priority = 150\ntrack_primary = false\ntrack_interfaces = [{ name = \"eth1\", weight = -20 }]",
    );
    assert_eq!(tracked(&others), [("interface eth1".to_owned(), -20)]);
    let service = "[[service]]\nname = \"web\"\nlisten = [\"192.0.2.10:80\"]\nmode = \"local\"\n";
    let services = BASE.replace(
        "priority = 150",
        "priority = 150\ntrack_primary = false\ntrack_services = [\"web\"]",
    );
    assert_eq!(
        tracked(&format!("{services}{service}")),
        [("service web".to_owned(), 0)]
    );
}

// V77
#[test]
fn an_instance_was_left_behind_if_all_its_addresses_are_here_and_ours() {
    let all = [
        there(2, "192.0.2.3/24"),
        ours(2, "192.0.2.10/24"),
        ours(2, "192.0.2.11/24"),
        ours(3, "198.51.100.9/32"),
    ];
    let plan = plan(BASE, &all).expect("a plan");
    assert_eq!(plan.left_behind(&all), BTreeSet::from([0]));
    assert_eq!(plan.left_behind(&all[..3]), BTreeSet::new());
    let mut foreign = all.clone();
    foreign[1].ours = false;
    assert_eq!(plan.left_behind(&foreign), BTreeSet::new());
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let text = BASE.replace("\"eth0\"", "\"eth9\"");
    let refused = plan(&text, &[])
        .map(drop)
        .map_err(|error| error.to_string());
    let expected = "vrrp VI_1: interface eth9 does not exist on this host";
    assert_eq!(refused, Err(expected.to_owned()));
}
