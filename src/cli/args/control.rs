//! `i2kit exec`, `logs` and `status`.

use clap::Args;

/// `i2kit exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The machine: its Pod's name, or what run --vm has said
    pub vm: String,
    /// Which container (default: the Pod's first)
    #[arg(
        short,
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub container: String,
    /// Hand on standard input
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub args: Vec<String>,
}

/// `i2kit logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The machine: its Pod's name, or what run --vm has said
    pub vm: String,
    /// Which container (default: the Pod's first)
    #[arg(
        short,
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub container: String,
    /// Go on as it prints
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines of the end, 10000 at most
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
}

/// `i2kit status`.
#[derive(Debug, Args)]
pub struct State {
    /// The machine: its Pod's name, or what run --vm has said
    pub vm: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
