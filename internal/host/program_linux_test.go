package host

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheProgramsOwnPagesAreFound(t *testing.T) {
	const maps = `00400000-01043000 r-xp 00000000 fe:01 123 /opt/a b/penstock
01043000-01c4c000 r--p 00c43000 fe:01 123 /opt/a b/penstock
01c4c000-01d00000 rw-p 0184c000 fe:01 123 /opt/a b/penstock
c000000000-c004000000 rw-p 00000000 00:00 0
7f1000000000-7f1000001000 r-xp 00000000 fe:01 9 /usr/lib/libc.so.6
7f2000000000-7f2000001000 r-xp 00000000 fe:01 9 /other/penstock
nonsense
7fff00000000-7fff00002000 r-xp 00000000 00:00 0 [vdso]
`
	want := []addressRange{{0x400000, 0xc43000}, {0x1043000, 0xc09000}}
	if got := programRanges([]byte(maps), "/opt/a b/penstock"); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestTheProgramGoesOnWithoutItsPages(t *testing.T) {
	n, err := ReleaseProgram()
	if errors.Is(err, unix.EINVAL) {
		t.Log("a kernel before 5.4 does not take them")
		return
	}
	if err != nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
