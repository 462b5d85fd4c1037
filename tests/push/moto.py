"""Three AMIs at moto, as a push makes them: one runs, a launch template names one through a parameter."""

import boto3


def tags(version):
    known = {
        "i2kit:name": "web",
        "i2kit:version": version,
        "i2kit:root-hash": "ab" * 32,
        "i2kit:disk-digest": "sha256:" + version * 64,
    }
    return [{"Key": key, "Value": value} for key, value in known.items()]


ec2, ssm = boto3.client("ec2"), boto3.client("ssm")
zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
amis = []
for version in "123":
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    disk = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 1}}
    image = ec2.register_image(
        Name=f"web-{version}",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[disk],
    )
    # RegisterImage's own are not kept there.
    ec2.create_tags(Resources=[image["ImageId"]], Tags=tags(version))
    amis.append(image["ImageId"])
ec2.run_instances(ImageId=amis[0], MinCount=1, MaxCount=1)
ssm.put_parameter(Name="/web", Value=amis[1], Type="String")
template = {"ImageId": "resolve:ssm:/web", "InstanceType": "t3.nano"}
ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=template)
print(*amis)
