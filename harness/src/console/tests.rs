//! What boot firmware, boot loaders, kernels and systemd write, with what is visible of it.

use proptest::prelude::*;

use super::*;

/// Returns all lines, the unfinished one last.
fn shown(bytes: &[u8]) -> Vec<String> {
    let mut console = Console::new();
    let mut lines = console.push(bytes);
    lines.push(console.pending());
    lines
}

#[test]
fn escape_sequences_leave_only_what_can_be_seen() {
    for (bytes, want) in [
        ("a\r\nb\r\n", &["a", "b", ""][..]),
        ("no carriage return\nnext", &["no carriage return", "next"]),
        ("debian login: ", &["debian login: "]),
        ("trailing   \r\n", &["trailing", ""]),
        ("\x1b[32m  OK  \x1b[0m done\r\n", &["  OK   done", ""]),
        ("\x1b]0;title\x07text", &["text"]),
        // SeaBIOS with a serial console: reset, clear, home, then text.
        ("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1)\r\n", &["SeaBIOS (version 1)", ""]),
        // GRUB draws its menu row by row.
        (
            "\x1b[2J\x1b[1;1H\x1b[5;3H*Debian\x1b[6;3H Advanced\x1b[20;1H",
            &["  *Debian", "   Advanced", ""],
        ),
        // systemd paints over its spinner.
        ("\r\x1b[K[*     ] A start job\r\x1b[K[  OK  ] Started\r\n", &["[  OK  ] Started", ""]),
        ("overwritten\rnew", &["newrwritten"]),
        ("12345\x08\x08ab", &["123ab"]),
        ("a\tb", &["a       b"]),
        ("abc\x1b[2D\x1b[K", &["a"]),
        ("abc\x1b[10Gd", &["abc      d"]),
        ("\u{2026}caf\u{e9}\r\n", &["\u{2026}caf\u{e9}", ""]),
    ] {
        assert_eq!(shown(bytes.as_bytes()), want, "{bytes:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_do_not_stop_the_console() {
    assert_eq!(shown(b"a\xffb\r\nc"), ["a\u{fffd}b", "c"]);
    assert_eq!(shown(b"\0\x07\x01ok"), ["ok"]);
}

#[test]
fn an_incomplete_sequence_is_held_back() {
    let mut console = Console::new();
    assert_eq!(console.push(b"login\x1b["), Vec::<String>::new());
    assert_eq!(console.pending(), "login");
    assert_eq!(console.push(b"0m: \xe2\x80"), Vec::<String>::new());
    assert_eq!(console.pending(), "login: ");
    assert_eq!(console.push(b"\xa6\n"), ["login: \u{2026}"]);
}

#[test]
fn an_endless_line_is_cut() {
    let lines = shown(&vec![b'x'; 3 * MAX_COLUMNS + 1]);
    let lengths: Vec<usize> = lines.iter().map(String::len).collect();
    assert_eq!(lengths, [MAX_COLUMNS, MAX_COLUMNS, MAX_COLUMNS, 1]);
    assert!(shown(b"\x1b[65535Gx")[0].len() <= MAX_COLUMNS);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_lines(
        pieces in prop::collection::vec(
            prop_oneof![
                "[a-z\u{e9}\u{2026} ]{0,6}",
                Just("\r\n".to_owned()),
                "\x1b\\[[0-9]{0,2};?[0-9]{0,2}[A-KmHJd]",
                "\x1b[c78]",
                "[\r\n\t\x08]",
            ],
            0..30,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(1_usize..7, 1..40),
    ) {
        let mut bytes = pieces.concat().into_bytes();
        bytes.extend(noise);
        let mut console = Console::new();
        let mut lines = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            lines.extend(console.push(chunk));
            rest = after;
        }
        lines.push(console.pending());
        prop_assert_eq!(lines, shown(&bytes));
    }
}
