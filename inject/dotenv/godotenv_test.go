package dotenv_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// misread is what godotenv 1.5.1 is known to read differently, one bug or rule after the other. why is the
// predicate of Differences that finds such lines.
var misread = []struct{ name, example, why string }{
	{"a byte order mark is refused", "\ufeffA=x", "refuse the byte order mark"},
	{"a - in a name is refused", "A-B=x", "refuse this name, or set a variable of their own by it"},
	{"a variable called export has no name", "export =x", "refuse this name, or set a variable of their own by it"},
	{"a comment is the value, if there is none before it", "A= # x", "begin the comment elsewhere"},
	{"the comment begins at the last #", "A=a # b # c", "begin the comment elsewhere"},
	{"a comment begins after a no-break space", "A=a\u00a0#b", "begin the comment elsewhere"},
	{"a variable is replaced without quotes", "A=$X", "replace what follows a $"},
	{"a variable is replaced in double quotes", `A="$X"`, "replace what follows a $"},
	{"a variable in braces is replaced", "A=${X}", "replace what follows a $"},
	{"a digit is a variable", "A=$2y", "replace what follows a $"},
	{"the half of a name that is in capitals is replaced", "A=Pa$Sword", "replace what follows a $"},
	{"what looks like a command loses its beginning", "A=$(HOSTNAME)", "replace what follows a $"},
	{"a backslash before $ is dropped without quotes", `A=\$5`, "know other escapes"},
	{"a backslash is dropped, whatever follows", `A="C:\dir"`, "know other escapes"},
	{"a tab is a t", `A="a\tb"`, "know other escapes"},
	{"two backslashes before $ are none", `A="a\\$"`, "know other escapes"},
	{"a backslash hides the end of single quotes", `A='C:\dir\'`, "misread a backslash before the closing quote"},
	{"two backslashes hide the end of double quotes", `A="x\\"`, "misread a backslash before the closing quote"},
	{"a quote at the end is a backslash", `A="say \"hi\""`, "misread a backslash before the closing quote"},
	{"a no-break space is trimmed", "A=x\u00a0", "take more kinds of white space off"},
	{"a vertical tab is trimmed", "A=\vx", "take more kinds of white space off"},
}

// lenient is what godotenv reads though we refuse it, with the reason that we give.
var lenient = []struct{ example, reason string }{
	{".A=x", "not a line of the form NAME=value"},
	{"A", "no = after the name"},
	{"A B=x", "no = after the name"},
	{"A\u00aa=x", "a character that can't be in a name"},
	{"=x", "no name before ="},
	{"A: x", "a colon after the name"},
	{"A='x'B=y", "text after the closing quote"},
	{"A='x\n'B=y", "text after the quote that closes the value of line 1"},
	{"A=`x`", "a value that begins with a backtick"},
	{"A=x\rB=y", "a carriage return without a line feed"},
	{"A=\x00", "a NUL byte"},
	{"A=\xff", "a byte that isn't UTF-8"},
	{"\xff\xfe=x", "UTF-16 text"},
	{"0", "JSON that isn't an object"},
}

func TestGodotenvMisreads(t *testing.T) {
	for _, tt := range misread {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.example + "\nZ=1\n"
			list, err := dotenv.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := godotenv.Unmarshal(text); err == nil && cmp.Equal(got, valuesOf(list)) {
				t.Errorf("godotenv reads %q as we do: take it off the list", tt.example)
			}
			if whys := godotenvDiffers(list); !slices.Contains(whys, tt.why) {
				t.Errorf("found by %q, want %q", whys, tt.why)
			}
		})
	}
}

func TestGodotenvIsLenient(t *testing.T) {
	for _, tt := range lenient {
		t.Run(tt.example, func(t *testing.T) {
			var e *dotenv.Error
			if _, err := dotenv.Parse([]byte(tt.example)); !errors.As(err, &e) || e.Reason != tt.reason {
				t.Errorf("got %v, want %s", err, tt.reason)
			}
			if _, err := godotenv.Unmarshal(tt.example); err != nil {
				t.Errorf("godotenv refuses %q too (%v): take it off the list", tt.example, err)
			}
		})
	}
}

// godotenvDiffers gives the predicates that find a difference from godotenv.
func godotenvDiffers(list []dotenv.Variable) (whys []string) {
	for i := range list {
		for _, d := range dotenv.Differences(&list[i]) {
			if slices.Contains(d.Readers, dotenv.Godotenv) {
				whys = append(whys, d.Why)
			}
		}
	}
	return whys
}

// FuzzGodotenv: a file is read as godotenv reads it, but for what misread and lenient list.
func FuzzGodotenv(f *testing.F) {
	for _, tt := range misread {
		f.Add([]byte(tt.example + "\nZ=1\n"))
	}
	for _, tt := range lenient {
		f.Add([]byte(tt.example))
	}
	for _, seed := range []string{"", "# x\n\nA=1\r\nexport B = 'x # y'  # z\nC=\"a\\nb\\\"c\"\n", "A='x\r\ny'\nB=\"\n\"", "A=$\nB=$-\nC=\"$\\$\"", "export\tA='\r'\r\n", "A='x", "A=\"\\\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		theirs, refused := godotenv.Unmarshal(string(text))
		list, err := dotenv.Parse(bytes.Clone(text))
		var e *dotenv.Error
		switch {
		case errors.As(err, &e):
			reason := e.Reason
			if strings.HasPrefix(reason, "text after the quote that closes") {
				reason = "text after the closing quote"
			}
			if refused == nil && !slices.ContainsFunc(lenient, func(l struct{ example, reason string }) bool { return l.reason == reason }) {
				t.Errorf("%q is refused: %v; godotenv reads it", text, err)
			}
			return
		case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n"), []byte("{")):
			return // JSON
		case bytes.HasPrefix(text, []byte("\ufeff")) && len(list) == 0:
			return // refused, as if there were variables
		}
		for _, why := range godotenvDiffers(list) {
			if slices.ContainsFunc(misread, func(m struct{ name, example, why string }) bool { return m.why == why }) {
				return
			}
		}
		if refused != nil {
			t.Fatalf("%q: godotenv: %v", text, refused)
		}
		if diff := cmp.Diff(theirs, valuesOf(list)); diff != "" {
			t.Errorf("%q (-godotenv +ours):\n%s", text, diff)
		}
	})
}
