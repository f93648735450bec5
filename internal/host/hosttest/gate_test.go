package hosttest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAGateHoldsTimersUntilItOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		began := time.Now()
		first, given := g.NewTimer(), g.NewTimer()
		given.Stop()
		time.Sleep(time.Hour)
		select {
		case <-first.C:
			t.Fatal("it fired while the gate was closed")
		default:
		}
		g.Open()
		<-first.C
		<-g.NewTimer().C
		g.Close()
		last := g.NewTimer()
		if took := time.Since(began); took != time.Hour {
			t.Errorf("an open gate took %v", took-time.Hour)
		}
		select {
		case <-given.C:
			t.Error("one that was stopped fired")
		case <-last.C:
			t.Error("one fired behind a closed gate")
		case <-time.After(time.Hour):
		}
	})
}
