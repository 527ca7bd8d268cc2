package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/rs/zerolog"
)

// client returns a client of a server, closed when the test ends. The zero key stands for a new tenant key.
func client(t *testing.T, baseURL string, key api.Key) *secrets.Client {
	t.Helper()
	if key.Len() == 0 {
		key = api.NewKey(api.TenantKeyPrefix)
	}
	c, err := secrets.New(secrets.Config{BaseURL: baseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNewRefuses(t *testing.T) {
	tenant, resource := api.NewKey(api.TenantKeyPrefix), api.NewKey(api.ResourceKeyPrefix)
	for _, tt := range []struct {
		name   string
		config secrets.Config
		want   string // substring of the error; "": none
	}{
		{"nothing but a key", secrets.Config{Key: tenant}, ""},
		{"no key", secrets.Config{}, "a key is required"},
		{"a resource key", secrets.Config{Key: resource}, "a resource key can't manage secrets"},
		{"a broker key", secrets.Config{Key: api.NewKey(api.BrokerKeyPrefix)}, "a broker key can't manage secrets"},
		{"a root key", secrets.Config{Key: api.NewKey(api.RootKeyPrefix)}, "the key is the root key of a vault"},
		{"plain http elsewhere", secrets.Config{BaseURL: "http://vault.example", Key: tenant}, "plain http is for loopback only"},
		{"no such CA file", secrets.Config{Key: tenant, CAFile: "/nonexistent"}, "CA file"},
		{"negative timeout", secrets.Config{Key: tenant, Timeout: -1}, "negative"},
		{"proxy that isn't one", secrets.Config{Key: tenant, Proxy: "socks5://x"}, "proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := secrets.New(tt.config)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), resource.Reveal()) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := secrets.New(secrets.Config{Key: resource}); !errors.Is(err, api.ErrDenied) {
		t.Errorf("a resource key: error %v, want %v", err, api.ErrDenied)
	}
	if _, err := secrets.New(secrets.Config{Key: api.NewKey(api.RootKeyPrefix)}); !errors.Is(err, api.ErrRootKey) {
		t.Errorf("a root key: error %v, want %v", err, api.ErrRootKey)
	}
}

// Each option of Config takes effect.
func TestConfigCounts(t *testing.T) {
	cert, certFile, _ := vaulttest.Certificate(t)
	v := vaulttest.Start(t, vaulttest.WithTLS(cert))
	for _, tt := range []struct {
		name    string
		change  func(*secrets.Config)
		message string // "": no error
	}{
		{"its CA file", func(c *secrets.Config) { c.CAFile = certFile }, ""},
		{"no CA file", func(*secrets.Config) {}, "an authority this machine doesn't trust"},
		{"a proxy that isn't there", func(c *secrets.Config) {
			c.CAFile, c.Proxy, c.Timeout = certFile, "http://127.0.0.1:1", 200*time.Millisecond
		}, "can't be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := secrets.Config{BaseURL: v.BaseURL, Key: v.TenantKey}
			tt.change(&config)
			c, err := secrets.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.List(t.Context(), secrets.Filter{})
			if (err == nil) != (tt.message == "") || err != nil && !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error %v, want %q", err, tt.message)
			}
		})
	}

	var agent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.UserAgent()
		answerJSON(w, 503, api.ErrorBody{Error: "not now"})
	}))
	defer s.Close()
	var log bytes.Buffer
	c, err := secrets.New(secrets.Config{BaseURL: s.URL, Key: v.TenantKey, UserAgent: "a program/1", Timeout: time.Second, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.List(t.Context(), secrets.Filter{}); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("error %v, want %v", err, api.ErrUnavailable)
	}
	if agent != "a program/1" {
		t.Errorf("the vault receives User-Agent %q", agent)
	}
	if text := log.String(); !strings.Contains(text, `"message":"retrying"`) || !regexp.MustCompile(`"wait":"[0-9.]+m?s"`).MatchString(text) ||
		strings.Contains(text, v.TenantKey.Reveal()) {
		t.Error("the log lacks the attempts or contains the key")
	}
}

// If the tenant key is replaced in its file, calls in progress and later ones are not refused.
func TestReread(t *testing.T) {
	v := vaulttest.Start(t)
	reads := 0
	c, err := secrets.New(secrets.Config{BaseURL: v.BaseURL, Key: api.NewKey(api.TenantKeyPrefix),
		Reread: func(context.Context, api.Key) (api.Key, error) { reads++; return v.TenantKey, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if _, err := c.List(t.Context(), secrets.Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 1 {
		t.Errorf("read %d times, want once", reads)
	}
}
