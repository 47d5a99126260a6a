//! The shape of what is written, by examples.

use super::*;
use crate::lab::cast::{self, Family, NODE1};

fn service(family: Family, protocol: Protocol, endpoints: &[u8]) -> Service {
    Service {
        name: "web".to_owned(),
        protocol,
        address: cast::service(family, 10),
        port: 80,
        node_port: Some(30080),
        endpoints: endpoints.iter().map(|pod| cast::pod(1, *pod).socket(family, 8080)).collect(),
    }
}

fn setup(services: Vec<Service>) -> Setup {
    Setup {
        node_addresses: Family::BOTH.map(|family| NODE1.ip(family)).to_vec(),
        cluster_cidrs: vec![
            ("10.244.0.0".parse().expect("an address"), 16),
            ("fd00:244::".parse().expect("an address"), 32),
        ],
        services,
    }
}

fn v4(endpoints: &[u8]) -> Setup {
    setup(vec![service(Family::V4, Protocol::Tcp, endpoints)])
}

/// The input of the one command.
#[track_caller]
fn only(commands: Vec<Command>, words: &[&str]) -> String {
    let [(found, text)] = <[Command; 1]>::try_from(commands).expect("one command");
    assert_eq!(found, words);
    text
}

/// Hashes become `#`, so that examples can be read.
fn readable(text: &str) -> String {
    let parts = text.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    let hide = |part: &str| {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        let hash = digits.len() == 8 || digits.len() == 16;
        let upper = !digits.contains(|c: char| c.is_ascii_lowercase());
        if hash && upper { part.replacen(digits, "#", 1) } else { part.to_owned() }
    };
    parts.map(hide).collect()
}

/// The lines with one of these words in them, without what all have in front.
fn lines<'a>(text: &'a str, of: &[&str], prefix: &str) -> Vec<&'a str> {
    let matching = text.lines().filter(|line| of.iter().any(|word| line.contains(word)));
    matching.map(|line| line.trim_start_matches(prefix)).collect()
}

