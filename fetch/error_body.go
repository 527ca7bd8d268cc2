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
type errorFields = map[string]any

// readError reads the body of an error response into refused and returns its message, cleaned; "" if it has none or has
// another form.
func (c *Client) readError(body []byte, k call, refused *api.Error) string {
	var outer errorFields
	if _ = json.Unmarshal(body, &outer); outer == nil {
		return ""
	}
	inner, _ := outer["error"].(errorFields) // nil if it is a sentence
	sentence, _ := outer["error"].(string)
	c.readFields(outer, k, refused)
	c.readFields(inner, k, refused)
	for _, said := range []any{
		inner["message"], inner["detail"], outer["error_description"], sentence, outer["message"], outer["detail"], outer["errors"], outer["title"],
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
	if code, _ := from["code"].(string); code != "" {
		refused.Code = c.clean(code, 80, k)
	}
	if id, ok := from["request_id"].(string); ok && refused.RequestID == "" {
		refused.RequestID = c.clean(id, 80, k)
	}
	seconds, _ := from["retry_after"].(float64)
	milliseconds, _ := from["retry_after_ms"].(float64)
	refused.RetryAfter = cmp.Or(duration(milliseconds/1000), duration(seconds), refused.RetryAfter)
	if retryable, ok := from["retryable"].(bool); ok {
		refused.Retryable = &retryable
	}
}

// isCode reports whether a text is a code, such as MACHINE_KEY_SCOPE, and not a sentence.
func isCode(text string) bool {
	return strings.Contains(text, "_") && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// flatten returns the strings in a value of at most depth levels: items of a list separated by commas, fields of an
// object by semicolons and with their names, except detail and message.
func flatten(value any, depth int) string {
	if depth == 0 {
		return ""
	}
	var parts []string
	switch v := value.(type) {
	case string:
		return v
	case []any:
		for _, item := range v {
			if part := flatten(item, depth-1); part != "" {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, ", ")
	case errorFields:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			part := flatten(v[name], depth-1)
			if part != "" && name != "detail" && name != "message" {
				part = name + " " + part
			}
			if part != "" {
				parts = append(parts, part)
			}
		}
	}
	return strings.Join(parts, "; ")
}
