//! The least that an IAM policy must allow, action by action, for what i2kit is asked to do.

use serde::Serialize;

use super::tags;

/// What i2kit is to be allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Push: snapshots written and undone.
    pub push: bool,
    /// Register AMIs of them, and undo that.
    pub ami: bool,
    /// Copy to other regions instead of uploading there.
    pub copy: bool,
    /// Share with other accounts.
    pub share: bool,
    /// Have AMIs deprecated.
    pub deprecate: bool,
    /// Protect AMIs from being deregistered.
    pub protect: bool,
    /// Publish the AMI's id as a parameter.
    pub parameter: Option<String>,
    /// Keys, each by its ARN; `*` for those whose ARN nobody said.
    pub keys: Vec<String>,
    /// Remove old AMIs.
    pub prune: bool,
    /// Read snapshots: list AMIs, fetch, verify, compare.
    pub read: bool,
}

/// A policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

/// What is allowed, for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<serde_json::Value>,
}

const SNAPSHOTS: &str = "arn:*:ec2:*::snapshot/*";
const IMAGES: &str = "arn:*:ec2:*::image/*";
/// The parent's tree is read, and what was written is checked.
const READ_BLOCKS: [&str; 2] = ["ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"];
/// EBS uses the key in the caller's name.
const KEY: [&str; 6] = [
    "kms:DescribeKey",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncrypt*",
    "kms:CreateGrant",
];

impl Document {
    /// The policy for these needs.
    #[must_use]
    pub fn of(needs: &Needs) -> Self {
        let mut statement = Vec::new();
        let mut add = |wanted: bool, one: Statement| {
            if wanted {
                statement.push(one);
            }
        };
        let (push, ami, prune) = (needs.push, needs.ami, needs.prune);
        add(
            push || needs.read || prune,
            Statement::new("See", &["ec2:DescribeImages", "ec2:DescribeSnapshots"], "*"),
        );
        add(
            push || needs.read,
            Statement::new("ReadBlocks", &READ_BLOCKS, SNAPSHOTS),
        );
        add(
            needs.read,
            Statement::new("CompareBlocks", &["ebs:ListChangedBlocks"], SNAPSHOTS),
        );
        add(push, Statement::new("WriteSnapshots", &WRITE, SNAPSHOTS));
        add(
            push || ami,
            Statement::new("Tag", &["ec2:CreateTags"], SNAPSHOTS).and(IMAGES),
        );
        add(
            ami,
            Statement::new("RegisterImages", &["ec2:RegisterImage"], SNAPSHOTS).and(IMAGES),
        );
        add(
            needs.copy,
            Statement::new("Copy", &["ec2:CopySnapshot", "ec2:CopyImage"], SNAPSHOTS).and(IMAGES),
        );
        add(
            push || prune,
            Statement::new("DeleteSnapshots", &["ec2:DeleteSnapshot"], SNAPSHOTS).ours(),
        );
        add(
            ami || prune,
            Statement::new("DeregisterImages", &["ec2:DeregisterImage"], IMAGES).ours(),
        );
        needs.settle(&mut add);
        add(prune, Statement::new("SeeWhatIsInUse", &IN_USE, "*"));
        Self {
            version: "2012-10-17",
            statement,
        }
    }

    /// All actions, sorted, each once.
    #[must_use]
    pub fn actions(&self) -> Vec<&'static str> {
        let actions = self.statement.iter().flat_map(|one| &one.action);
        let mut actions: Vec<&'static str> = actions.copied().collect();
        actions.sort_unstable();
        actions.dedup();
        actions
    }
}

/// A snapshot begun, filled and completed.
const WRITE: [&str; 3] = [
    "ebs:StartSnapshot",
    "ebs:PutSnapshotBlock",
    "ebs:CompleteSnapshot",
];

/// Whatever may use an AMI. None of these calls can be narrowed to a resource.
const IN_USE: [&str; 5] = [
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeLaunchTemplateVersions",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeLaunchConfigurations",
];

