package dotenv_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// TestDifferences checks that Differences reports for each line exactly the readers that read it differently.
func TestDifferences(t *testing.T) {
	const all = "npm dotenv, compose, godotenv, sh"
	examples := []struct {
		text string // one assignment
		want string // readers that read it differently
	}{
		{"A=x", ""}, {"A=", ""}, {"A=  ", ""}, {"A=''", ""}, {`A=""`, ""}, {"export A=x", ""}, {" \texport  A=x # note", ""}, {"A_1='x y' # it's", ""},
		{"A='a#b $X `x` \\n \"q\"'", ""}, {`A="a#b it's\nx"`, "sh"}, {"A=\"a\nB=b\nc\"", ""}, {"A='a\nB=b\nc'", ""}, {`A="\d"`, "godotenv"}, {"A=x=y", ""}, {"A=x:y/z@w,+%^!*?{}[]", ""},

		{"\ufeffA=x", "godotenv, sh"}, {"\ufeff\nA=x", "godotenv"},
		{"A-B=x", "godotenv, sh"}, {"a.b=x", "sh"}, {"2FA=x", "sh"}, {"export = x", "compose, godotenv, sh"}, {"export=x", ""}, {"UID=x", "sh"}, {"_=x", "sh"}, {"RANDOM=x", "sh"},
		{"__proto__=x", "npm dotenv"}, {"export export =x", "sh"}, {"EPOCHSECONDS=x", "sh"}, {"PIPESTATUS=x", "sh"}, {"GROUPS=x", "sh"}, {"SHLVL=7", "sh"}, {"HOSTNAME=x", ""}, {"PS4=x", ""},
		{"A =x", "sh"}, {"A= x", "sh"}, {"A= 'x'", "sh"}, {"A=\tx", "sh"}, {"A= # x", "compose, godotenv"}, {"A=\t# x", "compose, godotenv"},
		{"A=a#b", "npm dotenv"}, {"A=#b", "npm dotenv"}, {"A=a#b # c", "npm dotenv"},
		{"A=a\t# b", "compose"}, {"A=a # b # c", "godotenv"}, {"A=a # b #c", "godotenv"}, {"A=a # b#c", ""}, {"A='a' # b # c", ""}, {"A=a\u00a0#b", "npm dotenv, godotenv"},

		{"A=$X", "compose, godotenv, sh"}, {"A=${X}", "compose, godotenv, sh"}, {"A=$(X)", "godotenv, sh"}, {"A=$x", "compose, sh"}, {"A=$1", "godotenv, sh"}, {"A=$$", "compose, sh"},
		{"A=${", "compose, sh"}, {"A=x$", ""}, {"A=$.", ""}, {"A=$-", "sh"}, {`A="$X"`, "compose, godotenv, sh"}, {`A="$(X)"`, "godotenv, sh"}, {`A="a$ b"`, ""}, {`A="$\$X"`, "npm dotenv, compose"},
		{`A="\$X"`, "npm dotenv"}, {`A=\$X`, "compose, godotenv, sh"}, {`A=\$5`, "godotenv, sh"}, {"A=\"`x`\"", "sh"}, {"A=\"\\`x\"", "npm dotenv, compose"}, {"A='$X'", ""},
		{"H=$2y$10$abcdefghij", "compose, godotenv, sh"}, {"A=Pa$Sword", "compose, godotenv, sh"}, {"A=${NONE:-def}", "compose, godotenv, sh"},

		{`A="a\nb"`, "sh"}, {`A="a\rb"`, "sh"}, {`A="a\tb"`, "npm dotenv, godotenv, sh"}, {`A="a\\b"`, "npm dotenv"}, {`A="a\"b"`, "npm dotenv"}, {`A="\a"`, "compose, godotenv"}, {`A="\0101"`, "compose, godotenv"}, {`A="\x41"`, "godotenv"},
		{`A="a\\$"`, "npm dotenv, godotenv"}, {"A=\"a\\\nb\"", "godotenv, sh"}, {`A="\\n"`, "npm dotenv"},
		{`A='C:\dir\'`, "npm dotenv, compose, godotenv"}, {`A='C:\dir\\'`, "npm dotenv, godotenv"}, {`A="x\\"`, "npm dotenv, godotenv"}, {`A="say \"hi\""`, "npm dotenv, godotenv"},

		{"A=a b", "sh"}, {"A=it's", "sh"}, {`A={"k":"v"}`, "sh"}, {`A=C:\dir`, "sh"}, {"A=a`b", "sh"}, {"A=a;b", "sh"}, {"A=a&b", "sh"}, {"A=a|b", "sh"}, {"A=a<b", "sh"}, {"A=a>b", "sh"}, {"A=(a)", "sh"}, {"A=a)", "sh"},
		{"A=~", "sh"}, {"A=~/x", "sh"}, {"A=/x:~/y", "sh"}, {"A=x~", ""}, {"A=&x", "sh"}, {"export A={a,b}", "sh"}, {"A={a,b}", ""},

		{"A=\u00a0x", "npm dotenv, compose, godotenv"}, {"A=x\u00a0", "npm dotenv, compose, godotenv"}, {"A=x\v", "npm dotenv, compose, godotenv"}, {"A=x\u3000", "npm dotenv, compose"}, {"A=x\ufeff", "npm dotenv"}, {"A='\u00a0x\u00a0'", ""},
		{"A=x\u2028'y'", "npm dotenv, sh"},

		{"A=x\r\n", "sh"}, {"A='x'\r\n", "sh"}, {"A=x # y\r\n", ""}, {"A='a\r\nb' # y\r\n", "compose, sh"}, {"A='a\rb'", "npm dotenv"}, {"A=\r\n", "sh"}, {"A='\r\r\n'", "npm dotenv, compose, sh"},
		{"A=\u00a0\\$X #", all},
	}
	var texts []string
	seen := map[string]bool{}
	for _, tt := range examples {
		if got := strings.Join(flagged(t, tt.text, seen), ", "); got != tt.want {
			t.Errorf("%q: readers that differ: got %q, want %q", tt.text, got, tt.want)
		}
		texts = append(texts, tt.text)
	}
	for _, rule := range dotenv.Rules() {
		if !seen[rule] {
			t.Errorf("rule without an example: %s", rule)
		}
	}
	for _, reader := range readers {
		t.Run(reader.name, func(t *testing.T) {
			for i, differs := range reader.differs(t, texts) {
				if tt := examples[i]; differs != strings.Contains(tt.want, reader.name) {
					t.Errorf("%q: read differently: %v", tt.text, differs)
				}
			}
		})
	}
}

