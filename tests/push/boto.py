"""Drives the fake with Amazon's own client: each call, and what must be refused."""

import base64
import hashlib
import os
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SIZE = 512 * 1024
ONCE = Config(retries={"total_max_attempts": 1})


def client(service, **options):
    return boto3.client(service, config=ONCE, **options)


def refused(code, call, **parameters):
    """The call is refused with that code; answers what was said."""
    try:
        call(**parameters)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response
    raise AssertionError(f"{call} {parameters}: not refused")


def digest(data):
    return hashlib.sha256(data).digest()


def text(data):
    return base64.b64encode(data).decode()


ebs, ec2 = client("ebs"), client("ec2")


def put(snapshot, index, data, **other):
    parameters = {
        "SnapshotId": snapshot,
        "BlockIndex": index,
        "BlockData": data,
        "DataLength": len(data),
        "Checksum": text(digest(data)),
        "ChecksumAlgorithm": "SHA256",
    }
    return ebs.put_snapshot_block(**(parameters | other))


def complete(snapshot, blocks, count=None):
    linear = b"".join(digest(blocks[index]) for index in sorted(blocks))
    return ebs.complete_snapshot(
        SnapshotId=snapshot,
        ChangedBlocksCount=len(blocks) if count is None else count,
        Checksum=text(digest(linear)),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )


def status(snapshot):
    return ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]


def made(blocks, **parameters):
    """A completed snapshot."""
    snapshot = ebs.start_snapshot(VolumeSize=1, **parameters)["SnapshotId"]
    for index, data in blocks.items():
        put(snapshot, index, data)
    complete(snapshot, blocks)
    assert status(snapshot)["State"] == "completed"
    return snapshot


def block(number):
    return bytes([number]) * SIZE


def listed(snapshot):
    """Tokens by index, over all pages."""
    tokens, more, pages = {}, {}, 0
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100, **more)
        assert page["BlockSize"] == SIZE and page["VolumeSize"] == 1
        tokens |= {one["BlockIndex"]: one["BlockToken"] for one in page["Blocks"]}
        pages += 1
        if "NextToken" not in page:
            return tokens, pages
        more = {"NextToken": page["NextToken"]}


def starts():
    tags = [{"Key": "i2kit:name", "Value": "web & <more>"}]
    wanted = {"VolumeSize": 1, "ClientToken": "a" * 64, "Description": "of boto", "Tags": tags}
    first = ebs.start_snapshot(**wanted)
    assert first["Status"] == "pending" and first["BlockSize"] == SIZE, first
    assert first["Tags"] == tags and first["Description"] == "of boto", first
    assert ebs.start_snapshot(**wanted)["SnapshotId"] == first["SnapshotId"]
    refused("ConflictException", ebs.start_snapshot, **(wanted | {"VolumeSize": 2}))
    snapshot = first["SnapshotId"]
    seen = status(snapshot)
    assert seen["State"] == "pending" and seen["Tags"] == tags and seen["Progress"] == "0%", seen
    start = ebs.start_snapshot
    refused("ValidationException", start, VolumeSize=1, Timeout=10, Description="x" * 255, KmsKeyArn="arn:aws:kms:eu-central-1:111122223333:key/1")
    refused("ResourceNotFoundException", start, VolumeSize=1, ParentSnapshotId="snap-0123")
    refused("ValidationException", start, VolumeSize=1, ParentSnapshotId=snapshot)
    parent = made({0: block(1)})
    refused("ValidationException", start, VolumeSize=1, ParentSnapshotId=parent, Encrypted=True)
    refused("ValidationException", start, VolumeSize=1, ParentSnapshotId=parent, Encrypted=False)


