package agent

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// splitter cuts a file into records: a line each, or, with a start pattern, a line that
// matches and the lines after it that do not. It does no I/O. Bytes that make no whole
// record yet are held.
type splitter struct {
	start *regexp.Regexp // nil: every line is a record
	max   int            // bytes of a record; longer ones are cut into several
	from  int64          // offset of the first held byte
	hold  []byte
	whole int // bytes of hold that are whole lines of the record being gathered
	seen  int // bytes of hold that hold no line end after whole
	cut   int // records that were cut
}

// emit takes a record, without its line end, and the offset after it. The record's bytes
// are not used again.
type emit func(record []byte, end int64) error

// feed takes the next bytes of the file, which become the splitter's. An error of emit
// is returned; what was not emitted is held.
func (s *splitter) feed(data []byte, out emit) error {
	if len(s.hold) > 0 {
		data = append(s.hold[:len(s.hold):len(s.hold)], data...)
	}
	s.hold = data
	for {
		from := s.whole + s.seen
		i := bytes.IndexByte(s.hold[from:], '\n')
		if i < 0 {
			s.seen = len(s.hold) - s.whole
			return s.shorten(out)
		}
		s.seen = 0
		if err := s.line(from+i+1, out); err != nil {
			return err
		}
	}
}

// line adds the line that ends at end, which follows the lines gathered, to them, or
// gives them and begins anew with it.
func (s *splitter) line(end int, out emit) error {
	if s.start == nil {
		return s.give(end, out)
	}
	if s.whole > 0 {
		begins := s.start.Match(trim(s.hold[s.whole:end]))
		if long := len(trim(s.hold[:end])) > s.max; begins || long {
			if !begins {
				s.cut++
			}
			end -= s.whole
			if err := s.give(s.whole, out); err != nil {
				return err
			}
		}
	}
	s.whole = end
	return nil
}

// shorten gives a line that has no end yet in pieces while it is longer than a record
// may be.
func (s *splitter) shorten(out emit) error {
	if len(s.hold)-s.whole > s.max+2 { // and a line end
		if err := s.flush(out); err != nil {
			return err
		}
	}
	for len(s.hold)-s.whole > s.max+2 {
		s.cut++
		if err := s.give(s.piece(), out); err != nil {
			return err
		}
	}
	return nil
}

// piece is how much of a record that is too long goes into its first piece: no
// character of UTF-8 is torn.
func (s *splitter) piece() int {
	for n := s.max; n > s.max-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s.hold[n]) {
			return n
		}
	}
	return s.max
}

// flush gives the whole lines that are held: no more are expected soon.
func (s *splitter) flush(out emit) error {
	if s.whole == 0 {
		return nil
	}
	return s.give(s.whole, out)
}

// finish gives everything: the file has ended.
func (s *splitter) finish(out emit) error {
	if len(s.hold) > s.whole {
		if err := s.line(len(s.hold), out); err != nil {
			return err
		}
	}
	return s.flush(out)
}

// give emits the first n bytes held. An empty line is no record.
func (s *splitter) give(n int, out emit) error {
	for {
		text, m := trim(s.hold[:n]), n
		if len(text) > s.max {
			m = s.piece()
			text = s.hold[:m:m]
			s.cut++
		}
		if len(text) > 0 {
			if err := out(text, s.from+int64(m)); err != nil {
				return err
			}
		}
		s.advance(m)
		if n -= m; n == 0 {
			return nil
		}
	}
}

func (s *splitter) advance(n int) {
	s.from += int64(n)
	s.hold = s.hold[n:]
	s.whole = max(0, s.whole-n)
	s.seen = 0
}

// trim takes the line end away: LF, or CR LF.
func trim(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	return line[:len(line):len(line)]
}
