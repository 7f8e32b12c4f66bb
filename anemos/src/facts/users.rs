//! Users of the running system who may become root, according to passwd(5) and group(5).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::command;

/// Groups whose members may become root by sudo, as distributions set it up.
const GROUPS: [&str; 3] = ["sudo", "wheel", "admin"];

/// An unreachable directory service may take a while to return nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// An entry of passwd(5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
    shell: String,
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next()?.to_owned(),
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1)?.to_owned(),
            shell: fields.next().unwrap_or_default().to_owned(),
        })
    }

    /// Returns the root user, which every system has.
    fn root() -> Self {
        let (name, home) = ("root".to_owned(), "/root".to_owned());
        Self { name, uid: 0, gid: 0, home, shell: String::new() }
    }

    fn can_log_in(&self) -> bool {
        !["/nologin", "/false"].iter().any(|end| self.shell.ends_with(end))
    }
}

/// Parses the text of passwd(5), skipping lines that are not users.
pub(super) fn parse(passwd: &str) -> Vec<User> {
    passwd.lines().filter_map(User::parse).collect()
}

/// Asks the services of nsswitch.conf(5) for a user; the answer has the format of passwd(5).
pub(super) fn ask(name: &str) -> anyhow::Result<String> {
    let mut command = command::start(Path::new("getent"));
    command.args(["passwd", "--", name]);
    command::output_within(command, LIMIT)
}

/// Parses the answer about a user, who keeps the name that was asked for.
pub(super) fn answer(name: &str, answer: anyhow::Result<String>) -> anyhow::Result<User> {
    let user = answer.and_then(|text| parse(&text).into_iter().next().context("it is empty"));
    let user = user.with_context(|| format!("looking up {name}, whom /etc/passwd lacks"))?;
    Ok(User { name: name.to_owned(), ..user })
}

/// Returns root, the user behind sudo, then all others who may become root and can log in.
pub(super) fn who_may_become_root(users: &[User], group: &str, invoker: Option<&str>) -> Vec<User> {
    let (gids, members) = administrators(group);
    let named = |name: &str| users.iter().find(|user| user.name == name).cloned();
    let mut found = vec![named("root").unwrap_or_else(User::root)];
    found.extend(invoker.and_then(named));
    found.extend(
        users
            .iter()
            .filter(|user| {
                let may =
                    user.uid == 0 || gids.contains(&user.gid) || members.contains(&&*user.name);
                may && user.can_log_in()
            })
            .cloned(),
    );
    let mut seen = BTreeSet::new();
    found.retain(|user| seen.insert(user.name.clone()));
    found
}

/// Returns the numbers and members of the admin groups in the text of group(5).
fn administrators(group: &str) -> (Vec<u32>, Vec<&str>) {
    let (mut gids, mut members) = (Vec::new(), Vec::new());
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, gid, list, ..] = fields.as_slice() else { continue };
        if GROUPS.contains(name) {
            gids.extend(gid.parse::<u32>());
            members.extend(list.split(',').map(str::trim));
        }
    }
    (gids, members)
}

#[cfg(test)]
mod tests {
    use super::{ask, parse, who_may_become_root};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                          web:x:33:33::/var/www:/usr/sbin/nologin\n\
                          ada:x:1000:1000::/srv/ada:/bin/sh\n\
                          bob:x:1001:10::/home/bob:/bin/sh\n\
                          eve:x:1002:1002::/home/eve:/bin/sh\n\
                          nonsense\n\
                          toor:x:0:0::/root:/bin/sh\n";

    #[test]
    fn groups_make_administrators_of_those_who_can_log_in() {
        for (group, invoker, want) in [
            ("", None, "root toor"),
            ("", Some("eve"), "root eve toor"),
            ("", Some("nobody"), "root toor"),
            ("sudo:x:27:ada,web,gone\n", Some("ada"), "root ada toor"),
            ("wheel:x:10:\n", None, "root bob toor"),
            ("admin:x:5: ada\nusers:x:100:eve\nsudo\n", None, "root ada toor"),
            ("sudo:x:27:web,ada\n", Some("web"), "root web ada toor"),
        ] {
            let found = who_may_become_root(&parse(PASSWD), group, invoker);
            let names: Vec<_> = found.iter().map(|user| user.name.as_str()).collect();
            assert_eq!(names.join(" "), want, "{group:?} {invoker:?}");
        }
    }

    #[test]
    fn root_is_there_without_a_user_database() {
        let found = who_may_become_root(&parse(""), "", None);
        assert_eq!((found.len(), found[0].home.as_str()), (1, "/root"));
    }

    #[test]
    fn users_are_asked_for_by_their_names_whatever_these_begin_with() {
        assert_eq!(parse(&ask("root").unwrap())[0].uid, 0);
        let error = ask("-s").unwrap_err().to_string();
        assert_eq!(error, "getent passwd -- -s ended with exit status: 2: ");
    }

    #[test]
    fn homes_come_from_the_user_database() {
        let ada = &parse(PASSWD)[2];
        assert_eq!((&*ada.home, ada.uid, ada.gid), ("/srv/ada", 1000, 1000));
    }
}
