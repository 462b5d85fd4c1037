//! The commands for Secure Boot.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What signs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Secure Boot")]
pub struct SignArgs {
    /// Sign the UKI with this RSA key in PEM (PKCS #8 or PKCS #1)
    #[arg(
        long,
        value_name = "FILE",
        requires = "sign_cert",
        conflicts_with = "sign_command"
    )]
    pub sign_key: Option<PathBuf>,
    /// The key's certificate in PEM, which firmware has in db; those that lead to one that it has
    /// may follow
    #[arg(long, value_name = "FILE")]
    pub sign_cert: Option<PathBuf>,
    /// Have this shell command sign: it reads a DigestInfo (SHA-256, DER) and writes the raw
    /// PKCS #1 v1.5 signature, as in 'pkcs11-tool --sign -m RSA-PKCS --id 01' or
    /// 'openssl pkeyutl -sign -inkey db.key'
    #[arg(long, value_name = "COMMAND", requires = "sign_cert")]
    pub sign_command: Option<String>,
}

/// `i2kit sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The disk
    pub disk: PathBuf,
    /// Write the signed disk here (default: in the place of DISK)
    #[arg(short, long, value_name = "FILE", conflicts_with = "digest_only")]
    pub output: Option<PathBuf>,
    /// What signs the UKI.
    #[command(flatten)]
    pub sign: SignArgs,
    /// Print the SHA-256 that is to be signed, in hex, and change nothing
    #[arg(long, conflicts_with_all = ["sign_key", "sign_cert", "sign_command", "attach"])]
    pub digest_only: bool,
    /// Take a signature that was made elsewhere: the raw bytes
    #[arg(
        long,
        value_name = "FILE",
        requires = "sign_cert",
        conflicts_with_all = ["sign_key", "sign_command"]
    )]
    pub attach: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The disk
    pub disk: PathBuf,
    /// The UKI must be signed by the key of this certificate (PEM)
    #[arg(long, value_name = "CERT")]
    pub key: Option<PathBuf>,
    /// Refuse a disk that was built with a lower --image-version, or with none
    ///
    /// Firmware does not compare versions: what it must not boot any more, it is told with
    /// i2kit keys enrol --dbx.
    #[arg(long, value_name = "N", requires = "key")]
    pub min_version: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit keys`.
#[derive(Debug, Args)]
pub struct Keys {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// The commands for keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a platform key (PK), a key exchange key (KEK) and one that signs UKIs (db)
    ///
    /// Each is a NAME.key (PKCS #8, readable by its owner only) and a NAME.crt that it signed
    /// itself. Keep PK.key and KEK.key away from builds: those need db.key alone.
    New(NewKeys),
    /// Have firmware trust the keys: OVMF's variable store, and EC2's UefiData
    ///
    /// Examples:
    ///   i2kit keys enrol keys --ovmf vars.fd      then: i2kit run disk.raw --uefi-vars vars.fd
    ///   i2kit keys enrol keys --ec2 uefi-data     then: aws ec2 register-image --boot-mode uefi
    ///                                             --uefi-data $(cat uefi-data) …
    ///   i2kit keys enrol keys --ovmf vars.fd --dbx old.raw
    #[command(verbatim_doc_comment)]
    Enrol(Enrol),
}

/// `i2kit keys new`.
#[derive(Debug, Args)]
pub struct NewKeys {
    /// The folder for them; made where there is none
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// What their certificates are called: NAME PK, NAME KEK, NAME db
    #[arg(long, default_value = "i2kit")]
    pub name: String,
    /// How long they are: some firmware takes RSA-2048 only
    #[arg(long, value_enum, default_value_t)]
    pub rsa: RsaBits,
    /// Days that the certificates count; firmware does not look
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=365_000))]
    pub days: u32,
}

/// `--rsa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RsaBits {
    /// 2048 bits.
    #[default]
    #[value(name = "2048")]
    Rsa2048,
    /// 3072 bits.
    #[value(name = "3072")]
    Rsa3072,
}

/// `i2kit keys enrol`.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The folder with PK.crt, KEK.crt and db.crt
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Write a variable store for OVMF
    #[arg(long, value_name = "FILE", required_unless_present = "ec2")]
    pub ovmf: Option<PathBuf>,
    /// Write the UefiData for EC2's RegisterImage
    #[arg(long, value_name = "FILE")]
    pub ec2: Option<PathBuf>,
    /// The store to begin with (default: the template that is installed with OVMF)
    #[arg(long, value_name = "FILE", requires = "ovmf")]
    pub template: Option<PathBuf>,
    /// Trust this certificate (PEM), too; may be repeated
    #[arg(long, value_name = "CERT")]
    pub db: Vec<PathBuf>,
    /// Never boot this again, whoever signed it: a disk, a UKI or an Authenticode SHA-256 in hex;
    /// may be repeated
    #[arg(long, value_name = "DISK|UKI|SHA256")]
    pub dbx: Vec<String>,
}
