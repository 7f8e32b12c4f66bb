//! Claims about arbitrary bytes: no panic, and nothing outside of the destination.

use std::path::Path;

use proptest::prelude::*;
use tar::EntryType;

use super::{Planted, file, folder, gzip, hard, link, planted, script, tarball, zstd};
use crate::payload::{Limits, inspect, unpack};

/// Unpacks next to a witness, which is then the only thing outside.
fn unpack_beside_a_witness(packed: &[u8]) -> Result<(), String> {
    let place = tempfile::tempdir().unwrap();
    let witness = place.path().join("witness");
    std::fs::write(&witness, "untouched").unwrap();
    let limits = Limits { unpacked: 4 << 20, members: 100 };
    let inspected = inspect(packed, limits);
    let unpacked = unpack(packed, &place.path().join("a/b"), limits);
    assert_eq!(inspected.is_ok(), unpacked.is_ok(), "{inspected:?} but {unpacked:?}");
    let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!((names(place.path()), names(&place.path().join("a"))), (2, 1));
    assert_eq!(std::fs::read_to_string(&witness).unwrap(), "untouched");
    unpacked.map(drop).map_err(|error| error.to_string())
}

fn good() -> Vec<u8> {
    tarball(&[
        folder("top/"),
        script("top/deploy"),
        file("top/data", &[9; 3000]),
        link("top/sub/link", "../data"),
        hard("top/twin", "top/data"),
    ])
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("deploy"),
        Just(".."),
        Just("."),
        Just(""),
        Just("witness")
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn member() -> impl Strategy<Value = Planted> {
    let kind = prop_oneof![
        Just(EntryType::Regular),
        Just(EntryType::Directory),
        Just(EntryType::Symlink),
        Just(EntryType::Link),
        Just(EntryType::Fifo)
    ];
    (kind, name(), name())
        .prop_map(|(kind, name, target)| planted(kind, &name, &target, 0o755, b""))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_off_payload_is_always_refused(cut in 0_usize..400, plain in any::<bool>()) {
        let packed = if plain { gzip(&good()) } else { zstd(&good()) };
        let cut = cut % packed.len();
        prop_assert!(unpack_beside_a_witness(&packed[..cut]).is_err(), "cut at {}", cut);
    }

    #[test]
    fn damage_before_packing_never_escapes(
        changes in prop::collection::vec((0_usize..8192, any::<u8>()), 1..6)
    ) {
        let mut plain = good();
        let length = plain.len();
        for (place, byte) in changes {
            plain[place % length] = byte;
        }
        // Either outcome is right; the claim is that it stays inside its folder.
        drop(unpack_beside_a_witness(&zstd(&plain)));
    }

    #[test]
    fn damage_after_packing_is_found_or_harmless(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut packed = gzip(&good());
        let place = place.index(packed.len());
        packed[place] ^= 1 << bit;
        drop(unpack_beside_a_witness(&packed));
    }

    #[test]
    fn wild_names_and_links_never_escape(members in prop::collection::vec(member(), 1..12)) {
        let mut members = members;
        members.insert(0, script("deploy"));
        drop(unpack_beside_a_witness(&zstd(&tarball(&members))));
    }
}
