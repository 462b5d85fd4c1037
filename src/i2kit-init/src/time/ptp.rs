//! The hypervisor's clock as a PTP device (drivers/ptp/ptp_kvm_common.c; ENA's hardware clock).

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

use super::Sample;

/// Clocks that tell the time of day; a network card's may count from anywhere.
const TRUSTED: [&str; 2] = ["KVM virtual PTP", "ena-ptp"];
/// The quickest of so many readings counts.
const READINGS: usize = 5;

/// The device of the first clock that can be trusted.
pub fn find() -> Option<PathBuf> {
    find_in(Path::new("/sys/class/ptp"))
}

fn find_in(class: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(class).ok()?.flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| {
            let name = fs::read_to_string(entry.path().join("clock_name")).unwrap_or_default();
            TRUSTED
                .iter()
                .any(|trusted| name.trim().starts_with(trusted))
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.first().map(|name| Path::new("/dev").join(name))
}

/// How far our clock is from it.
///
/// # Errors
/// The device cannot be opened or read.
pub fn read(device: &Path) -> std::io::Result<Sample> {
    let file = File::open(device)?;
    let mut best: Option<Sample> = None;
    for _ in 0..READINGS {
        let before = seconds(clock_gettime(ClockId::Realtime));
        let theirs = seconds(clock_gettime_dynamic(DynamicClockId::Dynamic(
            file.as_fd(),
        ))?);
        let after = seconds(clock_gettime(ClockId::Realtime));
        let sample = Sample {
            offset: theirs - (before + after) / 2.0,
            delay: (after - before).max(0.0),
        };
        if best.is_none_or(|best| sample.delay < best.delay) {
            best = Some(sample);
        }
    }
    best.ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a double holds microseconds until 2242"
)]
fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_of_the_time_of_day_is_taken() {
        let class = std::env::temp_dir().join(format!("i2kit-ptp-{}", std::process::id()));
        for (name, clock) in [
            ("ptp0", "mlx5_ptp"),
            ("ptp2", "KVM virtual PTP"),
            ("ptp1", "x"),
        ] {
            fs::create_dir_all(class.join(name)).unwrap();
            fs::write(class.join(name).join("clock_name"), format!("{clock}\n")).unwrap();
        }
        assert_eq!(find_in(&class), Some("/dev/ptp2".into()));
        assert_eq!(find_in(&class.join("none")), None);
        fs::remove_dir_all(class).unwrap();
    }
}
