//! A program that tells keys, as `credential_process` wants them.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::account::Account;

/// Writes the program; answers its path. Its file is called `credentials`, since it has some.
pub fn program(account: &Account, key: &str, secret: &str) -> String {
    let folder = account.home("clerk");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("credentials");
    let keys = json!({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret});
    std::fs::write(&path, format!("#!/bin/sh\necho '{keys}'\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}
