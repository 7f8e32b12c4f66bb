//! Finds a disk again by its identity, or says why that is not possible.

use std::fmt;

use super::{Candidate, DiskIdentity};

/// Why no disk was chosen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// No disk matches.
    #[error("no disk has {wanted} (seen: {seen})")]
    NotFound {
        /// What was looked for.
        wanted: Box<DiskIdentity>,
        /// The disks there are, each with what is wrong with it.
        seen: Names,
    },
    /// Several disks match.
    #[error("{names} all have {wanted}")]
    Doubt {
        /// What was looked for.
        wanted: Box<DiskIdentity>,
        /// The disks that match.
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

/// How many strong marks must be equal, if that many are known.
const QUORUM: usize = 2;

/// Returns the one candidate that is the `wanted` disk.
///
/// Serial number, world wide name, table id and digest of the ends are strong marks: two of them
/// must be equal, or the only one that is wanted. The first three must not differ if both sides
/// have them; the ends may, if two others vouch for the disk, because boot loaders write there. The
/// size must be equal if one is wanted. The bus path is weak, since slots are renumbered: it only
/// decides between candidates that are left.
pub fn choose<'c>(
    wanted: &DiskIdentity,
    candidates: &'c [Candidate],
) -> Result<&'c Candidate, ChoiceError> {
    let fits = |one: &&Candidate| objection(wanted, &one.identity).is_none();
    let fitting: Vec<_> = candidates.iter().filter(fits).collect();
    let on_its_bus = fitting.iter().filter(|one| same_bus(wanted, &one.identity));
    let on_its_bus: Vec<_> = on_its_bus.collect();
    match (fitting.as_slice(), on_its_bus.as_slice()) {
        ([one], _) => Ok(*one),
        (_, [one]) => Ok(**one),
        ([], _) => {
            let seen = candidates.iter().map(|one| {
                let objection = objection(wanted, &one.identity).unwrap_or_default();
                format!("{}: {objection}", one.name)
            });
            let seen = Names(seen.collect());
            Err(ChoiceError::NotFound { wanted: Box::new(wanted.clone()), seen })
        }
        (several, _) => {
            let names = Names(several.iter().map(|one| one.name.clone()).collect());
            Err(ChoiceError::Doubt { wanted: Box::new(wanted.clone()), names })
        }
    }
}

/// Says why a disk is not the wanted one.
fn objection(wanted: &DiskIdentity, found: &DiskIdentity) -> Option<String> {
    if wanted.size.is_some() && wanted.size != found.size {
        return Some("another size".to_owned());
    }
    let mut equal = 0;
    for (mark, other) in wanted.marks().into_iter().zip(found.marks()) {
        let (Some(value), Some(other)) = (mark.value, other.value) else { continue };
        if value == other {
            equal += 1;
        } else if mark.lasts {
            return Some(format!("another {}", mark.name));
        }
    }
    let needed = wanted.known_marks().min(QUORUM);
    (equal < needed || needed == 0).then(|| format!("{equal} of {needed} marks that are needed"))
}

fn same_bus(wanted: &DiskIdentity, found: &DiskIdentity) -> bool {
    wanted.bus_path.is_some() && wanted.bus_path == found.bus_path
}

