package sign

import (
	"encoding/hex"
	"net/http"
	"testing"
)

// The signatures are the examples of the services' documentation, or made with openssl.
func TestWebhooks(t *testing.T) {
	for _, tt := range []struct {
		name, key, body, header, value string
		headers                        [][2]string
	}{
		{
			name: "github", key: "It's a Secret to Everybody", body: "Hello, World!",
			header: "X-Hub-Signature-256", value: "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		},
		{
			name: "slack", key: "8f742231b10e8888abcd99yyyzzz85a5",
			body:   "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
			header: "X-Slack-Signature", value: "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
			headers: [][2]string{{"X-Slack-Request-Timestamp", "1531420618"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, ok := FindWebhook(tt.name)
			if !ok {
				t.Fatal("no such scheme")
			}
			h := http.Header{tt.header: {tt.value}}
			for _, other := range tt.headers {
				h.Set(other[0], other[1])
			}
			body, key := []byte(tt.body), []byte(tt.key)
			if !w.Signed(h) || !w.Verify(h, body, key) || w.Verify(h, body, []byte("x")) || w.Verify(h, []byte("x"), key) {
				t.Fatal("the signature isn't recognized")
			}
			if !w.Sign(h, body, key, []byte("new"), []byte("other")) || !w.Verify(h, []byte("new"), []byte("other")) || w.Verify(h, body, key) {
				t.Fatal("not signed with the other key")
			}
			if w.Sign(h, body, key, body, key) {
				t.Error("signed what the key hasn't signed")
			}
			if !w.Sign(h, []byte("new"), []byte("other"), body, key) || h.Get(tt.header) != tt.value {
				t.Errorf("signed again, the header is %q", h.Get(tt.header))
			}
			h[tt.header] = []string{tt.value, tt.value}
			if w.Signed(h) || w.Verify(h, body, key) {
				t.Error("two headers are a signature")
			}
		})
	}
}

// Stripe's header may have signatures of several keys, and of other versions.
func TestStripe(t *testing.T) {
	w, _ := FindWebhook("stripe")
	h := http.Header{}
	body := []byte(`{"id":"evt_1"}`)
	signature := func(key string) string {
		return hex.EncodeToString(mac([]byte(key), []byte("1492774577."+string(body))))
	}
	header := func(second string) string {
		return "t=1492774577, v1=" + signature("whsec_a") + ",v1=" + signature(second) + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
	}
	h.Set("Stripe-Signature", header("whsec_b"))
	if !w.Verify(h, body, []byte("whsec_a")) || !w.Verify(h, body, []byte("whsec_b")) || w.Verify(h, body, []byte("whsec_c")) {
		t.Fatal("the signatures aren't recognized")
	}
	if !w.Sign(h, body, []byte("whsec_b"), body, []byte("whsec_c")) {
		t.Fatal("not signed")
	}
	if got, want := h.Get("Stripe-Signature"), header("whsec_c"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzWebhooks(f *testing.F) {
	f.Add("github", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "", "body")
	f.Add("stripe", "t=1,v1=00,v1=", "", "")
	f.Add("slack", "v0=00", "1531420618", "{}")
	f.Fuzz(func(t *testing.T, name, value, timestamp, body string) {
		w, ok := FindWebhook(name)
		if !ok {
			return
		}
		h := http.Header{w.header: {value}, "X-Slack-Request-Timestamp": {timestamp}}
		if w.Verify(h, []byte(body), []byte("key")) {
			t.Error("a signature with any key")
		}
		if w.Sign(h, []byte(body), []byte("key"), nil, nil) || h.Get(w.header) != http.Header(map[string][]string{w.header: {value}}).Get(w.header) {
			t.Error("a header that the key didn't sign was changed")
		}
	})
}
