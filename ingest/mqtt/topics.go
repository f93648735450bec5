package mqtt

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"penstock/internal/fault"
	"penstock/streams/datastream"
)

// keyMax is the longest partition key, in characters.
const keyMax = 256

// rulesMax bounds the rules of a server.
const rulesMax = 256

// Rule says which data stream and partition key a topic means. In Stream and Key, $1 is
// what the first wildcard of Topic stands for, $2 the second, and so on.
type Rule struct {
	Topic  string // an MQTT topic filter: factory/+/machines/#
	Stream string // empty: messages to such topics are refused
	Key    string // empty: the client's identifier
}

// matcher is a Rule that was checked.
type matcher struct {
	levels      []string
	stream, key string
}

func compile(rules []Rule) ([]matcher, error) {
	if len(rules) > rulesMax {
		return nil, fmt.Errorf("mqtt topics: %d rules, at most %d", len(rules), rulesMax)
	}
	var out []matcher
	for i, r := range rules {
		levels := strings.Split(r.Topic, "/")
		wild := 0
		for j, l := range levels {
			switch {
			case l == "+" || l == "#" && j == len(levels)-1:
				wild++
			case strings.ContainsAny(l, "+#"):
				return nil, fmt.Errorf("mqtt topics[%d]: %q is no topic filter: + and # stand for whole levels, # is the last", i, r.Topic)
			}
		}
		if r.Topic == "" {
			return nil, fmt.Errorf("mqtt topics[%d]: the topic is empty", i)
		}
		for _, text := range []string{r.Stream, r.Key} {
			for _, part := range strings.Split(text, "$")[1:] {
				n, err := strconv.Atoi(part[:min(1, len(part))])
				if err != nil || n < 1 || n > wild {
					return nil, fmt.Errorf("mqtt topics[%d]: %q: $N stands for one of the %d wildcards of %q", i, text, wild, r.Topic)
				}
			}
		}
		out = append(out, matcher{levels, r.Stream, r.Key})
	}
	return out, nil
}

// match returns what the wildcards stand for.
func (m *matcher) match(topic []string) (parts []string, ok bool) {
	for i, l := range m.levels {
		switch {
		case l == "#":
			return append(parts, strings.Join(topic[min(i, len(topic)):], "/")), true
		case i >= len(topic):
			return nil, false
		case l == "+":
			parts = append(parts, topic[i])
		case l != topic[i]:
			return nil, false
		}
	}
	return parts, len(topic) == len(m.levels)
}

// place says which data stream and key a topic means. fault.Denied: a rule refuses it;
// fault.Invalid: it means no data stream.
func (s *Server) place(topic, client string) (stream, key string, err error) {
	levels := strings.Split(topic, "/")
	stream, key = levels[0], strings.Join(levels[1:], "/")
	for i := range s.topics {
		m := &s.topics[i]
		parts, ok := m.match(levels)
		if !ok {
			continue
		}
		if m.stream == "" {
			return "", "", fault.New(fault.Denied, "publish to", clip(topic), "the server's settings refuse this topic")
		}
		stream, key = fill(m.stream, parts), fill(m.key, parts)
		break
	}
	if key == "" {
		key = client
	}
	if err := datastream.CheckName(stream); err != nil {
		return "", "", fault.Wrap(fault.Invalid, "publish to", clip(topic), err)
	}
	if n := utf8.RuneCountInString(key); n < 1 || n > keyMax || !utf8.ValidString(key) {
		return "", "", fault.New(fault.Invalid, "publish to", clip(topic), fmt.Sprintf("the partition key must have 1 to %d characters of UTF-8", keyMax))
	}
	return stream, key, nil
}

// fill puts what wildcards stand for into a text.
func fill(text string, parts []string) string {
	for i, p := range parts {
		text = strings.ReplaceAll(text, "$"+strconv.Itoa(i+1), p)
	}
	return text
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
