//! Colours, where somebody sees them: `--color`, else `NO_COLOR` and what the terminal can.

use anstyle::{AnsiColor, Style};

use super::args::Color;

/// Before an error.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Before a hint.
pub const HINT: Style = AnsiColor::Cyan.on_default();

/// Decides for this process what `anstream` strips.
pub fn choose(color: Color) {
    let choice = match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}
