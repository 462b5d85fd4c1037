//! Flags become a plan; progress and what is printed.

mod against;
mod args;
mod base;
mod build;
mod bundle;
mod cache;
mod cloud;
mod compare;
mod config;
mod control;
mod defaults;
mod error;
mod explain;
mod images;
mod keys;
mod learn;
mod lock;
mod place;
mod plan;
mod progress;
mod provenance;
mod push;
mod pushed;
mod rebuild;
mod recorded;
mod run;
mod shared;
mod show;
mod sign;
mod sources;
mod style;
mod summary;
mod timeline;
mod verify;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::disk::Blob;
use args::{Cli, Command};
use error::Error;
use style::{ERROR, HINT};

/// Exit code when something failed.
const EXIT_FAILURE: u8 = 1;
/// Exit code for wrong usage, clap's own.
const EXIT_USAGE: u8 = 2;

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let words = match defaults::apply(&Cli::command(), words, Path::new(defaults::FILE)) {
        Ok(words) => words,
        Err(error) => {
            report(&error.into());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let cli = Cli::parse_from(words);
    style::choose(cli.color);
    let is_run = matches!(cli.command, Command::Run(_) | Command::Exec(_));
    match command(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(if is_run {
                run::EXIT_NOT_RUN
            } else {
                EXIT_FAILURE
            })
        }
    }
}

fn command(command: Command) -> Result<u8, Error> {
    match command {
        Command::Build(arguments) => build::build(&arguments).map(|()| 0),
        Command::Plan(arguments) => against::plan(&arguments).map(|()| 0),
        Command::Run(arguments) => run::run(&arguments),
        Command::Push(arguments) => push::push(&arguments).map(|()| 0),
        Command::Images(arguments) => cloud::images(&arguments).map(|()| 0),
        Command::Prune(arguments) => cloud::prune(&arguments).map(|()| 0),
        Command::Fetch(arguments) => cloud::fetch(&arguments).map(|()| 0),
        Command::Ledger(arguments) => cloud::ledger(&arguments).map(|()| 0),
        Command::Exec(arguments) => control::exec(&arguments),
        Command::Logs(arguments) => control::logs(&arguments),
        Command::Status(arguments) => control::status(&arguments),
        Command::Pull(arguments) => sources::pull(&arguments).map(|()| 0),
        Command::Resolve(arguments) => sources::resolve(&arguments).map(|()| 0),
        Command::Lock(arguments) => lock::lock(&arguments).map(|()| 0),
        Command::Bundle(arguments) => bundle::bundle(&arguments).map(|()| 0),
        Command::Sign(arguments) => sign::sign(&arguments).map(|()| 0),
        Command::Keys(arguments) => keys::keys(&arguments.command).map(|()| 0),
        Command::Verify(arguments) => verify::verify(&arguments).map(|()| 0),
        Command::Diff(arguments) => verify::diff(&arguments).map(|()| 0),
        Command::Rebuild(arguments) => rebuild::rebuild(&arguments).map(|()| 0),
        Command::Inspect(arguments) => show::inspect(&arguments).map(|()| 0),
        Command::Ls(arguments) => show::ls(&arguments).map(|()| 0),
        Command::Sbom(arguments) => show::sbom(&arguments).map(|()| 0),
        Command::Base(arguments) => base::base(&arguments.command).map(|()| 0),
        Command::Cache(arguments) => cache::cache(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments).map(|()| 0),
        Command::ConvertManifest { files } => explain::convert(&files).map(|()| 0),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "i2kit", &mut script);
            print(&script).map(|()| 0)
        }
        Command::Man { output } => man(output.as_deref()).map(|()| 0),
    }
}

/// The main manual page, or every command's into a folder.
fn man(folder: Option<&Path>) -> Result<(), Error> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        let main = clap_mangen::Man::new(Cli::command());
        main.render(&mut page).map_err(Error::Print)?;
        return print(&page);
    };
    clap_mangen::generate_to(Cli::command(), folder).map_err(|source| Error::Write {
        path: folder.to_owned(),
        source,
    })
}

/// Opens a disk to look at.
fn open(path: &Path) -> Result<Blob, Error> {
    Blob::file(path, Vec::new()).map_err(|source| Error::Read {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// Whether the file is a JSON object: no disk begins like one.
fn is_json(file: &Blob) -> bool {
    let mut start = [0];
    i2kit_format::ReadAt::read_exact_at(file, &mut start, 0).is_ok() && start == *b"{"
}

/// Data for standard output.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::Print),
    }
}

/// A value as JSON for people and programs, on standard output.
fn print_json(value: &(impl serde::Serialize + ?Sized)) -> Result<(), Error> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    print(&json)
}

/// A line for the person, on standard error; a closed one is nobody's fault.
fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

fn report(error: &Error) {
    say(&format!("{ERROR}error:{ERROR:#} {error}"));
    if let Some(hint) = error.hint() {
        say(&format!("{HINT}hint:{HINT:#} {hint}"));
    }
}
