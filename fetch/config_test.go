package fetch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

func TestValidate(t *testing.T) {
	key := api.NewKey(api.ResourceKeyPrefix)
	for _, tt := range []struct {
		name    string
		config  fetch.Config
		message []string // one for each problem
	}{
		{"defaults", fetch.Config{Key: key}, nil},
		{"https", fetch.Config{Key: key, BaseURL: "https://vault.example.com/api/v1/"}, nil},
		{"https, loopback", fetch.Config{Key: key, BaseURL: "https://127.0.0.1:8443"}, nil},
		{"http, 127.0.0.1", fetch.Config{Key: key, BaseURL: "http://127.0.0.1:8080"}, nil},
		{"http, 127.9.9.9", fetch.Config{Key: key, BaseURL: "http://127.9.9.9:8080"}, nil},
		{"http, ::1", fetch.Config{Key: key, BaseURL: "http://[::1]:8080"}, nil},
		{"http, localhost", fetch.Config{Key: key, BaseURL: "http://LocalHost:8080"}, nil},
		{"http, below localhost", fetch.Config{Key: key, BaseURL: "http://vault.localhost.:8080"}, nil},
		{"https through a proxy", fetch.Config{Key: key, Proxy: "http://user:pass@proxy:3128"}, nil},

		{"no key", fetch.Config{}, []string{"key is required"}},
		{"a root key", fetch.Config{Key: api.NewKey(api.RootKeyPrefix)}, []string{"the key is the root key of a vault (msk_root_...)"}},
		{"http elsewhere", fetch.Config{Key: key, BaseURL: "http://vault.example.com"}, []string{"loopback only"}},
		{"http, any address", fetch.Config{Key: key, BaseURL: "http://0.0.0.0"}, []string{"loopback only"}},
		{"http, short form", fetch.Config{Key: key, BaseURL: "http://127.1"}, []string{"loopback only"}},
		{"http, number", fetch.Config{Key: key, BaseURL: "http://2130706433"}, []string{"loopback only"}},
		{"http, looks like localhost", fetch.Config{Key: key, BaseURL: "http://localhost.example.com"}, []string{"loopback only"}},
		{"metadata", fetch.Config{Key: key, BaseURL: "https://169.254.169.254"}, []string{"link-local"}},
		{"metadata v6", fetch.Config{Key: key, BaseURL: "https://[fd00:ec2::254]"}, []string{"metadata"}},
		{"link-local with a zone", fetch.Config{Key: key, BaseURL: "https://[fe80::1%25eth0]"}, []string{"link-local"}},
		{"mapped", fetch.Config{Key: key, BaseURL: "https://[::ffff:169.254.169.254]"}, []string{"link-local"}},
		{"another scheme", fetch.Config{Key: key, BaseURL: "ftp://vault.example.com"}, []string{"want https"}},
		{"no scheme", fetch.Config{Key: key, BaseURL: "vault.example.com"}, []string{"want https"}},
		{"host and port only", fetch.Config{Key: key, BaseURL: "vault.example.com:443"}, []string{"isn't a URL"}},
		{"no host", fetch.Config{Key: key, BaseURL: "https:///api/v1"}, []string{"no host"}},
		{"a password", fetch.Config{Key: key, BaseURL: "https://user:canary@vault.example.com"}, []string{"password"}},
		{"a query", fetch.Config{Key: key, BaseURL: "https://vault.example.com?key=canary"}, []string{"query"}},
		{"a fragment", fetch.Config{Key: key, BaseURL: "https://vault.example.com#canary"}, []string{"fragment"}},
		{"a control character", fetch.Config{Key: key, BaseURL: "https://vault.example.com/canary\x01"}, []string{"isn't a URL"}},
		{"a space in the path", fetch.Config{Key: key, BaseURL: "https://vault.example.com/canary /v1"}, []string{"white space"}},
		{"a line break in the host", fetch.Config{Key: key, BaseURL: "https://vault.exa\nmple.com"}, []string{"white space"}},
		{"a space in the proxy", fetch.Config{Key: key, Proxy: "http://user:canary @proxy:3128"}, []string{"white space"}},
		{"white space around both", fetch.Config{Key: key, BaseURL: " https://vault.example.com\r\n", Proxy: "\thttp://proxy:3128\n"}, nil},
		{"a key for a URL", fetch.Config{Key: key, BaseURL: "msk_r_canarycanarycanary"}, []string{"want https"}},
		{"negative timeout", fetch.Config{Key: key, Timeout: -time.Second}, []string{"negative"}},
		{"http through a proxy", fetch.Config{Key: key, BaseURL: "http://127.0.0.1", Proxy: "http://proxy:3128"}, []string{"https only"}},
		{"socks proxy", fetch.Config{Key: key, Proxy: "socks5://user:canary@proxy"}, []string{"proxy isn't a URL"}},
		{"proxy without scheme", fetch.Config{Key: key, Proxy: "proxy:3128"}, []string{"proxy isn't a URL"}},
		{"all at once", fetch.Config{BaseURL: "ftp://x", Proxy: "canary", Timeout: -1}, []string{"want https", "key is required", "negative", "proxy isn't a URL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.config.Validate()
			if err == nil {
				if len(tt.message) > 0 {
					t.Fatal("no error")
				}
				return
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.message) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("%d problems, want %d:\n%v", len(lines), len(tt.message), err)
			}
			for i, line := range lines {
				if !strings.Contains(line, tt.message[i]) {
					t.Errorf("problem %q doesn't say %q", line, tt.message[i])
				}
			}
			if _, err := fetch.New(tt.config); err == nil {
				t.Error("New accepts it")
			}
		})
	}
}

func TestCAFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": empty + "x", "no certificate": empty, "a folder": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			_, err := fetch.New(fetch.Config{Key: api.NewKey(api.ResourceKeyPrefix), CAFile: path})
			if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v, want one that names %s", err, path)
			}
		})
	}
}
