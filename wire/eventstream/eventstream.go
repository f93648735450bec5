// Package eventstream writes messages of the application/vnd.amazon.eventstream framing
// into buffers of the caller, without allocating:
//
//	total length u32 | headers' length u32 | CRC32 of these 8 bytes |
//	headers | payload | CRC32 of all before
//
// Everything is big-endian, the CRC is the IEEE one. A header is the length of its name
// u8, the name, its type u8 (7: string), the length of its value u16, the value.
package eventstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Limits of a message, of the framing itself and of what Decode takes.
const (
	overhead   = 16
	HeadersMax = 128 << 10 // bytes of headers: the limit of the AWS SDKs
	MessageMax = 24 << 20  // bytes of a whole message: theirs too
)

const typeString = 7

// Header is a name with its string value; other types are not used by Kinesis.
type Header struct{ Name, Value string }

// Append appends one message to dst. Names are shorter than 256 bytes, values than 64 KiB.
func Append(dst, payload []byte, headers ...Header) []byte {
	start := len(dst)
	dst, at := Begin(dst, headers...)
	return End(append(dst, payload...), start, at)
}

// Begin appends what comes before the payload of a message, and returns where that is to
// be appended: so a payload can be written where it is sent from. End finishes the message.
func Begin(dst []byte, headers ...Header) (b []byte, payload int) {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for i := range headers {
		dst = appendHeader(dst, headers[i].Name, headers[i].Value)
	}
	return dst, len(dst)
}

// End fills in the lengths and the checksums of the message that begins at start and
// whose payload is all from payload on.
func End(dst []byte, start, payload int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start+4))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(payload-start-12))
	binary.BigEndian.PutUint32(dst[start+8:], crc32.ChecksumIEEE(dst[start:start+8]))
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}

// AppendInitialResponse appends the message that begins every event stream: clients
// report an error, or wait for ever, without it.
func AppendInitialResponse(dst []byte, contentType string, payload []byte) []byte {
	return Append(dst, payload, Header{":message-type", "event"}, Header{":event-type", "initial-response"},
		Header{":content-type", contentType})
}

// AppendEvent appends an event of the given type.
func AppendEvent(dst []byte, event, contentType string, payload []byte) []byte {
	start := len(dst)
	dst, at := BeginEvent(dst, event, contentType)
	return End(append(dst, payload...), start, at)
}

// BeginEvent is Begin with the headers of an event.
func BeginEvent(dst []byte, event, contentType string) (b []byte, payload int) {
	return Begin(dst, Header{":message-type", "event"}, Header{":event-type", event}, Header{":content-type", contentType})
}

// AppendException appends the modelled exception that ends a stream.
func AppendException(dst []byte, exception, contentType string, payload []byte) []byte {
	return Append(dst, payload, Header{":message-type", "exception"}, Header{":exception-type", exception},
		Header{":content-type", contentType})
}

func appendHeader(dst []byte, name, value string) []byte {
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	dst = append(dst, typeString, byte(len(value)>>8), byte(len(value)))
	return append(dst, value...)
}

// Message is one decoded message; its payload is a slice of what was decoded.
type Message struct {
	Headers []Header
	Payload []byte
}

// Get returns the value of the header name, or "".
func (m Message) Get(name string) string {
	for _, h := range m.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// ErrShort says that data ends before the message does.
var ErrShort = errors.New("the message is not whole")

// Decode reads the first message of data and returns how long it is. Headers that are
// no strings are refused: nothing that speaks to us sends them.
func Decode(data []byte) (Message, int, error) {
	if len(data) < overhead {
		return Message{}, 0, ErrShort
	}
	total, headers := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	if crc32.ChecksumIEEE(data[:8]) != binary.BigEndian.Uint32(data[8:]) {
		return Message{}, 0, errors.New("the checksum of the lengths is wrong")
	}
	if total > MessageMax || headers > HeadersMax || uint64(headers)+overhead > uint64(total) {
		return Message{}, 0, fmt.Errorf("a message of %d bytes with %d bytes of headers", total, headers)
	}
	if uint64(len(data)) < uint64(total) {
		return Message{}, 0, ErrShort
	}
	end := int(total) - 4
	if crc32.ChecksumIEEE(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return Message{}, 0, errors.New("the checksum of the message is wrong")
	}
	m := Message{Payload: data[12+headers : end : end]}
	for rest := data[12 : 12+headers]; len(rest) > 0; {
		h, n, err := header(rest)
		if err != nil {
			return Message{}, 0, err
		}
		m.Headers = append(m.Headers, h)
		rest = rest[n:]
	}
	return m, int(total), nil
}

func header(b []byte) (Header, int, error) {
	name := int(b[0])
	if len(b) < 1+name+3 {
		return Header{}, 0, errors.New("a header is cut off")
	}
	if t := b[1+name]; t != typeString {
		return Header{}, 0, fmt.Errorf("header %q has type %d", b[1:1+name], t)
	}
	value := int(binary.BigEndian.Uint16(b[2+name:]))
	end := 4 + name + value
	if len(b) < end {
		return Header{}, 0, errors.New("a header is cut off")
	}
	return Header{string(b[1 : 1+name]), string(b[4+name : end])}, end, nil
}
