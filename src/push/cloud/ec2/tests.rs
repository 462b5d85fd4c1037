//! Answers as EC2's reference shows them.

use super::super::canned::{Canned, Reply};
use super::super::{Kind, Region};
use super::*;

const SNAPSHOTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
   <snapshotSet>
      <item>
         <snapshotId>snap-1234567890abcdef0</snapshotId>
         <volumeId>vol-1234567890abcdef0</volumeId>
         <status>pending</status>
         <startTime>2026-01-31T12:51:50.000Z</startTime>
         <progress>80%</progress>
         <ownerId>111122223333</ownerId>
         <volumeSize>15</volumeSize>
         <description>Daily Backup</description>
         <tagSet>
            <item><key>i2kit:name</key><value>demo</value></item>
            <item><key>empty</key><value/></item>
         </tagSet>
         <encrypted>true</encrypted>
         <kmsKeyId>arn:aws:kms:eu-central-1:111122223333:key/k</kmsKeyId>
      </item>
   </snapshotSet>
   <nextToken>page two</nextToken>
</DescribeSnapshotsResponse>"#;

const NO_SNAPSHOTS: &str = r#"<DescribeSnapshotsResponse><requestId>r</requestId><snapshotSet/></DescribeSnapshotsResponse>"#;

const IMAGES: &str = r#"<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
   <imagesSet>
      <item>
         <imageId>ami-1a2b3c4d</imageId>
         <imageLocation>111122223333/demo</imageLocation>
         <imageState>available</imageState>
         <imageOwnerId>111122223333</imageOwnerId>
         <creationDate>2026-01-31T12:00:00.000Z</creationDate>
         <isPublic>false</isPublic>
         <architecture>x86_64</architecture>
         <imageType>machine</imageType>
         <name>demo</name>
         <description>A demo</description>
         <rootDeviceType>ebs</rootDeviceType>
         <rootDeviceName>/dev/xvda</rootDeviceName>
         <blockDeviceMapping>
            <item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item>
            <item>
               <deviceName>/dev/xvda</deviceName>
               <ebs>
                  <snapshotId>snap-1234567890abcdef0</snapshotId>
                  <volumeSize>15</volumeSize>
                  <deleteOnTermination>true</deleteOnTermination>
                  <volumeType>gp3</volumeType>
               </ebs>
            </item>
         </blockDeviceMapping>
         <bootMode>uefi</bootMode>
         <deprecationTime>2028-01-31T12:00:00.000Z</deprecationTime>
         <deregistrationProtection>enabled</deregistrationProtection>
      </item>
      <item>
         <imageId>ami-2</imageId>
         <imageState>failed</imageState>
         <stateReason><code>Client.InvalidSnapshot</code><message>no</message></stateReason>
         <isPublic>true</isPublic>
         <deregistrationProtection>disabled</deregistrationProtection>
      </item>
   </imagesSet>
</DescribeImagesResponse>"#;

fn refusal(status: u16, code: &str) -> Reply {
    let body = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>words</Message></Error></Errors>\
         <RequestID>id</RequestID></Response>"
    );
    (status, Vec::new(), body)
}

fn plain(canned: &Canned) -> Region {
    canned.plain()
}

#[tokio::test]
async fn snapshots_of_all_pages() {
    let canned = Canned::good([SNAPSHOTS, NO_SNAPSHOTS]);
    let filters = [("tag:i2kit:name", vec!["demo".to_owned()])];
    let ec2 = plain(&canned).ec2;
    let found = ec2.describe_snapshots(&[], &filters).await.unwrap();
    let tags = [("i2kit:name", "demo"), ("empty", "")];
    assert_eq!(
        found,
        [Snapshot {
            id: "snap-1234567890abcdef0".to_owned(),
            state: "pending".to_owned(),
            state_message: None,
            progress: "80%".to_owned(),
            volume_gib: 15,
            encrypted: true,
            kms_key: Some("arn:aws:kms:eu-central-1:111122223333:key/k".to_owned()),
            owner: "111122223333".to_owned(),
            start_time: "2026-01-31T12:51:50.000Z".to_owned(),
            tags: tags
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            description: "Daily Backup".to_owned(),
        }]
    );
    let seen = canned.seen();
    let first = "Action=DescribeSnapshots&Version=2016-11-15&Filter.1.Name=tag%3Ai2kit%3Aname\
                 &Filter.1.Value.1=demo&Owner.1=self&MaxResults=1000";
    assert_eq!(seen[0].url, "https://ec2.eu-central-1.amazonaws.com/");
    assert_eq!(seen[0].body, first);
    assert_eq!(seen[1].body, format!("{first}&NextToken=page%20two"));
    assert!(
        seen[0]
            .authorization
            .contains("/eu-central-1/ec2/aws4_request")
    );
}

