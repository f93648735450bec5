package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"penstock/internal/loadgen"
	"penstock/wire/sigv4"
)

// newEndpoint takes the access key and its secret with a colon between.
func newEndpoint(address string, pid int, key string) *endpoint {
	access, secret, _ := strings.Cut(key, ":")
	return &endpoint{&loadgen.Endpoint{Address: address, PID: pid, Signer: &sigv4.Signer{AccessKey: access, Secret: secret, Region: "us-east-1", Service: "kinesis"}}}
}

func (s *server) endpoint() *endpoint { return newEndpoint(s.http, s.cmd.Process.Pid, s.key) }

// serveRecords starts a server without limits of shards, which are there to be slow.
func (b *bench) serveRecords(ctx context.Context, name string) (*server, error) {
	return b.serve(ctx, filepath.Join(b.dir, name), "--shard-limits", "off")
}

// dataStreams is the part records: everything through the real binary, signed, and
// synced before it is answered; then the same without the wire. Only names one of its
// sections; empty is all.
func (b *bench) dataStreams(ctx context.Context, only string) error {
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		one, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err == nil {
			b.add(figure{Name: "load average of the last minute", Value: one, Note: "before the records; " + time.Now().UTC().Format("2006-01-02 15:04 UTC")})
		}
	}
	known := only == ""
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"puts", b.puts}, {"gets", b.gets}, {"delivery", b.deliveries}, {"wide", b.wide}, {"restart", b.restart}, {"bare", b.bare},
	} {
		if only != "" && only != part.name {
			continue
		}
		known = true
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("records, %s: %w", part.name, err)
		}
	}
	if !known {
		return fmt.Errorf("-only records/%s: no such section, see -h", only)
	}
	return nil
}

// putLeast is what is asked of puts, in records a second.
func putLeast(l loadgen.PutLoad) float64 {
	switch {
	case l.Batch > 1 && l.Codec.Name == "JSON":
		return map[int]float64{1: 60e3, 4: 110e3, 16: 110e3}[l.Conns]
	case l.Batch > 1:
		return map[int]float64{4: 150e3}[l.Conns]
	}
	return map[int]float64{8: 10e3, 256: 30e3}[l.Conns]
}

