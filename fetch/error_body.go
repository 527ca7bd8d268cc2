package fetch

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// errorFields are the fields of an error's body, which has one of these forms:
//
//	{"error": "sentence", "code": "CODE", "retry_after": 1.5}
//	{"error": {"code": "CODE", "message": "sentence", "details": {...}, "retryable": true, "retry_after_ms": 1500}}
//	{"errors": {"detail": "sentence"}} and {"errors": {"field": ["sentence"]}}
//
// The first is miosa-vault's, the second that of MIOSA's platform, the third Phoenix's own.
type errorFields map[string]json.RawMessage

// readError reads the body of an error response into refused and returns its message, cleaned; "" if it has none or has
// another form.
func (c *Client) readError(body []byte, k call, refused *api.Error) string {
	var outer, inner errorFields
	if json.Unmarshal(body, &outer) != nil {
		return ""
	}
	_ = json.Unmarshal(outer["error"], &inner) // nil if it is a sentence
	c.readFields(outer, k, refused)
	c.readFields(inner, k, refused)
	for _, said := range []json.RawMessage{
		inner["message"], inner["detail"], outer["error_description"], sentenceOf(outer["error"]), outer["message"], outer["detail"], outer["errors"], outer["title"],
	} {
		text := c.clean(flatten(said, 3), 300, k)
		if text == "" || strings.EqualFold(text, http.StatusText(refused.Kind.Status)) {
			continue // the client's own message says more
		}
		if isCode(text) {
			refused.Code = cmp.Or(refused.Code, text)
			continue
		}
		if details := c.clean(flatten(inner["details"], 3), 300, k); details != "" {
			text = plain(text+": "+details, 300)
		}
		return text
	}
	return ""
}

// readFields reads the fields that aren't messages. It ignores a field of another type.
func (c *Client) readFields(from errorFields, k call, refused *api.Error) {
	var code, id string
	var seconds, milliseconds float64
	if json.Unmarshal(from["code"], &code) == nil && code != "" {
		refused.Code = c.clean(code, 80, k)
	}
	if refused.RequestID == "" && json.Unmarshal(from["request_id"], &id) == nil {
		refused.RequestID = c.clean(id, 80, k)
	}
	if json.Unmarshal(from["retry_after"], &seconds) == nil && seconds > 0 {
		refused.RetryAfter = duration(seconds)
	}
	if json.Unmarshal(from["retry_after_ms"], &milliseconds) == nil && milliseconds > 0 {
		refused.RetryAfter = duration(milliseconds / 1000)
	}
	var retryable *bool
	if json.Unmarshal(from["retryable"], &retryable) == nil && retryable != nil {
		refused.Retryable = retryable
	}
}

// isCode reports whether a text is a code, such as MACHINE_KEY_SCOPE, and not a sentence.
func isCode(text string) bool {
	return strings.Contains(text, "_") && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// sentenceOf returns raw if it is a string, else nil.
func sentenceOf(raw json.RawMessage) json.RawMessage {
	if len(raw) > 0 && raw[0] == '"' {
		return raw
	}
	return nil
}

// flatten returns the strings in a value of at most depth levels: items of a list separated by commas, fields of an
// object by semicolons and with their names, except detail and message.
func flatten(raw json.RawMessage, depth int) string {
	var (
		text   string
		list   []json.RawMessage
		fields map[string]json.RawMessage
		parts  []string
	)
	switch {
	case len(raw) == 0 || depth == 0:
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &list) == nil:
		for _, item := range list {
			if part := flatten(item, depth-1); part != "" {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, ", ")
	case json.Unmarshal(raw, &fields) == nil:
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			part := flatten(fields[name], depth-1)
			if part != "" && name != "detail" && name != "message" {
				part = name + " " + part
			}
			if part != "" {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, "; ")
	}
	return ""
}