#[tokio::test]
async fn ids_are_asked_for_without_owner_or_pages() {
    let canned = Canned::good([NO_SNAPSHOTS, IMAGES]);
    let ec2 = plain(&canned).ec2;
    let ids = ["snap-1".to_owned(), "snap-2".to_owned()];
    assert_eq!(ec2.describe_snapshots(&ids, &[]).await.unwrap(), []);
    ec2.describe_images(&ids, &[], false, true).await.unwrap();
    let seen = canned.seen();
    assert_eq!(
        seen[0].body,
        "Action=DescribeSnapshots&Version=2016-11-15&SnapshotId.1=snap-1&SnapshotId.2=snap-2"
    );
    assert!(
        seen[1].body.ends_with("&IncludeDeprecated=true"),
        "{}",
        seen[1].body
    );
}

#[tokio::test]
async fn amis_with_and_without_a_root_device() {
    let canned = Canned::good([IMAGES]);
    let ec2 = plain(&canned).ec2;
    let found = ec2.describe_images(&[], &[], true, false).await.unwrap();
    let [good, failed] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        good.root_snapshot.as_deref(),
        Some("snap-1234567890abcdef0")
    );
    assert_eq!(
        (good.volume_gib, good.protected, good.public),
        (15, true, false)
    );
    assert_eq!(good.boot_mode.as_deref(), Some("uefi"));
    assert_eq!(
        good.deprecation.as_deref(),
        Some("2028-01-31T12:00:00.000Z")
    );
    assert_eq!(failed.state_reason.as_deref(), Some("no"));
    assert_eq!(
        (failed.volume_gib, failed.protected, failed.public),
        (0, false, true)
    );
    assert_eq!(failed.root_snapshot, None);
}

#[tokio::test]
async fn an_error_says_what_of_what() {
    let canned = Canned::new([refusal(400, "InvalidSnapshot.NotFound")]);
    let ec2 = plain(&canned).ec2;
    let error = ec2.delete_snapshot("snap-1").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "delete snapshot snap-1: InvalidSnapshot.NotFound: words (request id)"
    );
}

