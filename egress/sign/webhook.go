package sign

import (
	"crypto/hmac"
	"encoding/hex"
	"net/http"
	"strings"
)

// Webhook is a scheme in which a header has the HMAC-SHA256 of the body, in hex. Some schemes also sign the time.
type Webhook struct {
	header    string
	prefix    string // of the signature in the header; with several signatures, of each
	several   bool   // the header is a list, which also has the time
	timestamp string // header with the time; "": none
}

// webhooks are the schemes by name.
var webhooks = map[string]Webhook{
	// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
	"github": {header: "X-Hub-Signature-256", prefix: "sha256="},
	// https://docs.stripe.com/webhooks#verify-manually
	"stripe": {header: "Stripe-Signature", prefix: "v1=", several: true},
	// https://api.slack.com/authentication/verifying-requests-from-slack
	"slack": {header: "X-Slack-Signature", prefix: "v0=", timestamp: "X-Slack-Request-Timestamp"},
}

// FindWebhook returns the scheme of a name, as in the slot "hmac:NAME".
func FindWebhook(name string) (Webhook, bool) {
	w, ok := webhooks[name]
	return w, ok
}

// Signed reports whether a request may have a signature of the scheme.
func (w Webhook) Signed(h http.Header) bool { return len(h[w.header]) == 1 }

// Verify reports whether one of the signatures was made with the key.
func (w Webhook) Verify(h http.Header, body, key []byte) bool {
	_, found := w.replace(h, body, key, func(old string) string { return old })
	return found
}

// Sign replaces the signatures of the body that were made with one key by those of another body with another key. It
// reports whether there were any.
func (w Webhook) Sign(h http.Header, body, key, newBody, newKey []byte) bool {
	text, found := w.replace(h, body, key, func(string) string { return w.prefix + hex.EncodeToString(mac(newKey, w.text(h, newBody))) })
	if found {
		h[w.header] = []string{text}
	}
	return found
}

// replace returns the header's text with the signatures of a key replaced, and whether there were any.
func (w Webhook) replace(h http.Header, body, key []byte, by func(old string) string) (string, bool) {
	if !w.Signed(h) {
		return "", false
	}
	items := []string{h[w.header][0]}
	if w.several {
		items = strings.Split(items[0], ",")
	}
	want, found := mac(key, w.text(h, body)), false
	for i, item := range items {
		trimmed := strings.TrimSpace(item)
		digits, ok := strings.CutPrefix(trimmed, w.prefix)
		signature, err := hex.DecodeString(digits)
		if ok && err == nil && hmac.Equal(signature, want) {
			items[i], found = strings.Replace(item, trimmed, by(trimmed), 1), true
		}
	}
	return strings.Join(items, ","), found
}

// text returns what is signed.
func (w Webhook) text(h http.Header, body []byte) []byte {
	var before string
	switch {
	case w.several:
		for item := range strings.SplitSeq(h[w.header][0], ",") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(item), "t="); ok {
				before = t + "."
				break
			}
		}
	case w.timestamp != "":
		before = strings.TrimSuffix(w.prefix, "=") + ":" + h.Get(w.timestamp) + ":"
	}
	return append([]byte(before), body...)
}
