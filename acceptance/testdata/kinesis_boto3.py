"""Walks through data streams with boto3 as it comes with Debian: no option but where the server is."""

import sys
import threading
import time

import boto3
from botocore.exceptions import ClientError

ENDPOINT = sys.argv[1]


def refused(code, message, call, **arguments):
    """The call has to fail with this exception and message."""
    try:
        call(**arguments)
    except ClientError as e:
        error = e.response["Error"]
        assert (error["Code"], error["Message"]) == (code, message), error
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert len(e.response["ResponseMetadata"]["RequestId"]) == 36
        return
    raise AssertionError(f"not refused with {code}: {arguments}")


def drain(client, **arguments):
    """Reads a shard to its tip, or to its end."""
    iterator, records = client.get_shard_iterator(**arguments)["ShardIterator"], []
    while iterator:
        page = client.get_records(ShardIterator=iterator)
        records += page["Records"]
        if not page["Records"] and page["MillisBehindLatest"] == 0:
            break
        iterator = page.get("NextShardIterator")
    return records


def address(client, operation, arn):
    """Names the stream by its ARN where this version knows how."""
    members = client.meta.service_model.operation_model(operation).input_shape.members
    return {"StreamARN": arn} if "StreamARN" in members else {"StreamName": arn.rsplit("/", 1)[1]}


def main():
    client = boto3.client("kinesis", region_name="us-east-1", endpoint_url=ENDPOINT)
    name = "boto"
    client.create_stream(StreamName=name, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 80})
    summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2 and summary["StreamStatus"] == "ACTIVE", summary
    assert abs(time.time() - summary["StreamCreationTimestamp"].timestamp()) < 60, summary
    arn = summary["StreamARN"]
    assert arn == "arn:aws:kinesis:us-east-1:000000000000:stream/boto"

    by_arn = address(client, "GetShardIterator", arn)
    start = time.time()
    put = client.put_record(StreamName=name, PartitionKey="a", Data=bytes(range(256)))
    answer = client.put_records(**address(client, "PutRecords", arn), Records=[{"PartitionKey": f"ключ {i}", "Data": f"{i}"} for i in range(300)])
    assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 300
    shards = [s["ShardId"] for page in client.get_paginator("list_shards").paginate(StreamName=name) for s in page["Shards"]]
    assert shards == ["shardId-000000000000", "shardId-000000000001"], shards
    read = {s: drain(client, StreamName=name, ShardId=s, ShardIteratorType="TRIM_HORIZON") for s in shards}
    assert sum(map(len, read.values())) == 301
    first = read[put["ShardId"]][0]
    assert first["Data"] == bytes(range(256)) and first["SequenceNumber"] == put["SequenceNumber"]
    assert abs(first["ApproximateArrivalTimestamp"].timestamp() - start) < 60
    assert len(drain(client, **by_arn, ShardId=shards[0], ShardIteratorType="AT_TIMESTAMP", Timestamp=start - 5)) == len(read[shards[0]])
    assert drain(client, **by_arn, ShardId=shards[0], ShardIteratorType="LATEST") == []

    client.add_tags_to_stream(StreamName=name, Tags={"k": "v"})
    assert client.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "k", "Value": "v"}]
    refused("ResourceNotFoundException", "Stream none under account 000000000000 not found.", client.describe_stream, StreamName="none")
    refused("InvalidArgumentException", "Invalid ShardIterator.", client.get_records, ShardIterator="AAAA")

    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="boto")["Consumer"]
    while client.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
        time.sleep(0.05)
    stream = client.subscribe_to_shard(ConsumerARN=consumer["ConsumerARN"], ShardId=shards[0], StartingPosition={"Type": "LATEST"})["EventStream"]
    threading.Timer(0.2, client.put_record, kwargs={"StreamName": name, "PartitionKey": "a", "Data": b"pushed"}).start()
    for event in stream:
        event = event["SubscribeToShardEvent"]
        if event["Records"]:
            assert [r["Data"] for r in event["Records"]] == [b"pushed"], event
            assert event["ContinuationSequenceNumber"] >= event["Records"][0]["SequenceNumber"]
            break
    stream.close()
    client.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])

    client.merge_shards(StreamName=name, ShardToMerge=shards[0], AdjacentShardToMerge=shards[1])
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 80})
    open_shards = client.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert [s["ShardId"] for s in open_shards] == ["shardId-000000000002"], open_shards
    assert open_shards[0]["ParentShardId"] == shards[0] and open_shards[0]["AdjacentParentShardId"] == shards[1]
    client.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 80})
    print("every step passed with boto3", boto3.__version__)


main()
