package records

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

// born is the creation second of the spec's vectors (19.3).
const born = 1700000000

func TestSequenceNumbersAreThoseOfTheSpec(t *testing.T) {
	for _, c := range []struct {
		name string
		seq  Seq
		want string
	}{
		{"start of shard 0", newSeq(born, 0, 0, born), "49646437577108476416916876405825929425585429676275269634"},
		{"start of shard 1", newSeq(born, 1, 0, born), "49646437577130777162115407028967465143858078037781250066"},
		{"record 1 of shard 0 after 5 s", newSeq(born, 0, 1, born+5), "49646437577108476416916876405827138351405044649047359490"},
		{"end of shard 0 after 100 s", newSeq(born, 0, EndIndex, born+100), "49646437577119626789516141717395488358902146099801227266"},
	} {
		if got := c.seq.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		back, err := ParseSeq(c.want)
		if err != nil || back != c.seq {
			t.Errorf("%s read back: %v, %v", c.name, back, err)
		}
	}
	a, _ := new(big.Int).SetString(newSeq(born, 0, 0, born).String(), 10)
	b, _ := new(big.Int).SetString(newSeq(born, 1, 0, born).String(), 10)
	if d := b.Sub(b, a).String(); d != "22300745198530623141535718272648361505980432" {
		t.Errorf("neighbouring shards are %s apart", d)
	}
}

func TestASequenceNumberSaysWhatItWasMadeOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		created, shard := rng.Int64N(maxCreated), ShardID(rng.Uint32()>>1)
		index, second := rng.Uint64()>>1, rng.Int64N(1<<36)
		s := newSeq(created, shard, index, second)
		if s.Version() != 2 || s.Created().Unix() != created || s.Shard() != shard || s.Index() != index || s.Time().Unix() != second {
			t.Fatalf("%d %d %d %d became %s: %d %d %d %d", created, shard, index, second, s,
				s.Created().Unix(), s.Shard(), s.Index(), s.Time().Unix())
		}
		if len(s.String()) != 56 {
			t.Fatalf("%s has %d digits", s, len(s.String()))
		}
	}
}

func TestNumbersThatCannotBeDecodedAreRefused(t *testing.T) {
	hex := func(s string) string {
		n, ok := new(big.Int).SetString(s, 16)
		if !ok {
			t.Fatal(s)
		}
		return n.String()
	}
	for name, s := range map[string]string{
		"nothing":              "",
		"zero":                 "0",
		"a letter":             "49a",
		"a sign":               "-1",
		"130 digits":           strings.Repeat("1", 130),
		"beyond 192 bits":      strings.Repeat("9", 60),
		"version 3":            hex("206553f10000000000000000000006553f1000000000003"),
		"leading 1":            hex("106553f10000000000000000000006553f1000000000002"),
		"leading 3":            hex("306553f10000000000000000000006553f1000000000002"),
		"index of 2^63":        hex("206553f10008000000000000000006553f1000000000002"),
		"created in year 2477": hex("23bb2fd3180000000000000000000653f10000000000002"),
	} {
		if got, err := ParseSeq(s); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestOlderLayoutsAreRead(t *testing.T) {
	// digits: 2 | created 9 | x | 00 | time 9 | random 14 | index 2 | shard 8 | 1
	n, _ := new(big.Int).SetString("2"+"06553f100"+"0"+"00"+"06553f105"+"aaaaaaaaaaaaaa"+"07"+"00000003"+"1", 16)
	s, err := ParseSeq(n.String())
	if err != nil || s.Version() != 1 || s.Created().Unix() != born || s.Time().Unix() != born+5 || s.Index() != 7 || s.Shard() != 3 {
		t.Errorf("version 1: %v %d %v %v %d %v", err, s.Version(), s.Created(), s.Time(), s.Index(), s.Shard())
	}
	// 1 | created 9 | 00 | random 16 | shard 4
	n, _ = new(big.Int).SetString("1"+"06553f100"+"00"+"bbbbbbbbbbbbbbbb"+"0005", 16)
	s, err = ParseSeq(n.String())
	if err != nil || s.Version() != 0 || s.Created().Unix() != born || s.Shard() != 5 {
		t.Errorf("version 0: %v %d %v %v", err, s.Version(), s.Created(), s.Shard())
	}
}

func TestNumbersCompareAsNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		x := newSeq(born+rng.Int64N(3), ShardID(rng.IntN(40)), rng.Uint64N(4), born+rng.Int64N(9))
		y := newSeq(born+rng.Int64N(3), ShardID(rng.IntN(40)), rng.Uint64N(4), born+rng.Int64N(9))
		a, _ := new(big.Int).SetString(x.String(), 10)
		b, _ := new(big.Int).SetString(y.String(), 10)
		if x.Compare(y) != a.Cmp(b) {
			t.Fatalf("%s and %s compare as %d", x, y, x.Compare(y))
		}
	}
}

func TestAppendingANumberAllocatesNothing(t *testing.T) {
	s, buf := newSeq(born, 3, 9, born+7), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf = s.Append(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHashKeysAreThoseOfTheSpec(t *testing.T) {
	for key, want := range map[string]string{
		"a":              "16955237001963240173058271559858726497",
		"test":           "12707736894140473154801792860916528374",
		"partitionKey-1": "159499196025307651934328298402289840726",
		"ü":              "255482112228542481294366945247899473731",
	} {
		h := HashOf(key)
		if h.String() != want {
			t.Errorf("%q hashes to %s, want %s", key, h, want)
		}
		if back, err := ParseHashKey(want); err != nil || back != h {
			t.Errorf("%s read back: %v, %v", want, back, err)
		}
	}
	for i, want := range []string{"0", "113427455640312821154458202477256070485", "226854911280625642308916404954512140970"} {
		if got := uniform(i, 3).String(); got != want {
			t.Errorf("shard %d of 3 begins at %s, want %s", i, got, want)
		}
	}
	if got := MaxHashKey.String(); got != "340282366920938463463374607431768211455" {
		t.Errorf("the last place is %s", got)
	}
	for _, bad := range []string{"", "-1", "1x", "340282366920938463463374607431768211456", strings.Repeat("1", 40), "999999999999999999999999999999999999999"} {
		if _, err := ParseHashKey(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if m := Middle(HashKey{}, MaxHashKey); m != (HashKey{1<<63 - 1, ^uint64(0)}) {
		t.Errorf("the middle is %v", m)
	}
}

func TestShardIDsAreReadAsClientsWriteThem(t *testing.T) {
	for _, s := range []string{"shardId-000000000005", "shard-5", "x-0005", "5"} {
		if id, err := ParseShardID(s); err != nil || id != 5 || id.String() != "shardId-000000000005" {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "x", "x-", "a-b-5", "5-x", "2147483648", "-", "+5", "x-+5"} {
		if id, err := ParseShardID(s); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	if s := ShardID(1 << 31).String(); s != "shardId--02147483648" {
		t.Errorf("a negative index is printed as %s", s)
	}
}

func TestPositionsSurviveEncoding(t *testing.T) {
	for _, p := range []Position{{}, {77, 5}, {0, time.Now().UnixMilli()}} {
		b, err := p.MarshalBinary()
		if err != nil || len(b) > 64 {
			t.Fatal(len(b), err)
		}
		var back Position
		if err := back.UnmarshalBinary(b); err != nil || back != p {
			t.Errorf("%v came back as %v, %v", p, back, err)
		}
	}
}