impl Needs {
    /// What is done to an AMI once it is there.
    fn settle(&self, add: &mut impl FnMut(bool, Statement)) {
        add(
            self.share,
            Statement::new("Share", &["ec2:ModifyImageAttribute"], IMAGES).ours(),
        );
        add(
            self.deprecate,
            Statement::new("Deprecate", &["ec2:EnableImageDeprecation"], IMAGES).ours(),
        );
        let protect = ["ec2:EnableImageDeregistrationProtection"];
        add(
            self.protect,
            Statement::new("Protect", &protect, IMAGES).ours(),
        );
        if let Some(name) = &self.parameter {
            let name = name.trim_start_matches('/');
            let resource = format!("arn:*:ssm:*:*:parameter/{name}");
            add(
                true,
                Statement::new(
                    "Publish",
                    &["ssm:PutParameter", "ssm:GetParameter"],
                    &resource,
                ),
            );
        }
        // A launch template may name an AMI by a parameter.
        add(
            self.prune,
            Statement::new(
                "SeeParameters",
                &["ssm:GetParameter"],
                "arn:*:ssm:*:*:parameter/*",
            ),
        );
        if let Some((first, others)) = self.keys.split_first() {
            let first = Statement::new("UseKeys", &KEY, first);
            let keys = others.iter().fold(first, |one, key| one.and(key));
            add(true, keys);
        }
    }
}

impl Statement {
    fn new(sid: &'static str, action: &[&'static str], resource: &str) -> Self {
        Self {
            sid,
            effect: "Allow",
            action: action.to_vec(),
            resource: vec![resource.to_owned()],
            condition: None,
        }
    }

    fn and(mut self, resource: &str) -> Self {
        self.resource.push(resource.to_owned());
        self
    }

    /// Only for what carries i2kit's tag.
    fn ours(self) -> Self {
        let tag = format!("aws:ResourceTag/{}", tags::NAME);
        Self {
            condition: Some(serde_json::json!({"Null": {tag: "false"}})),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_needs_no_more_than_it_uses() {
        let needs = Needs {
            push: true,
            ..Needs::default()
        };
        assert_eq!(
            Document::of(&needs).actions(),
            [
                "ebs:CompleteSnapshot",
                "ebs:GetSnapshotBlock",
                "ebs:ListSnapshotBlocks",
                "ebs:PutSnapshotBlock",
                "ebs:StartSnapshot",
                "ec2:CreateTags",
                "ec2:DeleteSnapshot",
                "ec2:DescribeImages",
                "ec2:DescribeSnapshots",
            ]
        );
    }

    #[test]
    fn what_is_removed_must_be_tagged() {
        let needs = Needs {
            prune: true,
            ..Needs::default()
        };
        let json = serde_json::to_value(Document::of(&needs)).unwrap();
        assert_eq!(json["Version"], "2012-10-17");
        for statement in json["Statement"].as_array().unwrap() {
            let action = statement["Action"][0].as_str().unwrap();
            let removes = action.contains("Delete") || action.contains("Deregister");
            let is_bound = statement["Condition"]["Null"]["aws:ResourceTag/i2kit:name"] == "false";
            assert_eq!(removes, is_bound, "{statement}");
            assert_eq!(statement["Effect"], "Allow");
        }
    }

    #[test]
    fn each_flag_adds_what_it_uses() {
        let plain = Needs {
            push: true,
            ami: true,
            ..Needs::default()
        };
        let before = Document::of(&plain).actions();
        let added = |needs: Needs, action: &str| {
            let after = Document::of(&needs).actions();
            assert!(
                after.contains(&action) && !before.contains(&action),
                "{action}"
            );
            assert!(before.iter().all(|one| after.contains(one)));
        };
        let all = || plain.clone();
        added(
            Needs {
                copy: true,
                ..all()
            },
            "ec2:CopyImage",
        );
        added(
            Needs {
                share: true,
                ..all()
            },
            "ec2:ModifyImageAttribute",
        );
        added(
            Needs {
                deprecate: true,
                ..all()
            },
            "ec2:EnableImageDeprecation",
        );
        added(
            Needs {
                protect: true,
                ..all()
            },
            "ec2:EnableImageDeregistrationProtection",
        );
        let parameter = Some("/images/web".to_owned());
        added(Needs { parameter, ..all() }, "ssm:PutParameter");
        let keys = vec!["arn:aws:kms:eu-central-1:123456789012:key/1".to_owned()];
        added(Needs { keys, ..all() }, "kms:CreateGrant");
    }
}
