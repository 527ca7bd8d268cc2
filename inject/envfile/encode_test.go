package envfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// pairs takes NAME, value, NAME, value...
func pairs(words ...string) []api.Bound {
	var out []api.Bound
	for p := range slices.Chunk(words, 2) {
		out = append(out, api.Bound{Label: api.Label{ExposeAsEnv: p[0]}, Value: api.NewValue([]byte(p[1]))})
	}
	return out
}

func encoded(t testing.TB, format string, p []api.Bound) string {
	t.Helper()
	var out bytes.Buffer
	if err := envfile.Encode(&out, format, p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// nasty are values that some reader or shell misreads. All are UTF-8 without NUL.
var nasty = []string{
	"", " ", "plain", "sk_live_51H-x.y/z+A=@%,:", "abc==", "=x", "007", "+5", "1e3", "true", "null",
	" leading", "trailing ", "\ttab\t", "two  spaces", "a#b", "a #b", "#", "# comment", "a # b # c",
	"'", `"`, "`", "''", `""`, "'x'", `"x"`, "`x`", "it's", `say "x"`, `it's "x"`, `a'b"c'd"e`, `'"`, `"'`, "a`b", "'`", "it's `x`",
	`{"a":"it's"}`, `{"a": "it's"}`, `{"key":"v","n":[1,2]}`, `a=b;c='d'`, `x"y`, `x'y`, `x'y"z`, `a"b'c"`, `it\'s "x"`, `a'b"c'"\`,
	`\`, `\\`, `a\`, `a\\`, `\n`, `a\nb`, `\r`, `\t`, `C:\new\table`, `\'`, `it's\`, `a\"b`, `\$x`, `x\'y"z'`,
	"$", "$$", "$x", "$X", "${X}", "$(touch pwned)", "$((1+1))", "$[1+1]", "a$", "a$b", "cost: $5", "`touch pwned`", "it's $x", "it's $X", "it's $(x)", "it's ${X}", "it's $", "it's $'x'", "it's $[1]",
	"!", "!!", "a!b", "it's!", "~", "~root", "*", "?", "[a]", "{a,b}", "a;touch pwned", "a&b", "a|b", "<x>", "(x)", "x; touch pwned; 'y\"z'",
	"line\nline", "line\n", "\nline", "\n", "\n\n", "a\n\nb", "it's\ntwo", "say \"x\"\ntwo", "it's \"x\"\ntwo", "back\\slash\ntwo", "a\\nb\nc", "$X\ntwo", "`x`\ntwo", "# x\ny", "a\n# b", "a\nb\\", "a'\nb\"",
	"-----BEGIN KEY-----\nMIIB+/=\nAA==\n-----END KEY-----\n",
	"{\n  \"type\": \"account\",\n  \"key\": \"-----BEGIN\\nAA==\\n\"\n}\n",
	"x\nINJECTED=1", "x'\nINJECTED=1", "x\"\nINJECTED=1", "x'\"\nINJECTED=1\n'\"", "'\nexport INJECTED=1\n'", "\"\nexport INJECTED=1\n\"", "`\nINJECTED=1\n`", "\"\n export INJECTED = 1", "\\\nINJECTED=1", "x\\\nINJECTED=1", "x$X\nINJECTED=1", "x\nINJECTED: 1", "x\"\nINJECTED: 1",
	"'INJECTED=1", "\"INJECTED=1", "x INJECTED=1", "x' INJECTED=1", "x\" INJECTED=1", "x\\' INJECTED=1", "x'\" INJECTED=1",
	"CR\rmiddle", "CRLF\r\nINJECTED=1", "end\r", "'\rINJECTED=1", "é", "日本語", "😀", "it's é \"ü\"", "\u2028", "x\u2028INJECTED=1", "it's\u2028\"x\"", "a'b\"c\u2028'\"", "\u00a0", "\u0085x\u0085", "\ufeff", "\x01\x02\x1b[2J\x7f", "\v\f", "it's\v\"", "a'\v'\"\"",
	"\ufeffx", "x\ufeff", "\ufeff'\\", "\\'\ufeff", "\ufeff\"'\\", "'\"\ufeff", "\ufeff'\n", "\n'\ufeff", "it's\ufeff", "\ufeffit's",
	"() { :; }; touch pwned", "%s%n", "-n", "-e x", "export X=1", "x\n", strings.Repeat("long ", 20_000),
}

// trimmed are the characters beyond ASCII that JavaScript's trim removes.
const trimmed = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"

func init() {
	for _, r := range trimmed {
		for _, value := range []string{`'\`, `\'`, `x'"`, "it's", "x\n'", `"`, "x"} {
			nasty = append(nasty, string(r)+value, value+string(r), string(r)+value+string(r))
		}
	}
}

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format string
		pairs  []api.Bound
		want   string
	}{
		{"shell", "shell", pairs("B", "x'y", "A", "$x\n`z`"), "export A='$x\n`z`'\nexport B='x'\\''y'\n"},
		{"shell takes bytes", "shell", pairs("A", "\xff\xfe"), "export A='\xff\xfe'\n"},
		{"shell, nothing", "shell", nil, ""},
		{"dotenv, bare", "dotenv", pairs("B", "007", "A", "https://u:p@h/x?"), "A='https://u:p@h/x?'\nB=007\n"},
		{"dotenv, empty", "dotenv", pairs("A", ""), "A=''\n"},
		{"dotenv, single quotes", "dotenv", pairs("A", `x "y" $Z \n`), `A='x "y" $Z \n'` + "\n"},
		{"dotenv, double quotes", "dotenv", pairs("A", "it's", "B", "x\ny z\n"), "A=\"it's\"\nB=\"x\\ny z\\n\"\n"},
		{"dotenv, lines that need single quotes", "dotenv", pairs("A", "{\n \"x\": 1\n}"), "A='{\n \"x\": 1\n}'\n"},
		{"dotenv, both quotes", "dotenv", pairs("A", `{"a":"it's"}`), `A={"a":"it's"}` + "\n"},
		{"dotenv, nothing", "dotenv", nil, ""},
		{"json", "json", pairs("B", "<&>\"\n", "A", "é"), "{\n  \"A\": \"é\",\n  \"B\": \"<&>\\\"\\n\"\n}\n"},
		{"json, nothing", "json", nil, "{}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(encoded(t, tt.format, tt.pairs), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format string
		pairs  []api.Bound
		want   string
	}{
		{"NUL", "shell", pairs("A", "canary\x00"), "A can't be written as shell: its value holds a NUL byte"},
		{"a name that would be a command", "shell", pairs("A=1; canary; B", "x"), `"A=1; canary; B" can't be written as shell: it isn't a name: want letters, digits and _, no digit first`},
		{"a name with a line break", "dotenv", pairs("A\nB", "x"), `"A\nB" can't be written as dotenv: it isn't a name: want letters, digits and _, no digit first`},
		{"an empty name", "json", pairs("", "x"), `"" can't be written as json: it isn't a name: want letters, digits and _, no digit first`},
		{"twice", "json", pairs("A", "1", "B", "2", "A", "3"), "A can't be written as json: it is there twice"},
		{"bytes in json", "json", pairs("A", "canary\xff"), "A can't be written as json: its value isn't UTF-8"},
		{"bytes in dotenv", "dotenv", pairs("A", "canary\xff"), "A can't be written as dotenv: its value isn't UTF-8"},
		{"all at once", "dotenv", pairs("D", "canary\r", "C", "canary'\"$X", "B", "canary\"\nX=1", "E", "fine", "A", "canary'\n\""),
			"A can't be written as dotenv: its value has several lines and quotes or backslashes that readers of .env files disagree on\n" +
				"B can't be written as dotenv: a line of its value looks like another variable\n" +
				"C can't be written as dotenv: its value mixes quotes with characters that readers of .env files disagree on\n" +
				"D can't be written as dotenv: its value holds a carriage return, which readers of .env files drop or turn into a line end"},
		{"format", "yaml", pairs("A", "canary"), "format yaml: want one of shell, dotenv, json, systemd, docker"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := envfile.Encode(&out, tt.format, tt.pairs)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(err.Error(), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			var cant *envfile.CantCarry
			if tt.format != "yaml" && (!errors.As(err, &cant) || cant.Format != tt.format) {
				t.Errorf("not a *CantCarry: %#v", err)
			}
			if out.Len() != 0 {
				t.Errorf("Encode wrote %q despite the error", out.String())
			}
		})
	}
	r, w := io.Pipe()
	r.Close()
	if err := envfile.Encode(w, "json", pairs("A", "1")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

// mixed returns random values made of parts that readers misread, the same in every run.
func mixed(count int) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := []string{"'", "'", `"`, `"`, "`", `\`, `\`, "$", "$", "\n", "\n", "\n", " ", " ", "#", " #", "=", "=", "{", "}", "(", ")", "[", "n", "r", "X", "x", "1", "_",
		"export ", "INJECTED=1", "\nINJECTED=1", "\t", "\u2028", "\ufeff", "\u00a0", "\u3000", "é", ":", ";", "&", "|", "<", "~", "!", "*", "?", "-", "\x01", "touch pwned", "$(touch pwned)", "`touch pwned`"}
	values := make([]string, count)
	for i := range values {
		for range 1 + rnd.IntN(9) {
			values[i] += parts[rnd.IntN(len(parts))]
		}
	}
	return values
}

// carried returns those of nasty and of 3,000 mixed values that a format accepts, each under its own name.
func carried(t *testing.T, format string) []api.Bound {
	t.Helper()
	var out []api.Bound
	var refused []string
	for i, value := range slices.Concat(nasty, mixed(3000)) {
		p := pairs(fmt.Sprintf("N%04d", i), value)
		var cant *envfile.CantCarry
		switch err := envfile.Encode(io.Discard, format, p); {
		case errors.As(err, &cant):
			if i < len(nasty) {
				refused = append(refused, value)
			}
		case err != nil:
			t.Fatal(err)
		default:
			out = append(out, p...)
		}
	}
	t.Logf("%s: %d of %d values accepted, refused: %q", format, len(out), len(nasty)+3000, refused)
	return out
}

// fewOf returns sets of up to four variables with nasty and mixed values, the same in every run.
func fewOf(t *testing.T, count int) [][]api.Bound {
	t.Helper()
	rnd := rand.New(rand.NewPCG(3, 4))
	values := slices.Concat(nasty[:len(nasty):len(nasty)], mixed(3000))
	sets := make([][]api.Bound, count)
	for i := range sets {
		for want := 1 + rnd.IntN(4); len(sets[i]) < want; {
			value := values[rnd.IntN(len(values))]
			p := pairs(string(rune('A'+len(sets[i]))), value)
			if len(value) < 1000 && envfile.Encode(io.Discard, "dotenv", p) == nil {
				sets[i] = append(sets[i], p...)
			}
		}
	}
	return sets
}

func wantOf(p []api.Bound) map[string]string {
	want := make(map[string]string, len(p))
	for _, n := range p {
		want[n.ExposeAsEnv] = n.Value.Reveal()
	}
	return want
}

func TestJSONReadBack(t *testing.T) {
	p := carried(t, "json")
	if len(p) != len(nasty)+3000 {
		t.Error("no value refused")
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(encoded(t, "json", p)), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, wantOf(p)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// environOf runs a program that ends in env -0 in an empty directory, checks that nothing was created there, and
// returns the printed variables.
func environOf(t *testing.T, program string, args ...string) map[string]string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir = t.TempDir()
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, stderr.String())
	}
	if made, _ := os.ReadDir(c.Dir); len(made) != 0 {
		t.Errorf("%s: a value was executed and created %s", program, made[0].Name())
	}
	return environOfText(string(out))
}

// environOfText parses the output of env -0, without the variables that a shell adds.
func environOfText(text string) map[string]string {
	got := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	for _, own := range []string{"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"} {
		delete(got, own)
	}
	return got
}

func TestShellReadBack(t *testing.T) {
	p := append(carried(t, "shell"), pairs("BYTES", "\xff\xfe'\x80\xc3(", "CTRL", "\x01\r\n\x1b")...)
	if len(p) != len(nasty)+3000+2 {
		t.Error("no value refused")
	}
	text := encoded(t, "shell", p)
	file := filepath.Join(t.TempDir(), "out.sh")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := wantOf(p)
	empty := filepath.Join(t.TempDir(), "empty.sh")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Not yash, which reads characters of its locale, not bytes.
	for _, shell := range []string{"sh", "dash", "bash", "busybox", "ksh", "mksh", "zsh"} {
		for how, script := range map[string]string{"sourced": `. "$1"; exec env -0`, "eval": `eval "$(cat "$1")"; exec env -0`} {
			t.Run(shell+" "+how, func(t *testing.T) {
				needs.Command(t, shell)
				args := []string{"-c", script, "test"}
				if shell == "busybox" {
					args = append([]string{"sh"}, args...)
				}
				got := environOf(t, shell, append(args, file)...)
				for own := range environOf(t, shell, append(args, empty)...) {
					delete(got, own)
				}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("(-got +want):\n%s", diff)
				}
			})
		}
	}
}

func TestDotenvReadBack(t *testing.T) {
	p := carried(t, "dotenv")
	text := encoded(t, "dotenv", p)
	want := wantOf(p)
	file := filepath.Join(t.TempDir(), "out.env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("godotenv", func(t *testing.T) {
		got, err := godotenv.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
	t.Run("env files of ours", func(t *testing.T) {
		built, err := environ.Environment{Files: []string{file}}.Build()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(environOfText(strings.Join(built.Environ, "\x00")), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
	const dump = `for (const k in e) process.stdout.write(k + "=" + e[k] + "\0")`
	t.Run("node", func(t *testing.T) {
		needs.Command(t, "node")
		if out, err := exec.Command("node", "-p", `const [a, b] = process.versions.node.split("."); a > 20 || a == 20 && b >= 13`).Output(); err != nil || string(out) != "true\n" {
			needs.NewerNode(t, "20.13 at least: the --env-file of older ones reads no line breaks")
		}
		if diff := cmp.Diff(environOf(t, "node", "--env-file="+file, "-e", `const e = process.env;`+dump), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
	t.Run("npm dotenv", func(t *testing.T) {
		needs.Command(t, "node")
		module := needs.NPM(t, "dotenv")
		script := `const e = require(process.argv[1]).parse(require("fs").readFileSync(process.argv[2]));` + dump
		if diff := cmp.Diff(environOf(t, "node", "-e", script, module, file), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
	// Many files of few variables, because how one is read depends on its neighbours.
	t.Run("node and npm dotenv, file by file", func(t *testing.T) {
		needs.Command(t, "node")
		sets := fewOf(t, 300)
		dir := t.TempDir()
		for i, p := range sets {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(encoded(t, "dotenv", p)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// Node's own reader of --env-file, and dotenv where it is installed.
		const script = `const fs = require("fs"), util = require("util"), [module, dir] = process.argv.slice(1);
const [major, minor] = process.versions.node.split("."), all = [];
const reads = major > 20 || major == 20 && minor >= 13;
for (let i = 0; fs.existsSync(dir + "/" + i); i++) {
	const text = fs.readFileSync(dir + "/" + i);
	all.push({Node: reads ? util.parseEnv(text.toString()) : null, Dotenv: module ? require(module).parse(text) : null});
}
process.stdout.write(JSON.stringify(all));`
		c := exec.Command("node", "-e", script, os.Getenv("DOTENV_MODULE"), dir)
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []struct{ Node, Dotenv map[string]string }
		if err := json.Unmarshal(out, &got); err != nil || len(got) != len(sets) {
			t.Fatalf("%d of %d files read: %v", len(got), len(sets), err)
		}
		readers := map[string]int{}
		for i, p := range sets {
			for reader, values := range map[string]map[string]string{"node": got[i].Node, "npm dotenv": got[i].Dotenv} {
				if values == nil {
					continue
				}
				readers[reader]++
				if diff := cmp.Diff(values, wantOf(p)); diff != "" {
					t.Errorf("%s, file %d (-got +want):\n%s", reader, i, diff)
				}
			}
		}
		t.Logf("files read: %v", readers)
	})
	// A shell misreads some values, but executes none and sets no other variable.
	for _, shell := range []string{"sh", "dash", "bash"} {
		t.Run("sourced by "+shell, func(t *testing.T) {
			needs.Command(t, shell)
			got := environOf(t, shell, "-c", `set -a; . "$1"; exec env -0`, "test", file)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))); diff != "" {
				t.Errorf("names (-got +want):\n%s", diff)
			}
			same := 0
			for name, value := range want {
				if got[name] == value {
					same++
				}
			}
			t.Logf("%d of %d values are the same", same, len(want))
		})
	}
	// The simplest reader: in each line, a name up to = and then the value.
	t.Run("line by line", func(t *testing.T) {
		if diff := cmp.Diff(namesByLine(text), slices.Sorted(maps.Keys(want))); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// namesByLine returns the names that a reader that ignores quotes would find, in the order of the text.
func namesByLine(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		name, _, found := strings.Cut(line, "=")
		name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "export "))
		if found && plainName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// TestDotenvCarries lists values that must be accepted: refusing one is a regression.
func TestDotenvCarries(t *testing.T) {
	for _, value := range []string{
		"", "a b", "it's", `say "x"`, `C:\new`, "$(x)", "$X", "`x`", "a #b", " x ", "é", "a\nb", "it's\ntwo", "it's $", "a$", "it's $x",
		"-----BEGIN KEY-----\nMIIB+/=\nAA==\n-----END KEY-----\n", "{\n  \"type\": \"account\"\n}\n", `{"a":"it's"}`, `a'b"c'd"e`,
		"back\\slash\ntwo", "# x\ny", `it's "x"`, `x'y"z`, `a\`, `C:\dir\`, `it's\`, "it's \"`x`",
	} {
		if err := envfile.Encode(io.Discard, "dotenv", pairs("A", value)); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}
