//! Lines that guests really printed, with what they mean.

use super::*;

#[test]
fn lines_that_tell_a_failure_have_its_class() {
    for (line, want) in [
        ("No bootable device.", Class::FirmwareNoBoot),
        ("Boot failed: not a bootable disk", Class::FirmwareNoBoot),
        ("grub> ", Class::BootLoader),
        ("grub rescue> ", Class::BootLoader),
        ("error: file `/boot/grub/i386-pc/normal.mod' not found.", Class::BootLoader),
        ("error: no such device: 6b9f0d1c-8a7e-4a36-9c1c-7d1f32f4f1a1.", Class::BootLoader),
        ("error: you need to load the kernel first.", Class::BootLoader),
        (
            "[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            Class::KernelNoRoot,
        ),
        (
            "[    2.0] VFS: Cannot open root device \"UUID=1\" or unknown-block(0,0): error -6",
            Class::KernelNoRoot,
        ),
        (
            "[    1.9] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00",
            Class::InitDied,
        ),
        (
            "Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.",
            Class::InitDied,
        ),
        ("[    9.9] Kernel panic - not syncing: Fatal exception in interrupt", Class::KernelPanic),
        ("ALERT!  UUID=0a1b does not exist.  Dropping to a shell!", Class::InitramfsShell),
        ("(initramfs) ", Class::InitramfsShell),
        (
            "You are in emergency mode. After logging in, type \"journalctl -xb\" to view",
            Class::Emergency,
        ),
        ("Give root password for maintenance", Class::Emergency),
        ("Cannot open access to console, the root account is locked.", Class::Emergency),
    ] {
        assert_eq!(failure(line, None).map(|it| it.class), Some(want), "{line:?}");
    }
}

#[test]
fn lines_of_a_healthy_boot_tell_no_failure() {
    for line in [
        "SeaBIOS (version 1.16.2-debian-1.16.2-1)",
        "Booting from Hard Disk...",
        "GRUB loading.",
        "Welcome to GRUB!",
        "[    0.000000] Linux version 6.1.0-31-cloud-amd64 (debian-kernel@lists.debian.org)",
        "[    0.500000] ACPI: No error: all devices found.",
        "Begin: Waiting for root file system ... done.",
        "[  OK  ] Reached target Emergency Mode Setup.",
        "systemd[1]: some.service: error: configuration not found.",
        "debian login: ",
    ] {
        assert_eq!(failure(line, None), None, "{line:?}");
    }
}

#[test]
fn words_of_another_phase_or_in_the_middle_of_a_line_tell_nothing() {
    for (phase, line) in [
        (Phase::Kernel, "error: file `/etc/app.conf' not found."),
        (Phase::System, "grub> is what you see when the menu is broken"),
        (Phase::Firmware, "type grub> help"),
        (Phase::BootLoader, "grub> is what you see when the menu is broken"),
        (Phase::Initramfs, "(initramfs) is a prompt"),
        (Phase::Initramfs, "ALERT!  disk 1 does not exist"),
        (Phase::System, "(initramfs) is a prompt"),
        (Phase::System, "ALERT!  disk 1 does not exist"),
        (Phase::System, "Dec  1 10:00:00 vps kernel: Kernel panic - not syncing: Fatal exception"),
        (Phase::System, "Kernel panic - not syncing: Fatal exception"),
        (Phase::System, "journal: You are in emergency mode"),
        (Phase::System, "No bootable device"),
        (Phase::Kernel, "error: no such device: 0a1b."),
    ] {
        assert_eq!(failure(line, Some(phase)), None, "{phase:?}: {line:?}");
    }
}

#[test]
fn an_initramfs_says_why_it_gives_up() {
    for (line, want) in [
        ("Target filesystem doesn't have requested /sbin/init.", "no init in the root"),
        ("No init found. Try passing init= bootarg.", "no init in the root"),
        ("run-init: can't execute '/sbin/init': No such file or directory", "no init in the root"),
        ("Gave up waiting for root file system device.  Common problems:", "did not find the root"),
        ("ERROR: device 'UUID=0a1b' not found. Skipping fsck.", "did not find the root"),
        ("ERROR: Failed to mount '/dev/vda2' on real root", "could not mount the root"),
        ("Mounting root failed.", "could not mount the root"),
    ] {
        let found = failure(line, Some(Phase::Initramfs)).unwrap();
        assert_eq!(found.class, Class::InitramfsShell, "{line:?}");
        assert!(found.because.unwrap().contains(want), "{line:?}: {found:?}");
    }
}

#[test]
fn the_clock_of_the_kernel_is_read() {
    for (line, want) in [
        ("[    1.500000] vda: vda1", Some(1.5)),
        ("<6>[   12.25] x", Some(12.25)),
        ("[  OK  ] Started x.", None),
        ("[1] x", None),
    ] {
        assert_eq!(clock(line), want, "{line:?}");
    }
}

#[test]
fn a_line_that_only_tells_that_time_passes_is_no_progress() {
    for (line, want) in [
        ("[  OK  ] Started ssh.service - OpenBSD Secure Shell server.", true),
        ("[    1.234567] vda: vda1", true),
        ("[*     ] A start job is running for /dev/disk/by-uuid/1 (12s / 1min 30s)", false),
        ("[ TIME ] Timed out waiting for device dev-disk-by\\x2duuid-1.device.", false),
        ("Begin: Running /scripts/local-block ... done.", false),
        ("[   60.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", false),
        ("   ", false),
    ] {
        assert_eq!(is_progress(line), want, "{line:?}");
    }
}

#[test]
fn banner_and_root_are_found_behind_the_kernel_clock() {
    assert!(is_kernel_banner("[    0.000000] Linux version 6.1.0-31-cloud-amd64 (x)"));
    assert!(is_kernel_banner("Linux version 6.1.0"));
    assert!(is_kernel_banner("vps login: [    0.000000] Linux version 6.1.0"));
    assert!(!is_kernel_banner("echo Linux version 6.1.0"));
    let line =
        "[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=UUID=ab ro console=ttyS0";
    assert_eq!(root_parameter(line), Some("UUID=ab"));
    assert_eq!(root_parameter("[    0.1] Kernel command line: console=ttyS0"), None);
    assert_eq!(root_parameter("root=/dev/vda1 in a text"), None);
}

#[test]
fn a_login_prompt_is_the_end_of_a_line() {
    for (line, want) in [
        ("vps login: ", true),
        ("vps login:", true),
        ("vps login: <14>Nov 24 11:40:19 cloud-init: ####", true),
        ("a.b-c login: [   25.3] cloud-init[374]", true),
        ("login: ", true),
        ("fedora login: ", true),
        ("localhost login:", true),
        ("Please do not use the old login:", false),
        ("Last login: Mon", false),
        ("sshd: failed login: root", false),
        ("login: root", false),
        ("login", false),
    ] {
        assert_eq!(is_login_prompt(line, "login:"), want, "{line:?}");
    }
}

#[test]
fn a_panic_is_less_telling_than_its_reason() {
    assert!(is_more_telling(Class::KernelPanic, Class::InitDied));
    assert!(!is_more_telling(Class::InitDied, Class::KernelPanic));
    assert!(!is_more_telling(Class::BootLoader, Class::KernelNoRoot));
}
