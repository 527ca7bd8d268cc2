package swap

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// level is an object or array around the current token.
type level struct {
	object bool
	isKey  bool   // the next string is a key
	key    string // of the current value
}

// replaceJSON replaces placeholders in the strings of a JSON text. All other bytes stay as they are. It returns nil if there
// are none, or the text isn't valid.
func (c *change) replaceJSON(text []byte) ([]byte, error) {
	if !json.Valid(text) {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var levels []level
	var out []byte
	copied := 0
	for {
		before := int(decoder.InputOffset())
		token, err := decoder.Token()
		if err != nil {
			break // the end, since the text is valid
		}
		end := int(decoder.InputOffset())
		start := before + len(text[before:end]) - len(bytes.TrimLeft(text[before:end], " \t\r\n,:"))
		top := len(levels) - 1
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				levels = append(levels, level{object: token == '{', isKey: token == '{'})
				continue
			}
			levels = levels[:top]
			top--
		case string:
			if top >= 0 && levels[top].isKey {
				levels[top].isKey, levels[top].key = false, token
				continue
			}
			name, ok := fieldName(levels)
			if !ok || !c.contains(token) {
				break
			}
			changed, err := c.replaceString(text[start:end], token, rule.Slot{Kind: rule.JSON, Name: name})
			if err != nil {
				return nil, err
			}
			if changed != "" {
				out = append(append(out, text[copied:start]...), changed...)
				copied = end
			}
		}
		if top >= 0 && levels[top].object {
			levels[top].isKey = true
		}
	}
	if copied == 0 {
		return nil, nil
	}
	return append(out, text[copied:]...), nil
}

// fieldName returns the path of the current value. Values in arrays, and below keys with a dot, have none.
func fieldName(levels []level) (string, bool) {
	var keys []string
	for _, l := range levels {
		if !l.object || strings.Contains(l.key, ".") {
			return "", false
		}
		keys = append(keys, l.key)
	}
	return strings.Join(keys, "."), len(keys) > 0
}

// replaceString replaces placeholders in a JSON string, of which raw is the JSON and decoded the text. It returns "" if
// there are none.
func (c *change) replaceString(raw []byte, decoded string, slot rule.Slot) (string, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		changed, n, err := c.replace(string(raw), slot, func(text string, value bool) string {
			if value {
				text = quote(text)
				text = text[1 : len(text)-1]
			}
			return text
		})
		if n == 0 {
			changed = ""
		}
		return changed, err
	}
	changed, n, err := c.replace(decoded, slot, func(text string, _ bool) string { return text })
	if n == 0 || err != nil {
		return "", err
	}
	return quote(changed), nil
}

// quote returns a text as JSON.
func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic(err) // a string can be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}
