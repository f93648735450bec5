package acceptance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestRecordsPowerCut cuts the power of the disk under producers: what the server had
// acknowledged is there, once, in order.
func TestRecordsPowerCut(t *testing.T) {
	onVolumes(t, 2048, func(t *testing.T, v *volume, rng *rand.Rand) {
		s, l := withStream(t, v.data(), 4)
		cuts := max(2, recordCrashes(t)*3/10)
		for n := range cuts {
			l.strike(n, cuts, rng, func() {
				v.cut()
				s.kill()
			})
			v.unmount()
			v.mount()
			s.up()
			s.active(l.stream) // what the cut broke off has been done
			l.catchUp("cut " + strconv.Itoa(n))
			if t.Failed() {
				return
			}
		}
		l.reread("after all cuts")
	})
}

// TestRecordsOnAFullDisk fills the disk under producers: they hear that nothing is stored,
// what was stored can be read, and with room the same server stores again.
func TestRecordsOnAFullDisk(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 1024)
	s, l := withStream(t, v.data(), 4)
	rng := rand.New(rand.NewPCG(13, 0))
	for n := range 2 {
		stop := l.writers(6)
		time.Sleep(500 * time.Millisecond)
		v.fill()
		s.until("a producer hears that the disk is full", 60*time.Second, func() error {
			v.fill() // what the server gave back, too
			err := l.send(context.Background(), []dataRecord{newRecord("full", numbers.Add(1), rng)})
			var refused *kinesisError
			if !errors.As(err, &refused) || refused.Status/100 != 5 {
				return fmt.Errorf("it hears %v", err)
			}
			return nil
		})
		stop()
		s.quick("/livez", time.Second)
		l.catchUp(fmt.Sprintf("full disk %d", n))
		if err := os.Remove(filepath.Join(v.dir, "outsider.bin")); err != nil {
			t.Fatal(err)
		}
		s.until("records are stored again", 30*time.Second, func() error {
			return l.send(context.Background(), []dataRecord{newRecord("room", numbers.Add(1), rng)})
		})
	}
	stop := l.writers(6)
	time.Sleep(500 * time.Millisecond)
	stop()
	l.catchUp("with room again")
	s.stop()
	s.up()
	l.catchUp("after a restart")
	l.reread("after a restart")
}
