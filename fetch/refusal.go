package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Miosa-osa/miosa-env/api"
)

// scopeHint is the hint for a machine's own key.
const scopeHint = "the key is the machine's own: its scope is that machine's lifecycle, not bindings or secrets (" + api.CodeMachineScope + "). " +
	"Use a key that may read them, or start the command without miosa-env: the platform has set the bound variables already"

// refusal returns the Problem of a response with status 400 or above. It contains the vault's message if the body has the
// form of the API's errors, and nothing else of the body.
func (c *Client) refusal(answer *http.Response, k call) *Problem {
	kind := api.KindOf(answer.StatusCode)
	if answer.StatusCode == http.StatusNotImplemented {
		kind = api.ErrMethod // the vault doesn't have the call, and trying again doesn't change that
	}
	refused := &api.Error{Kind: kind, RequestID: c.clean(answer.Header.Get("X-Request-ID"), 80, k)}
	p := &Problem{Reason: reasonRefused, cause: refused}
	text := ""
	if isJSON(answer.Header) && !encoded(answer.Header) {
		if body, err := read(answer, maxRefusal); err == nil {
			text = c.readError(body, k, refused)
		}
	} else if !c.secure && answer.StatusCode == http.StatusBadRequest {
		// TLS servers respond like this to plain http. Go's sends no header, and its body may be lost.
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
		p.Fix = "create another with miosa-env keys create"
		if c.Key().ForTenant() {
			p.Fix = "create another with miosa-env keys create tenant and a valid tenant key, or with miosa-vault keys create"
		}
	case api.ErrDenied:
		p.Reason, own = Denied, "this key may not do that"
		p.Fix = "a resource key serves the one sandbox or computer it was created for: check MIOSA_SANDBOX_ID or MIOSA_COMPUTER_ID"
		if key := c.Key(); refused.Code == api.CodeMachineScope {
			p.Fix = scopeHint
		} else if key.ForTenant() && !strings.HasSuffix(k.path, "/reveal") {
			p.Fix = "use another tenant key, or create one with miosa-env keys create tenant: keys list shows what each is restricted to"
		} else if key.ForBroker() {
			p.Fix = "a broker key reveals what its resources get placeholders for, and nothing else: miosa-env keys list shows its resources"
		} else if key.ForTenant() && strings.HasSuffix(k.path, "/reveal") {
			p.Fix = "a tenant key manages secrets and doesn't reveal them: use a key made for the sandbox or computer, with miosa-env keys create"
		}
	case api.ErrNotFound:
		p.Reason, own = reasonNotFound, "the vault at "+c.host+" doesn't know that"
		p.Fix = "check the id, and MIOSA_BASE_URL"
	case api.ErrRateLimited:
		p.Reason, own = reasonBusy, "the vault has had too many requests with this key"
		p.Fix = "try again later"
		if refused.RetryAfter > 0 {
			p.Fix = "try again in " + refused.RetryAfter.Round(time.Second).String() + ", as the vault says"
		}
	case api.ErrInternal, api.ErrUnavailable:
		p.Reason = reasonBusy
		p.Fix = "try again, and look at the vault's log" // its request id finds the line
		if refused.RequestID != "" {
			p.Fix += " for request " + refused.RequestID
		}
	}
	if answer.StatusCode != kind.Status && p.Fix == "" {
		p.Fix = "the vault at " + c.host + " answered status " + status + ": check MIOSA_BASE_URL, and look at the vault's log"
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

// clean makes received text safe for an error. It returns "" if the text contains the key or a value that was sent.
func (c *Client) clean(text string, limit int, k call) string {
	for _, v := range append([]api.Value{c.Key().Value, k.key.Value}, k.private...) {
		if v.Len() > 0 && strings.Contains(text, v.Reveal()) {
			return ""
		}
	}
	return plain(text, limit)
}

// plain makes received text safe for one line of a terminal: no control characters, no key, at most limit bytes.
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

// maxRetryAfter limits what a vault can ask for, so that no arithmetic overflows.
const maxRetryAfter = 10 * 365 * 24 * time.Hour

// retryAfter returns the value of the Retry-After header, in seconds or as a date; 0 if it is missing or invalid. A date is
// compared with the response's Date, since the clocks may differ.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, _ := strconv.ParseFloat(text, 64) // infinity if there are too many digits
		return duration(seconds)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return duration(at.Sub(now).Seconds())
}

// duration converts a received number of seconds. The result is from 0 to maxRetryAfter.
func duration(seconds float64) time.Duration {
	if !(seconds > 0) { // negative or NaN
		return 0
	}
	return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
}
