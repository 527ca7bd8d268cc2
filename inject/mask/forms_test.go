package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/internal/needs"

	"github.com/Miosa-osa/miosa-env/api"
)

var maskValues = []struct{ name, value string }{
	{"six bytes", "s3cret"},
	{"seven bytes", "s3crets"},
	{"eight bytes", "s3crets!"},
	{"key", "sk_live_51H8xQ2eZvKYlo2C0aBcDeFgHiJkLmNoPqRsTuVwXyZ"},
	{"base64 with both odd characters", "\xfb\xef\xbe\xff\xff\xff\xfb\xff"},
	{"connection", "postgres://user:p%40ss+w/rd@db.example:5432/app?sslmode=require&x=a b"},
	{"punctuation", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "},
	{"control characters", "\x01\b\t\n\v\f\r\x1b[0m\x7f"},
	{"Unicode", "pässwörd-\u2028\u2029-\u65e5\u672c-\U0001f511"},
	{"Unicode's white space", "pass\u00a0word \u3000\u200b\n~secret"},
	{"control characters before digits", "\x01ab\x7f0\u00e99-\x02"},
	{"not UTF-8", "caf\xe9-\xff\xfe-secret"},
	{"PEM", "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MC4CAQAwBQYDK2VwBCIEIHqY/3Vx+Kz0mJ8n9Q7c5w2l4sT1uR6eD8bF0aGhZyXk\n", 3) + "-----END PRIVATE KEY-----\n"},
	{"JSON", `{"type": "service_account", "private_key": "-----BEGIN\n<a&b>=='x'\n", "n": 1, "u": "a/b"}`},
}

// TestMaskFormsInGo checks that a value encoded by the standard library is replaced by its label as a whole.
func TestMaskFormsInGo(t *testing.T) {
	marshal := func(html bool) func(string) string {
		return func(s string) string {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(html)
			if err := e.Encode(s); err != nil {
				t.Fatal(err)
			}
			return strings.Trim(b.String(), "\"\n")
		}
	}
	encoders := []struct {
		name   string
		encode func(string) string
	}{
		{"raw", func(s string) string { return s }},
		{"terminal", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }},
		{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"upper hex", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
		{"url.QueryEscape", url.QueryEscape},
		{"url.PathEscape", url.PathEscape},
		{"lower url.QueryEscape", func(s string) string { return lowerEscapes(url.QueryEscape(s)) }},
		{"lower url.PathEscape", func(s string) string { return lowerEscapes(url.PathEscape(s)) }},
		{"json", marshal(true)},
		{"json without HTML escapes", marshal(false)},
		{"base64 std", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
		{"base64 raw std", func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }},
		{"base64 url", func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }},
		{"base64 raw url", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
	}
	for _, v := range maskValues {
		m, _ := New([]api.Bound{named("A", v.value)})
		for _, e := range encoders {
			t.Run(v.name+"/"+e.name, func(t *testing.T) {
				form := e.encode(v.value)
				// § is not part of any form.
				if got, want := masked(t, m, "§"+form+"§", 3), "§[A]§"; got != want {
					t.Errorf("%q masked is %q", form, got)
				}
			})
		}
	}
}

func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// TestMaskBase64Within encodes the value with other bytes before and after it. Every character that holds only bits of
// the value must be masked.
func TestMaskBase64Within(t *testing.T) {
	for _, v := range maskValues {
		m, _ := New([]api.Bound{named("A", v.value)})
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			for before := range 7 {
				for after := range 4 {
					text := enc.EncodeToString([]byte("<<<<<<"[:before] + v.value + "\xff\xff\xff"[:after]))
					// A character holds 6 bits. from is the first one without bits of the bytes before the value;
					// to is the end of those without bits of the bytes after it, or the end of the text.
					from, to := (8*before+5)/6, 8*(before+len(v.value))/6
					if after == 0 {
						to = len(text)
					}
					want := text[:from] + "[A]" + text[to:]
					if got := masked(t, m, text, 5); got != want {
						t.Errorf("%s: %d bytes before, %d after: %q, want %q", v.name, before, after, got, want)
					}
				}
			}
		}
	}
}

// TestMaskFormsOfCommands checks that values are masked in the output of commands that people use to encode secrets.
func TestMaskFormsOfCommands(t *testing.T) {
	for _, tc := range []struct {
		name string
		argv []string // reads the value from stdin
		trim string   // what it adds around the value
	}{
		{"base64", []string{"base64"}, "\n"},
		{"base64 -w0", []string{"base64", "-w0"}, ""},
		{"base64 -w64", []string{"base64", "-w64"}, "\n"},
		{"base64 of a line", []string{"sh", "-c", "(cat; echo) | base64 -w0"}, "Ao=Cgo=K"},
		{"xxd -p", []string{"xxd", "-p"}, "\n"},
		{"xxd -p -u", []string{"xxd", "-p", "-u", "-c", "0"}, "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			needs.Command(t, tc.argv[0])
			for _, v := range maskValues {
				cmd := exec.CommandContext(t.Context(), tc.argv[0], tc.argv[1:]...)
				cmd.Stdin = strings.NewReader(v.value)
				text, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v", v.name, err)
				}
				checkOnlyLabel(t, v.name, v.value, string(text), tc.trim)
			}
		})
	}
}

