package kinesis

import (
	"time"

	"penstock/wire/awsjson"
)

// token is a NextToken: a list, where it goes on, and what it was asked with.
type token struct {
	issued time.Time
	id     string // of the stream; empty for lists of streams
	where  place
	after  string // the last entry that was given
	filter string // what the first call asked for
}

const purposeToken = "next token v1"

func expiredIterator(format string, args ...any) *awsjson.Error {
	return awsjson.NewError("ExpiredIteratorException", format, args...)
}

// token makes a NextToken of the list named kind.
func (s *Server) token(kind string, t token) (string, error) {
	f := fields{}
	f.number(s.c.Clock.Now().UnixMilli())
	for _, text := range []string{kind, t.id, t.where.account, t.where.region, t.where.stream, t.after, t.filter} {
		f.text(text)
	}
	return s.sealer.seal(purposeToken, f.b, 0)
}

// readToken reads what token made.
func (s *Server) readToken(kind, text string) (t token, err error) {
	invalid := invalidArgument("Invalid NextToken.")
	plain, err := s.sealer.open(purposeToken, text)
	if err != nil {
		return t, invalid
	}
	f := fields{plain}
	t.issued = time.UnixMilli(f.takeNumber()).UTC()
	if f.takeText() != kind {
		return t, invalid
	}
	t.id, t.where.account, t.where.region, t.where.stream = f.takeText(), f.takeText(), f.takeText(), f.takeText()
	t.after, t.filter = f.takeText(), f.takeText()
	now := s.c.Clock.Now().UTC()
	if now.Sub(t.issued) > s.c.TokenLife {
		return t, awsjson.NewError("ExpiredNextTokenException", "The NextToken was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			t.issued.Format(javaDate), now.Format(javaDate), s.c.TokenLife.Milliseconds())
	}
	return t, nil
}
