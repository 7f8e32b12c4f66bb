//! The kernel command line of the deploy environment.

use crate::facts::consoles_of;

/// Parameters of the deploy environment itself.
///
/// A root of type tmpfs is limited to half of the memory, ramfs is not. After a panic the machine
/// boots the old system again, with enough time to read the reason. A watchdog keeps running until
/// the machine is reset, because kernels can also hang as they leave (Linux,
/// `watchdog/watchdog-parameters.rst`).
const OURS: &str = "rootfstype=ramfs panic=30 watchdog.stop_on_reboot=0";

/// Parameters that this hardware may need, whatever kernel runs on it.
///
/// A parameter that ends in `=`, `.` or `_` stands for all that begin like it.
const HARDWARE: [&str; 61] = [
    "8250.",
    "acpi=",
    "acpi_",
    "amd_iommu=",
    "apic=",
    "clocksource=",
    "console=",
    "dis_ucode_ldr",
    "earlycon",
    "earlycon=",
    "earlyprintk=",
    "efi=",
    "highres=",
    "hpet=",
    "idle=",
    "intel_idle.",
    "intel_iommu=",
    "iommu=",
    "iommu.",
    "irqfixup",
    "irqpoll",
    "lapic",
    "libata.",
    "maxcpus=",
    "mce=",
    "mem=",
    "memmap=",
    "mitigations=",
    "module_blacklist=",
    "no_timer_check",
    "noacpi",
    "noapic",
    "noefi",
    "nohpet",
    "nokaslr",
    "nolapic",
    "nomodeset",
    "nopti",
    "nosmp",
    "notsc",
    "nox2apic",
    "nr_cpus=",
    "nvme.",
    "nvme_core.",
    "pci=",
    "pcie_",
    "pnp.",
    "processor.",
    "random.",
    "reboot=",
    "rootdelay=",
    "scsi_mod.",
    "swiotlb=",
    "tsc=",
    "usb-storage.",
    "usbcore.",
    "virtio_mmio.",
    "x2apic_",
    "xen",
    "xen_",
    "xhci_hcd.",
];

/// Returns our parameters, those of the running system about the hardware, and `extra`.
pub(super) fn render(running: &str, extra: &str) -> String {
    // What follows two dashes is for the init of the running system.
    let running = running.split(" -- ").next().unwrap_or_default();
    let kept = running.split_whitespace().filter(|word| is_about_hardware(word));
    let words = OURS.split(' ').chain(kept).chain(extra.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

fn is_about_hardware(word: &str) -> bool {
    HARDWARE.iter().any(|known| {
        let all = known.ends_with(['=', '.', '_']);
        word == *known || (all && word.starts_with(known))
    })
}

/// Returns the console that people look at: the last serial one, or else the last one.
pub(super) fn console(command_line: &str, others: &[String]) -> Option<String> {
    let named = consoles_of(command_line);
    let consoles = if named.is_empty() { others } else { named.as_slice() };
    consoles.iter().rev().find(|console| !is_screen(console)).or(consoles.last()).cloned()
}

/// Returns whether a console is a virtual terminal: `tty` with or without a number.
fn is_screen(console: &str) -> bool {
    console.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{OURS, console, render};

    #[test]
    fn the_hardware_is_kept_and_the_old_system_dropped() {
        for (running, extra, want) in [
            ("BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet resume=UUID=1 splash", "", ""),
            ("ro console=tty0 console=ttyS0,115200n8", "", " console=tty0 console=ttyS0,115200n8"),
            ("pci=nomsi nomodeset panic=1 rdinit=/x", "", " pci=nomsi nomodeset"),
            ("nvme_core.io_timeout=9 net.ifnames=0", "", " nvme_core.io_timeout=9"),
            ("noapictimer reboot=k -- pci=init", "", " reboot=k"),
            ("", " a=1  b ", " a=1 b"),
        ] {
            assert_eq!(render(running, extra), format!("{OURS}{want}"), "{running} + {extra}");
        }
    }

    #[test]
    fn the_last_serial_console_is_the_one_that_people_look_at() {
        let others = ["tty0".to_owned(), "hvc0".to_owned()];
        for (command_line, want) in [
            ("console=ttyS0,115200 console=tty0", "ttyS0,115200"),
            ("console=tty0 console=ttyS0 console=ttyS1", "ttyS1"),
            ("console=tty0", "tty0"),
            ("quiet", "hvc0"),
        ] {
            assert_eq!(console(command_line, &others).as_deref(), Some(want), "{command_line}");
        }
        assert_eq!(console("quiet", &[]), None);
    }
}
