//! Rehearses one payload on every kind of machine that it claims to boot on.

use contract::payload::Settings;
use harness::machine::setup::{Bus, Firmware, Setup};
use harness::verdict::{Ending, Verdict};

use super::words::{name, word};

/// A kind of machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// Platform firmware and bus, in the words of files.
    pub(super) name: String,
    /// The machine.
    pub(super) setup: Setup,
}

/// Returns a cell for every firmware and bus that the payload claims.
///
/// The old system must have a driver for the bus (`has`). What the payload does not name is as in
/// `setup`.
pub(super) fn cells(setup: &Setup, settings: &Settings, has: &[Bus]) -> Vec<Cell> {
    // The words were checked when the payload was read.
    let firmware = settings.firmware.iter().filter_map(|name| word::<Firmware>(name).ok());
    let buses = settings.disks.iter().filter_map(|name| word::<Bus>(name).ok());
    let buses = buses.filter(|bus| has.contains(bus));
    let firmware = or(firmware.collect(), setup.firmware);
    let buses = or(buses.collect(), setup.system_disk().bus);
    let mut cells = Vec::new();
    for firmware in firmware {
        for bus in &buses {
            let mut setup = Setup { firmware, ..setup.clone() };
            setup.system_disk_mut().bus = *bus;
            cells.push(Cell { name: format!("{}-{}", name(firmware), name(*bus)), setup });
        }
    }
    cells
}

fn or<T>(claimed: Vec<T>, usual: T) -> Vec<T> {
    if claimed.is_empty() { vec![usual] } else { claimed }
}

/// Renders the table of all results.
pub(super) fn render(verdicts: &[(String, Verdict)]) -> String {
    let width = verdicts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let row = |(name, verdict): &(String, Verdict)| {
        let passed = verdict.verdict == Ending::Passed;
        let why = if passed { String::new() } else { format!("  {}", verdict.reason) };
        format!("{name:<width$}  {:<7}{why}", verdict.verdict.to_string()).trim_end().to_owned()
    };
    verdicts.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// Returns the exit code of all.
///
/// Broken rehearsals show nothing about the payload, so a failure weighs more.
pub(super) fn exit_code(verdicts: &[(String, Verdict)]) -> u8 {
    let codes = verdicts.iter().map(|(_, verdict)| verdict.exit_code());
    codes
        .min_by_key(|code| [1, 3, 4, 130].iter().position(|bad| bad == code).unwrap_or(9))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use harness::classify::Class;

    use super::*;

    #[test]
    fn every_firmware_meets_every_bus() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let settings = Settings {
            firmware: words(&["bios", "uefi"]),
            disks: words(&["virtio-blk", "sata", "nvme"]),
            ..Settings::default()
        };
        let names = |settings| -> Vec<String> {
            let has = [Bus::VirtioBlk, Bus::Nvme];
            cells(&Setup::default(), &settings, &has).into_iter().map(|cell| cell.name).collect()
        };
        assert_eq!(names(Settings::default()), ["bios-virtio-blk"]);
        let want = ["bios-virtio-blk", "bios-nvme", "uefi-virtio-blk", "uefi-nvme"];
        assert_eq!(names(settings), want);
    }

    #[test]
    fn the_table_says_why_and_the_worst_decides() {
        let of = |verdicts: &[Verdict]| -> Vec<(String, Verdict)> {
            let names = ["bios-nvme", "uefi-virtio-blk", "uefi-nvme"];
            names.iter().map(|&name| name.to_owned()).zip(verdicts.iter().cloned()).collect()
        };
        let passed = Verdict::passed("", vec![]);
        let failed = Verdict::failed(Class::BootLoader, "no boot loader", vec![]);
        let broken = Verdict::broken(Class::QemuDied, "QEMU died", vec![]);
        let all = of(&[passed.clone(), broken.clone(), failed]);
        insta::assert_snapshot!(render(&all), @r"
        bios-nvme        passed
        uefi-virtio-blk  broken   QEMU died
        uefi-nvme        failed   no boot loader
        ");
        assert_eq!(exit_code(&all), 1);
        assert_eq!(exit_code(&of(&[passed.clone(), broken])), 4);
        assert_eq!(exit_code(&of(&[passed])), 0);
    }
}
