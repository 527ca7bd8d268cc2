package swap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	keyID   = api.PlaceholderPrefix + "kkkkkkkkkkkkkkkkkkkkkkkkkk"
	key     = api.PlaceholderPrefix + "llllllllllllllllllllllllll"
	session = api.PlaceholderPrefix + "mmmmmmmmmmmmmmmmmmmmmmmmmm"
	webhook = api.PlaceholderPrefix + "nnnnnnnnnnnnnnnnnnnnnnnnnn"
	idle    = api.PlaceholderPrefix + "oooooooooooooooooooooooooo"
)

var signedAt = time.Unix(1.8e9, 0)

func signingTable(t testing.TB) *Table {
	t.Helper()
	rule := func(slots ...string) api.EgressRule {
		return api.EgressRule{Hosts: []string{"*.amazonaws.com", "api.example.com"}, Slots: slots}
	}
	elsewhere := rule("sigv4")
	elsewhere.Hosts = []string{"other.example.com"}
	tab, err := New(api.Snapshot{Bound: []api.Bound{
		bound("idle", idle, "x", elsewhere),
		bound("id", keyID, "AKIAREAL", rule("sigv4-id")),
		bound("key", key, "real/key+", rule("sigv4")),
		bound("session", session, "real/session==", rule("header:X-Amz-Security-Token", "query:X-Amz-Security-Token")),
		bound("webhook", webhook, "webhook key", rule("hmac:github", "hmac:stripe", "hmac:slack", "json:secret")),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// awsRequest returns a request that the SDK has signed.
func awsRequest(t testing.TB, c aws.Credentials, method, url, body, hash string, presign bool) *http.Request {
	t.Helper()
	build := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if hash != "" && !presign {
			r.Header.Set("X-Amz-Content-Sha256", hash)
		}
		return r
	}
	r := build(url)
	if hash == "" {
		sum := sha256.Sum256([]byte(body))
		hash = hex.EncodeToString(sum[:])
	}
	signer := sdk.NewSigner(func(o *sdk.SignerOptions) { o.DisableURIPathEscaping = true })
	if presign {
		url, _, err := signer.PresignHTTP(t.Context(), c, r, hash, "s3", "us-east-1", signedAt)
		if err != nil {
			t.Fatal(err)
		}
		return build(url)
	}
	if err := signer.SignHTTP(t.Context(), c, r, hash, "s3", "us-east-1", signedAt); err != nil {
		t.Fatal(err)
	}
	return r
}

// The request that reaches AWS is the one that the SDK signs with the values.
func TestAWS(t *testing.T) {
	placeholders := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: key, SessionToken: session}
	values := aws.Credentials{AccessKeyID: "AKIAREAL", SecretAccessKey: "real/key+", SessionToken: "real/session=="}
	for _, tt := range []struct {
		name, method, url, body, hash string
		presign                       bool
	}{
		{name: "unsigned payload", method: "PUT", url: "https://b.s3.amazonaws.com/a%20b?x=1", body: "text", hash: "UNSIGNED-PAYLOAD"},
		{name: "empty payload", method: "GET", url: "https://b.s3.amazonaws.com/", hash: emptyHash},
		{name: "body that isn't stated", method: "POST", url: "https://dynamodb.us-east-1.amazonaws.com/", body: `{"a":1}`},
		{name: "trailing checksum", method: "PUT", url: "https://b.s3.amazonaws.com/k", body: "4\r\ntext\r\n0\r\n\r\n", hash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
		{name: "presigned", method: "GET", url: "https://b.s3.amazonaws.com/a%20b?x=1&X-Amz-Expires=60", hash: "UNSIGNED-PAYLOAD", presign: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := awsRequest(t, placeholders, tt.method, tt.url, tt.body, tt.hash, tt.presign)
			want := awsRequest(t, values, tt.method, tt.url, tt.body, tt.hash, tt.presign)
			s, err := signingTable(t).Request(r, r.URL.Host, 443)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != tt.body || strings.Join(names(s), " ") != "id key session" {
				t.Errorf("%v, body %q, %v", names(s), body, err)
			}
			if r.URL.String() != want.URL.String() {
				t.Errorf("URL:\ngot  %s\nwant %s", r.URL, want.URL)
			}
			for _, name := range []string{"Authorization", "X-Amz-Security-Token", "X-Amz-Content-Sha256", "X-Amz-Date"} {
				if got, want := r.Header.Get(name), want.Header.Get(name); got != want {
					t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
				}
			}
		})
	}
	// A real access key id beside the placeholder of the key, as it is no secret.
	half := aws.Credentials{AccessKeyID: "AKIAREAL", SecretAccessKey: key}
	r := awsRequest(t, half, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, false)
	if s, err := signingTable(t).Request(r, r.URL.Host, 443); err != nil || strings.Join(names(s), " ") != "key" {
		t.Errorf("with a real id: %v, %v", names(s), err)
	}
}

func TestAttack_Signatures(t *testing.T) {
	tab := signingTable(t)
	placeholders := aws.Credentials{AccessKeyID: "AKIAREAL", SecretAccessKey: key}
	chunks := awsRequest(t, placeholders, "PUT", "https://b.s3.amazonaws.com/k", "x", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", false)
	if _, err := tab.Request(chunks, chunks.URL.Host, 443); err == nil || !strings.Contains(err.Error(), "chunk") {
		t.Errorf("chunks: %v", err)
	}
	for _, tt := range []struct {
		name, host string
		port       int
	}{{"host", "b.s3.amazonaws.com.evil.org", 443}, {"port", "b.s3.amazonaws.com", 80}} {
		r := awsRequest(t, placeholders, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, false)
		before := r.Header.Get("Authorization")
		if _, err := tab.Request(r, tt.host, tt.port); err == nil || r.Header.Get("Authorization") != before {
			t.Errorf("another %s: %v", tt.name, err)
		}
	}
	// Signatures with other keys pass unchanged, also of bindings for another host.
	for name, secret := range map[string]string{"a real key": "real", "the value itself": "real/key+", "an unknown placeholder": foreign} {
		r := awsRequest(t, aws.Credentials{AccessKeyID: "AKIAREAL", SecretAccessKey: secret}, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, false)
		before := r.Header.Get("Authorization")
		if s, err := tab.Request(r, r.URL.Host, 443); err != nil || len(s.Bindings) > 0 || r.Header.Get("Authorization") != before {
			t.Errorf("%s: %v, %v", name, names(s), err)
		}
	}
	// What was signed can't be changed.
	for name, change := range map[string]func(r *http.Request){
		"path": func(r *http.Request) { r.URL.Path = "/other" }, "query": func(r *http.Request) { r.URL.RawQuery = "acl" }, "method": func(r *http.Request) { r.Method = "DELETE" },
		"host": func(r *http.Request) { r.Host = "c.s3.amazonaws.com" }, "date": func(r *http.Request) { r.Header.Set("X-Amz-Date", "20300101T000000Z") },
		"payload": func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
	} {
		r := awsRequest(t, placeholders, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, false)
		change(r)
		if s, err := tab.Request(r, "b.s3.amazonaws.com", 443); err != nil || len(s.Bindings) > 0 {
			t.Errorf("another %s: %v, %v", name, names(s), err)
		}
	}
	// The placeholder of the key itself, in the place of the id or in a header.
	for name, r := range map[string]*http.Request{
		"id":     awsRequest(t, aws.Credentials{AccessKeyID: key, SecretAccessKey: "x"}, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, false),
		"query":  awsRequest(t, aws.Credentials{AccessKeyID: key, SecretAccessKey: "x"}, "GET", "https://b.s3.amazonaws.com/", "", emptyHash, true),
		"bearer": newRequest(t, "GET", "/", "", "Authorization", "Bearer "+key),
	} {
		if s, err := tab.Request(r, r.URL.Host, 443); err == nil {
			t.Errorf("the key as %s: %v", name, names(s))
		}
	}
	large := awsRequest(t, placeholders, "POST", "https://dynamodb.us-east-1.amazonaws.com/", strings.Repeat("x", maxBody+1), "", false)
	if _, err := tab.Request(large, large.URL.Host, 443); err == nil {
		t.Error("a large body without a stated hash was signed")
	}
}

func TestWebhooks(t *testing.T) {
	sum := func(key, text string) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	for _, tt := range []struct {
		name   string
		header func(key, body string) []string
	}{
		{"github", func(key, body string) []string { return []string{"X-Hub-Signature-256", "sha256=" + sum(key, body)} }},
		{"stripe", func(key, body string) []string {
			return []string{"Stripe-Signature", "t=12,v1=" + sum(key, "12."+body)}
		}},
		{"slack", func(key, body string) []string {
			return []string{"X-Slack-Signature", "v0=" + sum(key, "v0:12:"+body), "X-Slack-Request-Timestamp", "12"}
		}},
	} {
		for _, body := range [][2]string{{"", ""}, {`{"a":1}`, `{"a":1}`}, {`{"secret":"` + webhook + `"}`, `{"secret":"webhook key"}`}} {
			r := newRequest(t, "POST", "/hook", body[0], append(tt.header(webhook, body[0]), "Content-Type", "application/json")...)
			s, err := signingTable(t).Request(r, "api.example.com", 443)
			want := tt.header("webhook key", body[1])
			if err != nil || r.Header.Get(want[0]) != want[1] || strings.Join(names(s), " ") != "webhook" {
				t.Errorf("%s of %q: %v, %v, %q", tt.name, body[0], names(s), err, r.Header.Get(want[0]))
			}
			if body[0] != "" {
				if got, err := io.ReadAll(r.Body); err != nil || string(got) != body[1] {
					t.Errorf("%s: body %q, %v", tt.name, got, err)
				}
			}
			mine := tt.header("my key", `{"a":1}`)
			r = newRequest(t, "POST", "/hook", `{"a":1}`, append(mine, "Content-Type", "text/plain")...)
			if s, err := signingTable(t).Request(r, "api.example.com", 443); err != nil || len(s.Bindings) > 0 || r.Header.Get(mine[0]) != mine[1] {
				t.Errorf("%s with another key: %v, %v", tt.name, names(s), err)
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != `{"a":1}` {
				t.Errorf("%s with another key: body %q, %v", tt.name, got, err)
			}
		}
	}
}