#[tokio::test]
async fn a_page_without_end_is_no_list() {
    let canned = Canned::good([SNAPSHOTS, SNAPSHOTS, SNAPSHOTS]);
    let ec2 = plain(&canned).ec2;
    let error = ec2.describe_snapshots(&[], &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert_eq!(canned.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_page_is_asked_for_again_and_the_first_is_not() {
    let body = |text: &str| (200, Vec::new(), text.to_owned());
    let busy = || refusal(503, "RequestLimitExceeded");
    let canned = Canned::new([body(SNAPSHOTS), busy(), busy(), body(NO_SNAPSHOTS), busy()]);
    let ec2 = plain(&canned).ec2;
    assert_eq!(ec2.describe_snapshots(&[], &[]).await.unwrap().len(), 1);
    let error = ec2.describe_snapshots(&[], &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Throttled);
}

#[tokio::test]
async fn registration_says_what_every_disk_needs() {
    let answer = "<RegisterImageResponse><imageId>ami-1</imageId></RegisterImageResponse>";
    let canned = Canned::good([answer, "<RegisterImageResponse/>"]);
    let ec2 = plain(&canned).ec2;
    let image = RegisterImage {
        name: "demo".to_owned(),
        architecture: "x86_64".to_owned(),
        snapshot: "snap-1".to_owned(),
        volume_gib: 3,
        uefi_data: Some("QU1a".to_owned()),
        tpm: true,
        tags: vec![("Name".to_owned(), "demo".to_owned())],
        ..RegisterImage::default()
    };
    assert_eq!(ec2.register_image(&image).await.unwrap(), "ami-1");
    assert_eq!(
        canned.seen()[0].body,
        "Action=RegisterImage&Version=2016-11-15&Name=demo&Description=&Architecture=x86_64\
         &VirtualizationType=hvm&BootMode=uefi&EnaSupport=true&ImdsSupport=v2.0&TpmSupport=v2.0\
         &UefiData=QU1a&RootDeviceName=%2Fdev%2Fxvda\
         &BlockDeviceMapping.1.DeviceName=%2Fdev%2Fxvda\
         &BlockDeviceMapping.1.Ebs.SnapshotId=snap-1&BlockDeviceMapping.1.Ebs.VolumeSize=3\
         &BlockDeviceMapping.1.Ebs.VolumeType=gp3\
         &BlockDeviceMapping.1.Ebs.DeleteOnTermination=true\
         &TagSpecification.1.ResourceType=image&TagSpecification.1.Tag.1.Key=Name\
         &TagSpecification.1.Tag.1.Value=demo"
    );
    assert!(ec2.register_image(&RegisterImage::default()).await.is_err());
}

#[tokio::test]
async fn a_copy_carries_a_call_to_the_region_it_comes_from() {
    let answer = "<CopySnapshotResponse><snapshotId>snap-2</snapshotId></CopySnapshotResponse>";
    let canned = Canned::good([answer]);
    let ec2 = plain(&canned).ec2;
    let copy = ec2.copy_snapshot("us-east-1", "snap-1", "d", &[], Some("alias/k"));
    assert_eq!(copy.await.unwrap(), "snap-2");
    let body = &canned.seen()[0].body;
    for part in [
        "SourceRegion=us-east-1",
        "DestinationRegion=eu-central-1",
        "Encrypted=true&KmsKeyId=alias%2Fk",
        "PresignedUrl=https%3A%2F%2Fec2.us-east-1.amazonaws.com%2F%3FAction%3DCopySnapshot",
        "X-Amz-Signature",
    ] {
        assert!(body.contains(part), "{body} has no {part}");
    }
}

#[tokio::test]
async fn who_may_launch() {
    let canned = Canned::good([
        "<a><return>true</return></a>",
        "<a><return>false</return></a>",
    ]);
    let ec2 = plain(&canned).ec2;
    let list = |text: &str| vec![text.to_owned()];
    let (accounts, orgs, units) = (list("111122223333"), list("arn:o"), list("arn:u"));
    let shared = ec2.modify_image_attribute("ami-1", &accounts, &orgs, &units, true);
    shared.await.unwrap();
    assert!(canned.seen()[0].body.ends_with(
        "&LaunchPermission.Add.1.UserId=111122223333\
         &LaunchPermission.Add.2.OrganizationArn=arn%3Ao\
         &LaunchPermission.Add.3.OrganizationalUnitArn=arn%3Au\
         &LaunchPermission.Add.4.Group=all"
    ));
    assert!(ec2.deregister_image("ami-1").await.is_err());
}

#[tokio::test]
async fn amis_in_use() {
    let instances = "<a><reservationSet><item><instancesSet>\
        <item><imageId>ami-1</imageId></item><item><imageId>ami-2</imageId></item>\
        </instancesSet></item><item><instancesSet><item><imageId>ami-1</imageId></item>\
        </instancesSet></item></reservationSet></a>";
    let templates = "<a><launchTemplates><item><launchTemplateId>lt-1</launchTemplateId></item>\
        <item><launchTemplateId>lt-2</launchTemplateId></item></launchTemplates></a>";
    let versions = "<a><launchTemplateVersionSet>\
        <item><launchTemplateData><imageId>ami-3</imageId></launchTemplateData></item>\
        <item><launchTemplateData><imageId>resolve:ssm:/i2kit/demo</imageId></launchTemplateData>\
        </item><item><launchTemplateData/></item></launchTemplateVersionSet></a>";
    let configurations = "<DescribeLaunchConfigurationsResponse><DescribeLaunchConfigurationsResult>\
        <LaunchConfigurations><member><ImageId>ami-4</ImageId></member></LaunchConfigurations>\
        </DescribeLaunchConfigurationsResult></DescribeLaunchConfigurationsResponse>";
    let groups = "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult>\
        <AutoScalingGroups><member><MixedInstancesPolicy><LaunchTemplate><Overrides>\
        <member><ImageId>ami-5</ImageId></member></Overrides></LaunchTemplate>\
        </MixedInstancesPolicy></member><member/></AutoScalingGroups>\
        </DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>";
    let body = |text: &str| (200, Vec::new(), text.to_owned());
    let canned = Canned::new([
        body(instances),
        body(templates),
        body(versions),
        refusal(400, "InvalidLaunchTemplateId.NotFound"),
        body(configurations),
        body(groups),
    ]);
    let ec2 = plain(&canned).ec2;
    let set = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    let instances = ec2.describe_instances_images().await.unwrap();
    assert_eq!(instances, set(&["ami-1", "ami-2"]));
    let templates = ec2.describe_launch_template_images().await.unwrap();
    assert_eq!(templates, set(&["ami-3", "resolve:ssm:/i2kit/demo"]));
    let groups = ec2.describe_auto_scaling_images().await.unwrap();
    assert_eq!(groups, set(&["ami-4", "ami-5"]));
    let seen = canned.seen();
    assert!(
        seen[0]
            .body
            .contains("Filter.1.Name=instance-state-name&Filter.1.Value.1=pending")
    );
    assert!(seen[4].url.starts_with("https://autoscaling.eu-central-1."));
    assert!(seen[4].authorization.contains("/autoscaling/aws4_request"));
}