def puts():
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    answer = put(snapshot, 0, block(1))
    assert answer["Checksum"] == text(digest(block(1))), answer
    bad = "ValidationException"
    refused(bad, lambda: put(snapshot, 1, block(1), Checksum=text(digest(b"other"))))
    refused(bad, lambda: put(snapshot, 1, block(1), DataLength=512))
    refused(bad, lambda: put(snapshot, 1, block(1), ChecksumAlgorithm="SHA1"))
    refused(bad, lambda: put(snapshot, 1, block(1), Checksum="abc="))
    refused(bad, lambda: put(snapshot, 1, b"short"))
    said = refused(bad, lambda: put(snapshot, 2048, block(1)))
    assert said["Reason"] == "INVALID_BLOCK", said
    put(snapshot, 2047, block(1))
    refused("ResourceNotFoundException", lambda: put("snap-0123", 0, block(1)))
    refused(bad, ebs.list_snapshot_blocks, SnapshotId=snapshot)
    # Written twice, counted once, and the last one is what it has.
    put(snapshot, 0, block(2))
    answer = complete(snapshot, {0: block(2), 2047: block(1)})
    assert answer["Status"] in ("pending", "completed"), answer
    assert status(snapshot)["State"] == "completed"
    refused(bad, lambda: put(snapshot, 1, block(1)))
    tokens, _ = listed(snapshot)
    assert sorted(tokens) == [0, 2047]
    got = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=0, BlockToken=tokens[0])
    data = got["BlockData"].read()
    assert data == block(2) and got["DataLength"] == SIZE, got
    assert got["Checksum"] == text(digest(data))
    get = ebs.get_snapshot_block
    refused(bad, get, SnapshotId=snapshot, BlockIndex=2047, BlockToken=tokens[0])
    said = refused(bad, get, SnapshotId=snapshot, BlockIndex=1, BlockToken=tokens[0])
    assert said["Reason"] == "INVALID_BLOCK_TOKEN", said


def counts():
    """What is told wrongly ends in an error."""
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(snapshot, 0, block(1))
    complete(snapshot, {0: block(1)}, count=2)
    seen = status(snapshot)
    assert seen["State"] == "error" and seen["StateMessage"], seen
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(snapshot, 0, block(1))
    put(snapshot, 1, block(2))
    complete(snapshot, {0: block(2), 1: block(1)})
    assert status(snapshot)["State"] == "error"
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    complete_ = ebs.complete_snapshot
    parameters = {"SnapshotId": snapshot, "ChangedBlocksCount": 0, "Checksum": text(digest(b""))}
    refused("ValidationException", complete_, **parameters)
    complete_(SnapshotId=snapshot, ChangedBlocksCount=0)
    assert status(snapshot)["State"] == "completed"


def pages():
    blocks = {index: block(index % 7) for index in range(230)}
    snapshot = made(blocks)
    tokens, count = listed(snapshot)
    # Every other one is empty.
    assert sorted(tokens) == list(range(230)) and count == 6, count
    refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=snapshot, NextToken="abcd")
    first = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100)
    assert first["Blocks"] == [] and first["NextToken"]
    other = made({0: block(1)})
    refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=other, NextToken=first["NextToken"])


def parents():
    parent = made({0: block(1), 1: block(2), 5: block(3)})
    child = ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=parent)
    assert child["ParentSnapshotId"] == parent, child
    child = child["SnapshotId"]
    put(child, 1, block(9))
    put(child, 7, block(8))
    complete(child, {1: block(9), 7: block(8)})
    found = {}
    more = {}
    while True:
        page = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child, **more)
        found |= {one["BlockIndex"]: one for one in page["ChangedBlocks"]}
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert sorted(found) == [1, 7], found
    assert "FirstBlockToken" in found[1] and "FirstBlockToken" not in found[7], found
    get = ebs.get_snapshot_block
    old = get(SnapshotId=parent, BlockIndex=1, BlockToken=found[1]["FirstBlockToken"])
    new = get(SnapshotId=child, BlockIndex=1, BlockToken=found[1]["SecondBlockToken"])
    assert old["BlockData"].read() == block(2) and new["BlockData"].read() == block(9)
    # What was not put comes from the parent, even when that is gone.
    ec2.delete_snapshot(SnapshotId=parent)
    page = ebs.list_snapshot_blocks(SnapshotId=child)
    page = ebs.list_snapshot_blocks(SnapshotId=child, NextToken=page["NextToken"])
    tokens = {one["BlockIndex"]: one["BlockToken"] for one in page["Blocks"]}
    assert sorted(tokens) == [0, 1, 5, 7], tokens
    assert get(SnapshotId=child, BlockIndex=5, BlockToken=tokens[5])["BlockData"].read() == block(3)
    other = made({0: block(1)})
    said = refused("ValidationException", ebs.list_changed_blocks, FirstSnapshotId=child, SecondSnapshotId=other)
    assert said["Reason"] == "UNRELATED_SNAPSHOTS", said


