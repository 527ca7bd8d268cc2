package mask

import (
	"bytes"
	"encoding/xml"
	"html"
	"html/template"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/internal/needs"

	"github.com/Miosa-osa/miosa-env/api"
)

// quotes are the characters that shells and languages add to quote a text.
const quotes = "'\"$ \r\n"

// TestMaskQuotedByShells checks that values are masked in traces of shells and as quoted by their builtins and other
// commands. Each script prints $VALUE once, beside the characters of quotes and trim.
func TestMaskQuotedByShells(t *testing.T) {
	needs.Long(t, "it runs hundreds of commands in shells")
	trace := "set -x; : \"$VALUE\""
	assign := "set -x; v=$VALUE"
	for _, tc := range []struct {
		name   string
		argv   []string
		script string
		trim   string
	}{
		{"bash set -x", []string{"bash", "-c"}, trace, ":"},
		{"bash set -x assignment", []string{"bash", "-c"}, assign, "v="},
		{"bash printf %q", []string{"bash", "-c"}, `printf %q "$VALUE"`, ""},
		{"bash @Q", []string{"bash", "-c"}, `printf %s "${VALUE@Q}"`, ""},
		{"bash declare -p", []string{"bash", "-c"}, `declare -p VALUE`, "declare-xVALUE="},
		{"bash set", []string{"bash", "-c"}, `set | sed -n '/^VALUE=/,/^[_a-zA-Z]*=/p' | sed '/^_=/d'`, "VALUE="},
		{"dash set -x", []string{"dash", "-c"}, trace, ":"},
		{"dash export -p", []string{"dash", "-c"}, `unset PWD OLDPWD PATH LC_ALL PS4; export -p`, "exportPATHLC_ALLPS4VALUE="},
		{"busybox set -x", []string{"busybox", "sh", "-c"}, trace, ":"},
		{"zsh set -x", []string{"zsh", "-c"}, trace, ":"},
		{"zsh set -x assignment", []string{"zsh", "-c"}, assign, "v="},
		{"zsh printf %q", []string{"zsh", "-c"}, `printf %q "$VALUE"`, `\`},
		{"zsh (qq)", []string{"zsh", "-c"}, `printf %s "${(qq)VALUE}"`, ""},
		{"ksh set -x", []string{"ksh", "-c"}, trace, ":"},
		{"ksh printf %q", []string{"ksh", "-c"}, `printf %q "$VALUE"`, ""},
		{"mksh set -x", []string{"mksh", "-c"}, trace, ":"},
		{"mksh @Q", []string{"mksh", "-c"}, `print -rn -- "${VALUE@Q}"`, ""},
		{"coreutils printf %q", []string{"bash", "-c"}, `exec env printf %q "$VALUE"`, ""},
		{"systemd-escape", []string{"bash", "-c"}, `systemd-escape -- "$VALUE"`, ""},
	} {
		for _, locale := range []string{"C", "C.UTF-8"} {
			t.Run(tc.name+"/"+locale, func(t *testing.T) {
				needs.Command(t, tc.argv[0])
				if tc.name == "systemd-escape" {
					needs.Command(t, tc.name)
				}
				for _, v := range maskValues {
					cmd := exec.CommandContext(t.Context(), tc.argv[0], append(tc.argv[1:], tc.script)...)
					cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=" + locale, "PS4=", "VALUE=" + v.value}
					text, err := cmd.CombinedOutput()
					if err != nil {
						t.Fatalf("%s: %v: %s", v.name, err, text)
					}
					checkOnlyLabel(t, v.name, v.value, string(text), quotes+"+"+tc.trim) // PS4 of root is the shell's
				}
			})
		}
	}
}

// TestMaskQuotedByLanguages checks that values are masked as quoted by programming languages. Each program prints the
// quoted forms of its arguments, separated by splitter.
func TestMaskQuotedByLanguages(t *testing.T) {
	const splitter = "§§§"
	python := func(quote string) []string {
		return []string{"python3", "-c", "import sys, os, html, shlex\nfrom xml.sax import saxutils\n" +
			"sys.stdout.buffer.write('" + splitter + "'.join(" + quote + " for s in sys.argv[1:]).encode('utf-8', 'surrogateescape'))"}
	}
	node := func(quote string) []string {
		return []string{"node", "-e", "const { inspect } = require('util'); process.stdout.write(process.argv.slice(1).map(s => " + quote + ").join('" + splitter + "'))", "--"}
	}
	perl := []string{"perl", "-MData::Dumper", "-e", "$Data::Dumper::Terse = 1; print join('" + splitter + "', map { Dumper($_) } @ARGV)", "--"}
	jq := func(quote string) []string {
		return []string{"jq", "-nj", `[$ARGS.positional[] | ` + quote + `] | join("` + splitter + `")`, "--args", "--"}
	}
	text := func(s string) bool { return utf8.ValidString(s) }
	for _, tc := range []struct {
		name  string
		argv  []string
		trim  string
		takes func(string) bool // nil: every value
	}{
		{name: "python repr", argv: python("repr(s)")},
		{name: "python %r in a message", argv: python("'%r' % {'k': s}"), trim: "{k:}"},
		{name: "python ascii", argv: python("ascii(s)")},
		{name: "python repr of bytes", argv: python("repr(os.fsencode(s))"), trim: "b"},
		{name: "python shlex.quote", argv: python("shlex.quote(s)")},
		{name: "python html.escape", argv: python("html.escape(s)")},
		{name: "python html.escape of text", argv: python("html.escape(s, quote=False)")},
		{name: "python xml escape", argv: python("saxutils.escape(s)")},
		{name: "python xml quoteattr", argv: python("saxutils.quoteattr(s)")},
		{name: "python xmlcharrefreplace", argv: python("saxutils.escape(s).encode('ascii', 'xmlcharrefreplace').decode()"), takes: text},
		{name: "node util.inspect", argv: node("inspect(s, {breakLength: Infinity})"), trim: "`", takes: text},
		{name: "node util.inspect in an object", argv: node("inspect({k: s}, {breakLength: Infinity})"), trim: "{k:}`", takes: text},
		{name: "node URL password", argv: node("(() => { const u = new URL('http://u@h'); u.password = s; return u.password })()"), takes: text},
		{name: "perl Dumper", argv: perl},
		{name: "jq @sh", argv: jq("@sh"), takes: text},
		{name: "jq @html", argv: jq("@html"), takes: text},
		{name: "jq @csv", argv: jq("[.] | @csv"), takes: text},
	} {
		t.Run(tc.name, func(t *testing.T) {
			needs.Command(t, tc.argv[0])
			cmd := exec.CommandContext(t.Context(), tc.argv[0], tc.argv[1:]...)
			cmd.Env = append(cmd.Environ(), "PYTHONUTF8=1")
			var names, values []string
			for _, v := range maskValues {
				if tc.takes == nil || tc.takes(v.value) {
					names, values = append(names, v.name), append(values, v.value)
				}
			}
			cmd.Args = append(cmd.Args, values...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			forms := strings.Split(string(out), splitter)
			if len(forms) != len(values) {
				t.Fatalf("got %d forms, want %d", len(forms), len(values))
			}
			for i, form := range forms {
				checkOnlyLabel(t, names[i], values[i], form, quotes+tc.trim)
			}
		})
	}
}

// TestMaskQuotedInGo checks that values are masked as quoted by the standard library.
func TestMaskQuotedInGo(t *testing.T) {
	for _, tc := range []struct {
		name  string
		quote func(string) string
	}{
		{"%q", strconv.Quote},
		{"%+q", strconv.QuoteToASCII},
		{"html", html.EscapeString},
		{"html/template", inTemplate(t, "{{.}}")},
		{"html/template attribute", inTemplate(t, `<a title="{{.}}">`)},
		{"html/template attribute without quotes", inTemplate(t, `<a title={{.}}>`)},
		{"xml", func(s string) string {
			var b bytes.Buffer
			if err := xml.EscapeText(&b, []byte(s)); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, v := range maskValues {
				if (tc.name == "xml" || strings.HasPrefix(tc.name, "html/")) && (!utf8.ValidString(v.value) || strings.HasPrefix(v.name, "control characters")) {
					continue // replaced: nothing of them is in markup
				}
				checkOnlyLabel(t, v.name, v.value, tc.quote(v.value), quotes)
			}
		})
	}
}

// inTemplate returns how a template of html/template writes values.
func inTemplate(t *testing.T, text string) func(string) string {
	before, after, _ := strings.Cut(text, "{{.}}")
	parsed := template.Must(template.New("").Parse(text))
	return func(s string) string {
		var b strings.Builder
		if err := parsed.Execute(&b, s); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(strings.TrimPrefix(b.String(), before), after)
	}
}

// TestMaskQuotedNamed checks literal forms of programs that the tests do not run.
func TestMaskQuotedNamed(t *testing.T) {
	for _, tc := range []struct{ name, value, form string }{
		{"PHP htmlspecialchars", `<it's "so">`, "&lt;it&#039;s &quot;so&quot;&gt;"},
		{"XML", `<it's "so">`, "&lt;it&apos;s &quot;so&quot;&gt;"},
		{"libxml2 attribute", "a\tb\r\n<c> \"", "a&#9;b&#13;&#10;&lt;c&gt; &quot;"},
		{"libxml2 in ASCII", "pässwörd & co", "p&#xE4;ssw&#xF6;rd &amp; co"},
		{"Python's ElementTree", "a\tb\r\n<c> \"pässwörd", "a&#09;b&#13;&#10;&lt;c&gt; &quot;pässwörd"},
		{"mustache.js", "a/b=`c` 'd' \"e\"", "a&#x2F;b&#x3D;&#x60;c&#x60; &#39;d&#39; &quot;e&quot;"},
		{"handlebars.js", "a/b=`c` 'd' \"e\"", "a/b&#x3D;&#x60;c&#x60; &#x27;d&#x27; &quot;e&quot;"},
		{"OWASP", "a/b=`c` 'd' \"e\"", "a&#x2F;b=`c` &#x27;d&#x27; &quot;e&quot;"},
		{"Rust", "a\tb\u200b\x1b \"c\" 'd'", `a\tb\u{200b}\u{1b} \"c\" 'd'`},
		{"PHP var_export", `it's C:\dir`, `it\'s C:\\dir`},
		{"SQL", `it's a secret`, `it''s a secret`},
		{"PHP's addslashes", "it's \"so\" \\ \u00e9\n", "it\\'s \\\"so\\\" \\\\ \u00e9\n"},
		{"MySQL", "it's \"so\"\n\u00e9", "it\\'s \\\"so\\\"\\n\u00e9"},
		{"Python's ElementTree in ASCII", "a\tb\n\"p\u00e4ss\"\x7f", "a&#09;b&#10;&quot;p&#228;ss&quot;\x7f"},
		{"Python's quoteattr", "a\tb \"c\"\n<d>", "a&#9;b \"c\"&#10;&lt;d&gt;"},
		{"Go's url.UserPassword", "p@ss/w:rd;$&+,=", "p%40ss%2Fw%3Ard;$&+,="},
		{"systemd environment file", "say \"$HOME\" `x` \\", "say \\\"\\$HOME\\\" \\`x\\` \\\\"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := New([]api.Bound{named("A", tc.value)})
			if got := masked(t, m, "§"+tc.form+"§", 2); got != "§[A]§" {
				t.Errorf("%q masked is %q", tc.form, got)
			}
		})
	}
}
