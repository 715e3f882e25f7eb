"""What a bucket's administrator does, by the provider's own library: storage.py ENDPOINT CA BUCKET VERB [ARGUMENTS].

make locked|open   makes the bucket
fetch FOLDER       the newest version of every object, as files
locks              [name, mode, days held from now, may the newest version be deleted] of each object, a line each
versions NAME      how many versions an object has
spoil NAME         writes another object over it
put NAME TEXT      writes this object
"""
import datetime, json, pathlib, sys  # noqa: E401

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, authority, bucket, verb, *given = sys.argv[1:]
storage = boto3.client(
    "s3", endpoint_url=endpoint, verify=authority, region_name="us-east-1", aws_access_key_id="administrator",
    aws_secret_access_key="administrator", config=Config(s3={"addressing_style": "path"}),
)


def objects():
    pages = storage.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


if verb == "make":
    storage.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=given[0] == "locked")
elif verb == "fetch":
    for name in objects():
        file = pathlib.Path(given[0], name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(storage.get_object(Bucket=bucket, Key=name)["Body"].read())
elif verb == "locks":
    for name in objects():
        head = storage.head_object(Bucket=bucket, Key=name)
        until = head["ObjectLockRetainUntilDate"] - datetime.datetime.now(datetime.timezone.utc)
        try:
            storage.delete_object(Bucket=bucket, Key=name, VersionId=head["VersionId"])
            deleted = True
        except ClientError:
            deleted = False
        print(json.dumps([name, head["ObjectLockMode"], round(until.total_seconds() / 86400), deleted]))
elif verb == "versions":
    print(len(storage.list_object_versions(Bucket=bucket, Prefix=given[0]).get("Versions", [])))
elif verb == "spoil":
    storage.put_object(Bucket=bucket, Key=given[0], Body=b"spoilt")
elif verb == "put":
    storage.put_object(Bucket=bucket, Key=given[0], Body=given[1].encode())
