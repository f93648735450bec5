package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"penstock/wire/sigv4"
)

// keepPlayingUDP plays over UDP, where the end of the media is what counts and not
// that of the conversation: no picture for three seconds of a camera that sends 25 in one.
func (s *server) keepPlayingUDP(t *testing.T, token string) <-chan struct{} {
	t.Helper()
	udp := gortsplib.TransportUDP
	c := &gortsplib.Client{Transport: &udp, ReadTimeout: time.Minute, InitialUDPReadTimeout: time.Minute}
	u, err := base.ParseURL("rtsp://key:" + token + "@" + s.rtsp + "/demo")
	if err == nil {
		err = c.Start(u.Scheme, u.Host)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	desc, _, err := c.Describe(u)
	if err == nil {
		err = c.SetupAll(desc.BaseURL, desc.Medias)
	}
	if err != nil {
		t.Fatalf("set up over udp: %v", err)
	}
	pulse, packets := s.machine(), make(chan struct{}, 1)
	c.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {
		select {
		case packets <- struct{}{}:
		default:
		}
	})
	if _, err := c.Play(nil); err != nil {
		t.Fatalf("play over udp: %v", err)
	}
	return ending(func() error {
		for last := time.Now(); ; {
			select {
			case <-packets:
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			if pulse.Took(last) > 3*time.Second {
				return errors.New("no picture")
			}
		}
	})
}

// keepFollowing asks for one live playlist after the other, each before its newest segment
// is there, so that nearly all of the time one is held. That a camera was too late for a
// list (503) ends nothing.
func (s *server) keepFollowing(t *testing.T, token string) <-chan struct{} {
	t.Helper()
	query := ""
	follow := func() error {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.http+"/v1/streams/demo/live.m3u8"+query, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusServiceUnavailable:
			query = ""
			return nil
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("%s %s", res.Status, body)
		}
		first := 0
		_, after, ok := bytes.Cut(body, []byte("#EXT-X-MEDIA-SEQUENCE:"))
		if _, err := fmt.Sscan(string(after), &first); !ok || err != nil {
			return fmt.Errorf("no sequence in %s", body)
		}
		query = fmt.Sprintf("?_HLS_msn=%d", first+bytes.Count(body, []byte("#EXTINF:")))
		return nil
	}
	if err := follow(); err != nil {
		t.Fatal(err)
	}
	return ending(follow)
}

// aws sends an operation that is signed with a key.
func (s *server) aws(operation, key, secret, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	signer := sigv4.Signer{AccessKey: key, Secret: secret, Region: "us-east-1", Service: "kinesis"}
	signer.Sign(req, []byte(body), time.Now())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// keepIterating reads with GetRecords, each time with the iterator of the answer before:
// an iterator is no permission.
func (s *server) keepIterating(t *testing.T, stream, key, secret string) <-chan struct{} {
	t.Helper()
	status, answer, err := s.aws("GetShardIterator", key, secret,
		fmt.Sprintf(`{"StreamName":%q,"ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`, stream))
	var at struct{ ShardIterator, NextShardIterator string }
	if err := errors.Join(err, json.Unmarshal(answer, &at)); err != nil || at.ShardIterator == "" {
		t.Fatalf("iterator: %d %s %v", status, answer, err)
	}
	next := at.ShardIterator
	return ending(func() error {
		status, answer, err := s.aws("GetRecords", key, secret, fmt.Sprintf(`{"ShardIterator":%q}`, next))
		if err != nil {
			return err
		}
		if bytes.Contains(answer, []byte("ProvisionedThroughputExceededException")) { // five a second
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		if err := json.Unmarshal(answer, &at); err != nil {
			return err
		}
		next = at.NextShardIterator
		time.Sleep(200 * time.Millisecond)
		return nil
	})
}
