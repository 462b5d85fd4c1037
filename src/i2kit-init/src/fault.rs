//! The error of one operation on one object, and the rendering of error chains.

use std::{error::Error, fmt, io};

/// A system operation that failed: what was done, to what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Fault {
    operation: &'static str,
    object: String,
    source: io::Error,
}

impl Fault {
    /// Builds a fault; for errors that are no `io::Result`.
    pub fn new(
        operation: &'static str,
        object: impl fmt::Display,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            object: object.to_string(),
            source: source.into(),
        }
    }
}

/// Adds operation and object to a system error.
pub trait Context<T> {
    /// `Err` becomes "`operation` `object`: system error".
    fn context(self, operation: &'static str, object: impl fmt::Display) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, object: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|source| Fault::new(operation, object, source))
    }
}

/// An error and all its causes on one line.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_operation_object_and_cause_once() {
        let fault = Err::<(), _>(io::Error::from_raw_os_error(libc::ENOENT))
            .context("open", "/dev/vda")
            .unwrap_err();
        assert_eq!(
            Chain(&fault).to_string(),
            "open /dev/vda: No such file or directory (os error 2)"
        );
    }
}
