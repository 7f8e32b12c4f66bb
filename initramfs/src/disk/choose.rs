//! Finds a disk again by its identity, or says why it cannot be told.

use std::fmt;

use super::{Candidate, DiskIdentity};

/// Why no disk was chosen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// No disk is the one.
    #[error("no disk has {wanted} (seen: {seen})")]
    NotFound {
        /// What was looked for.
        wanted: Box<DiskIdentity>,
        /// The disks there are.
        seen: Names,
    },
    /// Several disks could be the one.
    #[error("{names} all have {wanted}")]
    Doubt {
        /// What was looked for.
        wanted: Box<DiskIdentity>,
        /// The disks that could be it.
        names: Names,
    },
}

/// Kernel names of disks, for messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        formatter.write_str(&self.0.join(", "))
    }
}

/// Returns the one candidate that is the `wanted` disk.
///
/// Serial number, world wide name and table id are strong: at least one must be equal, and none
/// may differ where both sides have it. The size must be equal where it is wanted. The bus path
/// is weak, since slots are renumbered: it only decides between candidates that are left.
pub fn choose<'c>(
    wanted: &DiskIdentity,
    candidates: &'c [Candidate],
) -> Result<&'c Candidate, ChoiceError> {
    let fitting: Vec<_> = candidates.iter().filter(|one| fits(wanted, &one.identity)).collect();
    let on_its_bus = fitting.iter().filter(|one| same_bus(wanted, &one.identity));
    let on_its_bus: Vec<_> = on_its_bus.collect();
    match (fitting.as_slice(), on_its_bus.as_slice()) {
        ([one], _) => Ok(*one),
        (_, [one]) => Ok(**one),
        ([], _) => {
            let seen = names(candidates);
            Err(ChoiceError::NotFound { wanted: Box::new(wanted.clone()), seen })
        }
        (several, _) => {
            let names = names(several.iter().copied());
            Err(ChoiceError::Doubt { wanted: Box::new(wanted.clone()), names })
        }
    }
}

fn names<'c>(candidates: impl IntoIterator<Item = &'c Candidate>) -> Names {
    Names(candidates.into_iter().map(|one| one.name.clone()).collect())
}

fn fits(wanted: &DiskIdentity, found: &DiskIdentity) -> bool {
    let strong = [
        (&wanted.serial, &found.serial),
        (&wanted.wwn, &found.wwn),
        (&wanted.table_id, &found.table_id),
    ];
    let known = || strong.iter().filter_map(|(a, b)| Some(a.as_ref()? == b.as_ref()?));
    let size_fits = wanted.size.is_none() || wanted.size == found.size;
    size_fits && known().any(|equal| equal) && known().all(|equal| equal)
}

fn same_bus(wanted: &DiskIdentity, found: &DiskIdentity) -> bool {
    wanted.bus_path.is_some() && wanted.bus_path == found.bus_path
}

impl fmt::Display for DiskIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|size| size.to_string());
        let known = [
            ("serial number", &self.serial),
            ("world wide name", &self.wwn),
            ("table id", &self.table_id),
            ("size", &size),
        ];
        let known = known.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let known: Vec<_> = known.map(|(name, value)| format!("{name} {value}")).collect();
        formatter.write_str(if known.is_empty() { "no identity" } else { "" })?;
        formatter.write_str(&known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, ChoiceError, DiskIdentity, choose};

    /// Makes an identity of `serial/wwn/table-id/bus-path/size`, `-` for what is not known.
    fn identity(text: &str) -> DiskIdentity {
        let mut parts = text.split('/').map(|part| (part != "-").then(|| part.to_owned()));
        let mut next = || parts.next().flatten();
        let (serial, wwn, table_id, bus_path) = (next(), next(), next(), next());
        let size = next().map(|size| size.parse().unwrap());
        DiskIdentity { serial, wwn, table_id, bus_path, size }
    }

    fn outcome(wanted: &str, disks: &[&str]) -> String {
        let candidate = |(index, text): (usize, &&str)| Candidate {
            name: format!("sd{index}"),
            identity: identity(text),
            ..Candidate::default()
        };
        let candidates: Vec<_> = disks.iter().enumerate().map(candidate).collect();
        match choose(&identity(wanted), &candidates) {
            Ok(one) => one.name.clone(),
            Err(ChoiceError::NotFound { .. }) => "not found".to_owned(),
            Err(ChoiceError::Doubt { names, .. }) => format!("doubt {names}"),
        }
    }

    #[test]
    fn a_disk_is_chosen_by_quorum_or_not_at_all() {
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("serial alone", "S1/-/-/-/-", &["S2/-/-/-/9", "S1/-/-/-/9"], "sd1"),
            ("table id alone", "-/-/t1/-/9", &["-/-/t2/-/9", "-/-/t1/-/9"], "sd1"),
            ("no such serial", "S3/-/-/-/-", &["S1/-/-/-/9", "S2/-/-/-/9"], "not found"),
            ("no disks", "S3/-/-/-/-", &[], "not found"),
            ("size differs", "S1/-/-/-/8", &["S1/-/-/-/9"], "not found"),
            ("size alone is weak", "-/-/-/-/9", &["S1/-/-/-/9"], "not found"),
            ("bus alone is weak", "-/-/-/b1/9", &["S1/-/-/b1/9"], "not found"),
            ("table was rewritten", "S1/-/t1/-/9", &["S1/-/t2/-/9"], "not found"),
            ("serial is silent now", "S1/-/t1/-/9", &["-/-/t1/-/9"], "sd0"),
            ("cloned table id", "S1/-/t1/-/9", &["S2/-/t1/-/9", "S1/-/t1/-/9"], "sd1"),
            ("cloned, no serials", "-/-/t1/-/9", &["-/-/t1/-/9", "-/-/t1/-/9"], "doubt sd0, sd1"),
            ("bus breaks the tie", "-/-/t1/b2/9", &["-/-/t1/b1/9", "-/-/t1/b2/9"], "sd1"),
            ("bus moved, no tie", "S1/-/-/b1/9", &["S2/-/-/b1/9", "S1/-/-/b7/9"], "sd1"),
            ("tie on one bus", "-/-/t/b/9", &["-/-/t/b/9", "-/-/t/b/9"], "doubt sd0, sd1"),
            ("wwn contradicts", "S1/w1/-/-/9", &["S1/w2/-/-/9"], "not found"),
        ];
        for (case, wanted, disks, want) in cases {
            assert_eq!(outcome(wanted, disks), *want, "{case}");
        }
    }
}
