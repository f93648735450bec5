package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/internal/host"
	"penstock/internal/loadgen"
)

const recordSize = loadgen.DefaultRecord

// codecs are the two encodings of requests.
func codecs() (asJSON, asCBOR loadgen.Codec) { return loadgen.JSON(), loadgen.CBOR() }

// detail is what else is said of a window.
func detail(r *loadgen.Tally) map[string]float64 {
	d := map[string]float64{"p50 ms": loadgen.Quantile(r.Waits, 0.5), "p99 ms": loadgen.Quantile(r.Waits, 0.99), "MB/s": r.Rate() * recordSize / 1e6, "generator cores": r.Generator, "others' cores": r.Others}
	if r.Peak > 0 && r.Records > 0 {
		d["CPU µs/record"], d["RSS MB"], d["peak MB"] = r.CPU*1e6/float64(r.Records), r.RSS, r.Peak
	}
	if r.Records > 0 && r.Sent > 0 {
		d["bytes sent/record"] = float64(r.Sent) / float64(r.Records)
	}
	if n := r.RefusedRecords(); n > 0 {
		d["refused"] = float64(n)
	}
	for k, v := range d {
		d[k] = loadgen.Rounded(v)
	}
	return d
}

// put measures one load on a stream of its own, of four shards.
func (e *endpoint) put(ctx context.Context, l loadgen.PutLoad, d time.Duration) (*loadgen.Tally, error) {
	stream := fmt.Sprintf("put-%s-%d-%d", l.Codec.Name, l.Batch, l.Conns)
	if _, err := e.CreateStream(ctx, stream, 4); err != nil {
		return nil, err
	}
	r, err := e.Put(ctx, stream, l, d, nil)
	return r, errors.Join(err, e.DeleteStream(ctx, stream))
}

// rawRoom is what the floor of puts writes in.
const rawRoom = 128 << 20

// rawRate is records a second when pieces of size bytes are written and synced.
func rawRate(ctx context.Context, d *loadgen.RawDisk, size int, window time.Duration) (float64, error) {
	waits, err := d.Measure(ctx, size, window, 1<<40)
	took := time.Duration(0)
	for _, w := range waits {
		took += w
	}
	if err != nil || took == 0 {
		return 0, err
	}
	return float64(len(waits)) * float64(min(size, loadgen.RawPiece)) / recordSize / took.Seconds(), nil
}

func openRaw(dir string) (*loadgen.RawDisk, error) { return loadgen.OpenRaw(host.OS{}, dir, rawRoom) }
