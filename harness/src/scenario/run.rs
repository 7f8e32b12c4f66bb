//! Runs scenarios with the finished `anemos`, as a user would.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::process::Child;

use super::admission::Admission;
use super::payloads::Payloads;
use super::{Came, Scenario, found, struck};
use crate::classify::Class;
use crate::command::Command;
use crate::firmware;
use crate::machine::setup::{Chipset, Firmware};
use crate::verdict::Ending;

/// The result of a scenario.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// Name of the scenario.
    pub name: String,
    /// Its claim.
    pub claim: String,
    /// Whether the claim is true.
    pub verdict: Ending,
    /// What differed from the expectation.
    pub differences: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Where the evidence is.
    pub evidence: PathBuf,
}

/// Runs scenarios.
#[derive(Debug)]
pub struct Runner {
    /// The program under test.
    pub anemos: PathBuf,
    /// Arguments for every scenario, such as `--fixtures DIR`.
    pub arguments: Vec<String>,
    /// Processors of a machine whose scenario does not say how many.
    pub cpus: u32,
    /// Folder of the scenarios.
    pub root: PathBuf,
    /// Its payloads.
    pub payloads: Payloads,
    /// The payload of scenarios that do not name one.
    pub payload: Option<PathBuf>,
    /// Folder for the evidence of all scenarios.
    pub evidence: PathBuf,
    /// Decides when the next scenario may start.
    pub admission: Admission,
}

impl Runner {
    /// Runs one; if it could not even be tried, it is broken.
    pub async fn run(&self, scenario: &Scenario) -> Outcome {
        let (firmware, chipset) = (scenario.machine.firmware, scenario.machine.chipset());
        // No board of that kind has secure boot anywhere, so the claim is the refusal.
        let refused = firmware == Firmware::UefiSecure && chipset == Chipset::Pc;
        if let Some(missing) = firmware::missing(firmware, chipset).filter(|_| !refused) {
            let (verdict, differences) = skipped(scenario, vec![missing.to_string()]);
            return Outcome { verdict, differences, ..self.skip(scenario, "") };
        }
        let evidence = self.evidence.join(&scenario.name);
        let (seconds, (verdict, differences)) = match self.attempt(scenario, &evidence).await {
            Ok(came) => (came.seconds, judge(scenario, &came)),
            Err(error) => (0.0, (Ending::Broken, vec![error.to_string()])),
        };
        Outcome {
            name: scenario.name.clone(),
            claim: scenario.claim.clone(),
            verdict,
            differences,
            seconds,
            evidence,
        }
    }

    /// Returns the outcome of a scenario that was not run, with the reason.
    pub fn skip(&self, scenario: &Scenario, reason: &str) -> Outcome {
        Outcome {
            name: scenario.name.clone(),
            claim: scenario.claim.clone(),
            verdict: Ending::Skipped,
            differences: vec![reason.to_owned()],
            seconds: 0.0,
            evidence: self.evidence.join(&scenario.name),
        }
    }

    /// Returns the command that repeats it, and the one that it ran, whose payload is gone.
    fn repeat(&self, scenario: &Scenario, ran: &Command) -> String {
        let again = Command::new(&self.anemos).arg("conformance").arg("--scenarios");
        let again = again.arg(&self.root).arg(&scenario.name);
        format!("{}\n# It ran: {}\n", again.line(), ran.line())
    }

