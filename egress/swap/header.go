package swap

import (
	"encoding/base64"
	"strings"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

const authorization = "Authorization"

// findInHeaders finds placeholders in the headers, and the Host header, which net/http keeps apart.
func (c *change) findInHeaders() error {
	if _, _, i := c.find(c.r.Host, 0); i >= 0 {
		return c.refuse(i, "the placeholder may not be in the host", "")
	}
	for name, values := range c.r.Header {
		if len(name) >= len(prefix)+unknownTail {
			lower := strings.ToLower(name)
			if at := strings.Index(lower, prefix); at >= 0 && tail(lower[at+len(prefix):]) >= unknownTail {
				return c.refuse(len(c.table.bindings), "it has a placeholder in the name of a header", "")
			}
		}
		for _, value := range values {
			found, err := c.findInHeader(name, value)
			if err == nil && found && len(values) > 1 {
				err = c.refuse(c.uses[len(c.uses)-1].binding, "it has several headers "+name+", and servers differ in which of them they use", "")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// findInHeader finds placeholders in one header, and reports whether there were any.
func (c *change) findInHeader(name, value string) (bool, error) {
	if name == authorization {
		if found, err := c.findInBasic(value); found || err != nil {
			return found, err
		}
	}
	start, end, i := c.find(value, 0)
	if start < 0 {
		return false, nil
	}
	if name == authorization && !c.unknown(i) {
		slot := rule.Slot{}
		if strings.HasSuffix(value[:start], "Credential=") {
			if id, ok := c.accessKeyID(); ok && id == value[start:end] {
				slot = rule.Slot{Kind: rule.SigV4ID}
			}
		} else if isCredentials(value, start, end) && c.table.bindings[i].rules.Allows(rule.Slot{Kind: rule.Authorization}) {
			slot = rule.Slot{Kind: rule.Authorization}
		}
		if slot.Kind != "" {
			text, err := c.value(i, slot)
			if err != nil {
				return false, err
			}
			c.headers = append(c.headers, header{name, value[:start] + text + value[end:]})
			return true, nil
		}
	}
	changed, _, err := c.replace(value, rule.Slot{Kind: rule.Header, Name: name}, func(text string, _ bool) string { return text })
	if err == nil {
		c.headers = append(c.headers, header{name, changed})
	}
	return true, err
}

// replace replaces all placeholders in a text by their values, and returns how many it has replaced. encode writes the
// values and the text between them. In a body, placeholders that no rule allows are text.
func (c *change) replace(text string, slot rule.Slot, encode func(text string, value bool) string) (string, int, error) {
	var b strings.Builder
	at, from, n := 0, 0, 0
	for {
		start, end, i := c.find(text, from)
		if start < 0 {
			b.WriteString(encode(text[at:], false))
			return b.String(), n, nil
		}
		from = end
		if inBody := slot.Kind == rule.JSON || slot.Kind == rule.Form; inBody && !c.allows(i, slot) {
			continue
		}
		value, err := c.value(i, slot)
		if err != nil {
			return "", 0, err
		}
		b.WriteString(encode(text[at:start], false))
		b.WriteString(encode(value, true))
		at = end
		n++
	}
}

// isCredentials reports whether text[start:end] is the whole value of a header with credentials, except for a scheme such as Bearer,
// white space, and quotes around it.
func isCredentials(text string, start, end int) bool {
	before, after := text[:start], text[end:]
	if strings.HasSuffix(before, `"`) && strings.HasPrefix(after, `"`) {
		before, after = before[:len(before)-1], after[1:]
	}
	scheme := strings.TrimRight(before, " \t")
	if strings.Trim(after, " \t") != "" || scheme != "" && len(scheme) == len(before) {
		return false
	}
	return strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// findInBasic finds placeholders in Basic credentials: as user, as password, or both.
func (c *change) findInBasic(value string) (bool, error) {
	scheme, rest, _ := strings.Cut(strings.ReplaceAll(value, "\t", " "), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return false, nil
	}
	text, ok := decodeBasic(strings.TrimSpace(rest))
	if !ok {
		return false, nil // findInHeader searches it as it is
	}
	start, _, i := c.find(text, 0)
	if start < 0 {
		return false, nil
	}
	user, password, colon := strings.Cut(text, ":")
	sides, swapped := []string{user, password}, false
	for at, side := range sides {
		start, end, i := c.find(side, 0)
		if start < 0 {
			continue
		}
		if !colon || start != 0 || end != len(side) {
			break
		}
		value, err := c.value(i, rule.Slot{Kind: rule.Authorization})
		if err != nil {
			return false, err
		}
		if at == 0 && strings.Contains(value, ":") {
			return false, c.refuse(i, "the value has a colon, so it can't be the user of Basic credentials", "")
		}
		sides[at], swapped = value, true
	}
	if changed := strings.Join(sides, ":"); swapped && !c.contains(changed) {
		c.headers = append(c.headers, header{authorization, scheme + " " + base64.StdEncoding.EncodeToString([]byte(changed))})
		return true, nil
	}
	return false, c.refuse(i, "the placeholder is a part of the user or the password of Basic credentials, and must be one of them", "")
}

func (c *change) contains(text string) bool {
	start, _, _ := c.find(text, 0)
	return start >= 0
}

// decodeBasic decodes Base64 in both alphabets, with padding or without.
func decodeBasic(text string) (string, bool) {
	text = strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.DecodeString(text); err == nil {
			return string(b), true
		}
	}
	return "", false
}
