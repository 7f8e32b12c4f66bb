//! The contract: one test for each row of the table of features that concerns IMGBUILD and makeimg.
#![expect(clippy::expect_used, reason = "the helpers of a test may fail it")]

#[path = "support/world.rs"]
mod world;

use world::{SMALLEST, World};

#[test]
fn worker() {
    world::work();
}

#[test]
fn row_44_format_dir() {
    let world = World::new(SMALLEST);
    world.write("project/files/etc/hostname", "x\n");
    let outcome = world.builds();
    assert_eq!(outcome.made, Some(world.path("out/small")));
    assert_eq!(world.read("out/small/etc/hostname"), "x\n");
    insta::assert_snapshot!(outcome.told);
}

#[test]
fn row_46_provision_function() {
    let world = World::new(&format!(
        "{SMALLEST}x=\"a'b\"\nprovision() {{\nid >/id; echo \"$x $imgname\" >/x; ls /proc/self /dev/null /sys/kernel >/dev/null; echo said\n}}\n"
    ));
    let outcome = world.builds();
    assert_eq!(world.read("out/small/x"), "a'b small\n", "{}", outcome.told);
    assert_eq!(world.read("out/small/id"), "uid=0(root) gid=0(root)\n");
    assert!(outcome.told.contains("| said\n"), "{}", outcome.told);
}