    /// Runs `anemos test` as soon as a core is free.
    pub(super) async fn attempt(&self, scenario: &Scenario, evidence: &Path) -> io::Result<Came> {
        let admitted = self.admission.enter().await;
        // What an earlier run left there would be judged as this one's.
        match fs::remove_dir_all(evidence) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(evidence)?,
        }
        let overlay = scenario.overlay.as_ref().map(|overlay| scenario.folder.join(overlay));
        let own = scenario.payload.as_ref().map(|payload| scenario.folder.join(payload));
        let source = own.or_else(|| self.payload.clone());
        let source =
            source.ok_or_else(|| io::Error::other("it names no payload; use --payload"))?;
        let payload = self.payloads.bring(&source, overlay.as_deref()).await;
        let payload = payload.map_err(io::Error::other)?;
        let mut command = Command::new(&self.anemos).arg("test").arg(payload);
        command = command.args(&self.arguments).args(&scenario.arguments);
        command = command.arg("--evidence").arg(evidence);
        if scenario.machine.cpus.is_none() {
            command = command.arg("--cpus").arg(self.cpus.to_string());
        }
        if let Some(twin) = &scenario.twin {
            command = command.arg("--twin").arg(scenario.folder.join(twin));
        } else {
            let machine = evidence.join("machine.toml");
            let text = toml::to_string(&scenario.machine).map_err(io::Error::other)?;
            fs::write(&machine, text)?;
            command = command.arg("--machine").arg(machine);
        }
        if let Some(port) = scenario.expect.tcp {
            command = command.arg("--tcp").arg(port.to_string());
        }
        for ask in scenario.expect.asks(&scenario.folder) {
            command = command.arg("--ask").arg(ask);
        }
        if !scenario.expect.ssh {
            command = command.arg("--no-ssh-check");
        }
        if scenario.expect.again {
            command = command.arg("--again");
        }
        if scenario.expect.wants_disk() {
            command = command.arg("--keep");
        }
        if let Some(config) = &scenario.config {
            let path = evidence.join("scenario-config.toml");
            fs::write(&path, config)?;
            command = command.arg("-c").arg(path);
        }
        let log = evidence.join("anemos-test.log");
        fs::write(evidence.join("command.txt"), self.repeat(scenario, &command))?;
        let began = Instant::now();
        let child = command.start(File::create(&log)?).map_err(io::Error::other)?;
        admitted.is(child.id());
        let status = Rehearsal(child).wait().await?;
        let seconds = began.elapsed().as_secs_f64();
        let stderr = fs::read_to_string(&log)?;
        let came = found::read(evidence, &scenario.expect).await?;
        Ok(Came { exit: status.code(), stderr, seconds, ..came })
    }
}

/// An `anemos test` that is asked to end if nobody waits for it any longer.
///
/// Only it knows what it has started; killed, it would leave the script of a fixture behind.
struct Rehearsal(Child);

impl Rehearsal {
    /// How long it may take to end its guests and scripts.
    const PATIENCE: Duration = Duration::from_secs(2);

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Rehearsal {
    #[expect(clippy::disallowed_methods, reason = "what is waited for is its end, with a limit")]
    fn drop(&mut self) {
        let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let asked = Instant::now();
        // If it has ended already, or does not end, dropping the child does the rest.
        let _asked = kill(Pid::from_raw(pid), Signal::SIGTERM);
        while asked.elapsed() < Self::PATIENCE && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Judges that something is missing here: only a scenario that says so may be skipped for that.
fn skipped(scenario: &Scenario, mut missing: Vec<String>) -> (Ending, Vec<String>) {
    if let Some(why) = &scenario.may_skip {
        missing.push(format!("it may be skipped: {why}"));
        return (Ending::Skipped, missing);
    }
    missing.insert(0, "it was not run, and must be".to_owned());
    (Ending::Failed, missing)
}

/// Judges a run; one that broke says nothing about the claim, unless the claim is about that.
fn judge(scenario: &Scenario, came: &Came) -> (Ending, Vec<String>) {
    const BROKEN: i32 = 4;
    let mut differences = scenario.expect.differences(came);
    let struck = came.verdict.as_ref().and_then(|verdict| verdict.struck.as_ref());
    let wanted = scenario.expect.struck.as_ref();
    differences.extend(struck::differences(&scenario.machine, wanted, struck));
    if differences.is_empty() {
        return (Ending::Passed, differences);
    }
    let missing = came.verdict.as_ref().filter(|it| it.class == Some(Class::NotServed));
    if let Some(verdict) = missing {
        let lines = std::iter::once(&verdict.reason).chain(&verdict.evidence);
        return skipped(scenario, lines.cloned().collect());
    }
    if let Some(verdict) = &came.verdict {
        differences.push(format!("verdict: {}: {}", verdict.verdict, verdict.reason));
    } else {
        differences.extend(came.stderr.lines().rev().take(3).map(str::to_owned));
    }
    let broken = came.exit == Some(BROKEN) && scenario.expect.exit != BROKEN;
    (if broken { Ending::Broken } else { Ending::Failed }, differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;

    #[test]
    fn only_a_scenario_that_says_so_may_be_skipped() {
        let text = "claim = 'It.'\npayload = 'p'\nexpect = { exit = 0 }\n";
        let verdict = Verdict::broken(Class::NotServed, "alpine cannot be had here", vec![]);
        let came = Came { exit: Some(4), verdict: Some(verdict), ..Came::default() };
        for (more, want, first) in [
            ("", Ending::Failed, "it was not run, and must be"),
            ("may-skip = 'it is far'\n", Ending::Skipped, "alpine cannot be had here"),
        ] {
            let scenario = Scenario::parse(&format!("{more}{text}")).unwrap();
            let (ending, lines) = judge(&scenario, &came);
            assert_eq!((ending, lines[0].as_str()), (want, first), "{more}");
        }
    }
}
