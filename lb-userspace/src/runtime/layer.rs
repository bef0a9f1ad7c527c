//! Services that operators add while Fairway runs (`fairway service`): kept in a file of the state directory, and read behind the
//! configuration file, both as one configuration. Whatever is done to them is a reload: the same checks, the same plan.
//!
//! The file that operators write must stand by itself, since a daemon that starts reads it first. What was added never keeps one from
//! starting: services that do not go with the file any more are not put in force, which is said, and are kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::error;

use super::daemon::Daemon;
use super::in_force::Reply;
use super::overrides::{put_aside, remember};
use super::reload::{self, Candidate};
use super::request::ConfigText;
use crate::config::{Config, Layer, LayerOrder};
use crate::controller::view::{API_VERSION, Problem, RuntimeServices, Status};

/// In the state directory.
const FILE: &str = "services.toml";
/// What follows when it cannot be read.
const CONSEQUENCE: &str = "services added at run time cannot be read, so NONE OF THEM IS IN FORCE";

/// See the module's description.
#[derive(Debug)]
pub(super) struct RuntimeLayer {
    directory: PathBuf,
    pub(super) layer: Layer,
    /// What went wrong when the file was read, and where it is now.
    unreadable: Option<String>,
    /// Why the layer is not in force.
    refused: Option<String>,
}

impl RuntimeLayer {
    /// What is written in the state directory. A file that cannot be understood is kept under another name.
    pub(super) fn load(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let read = match fs::read_to_string(&path) {
            Ok(text) => Layer::read(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Layer::default()),
            Err(error) => Err(error.to_string()),
        };
        let (layer, unreadable) = match read {
            Ok(layer) => (layer, None),
            Err(why) => (Layer::default(), Some(put_aside(&path, CONSEQUENCE, why.trim_end()))),
        };
        Self { directory: directory.to_owned(), layer, unreadable, refused: None }
    }

    /// What to call the file.
    pub(super) fn file(&self) -> String {
        self.directory.join(FILE).display().to_string()
    }

    /// The configuration to start with: that of the file, and all that goes with it of what was added. `alone` is the file's.
    pub(super) fn start(&mut self, source: &ConfigText, alone: (Config, String)) -> (Config, String) {
        if self.layer.is_empty() {
            return alone;
        }
        match reload::parse_layered(source, &self.layer, &self.file()) {
            Ok(candidate) => {
                if let Err(error) = self.put_in_force(candidate.layer) {
                    error!(
                        error = format!("{error:#}"),
                        "services that the file has too are dropped again with the next restart"
                    );
                }
                (candidate.config, candidate.warnings)
            }
            Err(error) => {
                let Problem { message, .. } = reload::problem(error);
                error!(why = message, "services added at run time are not in force");
                self.refused = Some(message);
                alone
            }
        }
    }

    /// Notes that a layer is in force, and writes it down if it is another one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put_in_force(&mut self, layer: Layer) -> anyhow::Result<()> {
        self.refused = None;
        if layer == self.layer {
            return Ok(());
        }
        self.layer = layer;
        remember(&self.directory, FILE, &self.layer.document())
    }

    /// What an operator should know.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let refused = self.refused.as_ref().map(|why| {
            let first = why.lines().next().unwrap_or_default();
            format!(
                "services added at run time are NOT IN FORCE, since they do not go with the configuration file: {first}; \
                 `fairway service list` shows them, `fairway service remove|clear` takes them back, `fairway reload` says all that is wrong"
            )
        });
        self.unreadable.clone().into_iter().chain(refused)
    }
}

impl Daemon {
    /// Begins to carry out an order.
    pub(super) fn change_services(&mut self, order: &LayerOrder, reply: Reply) {
        self.finish_pending();
        match self.layer_after(order) {
            Ok(candidate) => self.begin(candidate, false, Some(reply)),
            Err(problem) => drop(reply.send(Err(problem))),
        }
    }

    /// What was added at run time.
    pub(super) fn runtime_services(&self) -> RuntimeServices {
        RuntimeServices {
            api: API_VERSION.to_owned(),
            file: self.runtime.file(),
            services: self.runtime.layer.services().to_vec(),
            toml: self.runtime.layer.text(),
            not_in_force: self.runtime.refused.clone(),
        }
    }

    /// Marks services that were added at run time, and warns of those that are not in force.
    pub(super) fn with_runtime_services(&self, mut status: Status) -> Status {
        for service in &mut status.services {
            service.runtime = self.runtime.refused.is_none() && self.runtime.layer.has(&service.name);
        }
        status.warnings.extend(self.runtime.warnings());
        status
    }

