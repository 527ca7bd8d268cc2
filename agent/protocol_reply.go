package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// reply is what a client was told.
type reply struct {
	heard
	same bool
	set  api.Snapshot
	line []byte // of JSON, where it is neither same nor a set
}

// heard is what every answer to a reveal says beside the set.
type heard struct {
	state        State
	age          time.Duration
	placeholders bool
}

// appendHeard begins an answer's line.
func appendHeard(b []byte, word string, s Status) []byte {
	b = append(append(b, word...), ' ')
	b = append(append(b, formVersion...), ' ')
	b = append(append(b, s.State...), ' ')
	return strconv.AppendInt(b, int64(min(max(s.Age, 0)*1000, 1<<52)), 10)
}

// appendSet begins the answer of a set, up to its values.
func appendSet(b []byte, s Status, e *encoding) []byte {
	word := valuesWord
	if s.Placeholders {
		word = placeholderWord
	}
	b = append(append(append(appendHeard(b, setWord, s), ' '), word...), ' ')
	b = append(strconv.AppendInt(b, int64(e.size), 10), '\n')
	return append(b, e.header...)
}

// readReply reads one answer. What it read of values stands in the set's only.
func readReply(r io.Reader) (a reply, err error) {
	line, rest, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	defer clear(rest)
	if len(line) > 0 && line[0] == '{' {
		return reply{line: line}, nil
	}
	words := strings.Split(string(line), " ")
	if len(words) < 4 || words[1] != formVersion {
		return reply{}, errGarbled
	}
	age, err := strconv.ParseUint(words[3], 10, 63)
	if err != nil || age > math.MaxInt64/uint64(time.Millisecond) {
		return reply{}, errGarbled
	}
	a.heard = heard{state: State(words[2]), age: time.Duration(age) * time.Millisecond}
	switch {
	case words[0] == sameWord && len(words) == 4:
		a.same = true
		return a, nil
	case words[0] != setWord || len(words) != 6:
		return reply{}, errGarbled
	}
	a.placeholders = words[4] == placeholderWord
	size, err := strconv.ParseUint(words[5], 10, 63)
	if err != nil || size > maxSet {
		return reply{}, errGarbled
	}
	encoded, err := readBlock(r, rest[:min(len(rest), int(size))], int(size))
	if err != nil {
		return reply{}, err
	}
	if a.set, err = api.DecodeSnapshot(encoded, nil); err != nil {
		clear(encoded)
		return reply{}, errGarbled
	}
	return a, nil
}

// readBlock reads n bytes, of which the first were read already. It takes more memory only as more
// arrives, and leaves no copy behind.
func readBlock(r io.Reader, first []byte, n int) ([]byte, error) {
	block := make([]byte, min(n, max(len(first), 1<<20)))
	have := copy(block, first)
	for {
		m, err := io.ReadFull(r, block[have:])
		have += m
		if err != nil && have < len(block) {
			clear(block)
			return nil, cutShort(err)
		}
		if have == n {
			return block, nil
		}
		larger := make([]byte, min(n, 2*have))
		copy(larger, block)
		clear(block)
		block = larger
	}
}

// readLine reads up to the end of the first line, and gives what it read beyond.
func readLine(r io.Reader) (line, rest []byte, err error) {
	buf, n := make([]byte, 4<<10), 0
	for {
		m, err := r.Read(buf[n:])
		if at := bytes.IndexByte(buf[n:n+m], '\n'); at >= 0 {
			return buf[:n+at], buf[n+at+1 : n+m], nil
		}
		n += m
		if err != nil {
			return nil, nil, cutShort(err)
		}
		if n == len(buf) {
			if n >= maxLine {
				return nil, nil, errGarbled
			}
			buf = append(buf, make([]byte, n)...) // a line this long isn't a set's: no value stands in it
		}
	}
}

// cutShort says of an early end what it means.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return api.NewError(api.ErrUnavailable, "the agent ended the connection before its answer was whole")
	}
	return err
}

// jsonLine is a line of JSON that isn't a refusal.
type jsonLine struct {
	Status   *Status       `json:"status"`
	Bindings []api.Binding `json:"bindings"` // nil: the line has none
}

// parseJSON reads a line that is neither same nor a set.
func (a reply) parseJSON() (jsonLine, error) {
	var body struct {
		refusalBody
		jsonLine
	}
	if err := json.Unmarshal(a.line, &body); err != nil {
		return jsonLine{}, errGarbled
	}
	switch body.Code {
	case "":
		if body.Status == nil && body.Bindings == nil {
			return jsonLine{}, errGarbled
		}
		return body.jsonLine, nil
	case codeOtherResource:
		return jsonLine{}, fmt.Errorf("%w: %s", ErrOtherResource, body.Error)
	case codeOtherVault:
		return jsonLine{}, &OtherVault{Serves: body.Vault}
	}
	refused := api.NewError(api.ErrInternal, body.Error)
	for _, k := range api.Kinds {
		if k.Code == body.Code {
			refused.Kind = k
		}
	}
	refused.RetryAfter = time.Duration(min(max(body.RetryAfter, 0), 3600) * float64(time.Second))
	return jsonLine{}, refused
}
