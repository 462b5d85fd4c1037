//! Probes and hooks with their variables expanded.

use i2kit_contract::{Check, Life, Probe};

use super::env::Variables;
use super::{Error, Planned};

impl Planned<'_> {
    /// The manifest's, with `$(NAME)` expanded in the probes' commands (the kubelet's
    /// `ExpandContainerCommandOnlyStatic`): empty where only the guest knows it; those of hooks stay as they are written.
    pub(super) fn life(&self, vars: &Variables) -> Result<Life, Error> {
        let mut life = self.container.life.clone();
        for (field, probe) in [
            ("livenessProbe", &mut life.liveness_probe),
            ("readinessProbe", &mut life.readiness_probe),
            ("startupProbe", &mut life.startup_probe),
        ] {
            if let Some(Probe {
                check: Check::Exec(exec),
                ..
            }) = probe
            {
                let field = format!("{field}.exec.command");
                exec.command = self.expanded_static(&field, &exec.command, vars)?;
            }
        }
        Ok(life)
    }
}
