package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Miosa-osa/miosa-env/api"
)

// scopeHint is what to do about a machine's own key.
const scopeHint = "the key is the machine's own: its scope is that machine's lifecycle, not bindings or secrets (" + api.CodeMachineScope + "). " +
	"Use a key that may read them, or start the command without miosa-env: the platform has set the bound variables already"

// refusal reads an answer of status 400 or above. The vault's sentence is taken over where it is one
// in the contract's form; anything else a body says stays unsaid.
func (c *Client) refusal(answer *http.Response, k call) *Problem {
	kind := api.KindOf(answer.StatusCode)
	if answer.StatusCode == http.StatusNotImplemented {
		kind = api.ErrMethod // the vault doesn't have the call, and trying again doesn't change that
	}
	refused := &api.Error{Kind: kind, RequestID: c.clean(answer.Header.Get("X-Request-ID"), 80, k)}
	p := &Problem{Reason: Refused, cause: refused}
	text := ""
	if isJSON(answer.Header) && !encoded(answer.Header) {
		if body, err := read(answer, maxRefusal); err == nil {
			text = c.readRefusal(body, k, refused)
		}
	} else if !c.secure && answer.StatusCode == http.StatusBadRequest {
		// What TLS servers tell who speaks plain http to them; Go's sends no header, and its sentence
		// may be lost with the rest of the connection.
		body, _ := read(answer, 4<<10)
		if s := string(body); len(answer.Header) == 0 || strings.Contains(s, "HTTP request to an HTTPS server") ||
			strings.Contains(s, "HTTP request was sent to HTTPS port") {
			return needsTLS("the vault at " + c.host)
		}
	}
	if asked := retryAfter(answer.Header, time.Now()); asked > 0 {
		refused.RetryAfter = asked
	}
	status := strconv.Itoa(answer.StatusCode)
	own := "the vault at " + c.host + " answered status " + status + " without saying why"
	switch kind {
	case api.ErrUnauthorized:
		p.Reason, own = Unauthorized, "the vault doesn't accept this key"
		p.Hint = "mint a new one with miosa-vault keys create"
	case api.ErrDenied:
		p.Reason, own = Denied, "this key may not do that"
		p.Hint = "a resource key serves the one sandbox or computer it was minted for: check MIOSA_SANDBOX_ID or MIOSA_COMPUTER_ID"
		if key := c.Key(); refused.Code == api.CodeMachineScope {
			p.Hint = scopeHint
		} else if key.ForTenant() && strings.HasSuffix(k.path, "/reveal") {
			p.Hint = "a tenant key manages secrets and reads none: use a key made for the sandbox or computer, with miosa-env keys create"
		}
	case api.ErrNotFound:
		p.Reason, own = NotFound, "the vault at "+c.host+" doesn't know that"
		p.Hint = "check the id, and MIOSA_BASE_URL"
	case api.ErrRateLimited:
		p.Reason, own = Busy, "the vault has had too many requests with this key"
		p.Hint = "try again later"
		if refused.RetryAfter > 0 {
			p.Hint = "try again in " + refused.RetryAfter.Round(time.Second).String() + ", as the vault says"
		}
	case api.ErrInternal, api.ErrUnavailable:
		p.Reason = Busy
		p.Hint = "try again, and look at the vault's log" // its request id finds the line
		if refused.RequestID != "" {
			p.Hint += " for request " + refused.RequestID
		}
	}
	if answer.StatusCode != kind.Status && p.Hint == "" {
		p.Hint = "the vault at " + c.host + " answered status " + status + ": check MIOSA_BASE_URL, and look at the vault's log"
	}
	if text == "" {
		text = own
		if refused.Code != "" && refused.Code != kind.Code {
			text += " (" + refused.Code + ")"
		}
	}
	refused.Message, p.Message = text, text
	return p
}

// clean makes foreign text safe for an error: "" if it repeats the key or a value that was sent.
func (c *Client) clean(text string, limit int, k call) string {
	for _, v := range append([]api.Value{c.Key().Value, k.key.Value}, k.private...) {
		if v.Len() > 0 && strings.Contains(text, v.Reveal()) {
			return ""
		}
	}
	return plain(text, limit)
}

// plain makes foreign text safe for one line of a terminal: no control characters, no key, and at
// most limit bytes.
func plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, api.RedactKeys(s))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return strings.TrimSpace(s)
}

func mebibytes(n int) string {
	if n < 1<<20 {
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n>>20) + " MiB"
}
