package fetch_test

import (
	"testing"

	"github.com/Miosa-osa/miosa-env/fetch"
)

// Base URLs of the same vault have the same normal form.
func TestVault(t *testing.T) {
	for _, tt := range []struct{ name, base, want string }{
		{"none", "", fetch.DefaultBaseURL},
		{"white space", " \r\n", fetch.DefaultBaseURL},
		{"white space around it", " \ufeffhttps://vault.example.com\u00a0\r\n", "https://vault.example.com/api/v1"},
		{"without a path", "https://vault.example.com", "https://vault.example.com/api/v1"},
		{"a slash for a path", "https://vault.example.com/", "https://vault.example.com/api/v1"},
		{"a slash at the end", "https://vault.example.com/api/v1/", "https://vault.example.com/api/v1"},
		{"several slashes at the end", "https://vault.example.com/v//", "https://vault.example.com/v"},
		{"another path", "https://vault.example.com/Other", "https://vault.example.com/Other"},
		{"upper case", "HTTPS://Vault.Example.COM/api/v1", "https://vault.example.com/api/v1"},
		{"https's own port", "https://vault.example.com:443/api/v1", "https://vault.example.com/api/v1"},
		{"http's own port", "http://localhost:80", "http://localhost/api/v1"},
		{"no port after a colon", "https://vault.example.com:/api/v1", "https://vault.example.com/api/v1"},
		{"another port", "https://vault.example.com:80", "https://vault.example.com:80/api/v1"},
		{"a port with zeros before it", "https://vault.example.com:0443/", "https://vault.example.com/api/v1"},
		{"IPv4 in IPv6", "http://[::ffff:127.0.0.1]:8080", "http://127.0.0.1:8080/api/v1"},
		{"IPv6 in full", "http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080/api/v1"},
		{"IPv6 in upper case", "https://[2001:DB8::1]:443/", "https://[2001:db8::1]/api/v1"},
		{"percent-encoding in lower case", "https://vault.example.com/a%2fb%c3%bc", "https://vault.example.com/a%2Fb%C3%BC"},
		{"percent-encoding of a letter", "https://vault.example.com/%61pi/v%31", "https://vault.example.com/api/v1"},
		{"an encoded slash at the end", "https://vault.example.com/a%2f/", "https://vault.example.com/a%2F"},
		{"not encoded", "https://vault.example.com/ü", "https://vault.example.com/%C3%BC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fetch.Config{BaseURL: tt.base}.Vault()
			if err != nil || got != tt.want {
				t.Fatalf("got %s, %v, want %s", got, err, tt.want)
			}
			if again, err := (fetch.Config{BaseURL: got}).Vault(); err != nil || again != got {
				t.Errorf("the normal form of %s is %s, %v", got, again, err)
			}
		})
	}
	for _, base := range []string{"ftp://vault.example.com", "https://vault.example.com:0", "https://vault.example.com:65536"} {
		if got, err := (fetch.Config{BaseURL: base}).Vault(); err == nil {
			t.Errorf("%s is accepted as %s", base, got)
		}
	}
}
