//! Name servers that another system can use, too.

use std::net::IpAddr;

use super::root::Root;

/// Where they are configured, best first; stubs of this machine are useless elsewhere.
const PLACES: [&str; 5] = [
    "etc/resolv.conf",
    "run/systemd/resolve/resolv.conf",
    "run/NetworkManager/no-stub-resolv.conf",
    "run/NetworkManager/resolv.conf",
    "run/resolvconf/resolv.conf",
];

/// Returns name servers and search list of the first file that names a server beyond this machine.
pub(super) fn read(root: &Root) -> (Vec<IpAddr>, Vec<String>) {
    let parsed = PLACES.iter().filter_map(|place| Some(parse(&root.may(place)?)));
    parsed.into_iter().find(|(servers, _)| !servers.is_empty()).unwrap_or_default()
}

/// Parses the format of resolv.conf(5).
fn parse(text: &str) -> (Vec<IpAddr>, Vec<String>) {
    let mut servers: Vec<IpAddr> = Vec::new();
    let mut search: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
            }
            Some("search" | "domain") => search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    servers.retain(|server| !server.is_loopback());
    search.retain(|domain| domain != ".");
    (servers, search)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn stubs_and_comments_are_left_out() {
        let text = "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\n\
                    nameserver 2001:db8::53\nsearch example.org lan\noptions edns0\n";
        let servers = vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
        assert_eq!(parse(text), (servers, vec!["example.org".to_owned(), "lan".to_owned()]));
    }
}
