//! The addresses of a server as a Machine shows them.

use k8s_openapi::api::core::v1::NodeAddress;

use crate::cloud::compute::{Address, Server};

fn is_ipv6(address: &Address) -> bool {
    address.version == 6 || address.addr.contains(':')
}

/// All addresses: networks by name, in each IPv4 before IPv6, and the name as internal DNS name.
pub fn of_server(server: &Server) -> Vec<NodeAddress> {
    let mut addresses = Vec::new();
    for of_network in server.addresses.values() {
        for ipv6 in [false, true] {
            for address in of_network.iter().filter(|address| is_ipv6(address) == ipv6) {
                addresses.push(NodeAddress {
                    type_: if address.type_ == "floating" {
                        "ExternalIP"
                    } else {
                        "InternalIP"
                    }
                    .to_owned(),
                    address: address.addr.clone(),
                });
            }
        }
    }
    addresses.push(NodeAddress {
        type_: "InternalDNS".to_owned(),
        address: server.name.clone(),
    });
    addresses
}

/// The address in a network: IPv4 first.
pub fn in_network<'a>(server: &'a Server, network: &str) -> Option<&'a str> {
    let fixed: Vec<&Address> = server
        .addresses
        .get(network)?
        .iter()
        .filter(|address| address.type_ != "floating")
        .collect();
    let ipv4 = fixed.iter().find(|address| !is_ipv6(address));
    ipv4.or(fixed.first()).map(|address| address.addr.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sorted_by_network_and_family() {
        let address = |addr: &str, version, type_: &str| Address {
            addr: addr.into(),
            version,
            type_: type_.into(),
        };
        let server = Server {
            name: "s".into(),
            addresses: [
                ("z".to_owned(), vec![address("10.1.0.2", 4, "fixed")]),
                (
                    "a".to_owned(),
                    vec![
                        address("fd00::2", 6, "fixed"),
                        address("10.0.0.2", 4, "fixed"),
                        address("203.0.113.9", 4, "floating"),
                    ],
                ),
            ]
            .into(),
            ..Server::default()
        };
        let shown: Vec<(String, String)> = of_server(&server)
            .into_iter()
            .map(|a| (a.type_, a.address))
            .collect();
        let expected = [
            ("InternalIP", "10.0.0.2"),
            ("ExternalIP", "203.0.113.9"),
            ("InternalIP", "fd00::2"),
            ("InternalIP", "10.1.0.2"),
            ("InternalDNS", "s"),
        ];
        assert_eq!(shown, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(in_network(&server, "a"), Some("10.0.0.2"));
        assert_eq!(in_network(&server, "b"), None);
    }
}
