//! Flags become a plan; progress and what is printed.

mod args;
mod build;
mod cache;
mod error;
mod plan;
mod progress;
mod run;
mod show;
mod summary;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use error::Error;

/// Exit code when something failed.
const EXIT_FAILURE: u8 = 1;

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_run = matches!(cli.command, Command::Run(_));
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
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => show::inspect(&arguments).map(|()| 0),
        Command::Ls(arguments) => show::ls(&arguments).map(|()| 0),
        Command::Cache(arguments) => cache::cache(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "i2kit", &mut script);
            print(&script).map(|()| 0)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(Error::Print)?;
            print(&page).map(|()| 0)
        }
    }
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

/// A line for the person, on standard error; a closed one is nobody's fault.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn report(error: &Error) {
    say(&format!("error: {error}"));
    if let Some(hint) = error.hint() {
        say(&format!("hint: {hint}"));
    }
}
