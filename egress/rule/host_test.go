package rule

import (
	"net/netip"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "api.github.com", "api.github.com"},
		{"case", "API.GitHub.Com", "api.github.com"},
		{"dot at the end", "api.github.com.", "api.github.com"},
		{"one label", "localhost", "localhost"},
		{"underscore", "my_service.internal", "my_service.internal"},
		{"international", "bücher.example", "xn--bcher-kva.example"},
		{"international in upper case", "BÜCHER.example", "xn--bcher-kva.example"},
		{"international in ASCII", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"full width letters", "ｇｉｔｈｕｂ.com", "github.com"},
		{"Kelvin sign", "\u212Aernel.org", "kernel.org"},
		{"ideographic full stop", "github。com", "github.com"},
		{"Cyrillic letter", "gіthub.com", "xn--gthub-n2e.com"},
		{"IPv4", "127.0.0.1", "127.0.0.1"},
		{"IPv4 with a dot at the end", "127.0.0.1.", "127.0.0.1"},
		{"full width IPv4", "１２７.0.0.1", "127.0.0.1"},
		{"IPv6", "2001:DB8:0::1", "2001:db8::1"},
		{"IPv6 in brackets", "[2001:db8::1]", "2001:db8::1"},
		{"IPv4 in IPv6", "::ffff:127.0.0.1", "127.0.0.1"},
	} {
		if got, err := Host(tt.text); err != nil || got != tt.want {
			t.Errorf("%s: Host(%q) = %q, %v, want %q", tt.name, tt.text, got, err, tt.want)
		}
	}
}

func TestAttack_Hosts(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"empty", ""}, {"a dot", "."}, {"two dots at the end", "a.org.."}, {"empty label", "a..org"}, {"dot at the start", ".a.org"},
		{"port", "a.org:443"}, {"user", "api.github.com@evil.org"}, {"user with a password", "a:b@evil.org"}, {"path", "a.org/b"},
		{"backslash", `a.org\b`}, {"query", "a.org?b"}, {"fragment", "a.org#b"}, {"space", "a.org "}, {"line break", "a.org\r\nX: y"},
		{"NUL", "a.org\x00.evil.org"}, {"percent", "a%2eorg"}, {"pattern", "*.a.org"}, {"long label", strings.Repeat("a", 64) + ".org"},
		{"long", strings.Repeat("a.", 127) + "org"}, {"hyphen at the start", "-a.org"}, {"hyphen at the end", "a-.org"}, {"invalid UTF-8", "a\xff.org"},
		{"soft hyphen alone", "\u00ad"}, {"comma", "a.org,b.org"}, {"two hosts", "a.org b.org"},
		{"short IPv4", "127.1"}, {"decimal IPv4", "2130706433"}, {"hex IPv4", "0x7f.0.0.1"}, {"hex number", "0x7f000001"}, {"octal IPv4", "0177.0.0.1"},
		{"hex last label", "a.0x1"}, {"empty hex", "0x"}, {"long IPv4", "1.2.3.4.5"}, {"name with a number at its end", "example.1"}, {"large IPv4", "1.2.3.256"},
		{"zone", "fe80::1%eth0"}, {"zone in brackets", "[fe80::1%25eth0]"}, {"IPv4 in brackets", "[127.0.0.1]"}, {"half a bracket", "[::1"},
		{"the other half", "::1]"}, {"brackets with a port", "[::1]:443"}, {"empty brackets", "[]"},
	} {
		if got, err := Host(tt.text); err == nil {
			t.Errorf("%s: Host(%q) = %q", tt.name, tt.text, got)
		} else if tt.text != "" && tt.text != "." && strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: the error has the text: %v", tt.name, err)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"api.github.com", "A.b.", "bücher.example", "[::1]", "::ffff:1.2.3.4", "0x7f.1", "a@b", "ｅ.com", "xn--a.com", "fe80::1%lo"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, err := Host(text)
		if err != nil {
			return
		}
		if again, err := Host(host); err != nil || again != host {
			t.Errorf("Host(%q) = %q, and of that %q, %v", text, host, again, err)
		}
		if dotted, err := Host(strings.ToUpper(host) + "."); !strings.Contains(host, ":") && (err != nil || dotted != host) {
			t.Errorf("Host(%q) = %q, in upper case with a dot %q, %v", text, host, dotted, err)
		}
		if strings.ContainsAny(host, "[]@/\\%? #*\r\n\x00") || host != strings.ToLower(host) || strings.HasSuffix(host, ".") {
			t.Errorf("Host(%q) = %q", text, host)
		}
		if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
			t.Errorf("Host(%q) = %q", text, host)
		}
	})
}