// puts loads the server and the peer in turn.
func (b *bench) puts(ctx context.Context) error {
	s, err := b.serveRecords(ctx, "puts")
	if err != nil {
		return err
	}
	defer s.end()
	raw, err := openRaw(b.dir)
	if err != nil {
		return err
	}
	defer raw.Close()
	here := s.endpoint()
	asJSON, asCBOR := codecs()
	for _, batch := range []int{500, 1} {
		for _, c := range []loadgen.Codec{asJSON, asCBOR} {
			for _, conns := range []int{1, 4, 8, 16, 64, 256} {
				if conns == 8 && batch > 1 {
					continue
				}
				if err := b.putBeside(ctx, here, raw, loadgen.PutLoad{Conns: conns, Batch: batch, Codec: c}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// gets lets the server and the peer be read in turn.
func (b *bench) gets(ctx context.Context) error {
	s, err := b.serveRecords(ctx, "gets")
	if err != nil {
		return err
	}
	defer s.end()
	here := s.endpoint()
	asJSON, asCBOR := codecs()
	for _, c := range []loadgen.Codec{asJSON, asCBOR} {
		if err := b.drainBeside(ctx, here, c); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) putBeside(ctx context.Context, here *endpoint, raw *loadgen.RawDisk, l loadgen.PutLoad) error {
	limit, err := rawRate(ctx, raw, l.Conns*l.Batch*recordSize, 300*time.Millisecond)
	if err != nil {
		return err
	}
	r, err := here.put(ctx, l, b.records)
	if err != nil {
		return err
	}
	if r.RefusedRecords() > 0 {
		return fmt.Errorf("%s: %d records were refused: %w", l, r.RefusedRecords(), r.First)
	}
	f := figure{Name: l.String(), Value: r.Rate(), Unit: "rec/s", Floor: limit, Least: putLeast(l), Detail: detail(r)}
	b.peerOf(ctx, &f, func(e *endpoint) (*loadgen.Tally, error) { return e.put(ctx, l, b.records) })
	b.add(f)
	if l.Batch == 1 && l.Conns == 256 {
		b.add(figure{Name: l.String() + ": p99", Value: loadgen.Quantile(r.Waits, 0.99), Unit: "ms", Peer: f.PeerDetail["p99 ms"], Target: 25})
	}
	return nil
}

// peerOf asks the peer the same, if there is one. What it cannot do is said, and is no end.
func (b *bench) peerOf(ctx context.Context, f *figure, do func(*endpoint) (*loadgen.Tally, error)) {
	if b.other == nil || ctx.Err() != nil {
		return
	}
	r, err := do(b.other)
	if err != nil {
		f.Note = strings.TrimSpace(f.Note + fmt.Sprintf(" the peer: %v", err))
		return
	}
	f.Peer, f.PeerDetail = r.Rate(), detail(r)
	if r.First != nil {
		f.Note = strings.TrimSpace(f.Note + fmt.Sprintf(" the peer refused: %v", r.First))
	}
}

// drainRecords are 10 MB in each of four shards.
const drainRecords = 40_000

func (b *bench) drainBeside(ctx context.Context, here *endpoint, c loadgen.Codec) error {
	drain := func(e *endpoint) (*loadgen.Tally, error) {
		stream := "drain-" + c.Name
		if _, err := e.CreateStream(ctx, stream, 4); err != nil {
			return nil, err
		}
		if _, err := e.fill(ctx, stream, 2, drainRecords); err != nil {
			return nil, err
		}
		return e.drain(ctx, stream, c, b.records)
	}
	r, err := drain(here)
	if err != nil {
		return err
	}
	f := figure{Name: "GetRecords drain, " + c.Name + ", 4 shards", Value: r.Rate(), Unit: "rec/s", Least: 250e3, Detail: detail(r)}
	if c.Name != "JSON" {
		f.Least = 0
	}
	b.peerOf(ctx, &f, drain)
	b.add(f)
	return nil
}

// deliveries measures push delivery to more and more consumers.
func (b *bench) deliveries(ctx context.Context) error {
	s, err := b.serveRecords(ctx, "deliveries")
	if err != nil {
		return err
	}
	defer s.end()
	for _, n := range []int{1, 5, 20} {
		r, err := s.endpoint().delivery(ctx, n, b.records+2*time.Second)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("put to delivery, 1,000 rec/s, %d consumers: ", n)
		seen := detail(r)
		delete(seen, "MB/s")
		b.add(figure{Name: name + "p50", Value: loadgen.Quantile(r.Waits, 0.5), Unit: "ms", Target: 5, Note: "SubscribeToShard over HTTP/2, from before the put is sent", Detail: seen})
		b.add(figure{Name: name + "p99", Value: loadgen.Quantile(r.Waits, 0.99), Unit: "ms", Target: 25})
	}
	return nil
}

// wideShards is how many shards one stream may have.
const wideShards = 10_000

// wide makes a stream of many shards and says what they cost, before and after they hold
// something.
func (b *bench) wide(ctx context.Context) error {
	empty, err := b.idle(ctx, "wide")
	if err != nil {
		return err
	}
	s, err := b.serveRecords(ctx, "wide")
	if err != nil {
		return err
	}
	files, err := count(s.dir)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.endpoint().CreateStream(ctx, "wide", wideShards); err != nil {
		s.end()
		return err
	}
	b.add(figure{Name: "create 10,000 shards", Value: float64(time.Since(began).Milliseconds()), Unit: "ms", Note: "until the stream is active"})
	s.end()
	full, err := b.idle(ctx, "wide")
	if err != nil {
		return err
	}
	more, err := count(s.dir)
	if err != nil {
		return err
	}
	b.add(figure{Name: "10,000 shards: memory each", Value: (full.rss - empty.rss) / wideShards, Unit: "B", Target: 2048, Note: "resident after a restart, less that of an empty server",
		Detail: map[string]float64{"RSS MB": loadgen.Rounded(full.rss / 1e6), "empty RSS MB": loadgen.Rounded(empty.rss / 1e6), "heap B each": loadgen.Rounded((full.heap - empty.heap) / wideShards)}})
	b.add(figure{Name: "10,000 shards: more files", Value: float64(more - files), Target: 10})
	b.add(figure{Name: "10,000 shards: start to ready", Value: full.ready, Unit: "ms", Target: 1000})
	if s, err = b.serveRecords(ctx, "wide"); err != nil {
		return err
	}
	_, asCBOR := codecs()
	r, err := s.endpoint().Put(ctx, "wide", loadgen.PutLoad{Conns: 4, Batch: 500, Codec: asCBOR}, b.records, nil)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if err != nil {
		return err
	}
	b.add(figure{Name: "PutRecords x 500, CBOR, 4 connections, to 10,000 shards", Value: r.Rate(), Unit: "rec/s", Detail: detail(r)})
	full, err = b.idle(ctx, "wide")
	if err != nil {
		return err
	}
	b.add(figure{Name: "10,000 shards with records: killed, start to ready", Value: full.ready, Unit: "ms", Target: 1000, Note: "after the puts above",
		Detail: map[string]float64{"RSS MB": loadgen.Rounded(full.rss / 1e6)}})
	return os.RemoveAll(filepath.Join(b.dir, "wide"))
}

// idleServer is a server that nobody asks anything.
type idleServer struct{ rss, heap, ready float64 } // B, B, ms

// idle starts a server, lets it come to rest and collect, and stops it.
func (b *bench) idle(ctx context.Context, name string) (idleServer, error) {
	s, err := b.serveRecords(ctx, name)
	if err != nil {
		return idleServer{}, err
	}
	defer s.end()
	if !loadgen.Sleep(ctx, time.Second) {
		return idleServer{}, ctx.Err()
	}
	c, err := loadgen.ReadProcess(s.cmd.Process.Pid)
	if err != nil {
		return idleServer{}, err
	}
	heap, err := s.heap(ctx)
	return idleServer{rss: float64(c.RSS), heap: heap, ready: float64(s.took.Microseconds()) / 1000}, err
}

// count says how many files are below dir.
func count(dir string) (n int, err error) {
	return n, filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
}

// restart kills a server that holds records, and reads them back from the next one.
func (b *bench) restart(ctx context.Context) error {
	gb := 1
	if b.long {
		gb = 10
	}
	s, err := b.serveRecords(ctx, "restart")
	if err != nil {
		return err
	}
	_, err = s.endpoint().CreateStream(ctx, "restart", 4)
	began, stored := time.Now(), 0
	if err == nil {
		stored, err = s.endpoint().fill(ctx, "restart", 4, gb*1_000_000_000/recordSize)
	}
	took := time.Since(began)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if err != nil {
		return err
	}
	b.add(figure{Name: fmt.Sprintf("put %d GB, CBOR, 4 connections", gb), Value: float64(stored) / took.Seconds(), Unit: "rec/s", Note: "sealing included as far as it got"})
	if s, err = b.serveRecords(ctx, "restart"); err != nil {
		return err
	}
	defer s.end()
	b.add(figure{Name: fmt.Sprintf("%d GB stored, killed: start to ready", gb), Value: float64(s.took.Microseconds()) / 1000, Unit: "ms", Target: 1000})
	first := true
	for _, name := range []string{"at once", "again"} {
		took, err := s.endpoint().readAll(ctx, "restart", stored)
		if err != nil {
			return err
		}
		c, err := loadgen.ReadProcess(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		f := figure{Name: "read all back over the wire, CBOR, " + name, Value: float64(stored) * recordSize / 1e6 / took.Seconds(), Unit: "MB/s",
			Detail: map[string]float64{"RSS MB": loadgen.Rounded(float64(c.RSS) / 1e6), "peak MB": loadgen.Rounded(float64(c.Peak) / 1e6)}}
		if first {
			f.Note = "while what was not sealed is sealed"
		}
		first = false
		b.add(f)
	}
	return os.RemoveAll(s.dir)
}

// bare runs the benchmarks beside the code: the lane, each against raw writes and syncs
// of the same batches, and reading without the wire.
func (b *bench) bare(ctx context.Context) error {
	least := map[string]float64{"Records/writers=1": 6.7e3, "Records/writers=16": 24.8e3, "Records/writers=64": 66.7e3, "Records/writers=256": 81e3, "Batches/writers=1": 200e3}
	lines, err := benchmarks(ctx, "./storage/lane", "^Benchmark(Records|Batches)$", "7x")
	if err != nil {
		return err
	}
	for _, l := range lines {
		b.add(figure{Name: "bare lane: " + l.name, Value: l.metrics["records/s"], Unit: "rec/s", Floor: l.metrics["raw-records/s"], Least: least[l.name],
			Note: "the floor writes and syncs as much at once, in turn", Detail: pick(l.metrics, "of-raw", "puts/commit", "p50-ms", "p99-ms")})
	}
	if lines, err = benchmarks(ctx, "./records", "^BenchmarkRead$", "20x"); err != nil {
		return err
	}
	for _, l := range lines {
		f := figure{Name: "bare read: " + l.name, Value: l.metrics["GB/s"], Unit: "GB/s", Detail: pick(l.metrics, "rec/s")}
		if l.name == "Read/segment" {
			f.Least, f.Note = 0.8, "after a restart, each record's checksum looked at"
		}
		b.add(f)
	}
	return nil
}
