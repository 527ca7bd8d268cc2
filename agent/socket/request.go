package socket

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

// A connection carries one request and one reply. A request is a line of JSON:
//
//	{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":"...","wait_seconds":50}
//	{"op":"bindings","resource_type":"sandbox","resource_id":"sb_1"}
//	{"op":"status"}
//	{"op":"refresh"}
//
// reveal and bindings may have "vault":"https://HOST/api/v1", a base URL in its normal form. An agent that serves another
// vault refuses them with the code OTHER_VAULT and its own base URL under "vault". Agents that don't know the field refuse
// the request as malformed, so that no client takes a set for another vault's.
//
// The reply to status and refresh is a line of JSON, {"status":{...}}, and that to bindings {"bindings":[...]}, which older
// agents refuse as malformed. Every refusal is a line of JSON as well, an api.ErrorBody. The reply to reveal is one of
//
//	same 2 STATE AGE
//	set 2 STATE AGE values|placeholders SIZE
//
// where 2 is the version of the format, AGE the time since the vault last confirmed the set, in milliseconds, and SIZE the
// number of bytes that follow the line: the encoding of the set, see api.Snapshot.
const (
	wordSame         = "same"
	wordSet          = "set"
	wordValues       = "values"
	wordPlaceholders = "placeholders"
	formatVersion    = "2"
)

const (
	maxRequest = 4 << 10  // bytes of a request with its newline
	maxLine    = 4 << 20  // bytes of a reply's line: enough for 10,000 bindings
	maxSet     = 64 << 20 // bytes of a set: far more than a vault returns
)

// op is the operation that a request asks for.
type op string

const (
	opReveal   op = "reveal"
	opBindings op = "bindings"
	opStatus   op = "status"
	opRefresh  op = "refresh"
	opMetrics  op = "metrics" // over HTTP, as is opHealth
	opHealth   op = "healthz"
	opOther    op = "other" // the request is unknown or wasn't read
)

// request is a request of a client.
type request struct {
	Op op `json:"op"`
	api.Resource
	Vault       string `json:"vault"` // empty: any
	Etag        string `json:"etag"`
	WaitSeconds int    `json:"wait_seconds"` // 0 to 60
}

// parseRequest parses a line. It refuses unknown fields, since they may limit what the client asks for.
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
		if q.Etag != "" || q.WaitSeconds != 0 {
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

// line returns q as parseRequest parses it. It doesn't use encoding/json, whose first use takes longer than the request.
func (q request) line() []byte {
	b := append(make([]byte, 0, 256), `{"op":`...)
	b = api.AppendString(b, string(q.Op))
	if q.Op == opReveal || q.Op == opBindings {
		b = api.AppendString(append(b, `,"resource_type":`...), q.Type)
		b = api.AppendString(append(b, `,"resource_id":`...), q.ID)
	}
	if q.Vault != "" {
		b = api.AppendString(append(b, `,"vault":`...), q.Vault)
	}
	if q.Etag != "" {
		b = api.AppendString(append(b, `,"etag":`...), q.Etag)
	}
	if q.WaitSeconds != 0 {
		b = strconv.AppendInt(append(b, `,"wait_seconds":`...), int64(q.WaitSeconds), 10)
	}
	return append(b, "}\n"...)
}

// ErrOtherResource is returned by an agent that serves another sandbox or computer than the one asked for.
var ErrOtherResource = errors.New("the agent serves another resource")

// OtherVault is the error of a client that names a vault, if the agent serves another one or doesn't say which.
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
