package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// speaker is somebody who comes by RTSP and MQTT, and what each verb of theirs is answered.
type speaker struct {
	name, token string
	watch       int  // status of DESCRIBE and SETUP of the demo
	push        int  // of ANNOUNCE to the demo
	fresh       int  // of ANNOUNCE to a stream that there is not
	enter       bool // MQTT's CONNECT is taken
	put, make   byte // reason of a PUBLISH to a data stream that there is, and is not
}

// issue makes a key of a role and returns its token and id.
func (s *server) issue(t *testing.T, key map[string]any) (token, id string) {
	t.Helper()
	var k struct {
		ID    string `json:"access_key_id"`
		Token string
	}
	status, body, _ := s.do("POST", "/v1/keys", key)
	if err := json.Unmarshal(body, &k); status != http.StatusCreated || err != nil {
		t.Fatalf("key: %d %s", status, body)
	}
	return k.Token, k.ID
}

// speakers are all sorts of them.
func (s *server) speakers(t *testing.T) []speaker {
	const ok, unsigned, denied, unknown = 200, 401, 403, 404
	role := func(role string, streams ...string) string {
		token, _ := s.issue(t, map[string]any{"role": role, "streams": streams})
		return token
	}
	revoked, id := s.issue(t, map[string]any{"role": "admin"})
	if status, body, _ := s.do("DELETE", "/v1/keys/"+id, nil); status != http.StatusNoContent {
		t.Fatalf("remove key: %d %s", status, body)
	}
	expired, _ := s.issue(t, map[string]any{"role": "admin", "ttl": "1s"})
	s.until("the key has expired", 10*time.Second, func() error {
		if status, _, _ := s.do("GET", "/v1/streams", nil, "Authorization", "Bearer "+expired); status != http.StatusUnauthorized {
			return errors.New("not yet")
		}
		return nil
	})
	const refused = 0x87
	return []speaker{
		{name: "anonymous", watch: unsigned, push: unsigned, fresh: unsigned},
		{name: "nonsense", token: "pst_nonsense", watch: unsigned, push: unsigned, fresh: unsigned},
		{name: "revoked", token: revoked, watch: unsigned, push: unsigned, fresh: unsigned},
		{name: "expired", token: expired, watch: unsigned, push: unsigned, fresh: unsigned},
		{"other account", s.otherAccount(t, "222222222222").token, unknown, ok, ok, true, 0, 0}, // streams of its own, called the same
		{"viewer of another camera", role("viewer", "other-*"), unknown, unknown, unknown, true, refused, refused},
		{"producer of another camera", role("producer", "other-*"), unknown, unknown, unknown, true, refused, refused},
		{"viewer", role("viewer"), ok, denied, unknown, true, refused, refused},
		{"worker", role("worker"), ok, denied, unknown, true, 0, refused},
		{"producer", role("producer"), denied, ok, ok, true, 0, 0},
		{"operator", role("operator"), ok, ok, ok, true, 0, 0},
		{"admin", role("admin"), ok, ok, ok, true, 0, 0},
	}
}

// TestWhoMayDoWhatByRTSPAndMQTT is the authorization matrix of the verbs that ask auth; the
// other verbs of RTSP work on a session that one of these began.
func TestWhoMayDoWhatByRTSPAndMQTT(t *testing.T) {
	mqtt := freeAddress(t)
	s := startWith(t, &server{dir: t.TempDir(), args: []string{"--demo", "--mqtt", mqtt}})
	recorded(s, "demo", 1)
	s.until("the sensor's stream is there", 20*time.Second, func() error {
		if status, body, _ := s.do("GET", "/v1/data/demo-sensor", nil); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	for i, who := range s.speakers(t) {
		var proof []string
		if who.token != "" {
			proof = []string{basic("key", who.token)}
		}
		for _, q := range []struct {
			verb, stream string
			want         int
		}{{"DESCRIBE", "demo", who.watch}, {"SETUP", "demo", who.watch}, {"ANNOUNCE", "demo", who.push}, {"ANNOUNCE", fmt.Sprint("fresh-", i), who.fresh},
			{"DESCRIBE", "nosuch", map[bool]int{true: 404, false: 401}[who.watch != 401]}} {
			header, body, address := proof, "", "rtsp://"+s.rtsp+"/"+q.stream
			switch q.verb {
			case "ANNOUNCE":
				body = sdp("x")
			case "SETUP":
				address, header = address+"/trackID=0", append([]string{"Transport: RTP/AVP/TCP;unicast;interleaved=0-1"}, proof...)
			}
			s.verb(t, who.name, q.verb, address, header, body, q.want)
		}
		s.publishes(t, mqtt, who, i)
	}
	// A media token opens what one may watch, and sends nothing.
	token := "?token=" + mint(t, s, "demo")
	s.verb(t, "a media token", "DESCRIBE", "rtsp://"+s.rtsp+"/demo"+token, nil, "", 200)
	s.verb(t, "a media token", "ANNOUNCE", "rtsp://"+s.rtsp+"/demo"+token, nil, sdp("x"), 403)
	s.verb(t, "a media token", "ANNOUNCE", "rtsp://"+s.rtsp+"/fresh"+token, nil, sdp("x"), 404)
	s.verb(t, "a media token", "DESCRIBE", "rtsp://"+s.rtsp+"/fresh-11"+token, nil, "", 404)
}

// verb asks on a connection of its own.
func (s *server) verb(t *testing.T, who, verb, address string, header []string, body string, want int) {
	t.Helper()
	c, err := s.dialRTSP()
	if err != nil {
		t.Fatal(err)
	}
	head, _, err := c.ask(verb, address, header, body)
	status, _, _ := strings.Cut(head, "\r\n")
	if err != nil || !strings.HasPrefix(status, fmt.Sprintf("RTSP/1.0 %d ", want)) {
		t.Errorf("%s: %s of %s is answered %q %v, want %d", who, verb, address, status, err, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func (s *server) publishes(t *testing.T, address string, who speaker, i int) {
	t.Helper()
	c, _, err := speaksMQTT(t.Context(), address, fmt.Sprint("speaker-", i), "any", who.token)
	if (err == nil) != who.enter {
		t.Errorf("%s: CONNECT: %v", who.name, err)
	}
	if err != nil {
		return
	}
	defer func() { _ = c.Disconnect(&paho.Disconnect{}) }()
	for topic, want := range map[string]byte{"demo-sensor/key": who.put, fmt.Sprint("fresh-", i, "/key"): who.make} {
		res, err := publishMQTT(t.Context(), c, topic, []byte("x"))
		if res == nil || res.ReasonCode != want { // the library says a refusal twice
			t.Errorf("%s: PUBLISH to %s: %+v %v, want reason %#x", who.name, topic, res, err, want)
		}
	}
}
