package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// One connection to the agent's socket is one request and one answer. A request is a line of JSON:
//
//	{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":"...","wait_seconds":50}
//	{"op":"bindings","resource_type":"sandbox","resource_id":"sb_1"}
//	{"op":"status"}
//	{"op":"refresh"}
//
// A reveal, and a question for bindings, may have "vault":"https://HOST/api/v1" too, a base URL in its normal form: it is
// then refused by an agent that serves another vault, with the code OTHER_VAULT and, under vault, the one that it serves. An
// agent of a version without this field refuses it as malformed, so that nobody takes its set for that of a vault that it
// may not be of.
//
// Status and refresh are answered with a line of JSON, {"status":{...}}, bindings with {"bindings":[...]}, and every
// refusal with one too, in the form of api.ErrorBody. Agents of before there was bindings refuse it as malformed. A
// reveal is answered with one of
//
//	same 2 STATE AGE
//	set 2 STATE AGE values|placeholders SIZE
//
// where 2 is the version of this form and AGE how long ago the vault last confirmed the set, in milliseconds. SIZE counts
// the bytes that follow the line: the encoding of the set, see api.Snapshot.
const (
	opReveal   = "reveal"
	opBindings = "bindings"
	opStatus   = "status"
	opRefresh  = "refresh"

	setWord, sameWord           = "set", "same"
	valuesWord, placeholderWord = "values", "placeholders"
	formVersion                 = "2"
)

const (
	maxRequest = 4 << 10  // bytes of a request, the line's end included
	maxLine    = 4 << 20  // bytes of an answer's line: of 10000 bindings, say
	maxSet     = 64 << 20 // bytes of a set: far above what a vault may answer
)

// ErrOtherResource says that the agent serves another sandbox or computer than the one asked for.
var ErrOtherResource = errors.New("the agent serves another resource")

// OtherVault is the error of a client that named a vault, where the agent serves another one or doesn't say
// which it serves.
type OtherVault struct {
	Socket string
	Serves string // base URL; empty: the agent is of a version that doesn't say
	Named  string // base URL
}

func (e *OtherVault) Error() string {
	if e.Serves == "" {
		return fmt.Sprintf("the agent at %s doesn't say whether it serves the vault %s", e.Socket, e.Named)
	}
	return fmt.Sprintf("the agent at %s serves the vault %s, not %s", e.Socket, e.Serves, e.Named)
}

const (
	codeOtherResource = "OTHER_RESOURCE"
	codeOtherVault    = "OTHER_VAULT"
)

var errGarbled = errors.New("the agent's answer makes no sense: is it of another version?")

// request is what a client may ask.
type request struct {
	Op string `json:"op"`
	api.Resource
	Vault       string `json:"vault"` // empty: any
	Etag        string `json:"etag"`
	WaitSeconds int    `json:"wait_seconds"` // 0 to 60
}

// parseRequest reads a line. A field that isn't known is refused: it may have been meant to ask for less.
func parseRequest(line []byte) (request, error) {
	var q request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, api.NewError(api.ErrMalformed, "the request isn't one line of JSON as the agent knows it")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return q, api.NewError(api.ErrMalformed, "there is more than one request in the line")
	}
	switch q.Op {
	case opReveal:
		if q.WaitSeconds < 0 || q.WaitSeconds > int(api.MaxWait/time.Second) {
			return q, api.NewError(api.ErrMalformed, "wait_seconds must be 0 to "+strconv.Itoa(int(api.MaxWait/time.Second)))
		}
		return q, q.Resource.Validate()
	case opBindings:
		if q != (request{Op: q.Op, Resource: q.Resource, Vault: q.Vault}) {
			return q, api.NewError(api.ErrMalformed, "only a reveal has an etag or a wait")
		}
		return q, q.Resource.Validate()
	case opStatus, opRefresh:
		if q != (request{Op: q.Op}) {
			return q, api.NewError(api.ErrMalformed, "only reveal and bindings have a resource or a vault, and only a reveal an etag or a wait")
		}
		return q, nil
	}
	return q, api.NewError(api.ErrMalformed, "op must be reveal, bindings, status or refresh")
}

// line spells q, by hand: the first use of an encoder costs more than the whole request.
func (q request) line() []byte {
	b := append(make([]byte, 0, 256), `{"op":`...)
	b = api.AppendString(b, q.Op)
	if q.Op == opReveal || q.Op == opBindings {
		b = api.AppendString(append(b, `,"resource_type":`...), q.Type)
		b = api.AppendString(append(b, `,"resource_id":`...), q.ID)
		if q.Vault != "" {
			b = api.AppendString(append(b, `,"vault":`...), q.Vault)
		}
	}
	if q.Op == opReveal {
		if q.Etag != "" {
			b = api.AppendString(append(b, `,"etag":`...), q.Etag)
		}
		b = strconv.AppendInt(append(b, `,"wait_seconds":`...), int64(q.WaitSeconds), 10)
	}
	return append(b, "}\n"...)
}

// refusalBody is a refusal's line.
type refusalBody struct {
	api.ErrorBody
	Vault string `json:"vault,omitempty"` // with codeOtherVault: the one that is served
}

// refusal gives the line that tells a client of err.
func refusal(err error) []byte {
	body := refusalBody{ErrorBody: api.ErrorBody{Error: api.RedactKeys(err.Error()), Code: api.ErrInternal.Code}}
	var kind *api.Kind
	var other *OtherVault
	switch {
	case errors.Is(err, ErrOtherResource):
		body.Code = codeOtherResource
	case errors.As(err, &other):
		body.Code, body.Vault = codeOtherVault, other.Serves
	case errors.As(err, &kind):
		body.Code = kind.Code
	}
	if told, ok := errors.AsType[*api.Error](err); ok {
		body.RetryAfter = told.RetryAfter.Seconds()
	}
	line, _ := json.Marshal(body)
	return append(line, '\n')
}
