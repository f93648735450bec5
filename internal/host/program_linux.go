package host

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseProgram gives the pages of the running program's code and constants back to the
// kernel and returns how many bytes lie in them, in memory or not. What is still needed comes
// back when it is next used; what only the start needed does not. It needs Linux 5.4.
func ReleaseProgram() (int64, error) {
	const op = "give back the program's pages"
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	total := int64(0)
	for _, r := range programRanges(maps, self) {
		// Pages of a file that nobody wrote to: nothing can be lost by it.
		if _, _, no := unix.Syscall(unix.SYS_MADVISE, r.at, r.size, unix.MADV_PAGEOUT); no != 0 {
			return total, fmt.Errorf("%s: %w", op, no)
		}
		total += int64(r.size)
	}
	return total, nil
}

type addressRange struct{ at, size uintptr }

// programRanges reads proc_pid_maps(5) for what is mapped of the file self and can't be
// written to.
func programRanges(maps []byte, self string) (out []addressRange) {
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || len(f[1]) != 4 || f[1][1] != '-' || !strings.HasSuffix(lines.Text(), " "+self) {
			continue
		}
		from, to, ok := strings.Cut(f[0], "-")
		at, err1 := strconv.ParseUint(from, 16, strconv.IntSize)
		end, err2 := strconv.ParseUint(to, 16, strconv.IntSize)
		if ok && err1 == nil && err2 == nil && at < end {
			out = append(out, addressRange{uintptr(at), uintptr(end - at)})
		}
	}
	return out
}