impl fmt::Display for DiskIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known = Vec::new();
        for mark in self.marks() {
            // Of a digest, enough digits to compare by eye.
            let most = if mark.lasts { usize::MAX } else { 12 };
            let Some(value) = mark.value else { continue };
            known.push(format!("{} {}", mark.name, value.get(..most).unwrap_or(value)));
        }
        known.extend(self.size.map(|size| format!("size {size}")));
        formatter.write_str(if known.is_empty() { "no identity" } else { "" })?;
        formatter.write_str(&known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, ChoiceError, DiskIdentity, choose};

    /// Parses an identity from `serial/wwn/table-id/ends/bus-path/size`, with `-` for unknown.
    fn identity(text: &str) -> DiskIdentity {
        let mut parts = text.split('/').map(|part| (part != "-").then(|| part.to_owned()));
        let mut next = || parts.next().flatten();
        let (serial, wwn, table_id, ends, bus_path) = (next(), next(), next(), next(), next());
        let size = next().map(|size| size.parse().unwrap());
        DiskIdentity { serial, wwn, table_id, ends, bus_path, size }
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
            Err(ChoiceError::NotFound { seen, .. }) => format!("not found: {seen}"),
            Err(ChoiceError::Doubt { names, .. }) => format!("doubt {names}"),
        }
    }

    /// The name of the case, the wanted disk, the disks of the machine, and the expected outcome.
    type Case = (&'static str, &'static str, &'static [&'static str], &'static str);

    const CASES: &[Case] = &[
        ("no disks", "S3/-/-/-/-/-", &[], "not found: none"),
        ("one mark is all there is", "S1/-/-/-/-/-", &["S2/-/-/-/-/9", "S1/-/-/-/-/9"], "sd1"),
        (
            "no such serial",
            "S3/-/-/-/-/-",
            &["S1/-/-/-/-/9"],
            "not found: sd0: another serial number",
        ),
        ("table and ends", "-/-/t1/e1/-/9", &["-/-/t2/e2/-/9", "-/-/t1/e1/-/9"], "sd1"),
        ("size differs", "S1/-/-/-/-/8", &["S1/-/-/-/-/9"], "not found: sd0: another size"),
        (
            "size alone is weak",
            "-/-/-/-/-/9",
            &["S1/-/-/-/-/9"],
            "not found: sd0: 0 of 0 marks that are needed",
        ),
        (
            "bus alone is weak",
            "-/-/-/-/b1/9",
            &["S1/-/-/-/b1/9"],
            "not found: sd0: 0 of 0 marks that are needed",
        ),
        (
            "table was rewritten",
            "S1/-/t1/e1/-/9",
            &["S1/-/t2/e2/-/9"],
            "not found: sd0: another table id",
        ),
        ("ends were rewritten", "S1/-/t1/e1/-/9", &["S1/-/t1/e2/-/9"], "sd0"),
        (
            "ends of a clone",
            "-/-/t1/e1/-/9",
            &["-/-/t1/e2/-/9"],
            "not found: sd0: 1 of 2 marks that are needed",
        ),
        (
            "serial is silent now",
            "S1/-/t1/-/-/9",
            &["-/-/t1/-/-/9"],
            "not found: sd0: 1 of 2 marks that are needed",
        ),
        ("two others vouch", "S1/-/t1/e1/-/9", &["-/-/t1/e1/-/9"], "sd0"),
        ("cloned table", "S1/-/t1/e1/-/9", &["S2/-/t1/e1/-/9", "S1/-/t1/e1/-/9"], "sd1"),
        (
            "cloned, no serials",
            "-/-/t1/e1/-/9",
            &["-/-/t1/e1/-/9", "-/-/t1/e1/-/9"],
            "doubt sd0, sd1",
        ),
        ("bus breaks the tie", "-/-/t1/e1/b2/9", &["-/-/t1/e1/b1/9", "-/-/t1/e1/b2/9"], "sd1"),
        ("bus moved, no tie", "S1/-/-/-/b1/9", &["S2/-/-/-/b1/9", "S1/-/-/-/b7/9"], "sd1"),
        ("tie on one bus", "-/-/t/e/b/9", &["-/-/t/e/b/9", "-/-/t/e/b/9"], "doubt sd0, sd1"),
        (
            "wwn contradicts",
            "S1/w1/t1/-/-/9",
            &["S1/w2/t1/-/-/9"],
            "not found: sd0: another world wide name",
        ),
    ];

    #[test]
    fn what_two_identities_have_in_common_is_what_is_known_and_equal() {
        for (one, other, want) in [
            ("S1/w1/t1/e1/b1/9", "S1/w1/t1/e1/b1/9", "S1/w1/t1/e1/b1/9"),
            ("S1/-/t1/e1/b1/9", "S1/w1/t1/e2/b2/9", "S1/-/t1/-/-/9"),
            ("S1/-/-/-/-/-", "-/-/-/-/-/9", "-/-/-/-/-/-"),
        ] {
            assert_eq!(identity(one).common(&identity(other)), identity(want), "{one} {other}");
        }
    }

    #[test]
    fn a_disk_is_chosen_by_quorum_or_not_at_all() {
        for (case, wanted, disks, want) in CASES {
            assert_eq!(outcome(wanted, disks), *want, "{case}");
        }
    }
}
