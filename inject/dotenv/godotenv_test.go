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

// misread lists what godotenv 1.5.1 is known to read differently than Parse. why is the rule of Differences that finds
// such lines.
var misread = []struct{ name, example, why string }{
	{"a byte order mark is refused", "\ufeffA=x", "refuse the byte order mark"},
	{"a - in a name is refused", "A-B=x", "refuse this name, or set a variable of their own by it"},
	{"a variable named export is read without a name", "export =x", "refuse this name, or set a variable of their own by it"},
	{"a comment after an empty value is read as the value", "A= # x", "begin the comment elsewhere"},
	{"the comment begins at the last #", "A=a # b # c", "begin the comment elsewhere"},
	{"a comment begins after a no-break space", "A=a\u00a0#b", "begin the comment elsewhere"},
	{"a variable is expanded without quotes", "A=$X", "replace what follows a $"},
	{"a variable is expanded in double quotes", `A="$X"`, "replace what follows a $"},
	{"a variable in braces is expanded", "A=${X}", "replace what follows a $"},
	{"a digit is read as a variable", "A=$2y", "replace what follows a $"},
	{"the uppercase part of a name is expanded", "A=Pa$Sword", "replace what follows a $"},
	{"the start of a command substitution is dropped", "A=$(HOSTNAME)", "replace what follows a $"},
	{"a backslash before $ is dropped without quotes", `A=\$5`, "know other escapes"},
	{"a backslash is dropped before any character", `A="C:\dir"`, "know other escapes"},
	{"an escaped tab is read as t", `A="a\tb"`, "know other escapes"},
	{"two backslashes before $ are dropped", `A="a\\$"`, "know other escapes"},
	{"a backslash escapes the closing single quote", `A='C:\dir\'`, "misread a backslash before the closing quote"},
	{"two backslashes escape the closing double quote", `A="x\\"`, "misread a backslash before the closing quote"},
	{"an escaped quote at the end is read as a backslash", `A="say \"hi\""`, "misread a backslash before the closing quote"},
	{"a no-break space is trimmed", "A=x\u00a0", "take more kinds of white space off"},
	{"a vertical tab is trimmed", "A=\vx", "take more kinds of white space off"},
}

// lenient lists texts that godotenv accepts and Parse refuses, with the reason in the error of Parse.
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

// TestGodotenvMisreads checks that godotenv and Parse differ on each example, and that Differences reports it.
func TestGodotenvMisreads(t *testing.T) {
	for _, tt := range misread {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.example + "\nZ=1\n"
			list, err := dotenv.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := godotenv.Unmarshal(text); err == nil && cmp.Equal(got, valuesOf(list)) {
				t.Errorf("godotenv reads %q as Parse does: remove it from misread", tt.example)
			}
			if whys := godotenvDiffers(list); !slices.Contains(whys, tt.why) {
				t.Errorf("Differences found %q, want %q", whys, tt.why)
			}
		})
	}
}

// TestGodotenvIsLenient checks that godotenv accepts each example and that Parse refuses it.
func TestGodotenvIsLenient(t *testing.T) {
	for _, tt := range lenient {
		t.Run(tt.example, func(t *testing.T) {
			var e *dotenv.Error
			if _, err := dotenv.Parse([]byte(tt.example)); !errors.As(err, &e) || e.Reason != tt.reason {
				t.Errorf("got %v, want %s", err, tt.reason)
			}
			if _, err := godotenv.Unmarshal(tt.example); err != nil {
				t.Errorf("godotenv refuses %q too (%v): remove it from lenient", tt.example, err)
			}
		})
	}
}

// godotenvDiffers returns the rules of Differences that say that godotenv reads a variable differently.
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

// FuzzGodotenv checks that Parse reads a file as godotenv does, except for what misread and lenient list.
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
				t.Errorf("Parse(%q) = %v; godotenv accepts it", text, err)
			}
			return
		case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n"), []byte("{")):
			return // JSON
		case bytes.HasPrefix(text, []byte("\ufeff")) && len(list) == 0:
			return // godotenv refuses the byte order mark
		}
		for _, why := range godotenvDiffers(list) {
			if slices.ContainsFunc(misread, func(m struct{ name, example, why string }) bool { return m.why == why }) {
				return
			}
		}
		if refused != nil {
			t.Fatalf("godotenv refuses %q: %v", text, refused)
		}
		if diff := cmp.Diff(theirs, valuesOf(list)); diff != "" {
			t.Errorf("%q (-godotenv +Parse):\n%s", text, diff)
		}
	})
}
