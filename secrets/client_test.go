package secrets_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// client makes a client of a server, closed with the test. The zero key stands for a new tenant key.
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
		want   string // a part of the error; "": none
	}{
		{"nothing but a key", secrets.Config{Key: tenant}, ""},
		{"no key", secrets.Config{}, "a key is required"},
		{"a resource key", secrets.Config{Key: resource}, "a resource key can't manage secrets"},
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
}
