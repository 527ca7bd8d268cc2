package socket

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

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// Codes of refusals, besides those of api.Kinds.
const (
	codeOtherResource = "OTHER_RESOURCE"
	codeOtherVault    = "OTHER_VAULT"
)

var errGarbled = errors.New("the agent's answer makes no sense: is it of another version?")

// reply is a reply as the client reads it.
type reply struct {
	head
	same bool
	set  api.Snapshot
	line []byte // of JSON; nil: the reply is a set or says that it is the same
	body body   // of line, once parsed
}

// head is the part of a reply to reveal that describes the set.
type head struct {
	state        agent.State
	age          time.Duration
	placeholders bool
}

// body is a line of JSON that isn't a refusal.
type body struct {
	Status   *agent.Status `json:"status,omitempty"`
	Bindings []api.Binding `json:"bindings,omitzero"` // nil: the line has none
}

// refusalBody is a refusal.
type refusalBody struct {
	api.ErrorBody
	Vault string `json:"vault,omitempty"` // with codeOtherVault: the one that is served
}

// refusal returns the reply for err.
func refusal(err error) []byte {
	r := refusalBody{ErrorBody: api.ErrorBody{Error: api.RedactKeys(err.Error()), Code: api.ErrInternal.Code}}
	var kind *api.Kind
	var other *OtherVault
	switch {
	case errors.Is(err, ErrOtherResource):
		r.Code = codeOtherResource
	case errors.As(err, &other):
		r.Code, r.Vault = codeOtherVault, other.Serves
	case errors.As(err, &kind):
		r.Code = kind.Code
	}
	r.RetryAfter = api.RetryAfter(err).Seconds()
	line, _ := json.Marshal(r)
	return append(line, '\n')
}

// appendHead appends the first words of a reply to reveal.
func appendHead(b []byte, word string, s agent.Status) []byte {
	age := int64(min(max(s.Age, 0)*1000, 1<<52))
	return fmt.Appendf(b, "%s %s %s %d", word, formatVersion, s.State, age)
}

// appendSet appends the reply of a set up to its values.
func appendSet(b []byte, s agent.Status, e *encoding) []byte {
	word := wordValues
	if s.Placeholders {
		word = wordPlaceholders
	}
	b = fmt.Appendf(appendHead(b, wordSet, s), " %s %d\n", word, e.size)
	return append(b, e.header...)
}

// readReply reads a reply. The set's values are in the memory of the set only.
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
	if len(words) < 4 || words[1] != formatVersion {
		return reply{}, errGarbled
	}
	age, err := strconv.ParseUint(words[3], 10, 63)
	if err != nil || age > math.MaxInt64/uint64(time.Millisecond) {
		return reply{}, errGarbled
	}
	a.head = head{state: agent.State(words[2]), age: time.Duration(age) * time.Millisecond}
	switch {
	case words[0] == wordSame && len(words) == 4:
		a.same = true
		return a, nil
	case words[0] != wordSet || len(words) != 6:
		return reply{}, errGarbled
	}
	a.placeholders = words[4] == wordPlaceholders
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

// readBlock reads n bytes that begin with those read already. It allocates memory as bytes arrive, and clears all but the
// result.
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

// readLine reads the first line, and returns what it has read after it too.
func readLine(r io.Reader) (line, rest []byte, err error) {
	buf, n := make([]byte, 16<<10), 0
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
			buf = append(buf, make([]byte, n)...) // the line before a set isn't as long, so no value is copied
		}
	}
}

// cutShort returns the error for a reply that ends too early.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return api.NewError(api.ErrUnavailable, "the agent ended the connection before its answer was whole")
	}
	return err
}

// parseBody parses line into body. Errors: the refusal, if it is one.
func (a *reply) parseBody() error {
	var b struct {
		refusalBody
		body
	}
	if err := json.Unmarshal(a.line, &b); err != nil {
		return errGarbled
	}
	switch b.Code {
	case "":
		if b.Status == nil && b.Bindings == nil {
			return errGarbled
		}
		a.body = b.body
		return nil
	case codeOtherResource:
		return fmt.Errorf("%w: %s", ErrOtherResource, b.Error)
	case codeOtherVault:
		return &OtherVault{Serves: b.Vault}
	}
	refused := api.NewError(api.ErrInternal, b.Error)
	for _, k := range api.Kinds {
		if k.Code == b.Code {
			refused.Kind = k
		}
	}
	refused.RetryAfter = time.Duration(min(max(b.RetryAfter, 0), 3600) * float64(time.Second))
	return refused
}