// TestNoDifferenceIsMissed compares Differences with the readers on random lines, the same in every run. Differences
// must find every difference, and may report few that don't exist.
func TestNoDifferenceIsMissed(t *testing.T) {
	count := 3000
	if testing.Short() {
		count = 300
	}
	texts := randomAssignments(count)
	for _, reader := range readers {
		t.Run(reader.name, func(t *testing.T) {
			texts := texts[:min(len(texts), reader.most)]
			needless, count := 0, 0
			for i, differs := range reader.differs(t, texts) {
				switch flag := slices.Contains(flagged(t, texts[i], nil), reader.name); {
				case differs && !flag:
					t.Errorf("%q: difference not found", texts[i])
				case !differs && flag:
					needless++
				case differs:
					count++
				}
			}
			t.Logf("%d lines: %d read differently, %d false reports", len(texts), count, needless)
			if needless*50 > len(texts) {
				t.Errorf("%d lines: %d false reports", len(texts), needless)
			}
		})
	}
}

// randomAssignments returns assignments that Parse accepts.
func randomAssignments(count int) []string {
	rnd := rand.New(rand.NewPCG(5, 6))
	parts := []string{"'", `"`, `\`, `\`, `\\`, `\"`, `\'`, "$", "$", "$$", "`", "#", " #", " # ", "\t#", " ", "\t", "=", ":", "~", "{", "}", "(", ")", "[", "]", ";", "&", "|", "<", ">", "!", "*", "?", "-", "@", ",", "%", "^", "+",
		"n", "r", "t", "a", "0", "1", "x", "X", "_", "X=1", "\n", "\n", "\r\n", "\r", "\v", "\u0085", "\u00a0", "\u3000", "\ufeff", "é", "\x01", "\x7f", `\n`, `\t`, `\$`, "${X}", "$X", "$x"}
	names := []string{"A", "A", "A", "A", "A", "a.b", "A-B", "2A", "export A", "export A", "export", "\tA", "\ufeffA", "UID", "A_1"}
	var texts []string
	for len(texts) < count {
		var text strings.Builder
		for range rnd.IntN(6) {
			text.WriteString(parts[rnd.IntN(len(parts))])
		}
		quote := []string{"", "'", `"`}[rnd.IntN(3)]
		after := []string{"", "", "", " ", " # x", "\t#x # it's", "\r\n"}[rnd.IntN(7)]
		line := names[rnd.IntN(len(names))] + []string{"=", "=", "=", "=", " =", "= ", "=\t"}[rnd.IntN(7)] + quote + text.String() + quote + after
		if list, err := dotenv.Parse([]byte(line)); err == nil && len(list) == 1 {
			texts = append(texts, line)
		}
	}
	return texts
}

// flagged returns the readers that Differences names for the only variable of text, in the order of readers. It adds
// each rule that applies to seen.
func flagged(t *testing.T, text string, seen map[string]bool) []string {
	t.Helper()
	list, err := dotenv.Parse([]byte(text))
	if err != nil || len(list) != 1 {
		t.Fatalf("%q: %d variables, %v", text, len(list), err)
	}
	named := map[string]bool{}
	for _, d := range dotenv.Differences(&list[0]) {
		for _, reader := range d.Readers {
			named[reader] = true
			if seen != nil {
				seen[reader+": "+d.Why] = true
			}
		}
	}
	var sorted []string
	for _, reader := range readers {
		if named[reader.name] {
			sorted = append(sorted, reader.name)
		}
	}
	return sorted
}

