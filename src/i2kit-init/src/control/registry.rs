//! What the containers are doing, as supervision tells it.

use std::{cell::RefCell, rc::Rc};

use i2kit_contract::{
    Contract,
    control::{ContainerState, PodState},
};
use serde_json::Value;

use crate::uptime;

/// Clones share what is known.
#[derive(Clone)]
pub struct Registry(Rc<RefCell<Known>>);

struct Known {
    pod: String,
    containers: Vec<(ContainerState, Option<Running>)>,
}

/// A container's running process.
#[derive(Clone)]
pub struct Running {
    /// containerd's name of the container.
    pub id: String,
    /// `process` of its OCI runtime specification.
    pub process: Value,
}

impl Registry {
    /// Nothing runs yet.
    pub fn new(contract: &Contract) -> Self {
        let containers = contract.all_containers().map(|container| {
            let state = ContainerState {
                name: container.name.clone(),
                ..ContainerState::default()
            };
            (state, None)
        });
        Self(Rc::new(RefCell::new(Known {
            pod: contract.name.clone(),
            containers: containers.collect(),
        })))
    }

    /// A container runs.
    pub fn started(&self, name: &str, restart_count: u32, running: Running) {
        self.change(name, |state, process| {
            state.running = true;
            state.started_at_ms = Some(uptime::milliseconds());
            state.restart_count = restart_count;
            *process = Some(running);
        });
    }

    /// A container's process has ended.
    pub fn ended(&self, name: &str, exit_code: u32) {
        self.change(name, |state, process| {
            state.running = false;
            state.last_exit_code = Some(exit_code);
            *process = None;
        });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut ContainerState, &mut Option<Running>)) {
        let mut known = self.0.borrow_mut();
        if let Some((state, process)) = known
            .containers
            .iter_mut()
            .find(|(one, _)| one.name == name)
        {
            change(state, process);
        }
    }

    /// The name of a container, the first when none is given; `None` when there is no such one.
    pub fn container(&self, name: &str) -> Option<String> {
        let known = self.0.borrow();
        let mut names = known.containers.iter().map(|(state, _)| &state.name);
        names.find(|one| name.is_empty() || *one == name).cloned()
    }

    /// A container's process, if one runs.
    pub fn running(&self, name: &str) -> Option<Running> {
        let known = self.0.borrow();
        let found = known
            .containers
            .iter()
            .find(|(state, _)| state.name == name);
        found.and_then(|(_, running)| running.clone())
    }

    /// All that is known.
    pub fn state(&self) -> PodState {
        let known = self.0.borrow();
        PodState {
            pod: known.pod.clone(),
            uptime_ms: uptime::milliseconds(),
            containers: known
                .containers
                .iter()
                .map(|(state, _)| state.clone())
                .collect(),
        }
    }
}
