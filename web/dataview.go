package web

import (
	"time"

	"penstock/internal/quantity"
	"penstock/records"
	"penstock/streams/datastream"
)

// dataView is a data stream as the native API shows it. Lists leave Shards and Consumers out.
type dataView struct {
	Name       string            `json:"name"`
	ARN        string            `json:"arn"`
	Status     datastream.Status `json:"status"`
	Mode       datastream.Mode   `json:"mode"`
	Created    time.Time         `json:"created"`
	Retention  string            `json:"retention"`
	Encrypted  bool              `json:"encrypted"`
	MaxRecord  int               `json:"max_record"` // bytes of data and key
	OpenShards int               `json:"open_shards"`
	Load       dataLoad          `json:"load"`
	Tags       map[string]string `json:"tags,omitempty"`
	Demo       bool              `json:"demo"`
	Shards     []shardView       `json:"shards,omitempty"`
	Consumers  []consumerView    `json:"consumers,omitempty"`
}

// dataLoad is what goes through a stream a second. Over is 0 until it is known: ask again.
type dataLoad struct {
	Over       float64 `json:"over_s"`
	RecordsIn  float64 `json:"records_in"`
	BytesIn    float64 `json:"bytes_in"`
	RecordsOut float64 `json:"records_out"`
	BytesOut   float64 `json:"bytes_out"`
	Refused    float64 `json:"refused"`
	PutP99     float64 `json:"put_p99_ms"` // until durable; 0: nothing was put
}

// shardView is one shard. Hash keys and sequence numbers are decimal: they do not fit a
// JSON number.
type shardView struct {
	ID         string     `json:"id"`
	Parents    []string   `json:"parents,omitempty"`
	From       string     `json:"from"`
	To         string     `json:"to"`
	Start      string     `json:"start"`
	End        string     `json:"end,omitempty"` // of a closed one
	Open       bool       `json:"open"`
	Opened     time.Time  `json:"opened"`
	Closed     *time.Time `json:"closed,omitempty"`
	RecordsIn  float64    `json:"records_in"`
	BytesIn    float64    `json:"bytes_in"`
	RecordsOut float64    `json:"records_out"`
	BytesOut   float64    `json:"bytes_out"`
	Refused    float64    `json:"refused"`
	Behind     *float64   `json:"behind_s,omitempty"` // of who read last
	HotKey     string     `json:"hot_key,omitempty"`
	HotShare   float64    `json:"hot_share,omitempty"` // of the records, 0 to 1
}

// consumerView is a registered consumer.
type consumerView struct {
	Name    string            `json:"name"`
	ARN     string            `json:"arn"`
	Status  datastream.Status `json:"status"`
	Created time.Time         `json:"created"`
	Shards  int               `json:"shards"`
	Behind  *float64          `json:"behind_s,omitempty"` // absent: it has read nothing since the start
	Seen    *time.Time        `json:"seen,omitempty"`
}

// storedView is the answer to a put, in the order of the records.
type storedView struct {
	Records []struct {
		Shard          string `json:"shard"`
		SequenceNumber string `json:"sequence_number,omitempty"`
		Error          string `json:"error,omitempty"` // a code; only where the answer is an error
	} `json:"records"`
}

// viewData describes a data stream, shards and consumers too when whole.
func (s *Server) viewData(st *datastream.Stream, whole bool) dataView {
	i := st.Info()
	v := dataView{
		Name: i.Name, ARN: st.ARN(), Status: i.Status, Mode: i.Mode, Created: i.Created, Retention: quantity.Days(i.Retention),
		Encrypted: i.Encrypted(), MaxRecord: i.MaxRecord, Tags: i.Tags, Demo: i.Tags[DemoTag] != "",
	}
	load := st.Load()
	v.Load = dataLoad{Over: load.Over.Seconds(), PutP99: float64(load.PutP99) / float64(time.Millisecond)}
	of := map[records.ShardID]datastream.Traffic{}
	for _, t := range load.Shards {
		of[t.Shard] = t
		v.Load.RecordsIn += t.InRecords
		v.Load.BytesIn += t.InBytes
		v.Load.RecordsOut += t.OutRecords
		v.Load.BytesOut += t.OutBytes
		v.Load.Refused += t.WriteRefused
	}
	for _, sh := range st.Shards() {
		if sh.Open() {
			v.OpenShards++
		}
		if whole {
			t, used := of[sh.ID]
			v.Shards = append(v.Shards, viewShard(sh, t, used))
		}
	}
	if whole {
		v.Consumers = viewConsumers(st)
	}
	return v
}

func viewShard(sh records.Shard, t datastream.Traffic, used bool) shardView {
	v := shardView{ID: sh.ID.String(), From: sh.From.String(), To: sh.To.String(), Start: sh.Start.String(), Open: sh.Open(),
		Opened: sh.Opened.UTC(), Closed: instant(sh.Closed)}
	for _, p := range []records.ShardID{sh.Parent, sh.Adjacent} {
		if p != records.NoShard {
			v.Parents = append(v.Parents, p.String())
		}
	}
	if !sh.Open() {
		v.End = sh.End.String()
	}
	if used {
		v.RecordsIn, v.BytesIn, v.RecordsOut, v.BytesOut = t.InRecords, t.InBytes, t.OutRecords, t.OutBytes
		v.Refused, v.HotKey, v.HotShare = t.WriteRefused, t.HotKey, t.HotShare
		if t.Behind >= 0 {
			v.Behind = seconds(t.Behind)
		}
	}
	return v
}

func viewConsumers(st *datastream.Stream) []consumerView {
	var list []consumerView
	lags := st.Lags()
	for _, c := range st.Consumers() {
		v := consumerView{Name: c.Name, ARN: c.ARN(), Status: c.Status, Created: c.Created.UTC()}
		for _, l := range lags {
			if l.Consumer == c.Name && !l.Seen.IsZero() {
				v.Shards, v.Behind, v.Seen = l.Shards, seconds(l.Behind), instant(l.Seen)
			}
		}
		list = append(list, v)
	}
	return list
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
