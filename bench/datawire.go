package main

import (
	"bytes"
	"context"
	"encoding/binary"

	"penstock/internal/loadgen"
)

// endpoint is a server of data streams, Penstock or a peer that speaks the same wire, to
// read from too.
type endpoint struct{ *loadgen.Endpoint }

// obj is a request.
type obj = loadgen.Obj

// shards are the names of all shards of a stream that has at most 10,000.
func (e *endpoint) shards(ctx context.Context, stream string) (ids []string, err error) {
	in := obj{"StreamName": stream}
	for {
		var l struct {
			Shards    []struct{ ShardId string }
			NextToken string
		}
		if err := e.Control(ctx, "ListShards", in, &l); err != nil {
			return nil, err
		}
		for _, s := range l.Shards {
			ids = append(ids, s.ShardId)
		}
		if l.NextToken == "" {
			return ids, nil
		}
		in = obj{"NextToken": l.NextToken}
	}
}

func (e *endpoint) iterator(ctx context.Context, stream, shard string) (string, error) {
	var out struct{ ShardIterator string }
	err := e.Control(ctx, "GetShardIterator", obj{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &out)
	return out.ShardIterator, err
}

// nextIterator finds the iterator in an answer of GetRecords without decoding the records.
func nextIterator(answer []byte, c loadgen.Codec) string {
	const key = "NextShardIterator"
	const near = 4 << 10 // it is at either end of the answer, which is large
	_, rest, ok := bytes.Cut(answer[max(0, len(answer)-near):], []byte(key))
	if !ok {
		_, rest, ok = bytes.Cut(answer[:min(near, len(answer))], []byte(key))
	}
	if !ok {
		return ""
	}
	if c.Name == "JSON" {
		parts := bytes.SplitN(rest, []byte{'"'}, 4) // `": "`, the iterator
		if len(parts) < 4 {
			return ""
		}
		return string(parts[2])
	}
	n := 0
	switch {
	case len(rest) > 3 && rest[0] == 0x78:
		n, rest = int(rest[1]), rest[2:]
	case len(rest) > 3 && rest[0] == 0x79:
		n, rest = int(binary.BigEndian.Uint16(rest[1:])), rest[3:]
	}
	if n > len(rest) {
		return ""
	}
	return string(rest[:n])
}

// recordsIn counts the records of an answer of GetRecords. Each has its data, so the next
// is that far away at least.
func recordsIn(answer []byte) (n int) {
	key := []byte("PartitionKey")
	for {
		i := bytes.Index(answer, key)
		if i < 0 {
			return n
		}
		n++
		answer = answer[min(len(answer), i+recordSize):]
	}
}