// TestMaskFormsOfLanguages checks that values are masked as encoded by Python and JavaScript. Each program prints the
// encoded forms of its arguments, separated by NUL.
func TestMaskFormsOfLanguages(t *testing.T) {
	python := func(encode string) []string {
		return []string{"python3", "-c", "import sys, json, base64, urllib.parse as u\n" +
			"sys.stdout.buffer.write('\\0'.join(" + encode + " for s in sys.argv[1:]).encode())"}
	}
	node := func(encode string) []string {
		return []string{"node", "-e", "process.stdout.write(process.argv.slice(1).map(s => " + encode + ").join('\\0'))", "--"}
	}
	for _, tc := range []struct {
		name string
		argv []string
		trim string
	}{
		{"python json.dumps", python("json.dumps(s)"), `"`},
		{"python json.dumps plain", python("json.dumps(s, ensure_ascii=False)"), `"`},
		{"python quote", python("u.quote(s)"), ""},
		{"python quote all", python("u.quote(s, safe='')"), ""},
		{"python quote_plus", python("u.quote_plus(s)"), ""},
		{"python encodebytes", python("base64.encodebytes(s.encode()).decode()"), "\n"},
		{"node JSON.stringify", node("JSON.stringify(s)"), `"`},
		{"node encodeURIComponent", node("encodeURIComponent(s)"), ""},
		{"node encodeURI", node("encodeURI(s)"), ""},
		{"node URLSearchParams", node("new URLSearchParams({k: s}).toString()"), "k="},
		{"node base64url", node("Buffer.from(s).toString('base64url')"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			needs.Command(t, tc.argv[0])
			cmd := exec.CommandContext(t.Context(), tc.argv[0], tc.argv[1:]...)
			cmd.Env = append(cmd.Environ(), "PYTHONUTF8=1")
			var names, values []string
			for _, v := range maskValues {
				if utf8.ValidString(v.value) {
					names, values = append(names, v.name), append(values, v.value)
				}
			}
			cmd.Args = append(cmd.Args, values...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			forms := strings.Split(string(out), "\x00")
			if len(forms) != len(values) {
				t.Fatalf("got %d forms, want %d", len(forms), len(values))
			}
			for i, form := range forms {
				checkOnlyLabel(t, names[i], values[i], form, tc.trim)
			}
		})
	}
}

// checkOnlyLabel fails if masking leaves more of an encoder's text than the label and the characters in around. It
// tries the line ends of a file and of a terminal.
func checkOnlyLabel(t *testing.T, name, value, text, around string) {
	t.Helper()
	m, _ := New([]api.Bound{named("A", value)})
	for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n")} {
		got := masked(t, m, text, 7)
		rest, ok := strings.CutPrefix(strings.TrimLeft(got, around), "[A]")
		if !ok || strings.Trim(rest, around+"\r") != "" {
			t.Errorf("%s: %q masked is %q", name, text, got)
		}
	}
}

// TestMaskFormsNamed checks literal forms of encoders that the tests do not run.
func TestMaskFormsNamed(t *testing.T) {
	for _, tc := range []struct{ name, value, form string }{
		{"PHP", `a/b"cé` + "\U0001f511", `a\/b\"c\u00e9\ud83d\udd11`},
		{"PHP, unescaped Unicode", `a/b"cé-`, `a\/b\"cé-`},
		{"upper JSON escapes", "<secret>\x1b", `\u003Csecret\u003E\u001B`},
		{"upper JSON control characters", "<secret>\x1b", `<secret>\u001B`},
		{"upper JSON Unicode", "secret-é", `secret-\u00E9`},
		{"Gson", "k='secret'&", `k\u003d\u0027secret\u0027\u0026`},
		{"System.Text.Json", `"secret"+<é>`, `\u0022secret\u0022\u002B\u003C\u00E9\u003E`},
		{"Java's URLEncoder", "a b*c~d-", "a+b*c%7Ed-"},
		{"PHP, slashes as they are", "a/b\"c\u00e9\x7f", `a/b\"c\u00e9` + "\x7f"},
		{"PHP, JSON_HEX", `a/<'b'>&"c"`, `a\/\u003C\u0027b\u0027\u003E\u0026\u0022c\u0022`},
		{"jq", "a\x7f\"\u00e9b", `a\u007f\"` + "\u00e9b"},
		{"PHP's urlencode", "a b*c~d-", "a+b%2Ac%7Ed-"},
		{"JavaScript's URL of encodeURIComponent", "it's(a)/b", "it%27s(a)%2Fb"},
		{"JavaScript's URL of text", `it's{a}"b"`, "it%27s{a}%22b%22"},
		{"Go's url.URL", "a/b!c=d:e@f;g", "a/b%21c=d:e@f;g"},
		{"Python's Requests", "a b!c|d/e'f[g]%h?", "a%20b!c%7Cd/e'f%5Bg%5D%25h?"},
		{"Python's Requests, with codes", "a b!%2F'/", "a%20b!%2F'/"},
		{"gRPC's status", "a b%cé!", "a b%25c%C3%A9!"},
		{"Ruby's Base64.encode64", strings.Repeat("secret", 9), strings.Repeat("c2VjcmV0", 7) + "c2Vj\ncmV0c2VjcmV0"},
		{"echo in a shell", "pass\u00a0word  is\n\tthis", "pass\u00a0word is this"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := New([]api.Bound{named("A", tc.value)})
			if got := masked(t, m, "§"+tc.form+"§", 2); got != "§[A]§" {
				t.Errorf("%q masked is %q", tc.form, got)
			}
		})
	}
}
