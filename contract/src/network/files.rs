//! Renders the network as files that the new system can use as they are.
//!
//! `network.json` is the network itself, `resolv.conf` is for resolver(5). Below them is a folder
//! for each program that sets links up: all of them say the same, as far as the program can express
//! it. Cards are found by their MAC addresses, and have the names that they had.

mod alpine;
mod commands;
mod entry;
mod ifupdown;
mod netplan;
mod network_manager;
mod networkd;
mod rendered;

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::{fs, io};

use self::rendered::{File, Rendered};
use super::{Network, Route};

type Render = fn(&Network) -> Rendered;

/// The formats, each with the name of its folder.
const FORMATS: [(&str, Render); 5] = [
    ("networkd", |network| with_idle_cards(networkd::render, network)),
    ("ifupdown", |network| with_idle_cards(ifupdown::render, network)),
    ("networkmanager", |network| with_idle_cards(network_manager::render, network)),
    ("netplan", |network| netplan::render(&network.in_use())),
    ("alpine", |network| alpine::render(&network.in_use())),
];

/// Renders what is in use.
///
/// Cards that are not in use keep their names, lest others get them, and stay down: what may be
/// advertised to them is not this machine's network.
fn with_idle_cards(render: Render, network: &Network) -> Rendered {
    let used = network.in_use();
    let mut rendered = render(&used);
    for link in network.links.iter().filter(|link| !used.links.contains(link)) {
        if let Some(text) = networkd::link_file(link) {
            rendered.add(format!("10-{}.link", link.name), text);
        }
    }
    rendered
}

/// Writes all files below `folder`, which exists.
///
/// Returns what a format cannot express, or what it needs for that; the files say so at that place,
/// too.
pub fn write(network: &Network, folder: &Path) -> io::Result<Vec<String>> {
    let json = serde_json::to_string_pretty(network)?;
    fs::write(folder.join("network.json"), json + "\n")?;
    fs::write(folder.join("resolv.conf"), resolv_conf(network))?;
    let mut notes = Vec::new();
    for (name, render) in FORMATS {
        fs::create_dir_all(folder.join(name))?;
        let rendered = render(network);
        for file in rendered.files {
            write_file(&folder.join(name), &file)?;
        }
        notes.extend(rendered.notes.into_iter().map(|note| format!("{name}: {note}")));
    }
    Ok(notes)
}

/// Returns the names and texts of the files for systemd-networkd alone.
pub fn for_networkd(network: &Network) -> Vec<(String, String)> {
    networkd::render(&network.in_use())
        .files
        .into_iter()
        .map(|file| (file.name, file.text))
        .collect()
}

fn write_file(folder: &Path, file: &File) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(file.mode);
    options.open(folder.join(&file.name))?.write_all(file.text.as_bytes())
}

/// Renders `/etc/resolv.conf`.
pub fn resolv_conf(network: &Network) -> String {
    let mut text = String::new();
    if !network.search.is_empty() {
        text = format!("search {}\n", network.search.join(" "));
    }
    network.resolvers.iter().fold(text, |text, resolver| text + &format!("nameserver {resolver}\n"))
}

/// Joins items with blanks.
fn words<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