def register(name, snapshot, **other):
    mapping = {
        "DeviceName": "/dev/xvda",
        "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3", "VolumeSize": 3, "DeleteOnTermination": True},
    }
    parameters = {
        "Name": name,
        "Architecture": "x86_64",
        "BootMode": "uefi",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "TpmSupport": "v2.0",
        "UefiData": text(b"variables"),
        "RootDeviceName": "/dev/xvda",
        "VirtualizationType": "hvm",
        "BlockDeviceMappings": [mapping],
        "TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "i2kit:name", "Value": name}]}],
    }
    return ec2.register_image(**(parameters | other))["ImageId"]


def images():
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    refused("IncorrectState", lambda: register("early", snapshot))
    complete(snapshot, {})
    refused("InvalidSnapshot.NotFound", lambda: register("none", "snap-0123"))
    refused("InvalidParameterValue", lambda: register("tpm", snapshot, BootMode="legacy-bios"))
    refused("InvalidAMIName.Malformed", lambda: register("a:b", snapshot))
    image = register("web 1", snapshot)
    refused("InvalidAMIName.Duplicate", lambda: register("web 1", snapshot))
    (seen,) = ec2.describe_images(ImageIds=[image])["Images"]
    expected = {
        "State": "available", "Name": "web 1", "Architecture": "x86_64", "BootMode": "uefi", "EnaSupport": True,
        "ImdsSupport": "v2.0", "TpmSupport": "v2.0", "VirtualizationType": "hvm", "RootDeviceName": "/dev/xvda",
        "Public": False, "OwnerId": "111122223333", "Tags": [{"Key": "i2kit:name", "Value": "web 1"}],
    }
    assert {key: seen[key] for key in expected} == expected, seen
    ebs_device = seen["BlockDeviceMappings"][0]["Ebs"]
    assert ebs_device["VolumeSize"] == 3 and ebs_device["SnapshotId"] == snapshot, seen
    refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)
    for filters, count in [
        ([{"Name": "tag:i2kit:name", "Values": ["web*"]}], 1),
        ([{"Name": "tag:i2kit:name", "Values": ["db"]}], 0),
        ([{"Name": "name", "Values": ["web ?", "db"]}, {"Name": "state", "Values": ["available"]}], 1),
        ([{"Name": "tag-key", "Values": ["i2kit:name"]}, {"Name": "state", "Values": ["pending"]}], 0),
        ([{"Name": "block-device-mapping.snapshot-id", "Values": [snapshot]}], 1),
    ]:
        pages = ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)
        found = [one for page in pages for one in page["Images"]]
        assert len(found) == count, (filters, found)
    refused("InvalidParameterValue", ec2.describe_images, Filters=[{"Name": "colour", "Values": ["red"]}])
    refused("InvalidParameterCombination", ec2.describe_images, ImageIds=[image], MaxResults=5)
    refused("InvalidAMIID.NotFound", ec2.describe_images, ImageIds=["ami-0123"])
    refused("DryRunOperation", ec2.deregister_image, ImageId=image, DryRun=True)

    ec2.create_tags(Resources=[image, snapshot], Tags=[{"Key": "more", "Value": "1"}])
    ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "444455556666"}, {"Group": "all"}]})
    refused("InvalidUserID.Malformed", ec2.modify_image_attribute, ImageId=image, LaunchPermission={"Add": [{"UserId": "me"}]})
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add", UserIds=["444455556666"])
    ec2.enable_image_deprecation(ImageId=image, DeprecateAt="2031-01-01T00:00:00Z")
    refused("InvalidParameterValue", ec2.enable_image_deprecation, ImageId=image, DeprecateAt="2001-01-01T00:00:00Z")
    ec2.enable_image_deregistration_protection(ImageId=image)
    refused("OperationNotPermitted", ec2.deregister_image, ImageId=image)
    (seen,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert seen["Public"] and seen["DeprecationTime"].startswith("2031-01-01"), seen
    assert seen["DeregistrationProtection"] == "enabled-without-cooldown" and len(seen["Tags"]) == 2, seen
    ec2.disable_image_deregistration_protection(ImageId=image)

    away = client("ec2", region_name="us-east-1")
    refused("InvalidAMIID.NotFound", away.describe_images, ImageIds=[image])
    copy = away.copy_image(Name="web 1", SourceImageId=image, SourceRegion="eu-central-1", ClientToken="t", CopyImageTags=True)
    again = away.copy_image(Name="web 1", SourceImageId=image, SourceRegion="eu-central-1", ClientToken="t", CopyImageTags=True)
    assert copy["ImageId"] == again["ImageId"]
    (seen,) = away.describe_images(ImageIds=[copy["ImageId"]])["Images"]
    assert seen["BootMode"] == "uefi" and len(seen["Tags"]) == 2 and not seen["Public"], seen
    copied = away.copy_snapshot(SourceRegion="eu-central-1", SourceSnapshotId=snapshot, Description="d")
    assert away.describe_snapshots(SnapshotIds=[copied["SnapshotId"]])["Snapshots"][0]["Description"] == "d"

    ec2.deregister_image(ImageId=image)
    refused("InvalidAMIID.Unavailable", ec2.deregister_image, ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)
    refused("InvalidSnapshot.NotFound", ec2.delete_snapshot, SnapshotId=snapshot)


def parameters():
    ssm = client("ssm")
    refused("ParameterNotFound", ssm.get_parameter, Name="/i2kit/web")
    wanted = {"Name": "/i2kit/web", "Type": "String", "DataType": "aws:ec2:image"}
    refused("ValidationException", ssm.put_parameter, Value="ami-0123", **wanted)
    image = register("for ssm", made({}))
    assert ssm.put_parameter(Value=image, **wanted)["Version"] == 1
    refused("ParameterAlreadyExists", ssm.put_parameter, Value=image, **wanted)
    assert ssm.put_parameter(Value=image, Overwrite=True, **wanted)["Version"] == 2
    assert ssm.get_parameter(Name="/i2kit/web")["Parameter"]["Value"] == image


def users():
    states = [{"Name": "instance-state-name", "Values": ["running", "stopped"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=states)
    found = [one["ImageId"] for page in pages for group in page["Reservations"] for one in group["Instances"]]
    assert found == ["ami-01"], found
    pages = ec2.get_paginator("describe_launch_templates").paginate()
    (template,) = [one["LaunchTemplateId"] for page in pages for one in page["LaunchTemplates"]]
    pages = ec2.get_paginator("describe_launch_template_versions").paginate(LaunchTemplateId=template)
    versions = [one for page in pages for one in page["LaunchTemplateVersions"]]
    found = {one["VersionNumber"]: one["LaunchTemplateData"]["ImageId"] for one in versions}
    assert found == {1: "ami-03", 2: "ami-04"}, found
    scaling = client("autoscaling")
    pages = scaling.get_paginator("describe_launch_configurations").paginate()
    found = [one["ImageId"] for page in pages for one in page["LaunchConfigurations"]]
    assert found == ["ami-05"], found
    pages = scaling.get_paginator("describe_auto_scaling_groups").paginate()
    (group,) = [one for page in pages for one in page["AutoScalingGroups"]]
    of = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert of["LaunchTemplateId"] == template, group


def keys():
    wrong = client("ebs", aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
    refused("InvalidSignatureException", wrong.start_snapshot, VolumeSize=1)
    wrong = client("ec2", aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
    refused("SignatureDoesNotMatch", wrong.describe_images)
    nobody = client("ebs", aws_secret_access_key="wrong", aws_access_key_id="AKIANOBODY0000000000")
    refused("UnrecognizedClientException", nobody.start_snapshot, VolumeSize=1)
    role = "arn:aws:iam::111122223333:role/pusher"
    made = client("sts").assume_role(RoleArn=role, RoleSessionName="boto")["Credentials"]
    as_role = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    for service in ["ebs", "ec2"]:
        of_role = client(service, **as_role)
        if service == "ebs":
            of_role.start_snapshot(VolumeSize=1)
        else:
            of_role.describe_images(Owners=["self"])
    refused("UnrecognizedClientException", client("ebs", **(as_role | {"aws_session_token": "x"})).start_snapshot, VolumeSize=1)
    refused("AccessDenied", client("sts").assume_role, RoleArn=role.replace("pusher", "denied"), RoleSessionName="boto")
    unsigned = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + "/snapshots", data=b"{}", method="POST")
    try:
        urllib.request.urlopen(unsigned)
        raise AssertionError("not refused")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error


for part in [starts, puts, counts, pages, parents, images, parameters, users, keys]:
    part()
    print(part.__name__)
