//! Volumes of the Pod, and where containers see them.

use serde::{Deserialize, Serialize};

use crate::{SecretKey, Text};

/// A volume of the Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Unique in the Pod; a DNS label.
    pub name: String,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Source::is_default")]
    pub source: Source,
    /// `emptyDir.sizeLimit`, bytes, of one on scratch: the Pod is evicted when it holds more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit_bytes: Option<u64>,
}

/// Where a volume's content comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// One folder, empty at first, on scratch; it lives as long as the Pod.
    #[default]
    EmptyDir,
    /// A tmpfs: `emptyDir` of `medium: Memory`.
    Memory {
        /// Its size in bytes; else half of the VM's memory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
    },
    /// A hugetlbfs: `emptyDir` of `medium: HugePages`.
    HugePages {
        /// Bytes of one page.
        page_bytes: u64,
    },
    /// Files that are made at the boot: `configMap`, `secret`, `downwardAPI`, `projected`.
    Files(Files),
    /// A path of the guest.
    HostPath {
        /// Absolute.
        path: String,
        /// What must be there or is made.
        #[serde(default, skip_serializing_if = "HostPathType::is_default")]
        kind: HostPathType,
    },
    /// Another container image's files, read-only and not executable. They lie in the store at
    /// [`IMAGE_VOLUMES`](crate::IMAGE_VOLUMES)`/NAME`.
    Image,
    /// A data disk: `persistentVolumeClaim`.
    Claim(Claim),
}

impl Source {
    fn is_default(&self) -> bool {
        *self == Self::EmptyDir
    }
}

/// A data disk that outlives the Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The claim's name: the disk's serial number or its file system's label (cut to 16 bytes)
    /// is the same.
    pub name: String,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// `volumeMode: Block`: containers see the disk itself, whatever is on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
}

/// Generated files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Those whose names the builder knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Secrets of which all keys become files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretFiles>,
}

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// A generated file's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    /// Text, perhaps with values of the guest.
    Text(Text),
    /// Bytes that are no text, in hexadecimal.
    Hex(String),
    /// A Secret's value, byte by byte.
    Secret {
        /// Which one.
        from: SecretKey,
        /// There is no file when there is no such value.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        optional: bool,
    },
}

/// All keys of a Secret, each as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFiles {
    /// The Secret's name.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// No files when there is no such Secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// `hostPath.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathType {
    /// Nothing is checked; a folder is made when nothing is there.
    #[default]
    Unset,
    /// A folder, made with mode 0755 when missing.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, made with mode 0644 when missing.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl HostPathType {
    fn is_default(&self) -> bool {
        *self == Self::Unset
    }
}

/// A `volumeMounts` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Name of a [`Volume`].
    pub volume: String,
    /// Absolute path in the container.
    pub mount_path: String,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// `recursiveReadOnly`: mounts below it are read-only, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive_read_only: bool,
    /// A path in the volume that is mounted in its place: relative, without `..` as far as the
    /// builder knows it. Made as a folder when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<Text>,
    /// Whose later mounts are seen where.
    #[serde(default, skip_serializing_if = "Propagation::is_default")]
    pub propagation: Propagation,
}

/// A `volumeDevices` entry: a data disk that a container sees as a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Name of a [`Volume`] whose claim has `block`.
    pub volume: String,
    /// Absolute path in the container.
    pub path: String,
}

/// `mountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way.
    #[default]
    None,
    /// The guest's in the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

impl Propagation {
    fn is_default(&self) -> bool {
        *self == Self::None
    }
}
