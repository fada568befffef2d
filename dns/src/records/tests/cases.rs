//! The specification (kubernetes/dns, schema 1.1.0) section by section, KEP-1645, and what CoreDNS has beyond them.

use bowline_cluster::intern::Strings;
use bowline_sources::parse;

use super::*;

/// One object in JSON a line.
fn objects(lines: &str) -> Vec<Change> {
    let lines: Vec<String> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let text = lines.join("\n---\n");
    let manifest = parse::manifest("objects.yaml", text.as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, []);
    manifest.objects.into_iter().map(|object| Change::Put(object, Origin::from("objects.yaml"))).collect()
}

fn namespace(name: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#) + "\n"
}

fn service(name: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}","namespace":"default"}},"spec":{spec}}}"#
    ) + "\n"
}

/// A slice of these endpoints with port sql, 5432.
fn slice(service: &str, name: &str, family: &str, endpoints: &str) -> String {
    let labels = format!(r#"{{"kubernetes.io/service-name":"{service}"}}"#);
    labelled(&labels, name, family, endpoints)
}

fn labelled(labels: &str, name: &str, family: &str, endpoints: &str) -> String {
    format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"{name}","namespace":"default","labels":{labels}}},"addressType":"{family}","ports":[{{"name":"sql","port":5432}}],"endpoints":[{endpoints}]}}"#
    ) + "\n"
}

fn options() -> Options {
    let zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"].map(name);
    Options::new(&zones, &[])
}

fn compiled(options: Options, lines: &str) -> Told {
    let mut told = Told::new(options);
    told.state.apply(Update::All(objects(lines)));
    told.keeper.update_at(&told.state.snapshot(), None, 7);
    told
}

fn records(told: &Told) -> Arc<Records> {
    told.keeper.published().load_full()
}

/// Code and answers, but for owner and TTL.
fn asked(told: &Told, text: &str, rtype: Type) -> (u16, Vec<String>) {
    let said = say(&records(told), &name(text), rtype);
    let short = |text: &String| text.splitn(4, ' ').last().unwrap().to_owned();
    (said.rcode, said.answers.iter().map(short).collect())
}

fn is(told: &Told, text: &str, rtype: Type, answers: &[&str]) {
    assert_eq!(
        asked(told, text, rtype),
        (0, answers.iter().map(|text| (*text).to_owned()).collect()),
        "{text} {rtype}"
    );
}

fn is_nothing(told: &Told, text: &str, rtype: Type, rcode: u16) {
    assert_eq!(asked(told, text, rtype), (rcode, vec![]), "{text} {rtype}");
    assert_eq!(say(&records(told), &name(text), rtype).authorities.len(), 1);
}

const NXDOMAIN: u16 = 3;

#[test]
fn section_2_2_schema_version() {
    let told = compiled(options(), "");
    is(&told, "dns-version.cluster.local", Type::TXT, &["1.1.0"]);
    assert_eq!(say(&records(&told), &name("dns-version.cluster.local"), Type::TXT).answers.len(), 1);
}

#[test]
fn section_2_3_services_with_a_cluster_ip() {
    let web = service(
        "web",
        r#"{"clusterIP":"10.3.0.1","clusterIPs":["10.3.0.1","2001:db8::1"],"ports":[{"name":"https","port":443},{"name":"http","port":80}]}"#,
    );
    let told = compiled(options(), &(namespace("default") + &web));
    // 2.3.1
    is(&told, "web.default.svc.cluster.local", Type::A, &["10.3.0.1"]);
    is(&told, "web.default.svc.cluster.local", Type::AAAA, &["2001:db8::1"]);
    // 2.3.2
    is(&told, "_https._tcp.web.default.svc.cluster.local", Type::SRV, &["0 50 443 web.default.svc.cluster.local."]);
    is_nothing(&told, "_https._udp.web.default.svc.cluster.local", Type::SRV, NXDOMAIN);
    // 2.3.3
    is(&told, "1.0.3.10.in-addr.arpa", Type::PTR, &["web.default.svc.cluster.local."]);
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    is(&told, v6, Type::PTR, &["web.default.svc.cluster.local."]);
    // CoreDNS: records of every port at the Service's own name.
    let both = ["0 25 443 web.default.svc.cluster.local.", "0 25 80 web.default.svc.cluster.local."];
    is(&told, "web.default.svc.cluster.local", Type::SRV, &both);
    is_nothing(&told, "web.default.svc.cluster.local", Type::MX, 0);
    is_nothing(&told, "web.other.svc.cluster.local", Type::A, NXDOMAIN);
}