#[track_caller]
fn assert_in_order(text: &str, expected: &[&str]) {
    let mut rest = text;
    for line in expected {
        let at = rest.find(&format!("{line}\n"));
        let at = at.unwrap_or_else(|| panic!("no `{line}` where it belongs in\n{text}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn nftables_has_a_chain_for_the_service_for_its_node_port_and_for_each_endpoint() {
    let text = readable(&only(Peer::Nftables.text(&v4(&[1, 2])), &["nft", "-f", "-"]));
    let found = lines(&text, &["/web/", "cluster-ips {", "nodeport-ips {"], "");
    let expected = "\
add set ip kube-proxy cluster-ips { type ipv4_addr ; }
add set ip kube-proxy nodeport-ips { type ipv4_addr ; }
add element ip kube-proxy nodeport-ips { 192.0.2.1 }
add element ip kube-proxy cluster-ips { 10.96.0.10 }
add chain ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080
flush chain ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080
add chain ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080
flush chain ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080
add chain ip kube-proxy service-#-default/web/tcp/tcp-80
flush chain ip kube-proxy service-#-default/web/tcp/tcp-80
add chain ip kube-proxy external-#-default/web/tcp/tcp-80
flush chain ip kube-proxy external-#-default/web/tcp/tcp-80
add rule ip kube-proxy service-#-default/web/tcp/tcp-80 ip daddr 10.96.0.10 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade
add rule ip kube-proxy external-#-default/web/tcp/tcp-80 jump mark-for-masquerade
add rule ip kube-proxy external-#-default/web/tcp/tcp-80 goto service-#-default/web/tcp/tcp-80
add rule ip kube-proxy service-#-default/web/tcp/tcp-80 numgen random mod 2 vmap { 0 : goto endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080 , 1 : goto endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080 }
add rule ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080 ip saddr 10.244.1.1 jump mark-for-masquerade
add rule ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080 meta l4proto tcp dnat to 10.244.1.1:8080
add rule ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080 ip saddr 10.244.1.2 jump mark-for-masquerade
add rule ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080 meta l4proto tcp dnat to 10.244.1.2:8080
add element ip kube-proxy service-ips { 10.96.0.10 . tcp . 80 : goto service-#-default/web/tcp/tcp-80 }
add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-#-default/web/tcp/tcp-80 }";
    assert_eq!(found, expected.lines().collect::<Vec<_>>());
}

#[test]
fn nftables_looks_up_before_dnat_in_verdict_maps() {
    let text = only(Peer::Nftables.text(&v4(&[1])), &["nft", "-f", "-"]);
    let rules: Vec<_> = lines(&text, &["add rule"], "add rule ip kube-proxy ");
    for expected in [
        "filter-forward ct state new jump service-endpoints-check",
        "nat-prerouting jump services",
        "services ip daddr . meta l4proto . th dport vmap @service-ips",
        "services ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
        "masquerading meta mark and 0x4000 == 0 return",
        "masquerading meta mark set meta mark xor 0x4000",
        "masquerading masquerade fully-random",
        "cluster-ips-check ip daddr @cluster-ips reject",
    ] {
        assert!(rules.contains(&expected), "{expected}\n{text}");
    }
    assert!(text.contains("filter-forward { type filter hook forward priority -110 ; }\n"));
    assert!(text.contains("nat-prerouting { type nat hook prerouting priority -100 ; }\n"));
}

#[test]
fn nftables_changes_the_chains_of_one_service_and_flushes_those_of_gone_endpoints() {
    let other = Service { name: "other".to_owned(), ..service(Family::V4, Protocol::Udp, &[1]) };
    let with =
        |endpoints| setup(vec![other.clone(), service(Family::V4, Protocol::Tcp, endpoints)]);
    let commands = Peer::Nftables.change_text(&with(&[1, 2]), &with(&[2, 3])).expect("a change");
    let text = readable(&only(commands, &["nft", "-f", "-"]));
    assert!(!text.contains("other") && !text.contains("element"), "{text}");
    let flushed = lines(&text, &["flush"], "flush chain ip kube-proxy ");
    let expected = "\
endpoint-#-default/web/tcp/tcp-80__10.244.1.2/8080
endpoint-#-default/web/tcp/tcp-80__10.244.1.3/8080
service-#-default/web/tcp/tcp-80
external-#-default/web/tcp/tcp-80
endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080";
    assert_eq!(flushed, expected.lines().collect::<Vec<_>>());
}

#[test]
fn nftables_moves_a_service_that_loses_its_last_endpoint_to_the_other_maps() {
    let commands = Peer::Nftables.change_text(&v4(&[1]), &v4(&[])).expect("a change");
    let text = readable(&only(commands, &["nft", "-f", "-"]));
    let expected = "\
add element ip kube-proxy no-endpoint-services { 10.96.0.10 . tcp . 80 : goto reject-chain }
add element ip kube-proxy no-endpoint-nodeports { tcp . 30080 : goto reject-chain }
flush chain ip kube-proxy endpoint-#-default/web/tcp/tcp-80__10.244.1.1/8080
flush chain ip kube-proxy service-#-default/web/tcp/tcp-80
flush chain ip kube-proxy external-#-default/web/tcp/tcp-80
delete element ip kube-proxy service-ips { 10.96.0.10 . tcp . 80 }
delete element ip kube-proxy service-nodeports { tcp . 30080 }
";
    assert_eq!(text, expected);
}

#[test]
fn iptables_lists_the_service_and_has_chains_for_it_and_its_endpoints() {
    let words = ["iptables-restore", "--noflush"];
    let text = readable(&only(Peer::Iptables.text(&v4(&[1, 2, 3])), &words));
    let found = lines(&text, &["default/web", "NOTE", ":KUBE-S"], "");
    let c = "-m comment --comment";
    let expected = [
        ":KUBE-SERVICES - [0:0]".to_owned(),
        ":KUBE-SERVICES - [0:0]".to_owned(),
        ":KUBE-SVC-# - [0:0]".to_owned(),
        ":KUBE-SEP-# - [0:0]".to_owned(),
        ":KUBE-SEP-# - [0:0]".to_owned(),
        ":KUBE-SEP-# - [0:0]".to_owned(),
        format!(
            "-A KUBE-SERVICES {c} \"default/web:tcp-80 cluster IP\" -m tcp -p tcp -d 10.96.0.10 --dport 80 -j KUBE-SVC-#"
        ),
        format!(
            "-A KUBE-NODEPORTS {c} default/web:tcp-80 -m tcp -p tcp --dport 30080 -j KUBE-EXT-#"
        ),
        format!(
            "-A KUBE-SVC-# {c} \"default/web:tcp-80 cluster IP\" -m tcp -p tcp -d 10.96.0.10 --dport 80 ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ"
        ),
        format!(
            "-A KUBE-EXT-# {c} \"masquerade traffic for default/web:tcp-80 external destinations\" -j KUBE-MARK-MASQ"
        ),
        format!(
            "-A KUBE-SVC-# {c} \"default/web:tcp-80 -> 10.244.1.1:8080\" -m statistic --mode random --probability 0.3333333333 -j KUBE-SEP-#"
        ),
        format!(
            "-A KUBE-SVC-# {c} \"default/web:tcp-80 -> 10.244.1.2:8080\" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-#"
        ),
        format!("-A KUBE-SVC-# {c} \"default/web:tcp-80 -> 10.244.1.3:8080\" -j KUBE-SEP-#"),
        format!("-A KUBE-SEP-# {c} default/web:tcp-80 -s 10.244.1.1 -j KUBE-MARK-MASQ"),
        format!(
            "-A KUBE-SEP-# {c} default/web:tcp-80 -m tcp -p tcp -j DNAT --to-destination 10.244.1.1:8080"
        ),
        format!("-A KUBE-SEP-# {c} default/web:tcp-80 -s 10.244.1.2 -j KUBE-MARK-MASQ"),
        format!(
            "-A KUBE-SEP-# {c} default/web:tcp-80 -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:8080"
        ),
        format!("-A KUBE-SEP-# {c} default/web:tcp-80 -s 10.244.1.3 -j KUBE-MARK-MASQ"),
        format!(
            "-A KUBE-SEP-# {c} default/web:tcp-80 -m tcp -p tcp -j DNAT --to-destination 10.244.1.3:8080"
        ),
        format!(
            "-A KUBE-SERVICES {c} \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn iptables_drops_what_conntrack_calls_invalid_and_masquerades_what_is_marked() {
    let words = ["iptables-restore", "--noflush"];
    let text = only(Peer::Iptables.text(&v4(&[1])), &words);
    assert_in_order(
        &text,
        &[
            "*filter",
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT",
            "COMMIT",
            "*nat",
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
            "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully",
            "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
            "COMMIT",
        ],
    );
    let firewall = "-I FORWARD -m conntrack --ctstate NEW -m comment --comment \
                    \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL\n";
    assert!(text.contains(firewall), "{text}");
}

#[test]
fn iptables_rejects_what_goes_to_a_service_without_endpoints() {
    let words = ["iptables-restore", "--noflush"];
    let text = only(Peer::Iptables.text(&v4(&[])), &words);
    let comment = "-m comment --comment \"default/web:tcp-80 has no endpoints\"";
    let expected = [
        format!("-A KUBE-SERVICES {comment} -m tcp -p tcp -d 10.96.0.10 --dport 80 -j REJECT"),
        format!(
            "-A KUBE-EXTERNAL-SERVICES {comment} -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30080 -j REJECT"
        ),
    ];
    assert_eq!(lines(&text, &["default/web"], ""), expected);
}

#[test]
fn iptables_changes_one_services_chains_but_writes_the_whole_list() {
    let other = Service { name: "other".to_owned(), ..service(Family::V4, Protocol::Udp, &[1]) };
    let with =
        |endpoints| setup(vec![other.clone(), service(Family::V4, Protocol::Tcp, endpoints)]);
    let commands = Peer::Iptables.change_text(&with(&[1, 2]), &with(&[2])).expect("a change");
    let text = only(commands, &["iptables-restore", "--noflush"]);
    assert_eq!(lines(&text, &["default/other"], "").len(), 2, "in two lists\n{text}");
    assert_eq!(lines(&text, &["--to-destination"], "").len(), 1);
    assert_eq!(lines(&text, &["-I "], "").len(), 0);
    let gone = lines(&text, &["-X "], "-X ");
    assert!(gone.len() == 1 && gone[0].starts_with("KUBE-SEP-"), "{gone:?}");
    assert!(text.contains(&format!(":{} - [0:0]\n", gone[0])), "flushed before it goes");
}

#[test]
fn iptables_for_a_large_cluster_has_no_comments_at_endpoints_and_leaves_stale_chains() {
    let pods: Vec<u8> = (1..=250).collect();
    let services = || vec![service(Family::V4, Protocol::Tcp, &pods); 5];
    let (before, mut after) = (setup(services()), setup(services()));
    after.services[4].endpoints.pop();
    let text = only(Peer::Iptables.text(&before), &["iptables-restore", "--noflush"]);
    assert_eq!(lines(&text, &["-A KUBE-SEP-"], "").len(), 2 * 1250);
    assert!(!lines(&text, &["-A KUBE-SEP-", "--probability"], "").concat().contains("comment"));
    let commands = Peer::Iptables.change_text(&before, &after).expect("a change");
    assert!(!only(commands, &["iptables-restore", "--noflush"]).contains("-X "));
}

#[test]
fn ipvs_has_an_interface_sets_virtual_servers_and_a_few_rules() {
    let commands = Peer::Ipvs.text(&v4(&[1, 2]));
    let text_of = |program| {
        let found = commands.iter().find(|(words, _)| words.join(" ") == program);
        &found.unwrap_or_else(|| panic!("no {program} in {commands:?}")).1
    };
    assert!(commands[0].0.contains(&"net.ipv4.vs.conntrack=1"));
    assert_eq!(text_of("ip link add kube-ipvs0 type dummy"), "");
    assert_eq!(text_of("ip -batch -"), "address add 10.96.0.10/32 dev kube-ipvs0\n");
    assert_in_order(
        text_of("ipset restore"),
        &[
            "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536",
            "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535",
            "add KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
            "add KUBE-NODE-PORT-TCP 30080",
            "add KUBE-IPVS-IPS 10.96.0.10",
        ],
    );
    let servers = "\
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.1.1:8080 -m -w 1
-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 1
-A -t 192.0.2.1:30080 -s rr
-a -t 192.0.2.1:30080 -r 10.244.1.1:8080 -m -w 1
-a -t 192.0.2.1:30080 -r 10.244.1.2:8080 -m -w 1
";
    assert_eq!(text_of("ipvsadm -R"), servers);
    assert_in_order(
        text_of("iptables-restore --noflush"),
        &[
            "-A KUBE-NODE-PORT -p tcp -m comment --comment \"Kubernetes nodeport TCP port for masquerade purpose\" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ",
            "-A KUBE-SERVICES -m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" -m set --match-set KUBE-CLUSTER-IP dst,dst ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
            "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
            "-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
        ],
    );
}

#[test]
fn ipvs_changes_the_endpoint_at_every_address_of_its_service() {
    let commands = Peer::Ipvs.change_text(&v4(&[1, 2]), &v4(&[2, 3])).expect("a change");
    let expected = "\
-a -t 10.96.0.10:80 -r 10.244.1.3:8080 -m -w 1
-d -t 10.96.0.10:80 -r 10.244.1.1:8080
-a -t 192.0.2.1:30080 -r 10.244.1.3:8080 -m -w 1
-d -t 192.0.2.1:30080 -r 10.244.1.1:8080
";
    assert_eq!(only(commands, &["ipvsadm", "-R"]), expected);
}

#[test]
fn ipvs_has_sets_that_hold_all_services() {
    let services = vec![service(Family::V4, Protocol::Tcp, &[]); 70_000];
    let commands = Peer::Ipvs.text(&setup(services));
    assert!(commands[3].1.contains("maxelem 70000\n"), "{:?}", commands[3].0);
}

#[test]
fn ipv6_has_its_own_table_program_and_sets_and_brackets() {
    let setup = setup(vec![service(Family::V6, Protocol::Udp, &[1])]);
    let nft = readable(&only(Peer::Nftables.text(&setup), &["nft", "-f", "-"]));
    assert!(!nft.contains(" ip "), "{nft}");
    let endpoint = "endpoint-#-default/web/udp/udp-80__fd00.244.1..1/8080";
    let dnat = format!("{endpoint} meta l4proto udp dnat to [fd00:244:1::1]:8080\n");
    assert!(nft.contains(&dnat), "{nft}");
    let words = ["ip6tables-restore", "--noflush"];
    let iptables = only(Peer::Iptables.text(&setup), &words);
    assert!(iptables.contains("--dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS\n"), "{iptables}");
    assert!(iptables.contains("--to-destination [fd00:244:1::1]:8080\n"), "{iptables}");
    assert!(!iptables.contains("KUBE-FIREWALL"), "{iptables}");
    let ipvs = Peer::Ipvs.text(&setup);
    assert!(ipvs[3].1.contains("add KUBE-6-CLUSTER-IP fd00:96::10,udp:80\n"), "{}", ipvs[3].1);
    assert!(ipvs[4].1.contains("-a -u [fd00:96::10]:80 -r [fd00:244:1::1]:8080 -m -w 1\n"));
}

#[test]
fn each_family_that_occurs_gets_its_own_commands_and_changes_by_itself() {
    let both = |v4: &[u8]| {
        let v6 = service(Family::V6, Protocol::Tcp, &[1]);
        setup(vec![v6, service(Family::V4, Protocol::Tcp, v4)])
    };
    for peer in [Peer::Nftables, Peer::Iptables] {
        assert_eq!(peer.text(&both(&[1])).len(), 2);
        assert_eq!(peer.text(&v4(&[1])).len(), 1);
        assert_eq!(peer.change_text(&both(&[1]), &both(&[2])).expect("a change").len(), 1);
        assert_eq!(peer.change_text(&both(&[1]), &both(&[1])).expect("no change").len(), 0);
    }
}

#[test]
fn what_is_more_than_a_change_of_endpoints_is_refused() {
    let mut other = v4(&[1]);
    other.services[0].port = 81;
    for peer in [Peer::Nftables, Peer::Iptables, Peer::Ipvs] {
        assert!(peer.change_text(&v4(&[1]), &other).is_err());
        assert!(peer.change_text(&v4(&[1]), &setup(Vec::new())).is_err());
    }
}

#[test]
fn chains_names_differ_by_name_protocol_port_and_endpoint() {
    let one = service(Family::V4, Protocol::Tcp, &[1, 2]);
    let services = vec![
        Service { name: "db".to_owned(), ..one.clone() },
        Service { port: 81, ..one.clone() },
        Service { protocol: Protocol::Udp, ..one.clone() },
        one,
    ];
    for (peer, chain) in [(Peer::Nftables, "add chain ip"), (Peer::Iptables, ":KUBE-S")] {
        let commands = peer.text(&setup(services.clone()));
        let chains = lines(&commands[0].1, &[chain], "");
        let of_services = chains.iter().filter(|one| one.contains('/') || one.contains("-S"));
        let distinct: std::collections::HashSet<_> = of_services.collect();
        let per_service = if peer == Peer::Nftables { 4 } else { 3 };
        assert_eq!(distinct.len(), 4 * per_service + usize::from(peer == Peer::Iptables));
    }
}