    /// The file in force with what the layer becomes.
    fn layer_after(&self, order: &LayerOrder) -> Result<Candidate, Problem> {
        let refused = |message| Problem { exit: 2, message };
        let services = &self.controller.config().services;
        let in_file = |name: &str| services.iter().any(|it| it.name == name) && !self.runtime.layer.has(name);
        let layer = self.runtime.layer.after(order, &self.in_force.file, in_file).map_err(refused)?;
        let candidate = reload::parse_layered(&self.in_force, &layer, &self.runtime.file()).map_err(reload::problem)?;
        self.fit(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = "dataplane.interfaces = [\"eth0\"]\n\n[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]\nbackend = [{ address = \"10.0.0.1\" }]\n";
    const MORE: &str =
        "[[service]]\nname = \"more\"\nlisten = [\"tcp://203.0.113.11:80\"]\nbackend = [{ address = \"10.0.0.1\" }]\n";

    fn source(text: &str) -> ConfigText {
        ConfigText { file: "fairway.toml".to_owned(), text: text.to_owned() }
    }

    /// What a daemon starts with that finds this layer beside this file: the layer, names of services, warnings.
    fn started(directory: &Path, file: &str, layer: &str) -> (RuntimeLayer, Vec<String>, Vec<String>) {
        fs::write(directory.join(FILE), layer).unwrap();
        let mut runtime = RuntimeLayer::load(directory);
        let alone = reload::parse(&source(file)).unwrap();
        let (config, _) = runtime.start(&source(file), alone);
        let warnings = runtime.warnings().collect();
        (runtime, config.services.into_iter().map(|service| service.name).collect(), warnings)
    }

    #[test]
    fn what_was_put_in_force_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut runtime = RuntimeLayer::load(&state);
        assert!(runtime.layer.is_empty());
        let layer = Layer::read(MORE).unwrap();
        runtime.put_in_force(layer.clone()).unwrap();
        assert_eq!(RuntimeLayer::load(&state).layer, layer);
        runtime.put_in_force(Layer::default()).unwrap();
        assert!(RuntimeLayer::load(&state).layer.is_empty());
    }

    #[test]
    fn a_daemon_starts_with_the_services_of_both() {
        let directory = tempfile::tempdir().unwrap();
        let (_, services, warnings) = started(directory.path(), FILE_TEXT, MORE);
        assert_eq!((services, warnings), (vec!["web".to_owned(), "more".to_owned()], vec![]));
    }

    #[test]
    fn a_service_that_the_file_has_too_is_the_files_and_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let pasted = format!("{FILE_TEXT}\n{MORE}");
        let (runtime, services, warnings) = started(directory.path(), &pasted, MORE);
        assert_eq!((services, warnings), (vec!["web".to_owned(), "more".to_owned()], vec![]));
        assert!(runtime.layer.is_empty());
        assert!(RuntimeLayer::load(directory.path()).layer.is_empty(), "and is not there after a restart");
    }

    #[test]
    fn services_that_do_not_go_with_the_file_are_kept_and_told_and_the_file_is_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let taken = MORE.replace("203.0.113.11", "203.0.113.10");
        let (runtime, services, warnings) = started(directory.path(), FILE_TEXT, &taken);
        assert_eq!(services, ["web"]);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.contains("NOT IN FORCE") && warning.contains("FW0105"), "{warning}");
        assert!(runtime.refused.is_some() && runtime.layer.has("more"));
        assert!(RuntimeLayer::load(directory.path()).layer.has("more"));
    }

    #[test]
    fn a_file_that_is_not_understood_is_kept_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let (runtime, services, warnings) = started(directory.path(), FILE_TEXT, "[[service]\n");
        assert_eq!((services, runtime.layer.is_empty()), (vec!["web".to_owned()], true));
        assert!(
            warnings[0].contains("NONE OF THEM IS IN FORCE") && warnings[0].contains("unreadable-1"),
            "{warnings:?}"
        );
        let kept = fs::read_to_string(directory.path().join(format!("{FILE}.unreadable-1"))).unwrap();
        assert_eq!(kept, "[[service]\n");
    }

    #[test]
    fn that_it_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("state"), "a file, where a directory should be").unwrap();
        let mut runtime = RuntimeLayer::load(&directory.path().join("state"));
        let error = runtime.put_in_force(Layer::read(MORE).unwrap()).unwrap_err();
        assert!(format!("{error:#}").starts_with("it is done, but a restart will not remember it"), "{error:#}");
    }

    #[test]
    fn all_problems_of_both_are_told_each_in_its_file() {
        let broken = source(&FILE_TEXT.replace("203.0.113.10", "224.0.0.1"));
        let layer = Layer::read(&format!("{MORE}quorum = \"many\"\nscheduler = \"best\"\n")).unwrap();
        let problem = reload::problem(reload::parse_layered(&broken, &layer, "state/services.toml").err().unwrap());
        assert_eq!(problem.exit, 2);
        for place in ["fairway.toml:5:11", "state/services.toml:6:13", "state/services.toml:7:10"] {
            assert!(problem.message.contains(place), "{place}: {}", problem.message);
        }
    }
}
