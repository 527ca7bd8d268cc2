package swap

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/egress/scrub"
	"github.com/Miosa-osa/miosa-env/egress/sign"
)

// change is the swap of one request. It changes nothing of the request before it has checked all of it.
type change struct {
	table *Table
	r     *http.Request
	host  string
	port  int

	uses    []use
	headers []header // to be set
	query   string   // new text, if it was changed
	path    string   // new text, percent-encoded, if it was changed

	body       *body     // nil: it wasn't read
	aws        *sign.AWS // the signature, if it was made with the placeholder of awsBinding
	awsBinding int
	webhooks   []webhookSignature
}

// use is a binding at a place.
type use struct {
	binding int
	slot    rule.Slot
}

type header struct{ name, value string }

// Request swaps the placeholders in r, which is changed in place. host and port are where it is sent: host is a result of
// rule.Host, verified to be that of the connection. The caller must then send r's method, URL, Host, and headers other than
// those of the connection as they are, because they may be signed.
//
// It reads the body only if a rule names a field of it, or it is signed, and then at most 1 MiB. Bodies that were read take at most
// 64 MiB together; each counts until r's new body is closed.
//
// Errors: *Refusal, and r must not be sent; those of reading the body.
func (t *Table) Request(r *http.Request, host string, port int) (Swapped, error) {
	c := &change{table: t, r: r, host: host, port: port}
	swapped, err := c.do()
	if err != nil {
		c.body.drop()
	}
	return swapped, err
}

func (c *change) do() (Swapped, error) {
	for _, step := range []func(*change) error{(*change).findInURL, (*change).findInHeaders, (*change).findAWS, (*change).findInBody, (*change).findWebhooks} {
		if err := step(c); err != nil {
			return Swapped{}, err
		}
	}
	if len(c.uses) == 0 {
		c.body.restore(c.r)
		return Swapped{}, nil
	}
	if len(c.uses) > api.MaxTrafficSwaps && len(c.bindings()) > api.MaxTrafficSwaps {
		return Swapped{}, c.refuse(c.uses[0].binding, "it has placeholders of more than "+strconv.Itoa(api.MaxTrafficSwaps)+" bindings, more than its event in the audit can name", "")
	}
	if name := rule.Override(c.r.Header); name != "" {
		return Swapped{}, c.refuse(c.uses[0].binding, "the header "+name+" may replace the method or the path, so that rules can't be checked", "")
	}
	if rule.OverridesMethod(c.r.URL.RawQuery) {
		for _, u := range c.uses {
			if c.table.bindings[u.binding].rules.LimitsMethods() {
				return Swapped{}, c.refuse(u.binding, "the parameter _method may replace the method, so that rules can't be checked", "egress.methods")
			}
		}
	}
	if err := c.apply(); err != nil {
		return Swapped{}, err
	}
	return c.swapped(), nil
}

// unknown reports whether an index that find returned is that of a placeholder that isn't in the table.
func (c *change) unknown(i int) bool { return i == len(c.table.bindings) }

// find returns the first placeholder in text from an offset on. index is that of its binding, or unknown.
func (c *change) find(text string, from int) (start, end, index int) {
	for {
		start, end, index = c.table.finder.Find(text, from)
		if start < 0 || !c.unknown(index) || tail(text[end:]) >= unknownTail {
			return start, end, index
		}
		from = start + 1
	}
}

// tail returns how many letters and digits text begins with.
func tail(text string) int {
	for i := range len(text) {
		if c := text[i] | 0x20; (c < 'a' || c > 'z') && (text[i] < '0' || text[i] > '9') {
			return i
		}
	}
	return len(text)
}

// value checks whether the rules allow a binding's value in a slot of the request, and returns the value.
func (c *change) value(i int, slot rule.Slot) (string, error) {
	if err := c.use(i, slot); err != nil {
		return "", err
	}
	text := c.table.bindings[i].value.Reveal()
	switch slot.Kind {
	case rule.Query, rule.Form: // percent-encoded
	case rule.JSON:
		if !utf8.ValidString(text) {
			return "", c.refuse(i, "the value isn't UTF-8, as JSON is", "")
		}
	default:
		if strings.ContainsFunc(text, control) {
			return "", c.refuse(i, "the value has a line break or another control character, which "+slot.String()+" can't have", "")
		}
	}
	return text, nil
}

// control reports whether a character can't be in a header. Source: RFC 9110, section 5.5.
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// use checks whether the rules allow a binding in a slot of the request.
func (c *change) use(i int, slot rule.Slot) error {
	if c.unknown(i) {
		return c.refuse(i, "it has a placeholder that no binding of this resource has: it is another's, or its secret has expired or isn't bound any more", "")
	}
	b := &c.table.bindings[i]
	switch {
	case b.invalid:
		return c.refuse(i, "the rules of the binding are invalid, or for a newer version", "")
	case b.rules.Empty():
		return c.refuse(i, "no rule says where the value may be sent", "")
	case !b.rules.Allows(slot):
		return c.refuse(i, "the placeholder may not be in "+slot.String(), "egress.slots")
	case c.r.URL.Opaque != "":
		return c.refuse(i, "its URL has no path", "")
	case slices.Contains(c.uses, use{i, slot}):
		return c.refuse(i, "the placeholder occurs several times in "+slot.String(), "")
	case b.value.Len() == 0:
		return c.refuse(i, "the secret has no value", "")
	}
	if denied := b.rules.Denied(c.host, c.port, c.r.Method, c.r.URL.EscapedPath()); denied != "" {
		return c.refuse(i, "the rules don't allow the placeholder in this request", denied)
	}
	c.uses = append(c.uses, use{i, slot})
	return nil
}

// allows reports whether the rules of a binding allow the request with the value in a slot.
func (c *change) allows(i int, slot rule.Slot) bool {
	if c.unknown(i) {
		return false
	}
	r := c.table.bindings[i].rules
	return r.Allows(slot) && r.Host(c.host, c.port) && r.Request(c.r.Method, c.r.URL.EscapedPath())
}

// refuse returns a refusal that names a binding, unless it is unknown.
func (c *change) refuse(i int, reason, rule string) *Refusal {
	e := &Refusal{Reason: reason, Rule: rule}
	if !c.unknown(i) {
		e.Binding, e.Name = c.table.bindings[i].label.ID, c.table.bindings[i].label.ExposeAsEnv
	}
	return e
}

// apply changes the request and signs it.
func (c *change) apply() error {
	for _, h := range c.headers {
		c.r.Header[h.name] = []string{h.value}
	}
	if c.query != "" {
		c.r.URL.RawQuery = c.query
	}
	if c.path != "" {
		if err := setPath(c.r.URL, c.path); err != nil {
			return c.refuse(c.uses[0].binding, "the value can't be in a path", "")
		}
	}
	if err := c.applyBody(); err != nil {
		return err
	}
	scrub.Accept(c.r.Header)
	return c.sign()
}

// bindings returns the bindings that were used, each once.
func (c *change) bindings() []int {
	indices := make([]int, len(c.uses))
	for i, u := range c.uses {
		indices[i] = u.binding
	}
	slices.Sort(indices)
	return slices.Compact(indices)
}

// swapped describes the bindings that were used.
func (c *change) swapped() Swapped {
	s := Swapped{table: c.table}
	for _, i := range c.bindings() {
		b := &c.table.bindings[i]
		s.Bindings, s.Values = append(s.Bindings, b.label), append(s.Values, b.value)
		s.key += string(rune(i))
	}
	return s
}
