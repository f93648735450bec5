package awsjson

import "testing"

func TestBuffersHaveRoomAndLittleMore(t *testing.T) {
	var p pools
	for n := range 1 << 14 {
		b := p.get(n)
		if cap(b) < n || len(b) != 0 || n > 1<<bufferMin && cap(b) > n+n/2 {
			t.Fatalf("for %d bytes %d of %d", n, len(b), cap(b))
		}
		p.put(b)
	}
	for _, n := range []int{-1, 1<<bufferMax - 1, 1 << bufferMax, 1<<bufferMax + 1, 1 << (bufferMax + 1)} {
		if b := p.get(n); cap(b) < n {
			t.Errorf("for %d bytes %d", n, cap(b))
		} else {
			p.put(b)
		}
	}
	for n := range 5000 { // buffers that grew may have any size
		p.put(make([]byte, 0, n))
		if b := p.get(n); cap(b) < n {
			t.Fatalf("for %d bytes %d, after one of that size was given back", n, cap(b))
		}
	}
}