// reader is another reader of env files. read runs it on texts, in one or several programs, and returns the variables
// that each program sets for each text, nil if it refuses the text.
type reader struct {
	name string
	most int // number of texts that it reads in one or two seconds
	read func(t *testing.T, texts []string) [][]vars
}

var readers = []reader{
	{dotenv.NPM, 3000, readNPM},
	{dotenv.Compose, 3000, readCompose},
	{dotenv.Godotenv, 3000, readGodotenv},
	{dotenv.Shell, 300, readShells},
}

// differs reports which assignments are read differently. Each is in its own file, before another assignment that must
// be read the same.
func (r reader) differs(t *testing.T, texts []string) []bool {
	t.Helper()
	files := make([]string, len(texts))
	for i, text := range texts {
		files[i] = strings.TrimSuffix(text, "\n") + "\nZ='# it' # \"is\"\n"
	}
	differ := make([]bool, len(texts))
	for _, answers := range r.read(t, files) {
		for i, got := range answers {
			list, err := dotenv.Parse([]byte(files[i]))
			if err != nil {
				t.Fatalf("%q: %v", files[i], err)
			}
			differ[i] = differ[i] || got == nil || !cmp.Equal(got, valuesOf(list))
		}
	}
	return differ
}

func readGodotenv(_ *testing.T, texts []string) [][]vars {
	answers := make([]vars, len(texts))
	for i, text := range texts {
		if got, err := godotenv.Unmarshal(text); err == nil {
			answers[i] = got
		}
	}
	return [][]vars{answers}
}

func readNPM(t *testing.T, texts []string) [][]vars {
	needs.Command(t, "node")
	module := needs.NPM(t, "dotenv")
	return asked(t, exec.Command("node", "-e", `const {parse} = require(process.argv[1]);
const texts = JSON.parse(require("fs").readFileSync(0));
process.stdout.write(JSON.stringify(texts.map(text => parse(Buffer.from(text)))));`, module), texts)
}

func readCompose(t *testing.T, texts []string) [][]vars {
	program := filepath.Join(t.TempDir(), "composeread")
	build := exec.Command("go", "build", "-C", "../../tools", "-buildvcs=false", "-o", program, "./composeread")
	if out, err := build.CombinedOutput(); err != nil {
		needs.System(t, "the module compose-go: %s", strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "))
	}
	return asked(t, exec.Command(program), texts)
}

// asked sends texts to a program as JSON and returns its answers.
func asked(t *testing.T, c *exec.Cmd, texts []string) [][]vars {
	t.Helper()
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdin = bytes.NewReader(in)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []vars
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(texts) {
		t.Fatalf("%d answers for %d texts: %v", len(answers), len(texts), err)
	}
	return [][]vars{answers}
}

// readShells sources the texts in sh and bash, with no command in PATH.
func readShells(t *testing.T, texts []string) [][]vars {
	needs.Command(t, "sh", "bash")
	var all [][]vars
	for _, shell := range []string{"sh", "bash"} {
		dir := t.TempDir()
		answers := make([]vars, len(texts))
		for i, text := range texts {
			if err := os.WriteFile(filepath.Join(dir, "test.env"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(shell, "-c", `set -a; . ./test.env; exec /usr/bin/env -0`)
			c.Dir, c.Env = dir, []string{"PATH=/nonexistent", "HOME=/nonexistent/home"}
			out, err := c.Output()
			if err != nil {
				continue
			}
			answers[i] = vars{}
			for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
				name, value, _ := strings.Cut(entry, "=")
				if !slices.Contains([]string{"PATH", "HOME", "PWD", "OLDPWD"}, name) && (name != "_" && name != "SHLVL" || strings.Contains(text, name+"=")) {
					answers[i][name] = value
				}
			}
		}
		all = append(all, answers)
	}
	return all
}

// TestDifferencesOfEarlierAssignments checks that an earlier assignment to the same name is flagged too, because
// another reader may take the following lines for part of its value.
func TestDifferencesOfEarlierAssignments(t *testing.T) {
	list, err := dotenv.Parse([]byte("\ufeffA='C:\\'\nA=$X\nA=1\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []dotenv.Difference{
		{Line: 1, Readers: []string{dotenv.Godotenv, dotenv.Shell}, Why: "refuse the byte order mark"},
		{Line: 1, Readers: []string{dotenv.NPM, dotenv.Compose, dotenv.Godotenv}, Why: "misread a backslash before the closing quote"},
		{Line: 2, Readers: []string{dotenv.Compose, dotenv.Godotenv, dotenv.Shell}, Why: "replace what follows a $"},
	}
	if diff := cmp.Diff(dotenv.Differences(&list[0]), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