#[test]
fn section_2_4_headless_services() {
    let db = service("db", r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#);
    let four = r#"{"addresses":["10.3.0.1"],"hostname":"my-pet"},{"addresses":["10.3.0.2"]},
        {"addresses":["10.3.0.3"],"conditions":{"ready":false}}"#
        .replace('\n', "");
    let six = r#"{"addresses":["2001:db8::1"],"hostname":"my-pet"}"#;
    let slices = slice("db", "db-4", "IPv4", &four) + &slice("db", "db-6", "IPv6", six);
    let mut told = compiled(options(), &(namespace("default") + &db + &slices));
    // 2.4.1: every ready endpoint, and each by its hostname.
    is(&told, "db.default.svc.cluster.local", Type::A, &["10.3.0.1", "10.3.0.2"]);
    is(&told, "db.default.svc.cluster.local", Type::AAAA, &["2001:db8::1"]);
    is(&told, "my-pet.db.default.svc.cluster.local", Type::A, &["10.3.0.1"]);
    is(&told, "my-pet.db.default.svc.cluster.local", Type::AAAA, &["2001:db8::1"]);
    is(&told, "10-3-0-2.db.default.svc.cluster.local", Type::A, &["10.3.0.2"]);
    is_nothing(&told, "10-3-0-3.db.default.svc.cluster.local", Type::A, NXDOMAIN);
    // 2.4.2: one for each port and endpoint; a Pod of both families is one.
    let srv = ["0 33 5432 10-3-0-2.db.default.svc.cluster.local.", "0 33 5432 my-pet.db.default.svc.cluster.local."];
    is(&told, "_sql._tcp.db.default.svc.cluster.local", Type::SRV, &srv);
    let said = say(&records(&told), &name("_sql._tcp.db.default.svc.cluster.local"), Type::SRV);
    assert_eq!(said.additionals.len(), 3);
    // 2.4.3
    is(&told, "1.0.3.10.in-addr.arpa", Type::PTR, &["my-pet.db.default.svc.cluster.local."]);
    is(&told, "2.0.3.10.in-addr.arpa", Type::PTR, &["10-3-0-2.db.default.svc.cluster.local."]);
    is_nothing(&told, "3.0.3.10.in-addr.arpa", Type::PTR, NXDOMAIN);
    // Without a ready endpoint the name is gone.
    let none = slice("db", "db-4", "IPv4", r#"{"addresses":["10.3.0.1"],"conditions":{"ready":false}}"#);
    told.state.apply(Update::All(objects(&(namespace("default") + &db + &none))));
    told.keeper.update_at(&told.state.snapshot(), None, 8);
    is_nothing(&told, "db.default.svc.cluster.local", Type::A, NXDOMAIN);
    is_nothing(&told, "1.0.3.10.in-addr.arpa", Type::PTR, NXDOMAIN);
}

/// KEP-1645, DNS for multi-cluster Services, 1.0.0.
#[test]
fn multi_cluster_services() {
    let import = |name: &str, spec: &str| {
        format!(
            r#"{{"apiVersion":"multicluster.x-k8s.io/v1alpha1","kind":"ServiceImport","metadata":{{"name":"{name}","namespace":"default"}},"spec":{spec}}}"#
        ) + "\n"
    };
    let labels = |cluster: &str| {
        format!(
            r#"{{"multicluster.kubernetes.io/service-name":"db","multicluster.kubernetes.io/source-cluster":"{cluster}"}}"#
        )
    };
    let world = namespace("default")
        + &import("web", r#"{"type":"ClusterSetIP","ips":["10.42.0.1"],"ports":[{"name":"http","port":80}]}"#)
        + &import("db", r#"{"type":"Headless","ports":[{"name":"sql","port":5432}]}"#)
        + &labelled(&labels("east"), "db-east", "IPv4", r#"{"addresses":["10.3.0.1"],"hostname":"db-0"}"#)
        + &labelled(&labels("west"), "db-west", "IPv4", r#"{"addresses":["10.4.0.1"],"hostname":"db-0"}"#);
    let zones = ["cluster.local", "clusterset.local", "in-addr.arpa"].map(name);
    let told = compiled(Options::new(&zones, &[name("clusterset.local")]), &world);
    is(&told, "dns-version.clusterset.local", Type::TXT, &["1.0.0"]);
    is(&told, "web.default.svc.clusterset.local", Type::A, &["10.42.0.1"]);
    let srv = ["0 100 80 web.default.svc.clusterset.local."];
    is(&told, "_http._tcp.web.default.svc.clusterset.local", Type::SRV, &srv);
    is(&told, "1.0.42.10.in-addr.arpa", Type::PTR, &["web.default.svc.clusterset.local."]);
    is(&told, "db.default.svc.clusterset.local", Type::A, &["10.3.0.1", "10.4.0.1"]);
    is(&told, "db-0.west.db.default.svc.clusterset.local", Type::A, &["10.4.0.1"]);
    is_nothing(&told, "db-0.db.default.svc.clusterset.local", Type::A, NXDOMAIN);
    is_nothing(&told, "web.default.svc.cluster.local", Type::A, NXDOMAIN);
}

/// An update compiles what changed, and shares all else.
#[test]
fn what_did_not_change_is_shared() {
    let services: String =
        ["a", "b"].map(|name| service(name, r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#)).concat();
    let world = |address: &str| {
        namespace("default")
            + &services
            + &slice("a", "a-1", "IPv4", &format!(r#"{{"addresses":["{address}"]}}"#))
            + &slice("b", "b-1", "IPv4", r#"{"addresses":["10.0.0.9"]}"#)
    };
    let mut told = compiled(options(), &world("10.0.0.1"));
    let before = records(&told);
    told.state.apply(Update::All(objects(&world("10.0.0.2"))));
    told.keeper.update_at(&told.state.snapshot(), None, 9);
    let after = records(&told);
    let entry = |records: &Records, front: &[u8]| records.services.get_key_value(front).unwrap().0.0.clone();
    assert!(Arc::ptr_eq(&entry(&before, b"\x01b\x07default\x03svc"), &entry(&after, b"\x01b\x07default\x03svc")));
    assert!(!Arc::ptr_eq(&entry(&before, b"\x01a\x07default\x03svc"), &entry(&after, b"\x01a\x07default\x03svc")));
    is(&told, "a.default.svc.cluster.local", Type::A, &["10.0.0.2"]);
    // Answers that were taken before stay what they were, and the serial tells the two apart.
    let said = say(&before, &name("a.default.svc.cluster.local"), Type::A);
    assert_eq!(said.answers, ["a.default.svc.cluster.local. 5 A 10.0.0.1".to_owned()].into());
    assert_eq!((before.serial, after.serial), (7, 9));
    told.keeper.update_at(&told.state.snapshot(), None, 11);
    assert_eq!(records(&told).serial, 9);
}

#[test]
fn endpoints_near_the_client_come_first() {
    let db = service("db", r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#);
    let endpoints = [("1", "n1", "z1"), ("2", "n2", "z2"), ("3", "n3", "z1"), ("4", "n2", "z2")]
        .map(|(n, node, zone)| format!(r#"{{"addresses":["10.0.0.{n}"],"nodeName":"{node}","zone":"{zone}"}}"#));
    let told = compiled(options(), &(namespace("default") + &db + &slice("db", "db-1", "IPv4", &endpoints.join(","))));
    let records = records(&told);
    let zone = &records.options().zones[0];
    let asked = name("db.default.svc.cluster.local");
    let front = asked.before(&zone.name).unwrap();
    let order = |node: &str, zone_name: &str| {
        let answer = records.resolve(zone, front, Type::A);
        let Found::Rrset(rrset) = &answer.found else { panic!("{:?}", answer.found) };
        let lasts = rrset.bytes().chunks(rrset.stride()).map(|record| record[15]);
        let mut order: Vec<(u8, u8)> = rrset.distances(Near { node, zone: zone_name }).zip(lasts).collect();
        order.sort_by_key(|(distance, _)| *distance);
        order.into_iter().map(|(_, last)| last).collect::<Vec<_>>()
    };
    assert_eq!(order("n3", "z1"), [3, 1, 2, 4]);
    assert_eq!(order("n2", "z2"), [2, 4, 1, 3]);
    assert_eq!(order("n9", "z2"), [2, 4, 1, 3]);
    assert_eq!(order("", ""), [1, 2, 3, 4]);
}

#[test]
fn a_transfer_has_every_record_and_the_soa_beside() {
    let world = namespace("default")
        + &service("web", r#"{"clusterIP":"10.3.0.1","ports":[{"name":"http-alt","port":80},{"name":"x","port":81}]}"#)
        + &service("db", r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#)
        + &slice("db", "db-1", "IPv4", r#"{"addresses":["10.3.0.2"],"hostname":"db-0"}"#)
        + &service("out", r#"{"type":"ExternalName","externalName":"db.example.com"}"#);
    let mut options = options();
    options.local_ips = vec!["192.0.2.1".parse().unwrap()];
    let told = compiled(options, &world);
    let records = records(&told);
    let (soa, all) = records.transfer(&records.options().zones[0]).unwrap();
    assert!(text(&soa).starts_with("cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 7"));
    let all: Vec<String> = all.map(|record| text(&record)).collect();
    assert_eq!(
        all,
        [
            "cluster.local. 5 NS ns.dns.cluster.local.",
            "ns.dns.cluster.local. 0 A 192.0.2.1",
            "db.default.svc.cluster.local. 5 A 10.3.0.2",
            "db-0.db.default.svc.cluster.local. 5 A 10.3.0.2",
            "_sql._tcp.db.default.svc.cluster.local. 5 SRV 0 100 5432 db-0.db.default.svc.cluster.local.",
            "out.default.svc.cluster.local. 5 CNAME db.example.com.",
            "web.default.svc.cluster.local. 5 A 10.3.0.1",
            "_http-alt._tcp.web.default.svc.cluster.local. 5 SRV 0 100 80 web.default.svc.cluster.local.",
            "web.default.svc.cluster.local. 5 SRV 0 100 80 web.default.svc.cluster.local.",
            "_x._tcp.web.default.svc.cluster.local. 5 SRV 0 100 81 web.default.svc.cluster.local.",
            "web.default.svc.cluster.local. 5 SRV 0 100 81 web.default.svc.cluster.local.",
        ]
    );
    assert!(Arc::new(Records::new(Arc::new(self::options()))).transfer(&records.options().zones[0]).is_none());
}

#[test]
fn what_does_not_fit_is_not_written() {
    let db = service("db", r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#);
    let endpoints: Vec<String> = (0..200).map(|n| format!(r#"{{"addresses":["10.0.1.{n}"]}}"#)).collect();
    let told = compiled(options(), &(namespace("default") + &db + &slice("db", "db-1", "IPv4", &endpoints.join(","))));
    let records = records(&told);
    let zone = &records.options().zones[0];
    let asked = name("db.default.svc.cluster.local");
    let front = asked.before(&zone.name).unwrap();
    for (rtype, length) in [(Type::A, 200 * 16), (Type::SOA, 60), (Type::SRV, 1400)] {
        let answer = records.resolve(zone, front, rtype);
        let question = Asked { name: asked.as_wire(), front: front.len() };
        for room in [0, 1, length / 2, length - 20] {
            assert_eq!(answer.write(question, &mut vec![0; room]), None, "{rtype} {room}");
        }
    }
    // More targets than the fast way takes: the long way has them all.
    let answer = records.resolve(zone, front, Type::SRV);
    let question = Asked { name: asked.as_wire(), front: front.len() };
    assert_eq!(answer.write(question, &mut vec![0; 65535]), None);
    assert_eq!(answer.sections(&asked).answers.len(), 200);
}
