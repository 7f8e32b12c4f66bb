//! The console lines that `anemos` promises, read as an outsider reads them.

/// The stages in the order of the contract; spelled out here on purpose.
pub const STAGES: &[&str] = &[
    "verify-initramfs",
    "mount",
    "modules",
    "disks",
    "network",
    "verify-payload",
    "unpack",
    "deploy",
    "settle",
    "reboot",
];

/// How `anemos deploy` says that the machine now goes through its firmware and boot loader.
pub const BOOTS_ENTRY: &str = "rebooting into the one-time boot entry";

/// What one contract line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// `anemos: stage deploy begins`
    Begins(String),
    /// `anemos: stage deploy ended ok 41.2s`
    EndedWell(String, f64),
    /// `anemos: stage deploy ended failed 3.0s: REASON`
    EndedBadly(String, f64, String),
    /// `anemos: error: stage deploy hangs`
    Hangs(String),
    /// `anemos: error: TEXT`
    Error(String),
    /// `anemos: verdict deployed`
    Verdict(String),
}

/// Returns what the line says, if it belongs to the contract.
///
/// The kernel may have put a line of its own before it, without an end. A line with only the
/// kernel's clock before it is a copy: PID 1 writes everything to the kernel log too, which prints
/// it late if a magic key raises its level.
pub fn parse(line: &str) -> Option<Said> {
    let (before, said) = line.split_once("anemos: ")?;
    let before = before.trim();
    if before.starts_with('[') && before.ends_with(']') {
        return None;
    }
    let said = without_kernel(said).trim_end();
    if let Some(word) = said.strip_prefix("verdict ") {
        return Some(Said::Verdict(word.split_whitespace().next()?.to_owned()));
    }
    if let Some(text) = said.strip_prefix("error: ") {
        let stage = text.strip_prefix("stage ").and_then(|rest| rest.strip_suffix(" hangs"));
        let stage = stage.filter(|stage| STAGES.contains(stage));
        let error = || Said::Error(text.to_owned());
        return Some(stage.map_or_else(error, |stage| Said::Hangs(stage.to_owned())));
    }
    let (stage, said) = said.strip_prefix("stage ")?.split_once(' ')?;
    if !STAGES.contains(&stage) {
        return None;
    }
    parse_stage(stage.to_owned(), said)
}

/// Cuts off what the kernel said before our line was finished: `begins[ 17.774534] IPv6: …`.
fn without_kernel(said: &str) -> &str {
    let is_clock = |at: &usize| {
        let rest = said.get(at + 1..).unwrap_or_default().trim_start_matches(' ');
        rest.split_once(']').is_some_and(|(clock, _)| {
            clock.split_once('.').is_some_and(|(secs, micros)| {
                let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                micros.len() == 6 && digits(micros) && !secs.is_empty() && digits(secs)
            })
        })
    };
    let clock = said.match_indices('[').map(|(at, _)| at).find(is_clock);
    said.get(..clock.unwrap_or(said.len())).unwrap_or(said)
}

fn parse_stage(stage: String, said: &str) -> Option<Said> {
    if said == "begins" {
        return Some(Said::Begins(stage));
    }
    if let Some(took) = said.strip_prefix("ended ok ") {
        return Some(Said::EndedWell(stage, seconds(took)?));
    }
    let (took, reason) = said.strip_prefix("ended failed ")?.split_once(": ")?;
    Some(Said::EndedBadly(stage, seconds(took)?, reason.to_owned()))
}

fn seconds(text: &str) -> Option<f64> {
    text.strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_lines_are_read_and_their_copies_in_the_kernel_log_are_not() {
        let deploy = || "deploy".to_owned();
        for (line, want) in [
            ("anemos: stage deploy begins", Some(Said::Begins(deploy()))),
            ("[   26.031267] anemos: stage deploy begins", None),
            ("[    1.500000] IPv6: xanemos: stage deploy begins", Some(Said::Begins(deploy()))),
            ("anemos: stage deploy ended ok 41.2s", Some(Said::EndedWell(deploy(), 41.2))),
            (
                "anemos: stage deploy ended failed 3.0s: status 1: see above",
                Some(Said::EndedBadly(deploy(), 3.0, "status 1: see above".into())),
            ),
            ("anemos: error: no disk", Some(Said::Error("no disk".into()))),
            ("anemos: error: stage deploy hangs", Some(Said::Hangs(deploy()))),
            ("anemos: error: stage dance hangs", Some(Said::Error("stage dance hangs".into()))),
            ("anemos: verdict returned", Some(Said::Verdict("returned".into()))),
            (
                "anemos: stage deploy begins[   17.774534] IPv6: eth0: link becomes ready",
                Some(Said::Begins(deploy())),
            ),
            (
                "anemos: stage deploy ended ok 1.0s[    3.000001] [drm] x",
                Some(Said::EndedWell(deploy(), 1.0)),
            ),
            ("anemos: error: [1] no [disk]", Some(Said::Error("[1] no [disk]".into()))),
            ("anemos: stage dance begins", None),
            ("anemos: stage deploy ended ok soon", None),
            ("verdict deployed", None),
        ] {
            assert_eq!(parse(line), want, "{line:?}");
        }
    }
}
