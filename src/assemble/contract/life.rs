//! Probes and hooks with their variables expanded.

use std::collections::BTreeMap;

use i2kit_contract::{Check, Life, Probe};

use super::{Error, Planned};

impl Planned<'_> {
    /// The manifest's, with `$(NAME)` expanded in the probes' commands (the kubelet's
    /// `ExpandContainerCommandOnlyStatic`); those of hooks stay as they are written.
    pub(super) fn life(&self, vars: &[(String, String)]) -> Result<Life, Error> {
        let known: BTreeMap<_, _> = vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
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
                exec.command = self.expanded(&field, &exec.command, &known)?;
            }
        }
        Ok(life)
    }
}
