package vault

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// plaintext is a JSON string that contains a secret. null counts as absent.
type plaintext struct{ api.Value }

// UnmarshalJSON implements json.Unmarshaler.
func (p *plaintext) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] != '"' {
		return &json.UnmarshalTypeError{Value: "another type", Type: reflect.TypeFor[string]()}
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	p.Value = api.NewValue([]byte(s))
	return nil
}

// instant is an optional time in a body. null and absent differ; "" counts as absent.
type instant struct {
	*time.Time
	null bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		i.null = true
		return nil
	}
	var s string
	if b[0] != '"' || json.Unmarshal(b, &s) != nil {
		return errNoTime
	}
	if s == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	// In UTC the year may be another one, which RFC 3339 can't express.
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return errNoTime
	}
	i.Time = &t
	return nil
}

var errNoTime = api.NewError(api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z")

// jsonObject is any JSON object in a body.
type jsonObject json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (o *jsonObject) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*o = nil
	case b[0] == '{':
		*o = append((*o)[:0], b...)
	default:
		return &json.UnmarshalTypeError{Value: "another type", Type: reflect.TypeFor[map[string]any]()}
	}
	return nil
}
