import sys, urllib.parse, urllib.request
import botocore.config, botocore.session

config = botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path", "us_east_1_regional_endpoint": "regional"})
client = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=config)
for line in sys.stdin:
    bucket, key = urllib.parse.urlparse(line.strip()).path[1:].split("/", 1)
    at = {"Bucket": bucket, "Key": key}
    put = client.put_object(Body=b"an object of MiB" * (3 << 16), **at)["ResponseMetadata"]["HTTPStatusCode"]
    got = client.get_object(**at)["Body"].read().decode()
    presigned = client.generate_presigned_url("get_object", Params=at)
    print(put, got, urllib.request.urlopen(presigned).read().decode(), sep="; ", flush=True)
