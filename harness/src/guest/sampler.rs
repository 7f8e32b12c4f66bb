//! Samples what does not report by itself: screen, disk counters, packets.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::files::Files;
use super::sensors::Voice;
use super::{GuestError, Traffic, What};
use crate::file::FileError;
use crate::qmp::{BlockStats, Qmp, QueryBlockstats};
use crate::screen::{PAGE_ADDRESS, PAGE_LEN, Screen};

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// The previous sample, because only changes are reported.
#[derive(Debug)]
pub(super) struct Sampler {
    qmp: Arc<Qmp>,
    files: Files,
    page: PathBuf,
    voice: Voice,
    screen: Screen,
    disks: HashMap<String, (u64, u64)>,
    packets: u64,
}

impl Sampler {
    /// Prepares a sampler; `page` is a file that QEMU may write the text page to.
    pub(super) fn new(qmp: Arc<Qmp>, files: Files, page: PathBuf, voice: Voice) -> Self {
        let (screen, disks) = (Screen::default(), HashMap::new());
        Self { qmp, files, page, voice, screen, disks, packets: 0 }
    }

    /// Samples until QEMU no longer answers.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.look().await.is_err() {
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<(), GuestError> {
        let screen = read_screen(&self.qmp, &self.page).await?;
        self.screen(screen)?;
        for disk in self.qmp.execute(QueryBlockstats {}).await.map_err(GuestError::qmp("tell"))? {
            self.disk(disk);
        }
        self.packets();
        Ok(())
    }

    fn screen(&mut self, screen: Screen) -> Result<(), GuestError> {
        if screen != self.screen {
            self.files.write("screen.txt", &screen.to_string())?;
            self.screen = screen.clone();
            self.voice.say(What::Screen(screen));
        }
        Ok(())
    }

    fn disk(&mut self, BlockStats { node_name, stats }: BlockStats) {
        let Some(disk) = node_name else { return };
        let (read, written) = (stats.rd_bytes, stats.wr_bytes);
        let before = self.disks.insert(disk.clone(), (read, written));
        if before.unwrap_or_default() != (read, written) {
            self.voice.say(What::Disk(Traffic { disk, read, written }));
        }
    }

    /// Samples the capture, which a machine without network does not have.
    fn packets(&mut self) {
        let len = std::fs::metadata(self.files.path("pcap")).map_or(0, |file| file.len());
        if len > self.packets {
            self.packets = len;
            self.voice.say(What::Packets(len));
        }
    }
}

/// Makes QEMU write the text page to `page`, then reads it.
pub(super) async fn read_screen(qmp: &Qmp, page: &Path) -> Result<Screen, GuestError> {
    let command = qapi::qmp::pmemsave {
        val: PAGE_ADDRESS,
        size: PAGE_LEN as u64,
        filename: page.display().to_string(),
    };
    qmp.execute(command).await.map_err(GuestError::qmp("save the text page"))?;
    let bytes = std::fs::read(page).map_err(FileError::at("reading", page))?;
    Ok(Screen::decode(&bytes))
}
