package kinesis

import (
	"strings"
	"testing"

	"penstock/records"
	"penstock/streams/datastream"
)

func TestTagCharacters(t *testing.T) {
	for word, want := range map[string]string{
		"ü0 _.": "", "/=+-@": "", "": "", "a:b": "",
		"abc;def": "Some tags contain", "abc,def": "Some tags contain",
		"abc\tdef": "Some tags contain", "abc\ndef": "Some tags contain", "a\u2028b": "Some tags contain",
		"abc%def": "Failed to add tags to stream s under account 1 because some tags contained illegal characters.",
	} {
		err := tagCharacters([]string{"fine", word}, "add", "to", "s", "1")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
}

func TestAShardThatIsNotThere(t *testing.T) {
	err := wordRefusal(&datastream.Refusal{Reason: datastream.NoShard, Shard: records.ShardID(5)}, "s", "1", "r")
	if want := "ResourceNotFoundException: Could not find shard shardId-000000000005 in stream s under account 1."; err.Error() != want {
		t.Errorf("is %v, not %s", err, want)
	}
}
