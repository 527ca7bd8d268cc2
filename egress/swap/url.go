package swap

import (
	"net/url"
	"strings"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// findInURL finds placeholders in the URL.
func (c *change) findInURL() error {
	u := c.r.URL
	password, _ := u.User.Password()
	for _, text := range []string{u.Opaque, u.User.Username(), password} {
		if _, _, i := c.find(text, 0); i >= 0 {
			return c.refuse(i, "the placeholder may not be in this part of the URL", "")
		}
	}
	if c.contains(u.Path) {
		path, err := c.replacePath(u.EscapedPath())
		if err != nil {
			return err
		}
		c.path = path
	}
	if !strings.Contains(u.RawQuery, "%") && !c.contains(u.RawQuery) {
		return nil
	}
	query, n, err := c.replacePairs(u.RawQuery, rule.Query)
	if n > 0 {
		c.query = query
	}
	return err
}

// replacePath replaces placeholders in a path that is percent-encoded. Slashes of a value stay slashes: it may be the path
// of a webhook.
func (c *change) replacePath(escaped string) (string, error) {
	segments := strings.Split(escaped, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil || !c.contains(text) {
			continue
		}
		segments[i], _, err = c.replace(text, rule.Slot{Kind: rule.PathText}, func(text string, value bool) string {
			text = url.PathEscape(text)
			if value {
				text = strings.ReplaceAll(text, "%2F", "/")
			}
			return text
		})
		if err != nil {
			return "", err
		}
		for part := range strings.SplitSeq(segments[i], "/") {
			if part == "." || part == ".." {
				return "", c.refuse(c.uses[len(c.uses)-1].binding, "the value has a segment . or .., which a path can't have", "")
			}
		}
	}
	// A placeholder with an encoded slash in it is in no segment.
	changed := strings.Join(segments, "/")
	if _, _, i := c.find(changed, 0); i >= 0 || changed == escaped {
		_, _, i = c.find(c.r.URL.Path, 0)
		return "", c.refuse(i, "the placeholder must be in one segment of the path", "")
	}
	return changed, nil
}

// setPath sets a path that is percent-encoded.
func setPath(u *url.URL, escaped string) error {
	path, err := url.PathUnescape(escaped)
	if err == nil {
		u.Path, u.RawPath = path, escaped
	}
	return err
}

// replacePairs replaces placeholders in the values of a query or a form, and returns how many it has replaced. Other
// parameters stay as they are.
func (c *change) replacePairs(text string, kind rule.Kind) (string, int, error) {
	pairs := strings.Split(text, "&")
	names := make(map[string]int, len(pairs))
	for _, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		names[unescape(name, url.QueryUnescape)]++
	}
	total := 0
	for at, pair := range pairs {
		raw, value, _ := strings.Cut(pair, "=")
		name := unescape(raw, url.QueryUnescape)
		if _, _, i := c.find(name, 0); kind == rule.Query && i >= 0 {
			return "", 0, c.refuse(i, "the placeholder may not be in the name of a parameter", "")
		}
		// Some clients don't encode a plus sign.
		decoded := unescape(value, url.QueryUnescape)
		if !c.contains(decoded) {
			decoded = unescape(value, url.PathUnescape)
		}
		start, end, i := c.find(decoded, 0)
		if start < 0 {
			continue
		}
		slot := rule.Slot{Kind: kind, Name: name}
		if kind == rule.Query && name == "X-Amz-Credential" && start == 0 {
			if id, ok := c.accessKeyID(); ok && id == decoded[:end] {
				slot = rule.Slot{Kind: rule.SigV4ID}
			}
		}
		changed, n, err := c.replace(decoded, slot, func(text string, _ bool) string { return url.QueryEscape(text) })
		if err == nil && n > 0 && names[name] > 1 {
			err = c.refuse(i, "it has the parameter several times, and servers differ in which of them they use", "")
		}
		if err != nil {
			return "", 0, err
		}
		if n > 0 {
			pairs[at] = raw + "=" + changed
			total += n
		}
	}
	return strings.Join(pairs, "&"), total, nil
}

// unescape decodes text if that is possible.
func unescape(text string, decode func(string) (string, error)) string {
	if decoded, err := decode(text); err == nil {
		return decoded
	}
	return text
}
